"""What a UDMI gateway connects with: its endpoint, its keys, and the transport made of them."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, override

from homeassistant.util.ssl import create_client_context

from ..account.account import Account
from ..account.destination_keys import StoredKeys, async_keep_keys, async_load_keys
from ..account.key_store import SecretsNotKept
from ..account.udmi_keys import CONF_PASSWORD
from ..account.udmi_memory import UdmiMemory
from ..cloud.errors import CredentialsRefused
from ..cloud.mqtt.broker import Broker
from ..cloud.mqtt.client import MqttTransport
from ..cloud.tls import UnusableFiles, client_context
from ..cloud.udmi.auth import Authentication, Kind, authentication
from ..cloud.udmi.endpoint import Endpoint, InvalidEndpoint
from ..cloud.udmi.keys import KeyPair, KeyUnusable
from ..cloud.udmi.link import Target
from ..cloud.udmi.rotation import KeyKeeper, NotKept
from ..const import CONF_CA, CONF_CERTIFICATE, CONF_ENDPOINT, CONF_PRIVATE_KEY
from ..model.backoff import Backoff
from .udmi_site import ENDPOINT

FOLLOWING: Final = "following"
BEFORE: Final = "before"
MOST_APART: Final = 120.0
"""Seconds between two attempts to connect."""
LARGEST: Final = 256 * 1024
MOST_FILTERS: Final = 3000


class StoredKeyPair(KeyKeeper):
    """The keys of one gateway in its private file."""

    def __init__(self, account: Account, keys_id: str) -> None:
        self._account = account
        self._keys_id = keys_id

    async def _change(self, **changes: Any) -> None:
        hass, entry = self._account.hass, self._account.entry
        kept: StoredKeys = {**(await async_load_keys(hass, entry, self._keys_id) or {}), **changes}
        kept = {name: value for name, value in kept.items() if value is not None}
        try:
            await async_keep_keys(hass, entry, self._keys_id, kept)
        except SecretsNotKept as err:
            raise NotKept(str(err)) from err

    @override
    async def begin(self, following: KeyPair) -> None:
        await self._change(**{FOLLOWING: asdict(following)})

    @override
    async def finish(self, present: KeyPair, before: KeyPair) -> None:
        await self._change(
            **{
                CONF_PRIVATE_KEY: present.private_key,
                CONF_CERTIFICATE: present.certificate,
                FOLLOWING: None,
                BEFORE: asdict(before),
            }
        )

    @override
    async def drop(self) -> None:
        await self._change(**{FOLLOWING: None})


def key_pair(stored: StoredKeys) -> KeyPair | None:
    """Return the keys that are kept of a gateway, None where it has none."""
    if not (key := stored.get(CONF_PRIVATE_KEY)):
        return None
    return KeyPair(key, stored.get(CONF_CERTIFICATE, ""))


def endpoint_of(data: Mapping[str, Any], stored: StoredKeys, memory: UdmiMemory) -> Endpoint:
    """Return where a gateway connects to: where a site has sent it, or else as it was set up.

    Another endpoint that a person sets up counts from then on.
    """
    said = {**data[CONF_ENDPOINT]}
    if (password := stored.get(CONF_PASSWORD)) and "basic" in said.get("auth_provider", {}):
        basic = {**said["auth_provider"]["basic"], CONF_PASSWORD: password}
        said["auth_provider"] = {"basic": basic}
    first = Endpoint.from_dict(said)
    redirected = memory.get(ENDPOINT)
    if redirected is None or redirected.get("from") != first.without_secrets().as_dict():
        return first
    try:
        return Endpoint.from_dict(redirected["to"])
    except InvalidEndpoint, KeyError, TypeError, AttributeError:
        return first


async def async_transport(
    account: Account, data: Mapping[str, Any], target: Target
) -> tuple[MqttTransport, Authentication]:
    """Make the connection to an endpoint; raises CredentialsRefused."""
    run, endpoint, keys = account.hass.async_add_executor_job, target.endpoint, target.keys
    try:
        proof: Authentication = await run(authentication, endpoint, keys, time.time)
        tls = None
        if endpoint.encrypted:
            # Whoever wants a token is not to be bothered with a certificate that nobody issued.
            shown = keys if keys is not None and proof.kind is not Kind.TOKEN else None
            certificate = shown.certificate or None if shown else None
            tls = await run(
                client_context,
                data.get(CONF_CA),
                certificate,
                shown.private_key if shown and certificate else None,
                create_client_context,
            )
    except (KeyUnusable, UnusableFiles) as err:
        raise CredentialsRefused(str(err)) from err
    broker = Broker(
        host=endpoint.hostname,
        port=endpoint.port,
        client_id=endpoint.client_id,
        tls=tls,
        unencrypted=tls is None,
        username=proof.username,
        password=proof.password,
    )
    transport = MqttTransport(
        broker,
        largest=LARGEST,
        most_filters=MOST_FILTERS,
        backoff=Backoff(1.0, MOST_APART),
        unwelcome_delay=MOST_APART,
    )
    return transport, proof
