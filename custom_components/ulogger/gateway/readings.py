"""What devices say: each capture is read once it is on disk and its device was released.

Reading happens in the executor, one capture at a time. Nothing here is durable but a summary of
each capture, which can be made anew (see `summary_file`). When a firmware image comes or goes, what
was read without it is read again: logs when they are asked for, core dumps at once, since an image
changes what names their crash.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.event import async_track_time_interval

from ..account.account import Account
from ..account.store import outbox_path
from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..coordinator import DeviceCoordinator
from ..firmware.matching import ImageKey
from ..firmware.symbols import Symbols
from ..insight.cache import ReadingCache
from ..insight.crash_report import crash_report
from ..insight.hourly import HOUR, hourly
from ..insight.news import News, news_of
from ..insight.reading import Reading, read
from ..insight.repeated_metrics import RepeatedMetrics
from ..insight.summary import summarize
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceKey
from ..model.signal import Signal
from ..outbox.errors import NoSuchCapture, OutboxClosed, OutboxError
from ..outbox.model import Row
from .images import Images
from .metric_hours import DueHour
from .summary_file import SummaryFile, SummaryRow

_LOGGER = logging.getLogger(__name__)

MOST_AT_START: Final = 2_000
"""Captures that were never read and are read at a start: the newest ones."""
TIDY_EVERY: Final = timedelta(hours=1)
TURN_WITHIN: Final = 30.0
_AT_ONCE: Final = 32
_JOBS_AT_ONCE: Final = 2


def readings_path(outbox_path: Path) -> Path:
    """Where the summaries of an outbox's captures are."""
    return outbox_path.with_suffix(".readings.sqlite")


async def async_remove_readings(hass: HomeAssistant, entry_id: str) -> None:
    """Delete what was read of an account's captures."""
    path = readings_path(outbox_path(hass, entry_id))
    await hass.async_add_executor_job(SummaryFile.remove, path)


class Readings:
    """The readings of an account's captures.

    ``read`` notifies of each capture once, also over restarts, in the order in which a device's
    captures came: of the device (None for one that is not collected any more), the capture's ID,
    the capture and what it says. ``read_again`` notifies in the same way of each core dump that
    another firmware image explains now, or none any more. ``news`` notifies in the same
    way of what a capture says that none before it has said. ``caught_up`` notifies when all that
    was stored is read.
    """

    def __init__(
        self,
        account: Account,
        path: Path,
        device_of: Callable[[DeviceKey], DeviceCoordinator | None],
        images: Images,
    ) -> None:
        self._hass = account.hass
        self._account = account
        self._path = path
        self._device_of = device_of
        self._images = images
        self._images_changed = True
        self._changes = 0
        self._file: SummaryFile | None = None
        self._known: dict[int, float] = {}
        self._unreadable: set[int] = set()
        self._due: dict[DeviceKey | None, None] = {}
        self._begun = False
        self.task: asyncio.Task[None] | None = None
        self._cache = ReadingCache()
        self._one_at_a_time = asyncio.Lock()
        self._loading = asyncio.Semaphore(_JOBS_AT_ONCE)
        self.read = Signal[DeviceCoordinator | None, int, Capture, Reading]()
        self.read_again = Signal[DeviceCoordinator | None, int, Capture, Reading]()
        self.news = Signal[DeviceCoordinator | None, int, Capture, News]()
        self.caught_up = Signal[()]()
        self._repeated = RepeatedMetrics()

    # Life

    async def async_start(self) -> None:
        """Open the file."""
        self._file = await self._hass.async_add_executor_job(SummaryFile.opened, self._path)
        self._known = await self._hass.async_add_executor_job(self._remember, self._file)

    def _remember(self, file: SummaryFile) -> dict[int, float]:
        """Recall what is not new any more, and return what was read; blocks."""
        try:
            for device, metric in file.seen():
                self._repeated.remember(device, (metric,))
            return file.known()
        except sqlite3.Error as error:
            _LOGGER.warning("%s can't be read, and is made anew: %s", self._path.name, error)
            self._repeated = RepeatedMetrics()
            file.renew()
            return {}

    @callback
    def begin(self) -> None:
        """Read beside everything else, now that those who want to be notified are there."""
        self._begun = True
        on_unload = self._account.entry.async_on_unload
        on_unload(
            async_track_time_interval(self._hass, self._tidy, TIDY_EVERY, cancel_on_shutdown=True)
        )
        on_unload(self._images.changed.add(self._another_image))
        self._read_soon(None)

    async def async_stop(self) -> None:
        """Finish the capture at hand, and let go of the file."""
        self._begun = False
        self._due.clear()
        file, self._file = self._file, None
        if self.task is not None and not self.task.done():
            await asyncio.wait([self.task])
        if file is not None:
            await self._hass.async_add_executor_job(file.close)

    @callback
    def captures_stored(self, device: DeviceCoordinator) -> None:
        """Read what a device that was released has given."""
        self._read_soon(device.identity.key)

    async def async_forget(self, key: DeviceKey) -> None:
        """Forget a device that is removed, but not its captures."""
        if (file := self._file) is not None:
            await self._async_ask(file, partial(self._forget, file, key))

    def _forget(self, file: SummaryFile, key: DeviceKey) -> None:
        self._repeated.forget(key)
        file.forget(key)

    @callback
    def _read_soon(self, key: DeviceKey | None) -> None:
        """Have what is new of a device, or of all of them, read in a moment."""
        self._due[key] = None
        self._work_soon()

    @callback
    def _work_soon(self) -> None:
        if not self._begun or self._file is None:
            return
        if self.task is None or self.task.done():
            self.task = self._account.entry.async_create_background_task(
                self._hass, self._work_off(), "Read captures"
            )

    # What others ask

    @property
    def busy(self) -> bool:
        """Whether something that was stored is still to be read."""
        return self._begun and bool(self._due or (self.task is not None and not self.task.done()))

    async def async_reading(self, capture_id: int) -> Reading:
        """Return what a capture says; raises ``OutboxError`` where it is not, or not readable."""
        if (reading := self._cache.find(capture_id)) is None:
            changes = self._changes
            capture = await self._account.outbox.read(capture_id)
            row = await self._async_row(capture_id)
            reading = await self._hass.async_add_executor_job(self._read, capture, row)
            self._put(capture_id, reading, changes)
        return reading

    async def async_turn(self, capture_id: int) -> None:
        """Return once a capture was read in its device's turn, or won't be for now.

        What is read before that is dated by itself, not by the log before it.
        """
        if self._file is None or capture_id in self._known or capture_id in self._unreadable:
            return
        if self._begun and (self.task is None or self.task.done()):
            return
        turn = asyncio.get_running_loop().create_future()

        def was_read(_device: object, read_id: int, *_said: object) -> None:
            if read_id == capture_id and not turn.done():
                turn.set_result(None)

        remove = self.read.add(was_read)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_WITHIN):
                    await turn
        finally:
            remove()

    async def async_summaries(
        self, key: DeviceKey | None = None, limit: int = -1
    ) -> list[SummaryRow]:
        """Return the summaries of a device's captures, or of all, the newest first."""
        if (file := self._file) is None:
            return []
        return await self._async_ask(file, partial(file.rows, key, limit)) or []

    async def async_summaries_of(self, capture_ids: Sequence[int]) -> dict[int, SummaryRow]:
        """Return the summaries of captures, by their IDs, as far as there are any."""
        if (file := self._file) is None:
            return {}
        return await self._async_ask(file, partial(file.some, capture_ids)) or {}

    async def async_with_captures[T](self, job: Callable[[], T]) -> T:
        """Do a job that loads captures, in an executor.

        It holds a thread while it waits for another one; were there many, none would be left.
        """
        async with self._loading:
            return await self._hass.async_add_executor_job(job)

    async def async_hours_due(self, before: int) -> list[DueHour]:
        """Return the hours of metrics before an hour (since 1970) that have something new."""
        if (file := self._file) is None:
            return []
        return await self._async_ask(file, partial(file.due_hours, before)) or []

    async def async_hours_done(self, hours: Iterable[DueHour]) -> None:
        """Note that hours of metrics were imported, unless they got more meanwhile."""
        if (file := self._file) is not None:
            now = int(time.time() // HOUR)
            await self._async_ask(file, partial(file.hours_done, hours, now))

    def load(self, capture_id: int) -> Capture | None:
        """Load a capture from an executor's thread, None where it is gone; blocks."""
        reading = asyncio.run_coroutine_threadsafe(
            self._account.outbox.read(capture_id), self._hass.loop
        )
        try:
            return reading.result()
        except OutboxError:
            return None

    @callback
    def _another_image(self, _key: ImageKey) -> None:
        """Read anew what is asked for from now on, and what an image has to name."""
        self._changes += 1
        self._cache.clear()
        self._images_changed = True
        self._work_soon()

    def _put(self, capture_id: int, reading: Reading, changes: int) -> None:
        """Keep a reading at hand, unless images came or went while it was made."""
        if changes == self._changes:
            self._cache.put(capture_id, reading)

    # Reading

    async def _work_off(self) -> None:
        while (self._due or self._images_changed) and (file := self._file) is not None:
            try:
                if self._due:
                    await self._read_due(file)
                else:
                    await self._read_dumps_again(file)
            except OutboxClosed:
                return
            except OutboxError as err:
                _LOGGER.debug("What came off a device can't be read: %s", err)
        self.caught_up.notify()

    async def _read_due(self, file: SummaryFile) -> None:
        """Read what is new of the device whose turn it is."""
        key = next(iter(self._due))
        del self._due[key]
        for row in await self._unread(key):
            if not self._begun:
                return
            await self._read_new(file, row)

    async def _read_dumps_again(self, file: SummaryFile) -> None:
        """Read the core dumps that another image explains than the one that did; new ones first."""
        self._images_changed = False
        for row in await self._async_ask(file, file.core_dumps) or []:
            if self._images.name_of(row.device) == row.image:
                continue
            if self._due or not self._begun:
                self._images_changed = True
                return
            await self._read_again(file, row)

    async def _read_again(self, file: SummaryFile, row: SummaryRow) -> None:
        changes = self._changes
        try:
            capture = await self._account.outbox.read(row.capture_id)
        except OutboxClosed:
            raise
        except OutboxError as err:
            _LOGGER.debug("Capture %s can't be read again: %s", row.capture_id, err)
            return
        job = partial(self._summarize_again, file, row, capture)
        if (reading := await self._async_ask(file, job)) is not None:
            self._put(row.capture_id, reading, changes)
            device = self._device_of(capture.device.key)
            self.read_again.notify(device, row.capture_id, capture, reading)

    async def _unread(self, key: DeviceKey | None) -> list[Row]:
        """Name the captures that were not read yet, in the order in which they came."""
        outbox = self._account.outbox
        if key is None:
            rows = await outbox.listing()
            await self._keep_only(rows)
            return [row for row in rows if self._is_new(row)][:MOST_AT_START][::-1]
        limit = _AT_ONCE
        while True:
            rows = await outbox.listing(key, limit=limit)
            if len(rows) < limit or not self._is_new(rows[-1]) or limit >= MOST_AT_START:
                return [row for row in rows if self._is_new(row)][::-1]
            limit *= 4

    def _is_new(self, row: Row) -> bool:
        """Whether a capture has no summary; an outbox that was lost counts from 1 again."""
        if row.capture_id in self._unreadable:
            return False
        return self._known.get(row.capture_id) != row.captured_at

    async def _read_new(self, file: SummaryFile, row: Row) -> None:
        """Read one capture, keep its summary, and notify of it."""
        if not self._is_new(row):
            return
        capture_id, changes = row.capture_id, self._changes
        try:
            capture = await self._account.outbox.read(capture_id)
        except OutboxClosed:
            raise
        except OutboxError as err:
            if not isinstance(err, NoSuchCapture):
                _LOGGER.debug("Capture %s can't be read: %s", capture_id, err)
            self._unreadable.add(capture_id)
            return
        device = self._device_of(capture.device.key)
        names = [] if device is None else device.heard.names(self._metric_limit)
        job = partial(self._read_and_keep, file, row, capture, names)
        # A second time with a file that was made anew.
        done = await self._async_ask(file, job) or await self._async_ask(file, job)
        if done is None:
            self._unreadable.add(capture_id)
            return
        reading, news = done
        self._known[capture_id] = row.captured_at
        self._put(capture_id, reading, changes)
        self.read.notify(device, capture_id, capture, reading)
        self.news.notify(device, capture_id, capture, news)

    def _read_and_keep(
        self, file: SummaryFile, row: Row, capture: Capture, names: Iterable[str]
    ) -> tuple[Reading, News]:
        """Read a capture, write its summary, and tell what is new in it; blocks."""
        continues = row.continues is not None and not row.may_repeat
        before = None
        if capture.kind is CaptureKind.LOG:
            earlier = file.get(row.continues) if continues and row.continues else None
            before = earlier.summary.anchor if earlier else file.last_anchor(row.key)
        # Asked before the image is: one that comes in between is another one, and read again.
        name = self._images.name_of(capture.device)
        image = self._images.image_of(capture.device)
        reading = read(capture, image, before, continues=continues)
        summary = summarize(reading, _fingerprint(capture, image))
        level, limit = self._account.settings.event_level, self._metric_limit
        news = news_of(reading, row.key, self._repeated, level, names=names, most_names=limit)
        with file.transaction():
            file.put(
                SummaryRow(
                    row.capture_id,
                    row.captured_at,
                    row.key,
                    row.kind,
                    summary,
                    before,
                    continues,
                    capture.device.git_version,
                    capture.device.git_hash,
                    name,
                )
            )
            file.remember(row.key, news.dated)
            file.add_hours(row.key, hourly(news.metrics))
        return reading, news

    def _summarize_again(self, file: SummaryFile, row: SummaryRow, capture: Capture) -> Reading:
        """Read a core dump again and write its summary; blocks."""
        name = self._images.name_of(capture.device)
        image = self._images.image_of(capture.device)
        reading = read(capture, image)
        summary = summarize(reading, _fingerprint(capture, image))
        file.put(replace(row, summary=summary, image=name))
        return reading

    def _read(self, capture: Capture, row: SummaryRow | None) -> Reading:
        """Read a capture again; blocks."""
        image = self._images.image_of(capture.device)
        if row is None:
            return read(capture, image)
        return read(capture, image, row.before, continues=row.continues)

    @property
    def _metric_limit(self) -> int:
        return self._account.settings.metric_limit

    async def _async_row(self, capture_id: int) -> SummaryRow | None:
        if (file := self._file) is None:
            return None
        return await self._async_ask(file, partial(file.get, capture_id))

    # Order

    async def _tidy(self, _now: datetime) -> None:
        self._read_soon(None)

    async def _keep_only(self, rows: Iterable[Row]) -> None:
        """Forget the captures that have left the outbox."""
        there = {row.capture_id for row in rows}
        gone = self._known.keys() - there
        if not gone or (file := self._file) is None:
            return
        for capture_id in gone:
            del self._known[capture_id]
            self._cache.forget(capture_id)
        self._unreadable &= there
        await self._async_ask(file, partial(file.keep_only, there))

    async def _async_ask[T](self, file: SummaryFile, job: Callable[[], T]) -> T | None:
        """Do a job with the file; one that fails gives None, and a file that is made anew."""
        async with self._one_at_a_time:
            try:
                return await self._hass.async_add_executor_job(job)
            except sqlite3.Error as error:
                await self._async_renew(file, error)
                return None

    async def _async_renew(self, file: SummaryFile, error: sqlite3.Error) -> None:
        """Begin a new file in place of one that failed; what was notified of stays so."""
        _LOGGER.warning("%s is made anew: %s", self._path.name, error)
        # What was remembered was to be the same as what the file holds.
        self._repeated = RepeatedMetrics()
        try:
            await self._hass.async_add_executor_job(file.renew)
        except (sqlite3.Error, OSError) as err:
            _LOGGER.warning("%s can't be made: %s", self._path.name, err)


def _fingerprint(capture: Capture, image: Symbols | None) -> str | None:
    """Return the fingerprint of the crash that a core dump shows, if it shows one."""
    if capture.kind is not CaptureKind.CORE_DUMP:
        return None
    try:
        report = crash_report(CoreDump.parse(capture.data), image)
    except CaptureError:
        return None
    return None if report is None else report.fingerprint
