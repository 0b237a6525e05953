"""Names of functions and files, each kept once and known by its place."""

from typing import Final

LONGEST_NAME: Final = 512
MOST_BYTES: Final = 32 * 1024 * 1024


class NamePool:
    """NUL-terminated UTF-8 strings one after another; a name is its offset, 0 the empty one."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known: dict[bytes, int] = {b"": 0}

    def add(self, name: str | bytes) -> int:
        """Return the offset of a name; a pool that is full knows no new ones."""
        raw = (name.encode(errors="replace") if isinstance(name, str) else name)[:LONGEST_NAME]
        offset = self._known.get(raw)
        if offset is None:
            if len(self.data) + len(raw) >= MOST_BYTES:
                return 0
            offset = self._known[raw] = len(self.data)
            self.data += raw
            self.data.append(0)
        return offset

    def close(self) -> None:
        """Forget which names are known, since no more come."""
        self._known = {}


def name_at(pool: memoryview, offset: int) -> str:
    """Return the name at an offset of a stored pool, the empty one outside of it."""
    found = bytes(pool[offset : offset + LONGEST_NAME + 1])
    return found.partition(b"\0")[0].decode(errors="replace")
