"""What a removed account leaves behind, and what a person can do about it."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.const import DOMAIN, ENTRY_VERSION
from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.outbox.errors import DiskFailed
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import (
    APPROVED,
    CRASH_DUMP,
    CRASH_LOG,
    SENSOR,
    ToldTransport,
    core_dump,
    load,
    log,
    meet,
)
from tests.support.flows import add_destination, answer
from tests.support.repairs import Card, card, client, kinds

__all__ = ["client"]


@pytest.fixture
async def left_behind(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    """Remove an account while a capture waits."""
    transport.tell(ConnectionState.DISCONNECTED)
    await account.runtime_data.account.outbox.add(log())
    await hass.config_entries.async_remove(account.entry_id)
    transport.tell(ConnectionState.CONNECTED)


def files(hass: HomeAssistant) -> list[str]:
    """Name the files that the integration has on disk."""
    return sorted(path.name for path in outbox_path(hass, "").parent.iterdir())


@pytest.mark.usefixtures("left_behind")
async def test_captures_of_a_removed_account_can_be_kept_for_when_it_comes_back(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    repair = card(hass, client, "left_behind")
    ended = await repair.answer(await repair.open(), next_step_id="keep")
    assert ended["reason"] == "kept"
    # That is an answer: nobody asks again.
    assert kinds(hass) == []
    entry = await load(hass)
    assert kinds(hass) == []
    (row,) = await entry.runtime_data.account.outbox.listing()
    assert (await entry.runtime_data.account.outbox.read(row.capture_id)).data == CRASH_LOG


@pytest.mark.usefixtures("left_behind")
async def test_another_account_does_not_take_them_over(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    entry = await load(hass, customer_id=43)
    assert kinds(hass) == ["left_behind"]
    assert await entry.runtime_data.account.outbox.listing() == []


@pytest.mark.usefixtures("left_behind")
async def test_captures_of_a_removed_account_are_discarded_only_after_a_second_question(
    hass: HomeAssistant, client: Any
) -> None:
    repair = card(hass, client, "left_behind")
    question = await repair.answer(await repair.open(), next_step_id="discard")
    assert question["type"] == "form"
    assert len(files(hass)) == 1
    assert (await repair.answer(question))["type"] == "create_entry"
    assert kinds(hass) == []
    assert files(hass) == []


async def test_an_account_without_captures_leaves_nothing_behind(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == []
    assert files(hass) == []


async def test_what_was_set_aside_of_a_damaged_outbox_goes_with_it(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.write_bytes, b"not a database" * 1000)
    await hass.config_entries.async_setup(account.entry_id)
    transport.tell(ConnectionState.DISCONNECTED)
    await account.runtime_data.account.outbox.add(log())
    await hass.config_entries.async_remove(account.entry_id)
    assert all(name.startswith("removed-") for name in files(hass))
    assert any(".damaged-" in name for name in files(hass))


async def test_an_outbox_that_can_not_be_read_is_not_deleted(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    with patch.object(Outbox, "counters", side_effect=DiskFailed("input/output error")):
        await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == ["left_behind"]
    assert files(hass)


async def test_an_account_that_was_never_set_up_leaves_nothing_behind(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.unlink)
    await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == []
    assert files(hass) == []


async def test_an_outbox_that_can_not_be_opened_is_not_deleted(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await hass.config_entries.async_unload(account.entry_id)
    with patch.object(Outbox, "open", side_effect=DiskFailed("input/output error")):
        await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == ["left_behind"]
    assert files(hass)


@pytest.mark.usefixtures("left_behind")
async def test_what_one_account_left_behind_does_not_orphan_the_outbox_of_another(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    """An account becomes the one that was removed, by reconfiguration, and is removed itself."""
    transport.tell(ConnectionState.DISCONNECTED)
    other = await load(hass, customer_id=43)
    await other.runtime_data.account.outbox.add(
        replace(log(), data=b"other", fault=CaptureFault.CHECKSUM)
    )
    await hass.config_entries.async_unload(other.entry_id)
    hass.config_entries.async_update_entry(other, unique_id="42-0")
    await hass.config_entries.async_remove(other.entry_id)
    assert kinds(hass) == ["left_behind", "left_behind"]
    assert all(name.startswith("removed-") for name in files(hass))
    entry = await load(hass)
    assert "left_behind" not in kinds(hass)
    outbox = entry.runtime_data.account.outbox
    datas = [(await outbox.read(row.capture_id)).data for row in await outbox.listing()]
    assert sorted(datas) == sorted([CRASH_LOG, b"other"])
    assert all(name.startswith(entry.entry_id) for name in files(hass))


@pytest.mark.usefixtures("left_behind")
async def test_each_outbox_left_behind_is_discarded_by_its_own_card(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    other = await load(hass, customer_id=43)
    await other.runtime_data.account.outbox.add(
        replace(log(), data=b"other", fault=CaptureFault.CHECKSUM)
    )
    await hass.config_entries.async_unload(other.entry_id)
    hass.config_entries.async_update_entry(other, unique_id="42-0")
    await hass.config_entries.async_remove(other.entry_id)
    issues = [each for each in ir.async_get(hass).issues.values() if each.domain == DOMAIN]
    for left, issue in zip((1, 0), issues, strict=True):
        repair = Card(client, issue)
        question = await repair.answer(await repair.open(), next_step_id="discard")
        assert (await repair.answer(question))["type"] == "create_entry"
        assert len(kinds(hass)) == left
        assert len([name for name in files(hass) if name.endswith(".sqlite")]) == left


@pytest.mark.usefixtures("left_behind")
async def test_what_can_not_be_merged_now_stays_where_it_is(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    other = await load(hass, customer_id=43)
    await hass.config_entries.async_unload(other.entry_id)
    hass.config_entries.async_update_entry(other, unique_id="42-0")
    with patch.object(Outbox, "discard", side_effect=DiskFailed("input/output error")):
        await hass.config_entries.async_setup(other.entry_id)
    assert kinds(hass) == ["left_behind"]
    await hass.config_entries.async_reload(other.entry_id)
    assert kinds(hass) == []
    (row,) = await other.runtime_data.account.outbox.listing()
    assert (await other.runtime_data.account.outbox.read(row.capture_id)).data == CRASH_LOG


# An account without a cloud


async def load_only_here(hass: HomeAssistant) -> MockConfigEntry:
    """Set up an account without a cloud."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="only_here",
        title="uLogger",
        data={"connection": "none", "client_suffix": "5eed5eed"},
        version=ENTRY_VERSION,
        options=APPROVED,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


async def test_captures_that_nobody_else_has_are_asked_about(
    hass: HomeAssistant, client: Any
) -> None:
    entry = await load_only_here(hass)
    await entry.runtime_data.account.outbox.add(log())
    await hass.config_entries.async_remove(entry.entry_id)

    repair = card(hass, client, "left_behind")
    assert (repair.issue.translation_placeholders or {})["count"] == "1"
    again = await load_only_here(hass)

    assert kinds(hass) == []
    (row,) = await again.runtime_data.account.outbox.listing()
    assert row.state is CaptureState.KEPT
    assert (await again.runtime_data.account.outbox.read(row.capture_id)).data == CRASH_LOG


async def test_captures_that_nobody_else_has_are_merged(hass: HomeAssistant) -> None:
    first = await load_only_here(hass)
    await first.runtime_data.account.outbox.add(log())
    await hass.config_entries.async_unload(first.entry_id)
    second = await load_only_here(hass)
    await second.runtime_data.account.outbox.add(core_dump())
    await hass.config_entries.async_unload(second.entry_id)
    await hass.config_entries.async_remove(first.entry_id)
    assert kinds(hass) == ["left_behind"]

    assert await hass.config_entries.async_setup(second.entry_id)

    assert kinds(hass) == []
    outbox = second.runtime_data.account.outbox
    datas = [(await outbox.read(row.capture_id)).data for row in await outbox.listing()]
    assert sorted(datas) == sorted([CRASH_LOG, CRASH_DUMP])


async def test_what_a_folder_has_is_not_asked_about(hass: HomeAssistant) -> None:
    entry = await load_only_here(hass)
    meet(entry)
    added = await entry.runtime_data.account.outbox.add(log())
    form = await add_destination(hass, entry.entry_id, "folder")
    path = hass.config.path("captures")
    await answer(hass, form, path=path, keep_days=0, keep_mb=0, include_kept=True)
    [folder] = entry.runtime_data.destinations.values()
    assert await folder.delivery.wait_delivered(SENSOR.key, [added.capture_id], 10)

    await hass.config_entries.async_remove(entry.entry_id)

    assert kinds(hass) == []
    assert files(hass) == []
