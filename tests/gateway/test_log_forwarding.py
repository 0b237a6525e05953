"""Home Assistant's own log records as text logs of the gateway."""

import json
import logging
import threading
from datetime import timedelta
from typing import Any
from unittest.mock import MagicMock

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.gateway import log_forwarding
from tests.support.account import APPROVED, ToldTransport, load

CHOSEN = logging.getLogger("homeassistant.components.sun")
CHILD = logging.getLogger("homeassistant.components.sun.sensor")
CUSTOM = logging.getLogger("custom_components.lamp")
OTHER = logging.getLogger("homeassistant.components.sunnier")
OWN = logging.getLogger("custom_components.ulogger.gateway.gateway")


def options(level: str = "warning", *integrations: str) -> dict[str, Any]:
    chosen = list(integrations or ("sun", "lamp", "ulogger"))
    return {**APPROVED, "forward_logs": {"level": level, "integrations": chosen}}


@pytest.fixture
async def forwarding(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """An account that forwards warnings."""
    return await load(hass, options=options())


async def send(hass: HomeAssistant, seconds: float = 61) -> None:
    await hass.async_block_till_done()
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(seconds=seconds))
    await hass.async_block_till_done()


def lines(transport: ToldTransport) -> list[tuple[int, str]]:
    """Level and text of all lines that went up."""
    found = []
    for topic, payload in transport.published:
        assert topic == "logs/v0/42/0"
        head, *rest = [json.loads(line) for line in payload.splitlines()]
        assert head["serial"] == "ha-5eed5eed"
        found += [(line["lv"], line["m"]) for line in rest]
    return found


async def test_chosen_records_at_or_above_the_level_go_up(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    CHOSEN.info("too low")
    CHOSEN.warning("rises at %s", "six")
    CHILD.error("no sun")
    CUSTOM.critical("broken")
    OTHER.error("not chosen")
    await send(hass)
    assert lines(transport) == [
        (3, "homeassistant.components.sun: rises at six"),
        (4, "homeassistant.components.sun.sensor: no sun"),
        (5, "custom_components.lamp: broken"),
    ]


async def test_own_records_never_go_up(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    OWN.error("of our own")
    await send(hass)
    assert transport.published == []


async def test_nothing_goes_up_by_itself(hass: HomeAssistant, transport: ToldTransport) -> None:
    await load(hass)
    CHOSEN.critical("quiet")
    await send(hass)
    assert transport.published == []


async def test_after_unloading_records_are_left_alone(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    before = list(CHOSEN.handlers)
    assert before
    CHOSEN.error("just before")
    await hass.async_block_till_done()
    await hass.config_entries.async_unload(forwarding.entry_id)
    CHOSEN.error("late")
    await send(hass)
    assert transport.published == []
    assert CHOSEN.handlers == []


async def test_records_of_many_threads_all_come(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    def work(thread: int) -> None:
        for number in range(50):
            CHOSEN.warning("%s of %s", number, thread)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await hass.async_add_executor_job(thread.join)
    await send(hass)
    assert len(set(lines(transport))) == 400


async def test_a_flood_is_dropped_counted_and_told(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    for number in range(log_forwarding.MOST_PER_MINUTE + 25):
        CHOSEN.warning("%s", number)
    await send(hass)
    told = lines(transport)
    dropped = log_forwarding.MOST_PER_MINUTE + 25 - (len(told) - 1)
    assert 0 < dropped <= 25
    assert told[-1] == (3, f"{dropped} lines were dropped: there were too many")
    assert forwarding.runtime_data.account.rejections["log_lines_dropped"] == dropped
    await send(hass, 200)
    assert len(lines(transport)) == len(told)


async def test_without_a_connection_lines_wait_in_order(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    CHOSEN.warning("first")
    await send(hass)
    CHOSEN.warning("second")
    await send(hass, 200)
    assert transport.published == []
    transport.tell(ConnectionState.CONNECTED)
    await send(hass, 400)
    assert [text.rpartition(" ")[2] for _, text in lines(transport)] == ["first", "second"]


async def test_a_record_that_can_not_be_read_troubles_nobody(
    hass: HomeAssistant, forwarding: MockConfigEntry, transport: ToldTransport
) -> None:
    bad = CHOSEN.makeRecord(CHOSEN.name, logging.ERROR, "f", 7, "%d", ("seven",), None)
    for handler in CHOSEN.handlers:
        handler.handle(bad)
    try:
        {}["nobody there"]
    except KeyError:
        CHOSEN.exception("failed")
    CHOSEN.warning("x" * 5000)
    await send(hass)
    (_, first), (_, second), (_, third) = lines(transport)
    assert "TypeError in a log record of f, line 7" in first
    assert second.endswith("failed (KeyError: 'nobody there')")
    assert len(third) == log_forwarding.LONGEST_MESSAGE


async def test_a_record_after_the_loop_has_ended_troubles_nobody() -> None:
    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    forwarder = log_forwarding._Forwarder(never=(), wake=gone)
    forwarder.handle(CHOSEN.makeRecord(CHOSEN.name, logging.ERROR, "f", 1, "late", (), None))
    taken, dropped = forwarder.take()
    assert [line.message for line in taken] == [f"{CHOSEN.name}: late"]
    assert dropped == 0


async def test_in_bridge_mode_records_of_mqtt_never_go_up_and_otherwise_they_do(
    hass: HomeAssistant, home_assistants_mqtt: MagicMock, transport: ToldTransport
) -> None:
    mqtt = logging.getLogger("homeassistant.components.mqtt.client")
    direct = await load(hass, options=options("warning", "mqtt"))
    bridged = await load(
        hass,
        options=options("warning", "mqtt"),
        customer_id=43,
        connection="home_assistant",
        client_suffix="bridged",
    )
    mqtt.warning("of mqtt")
    await send(hass)
    assert lines(transport) == [(3, "homeassistant.components.mqtt.client: of mqtt")]
    assert not any("logs/v0/43" in str(call) for call in home_assistants_mqtt.mock_calls)
    assert not bridged.runtime_data.account.rejections
    for account in (bridged, direct):
        await hass.config_entries.async_unload(account.entry_id)
