"""What comes of work that others do, when nobody knows what it may raise."""

import asyncio
from collections.abc import Awaitable


async def outcome(work: Awaitable[object]) -> Exception | None:
    """Wait for work to end; return what it raised, None if nothing. Cancellation passes."""
    [result] = await asyncio.gather(work, return_exceptions=True)
    if isinstance(result, Exception):
        return result
    if isinstance(result, BaseException):
        raise result
    return None
