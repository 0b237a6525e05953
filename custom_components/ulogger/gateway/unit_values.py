"""The nodes of a Pepeunit unit: outputs get values from here, inputs call what was chosen."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import probatio
from homeassistant.core import Context, State, callback
from homeassistant.exceptions import HomeAssistantError, TemplateError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.script import Script, async_validate_actions_config

from ..account.account import Account
from ..cloud.pepeunit.errors import CipherError
from ..cloud.pepeunit.unit import Mapped, PepeunitDestination
from ..const import (
    CONF_ACTIONS,
    CONF_ENCRYPTED,
    CONF_ENTITY,
    CONF_INPUTS,
    CONF_METRIC,
    CONF_NODE,
    CONF_OUTPUTS,
    CONF_TEMPLATE,
    DOMAIN,
)
from ..coordinator import DeviceCoordinator
from ..insight.reading import Reading
from ..model.capture import Capture
from ..model.signal import Signal
from .entity_values import async_track_value, rendered

_LOGGER = logging.getLogger(__name__)

CONF_DEVICE = "device"
MOST_AT_ONCE = 10
"""Runs of one input's actions at a time; values that come faster wait, and then are dropped."""

type Node = Mapping[str, Any]


def mapped_nodes(data: Mapping[str, Any]) -> Mapped:
    """Return the names that a subentry maps."""
    inputs, outputs = data.get(CONF_INPUTS, ()), data.get(CONF_OUTPUTS, ())
    return Mapped(
        frozenset(each[CONF_NODE] for each in inputs),
        frozenset(each[CONF_NODE] for each in outputs),
        frozenset(each[CONF_NODE] for each in (*inputs, *outputs) if each.get(CONF_ENCRYPTED)),
    )


class Outputs:
    """Feeds the outputs of a unit with entities and with what devices measured."""

    def __init__(
        self, account: Account, destination: PepeunitDestination, nodes: Sequence[Node]
    ) -> None:
        self._hass = account.hass
        self._account = account
        self._destination = destination
        self._of_entities = [each for each in nodes if each.get(CONF_ENTITY)]
        self._of_metrics = [each for each in nodes if each.get(CONF_METRIC)]

    @callback
    def start(self, read: Signal[DeviceCoordinator | None, int, Capture, Reading]) -> None:
        """Feed until the account is unloaded; ``read`` notifies of each capture that was read."""
        on_unload = self._account.entry.async_on_unload
        for node in self._of_entities:
            changed = partial(self._changed, node)
            on_unload(async_track_value(self._hass, node[CONF_ENTITY], changed))
        if self._of_metrics:
            on_unload(read.add(self._read))

    @callback
    def _changed(self, node: Node, state: State) -> None:
        self._put(
            node,
            {"value": state.state, "entity_id": state.entity_id, "attributes": state.attributes},
        )

    @callback
    def _read(
        self, device: DeviceCoordinator | None, _id: int, capture: Capture, reading: Reading
    ) -> None:
        """Put out the newest value of each metric that a log brought."""
        newest = {metric.name: metric.value for metric in reading.metrics}
        for node in self._of_metrics:
            if node[CONF_METRIC] in newest and self._is_of(node, device):
                value = newest[node[CONF_METRIC]]
                self._put(node, {"value": value, "device": capture.device.serial})

    def _is_of(self, node: Node, device: DeviceCoordinator | None) -> bool:
        if not (wanted := node.get(CONF_DEVICE)):
            return True
        entry = dr.async_get(self._hass).async_get(wanted)
        return device is not None and entry is not None and device.identifier in entry.identifiers

    def _put(self, node: Node, variables: Mapping[str, Any]) -> None:
        name = node[CONF_NODE]
        try:
            value = rendered(self._hass, node.get(CONF_TEMPLATE, ""), variables)
            self._destination.put_output(name, value)
        except TemplateError as err:
            self._destination.counters["templates_failed"] += 1
            _LOGGER.warning("The template of the output %s fails: %s", name, err)
        except CipherError as err:
            self._destination.counters[err.problem] += 1


class Inputs:
    """Tells of the inputs of a unit, and runs the actions that a person chose for them.

    ``received`` notifies of the name and the value, ``last`` holds the last one of each.
    """

    def __init__(self, account: Account, nodes: Sequence[Node]) -> None:
        self._hass = account.hass
        self._account = account
        self._nodes = nodes
        self._scripts: dict[str, Script] = {}
        self.received = Signal[str, str]()
        self.last: dict[str, str] = {}

    async def async_prepare(self) -> None:
        """Check the actions; those that can't be run any longer are left out."""
        for node in self._nodes:
            if not (actions := node.get(CONF_ACTIONS)):
                continue
            name = node[CONF_NODE]
            try:
                checked = await async_validate_actions_config(
                    self._hass, cv.SCRIPT_SCHEMA(list(actions))
                )
            except (HomeAssistantError, probatio.Invalid) as err:
                _LOGGER.warning("The actions of the input %s can't be run: %s", name, err)
                continue
            self._scripts[name] = Script(
                self._hass,
                checked,
                f"Pepeunit {name}",
                DOMAIN,
                script_mode="queued",
                max_runs=MOST_AT_ONCE,
                max_exceeded="SILENT",
                logger=_LOGGER,
            )
        self._account.entry.async_on_unload(self._stop)

    @callback
    def take(self, name: str, value: str) -> None:
        """Take a value that came in."""
        self.last[name] = value
        self.received.notify(name, value)
        if (script := self._scripts.get(name)) is not None:
            self._account.entry.async_create_background_task(
                self._hass, self._run(script, name, value), f"{DOMAIN} input {name}"
            )

    async def _run(self, script: Script, name: str, value: str) -> None:
        try:
            await script.async_run({"value": value, "node": name}, Context())
        except (HomeAssistantError, probatio.Invalid) as err:
            _LOGGER.warning("The actions of the input %s failed: %s", name, err)

    async def _stop(self) -> None:
        for script in self._scripts.values():
            await script.async_stop()
