"""An account that is a unit of Pepeunit: captures, its state, and what is kept of it."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.unit_files import UnitFiles
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.model.telemetry import TextLine
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.account import SENSOR, core_dump, log, meet
from tests.support.pepeunit import (
    add_unit,
    cards,
    pepeunit,
    unit,
)

__all__ = ["pepeunit", "unit"]


async def test_captures_go_to_the_log_and_count_as_delivered(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    meet(account)
    active = await add_unit(hass, account, pepeunit, unit)
    outbox = account.runtime_data.account.outbox
    ids = [(await outbox.add(each)).capture_id for each in (log(), core_dump())]
    assert await active.delivery.wait_delivered(SENSOR.key, ids, 10) == set(ids)
    came = [record["text"] for record in pepeunit.records(unit)]
    assert any(text.startswith(f"{SENSOR.serial} #{ids[0]}.3 ") for text in came)
    assert any("core dump of" in text for text in came)
    assert pepeunit.invalid == []


async def test_log_records_that_home_assistant_forwards_go_there_too(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    assert account.runtime_data.text_logs[active.id] is active.destination
    lines = [TextLine(0.0, 2, "mqtt: lost")]
    await active.destination.publish_text_log(account.runtime_data.identity, lines)
    await pepeunit.wait_until(lambda: pepeunit.records(unit))
    assert pepeunit.records(unit)[-1]["text"].endswith("mqtt: lost")


async def test_the_state_of_this_machine_comes_at_its_interval(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    await add_unit(hass, account, pepeunit, unit)
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("state"))) == 2)
    first, second = (each.at for each in pepeunit.messages if each.topic == unit.topic("state"))
    assert 1.0 <= second - first < 2.5
    assert json.loads(pepeunit.of(unit.topic("state"))[0])["pu_commit_version"] == unit.commit
    assert pepeunit.invalid == []


async def test_a_shorter_interval_counts_at_once(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    unit.env_override = {"PU_STATE_SEND_INTERVAL": 86_400}
    await add_unit(hass, account, pepeunit, unit)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("state")))
    unit.env_override = {"PU_STATE_SEND_INTERVAL": 1}
    await pepeunit.command(unit, "EnvUpdate")
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("state"))) == 2)
    first, second = (each.at for each in pepeunit.messages if each.topic == unit.topic("state"))
    assert second - first >= 1.0


async def test_a_capture_that_can_not_be_read_waits(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    with pytest.raises(CloudUnavailable):
        await active.destination.deliver(log(), 4711)


async def test_nothing_secret_is_in_the_entry_or_in_the_diagnostics(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    kept = json.dumps([dict(each.data) for each in account.subentries.values()])
    told = json.dumps(await async_get_config_entry_diagnostics(hass, account), default=str)
    for secret in (unit.token, unit.secret_key, unit.encrypt_key):
        assert secret not in kept
        assert secret not in told
    assert unit.uuid not in told
    assert active.diagnostics()["readable"]


async def test_a_unit_that_is_removed_leaves_nothing_behind(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    hass_storage: dict[str, Any],
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    await active.updates.async_fetch()
    assert unit.token in json.dumps(hass_storage)
    assert active.updates.files.archive.exists()
    hass.config_entries.async_remove_subentry(account, active.id)
    await hass.async_block_till_done()
    assert not active.updates.files.archive.exists()
    assert not [name for name in hass_storage if unit.uuid in name]
    assert unit.token not in json.dumps(hass_storage)
    assert cards(hass) == {}


async def test_a_unit_that_is_being_added_is_not_swept_by_an_account_that_is_loaded(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    keep = UnitFiles.async_keep

    async def keep_and_reload(self: UnitFiles, *schema: Any) -> None:
        await keep(self, *schema)
        await hass.config_entries.async_reload(account.entry_id)

    with patch.object(UnitFiles, "async_keep", keep_and_reload):
        active = await add_unit(hass, account, pepeunit, unit)
    assert active.connected
