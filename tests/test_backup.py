"""A backup made at any moment holds every capture, and nobody waits for it."""

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.backup import async_post_backup, async_pre_backup
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.outbox.errors import DiskFailed
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import ToldTransport, core_dump, load, log, meet

from .support.outbox_world import open_outbox


@pytest.fixture(autouse=True)
def nothing_is_delivered(transport: ToldTransport) -> None:
    transport.tell(ConnectionState.DISCONNECTED)


def copied(hass: HomeAssistant, target: Path) -> Path:
    """Copy all of `.storage`, file by file, as a backup does."""
    shutil.copytree(hass.config.path(".storage"), target)
    return target


async def captures_in(hass: HomeAssistant, path: Path) -> list[bytes]:
    """Read a copy of an outbox."""
    outbox = await open_outbox(path, hass.async_add_executor_job)
    try:
        assert outbox.recovered is None
        rows = await outbox.listing()
        return [(await outbox.read(row.capture_id)).data for row in rows]
    finally:
        await outbox.close()


async def test_a_copy_made_during_a_backup_holds_what_was_there_before(
    hass: HomeAssistant, account: MockConfigEntry, tmp_path: Path
) -> None:
    await account.runtime_data.account.outbox.add(log())
    await async_pre_backup(hass)
    copy = await hass.async_add_executor_job(copied, hass, tmp_path / "copy")
    await async_post_backup(hass)
    name = outbox_path(hass, account.entry_id).relative_to(hass.config.path(".storage"))
    assert await captures_in(hass, copy / name) == [log().data]


async def test_the_file_stays_as_it_is_while_captures_come(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await account.runtime_data.account.outbox.add(log())
    await async_pre_backup(hass)
    before = await hass.async_add_executor_job(path.read_bytes)
    await account.runtime_data.account.outbox.add(core_dump())
    await account.runtime_data.account.outbox.checkpoint()
    assert await hass.async_add_executor_job(path.read_bytes) == before
    await async_post_backup(hass)
    await account.runtime_data.account.outbox.checkpoint()
    assert await hass.async_add_executor_job(path.read_bytes) != before
    assert len(await account.runtime_data.account.outbox.listing()) == 2


async def test_what_was_to_be_saved_later_is_saved_before_the_backup(
    hass: HomeAssistant, account: MockConfigEntry, hass_storage: dict[str, Any]
) -> None:
    device = meet(account)
    await async_pre_backup(hass)
    (stored,) = hass_storage[f"ulogger.{account.entry_id}"]["data"]["devices"]
    assert stored["identity"]["serial"] == device.identity.serial
    await async_post_backup(hass)


async def test_a_disk_that_fails_ends_the_backup_and_not_the_outbox(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    with (
        patch.object(Outbox, "freeze", side_effect=DiskFailed("input/output error")),
        pytest.raises(DiskFailed),
    ):
        await async_pre_backup(hass)
    await async_post_backup(hass)
    await account.runtime_data.account.outbox.add(log())


async def test_one_outbox_that_fails_does_not_keep_another_frozen(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    other = await load(hass, customer_id=43, options={})
    await async_pre_backup(hass)
    thawed = []

    async def thaw(outbox: Outbox) -> None:
        thawed.append(outbox)
        if len(thawed) == 1:
            raise DiskFailed("input/output error")

    with patch.object(Outbox, "thaw", thaw), pytest.raises(DiskFailed):
        await async_post_backup(hass)
    assert thawed == [account.runtime_data.account.outbox, other.runtime_data.account.outbox]
    await async_post_backup(hass)
