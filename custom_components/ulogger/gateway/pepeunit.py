"""The units of Pepeunit that an account is, each a config subentry."""

import asyncio
import logging
import secrets
import ssl
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, override

from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import callback
from homeassistant.helpers.event import async_call_later, async_track_time_interval
from homeassistant.util.ssl import create_client_context

from ..account.account import Account
from ..account.unit_files import UnitFiles, async_sweep_units, units
from ..cloud.destination import ConnectionState
from ..cloud.errors import CloudError, CloudUnavailable
from ..cloud.mqtt.probe import check_connection
from ..cloud.pepeunit.env import Env
from ..cloud.pepeunit.errors import InvalidFile
from ..cloud.pepeunit.link import Security
from ..cloud.pepeunit.machine import machine_state, own_address
from ..cloud.pepeunit.rest import api_context
from ..cloud.pepeunit.unit import PepeunitDestination
from ..cloud.tls import verifying_context
from ..const import CONF_CA, CONF_INPUTS, CONF_OUTPUTS, CONF_PORT, CONF_READABLE, CONF_UNIT
from ..insight.reading import Reading
from ..outbox.errors import OutboxError
from .destinations import ActiveDestination
from .unit_updates import UnitUpdates
from .unit_values import Inputs, Outputs, mapped_nodes

_LOGGER = logging.getLogger(__name__)

LOOK_EVERY = timedelta(hours=6)
"""How often it is asked which version the unit should have."""
LATER = 0.25
"""Seconds that a state comes later than due: Pepeunit drops one that is early."""


class ActivePepeunit(ActiveDestination):
    """A unit at work: captures, values of its nodes, commands, and the state of this machine."""

    destination: PepeunitDestination

    def __init__(
        self,
        account: Account,
        destination: PepeunitDestination,
        files: UnitFiles,
        subentry: ConfigSubentry,
        api_tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(account, destination, subentry.title, subentry.subentry_id)
        data = dict(subentry.data)
        self.inputs = Inputs(account, data.get(CONF_INPUTS, ()))
        self.input_nodes = data.get(CONF_INPUTS, ())
        self.data = data
        self.updates = UnitUpdates(
            files, destination, self.async_try, self.account.changed.notify, tls=api_tls
        )
        self._outputs = Outputs(account, destination, data.get(CONF_OUTPUTS, ()))
        destination.on_input = self.inputs.take

    @property
    def unit(self) -> str:
        """The UUID of the unit."""
        return self.destination.env.unit

    @property
    def readable(self) -> bool:
        """Whether the token travels readable, to the broker or to the API."""
        return is_readable(self.destination.env, encrypted=not self.data[CONF_READABLE])

    @callback
    @override
    def start(self) -> None:
        super().start()
        entry = self.account.entry
        self._outputs.start(entry.runtime_data.readings.read)
        self._keep_running("commands", self.updates.run)
        self._keep_running("state", self._tell_state)
        entry.async_on_unload(
            async_track_time_interval(
                self.account.hass, self._look, LOOK_EVERY, cancel_on_shutdown=True
            )
        )
        entry.async_on_unload(async_call_later(self.account.hass, 0, self._look))

    async def async_try(self, env: Env) -> None:
        """Connect once as an ``env.json`` says; raises CloudError, InvalidFile."""
        if not self.readable and is_readable(env, encrypted=True):
            raise InvalidFile("would_be_readable", "PU_HTTP_TYPE")
        security = await async_security(self.account, self.data)
        await async_try_broker(env, security)

    async def _tell_state(self) -> None:
        """Send the state of this machine as often as the unit is to."""
        up = asyncio.Event()
        end = self.state_changed.add(
            lambda state: up.set() if state is ConnectionState.CONNECTED else up.clear()
        )
        try:
            while True:
                if not self.connected:
                    await up.wait()
                await self._tell_state_once()
                await self._until_due(self.account.hass.loop.time())
        finally:
            end()

    async def _until_due(self, told_at: float) -> None:
        """Wait until a state is due again; the interval may become another one meanwhile."""
        now = self.account.hass.loop.time
        while (left := told_at + self.destination.env.state_interval + LATER - now()) > 0:
            self.updates.env_taken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.updates.env_taken.wait()

    async def _tell_state_once(self) -> None:
        if not self.connected:
            return
        hass, env = self.account.hass, self.destination.env
        address = await hass.async_add_executor_job(own_address, env.host, env.port)
        commit, place = self.updates.commit, hass.config.config_dir
        state = await hass.async_add_executor_job(machine_state, commit, place, address)
        try:
            await self.destination.publish_state(state)
        except CloudError as err:
            _LOGGER.debug("%s: the state of this machine was not taken: %s", self.title, err)

    async def _look(self, _now: datetime) -> None:
        try:
            await self.updates.async_look_for_update()
        except CloudError as err:
            _LOGGER.debug("%s: the version is not known: %s", self.title, err)

    @override
    def diagnostics(self) -> dict[str, Any]:
        """Say how it stands; token and keys are not in it."""
        target = self.updates.target
        return {
            **super().diagnostics(),
            "readable": self.readable,
            "missing_nodes": self.destination.missing,
            "files_kept_because": {file: str(err) for file, err in self.updates.failures.items()},
            "commit": self.updates.commit,
            "target_commit": target and target.commit,
        }


def is_readable(env: Env, *, encrypted: bool) -> bool:
    """Whether a token travels readable."""
    return not encrypted or env.api.startswith("http://")


async def async_pepeunit_destinations(account: Account) -> list[ActiveDestination]:
    """Make the account's units; those whose files are gone are left out, and nothing connects."""
    hass, entry = account.hass, account.entry
    await async_sweep_units(hass, entry)
    found: list[ActiveDestination] = []
    for subentry in units(entry):
        data = dict(subentry.data)
        files = await UnitFiles.async_load(hass, entry, data[CONF_UNIT])
        if files is None:
            _LOGGER.error(
                "%s: the files of the unit %s are gone; give them again in its form",
                entry.title,
                subentry.title,
            )
            continue

        async def reading(capture_id: int) -> Reading:
            try:
                read: Reading = await entry.runtime_data.readings.async_reading(capture_id)
            except OutboxError as err:
                raise CloudUnavailable(str(err), sent=False) from err
            return read

        destination = PepeunitDestination(
            subentry.subentry_id,
            files.env,
            files.schema,
            await async_security(account, data),
            reading_of=reading,
            run=hass.async_add_executor_job,
            mapped=mapped_nodes(data),
        )
        api_tls: ssl.SSLContext | None = await hass.async_add_executor_job(
            api_context, data.get(CONF_CA), create_client_context
        )
        active = ActivePepeunit(account, destination, files, subentry, api_tls)
        await active.inputs.async_prepare()
        await active.updates.async_look_for_fetched()
        found.append(active)
    return found


async def async_security(account: Account, data: dict[str, Any]) -> Security:
    """Return how a unit's token travels."""
    if data[CONF_READABLE]:
        return Security(None, data.get(CONF_PORT))
    tls = await account.hass.async_add_executor_job(
        verifying_context, data.get(CONF_CA), create_client_context
    )
    return Security(tls, data.get(CONF_PORT))


async def async_try_broker(env: Env, security: Security) -> None:
    """Connect once, under a name that ends nobody's connection; raises CloudError."""
    broker = security.broker(env)
    # Pepeunit's broker takes 36 characters.
    client_id = f"{env.unit[:27]}-{secrets.token_hex(4)}"
    await check_connection(
        broker.host, broker.port, broker.tls, client_id=client_id, username=env.token
    )
