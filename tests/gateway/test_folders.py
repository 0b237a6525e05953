"""A folder of an account: there at once, with what belongs to it, and nobody's delay."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.folder import folder, writing
from custom_components.ulogger.cloud.folder.names import MARKER
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.outbox.model import CaptureState
from tests.support.account import CRASH_LOG, SENSOR, ToldTransport, core_dump, log, meet
from tests.support.flows import add_destination, answer, suggestions

SECONDS = 10.0


@pytest.fixture
def place(hass: HomeAssistant) -> Path:
    """Where captures go; Home Assistant allows what is in its configuration."""
    return Path(hass.config.path("captures"))


async def add(
    hass: HomeAssistant, account: MockConfigEntry, place: Path, *, include_kept: bool = True
) -> ConfigSubentry:
    """Add a folder the way a person does."""
    form = await add_destination(hass, account.entry_id, "folder")
    done = await answer(
        hass, form, path=str(place), keep_days=0, keep_mb=0, include_kept=include_kept
    )
    assert done["type"] == "create_entry", done
    return list(account.subentries.values())[-1]


async def got(account: MockConfigEntry, destination: str, *ids: int) -> bool:
    """Wait until a destination has captures; says whether it has all of them."""
    delivery = account.runtime_data.destinations[destination].delivery
    return bool(await delivery.wait_delivered(SENSOR.key, ids, SECONDS) == set(ids))


def files(place: Path, pattern: str = "*.bin") -> list[bytes]:
    return [path.read_bytes() for path in sorted((place / SENSOR.serial).glob(pattern))]


def shown(
    hass: HomeAssistant, account: MockConfigEntry, subentry: ConfigSubentry
) -> dict[str, str]:
    """Return what the entities of a destination show, by their keys."""
    prefix = f"{account.entry_id}-{subentry.subentry_id}-"
    found = {}
    for each in er.async_entries_for_config_entry(er.async_get(hass), account.entry_id):
        if each.config_subentry_id == subentry.subentry_id:
            assert each.unique_id.startswith(prefix)
            state = hass.states.get(each.entity_id)
            assert state is not None
            found[each.unique_id.removeprefix(prefix)] = state.state
    return found


def device(
    hass: HomeAssistant, account: MockConfigEntry, subentry: ConfigSubentry
) -> dr.AnyDeviceEntry | None:
    identifier = (DOMAIN, f"{account.entry_id}-{subentry.subentry_id}")
    return dr.async_get(hass).async_get_device_by_identifier(identifier, account.entry_id)


async def refresh(hass: HomeAssistant, account: MockConfigEntry) -> None:
    await account.runtime_data.account.async_refresh_counters()
    await hass.async_block_till_done()


# It is there at once


async def test_a_folder_that_is_added_gets_what_is_kept_and_has_entities_of_its_own(
    hass: HomeAssistant, account: MockConfigEntry, place: Path
) -> None:
    meet(account)
    added = await account.runtime_data.account.outbox.add(log())
    assert await got(account, "ulogger", added.capture_id)

    subentry = await add(hass, account, place)

    assert account.state is ConfigEntryState.LOADED
    assert await got(account, subentry.subentry_id, added.capture_id)
    assert files(place) == [CRASH_LOG]
    later = await account.runtime_data.account.outbox.add(core_dump())
    assert await got(account, subentry.subentry_id, later.capture_id)
    assert await got(account, "ulogger", later.capture_id)
    await refresh(hass, account)
    assert shown(hass, account, subentry) == {"captures_waiting": "0", "connection": "on"}
    there = device(hass, account, subentry)
    assert there is not None
    assert there.name == "captures"
    [of_account] = [
        each
        for each in dr.async_entries_for_config_entry(dr.async_get(hass), account.entry_id)
        if (DOMAIN, account.entry_id) in each.identifiers
    ]
    assert there.via_device_id == of_account.id


async def test_a_folder_gets_only_what_comes_from_now_on_if_that_is_wanted(
    hass: HomeAssistant, account: MockConfigEntry, place: Path
) -> None:
    meet(account)
    await account.runtime_data.account.outbox.add(log())
    subentry = await add(hass, account, place, include_kept=False)
    later = await account.runtime_data.account.outbox.add(core_dump())
    assert await got(account, subentry.subentry_id, later.capture_id)
    assert len(files(place)) == 1
    assert CRASH_LOG not in files(place)


async def test_another_directory_holds_from_the_change_on(
    hass: HomeAssistant, account: MockConfigEntry, place: Path
) -> None:
    meet(account)
    first = await account.runtime_data.account.outbox.add(log())
    subentry = await add(hass, account, place)
    assert await got(account, subentry.subentry_id, first.capture_id)
    form = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    other = place.with_name("others")

    await answer(hass, form, **{**suggestions(form), "path": str(other)})

    later = await account.runtime_data.account.outbox.add(core_dump())
    assert await got(account, subentry.subentry_id, later.capture_id)
    assert files(place) == [CRASH_LOG]
    assert len(files(other)) == 1
    assert CRASH_LOG not in files(other)
    there = device(hass, account, subentry)
    assert there is not None
    assert there.name == "others"


async def test_a_new_name_is_shown_at_once(
    hass: HomeAssistant, account: MockConfigEntry, place: Path
) -> None:
    subentry = await add(hass, account, place)
    hass.config_entries.async_update_subentry(account, subentry, title="The stick")
    await hass.async_block_till_done()
    assert account.runtime_data.destinations[subentry.subentry_id].title == "The stick"
    there = device(hass, account, subentry)
    assert there is not None
    assert there.name == "The stick"


async def test_a_folder_that_is_removed_goes_with_all_but_its_files(
    hass: HomeAssistant, account: MockConfigEntry, place: Path
) -> None:
    meet(account)
    added = await account.runtime_data.account.outbox.add(log())
    subentry = await add(hass, account, place)
    assert await got(account, subentry.subentry_id, added.capture_id)
    (place / MARKER).unlink()
    waits = await account.runtime_data.account.outbox.add(core_dump())
    assert await got(account, "ulogger", waits.capture_id)

    hass.config_entries.async_remove_subentry(account, subentry.subentry_id)
    await hass.async_block_till_done()

    assert account.state is ConfigEntryState.LOADED
    assert set(account.runtime_data.destinations) == {"ulogger"}
    assert shown(hass, account, subentry) == {}
    assert device(hass, account, subentry) is None
    assert files(place) == [CRASH_LOG]
    rows = await account.runtime_data.account.outbox.listing()
    assert [row.state for row in rows] == [CaptureState.DELIVERED] * 2
    assert all(set(row.deliveries) == {"ulogger"} for row in rows)


async def test_other_changes_of_an_account_do_not_load_it_anew(
    hass: HomeAssistant, account: MockConfigEntry, place: Path
) -> None:
    await add(hass, account, place)
    gateway = account.runtime_data
    hass.config_entries.async_update_entry(account, title="Lab")
    await hass.async_block_till_done()
    assert account.runtime_data is gateway


# It fails


@contextmanager
def no_marker(place: Path) -> Iterator[None]:
    """Have something else stand where the directory was."""
    marker = place / MARKER
    content = marker.read_bytes()
    marker.unlink()
    yield
    marker.write_bytes(content)


@contextmanager
def no_space(_place: Path) -> Iterator[None]:
    """Have less space left than there must be."""
    with patch.object(writing, "RESERVE", 1 << 80):
        yield


@pytest.mark.parametrize(
    ("trouble", "issue"), [(no_marker, "folder_missing"), (no_space, "folder_full")]
)
async def test_a_folder_in_need_waits_is_named_and_delays_nobody(
    hass: HomeAssistant,
    account: MockConfigEntry,
    transport: ToldTransport,
    place: Path,
    trouble: Any,
    issue: str,
) -> None:
    meet(account)
    subentry = await add(hass, account, place)
    assert issue not in issues(hass)
    with patch.object(folder, "LOOK_EVERY", 0.01):
        assert await hass.config_entries.async_reload(account.entry_id)
        outbox = account.runtime_data.account.outbox
        with trouble(place):
            first = await outbox.add(log())
            second = await outbox.add(core_dump())
            assert await got(account, "ulogger", first.capture_id, second.capture_id)
            assert sorted(topic.split("/")[0] for topic, _ in transport.published) == [
                "binlog",
                "boot",
                "core-dump",
            ]
            there = account.runtime_data.destinations[subentry.subentry_id]
            there.delivery.wake()
            await until_told(account, lambda: there.destination.failure is not None)
            await refresh(hass, account)
            assert shown(hass, account, subentry) == {
                "captures_waiting": "2",
                "connection": "off",
            }
            placeholders = issues(hass)[issue].translation_placeholders or {}
            assert placeholders["path"] == str(place)
            assert placeholders["count"] == "2"
            told = json.dumps(await async_get_config_entry_diagnostics(hass, account), default=str)
            assert issue in told
            assert str(place) not in told
            assert files(place) == []
            states = [row.state for row in await outbox.listing()]
            assert states == [CaptureState.WAITING] * 2

        assert await got(account, subentry.subentry_id, first.capture_id, second.capture_id)

    assert CRASH_LOG in files(place)
    assert len(files(place)) == len(files(place, "*.json")) == 2
    await refresh(hass, account)
    assert issue not in issues(hass)
    assert shown(hass, account, subentry) == {"captures_waiting": "0", "connection": "on"}


async def until_told(account: MockConfigEntry, holds: Callable[[], bool]) -> None:
    """Wait until something holds, looking at each change that the account notifies of."""
    changed = asyncio.Event()
    stop = account.runtime_data.account.changed.add(changed.set)
    try:
        async with asyncio.timeout(SECONDS):
            while not holds():
                changed.clear()
                await changed.wait()
    finally:
        stop()


def issues(hass: HomeAssistant) -> dict[str, ir.IssueEntry]:
    return {
        str(each.translation_key): each
        for each in ir.async_get(hass).issues.values()
        if each.domain == DOMAIN and each.active
    }
