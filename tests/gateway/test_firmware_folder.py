"""The watched folder: each file once, when it no longer changes; bad ones shown, not repeated."""

import asyncio
import os
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_fire_time_changed,
)

from custom_components.ulogger.account.firmware_files import Stamp
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway import firmware_folder
from custom_components.ulogger.gateway.firmware_folder import LOOK_EVERY
from tests.support.account import APPROVED, ToldTransport, load
from tests.support.fixtures import AGENT

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()


@pytest.fixture
def folder(hass: HomeAssistant, tmp_path: Path) -> Path:
    """A folder that Home Assistant may read."""
    found = tmp_path / "builds"
    found.mkdir()
    hass.config.allowlist_external_dirs = {str(found.resolve())}
    return found


@pytest.fixture
async def watching(hass: HomeAssistant, folder: Path, transport: ToldTransport) -> MockConfigEntry:
    """An account that watches the folder."""
    return await load(hass, options={**APPROVED, "firmware_folder": str(folder)})


async def look(hass: HomeAssistant, times: int = 1) -> None:
    for _ in range(times):
        async_fire_time_changed(hass, dt_util.utcnow() + LOOK_EVERY)
        await looked(hass)


async def looked(hass: HomeAssistant) -> None:
    """Wait for the look under way, and for what comes of it."""
    await hass.async_block_till_done()
    (entry,) = hass.config_entries.async_entries(DOMAIN)
    if (task := entry.runtime_data.firmware_folder.task) is not None:
        await task
    await hass.async_block_till_done()


def titles(entry: MockConfigEntry) -> list[str]:
    return sorted(each.title for each in entry.subentries.values())


def move(source: Path, target: Path) -> None:
    source.rename(target)


def issues(hass: HomeAssistant) -> set[str]:
    registry = ir.async_get(hass)
    return {
        issue.translation_key or ""
        for issue in registry.issues.values()
        if issue.domain == DOMAIN and (issue.translation_key or "").startswith("firmware")
    }


async def test_a_new_file_is_imported_once_it_no_longer_changes(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    file = folder / "pump.elf"
    file.write_bytes(IMAGE[:500])
    await look(hass)
    file.write_bytes(IMAGE)
    await look(hass)
    assert titles(watching) == []
    await look(hass)
    assert titles(watching) == ["4.24.2 (bc53443)"]
    assert issues(hass) == set()


async def test_a_file_is_read_once_also_after_a_restart_and_a_removal(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    (folder / "pump.elf").write_bytes(IMAGE)
    await look(hass, 2)
    hass.config_entries.async_remove_subentry(watching, next(iter(watching.subentries)))
    await look(hass, 2)
    assert await hass.config_entries.async_reload(watching.entry_id)
    await look(hass, 2)
    assert titles(watching) == []
    os.utime(folder / "pump.elf", ns=(1, 1))
    await look(hass, 2)
    assert titles(watching) == ["4.24.2 (bc53443)"]


async def test_a_file_that_came_back_counts_as_new(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    file = folder / "pump.elf"
    file.write_bytes(IMAGE)
    os.utime(file, ns=(1, 1))
    await look(hass, 2)
    hass.config_entries.async_remove_subentry(watching, next(iter(watching.subentries)))
    file.unlink()
    await look(hass)
    file.write_bytes(IMAGE)
    os.utime(file, ns=(1, 1))
    await look(hass, 2)
    assert titles(watching) == ["4.24.2 (bc53443)"]


async def test_the_name_of_a_file_tells_its_version(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    (folder / "pump-5.0.0-abcdef0.axf").write_bytes(IMAGE)
    (folder / "notes.txt").write_text("no image")
    await look(hass, 2)
    assert titles(watching) == ["5.0.0 (abcdef0)"]


async def test_a_bad_file_is_shown_and_not_read_again_until_it_is_mended(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / "pump.elf"
    file.write_bytes(IMAGE[: len(IMAGE) // 2])
    with patch.object(
        firmware_folder, "read_image_file", side_effect=firmware_folder.read_image_file
    ) as read:
        await look(hass, 5)
        assert read.call_count == 1
    assert issues(hass) == {"firmware_refused"}
    (told,) = (
        each.translation_placeholders or {}
        for each in ir.async_get(hass).issues.values()
        if each.translation_key == "firmware_refused"
    )
    assert told["detail"] == "pump.elf is damaged or not whole. Copy it anew."
    assert caplog.text.count("can be used") == 1
    file.write_bytes(IMAGE)
    await look(hass, 2)
    assert issues(hass) == set()
    assert titles(watching) == ["4.24.2 (bc53443)"]


async def test_the_card_of_a_bad_file_goes_with_the_file(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    file = folder / "pump.elf"
    file.write_bytes(b"nothing")
    await look(hass, 2)
    assert issues(hass) == {"firmware_refused"}
    file.unlink()
    await look(hass)
    assert issues(hass) == set()


async def test_a_link_that_leads_out_of_the_allowed_directories_is_not_followed(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.elf").write_bytes(IMAGE)
    (folder / "pump.elf").symlink_to(tmp_path / "secret.elf")
    await look(hass, 2)
    assert titles(watching) == []
    assert issues(hass) == {"firmware_refused"}


async def test_a_folder_that_is_gone_is_shown_until_it_is_back(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    (folder / "pump.elf").write_bytes(IMAGE)
    await look(hass, 2)
    move(folder, folder.with_name("elsewhere"))
    await look(hass, 2)
    assert issues(hass) == {"firmware_folder_missing"}
    move(folder.with_name("elsewhere"), folder)
    await look(hass, 2)
    assert issues(hass) == set()
    assert len(titles(watching)) == 1


async def test_a_look_that_lasts_is_not_joined_by_another(
    hass: HomeAssistant, watching: MockConfigEntry, folder: Path
) -> None:
    looks: list[Path] = []
    entered, go_on = threading.Event(), threading.Event()

    def listing(path: Path) -> dict[str, Stamp]:
        looks.append(path)
        entered.set()
        assert go_on.wait(10)
        return {}

    with patch.object(firmware_folder, "_list", listing):
        async_fire_time_changed(hass, dt_util.utcnow() + LOOK_EVERY)
        assert await hass.loop.run_in_executor(None, entered.wait, 10)
        tasks = [watching.runtime_data.firmware_folder.task]
        for _ in range(3):
            async_fire_time_changed(hass, dt_util.utcnow() + LOOK_EVERY)
            await asyncio.sleep(0)
            tasks.append(watching.runtime_data.firmware_folder.task)
        go_on.set()
        await looked(hass)
    assert looks == [folder]
    assert len(set(tasks)) == 1
