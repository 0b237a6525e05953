"""What comes of work that others do, when nobody knows what it may raise."""

from collections.abc import Awaitable
from types import TracebackType
from typing import Self


async def outcome(work: Awaitable[object]) -> Exception | None:
    """Wait for work to end; return what it raised, None if nothing. Cancellation passes."""
    with _Caught() as caught:
        await work
    return caught.error


class _Caught:
    """A context that ends at an error, and keeps it."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Keep an error."""
        if isinstance(error, Exception):
            self.error = error
            return True
        return False
