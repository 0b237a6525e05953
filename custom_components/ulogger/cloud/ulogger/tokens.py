"""Session tokens that the cloud gave out, kept so that a device registers only once."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...model.identity import DeviceIdentity, DeviceKey
from .messages import LARGEST_TOKEN

MAX_ENTRIES = 10_000
REFRESH_AFTER = 30 * 24 * 3600.0
"""Seconds after which a token is asked for again; the old one is good until there is another."""
TRY_AGAIN_AFTER = 3600.0

type StoredTokens = dict[str, Any]
"""JSON: ``"application/serial": {"git_hash", "token", "at"}``, the least recently used first.

``at`` is when the cloud gave the token out (Unix seconds).
"""


class TokenCache:
    """One token a device, good for the firmware (git hash) that it was given to.

    ``save`` is awaited with all tokens after each change, ``save_soon`` called after one that
    nobody waits for; the least recently used ones are dropped beyond ``max_entries``. Entries
    that can't be read are forgotten: that costs one registration each. An entry without a time
    counts as given out just now.
    """

    def __init__(
        self,
        initial: Mapping[str, Any],
        save: Callable[[StoredTokens], Awaitable[None]],
        max_entries: int = MAX_ENTRIES,
        *,
        save_soon: Callable[[StoredTokens], None] | None = None,
        refresh_after: float = REFRESH_AFTER,
        now: Callable[[], float] = time.time,
    ) -> None:
        if max_entries < 1:
            raise ValueError("a token cache needs room for one token")
        self._save = save
        self._save_soon = save_soon
        self._max_entries = max_entries
        self._refresh_after = refresh_after
        self._now = now
        self._tried_at: dict[str, float] = {}
        self._tokens = {
            name: {**entry, "at": _given_out(entry, now())}
            for name, entry in initial.items()
            if _readable(entry)
        }

    def __len__(self) -> int:
        """Return how many devices have a token."""
        return len(self._tokens)

    def get(self, device: DeviceIdentity) -> int | None:
        """Return the token for exactly this firmware of the device."""
        entry = self._tokens.get(name := _name(device.key))
        if entry is None or entry["git_hash"] != device.git_hash:
            return None
        self._tokens[name] = self._tokens.pop(name)
        token: int = entry["token"]
        return token

    def refresh_due(self, device: DeviceIdentity) -> bool:
        """Return, once in a while, whether a device's token is so old that it should be renewed."""
        name, now = _name(device.key), self._now()
        if (entry := self._tokens.get(name)) is None or now - entry["at"] < self._refresh_after:
            return False
        if 0 <= now - self._tried_at.get(name, -TRY_AGAIN_AFTER) < TRY_AGAIN_AFTER:
            return False
        self._tried_at[name] = now
        return True

    def replace(self, key: DeviceKey, token: int) -> bool:
        """Take a token that the cloud gave out unasked; False for a device without one.

        The cloud names no firmware with it: it is for the one that the device had last.
        """
        if (entry := self._tokens.get(_name(key))) is None:
            return False
        if entry["token"] != token:
            self._tokens[_name(key)] = {**entry, "token": token, "at": self._now()}
            if self._save_soon is not None:
                self._save_soon(dict(self._tokens))
        return True

    async def put(self, device: DeviceIdentity, token: int) -> None:
        """Keep a token, in place of an older one."""
        name = _name(device.key)
        self._tokens.pop(name, None)
        self._tried_at.pop(name, None)
        self._tokens[name] = {"git_hash": device.git_hash, "token": token, "at": self._now()}
        while len(self._tokens) > self._max_entries:
            del self._tokens[next(iter(self._tokens))]
        await self._save(dict(self._tokens))

    async def forget(self, key: DeviceKey) -> None:
        """Drop a device's token: it registers again next time."""
        if self._tokens.pop(_name(key), None) is not None:
            await self._save(dict(self._tokens))

    async def clear(self) -> None:
        """Drop all tokens."""
        self._tokens.clear()
        await self._save({})


def _name(key: DeviceKey) -> str:
    application_id, serial = key
    return f"{application_id}/{serial}"


def _given_out(entry: dict[str, Any], now: float) -> float:
    """Return when a token was given out; a time to come is from before the clock was set."""
    at = entry.get("at")
    if isinstance(at, bool) or not isinstance(at, int | float):
        return now
    return at if 0 <= at <= now else now


def _readable(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    token = entry.get("token")
    return (
        isinstance(entry.get("git_hash"), str) and type(token) is int and 0 < token <= LARGEST_TOKEN
    )
