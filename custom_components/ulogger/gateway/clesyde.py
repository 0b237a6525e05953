"""The things at Clesyde that an account is, each a config subentry."""

import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from homeassistant.config_entries import ConfigSubentry
from homeassistant.util import ssl as ssl_util
from snitun.client.connector import Connector, TransportConnector  # type: ignore[import-untyped]

from ..account.account import Account
from ..account.destination_keys import async_keep_keys, async_load_keys, async_tidy_keys
from ..account.key_store import SecretsNotKept
from ..cloud.clesyde.captures import Choice
from ..cloud.clesyde.certificates import client_context
from ..cloud.clesyde.clesyde import OFFLINE, ClesydeDestination
from ..cloud.clesyde.errors import HTTP_NOT_THERE, ThingError
from ..cloud.clesyde.keys import STORED_THING, STORED_WANTED, ThingKeys, stored
from ..cloud.clesyde.remote import RemoteAccess
from ..cloud.clesyde.shadow_sync import ShadowSync
from ..cloud.clesyde.thing import Thing
from ..cloud.clesyde.topics import Topics
from ..cloud.clesyde.unprovisioned import Unprovisioned
from ..cloud.errors import CloudError
from ..cloud.mqtt.broker import Broker, LastWill
from ..cloud.mqtt.client import MqttTransport
from ..cloud.mqtt.rate_limit import RateLimit
from ..const import (
    CONF_CRASHES_TOPIC,
    CONF_FORMAT,
    CONF_KEYS,
    CONF_LOGS_TOPIC,
    CONF_METRICS_TOPIC,
    FORMAT_RAW,
    SUBENTRY_CLESYDE,
)
from ..insight.crash_report import CrashReport
from ..insight.reading import Reading
from ..model.capture import Capture
from ..outbox.errors import OutboxError
from .clesyde_shadow import GatewayShadow
from .destinations import ActiveDestination
from .remote_guard import RemoteGuard

AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")


async def async_clesyde_destinations(account: Account) -> list[ActiveDestination]:
    """Make the account's things; nothing connects yet. Keys that nobody has any longer go."""
    found = [
        await _async_make(account, subentry)
        for subentry in account.entry.get_subentries_of_type(SUBENTRY_CLESYDE)
    ]
    await async_tidy_keys(account.hass, account.entry)
    return found


def _context_for_browsers() -> ssl.SSLContext:
    """Return what Home Assistant's own web server starts from, by Mozilla's *modern* guideline."""
    # 2026.11 has one function for all guidelines in the place of one for each.
    by_profile = getattr(ssl_util, "server_context", None)
    context: ssl.SSLContext = (
        ssl_util.server_context_modern() if by_profile is None else by_profile("modern_v4")
    )
    return context


async def _async_make(account: Account, subentry: ConfigSubentry) -> ActiveDestination:
    subentry_id = subentry.subentry_id
    try:
        destination = await _async_thing(account, subentry)
    except ThingError as err:
        gone = Unprovisioned(subentry_id, err.reason)
        return ActiveDestination(account, gone, subentry.title, subentry_id)
    active = ActiveDestination(account, destination, subentry.title, subentry_id)
    destination.on_change = account.changed.notify
    return active


async def _async_thing(account: Account, subentry: ConfigSubentry) -> ClesydeDestination:
    """Make a thing of its keys; raises ThingError where they can't be used."""
    hass, entry = account.hass, account.entry
    keys_id = subentry.data[CONF_KEYS]
    kept = await async_load_keys(hass, entry, keys_id)
    if kept is None:
        raise ThingError("keys_missing", "there are no keys")

    async def save(thing: Thing, wanted: bool) -> None:  # noqa: FBT001
        try:
            await async_keep_keys(hass, entry, keys_id, stored(thing, remote_wanted=wanted))
        except SecretsNotKept as err:
            raise ThingError("secrets_not_kept", str(err)) from err

    run = hass.async_add_executor_job
    keys = await ThingKeys.of(
        Thing.from_dict(kept[STORED_THING]),
        wanted=bool(kept.get(STORED_WANTED)),
        save=save,
        run=run,
        new_context=_context_for_browsers,
    )
    thing = keys.thing
    host, port = thing.broker
    broker = Broker(
        host=host,
        port=port,
        client_id=thing.name,
        tls=await run(client_context, thing.iot_ca, thing.iot),
        version_5=True,
        last_will=LastWill(Topics(thing.serial).status, OFFLINE),
    )
    destination = ClesydeDestination(
        subentry.subentry_id,
        keys,
        MqttTransport(broker, pace=RateLimit() if host.lower().endswith(AMAZON) else None),
        choice_of(subentry.data),
        reading_of=partial(_async_reading, account),
        report_of=partial(_async_report, account),
        run_in_executor=run,
    )
    owner = GatewayShadow(account, destination)
    destination.shadow = ShadowSync(destination.transport.publish, destination.topics.shadow, owner)
    account.entry.async_on_unload(account.changed.add(destination.shadow.changed))
    guard = RemoteGuard(hass)
    destination.visits = guard.counters
    destination.offer_remote(
        RemoteAccess(thing.snitun, destination.request, partial(_async_connector, keys, guard))
    )
    return destination


def choice_of(data: Mapping[str, Any]) -> Choice:
    """Return which captures go where, as a subentry says."""
    return Choice(
        data.get(CONF_LOGS_TOPIC, ""),
        data.get(CONF_METRICS_TOPIC, ""),
        data.get(CONF_CRASHES_TOPIC, ""),
        raw=data.get(CONF_FORMAT) == FORMAT_RAW,
    )


async def _async_connector(keys: ThingKeys, guard: RemoteGuard) -> Connector:
    """Return what a tunnel ends in; raises ThingError."""
    if (server := guard.make_server()) is None:
        raise ThingError(HTTP_NOT_THERE, "Home Assistant's web server has not started")
    return TransportConnector(server, await keys.context())


async def _async_reading(account: Account, capture_id: int) -> Reading:
    try:
        reading: Reading = await account.entry.runtime_data.readings.async_reading(capture_id)
    except OutboxError as err:
        raise CloudError(f"capture {capture_id} can't be read: {err}") from err
    return reading


async def _async_report(account: Account, capture: Capture) -> CrashReport | None:
    report: CrashReport | None = await account.entry.runtime_data.crashes.async_report_of(capture)
    return report
