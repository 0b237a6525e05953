"""Makes an account a gateway of a site, through the form that a person fills in."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from custom_components.ulogger import const as c
from custom_components.ulogger.flows.folder_flow import CONF_INCLUDE_KEPT
from custom_components.ulogger.flows.udmi_checks import (
    CONF_DEVICE,
    CONF_GENERATE,
    GENERATE_NOTHING,
    SECTION_BROKER,
    SECTION_KEYS,
)
from custom_components.ulogger.flows.udmi_flow import DEFAULT_PREFIX

from ..api import Api, ApiError, Json
from .door import Way
from .site import LocalSite

PATH = "/api/config/config_entries/subentries/flow"


async def add_gateway(
    api: Api,
    entry_id: str,
    site: LocalSite,
    *,
    algorithm: str = "es256",
    sync: int = 10,
    proxies: Mapping[str, str] | None = None,
    points: Sequence[Json] = (),
) -> str:
    """Make the account a gateway of a site; returns the destination's ID.

    A site that wants a key is told the public part of one that is made with ``algorithm``.
    ``proxies`` are IDs of devices in Home Assistant's registry, and what a site calls each.
    """
    before = {each["subentry_id"] for each in await _gateways(api, entry_id)}
    ca = await api.upload("ca.pem", site.ca.encode())
    keyed = site.door.way in (Way.JWT, Way.MTLS)
    answers: list[Json] = [
        {
            c.CONF_ENDPOINT: json.dumps(site.endpoint(config_sync_sec=sync)),
            SECTION_BROKER: {},
            SECTION_KEYS: {
                c.CONF_CA: ca,
                CONF_GENERATE: algorithm if keyed else GENERATE_NOTHING,
            },
            c.CONF_UNENCRYPTED: False,
            CONF_INCLUDE_KEPT: True,
        },
        {
            c.CONF_PREFIX: DEFAULT_PREFIX,
            c.CONF_PROXIES: [
                {CONF_DEVICE: device, c.CONF_PROXY_ID: proxy_id}
                for device, proxy_id in (proxies or {}).items()
            ],
            c.CONF_POINTS: list(points),
            c.CONF_APPROVED_HOSTS: [],
        },
    ]
    form = await api.request("POST", PATH, {"handler": [entry_id, c.SUBENTRY_UDMI]})
    form = await api.request("POST", f"{PATH}/{form['flow_id']}", answers[0])
    if form.get("step_id") == "register":
        register(site, form["description_placeholders"]["public_key"])
        form = await api.request("POST", f"{PATH}/{form['flow_id']}", {})
    if form.get("step_id") == "devices":
        form = await api.request("POST", f"{PATH}/{form['flow_id']}", answers[1])
    if form["type"] != "create_entry":
        said = form.get("description_placeholders", {}).get("detail")
        raise ApiError(f"The gateway was not added: {form.get('errors') or form}, {said}")
    [added] = [
        each["subentry_id"]
        for each in await _gateways(api, entry_id)
        if each["subentry_id"] not in before
    ]
    return str(added)


def register(site: LocalSite, pem: str) -> None:
    """Have a site know what a gateway shows: certificates, or public keys."""
    for part in pem_parts(pem):
        if site.door.way is Way.MTLS and "CERTIFICATE" in part:
            site.gate.trust(part)
        site.door.register(part)


def pem_parts(text: str) -> list[str]:
    """Return each PEM block of a text."""
    found: list[str] = []
    for part in text.split("-----BEGIN ")[1:]:
        name, _, _ = part.partition("-----")
        end = f"-----END {name}-----"
        if end in part:
            found.append(f"-----BEGIN {part.partition(end)[0]}{end}\n")
    return found


async def _gateways(api: Api, entry_id: str) -> list[Any]:
    added = await api.command("config_entries/subentries/list", entry_id=entry_id)
    return [each for each in added if each["subentry_type"] == c.SUBENTRY_UDMI]
