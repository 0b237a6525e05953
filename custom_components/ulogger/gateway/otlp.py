"""The collectors that captures of an account go to, each a config subentry."""

import logging
import ssl
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from aiohttp import DummyCookieJar
from homeassistant.config_entries import ConfigEntry, ConfigSubentry
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.aiohttp_client import async_create_clientsession
from homeassistant.helpers.event import async_track_time_interval
from homeassistant.loader import async_get_integration
from homeassistant.util import dt as dt_util
from homeassistant.util.ssl import create_client_context

from ..account.account import Account
from ..account.destination_keys import async_load_keys, async_tidy_keys
from ..cloud.errors import CloudError
from ..cloud.otlp.client import OtlpClient
from ..cloud.otlp.endpoint import Endpoint, is_encrypted
from ..cloud.otlp.gauges import Gauge
from ..cloud.otlp.otlp import OtlpDestination, Unreadable
from ..cloud.otlp.resource import GatewayIdentity
from ..cloud.tls import client_context
from ..const import (
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CLIENT_SUFFIX,
    CONF_ENTITIES,
    CONF_HEADERS,
    CONF_KEYS,
    CONF_METRICS,
    CONF_PRIVATE_KEY,
    CONF_URL,
    DOMAIN,
    SUBENTRY_OTLP,
    SUBENTRY_UDMI,
)
from ..firmware.symbols import CodePlace
from ..insight.reading import Reading
from ..model.identity import DeviceIdentity
from ..model.plain_text import one_line
from ..outbox.errors import OutboxError
from .destinations import ActiveDestination
from .entity_numbers import entity_number
from .gateway import Gateway, UloggerConfigEntry
from .sent_parts import SentParts

_LOGGER = logging.getLogger(__name__)

GAUGES_EVERY: Final = timedelta(minutes=1)


async def async_otlp_destinations(account: Account) -> list[ActiveDestination]:
    """Make the account's collectors; nothing is sent yet."""
    hass, entry = account.hass, account.entry
    await async_tidy_keys(hass, entry)
    subentries = list(entry.get_subentries_of_type(SUBENTRY_OTLP))
    # Files of other destinations that keep there what was sent are none of ours.
    kept = {each.subentry_id for each in entry.get_subentries_of_type(SUBENTRY_UDMI)}
    kept |= {each.subentry_id for each in subentries}
    await SentParts.async_tidy(hass, entry.entry_id, kept)
    found = []
    for subentry in subentries:
        endpoint = await async_endpoint(hass, entry, subentry)
        parts = SentParts(hass, entry.entry_id, subentry.subentry_id)
        await parts.async_load(await _ids(account))
        identity = await async_gateway_identity(hass, entry)
        destination = OtlpDestination(
            subentry.subentry_id,
            # Of its own: no other integration shares what a collector says, as cookies.
            OtlpClient(async_create_clientsession(hass, cookie_jar=DummyCookieJar()), endpoint),
            identity,
            hass.async_add_executor_job,
            reading_of=partial(_async_reading, entry),
            crash_of=partial(_async_crash, entry),
            places_of=partial(_places, entry),
            progress=parts,
            metrics=subentry.data[CONF_METRICS],
        )
        active = ActiveDestination(account, destination, subentry.title, subentry.subentry_id)
        destination.on_rejected = partial(_rejected, active)
        found.append(active)
    return found


async def async_endpoint(
    hass: HomeAssistant, entry: ConfigEntry[Any], subentry: ConfigSubentry
) -> Endpoint:
    """Return where a collector is, with its secrets."""
    data = subentry.data
    keys = await async_load_keys(hass, entry, data[CONF_KEYS]) or {}
    tls: ssl.SSLContext | None = None
    if is_encrypted(data[CONF_URL]):
        tls = await hass.async_add_executor_job(
            client_context,
            data.get(CONF_CA),
            data.get(CONF_CERTIFICATE),
            keys.get(CONF_PRIVATE_KEY),
            create_client_context,
        )
    return Endpoint(data[CONF_URL], keys.get(CONF_HEADERS, {}), tls)


async def async_gateway_identity(hass: HomeAssistant, entry: ConfigEntry[Any]) -> GatewayIdentity:
    """Return who this gateway is, as it stands beside each device."""
    integration = await async_get_integration(hass, DOMAIN)
    name = f"ha-{entry.data[CONF_CLIENT_SUFFIX]}"
    return GatewayIdentity(name, str(integration.version), __version__)


async def async_remove_otlp(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete what a removed account noted of what its collectors have; keys go with the others."""
    for subentry_type in (SUBENTRY_OTLP, SUBENTRY_UDMI):
        for subentry in entry.get_subentries_of_type(subentry_type):
            await SentParts(hass, entry.entry_id, subentry.subentry_id).async_remove()


async def _ids(account: Account) -> set[int]:
    """Name the captures that there are; an outbox that can't be read names none."""
    try:
        return {row.capture_id for row in await account.outbox.listing()}
    except OutboxError:
        return set()


async def _async_reading(entry: UloggerConfigEntry, capture_id: int) -> Reading:
    readings = entry.runtime_data.readings
    try:
        await readings.async_turn(capture_id)
        return await readings.async_reading(capture_id)
    except OutboxError as err:
        raise Unreadable(str(err)) from err


async def _async_crash(entry: UloggerConfigEntry, capture: Any) -> Any:
    return await entry.runtime_data.crashes.async_report_of(capture)


def _places(entry: UloggerConfigEntry, device: DeviceIdentity, address: int) -> Sequence[CodePlace]:
    """Return where a firmware logs a format string, as far as an image tells; blocks."""
    image = entry.runtime_data.images.image_of(device)
    return () if image is None else image.log_places(address)


@callback
def _rejected(active: ActiveDestination, count: int, message: str) -> None:
    first = active.rejected == count
    _LOGGER.log(
        logging.WARNING if first else logging.DEBUG,
        "%s: %s did not take %s records of a capture: %s",
        active.account.entry.title,
        active.title,
        count,
        one_line(message) or "it does not say why",
    )
    active.account.changed.notify()


# What Home Assistant knows of a device


@callback
def start_entity_gauges(hass: HomeAssistant, entry: UloggerConfigEntry) -> None:
    """Have the entities that were chosen go along, until the account is unloaded."""
    gateway = entry.runtime_data
    for subentry in entry.get_subentries_of_type(SUBENTRY_OTLP):
        active = gateway.destinations.get(subentry.subentry_id)
        if active is not None and subentry.data[CONF_METRICS] and subentry.data[CONF_ENTITIES]:
            EntityGauges(hass, gateway, active, subentry.data[CONF_ENTITIES]).start()


class EntityGauges:
    """Sends the values of entities once a minute; what does not arrive is not sent again."""

    def __init__(
        self,
        hass: HomeAssistant,
        gateway: Gateway,
        active: ActiveDestination,
        entity_ids: Sequence[str],
    ) -> None:
        self._hass = hass
        self._gateway = gateway
        self._active = active
        self._entity_ids = entity_ids

    @callback
    def start(self) -> None:
        """Send now and then."""
        self._gateway.entry.async_on_unload(
            async_track_time_interval(
                self._hass, self.async_send, GAUGES_EVERY, cancel_on_shutdown=True
            )
        )

    async def async_send(self, now: datetime | None = None) -> None:
        """Send what the entities show now."""
        destination = self._active.destination
        if not isinstance(destination, OtlpDestination) or not destination.connected:
            return
        at = (now or dt_util.utcnow()).timestamp()
        for device, gauges in self._gauges(at).items():
            try:
                await destination.send_gauges(device, gauges)
            except CloudError as err:
                _LOGGER.debug("Entities did not go to %s: %s", self._active.title, err)
                return

    def _gauges(self, at: float) -> dict[DeviceIdentity, list[Gauge]]:
        """Return what the entities show, by the device that they are of."""
        found: dict[DeviceIdentity, list[Gauge]] = defaultdict(list)
        for entity_id in self._entity_ids:
            if (number := entity_number(self._hass, entity_id)) is None:
                continue
            gauge = Gauge(entity_id, number.value, at, number.unit or "")
            found[self._device_of(number.device_identifiers)].append(gauge)
        return found

    def _device_of(self, identifiers: frozenset[tuple[str, ...]]) -> DeviceIdentity:
        """Return the device of ours that an entity is of; any other is this gateway's."""
        for device in self._gateway.devices.values():
            if device.identifier in identifiers:
                return device.identity
        return self._gateway.identity
