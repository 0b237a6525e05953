"""Sends what captures say, each part once: entries first, then points, in their order."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import batched
from typing import Any, Final

from ...insight.crash_report import CrashReport
from ...insight.reading import Reading
from ...model.capture import Capture, CaptureKind
from ..errors import CloudError
from .entries import Message, messages
from .progress import Progress, Sent

AT_ONCE: Final = 10
"""Messages of a capture that wait for their acknowledgement at once."""

type Place = tuple[str, int, int]


class CaptureSender:
    """Sends captures; ``send`` returns at the acknowledgement and raises CloudError."""

    def __init__(
        self,
        send: Callable[[str, str, bytes], Awaitable[None]],
        progress: Progress,
        counters: Counter[str],
        *,
        reading_of: Callable[[int], Awaitable[Reading]],
        report_of: Callable[[Capture], Awaitable[CrashReport | None]],
        run: Callable[..., Awaitable[Any]],
    ) -> None:
        self._send = send
        self._progress = progress
        self._counters = counters
        self._reading_of = reading_of
        self._report_of = report_of
        self._run = run
        self._ahead: dict[int, set[Place]] = {}

    async def send(self, proxy_id: str, least: int, capture: Capture, capture_id: int) -> None:
        """Return once all of a capture is acknowledged; raises CloudError."""
        reading = await self._reading_of(capture_id)
        report = None
        if capture.kind is CaptureKind.CORE_DUMP:
            report = await self._report_of(capture)
        sent = self._progress.sent(capture, capture_id)
        found: list[tuple[Message, bytes]] = await self._run(
            partial(_encoded, capture, reading, report, least, sent, capture_id=capture_id)
        )
        last = found[-1][0] if found else None
        for some in batched(found, AT_ONCE, strict=False):
            await self._send_some(proxy_id, capture, capture_id, some, last)
        await self._progress.done(capture_id)
        self._ahead.pop(capture_id, None)
        self._counters["captures"] += 1

    async def _send_some(
        self,
        proxy_id: str,
        capture: Capture,
        capture_id: int,
        some: tuple[tuple[Message, bytes], ...],
        last: Message | None,
    ) -> None:
        """Send some messages side by side, and remember which of them are there."""
        ahead = self._ahead.get(capture_id, set())
        going = [each for each in some if _place(each[0]) not in ahead]
        results = await asyncio.gather(
            *(self._send(proxy_id, message.subfolder, payload) for message, payload in going),
            return_exceptions=True,
        )
        failures = [each for each in results if isinstance(each, BaseException)]
        self._counters["messages"] += len(results) - len(failures)
        lacking = {
            _place(message)
            for (message, _), result in zip(going, results, strict=True)
            if isinstance(result, BaseException)
        }
        reached: Message | None = None
        for message, _ in some:
            if _place(message) in lacking:
                break
            reached = message
        if failures:
            # What is there beyond the first that is not: only this run needs to know it.
            there = {_place(message) for message, _ in some} - lacking
            self._ahead[capture_id] = ahead | there
        if reached is not None and reached is not last:
            await self._progress.note(capture, capture_id, Sent(reached.frames, reached.points))
        for failure in failures:
            if not isinstance(failure, CloudError):
                raise failure
        if failures:
            raise failures[0]


def _place(message: Message) -> Place:
    return message.subfolder, message.frames, message.points


def _encoded(
    capture: Capture,
    reading: Reading,
    report: CrashReport | None,
    least: int,
    sent: Sent,
    *,
    capture_id: int,
) -> list[tuple[Message, bytes]]:
    found = messages(
        capture,
        reading,
        report,
        least,
        capture_id=capture_id,
        after_frames=sent.frames,
        after_points=sent.points,
    )
    return [
        (each, json.dumps(each.payload, separators=(",", ":"), allow_nan=False).encode())
        for each in found
    ]
