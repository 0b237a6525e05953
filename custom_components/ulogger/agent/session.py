"""One Bluetooth session with a device: who it is, its log, its core dump, and the erase command.

The erase command is given in one place, ``Pending.__aexit__``: a capture is handed out as a
context, and leaving that without an error is the commit.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

from ..capture.core_dump import check_core_dump
from ..capture.errors import CaptureError
from ..capture.log_buffer import LogHeader, check_log
from ..model.capture import Capture, CaptureFault, CaptureKind
from ..model.identity import DeviceIdentity
from ..model.log_config import LogConfig
from .errors import AgentError, BadLogConfig, ChecksumFailed, LinkLost, StaleTransfer
from .gatt import CONFIG, CORE_DUMP_DATA, LOG_ACK, LOG_CONFIG, LOG_DATA, RSSI, GattClient
from .link import FAST_INTERVAL, USUAL_INTERVAL, Link, Requests
from .memory import TransferMemory
from .packets import encode_ack, parse_identification, parse_rssi, starts_transfer
from .transfer import PATIENCE, WIRE_LIMIT, Transfer, TransferOutcome, Unasked
from .window import SendWindow

REFETCHES: Final = 3
"""How often a capture with a wrong checksum is fetched again in one session."""
RECONNECTIONS: Final = 5
"""How often a caller connects again at once after StaleTransfer."""
PROGRESS_INTERVAL: Final = 1.0
PROGRESS_STEPS: Final = 10
"""How often progress is told of a transfer at least, however short it is."""
AFTER_A_LOG: Final = (0.6, 1.0, 1.0)
"""Patience for the core dump that may follow a log; the firmware begins it after 100 ms."""
WHILE_FOLLOWING: Final = (0.5, 0.75, 0.75)
"""Patience for the next log of a device that is followed; then it is asked again."""
AFTER_A_FOLLOWED_LOG: Final = (0.6,)
BETWEEN_CONNECTIONS: Final = 1.0
"""Seconds to stay with a followed device that has to be connected to again for each batch."""
CHECKS: Final[dict[CaptureKind, Callable[[bytes], object]]] = {
    CaptureKind.LOG: check_log,
    CaptureKind.CORE_DUMP: check_core_dump,
}
_SOURCES: Final = ((LOG_DATA, CaptureKind.LOG), (CORE_DUMP_DATA, CaptureKind.CORE_DUMP))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is, in bytes."""

    kind: CaptureKind
    done: int
    total: int


class AgentSession:
    """The protocol over a client that is connected, and that the caller disconnects.

    ``memory`` belongs to the device and outlives the session. With ``accept_damaged`` a
    capture whose checksum stays wrong is handed out (marked) instead of ChecksumFailed.
    Every wait has a limit, and every error is an AgentError. The caller may tell of a broken
    link with ``link_lost``; else it is noticed at the next deadline.

    A device begins to send its log by itself, at any moment of its first two seconds with us.
    So ``subscribe`` early; after StaleTransfer connect again at once.

    ``rssi`` is what the device told last of the signal strength, in dBm. ``emptied`` says at the
    end of the captures whether the device has nothing left of what was taken, False for a log that
    a core dump keeps there, None where nobody knows; ``dump_waits`` that a core dump was offered
    behind the log that was taken last.
    """

    def __init__(
        self,
        client: GattClient,
        *,
        memory: TransferMemory | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        accept_damaged: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.memory = memory if memory is not None else TransferMemory()
        self._client = client
        self._link = Link(client)
        self._on_progress = on_progress
        self._accept_damaged = accept_damaged
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._pace = SendWindow()
        self._wanted: tuple[CaptureKind, ...] = tuple(CaptureKind)
        self._transfer: Transfer | None = None
        self._first_chunk_at = 0.0
        self._unasked: Unasked | None = None
        self._reported_at = float("-inf")
        self._reported_bytes = 0
        self._requests: Requests | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = self._leaving = self._stirred = False
        self.rssi: int | None = None
        self.emptied: bool | None = None
        self.dump_waits = False

    async def identify(self) -> DeviceIdentity:
        """Read who the device is, and nothing else; BadIdentification if that can't be used."""
        return parse_identification(await self._link.read(CONFIG))

    async def read_rssi(self) -> int | None:
        """Read the signal strength that the device sees, in dBm; None when it does not know.

        Older firmware has none. Newer firmware measures once in two seconds: read it late.
        """
        if self._link.find(RSSI) is None:
            return None
        self.rssi = parse_rssi(await self._link.read(RSSI)) or None
        return self.rssi

    async def write_log_config(self, config: LogConfig) -> None:
        """Set what the device logs; BadLogConfig for a timeout that it can't count."""
        if not config.fits_device:
            raise BadLogConfig(f"timeout {config.timeout_seconds} s is not 1 s to 49 days")
        await self._link.write(self._link.require(LOG_CONFIG), config.pack(), response=True)

    def link_lost(self) -> None:
        """Take note that the connection broke."""
        self._fail(LinkLost("the device disconnected"))

    async def subscribe(self) -> None:
        """Have the device notify: what it sends by itself is heard from now on."""
        if self._open:
            return
        ack = self._link.require(LOG_ACK)
        self._open = True
        self._requests = Requests(self._client, ack, self._fail)
        for uuid, kind in _SOURCES:
            await self._link.subscribe(uuid, self._receiver(kind))

    def captures(self, device: DeviceIdentity) -> AsyncGenerator[Pending]:
        """Fetch what the device has: its log, then its core dump, each as a context.

        Leaving a context without an error gives the erase command; with one, the device keeps
        everything and the session's captures end.
        """
        return self._session(device, follow=False)

    def follow(self, device: DeviceIdentity) -> AsyncGenerator[Pending]:
        """Fetch what the device has, and what it logs from then on, until ``leave``.

        As ``captures``, each batch of lines a context of its own. A line is offered within 2 s,
        and so is a core dump. It also ends where a core dump that can't be taken keeps new lines
        back until a disconnect: then follow the device over another connection.
        """
        return self._session(device, follow=True)

    def leave(self) -> None:
        """Follow the device no longer: what is under way is still fetched, then that is all."""
        self._leaving = True

    async def _session(self, device: DeviceIdentity, *, follow: bool) -> AsyncGenerator[Pending]:
        """Fetch everything, once or again and again."""
        self.memory.belongs_to(device.key)
        after_log = AFTER_A_FOLLOWED_LOG if follow else AFTER_A_LOG
        try:
            await self.subscribe()
            while True:
                committed = True
                async with aclosing(
                    self._all(device, WHILE_FOLLOWING if follow else PATIENCE, after_log)
                ) as captures:
                    async for pending in captures:
                        yield pending
                        committed = pending.committed
                if not committed or not follow or self._leaving:
                    break
                if self.emptied is False:
                    # Its dump keeps new lines back as long as this connection stands.
                    await asyncio.sleep(BETWEEN_CONNECTIONS)
                    break
            await self._take_leave()
        except StaleTransfer:
            if self._transfer is not None:
                self.memory.header_ends_at = self._transfer.header_ends_at
            self._give_up()
            raise
        finally:
            await self.close()

    async def _all(
        self, device: DeviceIdentity, patience: Sequence[float], after_log: Sequence[float]
    ) -> AsyncGenerator[Pending]:
        """Fetch a log, if there is one, then the core dump behind it, if there is one."""
        self._wanted = tuple(CaptureKind)
        self.emptied, self.dump_waits = None, False
        while (capture := await self._capture(device, patience)) is not None:
            pending = Pending(self, capture)
            if self._on_disk(capture):
                async with pending:
                    pass
            else:
                yield pending
            if not pending.committed:
                return
            if capture.kind is CaptureKind.CORE_DUMP:
                self.emptied = True
                return
            patience = after_log
            self._wanted = (CaptureKind.CORE_DUMP,)
        if self._transfer is not None and (offered := self._transfer.offered) is not None:
            # A dump that can't be taken keeps the log; a new log comes when the old one is gone.
            self.emptied = offered is CaptureKind.LOG

    async def _take_leave(self) -> None:
        """Read the signal strength late, and see whether what was silent has nothing to say.

        A link may stall: only a device that answers, and has not sent anything meanwhile, is empty.
        """
        silent = self._transfer is not None and self._transfer.offered is None
        with suppress(AgentError):
            if self._link.find(RSSI) is not None:
                await self.read_rssi()
            elif silent:
                await self._link.read(CONFIG)
            else:
                return
            if silent and not (self._stirred or self.dump_waits):
                self.emptied = True

    async def close(self) -> None:
        """Unsubscribe, and give the link its usual interval back."""
        if not self._open:
            return
        self._give_up()
        for uuid, _ in _SOURCES:
            await self._link.unsubscribe(uuid)
        await self._link.interval(*USUAL_INTERVAL)

    def _give_up(self) -> None:
        """Ask for nothing more; a disconnect ends the rest."""
        self._open = False
        self._transfer = None
        if self._requests is not None:
            self._requests.close()

    async def erase(self, pending: Pending) -> None:
        """Write the erase command for a capture. Called by leaving its context."""
        capture = pending.capture
        transfer = self._transfer
        if transfer is None or self._requests is None:
            raise LinkLost("the session is over")
        memory = self.memory
        if capture.fault is CaptureFault.TOO_LONG:
            if capture.kind is CaptureKind.CORE_DUMP:
                memory.too_long = transfer.first_payload
            memory.partials.pop(capture.kind, None)
            return
        await asyncio.sleep(max(0.0, transfer.quiet_at() - self._loop.time()))
        if capture.kind is CaptureKind.CORE_DUMP:
            # The device may be empty after this, also when its answer does not come.
            memory.partials.pop(CaptureKind.LOG, None)
        ack = self._link.require(LOG_ACK)
        answers = "write" in ack.properties
        pending.commanded = self._link.up
        await self._link.write(ack, encode_ack(transfer.total), response=answers)
        pending.answered = answers
        if capture.kind is CaptureKind.CORE_DUMP:
            memory.partials.pop(CaptureKind.CORE_DUMP, None)
        memory.checksum_failures = 0

    def _on_disk(self, capture: Capture) -> bool:
        """Return whether this log was committed, and lies there for the core dump behind it."""
        kept = self.memory.partials.get(capture.kind)
        if kept is None or not kept.committed or capture.fault is not None:
            return False
        # Without a tick in the header nothing would tell the same log from one just like it.
        return LogHeader.parse(capture.data).has_anchor

    async def _capture(self, device: DeviceIdentity, patience: Sequence[float]) -> Capture | None:
        """Fetch one buffer until it is whole; None when there is none."""
        for attempt in range(1 + REFETCHES):
            transfer = await self._fetch(patience, resume=attempt == 0)
            if transfer.kind is None or transfer.outcome is TransferOutcome.EMPTY:
                return None
            fault = self._fault(transfer)
            if fault is not CaptureFault.CHECKSUM or (
                attempt == REFETCHES and self._accept_damaged
            ):
                return Capture(transfer.kind, device, transfer.data, self._first_chunk_at, fault)
            self.memory.partials.pop(transfer.kind, None)
        self.memory.checksum_failures += 1
        raise ChecksumFailed(f"fetched {1 + REFETCHES} times, never whole")

    @staticmethod
    def _fault(transfer: Transfer) -> CaptureFault | None:
        """Check what was fetched."""
        data, kind = transfer.data, transfer.kind
        if transfer.outcome is TransferOutcome.TOO_LONG:
            return CaptureFault.TOO_LONG
        try:
            CHECKS[kind or CaptureKind.LOG](data)
        except CaptureError:
            with suppress(CaptureError):
                if kind is CaptureKind.LOG and LogHeader.parse(data).total >= WIRE_LIMIT:
                    return CaptureFault.TOO_LONG
            return CaptureFault.CHECKSUM
        return None

    async def _fetch(self, patience: Sequence[float], *, resume: bool) -> Transfer:
        """Run one transfer to its outcome, keeping what came of it if that fails."""
        memory = self.memory
        transfer = Transfer(
            partials=memory.partials if resume else None,
            too_long=memory.too_long,
            patience=patience,
            pace=self._pace,
            wanted=self._wanted,
            header_ends_at=memory.header_ends_at if CaptureKind.LOG in self._wanted else 0,
        )
        first = self._transfer is None
        waiter = self._waiter = self._loop.create_future()
        self._transfer, self._stirred = transfer, False
        try:
            self._advance(transfer.start(self._loop.time(), self._unasked))
            self._unasked = None
            if first:
                await self._link.interval(*FAST_INTERVAL)
            await waiter
        finally:
            self._waiter = None
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if transfer.kind is not None and (kept := transfer.partial()):
                memory.partials[transfer.kind] = kept
            if CaptureKind.LOG not in self._wanted:
                self._remember_log(transfer)
        return transfer

    def _remember_log(self, after: Transfer) -> None:
        """Keep a committed log in mind while the device keeps it: until its core dump is done."""
        partials = self.memory.partials
        self.dump_waits |= after.offered is CaptureKind.CORE_DUMP
        if (log := partials.get(CaptureKind.LOG)) is None:
            return
        if after.offered is CaptureKind.CORE_DUMP:
            partials[CaptureKind.LOG] = replace(log, committed=True)
        elif after.outcome is TransferOutcome.EMPTY:
            del partials[CaptureKind.LOG]

    def _receiver(self, kind: CaptureKind) -> Callable[[Any, bytearray], None]:
        """Make the notification callback of a characteristic."""
        clock = self._loop.time

        def receive(_: Any, data: bytearray) -> None:
            transfer = self._transfer
            if transfer is None and kind is CaptureKind.LOG and starts_transfer(data):
                self._unasked = Unasked(kind, bytes(data), clock())
                self._first_chunk_at = self._now()
            if transfer is None or self._waiter is None or transfer.outcome is not None:
                self._stirred = True
                return
            now = clock()
            unknown = transfer.kind is None
            try:
                requests = transfer.on_chunk(kind, data, now)
            except AgentError as err:
                self._fail(err)
                return
            if unknown:
                self._first_chunk_at = self._now()
            if requests or transfer.outcome is not None:
                self._advance(requests)
            if transfer.outcome is not None or self._has_moved(transfer, now):
                self._report(transfer, now)

        return receive

    def _advance(self, requests: Sequence[int]) -> None:
        """Write requests, or end the wait."""
        transfer, waiter = self._transfer, self._waiter
        if transfer is None or waiter is None or self._requests is None:
            return
        if transfer.outcome is not None:
            self._requests.forget()
            if not waiter.done():
                waiter.set_result(None)
            return
        self._requests.send(requests)
        if self._timer is None:
            self._timer = self._loop.call_at(transfer.wake_at(), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        transfer = self._transfer
        if transfer is None or self._waiter is None:
            return
        if not self._link.up:
            self._fail(LinkLost("the link is down"))
            return
        try:
            requests = transfer.on_timer(self._loop.time())
        except AgentError as err:
            self._fail(err)
            return
        self._advance(requests)

    def _has_moved(self, transfer: Transfer, now: float) -> bool:
        """Whether there is progress to tell of: after a second, or after a tenth of it all."""
        moved = abs(transfer.done - self._reported_bytes)
        late = now - self._reported_at >= PROGRESS_INTERVAL
        return late or moved * PROGRESS_STEPS >= transfer.size

    def _report(self, transfer: Transfer, now: float) -> None:
        if transfer.kind is None:
            return
        self._reported_at = now
        self._reported_bytes = transfer.done
        if self._on_progress is not None:
            self._on_progress(Progress(transfer.kind, transfer.done, transfer.size))

    def _fail(self, error: AgentError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class Pending:
    """A capture that the device still has: enter it, put it on disk, leave it.

    ``commanded`` once the erase command may have reached the device, ``answered`` once the device
    has confirmed it. With a core dump behind a log, both are erased by the dump's command.
    """

    def __init__(self, session: AgentSession, capture: Capture) -> None:
        self.capture = capture
        self.committed = False
        self.commanded = False
        self.answered = False
        self._session = session

    async def __aenter__(self) -> Capture:
        """Hand the capture out."""
        return self.capture

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the erase command, unless something went wrong."""
        if error is not None:
            await self._session.close()
            return
        try:
            await self._session.erase(self)
        except AgentError:
            await self._session.close()
            raise
        self.committed = self.capture.fault is not CaptureFault.TOO_LONG
