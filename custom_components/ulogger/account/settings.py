"""What a config entry says about its account, with types and in the units that code uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from homeassistant.config_entries import ConfigEntry

from .. import const as c
from ..model.identity import ULOGGER
from ..model.level import Level

KILOBYTE = 1_000
MEGABYTE = 1_000_000


def wanted_since(entry: ConfigEntry[Any]) -> dict[str, float]:
    """Name an account's destinations, each with since when (Unix seconds) it wants captures.

    uLogger wants all that is kept; others say what they want when they are added. Clesyde wants
    none unless a topic was chosen for some.
    """
    wanted = {
        each.subentry_id: float(each.data[c.CONF_SINCE])
        for each in entry.subentries.values()
        if each.subentry_type in c.DESTINATION_SUBENTRIES
        and (each.subentry_type != c.SUBENTRY_CLESYDE or _has_topic(each.data))
    }
    if entry.data[c.CONF_CONNECTION] not in c.WITHOUT_CAPTURES:
        wanted[ULOGGER] = 0.0
    return wanted


def _has_topic(data: Mapping[str, Any]) -> bool:
    """Whether a destination to which captures go by topics has one for any."""
    return any(data.get(name) for name in c.CAPTURE_TOPICS)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The options of an account.

    Sizes are in bytes; ``daily_quota`` 0 is no limit; an empty ``firmware_folder`` is none. Lines
    of devices from ``event_level`` on become events, none without it; ``metric_limit`` is how many
    metrics of a device have a sensor. ``reserved_slots`` of each scanner are left to other
    integrations.
    """

    interval: timedelta
    adaptive_interval: bool
    reserved_slots: int
    live_duration: timedelta
    name_patterns: tuple[str, ...]
    device_limit: int
    heartbeats: bool
    daily_quota: int
    retention_days: int
    retention_bytes: int
    undelivered_budget: int
    offer_to_assistants: bool
    firmware_folder: str
    event_level: Level | None
    metric_limit: int

    @classmethod
    def of(cls, entry: ConfigEntry[Any]) -> Self:
        """Read the options as they are now."""
        options = entry.options
        return cls(
            interval=timedelta(
                minutes=options.get(c.CONF_COLLECT_INTERVAL, c.DEFAULT_COLLECT_INTERVAL)
            ),
            adaptive_interval=options.get(c.CONF_ADAPTIVE_INTERVAL, c.DEFAULT_ADAPTIVE_INTERVAL),
            reserved_slots=round(options.get(c.CONF_RESERVED_SLOTS, c.DEFAULT_RESERVED_SLOTS)),
            live_duration=timedelta(
                minutes=options.get(c.CONF_LIVE_MINUTES, c.DEFAULT_LIVE_MINUTES)
            ),
            name_patterns=tuple(options.get(c.CONF_NAME_PATTERNS, c.DEFAULT_NAME_PATTERNS)),
            device_limit=round(options.get(c.CONF_DEVICE_LIMIT, c.DEFAULT_DEVICE_LIMIT)),
            heartbeats=options.get(c.CONF_HEARTBEATS, c.DEFAULT_HEARTBEATS),
            daily_quota=round(
                options.get(c.CONF_DAILY_QUOTA_KB, c.DEFAULT_DAILY_QUOTA_KB) * KILOBYTE
            ),
            retention_days=round(options.get(c.CONF_RETENTION_DAYS, c.DEFAULT_RETENTION_DAYS)),
            retention_bytes=round(
                options.get(c.CONF_RETENTION_MB, c.DEFAULT_RETENTION_MB) * MEGABYTE
            ),
            undelivered_budget=round(
                options.get(c.CONF_UNDELIVERED_BUDGET_MB, c.DEFAULT_UNDELIVERED_BUDGET_MB)
                * MEGABYTE
            ),
            offer_to_assistants=options.get(c.CONF_OFFER_TO_ASSISTANTS, False),
            firmware_folder=options.get(c.CONF_FIRMWARE_FOLDER, ""),
            event_level=_level(options.get(c.CONF_LOG_EVENTS, c.DEFAULT_LOG_EVENTS)),
            metric_limit=round(options.get(c.CONF_METRIC_LIMIT, c.DEFAULT_METRIC_LIMIT)),
        )


def _level(chosen: str) -> Level | None:
    return None if chosen == c.LEVEL_OFF else Level[chosen.upper()]
