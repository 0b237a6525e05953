"""The example firmware, behaviour by behaviour, without Bluetooth and on any clock.

The numbers are those of the behaviours that a host has to survive:

1. an ack of 0 starts a log transfer, else a dump transfer, else nothing answers; a 2 s tick
   starts a log transfer by itself while a host is connected, whether it has subscribed or not;
2. every ack below the total sends the chunk at that offset, whatever came before;
3. an ack at or past the total ends the transfer and erases, a core dump coming in between;
4. during a dump the tick repeats the current chunk, and a stale log ack moves its offset;
5. lengths travel as u16;
6. logs appended during a transfer are not part of it: older agents erase them with the rest,
   newer ones seal, and offer again after a reset what was already taken;
7. headers may be read anew for every chunk, so one can be torn between two;
8. one connection at a time, no advertisements meanwhile;
9. 16 KiB of log, 96 KiB of dump, 16 bytes of payload;
10. the tick runs from the boot, so that it comes 0 to 2 s after a connect; a transfer's length
    is fixed when it begins, but chunks are read live: after one more line the header tells of
    more than the transfer brings, and only a disconnect ends such a transfer;
11. tick and time in the header are those of the moment when chunk 0 was read;
12. the log stays until the core dump behind it is done;
13. the rssi attribute is 0 until a tick of a connection has written it, and stays until the next;
14. a pretrigger buffer goes into the log when a transfer begins;
15. a log chunk costs the device a read over the whole log, some milliseconds for a full one, and
    requests wait for that, one after another; a dump chunk costs nothing to speak of.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from custom_components.ulogger.agent.gatt import CORE_DUMP_DATA, LOG_DATA
from custom_components.ulogger.agent.packets import (
    Chunk,
    encode_chunk,
    encode_identification,
    parse_ack,
)
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.log_config import LogConfig

from .log_memory import LogMemory, Moment

type Generation = Literal["older", "newer"]
type Notify = Callable[[str, bytes], object]
"""Hands a characteristic's UUID and a value to the radio, which may drop it without a sign."""

TICK = 2.0
"""Seconds between the firmware's looks at whether something is to be sent."""
READ_SECONDS_PER_BYTE = 12.5 / 38e6
"""What a chunk costs for each byte of the log: 12 to 13 instructions on a Cortex-M33 at 38 MHz."""
DUMP_DELAY = 0.1
"""Seconds between a log's end and the core dump's first chunk."""
U16 = 0x10000


class Schedule(Protocol):
    """A clock that calls back; every asyncio loop is one."""

    def time(self) -> float:
        """Seconds since some moment."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Any:
        """Call after a delay; the result can be cancelled."""
        ...


@dataclass(slots=True)
class Ledger:
    """What the host says it has on disk, and what the device erased before that."""

    taken: set[tuple[CaptureKind, bytes]] = field(default_factory=set)
    early_erases: int = 0
    bytes_erased_uncommitted: int = 0

    def erased(self, kind: CaptureKind, content: bytes, *, safe: bool) -> None:
        """Count an erase of something that nobody has."""
        if content and not safe:
            self.early_erases += 1
            self.bytes_erased_uncommitted += len(content)


class Firmware:
    """One simulated device: memories, the transfer's state and the erase rules.

    ``log`` is a whole buffer as it travels (header and frames) or empty. ``agent`` picks the
    erase rules of behaviour 6, ``rereads_header`` and ``torn_reads`` those of 7: a header
    made anew for every chunk (else it is sealed when the transfer begins), and the number of
    times that the checksum comes out of an older header. ``is_committed`` tells whether the
    host has a capture safely; without it the device believes what ``committed`` is told.
    ``clock`` dates the buffers that it makes. ``read_seconds_per_byte`` is what a chunk of the log
    costs for each byte of it (behaviour 15); 0 makes a device that computes in no time.
    """

    def __init__(
        self,
        identity: DeviceIdentity,
        log: bytes = b"",
        core_dump: bytes | None = None,
        *,
        schedule: Schedule,
        agent: Generation = "newer",
        chunk_payload: int = 16,
        log_region: int = 16 * 1024,
        dump_region: int = 96 * 1024,
        rereads_header: bool = True,
        torn_reads: int = 0,
        rssi: int | None = -60,
        is_committed: Callable[[CaptureKind, bytes], bool] | None = None,
        clock: Callable[[], Moment] | None = None,
        read_seconds_per_byte: float = READ_SECONDS_PER_BYTE,
    ) -> None:
        self.identity = identity
        self.rssi = rssi
        self.log_config: LogConfig | None = None
        self.ledger = Ledger()
        self.erases = 0
        self.requests = 0
        self._schedule = schedule
        self._booted = schedule.time()
        self._measured = 0
        self._payload = chunk_payload
        self._dump_region = dump_region
        self._is_committed = is_committed or self._in_ledger
        self._memory = LogMemory(
            log,
            region=log_region,
            newer=agent == "newer",
            rereads_header=rereads_header,
            clock=clock,
        )
        self._torn_reads = torn_reads
        self._dump = b""
        if core_dump:
            self.crash(core_dump)
        self._notify: Notify | None = None
        self._sending: CaptureKind | None = None
        self._offset = 0
        self._timers: list[Any] = []
        self._read_seconds_per_byte = read_seconds_per_byte
        self._inbox: deque[bytes] = deque()
        self._reading: Any = None

    # What a test, a demo or a person does to the device.

    @property
    def log(self) -> bytes:
        """The log buffer as it would be offered now; empty without frames."""
        return self._memory.buffer()

    @property
    def core_dump(self) -> bytes | None:
        """The core dump that waits, if any."""
        return self._dump or None

    @property
    def anchor_tick(self) -> int:
        """The tick at which the log was last read, 0 before."""
        return self._memory.anchor_tick

    @property
    def early_erases(self) -> int:
        """How often something was erased that the host had not committed."""
        return self.ledger.early_erases

    @property
    def bytes_erased_uncommitted(self) -> int:
        """How many bytes that were."""
        return self.ledger.bytes_erased_uncommitted

    @property
    def bytes_lost_by_agent(self) -> int:
        """Bytes logged during a transfer that an older agent erased without offering them."""
        return self._memory.lost

    def append_log(self, frames: bytes) -> bool:
        """Log something; False when the region is full."""
        return self._memory.append(frames)

    def write_as(self, header: LogHeader, trailer: bytes = b"") -> None:
        """Write buffers as another agent does: with its header, and its trailer behind."""
        self._memory.write_as(header, trailer)

    def remember(self, frames: bytes) -> None:
        """Put something into the pretrigger buffer."""
        self._memory.pretrigger += frames

    def crash(self, core_dump: bytes) -> None:
        """Leave a core dump behind."""
        if len(core_dump) > self._dump_region:
            raise ValueError(f"{len(core_dump)} bytes of dump in a region of {self._dump_region}")
        self._dump = core_dump

    def committed(self, kind: CaptureKind, data: bytes) -> None:
        """Note that the host has this capture on disk."""
        self.ledger.taken.add((kind, self._content(kind, data)))

    def reset(self) -> None:
        """Restart: the link falls, the transfer is forgotten, a newer agent offers again."""
        self.disconnect()
        self._booted = self._schedule.time()
        self._measured = 0
        self._memory.reset()

    # What the link does to the device.

    @property
    def advertising(self) -> bool:
        """Whether the device can be found: not while a host is connected."""
        return self._notify is None

    def connect(self, notify: Notify) -> None:
        """Take a host's connection; ConnectionError when there is one already."""
        if self._notify is not None:
            raise ConnectionError("the device takes one connection at a time")
        self._notify = notify
        self._after(TICK - (self._schedule.time() - self._booted) % TICK, self._tick)

    def disconnect(self) -> None:
        """Forget the transfer and keep everything."""
        self._notify = None
        self._sending = None
        self._memory.release()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._inbox.clear()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def read_config(self) -> bytes:
        """Answer a read of the config characteristic."""
        return encode_identification(self.identity)

    def read_rssi(self) -> bytes:
        """Answer a read of the rssi characteristic: what the last tick measured, 0 before."""
        return self._measured.to_bytes(1, "little", signed=True)

    def write_log_config(self, data: bytes) -> None:
        """Take a write to log_config: exactly nine bytes."""
        self.log_config = LogConfig.unpack(data)

    def write_ack(self, data: bytes) -> None:
        """Take a write to log_ack: a request, or the erase command, when its turn comes."""
        if parse_ack(data) is None or self._notify is None:
            return
        self.requests += 1
        self._inbox.append(data)
        if self._reading is None:
            self._work_off()

    def _work_off(self) -> None:
        """Carry requests out; one that reads the log takes its time, and the others wait."""
        self._reading = None
        while self._inbox:
            if seconds := self._cost(parse_ack(self._inbox[0]) or 0):
                self._reading = self._schedule.call_later(seconds, self._read)
                return
            self._carry_out(self._inbox.popleft())

    def _read(self) -> None:
        self._carry_out(self._inbox.popleft())
        self._work_off()

    def _cost(self, offset: int) -> float:
        """Return the seconds that a request costs: those for a chunk of the log cost a read."""
        if self._sending is CaptureKind.LOG:
            size = self._length if offset < self._length else 0
        else:
            size = len(self._memory.buffer()) if self._sending is None and offset == 0 else 0
        return size * self._read_seconds_per_byte

    def _carry_out(self, data: bytes) -> None:
        offset = parse_ack(data)
        if offset is None or self._notify is None:
            return
        if self._sending is None:
            if offset == 0:
                self._start()
        elif offset < self._length:
            self._offset = offset
            self._send()
        else:
            self._end()

    # The transfer.

    @property
    def _length(self) -> int:
        """The true length of what is being sent, which may not fit the wire."""
        if self._sending is CaptureKind.LOG:
            return self._memory.sealed_length
        return len(self._dump)

    def _start(self, *, by_tick: bool = False) -> None:
        if self._memory.seal():
            self._sending = CaptureKind.LOG
        elif self._dump and not by_tick:
            self._sending = CaptureKind.CORE_DUMP
        else:
            return
        self._offset = 0
        self._send()

    def _end(self) -> None:
        if self._sending is CaptureKind.LOG and self._dump:
            self._sending = CaptureKind.CORE_DUMP
            self._offset = 0
            self._after(DUMP_DELAY, self._send_dump)
            return
        self._sending = None
        self._erase()

    def _erase(self) -> None:
        self.erases += 1
        for kind, content in (
            (CaptureKind.LOG, self._memory.sealed),
            (CaptureKind.CORE_DUMP, self._dump),
        ):
            safe = not content or self._is_committed(kind, content)
            self.ledger.erased(kind, content, safe=safe)
        self._memory.erase()
        self._dump = b""

    def _send(self) -> None:
        """Notify the chunk at the current offset."""
        notify, offset = self._notify, self._offset
        if notify is None:
            return
        if self._sending is CaptureKind.LOG:
            payload = self._memory.read(offset, self._payload)
            checksum = self._memory.checksum_at(offset, self._payload)
            if self._torn_reads and checksum is not None:
                self._torn_reads -= 1
                torn = bytes([payload[checksum] ^ 0x5A])
                payload = payload[:checksum] + torn + payload[checksum + 1 :]
            notify(LOG_DATA, encode_chunk(Chunk(offset, self._length, payload)))
        else:
            payload = self._dump[offset : offset + self._payload]
            notify(CORE_DUMP_DATA, encode_chunk(Chunk(offset, self._length, payload)))

    def _send_dump(self) -> None:
        if self._sending is CaptureKind.CORE_DUMP:
            self._send()

    def _tick(self) -> None:
        self._after(TICK, self._tick)
        self._measured = self.rssi or 0
        if self._sending is None:
            self._start(by_tick=True)
        else:
            self._send_dump()

    def _after(self, delay: float, callback: Callable[[], object]) -> None:
        self._timers = [t for t in self._timers if t.when() > self._schedule.time()]
        self._timers.append(self._schedule.call_later(delay, callback))

    def _in_ledger(self, kind: CaptureKind, content: bytes) -> bool:
        return (kind, self._content(kind, content)) in self.ledger.taken

    @staticmethod
    def _content(kind: CaptureKind, data: bytes) -> bytes:
        """Return what must not be lost: a log's frames (the header is the host's), a dump."""
        return LogMemory.frames_of(data) if kind is CaptureKind.LOG else data
