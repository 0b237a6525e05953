"""The windowed transfer: chunks and time in, requests out. No I/O and no clock of its own.

An ack is a request for the chunk at an offset, and requests can be pipelined. An ack at or
past the total is the erase command, so while anything is missing no request reaches the
total. The erase command itself is not given here: it is the session's, after the commit.

| state | event | way on |
|---|---|---|
| probing | start | ask for 0, window 1: the device starts a transfer, or sends its beginning |
| probing | start, after StaleTransfer | ask for both chunks of the header at once |
| probing | chunk 0 of either kind | fetching, with its kind, total and payload length |
| probing | chunk 0 of a kind that was taken already | empty: for the next session |
| probing | any other chunk | late, ignored |
| probing | never an answer | ask again until patience ends, then nothing is there: empty |
| fetching | chunk asked for, in order | place it, window + 1 (while round trips stay short) |
| fetching | chunk out of order, twice or late | place it by its offset, or drop it |
| fetching | deadline passed or overtaken by many | ask for that chunk again, window halved |
| fetching | all deadlines pass, three times | ask for 0 as well: the device may have forgotten |
| fetching | chunk of another total or kind | drop everything, probing; too often: BadChunks |
| fetching | a prefix is kept | ask for its first and last bytes, then for what follows it |
| fetching | they are equal, the tick fits | take the prefix over |
| fetching | they are of other data | forget the kept prefix, fetch all |
| fetching | the header promises more than the total | StaleTransfer: only a disconnect helps |
| fetching | dump's own length is over u16 | fetch up to offset 65,535, too long: never erased |
| any | chunk of no payload or past the total | drop, count |
| any | nothing new for 10 s, or 10 min in all | NoAnswer, BadChunks if there was only rubbish |
| whole | no byte is missing | check the sum; wrong: a new transfer, up to three times |
| whole | link lost at any time | the prefix is kept for the next session |
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from struct import Struct
from typing import Final

from ..capture.core_dump import declared_length
from ..capture.errors import CaptureError, TruncatedCapture
from ..capture.log_buffer import LogHeader
from ..model.capture import CaptureKind
from .errors import BadChunks, NoAnswer, StaleTransfer
from .memory import END_PROOF, PROOF, Partial
from .packets import CHUNK_HEADER
from .window import LONGEST_TIMEOUT, SendWindow

PATIENCE: Final = (0.5, 1.0, 1.0, 1.5)
"""Seconds after each unanswered first request; then the device has nothing."""
SILENCE: Final = 10.0
"""Seconds without a new byte after which a transfer is given up."""
TIME_LIMIT: Final = 600.0
CONTRADICTIONS: Final = 16
OVERTAKEN: Final = 8
"""Later requests that may be answered before a chunk counts as lost: links keep the order."""
STALLS: Final = 3
WIRE_LIMIT: Final = 0x10000
SMALLEST_BUFFER: Final = 25
"""Bytes of the shortest header and the shortest frame: no total is less."""
_HEADER: Final = Struct("<HH")
_NONE: Final[Sequence[int]] = ()


class TransferOutcome(Enum):
    """How a transfer ended."""

    WHOLE = auto()
    EMPTY = auto()
    TOO_LONG = auto()


@dataclass(frozen=True, slots=True)
class Unasked:
    """The first chunk of a log that the device began to send by itself, ``at`` some time."""

    kind: CaptureKind
    data: bytes
    at: float


class Transfer:
    """One buffer on its way from the device, of whichever kind it offers.

    Every method that takes the time (any monotonic clock, in seconds) returns the offsets
    to ask for now. ``outcome`` is set at the end; ``on_timer`` is due at ``wake_at()``.
    ``offered`` is the kind that the device has begun, also when it is not wanted.
    """

    def __init__(
        self,
        *,
        partials: Mapping[CaptureKind, Partial] | None = None,
        too_long: bytes = b"",
        patience: Sequence[float] = PATIENCE,
        pace: SendWindow | None = None,
        wanted: Collection[CaptureKind] = tuple(CaptureKind),
        header_ends_at: int = 0,
    ) -> None:
        self.kind: CaptureKind | None = None
        self.total = 0
        self.offered: CaptureKind | None = None
        self.outcome: TransferOutcome | None = None
        self.rejected = 0
        self.duplicates = 0
        self.resent = 0
        self.resumed = 0
        self.pace = pace or SendWindow()
        self.pace.restart()
        self._kept = dict(partials or {})
        self._candidate: Partial | None = None
        self._proof: Sequence[tuple[int, int]] = ()
        self._committed = False
        self._stale = False
        self._header_unread = False
        self._known_too_long = too_long
        self._patience = patience
        self._wanted = wanted
        self._header_ends_at = header_ends_at
        self._too_long = False
        self._data = bytearray()
        self._there = bytearray()
        self._missing = 0
        self._stride = 0
        self._ahead = 0
        self._spans: deque[tuple[int, int]] = deque()
        self._outstanding: dict[int, tuple[int, float]] = {}
        self._again: deque[int] = deque()
        self._tries: dict[int, int] = {}
        self._order = 0
        self._stalls = 0
        self._contradictions = 0
        self._heard = False
        self._started = self._progressed = self._asked = self._begun = 0.0

    @property
    def data(self) -> bytes:
        """What was fetched; whole when the outcome says so."""
        return bytes(self._data)

    @property
    def size(self) -> int:
        """How many bytes are to be fetched; 0 until the device has answered."""
        return len(self._data)

    @property
    def done(self) -> int:
        """How many of them are there."""
        return len(self._data) - self._missing

    @property
    def header_ends_at(self) -> int:
        """Where the second chunk begins, if the header ends in it and all buffers reach it."""
        return self._stride if self._stride < SMALLEST_BUFFER <= 2 * self._stride else 0

    @property
    def first_payload(self) -> bytes:
        """The first chunk's payload."""
        return bytes(self._data[: self._stride])

    def partial(self) -> Partial | None:
        """Keep what can serve another session: the bytes before the first hole.

        None also while an older prefix awaits its proof: that one is worth more.
        """
        hole = self._there.find(0)
        end = len(self._data) if hole < 0 else hole
        if self.kind is None or self._candidate is not None or self._stale or end <= PROOF:
            return None
        prefix = bytes(self._data[:end])
        return Partial(self.total, prefix, self._begun, committed=self._committed)

    def quiet_at(self) -> float:
        """Return when no request of this transfer can be on its way any more.

        At once if every request was answered exactly once; else two timeouts after the last.
        A stale request after the erase command could move a core dump's offset, or end it.
        """
        if not (self.resent or self.duplicates or self._outstanding):
            return self._asked
        return self._asked + 2 * self.pace.timeout

    def start(self, now: float, unasked: Unasked | None = None) -> Sequence[int]:
        """Ask for the first chunk, unless the device has sent it by itself.

        Raises StaleTransfer when that one shows it already.
        """
        self._started = self._progressed = now
        if unasked is not None:
            requests = self.on_chunk(unasked.kind, unasked.data, now)
            self._begun = unasked.at
            if self.kind is not None or self.outcome is not None:
                return requests
        requests = self._probe(now)
        if 0 < self._header_ends_at < SMALLEST_BUFFER:
            # Read in one connection event, both chunks are of one moment.
            return [*requests, *self._ask([self._header_ends_at], now)]
        return requests

    def on_chunk(self, kind: CaptureKind, data: bytes | bytearray, now: float) -> Sequence[int]:
        """Place a notification.

        Raises BadChunks when the device contradicts itself too often, StaleTransfer when the
        log has grown since its length was fixed.
        """
        if self.outcome is not None or self._stale:
            return _NONE
        if len(data) <= CHUNK_HEADER:
            self.rejected += 1
            return _NONE
        offset, total = _HEADER.unpack_from(data)
        if self.kind is None:
            if offset:
                self.duplicates += 1
                return _NONE
            if not self._begin(kind, total, data[CHUNK_HEADER:], now):
                return _NONE
        elif kind is not self.kind or total != self.total:
            return self._contradicted(now)
        end = min(offset + len(data) - CHUNK_HEADER, len(self._data))
        if end <= offset:
            self.rejected += 1
            return _NONE
        self._stalls = 0
        if new := self._there.count(0, offset, end):
            length = end - offset
            self._data[offset:end] = data[CHUNK_HEADER : CHUNK_HEADER + length]
            self._there[offset:end] = b"\1" * length
            self._missing -= new
            self._progressed = now
            self._look(kind)
        else:
            self.duplicates += 1
        if (request := self._outstanding.pop(offset, None)) is not None:
            self._answered(offset, *request, now)
        if not self._missing:
            self.outcome = TransferOutcome.TOO_LONG if self._too_long else TransferOutcome.WHOLE
            return _NONE
        return self._requests(now)

    def wake_at(self) -> float:
        """Return when ``on_timer`` is due next."""
        deadlines = [sent + self._wait(offset) for offset, (_, sent) in self._outstanding.items()]
        return min(deadlines, default=self._asked + LONGEST_TIMEOUT)

    def on_timer(self, now: float) -> Sequence[int]:
        """Ask again for what did not come in time.

        Raises NoAnswer when it makes no sense any more, BadChunks when all that came was bad.
        """
        if self.outcome is not None:
            return _NONE
        late = [
            (offset, order)
            for offset, (order, sent) in self._outstanding.items()
            if sent + self._wait(offset) <= now + 1e-6
        ]
        if late and not self._heard and self._tries.get(0, 0) + 1 >= len(self._patience):
            if self.rejected:
                raise BadChunks("the device sends nothing but malformed chunks")
            self.outcome = TransferOutcome.EMPTY
            return _NONE
        if now - self._progressed > SILENCE or now - self._started > TIME_LIMIT:
            raise NoAnswer(f"{self.done} of {self.size} bytes came, then nothing more")
        for offset, order in late:
            self._lost(offset, order)
        self._stalls += bool(late)
        requests = self._requests(now)
        if self._stalls >= STALLS and self.kind is not None:
            self._stalls = 0
            self.resent += 1
            self._asked = now
            return [0, *requests]
        return requests

    def _probe(self, now: float) -> Sequence[int]:
        """Ask for the beginning, and believe nothing until it is there."""
        self.kind = None
        self._missing = 0
        self._data = bytearray()
        self._outstanding.clear()
        self._again.clear()
        self._tries.clear()
        self.pace.restart()
        return self._ask([0], now)

    def _begin(self, kind: CaptureKind, total: int, payload: bytes | bytearray, now: float) -> bool:
        """Take the first chunk for what the transfer is about."""
        size = total
        self._too_long = False
        if kind is CaptureKind.CORE_DUMP and len(payload) >= 4:
            true_length = declared_length(bytes(payload[:4]))
            if true_length >= WIRE_LIMIT and true_length % WIRE_LIMIT == total:
                size, self._too_long = WIRE_LIMIT, True
        if not size:
            self.rejected += 1
            return False
        self._heard = True
        self.offered = kind
        taken_before = self._too_long and self._known_too_long == payload
        if taken_before or kind not in self._wanted:
            self.outcome = TransferOutcome.EMPTY
            return False
        self.kind, self.total = kind, total
        self._data, self._there = bytearray(size), bytearray(size)
        self._missing, self._stride, self._ahead = size, len(payload), 0
        self.pace.fit(len(payload))
        self._begun = now
        self._committed = False
        self._header_unread = kind is CaptureKind.LOG
        self._candidate, self._spans = None, deque([(0, size)])
        kept = self._kept.get(kind)
        if kept is not None and (end := kept.usable(kind, total)) > PROOF:
            self._candidate = kept
            self._proof = ((0, PROOF), (max(PROOF, end - END_PROOF), end))
            self._spans = deque([*self._proof, (end, size)])
        return True

    def _look(self, kind: CaptureKind) -> None:
        """See what the bytes that are there say of the rest."""
        if self._header_unread:
            self._read_header()
        if self._candidate is not None:
            self._resume(kind, self._candidate)

    def _read_header(self) -> None:
        """See whether the log is as long as the transfer; StaleTransfer when it is longer.

        The device fixes the length when the transfer begins, by its own tick perhaps, and
        reads the header when it is asked for it. One too long for the wire is another matter.
        """
        end = min(PROOF, len(self._data))
        if (hole := self._there.find(0, 0, end)) >= 0:
            end = hole
        try:
            header = LogHeader.parse(bytes(self._data[:end]))
        except TruncatedCapture:
            return
        except CaptureError:
            self._header_unread = False
            return
        self._header_unread = False
        if self.total < header.total < WIRE_LIMIT:
            self._stale = True
            raise StaleTransfer(
                f"the log has {header.total} bytes by now, its transfer brings {self.total}"
            )

    def _resume(self, kind: CaptureKind, kept: Partial) -> None:
        """Take a kept prefix over if both its ends have come again, as they were."""
        if any(self._there.find(0, start, end) >= 0 for start, end in self._proof):
            return
        self._candidate = None
        last, end = self._proof[-1]
        same_end = self._data[last:end] == kept.prefix[last:end]
        if not same_end or not kept.continues_as(kind, bytes(self._data[:PROOF]), self._begun):
            del self._kept[kind]
            self._spans, self._ahead = deque([(0, len(self._data))]), 0
            return
        self._data[PROOF:end] = kept.prefix[PROOF:end]
        self._there[PROOF:end] = b"\1" * (end - PROOF)
        missing = self._there.count(0)
        self.resumed = self._missing - missing
        self._missing = missing
        self._committed = kept.committed and kept.total == self.total and not missing

    def _contradicted(self, now: float) -> Sequence[int]:
        self._contradictions += 1
        if self._contradictions > CONTRADICTIONS:
            raise BadChunks("the device keeps changing what it sends")
        return self._probe(now)

    def _answered(self, offset: int, order: int, sent: float, now: float) -> None:
        pace, outstanding = self.pace, self._outstanding
        # A device also sends its first chunk by itself: that tells nothing of the round trip.
        if offset and offset not in self._tries:
            pace.measured(now - sent)
        while outstanding:
            oldest = next(iter(outstanding))
            number = outstanding[oldest][0]
            if number > order:
                break
            if number + OVERTAKEN >= order:
                return
            self._lost(oldest, number)
        pace.answered_in_order()

    def _lost(self, offset: int, order: int) -> None:
        del self._outstanding[offset]
        self._again.append(offset)
        self._tries[offset] = self._tries.get(offset, 0) + 1
        self.resent += 1
        self.pace.lost(order, self._order)

    def _wait(self, offset: int) -> float:
        tries = self._tries.get(offset, 0)
        if not self._heard:
            return self._patience[min(tries, len(self._patience) - 1)]
        return min(self.pace.timeout * 2.0 ** min(tries, 8), LONGEST_TIMEOUT)

    def _requests(self, now: float) -> Sequence[int]:
        """Fill the window."""
        room = self.pace.window - len(self._outstanding)
        if room <= 0:
            return _NONE
        chosen: list[int] = []
        while room > len(chosen) and (offset := self._next()) is not None:
            chosen.append(offset)
            self._outstanding[offset] = (0, now)
        return self._ask(chosen, now)

    def _ask(self, offsets: list[int], now: float) -> Sequence[int]:
        for offset in offsets:
            self._order += 1
            self._outstanding[offset] = (self._order, now)
        if offsets:
            self._asked = now
        return offsets

    def _next(self) -> int | None:
        """Choose what to ask for: what was lost, then what comes next, then what holes remain."""
        while self._again:
            offset = self._again.popleft()
            if self.kind is None or not self._there[offset]:
                return offset
        if self.kind is None:
            return None
        while True:
            while self._spans:
                offset = self._there.find(0, self._ahead, self._spans[0][1])
                if offset < 0:
                    self._spans.popleft()
                    self._ahead = self._spans[0][0] if self._spans else 0
                    continue
                self._ahead = offset + self._stride
                if offset not in self._outstanding:
                    return offset
            if self._outstanding:
                return None
            self._spans.append((0, len(self._data)))
