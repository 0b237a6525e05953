"""The arbiter of one device's log level: several sides wish, one wish wins.

Each source (a person, uLogger, another destination by its id) has at most one wish, and a wish
has an end. Invariants:

1. Of the wishes that last, the most verbose wins; among those of one level the one for more
   modules, then the one that lasts longest. When it ends, the next one wins.
2. A newer wish replaces the older one of its own source, and no other source's.
3. What a device holds is known from what was written to it, and only from that. A write is due
   whenever it differs from the winner; without a winner, until the device is at its defaults.

Nothing here knows the time or a device: moments are handed in, as Unix seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from .level import LEVELS
from .log_config import LONGEST, SHORTEST, LogConfig

PERSON: Final = "person"
UNKNOWN: Final = "unknown"
"""Of a wish that an earlier version stored without its source; whoever wishes next replaces it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one source wants a device to log, until ``expires_at``."""

    source: str
    level: int
    module_flags: int
    expires_at: float
    modules: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, source: str, config: LogConfig, now: float) -> Wish:
        """Make the wish of one who sends *config* now."""
        expires_at = now + min(config.timeout_seconds, LONGEST)
        return cls(source, config.level, config.module_flags, expires_at, list(config.modules))

    @property
    def level_name(self) -> str:
        """The level's name in lower case."""
        return LEVELS[self.level]

    def remaining(self, now: float) -> int:
        """Whole seconds until the wish ends, 0 when it has ended."""
        return max(SHORTEST, round(self.expires_at - now)) if self.lasts(now) else 0

    def lasts(self, now: float) -> bool:
        """Whether the wish has not ended."""
        return self.expires_at > now


@dataclass(frozen=True, slots=True)
class Written:
    """What a device was written, which holds until ``until``.

    It is not ``certain`` after a write of which nobody knows whether it arrived: the device may
    hold this or something else until then.
    """

    level: int
    module_flags: int
    until: float
    certain: bool = True

    def is_what(self, wish: Wish) -> bool:
        """Whether a device that holds this does what *wish* wants."""
        held = (self.level, self.module_flags, self.until)
        return self.certain and held == (wish.level, wish.module_flags, wish.expires_at)


@dataclass(frozen=True, slots=True)
class LogLevels:
    """All wishes for one device by their source, and what the device was written last."""

    wishes: Mapping[str, Wish] = field(default_factory=dict)
    written: Written | None = None

    def winner(self, now: float) -> Wish | None:
        """Return the wish that the device shall follow; None for its own defaults."""
        lasting = (wish for wish in self.wishes.values() if wish.lasts(now))
        return min(lasting, key=_precedence, default=None)

    def wished(self, wish: Wish) -> LogLevels:
        """Return these with *wish* in place of what its source wished before."""
        others = {
            source: each
            for source, each in self.wishes.items()
            if source not in {wish.source, UNKNOWN}
        }
        return replace(self, wishes=others | {wish.source: wish})

    def withdrawn(self, source: str) -> LogLevels:
        """Return these without the wish of *source*."""
        return replace(
            self, wishes={name: each for name, each in self.wishes.items() if name != source}
        )

    def cleared(self) -> LogLevels:
        """Return these without any wish: the device shall be at its defaults."""
        return replace(self, wishes={})

    def without_ended(self, now: float) -> LogLevels:
        """Return these without what has ended by *now*."""
        lasting = {source: each for source, each in self.wishes.items() if each.lasts(now)}
        holds = self.written is not None and self.written.until > now
        return LogLevels(lasting, self.written if holds else None)

    def told(self, now: float) -> Written | None:
        """Return what the device was told and still does; None where that is its defaults.

        After a write of which nobody knows whether it arrived, it is what was written.
        """
        held = self.written
        return held if held is not None and held.until > now else None

    @property
    def next_end(self) -> float | None:
        """When the first wish ends or has ended; None without any."""
        return min((wish.expires_at for wish in self.wishes.values()), default=None)

    def due(self, now: float) -> LogConfig | None:
        """Return what the device has to be written now; None when it holds what it shall.

        Where nobody wishes anything, what it holds is ended after a second: the device knows
        no other way back to its defaults.
        """
        held = self.written
        if (wish := self.winner(now)) is not None:
            if held is not None and held.is_what(wish):
                return None
            seconds = min(wish.remaining(now), LONGEST)
            return LogConfig(wish.level, wish.module_flags, seconds, tuple(wish.modules))
        if held is None or held.until <= now:
            return None
        return LogConfig(held.level, held.module_flags, SHORTEST)

    def after_write(self, before: LogLevels, now: float, *, certain: bool = True) -> LogLevels:
        """Return these after a write of what was due in *before*.

        Wishes may have come while it was being written: they stay. With ``certain`` False the
        write failed, and the device may have taken it all the same.
        """
        wish, held = before.winner(now), self.written
        if wish is not None:
            written = Written(wish.level, wish.module_flags, wish.expires_at)
        elif certain:
            return replace(self, written=None)
        elif held is not None:
            written = held
        else:
            return self
        if not certain:
            until = max(written.until, held.until if held is not None else 0.0)
            written = replace(written, until=until, certain=False)
        return replace(self, written=written)


def _precedence(wish: Wish) -> tuple[int, int, float, int, str]:
    """Order wishes, the winner first; the source's name only makes the order total."""
    flags = wish.module_flags
    return wish.level, -flags.bit_count(), -wish.expires_at, flags, wish.source
