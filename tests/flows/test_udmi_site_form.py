"""What a site hands out is taken in any of its shapes: a file, fields, a certificate, no TLS."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.udmi.endpoint import ES256
from custom_components.ulogger.cloud.udmi.keys import derived_password, generate
from demo.udmi.door import AUDIENCE, Way
from demo.udmi.gateways import register
from demo.udmi.site import LocalSite
from tests.support.flows import Upload, add_destination, answer, expect_form
from tests.support.udmi import DEVICES, site, typed_site

from .test_udmi_flow import account, begin, kept, upload

__all__ = ["account", "site", "upload"]

pytestmark = pytest.mark.usefixtures("set_up")


def made_key() -> Any:
    return generate(ES256, "GAT-1", datetime.now(UTC))


async def created(hass: HomeAssistant, form: Any) -> dict[str, Any]:
    """Fill in the devices; return what the destination has then."""
    expect_form(form, "devices", destination="udmi")
    done = await answer(hass, form, **DEVICES)
    assert done["type"] is FlowResultType.CREATE_ENTRY
    return dict(done["data"])


async def test_an_endpoint_comes_as_a_file_or_as_text_not_as_both(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.door.way = Way.BASIC
    typed = await typed_site(upload, site)
    file = await upload(json.dumps(site.endpoint(config_sync_sec=9)))
    form = await begin(hass, account, **typed, endpoint_file=file)
    expect_form(form, "user", {"base": "endpoint_twice"}, destination="udmi")
    form = await answer(hass, form, **{**typed, "endpoint": ""}, endpoint_file=file)
    assert (await created(hass, form))["endpoint"]["config_sync_sec"] == 9


async def test_an_upload_that_is_gone_is_named_where_it_was_given(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    typed = await typed_site(upload, site)
    gone = str(uuid4())
    no_text = {**typed, "endpoint": "", "endpoint_file": gone}
    form = await begin(hass, account, **no_text)
    expect_form(form, "user", {"endpoint_file": "upload_gone"}, destination="udmi")
    for name in ("ca", "private_key"):
        form = await answer(hass, form, **{**typed, "keys": {"generate": "none", name: gone}})
        expect_form(form, "user", {"base": "upload_gone"}, destination="udmi")


async def test_a_key_is_given_or_made_not_both(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    typed = await typed_site(upload, site)
    keys = {**typed["keys"], "private_key": await upload(made_key().private_key)}
    form = await begin(hass, account, **{**typed, "keys": keys})
    expect_form(form, "user", {"base": "key_twice"}, destination="udmi")
    assert not kept(hass_storage)


async def test_fields_say_topics_and_the_audience_of_tokens_and_a_key_is_made_unasked(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    typed = await typed_site(upload, site)
    said = site.endpoint()
    fields = {
        "hostname": said["hostname"],
        "port": said["port"],
        "client_id": said["client_id"],
        "topic_prefix": "/other/topics",
        "audience": AUDIENCE,
    }
    keys = {**typed["keys"], "generate": "none"}
    form = await begin(hass, account, **{**typed, "endpoint": "", "broker": fields, "keys": keys})
    expect_form(form, "register", destination="udmi")
    register(site, form["description_placeholders"]["public_key"])
    endpoint = (await created(hass, await answer(hass, form)))["endpoint"]
    assert endpoint["topic_prefix"] == "/other/topics"
    assert endpoint["auth_provider"] == {"jwt": {"audience": AUDIENCE}}


async def test_a_certificate_of_ones_own_is_shown_to_the_site(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    socket_enabled: None,
    tmp_path: Path,
    hass_storage: dict[str, Any],
) -> None:
    pair = made_key()
    async with LocalSite(tmp_path / "site", way=Way.MTLS) as local:
        register(local, pair.certificate)
        typed = await typed_site(upload, local)
        keys = {
            "ca": typed["keys"]["ca"],
            "generate": "none",
            "private_key": await upload(pair.private_key),
            "certificate": await upload(pair.certificate),
        }
        data = await created(hass, await begin(hass, account, **{**typed, "keys": keys}))
    assert kept(hass_storage)[data["keys"]] == {
        "private_key": pair.private_key,
        "certificate": pair.certificate,
    }


async def test_a_password_is_taken_from_a_key_where_there_is_none(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    site.door.way = Way.BASIC
    pair = made_key()
    typed = await typed_site(upload, site)
    provider = {"basic": {"username": site.door.user}}
    typed["endpoint"] = json.dumps(site.endpoint(auth_provider=provider))
    typed["keys"] |= {"private_key": await upload(pair.private_key)}
    form = await begin(hass, account, **typed)
    expect_form(form, "user", {"base": "not_authorised"}, destination="udmi")
    site.door.password = derived_password(pair.private_key)
    data = await created(hass, await answer(hass, form, **typed))
    assert set(kept(hass_storage)[data["keys"]]) == {"private_key", "certificate"}


async def test_without_tls_only_where_that_is_confirmed(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    site.door.way = Way.NONE
    readable = json.dumps(site.endpoint(transport="tcp", port=site.broker.port))
    typed = await typed_site(upload, site, endpoint=readable)
    form = await begin(hass, account, **typed)
    expect_form(form, "user", {"base": "unencrypted"}, destination="udmi")
    form = await answer(hass, form, **{**typed, "unencrypted": True})
    assert (await created(hass, form))["endpoint"]["transport"] == "tcp"


def is_open(form: Any, name: str) -> bool:
    """Whether a section of a form stands open."""
    return not form["data_schema"].schema[name].options["collapsed"]


@pytest.mark.parametrize("port", [0, -1, 65_536, 1e12])
async def test_a_port_that_there_is_not_is_told_in_words_and_its_section_stands_open(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite, port: float
) -> None:
    typed = await typed_site(upload, site)
    fields = {"hostname": "127.0.0.1", "port": port, "client_id": "/r/A/d/GAT-1"}
    form = await add_destination(hass, account.entry_id, "udmi")
    assert not is_open(form, "broker")
    keys = {"generate": "none"}
    form = await answer(hass, form, **{**typed, "endpoint": "", "broker": fields, "keys": keys})
    expect_form(form, "user", {"base": "invalid_port"}, destination="udmi")
    assert is_open(form, "broker")
    assert not is_open(form, "keys")
