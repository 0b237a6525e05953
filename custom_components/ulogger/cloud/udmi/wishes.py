"""What a site wants to hear of a device, as wishes for the device's log level."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from ...model.identity import DeviceKey
from ...model.log_config import ALL_MODULES, LONGEST, SHORTEST, LogConfig
from .entries import log_level

RENEW_AFTER: Final = LONGEST / 2
"""Seconds after which a wish is said again: a device's level is never wished for for ever."""

type Told = Callable[[DeviceKey, LogConfig, bool], None]


class LevelWishes:
    """Wishes by device. ``keep`` puts on disk when each was told (Unix seconds).

    A wish that was told before is told as one that may have come before.
    """

    def __init__(
        self,
        told_at: Mapping[str, float],
        keep: Callable[[Mapping[str, float]], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self.on_log_config: Told | None = None
        self._told_at = dict(told_at)
        self._keep = keep
        self._now = now
        self._levels: dict[DeviceKey, int] = {}

    def forget(self, key: DeviceKey) -> None:
        """Forget a device."""
        self._levels.pop(key, None)

    async def wish(self, key: DeviceKey, min_loglevel: int | None) -> None:
        """Have a device log what a site wants to hear; None where it does not say."""
        before = self._levels.get(key)
        if min_loglevel is None:
            if before is not None:
                del self._levels[key]
                self._told_at.pop(_name(key, before), None)
                # The last wish of a source counts: this one ends at once.
                self._tell(key, LogConfig(before, ALL_MODULES, SHORTEST), again=False)
                await self._keep(dict(self._told_at))
            return
        level = log_level(min_loglevel)
        if level != before:
            self._levels[key] = level
            if before is not None:
                self._told_at.pop(_name(key, before), None)
            await self.tell(key)

    async def tell(self, key: DeviceKey) -> None:
        """Tell of the present wish for a device, if there is one."""
        if (level := self._levels.get(key)) is None:
            return
        now, name = self._now(), _name(key, level)
        told_at = self._told_at.get(name)
        again = told_at is not None and 0 <= now - told_at < RENEW_AFTER
        self._tell(key, LogConfig(level, ALL_MODULES, LONGEST), again=again)
        if not again:
            self._told_at[name] = now
            await self._keep(dict(self._told_at))

    def _tell(self, key: DeviceKey, config: LogConfig, *, again: bool) -> None:
        if self.on_log_config is not None:
            self.on_log_config(key, config, again)


def _name(key: DeviceKey, level: int) -> str:
    return f"{key[0]}/{key[1]}/{level}"
