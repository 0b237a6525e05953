"""An account goes: everything of it is deleted, except captures that nobody else has.

Home Assistant asks nothing of an integration before it removes an entry, so captures that wait,
or are only here, are kept aside and a repair issue asks what is to become of them. The same
account, added again, takes them over. The issue outlives the account and is part of every
diagnostics file of the integration: it does not name the customer.
"""

import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util

from ..const import DOMAIN
from ..model.capture import CaptureFault
from ..outbox.errors import OutboxError
from ..outbox.model import DAMAGED, CaptureState, DeviceCounters
from ..outbox.outbox import Outbox
from ..outbox.recovery import belongings
from .store import outbox_path

_LOGGER = logging.getLogger(__name__)

_REMOVED: Final = "removed-"
_UNDELIVERED: Final = (CaptureState.WAITING, CaptureState.QUARANTINED, CaptureState.KEPT)


async def async_remove_outbox(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the account's outbox, or keep it aside when captures in it are nowhere else."""
    path = outbox_path(hass, entry.entry_id)
    if not (waiting := await _undelivered(hass, path)):
        await Outbox.remove(path, hass.async_add_executor_job)
        return
    name = await hass.async_add_executor_job(_move_aside, path, _account(entry))
    ir.async_create_issue(
        hass,
        DOMAIN,
        _issue_id(name),
        data={"account": name},
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
    """Give an entry what removed ones of the same account left behind.

    What can't be read now stays where it is, with its issue.
    """
    path = outbox_path(hass, entry.entry_id)
    for left in await hass.async_add_executor_job(_left_behind, path.parent, _account(entry)):
        moved = await hass.async_add_executor_job(_move, left, path)
        if moved or await _merged(hass, left, path):
            ir.async_delete_issue(hass, DOMAIN, _issue_id(_name_of(left)))


async def async_discard(hass: HomeAssistant, account: str) -> None:
    """Delete what a removed account left behind."""
    await Outbox.remove(outbox_path(hass, _REMOVED + account), hass.async_add_executor_job)
    ir.async_delete_issue(hass, DOMAIN, _issue_id(account))


async def _merged(hass: HomeAssistant, source: Path, target: Path) -> bool:
    """Bring all captures that nobody else has from one outbox into another; says whether."""
    run = hass.async_add_executor_job
    try:
        async with AsyncExitStack() as opened:
            theirs = await Outbox.open(source, run)
            opened.push_async_callback(theirs.close)
            ours = await Outbox.open(target, run)
            opened.push_async_callback(ours.close)
            for row in reversed(await theirs.listing(states=_UNDELIVERED)):
                capture = await theirs.read(row.capture_id)
                if row.reason == DAMAGED:
                    capture = replace(capture, fault=CaptureFault.CHECKSUM)
                await ours.add(capture)
                # What its device holds by now is not this: the same content is new.
                await ours.erased(row.key)
                await theirs.discard(row.capture_id)
    except OutboxError as error:
        _LOGGER.warning("Captures of a removed account stay in %s: %s", source.name, error)
        return False
    await Outbox.remove(source, run)
    return True


async def _undelivered(hass: HomeAssistant, path: Path) -> int:
    """Count the captures that nobody else has; an outbox that can't be read counts as one."""
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
    return total.waiting + total.quarantined + total.only_here


def _account(entry: ConfigEntry[Any]) -> str:
    """Name an account the same each time, without saying whose it is."""
    return sha256(str(entry.unique_id or entry.entry_id).encode()).hexdigest()[:16]


def _issue_id(name: str) -> str:
    return f"left_behind-{name}"


def _name_of(left_behind: Path) -> str:
    return left_behind.stem.removeprefix(_REMOVED)


def _left_behind(directory: Path, account: str) -> list[Path]:
    """Name all outboxes that an account has left behind, the oldest first."""
    first = directory / f"{_REMOVED}{account}.sqlite"
    others = directory.glob(f"{_REMOVED}{account}-*.sqlite")
    later = sorted(others, key=lambda path: (len(path.name), path.name))
    return [path for path in (first, *later) if path.exists()]


def _move_aside(path: Path, account: str) -> str:
    """Put an outbox where nothing else is, and name what it is known by from now on."""
    for name in chain([account], (f"{account}-{number}" for number in count(2))):
        target = path.with_name(f"{_REMOVED}{name}.sqlite")
        if not belongings(target):
            break
    _rename(path, target)
    return name


def _move(source: Path, target: Path) -> bool:
    """Rename an outbox, unless the target is there; says whether."""
    if target.exists() or not source.exists():
        return False
    _rename(source, target)
    return True


def _rename(source: Path, target: Path) -> None:
    """Rename an outbox with all that belongs to it, the database last.

    As long as the database has not moved, the move can be done again.
    """
    for file in reversed(belongings(source)):
        file.rename(target.with_name(target.name + file.name.removeprefix(source.name)))
