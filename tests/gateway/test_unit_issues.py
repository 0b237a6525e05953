"""What a person should look at of a Pepeunit unit."""

from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.pepeunit import echoes
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.repairs import async_create_fix_flow
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.account import SENSOR, log, meet
from tests.support.pepeunit import (
    add_unit,
    cards,
    pepeunit,
    unit,
    until,
)

__all__ = ["pepeunit", "unit"]


async def test_what_the_broker_drops_waits_and_is_shown_until_it_is_tried_again(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echoes.Echoes.__init__, "__defaults__", (0.3,))
    meet(account)
    active = await add_unit(hass, account, pepeunit, unit)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("state")))
    pepeunit.allow(denied=(unit.topic("log"),))
    outbox = account.runtime_data.account.outbox
    added = await outbox.add(log())
    account.runtime_data.async_retry_now()
    await until(lambda: "pepeunit_denied" in cards(hass))
    [row] = await outbox.listing(states=(CaptureState.WAITING,))
    assert row.capture_id == added.capture_id

    pepeunit.allow()
    card = cards(hass)["pepeunit_denied"]
    flow = await async_create_fix_flow(hass, card.issue_id, card.data)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, card.issue_id
    await flow.async_step_confirm({})
    assert await active.delivery.wait_delivered(SENSOR.key, [added.capture_id], 10)
    await hass.async_block_till_done()
    assert "pepeunit_denied" not in cards(hass)


async def test_a_token_that_travels_readable_stays_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    await add_unit(hass, account, pepeunit, unit)
    assert "pepeunit_readable" in cards(hass)


async def test_a_unit_that_pepeunit_refuses_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    pepeunit.refusing = (403, "deleted")
    await pepeunit.command(unit, "Update")
    await until(lambda: "pepeunit_refused" in cards(hass))
    pepeunit.refusing = None
    await pepeunit.command(unit, "Update")
    await until(lambda: "pepeunit_refused" not in cards(hass))

    pepeunit.gate.allowed.clear()
    await pepeunit.gate.drop()
    await until(lambda: "pepeunit_refused" in cards(hass))
    assert active.destination.state is ConnectionState.CREDENTIALS_REFUSED


async def test_an_input_that_may_not_be_heard_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    pepeunit.allow(denied=(unit.topic("lamp"),))
    await add_unit(hass, account, pepeunit, unit, inputs=[{"node": "lamp", "shown_as": "event"}])
    card = cards(hass)["pepeunit_denied"]
    assert unit.topic("lamp") in str(card.translation_placeholders)


async def test_an_hour_without_pepeunit_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    await pepeunit.broker.astop()
    await pepeunit.gate.drop()
    await until(lambda: active.disconnected_since is not None)
    assert active.disconnected_since is not None
    active.disconnected_since -= 3600
    active.account.changed.notify()
    assert "pepeunit_unreachable" in cards(hass)


async def test_a_client_that_is_the_same_unit_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    transport = active.destination.link._transport
    with patch.object(type(transport), "state", ConnectionState.CLIENT_ID_CONFLICT):
        active.account.changed.notify()
        assert "pepeunit_conflict" in cards(hass)


async def test_lost_files_are_told_and_captures_wait(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    store = active.updates.files.store()
    await hass.config_entries.async_unload(account.entry_id)
    await store.async_remove()
    await hass.config_entries.async_setup(account.entry_id)
    await hass.async_block_till_done()
    assert "pepeunit_files_gone" in cards(hass)
    added = await account.runtime_data.account.outbox.add(log())
    [row] = await account.runtime_data.account.outbox.listing(states=(CaptureState.WAITING,))
    assert row.capture_id == added.capture_id
