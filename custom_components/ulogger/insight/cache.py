"""Readings that were made a moment ago: a page of a list is turned, a second event is looked up."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from .reading import Reading

MOST_BYTES: Final = 8 * 1024 * 1024
OF_FRAME: Final = 700
"""Bytes that a frame takes with its numbers and two arguments; texts come on top."""


class ReadingCache:
    """The readings that were asked for last, up to so many bytes as they are estimated.

    Keys are the capture's id with whatever else the reading depends on, as the image's. A
    reading that is larger than the whole cache is not kept. Not to be shared between threads.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._readings: OrderedDict[Hashable, tuple[Reading, int]] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable, make: Callable[[], Reading]) -> Reading:
        """Return a reading that is at hand, or make it."""
        if (found := self.find(key)) is None:
            found = make()
            self.put(key, found)
        return found

    def find(self, key: Hashable) -> Reading | None:
        """Return a reading if it is at hand."""
        if (found := self._readings.get(key)) is None:
            return None
        self._readings.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, reading: Reading) -> None:
        """Keep a reading, and let go of those that were not asked for the longest."""
        self.forget(key)
        if (size := estimated_size(reading)) > self._most:
            return
        self._readings[key] = (reading, size)
        self.size += size
        while self.size > self._most:
            _, (_, freed) = self._readings.popitem(last=False)
            self.size -= freed

    def forget(self, key: Hashable) -> None:
        """Let go of a reading, as of a capture that is deleted or an image that is replaced."""
        if (found := self._readings.pop(key, None)) is not None:
            self.size -= found[1]

    def clear(self) -> None:
        """Let go of everything."""
        self._readings.clear()
        self.size = 0


def estimated_size(reading: Reading) -> int:
    """Return about how many bytes of memory a reading takes."""
    size = OF_FRAME
    for frame in reading.frames:
        size += OF_FRAME + 4 * len(frame.text or "")
        for argument in frame.arguments:
            size += 100 + (4 * len(argument.value) if isinstance(argument.value, str) else 0)
    return size
