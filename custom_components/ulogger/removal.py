"""An account goes: everything of it is deleted, except captures that no cloud has.

Home Assistant asks nothing of an integration before it removes an entry, so captures that
wait are kept aside and a repair issue asks what is to become of them. The same account, added
again, takes them over. The issue outlives the account and is part of every diagnostics file of
the integration: it does not name the customer.
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .outbox.errors import OutboxError
from .outbox.model import DeviceCounters
from .outbox.outbox import Outbox
from .outbox.recovery import belongings
from .storage import outbox_path


async def async_remove_outbox(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the account's outbox, or keep it aside when captures wait in it."""
    path = outbox_path(hass, entry.entry_id)
    if not (waiting := await _undelivered(hass, path)):
        await Outbox.remove(path, hass.async_add_executor_job)
        return
    account = _account(entry)
    await hass.async_add_executor_job(_move, path, _left_behind(hass, account))
    ir.async_create_issue(
        hass,
        DOMAIN,
        _issue_id(account),
        data={"account": account},
        is_fixable=True,
        is_persistent=True,
        severity=ir.IssueSeverity.WARNING,
        translation_key="left_behind",
        translation_placeholders={
            "count": str(waiting),
            "date": dt_util.now().date().isoformat(),
        },
    )


async def async_take_over(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Give a new entry of the same account what the removed one left behind."""
    account = _account(entry)
    moved = await hass.async_add_executor_job(
        _move, _left_behind(hass, account), outbox_path(hass, entry.entry_id)
    )
    if moved:
        ir.async_delete_issue(hass, DOMAIN, _issue_id(account))


async def async_discard(hass: HomeAssistant, account: str) -> None:
    """Delete what a removed account left behind."""
    await Outbox.remove(_left_behind(hass, account), hass.async_add_executor_job)
    ir.async_delete_issue(hass, DOMAIN, _issue_id(account))


async def _undelivered(hass: HomeAssistant, path: Path) -> int:
    """Count the captures that no cloud has; an outbox that can't be read counts as one."""
    if not await hass.async_add_executor_job(path.exists):
        return 0
    try:
        outbox = await Outbox.open(path, hass.async_add_executor_job)
    except OutboxError:
        return 1
    try:
        total = DeviceCounters.total((await outbox.counters()).values())
    except OutboxError:
        return 1
    finally:
        with suppress(OutboxError):
            await outbox.close()
    return total.waiting + total.quarantined


def _account(entry: ConfigEntry[Any]) -> str:
    """Name an account the same each time, without saying whose it is."""
    return sha256(str(entry.unique_id).encode()).hexdigest()[:16]


def _left_behind(hass: HomeAssistant, account: str) -> Path:
    return outbox_path(hass, f"removed-{account}")


def _issue_id(account: str) -> str:
    return f"left_behind-{account}"


def _move(source: Path, target: Path) -> bool:
    """Rename an outbox and all that belongs to it, unless the target is there; says whether."""
    if target.exists() or not source.exists():
        return False
    for file in belongings(source):
        file.rename(target.with_name(target.name + file.name.removeprefix(source.name)))
    return True
