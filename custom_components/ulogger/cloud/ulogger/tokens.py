"""Session tokens that the cloud gave out, kept so that a device registers only once."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...capture.model import DeviceIdentity, DeviceKey
from .messages import LARGEST_TOKEN

MAX_ENTRIES = 10_000

type StoredTokens = dict[str, Any]
"""JSON: ``"application/serial": {"git_hash", "token"}``, the least recently used first."""


class TokenCache:
    """One token a device, good for the firmware (git hash) that it was given to.

    ``save`` is awaited with all tokens after each change; the least recently used ones are
    dropped beyond ``max_entries``. Entries that can't be read are forgotten: that costs one
    registration each.
    """

    def __init__(
        self,
        initial: Mapping[str, Any],
        save: Callable[[StoredTokens], Awaitable[None]],
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        if max_entries < 1:
            raise ValueError("a token cache needs room for one token")
        self._save = save
        self._max_entries = max_entries
        self._tokens = {name: entry for name, entry in initial.items() if _readable(entry)}

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

    async def put(self, device: DeviceIdentity, token: int) -> None:
        """Keep a token, in place of an older one."""
        name = _name(device.key)
        self._tokens.pop(name, None)
        self._tokens[name] = {"git_hash": device.git_hash, "token": token}
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


def _readable(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    token = entry.get("token")
    return (
        isinstance(entry.get("git_hash"), str) and type(token) is int and 0 < token <= LARGEST_TOKEN
    )
