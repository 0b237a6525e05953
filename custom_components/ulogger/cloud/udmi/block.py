"""One part of a device's config and state, as every part looks from the device.

A block is made with the callables below. Those that it calls never raise.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

type Changed = Callable[[], None]
"""Notes that the state of a block is another one; it is published soon, together with others."""

type PublishEvent = Callable[[str, Mapping[str, Any]], None]
"""Publishes an event of the block's device: the subfolder, such as ``pointset``, and what it says.

Timestamp and version are added where they are missing. Some hundred wait while there is no
connection; then the oldest are dropped and counted.
"""

type Clock = Callable[[], float]
"""Seconds of a clock that only goes forward."""

type Now = Callable[[], datetime]
"""The present moment in UTC."""

type BlobHandler = Callable[[bytes, str], Awaitable[None]]
"""Applies the content of a blob of a generation; returns once it is applied, raises BlobFailed."""


class BlobFailed(Exception):
    """A blob can't be applied; the message says why, ``category`` at which step."""

    def __init__(self, message: str, category: str = "blobset.blob.apply") -> None:
        super().__init__(message)
        self.category = category


class Block(Protocol):
    """One part of a device: a key of its config and of its state."""

    name: str

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Take the block's part of a config, None where there is none.

        Never raises: what can't be used is reported in the block's status. ``timestamp`` is that
        of the whole config. A part that is no mapping never comes here.
        """

    def state(self) -> Mapping[str, Any] | None:
        """Return what stands in the device's state now, None to be left out."""

    def wake_at(self) -> float | None:
        """Return when `wake` wants to be called, by the handed-in clock; None for never."""

    def wake(self) -> None:
        """Do what is due."""
