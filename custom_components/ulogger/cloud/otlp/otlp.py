"""A collector as a destination: each capture becomes log records and gauges.

States:

* *connected*: captures go. A collector that asks for time (429, 502, 503, 504) gets it: until then
  nothing is sent to it, and it stays connected unless that happens again and again.
* *disconnected*: it can't be reached, or what answers there is no collector. It is asked with empty
  requests, ever less often, and nothing else is sent.
* *credentials refused*: it does not let us in. It is asked in the same way.

Invariants: a capture counts as delivered when the answer to its last request is there; what was
acknowledged of it is remembered before the next request goes, so that it is not sent again; what a
collector rejects of a request (``partialSuccess``) is counted and not sent again.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, override

from ...firmware.symbols import CodePlace
from ...insight.crash_report import CrashReport
from ...insight.reading import Reading
from ...model.backoff import Backoff
from ...model.capture import Capture, CaptureKind
from ...model.identity import DeviceIdentity
from ...model.reason import Reason
from ..destination import ConnectionState, Destination
from ..errors import CloudError, CloudUnavailable, CredentialsRefused, MessageTooLarge
from .answers import Overloaded, Rejected
from .client import OtlpClient
from .endpoint import Signal
from .gauges import Gauge, gauges_of
from .progress import Progress, Sent, Volatile
from .records import Records, nowhere, speaker
from .requests import MOST_BYTES, Batch, RecordSequence, logs_batch, metrics_batch
from .resource import GatewayIdentity

type Run = Callable[..., Awaitable[Any]]
"""Runs a blocking callable with its arguments elsewhere: ``hass.async_add_executor_job``."""

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 300.0
PATIENCE: Final = 5
"""Failures in a row after which a collector that asks for time counts as disconnected."""


class Unreadable(CloudError):
    """A capture can't be read here at the moment; the collector has nothing to do with it."""

    reason = Reason.OUTBOX_FAILED


class OtlpDestination(Destination):
    """Sends captures to one collector.

    ``reading_of`` returns what a capture says, by its ID in the outbox; ``crash_of`` what a core
    dump says, None where that can't be read. Both may raise `Unreadable`. ``places_of`` returns
    where a device's firmware logs a format string; it may block. ``rejected`` counts what
    the collector did not take of requests that it answered with a success, ``rejection`` is what it
    last said of that.
    """

    def __init__(
        self,
        destination_id: str,
        client: OtlpClient,
        identity: GatewayIdentity,
        run: Run,
        *,
        reading_of: Callable[[int], Awaitable[Reading]],
        crash_of: Callable[[Capture], Awaitable[CrashReport | None]],
        places_of: Callable[[DeviceIdentity, int], Sequence[CodePlace]] | None = None,
        progress: Progress | None = None,
        metrics: bool = True,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.id = destination_id
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.on_rejected: Callable[[int, str], None] | None = None
        self.failure: CloudError | None = None
        self.rejected = 0
        self.rejection = ""
        self._client = client
        self._identity = identity
        self._run = run
        self._reading_of = reading_of
        self._crash_of = crash_of
        self._places_of = places_of
        self._progress = Volatile() if progress is None else progress
        self._metrics = metrics
        self._clock = clock
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT, chance)
        self._state = ConnectionState.CONNECTING
        self._failures = 0
        self._wait_until = 0.0
        self._look = asyncio.Event()
        self._most_bytes = MOST_BYTES
        self._counters: Counter[str] = Counter()

    @property
    @override
    def state(self) -> ConnectionState:
        """Connected while the collector takes what is sent."""
        return self._state

    @property
    def waiting(self) -> float:
        """For how many seconds the collector has to be left alone."""
        return max(0.0, self._wait_until - self._clock())

    @override
    async def run(self) -> None:
        """Look after the connection until cancelled."""
        while True:
            while (seconds := self.waiting) > 0:
                self._look.clear()
                await self._sleep(seconds)
            if self._state is not ConnectionState.CONNECTED:
                await self._probe()
            elif self.failure is not None:
                self.failure = None
                self._enter(ConnectionState.CONNECTED)
            if not self.waiting:
                self._look.clear()
                await self._look.wait()

    async def _sleep(self, seconds: float) -> None:
        """Wait until a time is over, or somebody wants it tried at once."""
        try:
            async with asyncio.timeout(seconds):
                await self._look.wait()
        except TimeoutError:
            return

    async def _probe(self) -> None:
        try:
            await self._client.probe(metrics=self._metrics)
        except CloudError as err:
            self._failed(err)
        else:
            # What it takes without content it may refuse with it: the next wait is no short one.
            self._failures = min(self._failures, PATIENCE)
            self.failure = None
            self._enter(ConnectionState.CONNECTED)

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        """Return once the collector has acknowledged all of the capture; raises CloudError."""
        self._check_may_send()
        reading = await self._reading_of(capture_id)
        crash = await self._crash_of(capture) if capture.kind is CaptureKind.CORE_DUMP else None
        make_records = partial(
            Records,
            capture,
            capture_id,
            reading,
            crash,
            with_metrics=not self._metrics,
            places_of=partial(self._places_of, capture.device) if self._places_of else nowhere,
        )
        records = await self._run(make_records)
        gauges: list[Gauge] = []
        if self._metrics:
            gauges = await self._run(gauges_of, reading, capture.captured_at)
        sent = self._progress.sent(capture, capture_id)
        device = speaker(capture, reading)
        total = Sent(len(records), len(gauges))
        while sent.records < total.records:
            count = await self._send_logs(device, records, sent.records)
            sent = await self._note(capture, capture_id, sent, total, Sent(records=count))
        while sent.gauges < total.gauges:
            count = await self._send_gauges(device, gauges, sent.gauges)
            sent = await self._note(capture, capture_id, sent, total, Sent(gauges=count))
        await self._progress.done(capture_id)
        self._counters["captures"] += 1

    async def send_gauges(self, device: DeviceIdentity, gauges: Sequence[Gauge]) -> None:
        """Return once all of these are acknowledged; raises CloudError."""
        self._check_may_send()
        sent = 0
        while sent < len(gauges):
            sent += await self._send_gauges(device, gauges, sent)

    def _check_may_send(self) -> None:
        if self._state is not ConnectionState.CONNECTED or self.waiting:
            said = str(self.failure) if self.failure else "the collector is not connected"
            raise CloudUnavailable(said, sent=False)

    async def _note(
        self, capture: Capture, capture_id: int, sent: Sent, total: Sent, more: Sent
    ) -> Sent:
        """Remember what is there now; of what one request held, the outbox remembers it."""
        now = Sent(sent.records + more.records, sent.gauges + more.gauges)
        if more != total:
            await self._progress.note(capture, capture_id, now)
        return now

    async def _send_logs(self, device: DeviceIdentity, records: RecordSequence, start: int) -> int:
        resource, scope = self._identity.resource_of(device), self._identity.scope
        return await self._send(
            Signal.LOGS, lambda most: logs_batch(resource, scope, records, start, most)
        )

    async def _send_gauges(
        self, device: DeviceIdentity, gauges: Sequence[Gauge], start: int
    ) -> int:
        resource, scope = self._identity.resource_of(device), self._identity.scope
        return await self._send(
            Signal.METRICS, lambda most: metrics_batch(resource, scope, gauges, start, most)
        )

    async def _send(self, signal: Signal, make: Callable[[int], Batch]) -> int:
        """Send as much as the collector takes at once; return how much that was."""
        while True:
            most = self._most_bytes
            batch: Batch = await self._run(make, most)
            try:
                rejected = await self._client.post(signal, batch.body)
            except MessageTooLarge:
                if batch.items <= 1:
                    raise
                # Another device's request may have been too large at the same time.
                self._most_bytes = min(self._most_bytes, max(1, most // 2))
                continue
            except CloudError as err:
                self._counters[err.reason] += 1
                if not err.about_message:
                    self._failed(err)
                raise
            self._succeeded(signal, batch.items, rejected)
            return batch.items

    def _succeeded(self, signal: Signal, count: int, rejected: Rejected) -> None:
        self._failures = 0
        self._counters[signal] += count
        self._counters["requests"] += 1
        if rejected.items:
            refused = min(rejected.items, count)
            self.rejected += refused
            self.rejection = rejected.message
            if self.on_rejected is not None:
                self.on_rejected(refused, rejected.message)
        elif rejected.message:
            self.rejection = rejected.message

    def _failed(self, err: CloudError) -> None:
        """Leave the collector alone for a while, and say how it stands."""
        self._failures += 1
        self.failure = err
        wait = self._backoff.delay(self._failures)
        asks_for_time = isinstance(err, Overloaded)
        if isinstance(err, Overloaded):
            wait = max(wait, err.wait)
        self._wait_until = max(self._wait_until, self._clock() + wait)
        self._look.set()
        if isinstance(err, CredentialsRefused):
            self._enter(ConnectionState.CREDENTIALS_REFUSED)
        elif not asks_for_time or self._failures >= PATIENCE or not self.connected:
            self._enter(ConnectionState.DISCONNECTED)

    @override
    def forgive(self) -> None:
        """Ask at once, whatever the collector wanted."""
        self._wait_until = 0.0
        self._look.set()

    def _enter(self, state: ConnectionState) -> None:
        """Tell of a state; that it is connected also when what it asked for is over."""
        if state is not self._state or state is ConnectionState.CONNECTED:
            self._state = state
            if self.on_state is not None:
                self.on_state(state)

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        """Say what was sent and what came of it; the address may have a name in it."""
        return {
            "counters": dict(self._counters),
            "failure": self.failure.reason if self.failure else None,
            "failures": self._failures,
            "waiting": round(self.waiting, 1),
            "rejected": self.rejected,
            "largest_request": self._most_bytes,
        }
