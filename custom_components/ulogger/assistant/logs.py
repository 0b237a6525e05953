"""The tools that list devices, search what they logged, and set what they log."""

import time
from datetime import datetime, timedelta
from typing import Any

from homeassistant.helpers import device_registry as dr
from homeassistant.util import dt as dt_util

from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..gateway.log_search import async_search_logs
from ..insight.log_lines import moment
from ..insight.search import Query
from ..model.level import Level
from .question import Question


async def list_devices(question: Question) -> dict[str, Any]:
    """Return the account's devices."""
    return {"devices": [_described(device) for device in question.devices]}


async def search_logs(question: Question) -> dict[str, Any]:
    """Return a page of lines, the newest first."""
    wanted = question.arguments
    query = Query(
        _seconds(wanted.get("since")),
        _seconds(wanted.get("until")),
        Level[wanted["level"].upper()] if "level" in wanted else None,
        wanted.get("module"),
        wanted.get("contains"),
        wanted["limit"],
        wanted["page"],
    )
    page = await async_search_logs(question.hass, question.devices, query)
    return {
        "lines": [line.as_dict() for line in page.lines],
        "page": query.page,
        "more": page.more,
    }


async def set_log_level(question: Question) -> dict[str, Any]:
    """Do what the action of the same name does, in the name of whoever talks to the model."""
    wanted = question.arguments
    registry = dr.async_get(question.hass)
    devices = [
        found.id
        for device in question.devices
        if (
            found := registry.async_get_device_by_identifier(
                device.identifier, device.account.entry_id
            )
        )
    ]
    await question.hass.services.async_call(
        DOMAIN,
        "set_log_level",
        {
            "device_id": devices,
            "level": wanted["level"],
            "modules": wanted["modules"],
            "duration": timedelta(minutes=wanted["minutes"]),
        },
        blocking=True,
        context=question.context,
    )
    return {"devices": [_described(device) for device in question.devices]}


def _described(device: DeviceCoordinator) -> dict[str, Any]:
    identity, state = device.identity, device.data
    wish = device.log_level
    return {
        "serial": identity.serial,
        "type": identity.device_type,
        "application": identity.application_id,
        "version": identity.git_version,
        "hash": identity.git_hash,
        "in_range": state.present,
        "state": str(device.phase),
        "last_error": state.last_error,
        "last_collected": moment(device.record.last_collected or None),
        "captures_kept": state.counters.kept,
        "captures_waiting": state.counters.waiting,
        "core_dumps": state.counters.core_dumps,
        "last_core_dump": moment(state.counters.last_core_dump),
        "log_level": wish
        and {
            "level": wish.level_name,
            "modules": wish.modules,
            "seconds_left": wish.remaining(time.time()),
            "written_to_device": device.log_level_written,
        },
    }


def _seconds(when: datetime | None) -> float | None:
    """Return Unix seconds; a time without a zone is one of Home Assistant's own zone."""
    return None if when is None else dt_util.as_utc(when).timestamp()
