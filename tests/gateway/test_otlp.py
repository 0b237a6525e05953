"""A collector of an account: captures arrive once, over restarts too, and what is wrong is told."""

import asyncio
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.otlp.otlp import OtlpDestination
from custom_components.ulogger.cloud.otlp.progress import Sent
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.gateway import sent_parts
from custom_components.ulogger.gateway.otlp import EntityGauges
from custom_components.ulogger.gateway.sent_parts import SentParts
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.outbox.model import DeliveryState
from demo.otlp import LocalCollector
from tests.support.account import SENSOR, core_dump, log, meet
from tests.support.collector import add_collector, collector
from tests.support.made_captures import log as made_log
from tests.support.made_captures import payload

__all__ = ["collector"]
SECONDS = 10.0


def many(frames: int = 5000) -> Capture:
    data = made_log(*[(32, payload(address=0x400 + n)) for n in range(frames)])
    return Capture(CaptureKind.LOG, SENSOR, data, 1_790_000_000.0)


async def got(account: MockConfigEntry, destination: str, *ids: int) -> bool:
    """Wait until a destination has captures; says whether it has all of them."""
    delivery = account.runtime_data.destinations[destination].delivery
    return bool(await delivery.wait_delivered(SENSOR.key, ids, SECONDS) == set(ids))


def destination_of(account: MockConfigEntry, subentry_id: str) -> OtlpDestination:
    found = account.runtime_data.destinations[subentry_id].destination
    assert isinstance(found, OtlpDestination)
    return found


async def until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def answering(status: int, **headers: str) -> Any:
    async def answer(_request: web.Request, _number: int) -> web.Response:
        return web.json_response({"message": "told so"}, status=status, headers=headers)

    return answer


async def test_what_is_kept_and_what_comes_arrives_with_who_said_it(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    meet(account)
    kept = await account.runtime_data.account.outbox.add(log())
    assert await got(account, "ulogger", kept.capture_id)
    subentry = await add_collector(hass, account, collector.url)
    assert await got(account, subentry.subentry_id, kept.capture_id)
    later = await account.runtime_data.account.outbox.add(core_dump())
    assert await got(account, subentry.subentry_id, later.capture_id)
    received = collector.received
    assert received.invalid == []
    assert [each.record.severity_number for each in received.records].count(21) >= 1
    resource = received.records[0].resource
    assert resource["service.name"] == "DoorSenseV2"
    assert resource["service.instance.id"] == "A87DE76F0011"
    assert resource["service.version"] == "4.24.2"
    assert resource["vcs.ref.head.revision"] == "bc53443"
    assert resource["ulogger.application_id"] == 42
    assert resource["ulogger.gateway.name"] == "ha-5eed5eed"
    assert resource["ulogger.gateway.version"] == "0.1.0"
    assert resource["home_assistant.version"]
    assert {each.resource["service.instance.id"] for each in received.points} == {SENSOR.serial}


async def test_what_was_acknowledged_is_not_sent_again_after_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    meet(account)
    subentry = await add_collector(hass, account, collector.url)
    await until(lambda: destination_of(account, subentry.subentry_id).connected)
    before = collector.received.requests

    async def one_and_no_more(request: web.Request, number: int) -> web.Response | None:
        return None if number == before + 1 else web.Response(status=503)

    collector.answer = one_and_no_more
    added = await account.runtime_data.account.outbox.add(many())
    account.runtime_data.destinations[subentry.subentry_id].delivery.wake()
    await until(lambda: collector.received.requests >= before + 2)
    first = len(collector.received.records)
    assert 0 < first < 5000
    await hass.config_entries.async_unload(account.entry_id)
    collector.answer = None
    await hass.config_entries.async_setup(account.entry_id)
    assert await got(account, subentry.subentry_id, added.capture_id)
    numbers = [each.attributes["ulogger.frame.number"] for each in collector.received.records]
    assert numbers == list(range(5000))


async def test_a_refusal_is_quarantined_at_once_and_holds_up_nobody(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    meet(account)
    subentry = await add_collector(hass, account, collector.url)
    await until(lambda: destination_of(account, subentry.subentry_id).connected)
    refused: list[int] = []

    async def refuse_first(_request: web.Request, number: int) -> web.Response | None:
        if refused:
            return None
        refused.append(number)
        return web.json_response({"message": "bad"}, status=400)

    collector.answer = refuse_first
    outbox = account.runtime_data.account.outbox
    bad, good = await outbox.add(log()), await outbox.add(core_dump())
    account.runtime_data.destinations[subentry.subentry_id].delivery.wake()
    assert await got(account, subentry.subentry_id, good.capture_id)
    [row] = [row for row in await outbox.listing() if row.capture_id == bad.capture_id]
    assert row.deliveries[subentry.subentry_id].state is DeliveryState.REFUSED
    assert len(refused) == 1


async def test_what_a_collector_rejects_is_counted_shown_and_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    meet(account)
    subentry = await add_collector(hass, account, collector.url)

    async def partly(request: web.Request, _number: int) -> web.Response:
        counted = {"partialSuccess": {"rejectedLogRecords": 3, "errorMessage": "too old"}}
        return web.json_response(counted if request.path.endswith("logs") else {})

    async def unexplained(request: web.Request, _number: int) -> web.Response:
        counted = {"partialSuccess": {"rejectedLogRecords": 1}}
        return web.json_response(counted if request.path.endswith("logs") else {})

    collector.answer = partly
    added = await account.runtime_data.account.outbox.add(log())
    account.runtime_data.destinations[subentry.subentry_id].delivery.wake()
    assert await got(account, subentry.subentry_id, added.capture_id)
    await hass.async_block_till_done()
    unique_id = f"{account.entry_id}-{subentry.subentry_id}-records_rejected"
    entity_id = er.async_get(hass).async_get_entity_id("sensor", DOMAIN, unique_id)
    assert entity_id is not None
    state = hass.states.get(entity_id)
    assert state is not None
    assert state.state == "3"
    card = issue(hass, account, subentry.subentry_id, "otlp_rejected")
    assert card is not None
    assert (card.translation_placeholders or {})["detail"] == "too old"
    collector.answer = unexplained
    await account.runtime_data.account.outbox.add(core_dump())
    account.runtime_data.destinations[subentry.subentry_id].delivery.wake()
    silent = "otlp_rejected_silently"
    await until(lambda: issue(hass, account, subentry.subentry_id, silent) is not None)
    assert issue(hass, account, subentry.subentry_id, "otlp_rejected") is None


def issue(hass: HomeAssistant, account: MockConfigEntry, about: str, key: str) -> Any:
    return ir.async_get(hass).async_get_issue(DOMAIN, f"{key}-{account.entry_id}-{about}")


@pytest.mark.parametrize(
    ("status", "key", "state"),
    [
        (401, "otlp_refused", ConnectionState.CREDENTIALS_REFUSED),
        (404, "otlp_not_a_collector", ConnectionState.DISCONNECTED),
        (308, "otlp_redirected", ConnectionState.DISCONNECTED),
    ],
)
async def test_what_a_person_can_mend_is_a_repair_until_it_is_mended(
    hass: HomeAssistant,
    account: MockConfigEntry,
    collector: LocalCollector,
    status: int,
    key: str,
    state: ConnectionState,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    meet(account)
    subentry = await add_collector(hass, account, collector.url)
    destination = destination_of(account, subentry.subentry_id)
    await until(lambda: destination.connected)
    collector.answer = answering(status, Location="http://elsewhere.invalid")
    added = await account.runtime_data.account.outbox.add(log())
    account.runtime_data.destinations[subentry.subentry_id].delivery.wake()
    await until(lambda: destination.state is state)
    card = issue(hass, account, subentry.subentry_id, key)
    assert card is not None
    assert str(status) not in str(card.translation_placeholders)
    assert f"{status}" in next(line for line in caplog.messages if line.endswith(f"({key})"))
    collector.answer = None
    destination.forgive()
    assert await got(account, subentry.subentry_id, added.capture_id)
    assert issue(hass, account, subentry.subentry_id, key) is None


async def test_an_hour_without_it_is_a_repair(
    hass: HomeAssistant,
    account: MockConfigEntry,
    collector: LocalCollector,
) -> None:
    subentry = await add_collector(hass, account, collector.url)
    active = account.runtime_data.destinations[subentry.subentry_id]
    await until(lambda: active.connected)
    active.destination._enter(ConnectionState.DISCONNECTED)
    active.disconnected_since = time.time() - 3601
    account.runtime_data.account.changed.notify()
    assert issue(hass, account, subentry.subentry_id, "otlp_unreachable") is not None


async def test_entities_go_along_with_the_device_that_they_are_of(
    hass: HomeAssistant,
    account: MockConfigEntry,
    collector: LocalCollector,
) -> None:
    device = meet(account)
    hass.states.async_set("sensor.kitchen", "21.5", {"unit_of_measurement": "°C"})
    hass.states.async_set("switch.lamp", "on")
    hass.states.async_set("sensor.broken", "unavailable")
    registry = er.async_get(hass)
    of_device = registry.async_get_or_create(
        "sensor", "test", "door", device_id=device_id(hass, account, device)
    )
    hass.states.async_set(of_device.entity_id, "7", {"unit_of_measurement": "kWh"})
    chosen = ["sensor.kitchen", "switch.lamp", "sensor.broken", of_device.entity_id]
    subentry = await add_collector(hass, account, collector.url, entities=chosen)
    meet(account)
    active = account.runtime_data.destinations[subentry.subentry_id]
    await until(lambda: active.connected)
    gauges = EntityGauges(hass, account.runtime_data, active, subentry.data["entities"])
    await gauges.async_send()
    points = {each.name: each for each in collector.received.points}
    assert {name: each.value for name, each in points.items()} == {
        "sensor.kitchen": 21.5,
        "switch.lamp": 1,
        of_device.entity_id: 7,
    }
    assert points["sensor.kitchen"].unit == "Cel"
    assert points[of_device.entity_id].unit == "kW.h"
    assert points[of_device.entity_id].resource["service.instance.id"] == SENSOR.serial
    assert points["sensor.kitchen"].resource["service.instance.id"] == "ha-5eed5eed"


def device_id(hass: HomeAssistant, account: MockConfigEntry, device: Any) -> str:
    found = dr.async_get(hass).async_get_device_by_identifier(device.identifier, account.entry_id)
    assert found is not None
    return found.id


async def test_diagnostics_tell_neither_token_nor_address(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    subentry = await add_collector(hass, account, collector.url, headers="Authorization: s3cret")
    text = repr(await async_get_config_entry_diagnostics(hass, account))
    assert subentry.subentry_id in text
    assert "largest_request" in text
    assert "s3cret" not in text
    assert collector.url not in text


async def test_a_removed_account_leaves_nothing_behind(
    hass: HomeAssistant,
    account: MockConfigEntry,
    collector: LocalCollector,
    hass_storage: dict[str, Any],
) -> None:
    subentry = await add_collector(hass, account, collector.url, headers="Authorization: s3cret")
    parts = SentParts(hass, account.entry_id, subentry.subentry_id)
    await parts.note(log(), 1, Sent(3, 4))
    assert "s3cret" in repr(hass_storage)
    await hass.config_entries.async_remove(account.entry_id)
    assert "s3cret" not in repr(hass_storage)
    assert not [name for name in hass_storage if ".sent." in name]


async def test_what_was_sent_of_another_capture_of_that_number_counts_nothing(
    hass: HomeAssistant,
) -> None:
    parts = SentParts(hass, "entry", "destination")
    await parts.note(log(), 1, Sent(3, 4))
    again = SentParts(hass, "entry", "destination")
    await again.async_load({1})
    assert again.sent(log(), 1) == (3, 4)
    assert again.sent(core_dump(), 1) == (0, 0)
    gone = SentParts(hass, "entry", "destination")
    await gone.async_load({2})
    assert gone.sent(log(), 1) == (0, 0)


async def test_what_was_sent_is_forgotten_with_its_destination(hass: HomeAssistant) -> None:
    storage = Path(hass.config.path(".storage"))

    def files() -> set[str]:
        storage.mkdir(exist_ok=True)
        (storage / "ulogger.sent.entry.gone").write_text("{}")
        (storage / "ulogger.sent.entry.kept").write_text("{}")
        (storage / "ulogger.sent.other.gone").write_text("{}")
        return set(sent_parts._others(hass, "entry", {"kept"}))

    assert await hass.async_add_executor_job(files) == {"gone"}


async def test_a_capture_is_read_in_its_turn_before_it_is_sent(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    """What is read before that is not dated by the log before it."""
    device = meet(account)
    readings = account.runtime_data.readings
    added = await account.runtime_data.account.outbox.add(log())
    assert await readings.async_summaries() == []
    readings.captures_stored(device)
    await readings.async_turn(added.capture_id)
    assert [row.capture_id for row in await readings.async_summaries()] == [added.capture_id]
    # Neither what was read nor what nobody reads is waited for.
    async with asyncio.timeout(1):
        await readings.async_turn(added.capture_id)
        await readings.async_turn(4711)


async def test_progress_that_was_stored_otherwise_is_left_out(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    hass_storage["ulogger.sent.entry.destination"] = {
        "version": 1,
        "key": "ulogger.sent.entry.destination",
        "data": {
            "1": [log().captured_at, 3, -4],
            "2": [1.0, 2],
            "3": 7,
            "x": [1.0, 2, 3],
            "4": ["x", 2, 3],
        },
    }
    parts = SentParts(hass, "entry", "destination")
    await parts.async_load(range(9))
    assert parts.sent(log(), 1) == (3, 0)
    assert list(parts._sent) == [1]


async def test_files_of_destinations_that_are_gone_are_deleted(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    for name in ("gone", "kept"):
        await SentParts(hass, "entry", name).note(log(), 1, Sent(3, 4))
    with patch.object(sent_parts, "_others", return_value=["gone"]):
        await SentParts.async_tidy(hass, "entry", {"kept"})
    assert [name for name in hass_storage if ".sent." in name] == ["ulogger.sent.entry.kept"]


async def test_what_is_delivered_is_remembered_for_a_while_only(hass: HomeAssistant) -> None:
    parts = SentParts(hass, "entry", "destination")
    for number in range(sent_parts.MOST_DONE + 3):
        await parts.note(log(), number, Sent(3, 4))
    for number in range(sent_parts.MOST_DONE + 2):
        await parts.done(number)
    assert parts.sent(log(), 1) == (0, 0)
    assert parts.sent(log(), 2) == (3, 4)
    # One that is noted again is under way again, however long ago it was delivered.
    await parts.note(log(), 2, Sent(5, 6))
    for number in (3, 4, sent_parts.MOST_DONE + 2, 1000):
        await parts.done(number)
    assert parts.sent(log(), 2) == (5, 6)
