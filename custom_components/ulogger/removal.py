"""An account goes: everything of it is deleted, except captures that no cloud has.

Home Assistant asks nothing of an integration before it removes an entry, so captures that
wait are kept aside and a repair issue asks what is to become of them. The same account, added
again, takes them over.
"""

from pathlib import Path
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir

from .const import DOMAIN
from .outbox.errors import OutboxError
from .outbox.model import DeviceCounters
from .outbox.outbox import Outbox
from .storage import outbox_path

_SUFFIXES = ("", "-wal", "-shm")


async def async_remove_outbox(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the account's outbox, or keep it aside when captures wait in it."""
    path = outbox_path(hass, entry.entry_id)
    if not (waiting := await _undelivered(hass, path)):
        await Outbox.remove(path, hass.async_add_executor_job)
        return
    account_id = str(entry.unique_id)
    await hass.async_add_executor_job(_move, path, _left_behind(hass, account_id))
    ir.async_create_issue(
        hass,
        DOMAIN,
        _issue_id(account_id),
        data={"account_id": account_id, "account": entry.title, "count": waiting},
        is_fixable=True,
        is_persistent=True,
        severity=ir.IssueSeverity.WARNING,
        translation_key="left_behind",
        translation_placeholders={"account": entry.title, "count": str(waiting)},
    )


async def async_take_over(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Give a new entry of the same account what the removed one left behind."""
    account_id = str(entry.unique_id)
    moved = await hass.async_add_executor_job(
        _move, _left_behind(hass, account_id), outbox_path(hass, entry.entry_id)
    )
    if moved:
        ir.async_delete_issue(hass, DOMAIN, _issue_id(account_id))


async def async_discard(hass: HomeAssistant, account_id: str) -> None:
    """Delete what a removed account left behind."""
    await Outbox.remove(_left_behind(hass, account_id), hass.async_add_executor_job)
    ir.async_delete_issue(hass, DOMAIN, _issue_id(account_id))


async def _undelivered(hass: HomeAssistant, path: Path) -> int:
    """Count the captures that no cloud has; an outbox that can't be read counts as one."""
    if not await hass.async_add_executor_job(path.exists):
        return 0
    try:
        outbox = await Outbox.open(path, hass.async_add_executor_job)
        try:
            total = DeviceCounters.total((await outbox.counters()).values())
        finally:
            await outbox.close()
    except OutboxError:
        return 1
    return total.waiting + total.quarantined


def _left_behind(hass: HomeAssistant, account_id: str) -> Path:
    return outbox_path(hass, f"removed-{account_id}")


def _issue_id(account_id: str) -> str:
    return f"left_behind-{account_id}"


def _move(source: Path, target: Path) -> bool:
    """Rename an outbox's files unless the target is there; says whether it did."""
    if target.exists() or not source.exists():
        return False
    for suffix in _SUFFIXES:
        file = source.with_name(source.name + suffix)
        if file.exists():
            file.rename(target.with_name(target.name + suffix))
    return True
