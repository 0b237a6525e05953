"""The nodes of a unit: outputs get values from Home Assistant, inputs come to it."""

from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.insight.reading import read
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.account import log, meet
from tests.support.pepeunit import (
    add_unit,
    entity,
    pepeunit,
    unit,
    until,
)

__all__ = ["pepeunit", "unit"]

OUTPUTS = [
    {"node": "temperature", "entity": "sensor.room", "template": "{{ value | float + 1 }}"},
    {"node": "secret", "entity": "sensor.room", "encrypted": True},
]


async def test_outputs_follow_entities_and_inputs_become_entities_and_run_actions(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    hass.states.async_set("sensor.room", "20")
    called: list[dict[str, Any]] = []
    hass.services.async_register("test", "light", lambda call: called.append(dict(call.data)))
    actions = [{"action": "test.light", "data": {"to": "{{ value }}", "node": "{{ node }}"}}]
    active = await add_unit(
        hass,
        account,
        pepeunit,
        unit,
        outputs=OUTPUTS,
        inputs=[
            {"node": "lamp", "shown_as": "sensor", "actions": actions},
            {"node": "note", "shown_as": "event"},
        ],
    )
    hass.states.async_set("sensor.room", "unavailable")
    hass.states.async_set("sensor.room", "21")
    topic = unit.topic("temperature")
    await pepeunit.wait_until(lambda: pepeunit.of(topic) == [b"21.0", b"22.0"])
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("secret"))) == 2)
    assert all(b"." in each and each != b"20" for each in pepeunit.of(unit.topic("secret")))

    await pepeunit.publish(unit.topic("lamp"), "on")
    await pepeunit.publish(unit.topic("note"), "x" * 300)
    await until(lambda: called)
    assert called == [{"to": "on", "node": "lamp"}]
    state = hass.states.get(entity(hass, active, "sensor", "input-lamp"))
    assert state is not None
    assert state.state == "on"
    event = entity(hass, active, "event", "input-note")
    await until(lambda: hass.states.get(event).attributes.get("value") == "x" * 300)  # type: ignore[union-attr]


async def test_metrics_that_devices_log_feed_an_output(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    device = meet(account)
    metric = next(iter(read(log()).metrics))
    await add_unit(
        hass, account, pepeunit, unit, outputs=[{"node": "temperature", "metric": metric.name}]
    )
    device = meet(account)
    await account.runtime_data.account.outbox.add(log())
    device.captures_stored.notify()
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("temperature")))
    last = [each.value for each in read(log()).metrics if each.name == metric.name][-1]
    assert pepeunit.of(unit.topic("temperature")) == [str(last).encode()]


async def test_what_goes_wrong_with_nodes_is_counted_and_stops_nothing(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unit.env_override = {"PU_ENCRYPT_KEY": ""}

    def fail(_call: Any) -> None:
        raise HomeAssistantError("told so")

    hass.services.async_register("test", "fail", fail)
    active = await add_unit(
        hass,
        account,
        pepeunit,
        unit,
        outputs=[
            {"node": "temperature", "entity": "sensor.room", "template": "{{ value | float }}"},
            {"node": "secret", "entity": "sensor.room", "encrypted": True},
        ],
        inputs=[
            {"node": "lamp", "shown_as": "event", "actions": [{"action": "test.fail"}]},
            {
                "node": "note",
                "shown_as": "event",
                "actions": [{"condition": "device", "device_id": "none", "domain": "none"}],
            },
        ],
    )
    assert "actions of the input note can't be run" in caplog.text
    hass.states.async_set("sensor.room", "warm")
    await hass.async_block_till_done()
    counters = active.destination.counters
    assert (counters["templates_failed"], counters["cipher_no_key"]) == (1, 1)
    hass.states.async_set("sensor.room", "20")
    await pepeunit.publish(unit.topic("lamp"), "on")
    await until(lambda: "actions of the input lamp failed" in caplog.text)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("temperature")) == [b"20.0"])
