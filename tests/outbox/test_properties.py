"""Any history: order per device, independence, and counters that are its sum."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceKey
from custom_components.ulogger.outbox.model import REFUSED, CaptureState, DeviceCounters, Outcome

from ..support.outbox_world import (
    CLOCK,
    LAMP,
    Clock,
    captured,
    core_dump,
    open_outbox,
    outbox_path,
    queue,
)

_DEVICES = st.sampled_from([CLOCK, LAMP])
_ANY = st.integers(min_value=0)


async def _inline(work: Callable[..., Any], *values: Any) -> Any:
    return work(*values)


class Histories(RuleBasedStateMachine):
    """Does to an outbox and to plain lists the same, and compares them after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.captures: dict[int, Capture] = {}
        self.states: dict[int, CaptureState] = {}
        self.attempts: dict[int, int] = {}
        self.uploaded: list[tuple[DeviceKey, CaptureKind, int]] = []
        self.duplicates: list[DeviceKey] = []
        self.latest: dict[tuple[DeviceKey, bytes], int] = {}
        self.erased: dict[int, bool | None] = {}
        self.marked: set[int] = set()
        self.number = 0

    @initialize()
    def open(self) -> None:
        opening = open_outbox(outbox_path(self.directory), _inline, now=self.clock)
        self.outbox = self.runner.run(opening)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.runner.run(self.outbox.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def _pick(self, number: int, *states: CaptureState) -> int | None:
        ids = [each for each, state in self.states.items() if state in states]
        return ids[number % len(ids)] if ids else None

    @rule(device=_DEVICES, dump=st.booleans(), faulty=st.booleans())
    def add(self, device: Any, dump: bool, faulty: bool) -> None:
        self.number += 1
        capture = core_dump(self.number, device) if dump else captured(self.number, device)
        if faulty:
            capture = captured(self.number, device, fault=CaptureFault.CHECKSUM)
        added = self.runner.run(self.outbox.add(capture))
        assert added.outcome is (Outcome.QUARANTINED if faulty else Outcome.STORED)
        self._stored(added.capture_id, capture)

    def _stored(self, capture_id: int | None, capture: Capture) -> None:
        assert capture_id is not None
        self.captures[capture_id] = capture
        faulty = capture.fault is not None
        self.states[capture_id] = CaptureState.QUARANTINED if faulty else CaptureState.WAITING
        self.attempts[capture_id] = 0
        self.latest[capture.device.key, capture.data] = capture_id
        self.erased[capture_id] = None

    @precondition(lambda self: self.captures)
    @rule(number=_ANY)
    def offer_again(self, number: int) -> None:
        capture_id = self._pick(number, *CaptureState)
        assert capture_id is not None
        capture = self.captures[capture_id]
        latest = self.latest[capture.device.key, capture.data]
        erased = self.erased[latest]
        added = self.runner.run(self.outbox.add(capture))
        # The same header at the same time: the log comes from the same boot, a dump from any.
        proven = erased is False if capture.kind is CaptureKind.CORE_DUMP else not erased
        if proven:
            there = latest if latest in self.captures else None
            assert (added.outcome, added.capture_id) == (Outcome.DUPLICATE, there)
            self.duplicates.append(capture.device.key)
            return
        whole = Outcome.STORED if erased else Outcome.MAY_REPEAT
        assert added.outcome is (Outcome.QUARANTINED if capture.fault else whole)
        self._stored(added.capture_id, capture)
        assert added.may_repeat is (not erased)
        if added.may_repeat and added.capture_id is not None:
            self.marked.add(added.capture_id)

    @rule(device=_DEVICES)
    def confirm_erase(self, device: Any) -> None:
        self.runner.run(self.outbox.erased(device.key))
        for (key, _), capture_id in self.latest.items():
            if key == device.key:
                self.erased[capture_id] = True

    @precondition(lambda self: self.captures)
    @rule(number=_ANY)
    def hold(self, number: int) -> None:
        capture_id = self._pick(number, *CaptureState)
        assert capture_id is not None
        self.runner.run(self.outbox.held([capture_id]))
        if self.erased[capture_id] is None:
            self.erased[capture_id] = False

    @rule(limit=st.integers(1, 4), device=st.none() | _DEVICES)
    def deliver_a_batch(self, limit: int, device: Any) -> None:
        exclude = set() if device is None else {device.key}
        batch = self.runner.run(queue(self.outbox).batch(limit, exclude=exclude))
        waiting = self._waiting()
        possible = sum(len(ids) for key, ids in waiting.items() if key not in exclude)
        assert len(batch) == min(limit, possible)
        for key, ids in waiting.items():
            mine = [item.capture_id for item in batch if item.key == key]
            assert mine == ids[: len(mine)]
            assert not (mine and key in exclude)
        ids = [item.capture_id for item in batch]
        assert self.runner.run(queue(self.outbox).delivered(ids)) == len(ids)
        for capture_id in ids:
            capture = self.captures[capture_id]
            self.states[capture_id] = CaptureState.DELIVERED
            self.uploaded.append((capture.device.key, capture.kind, len(capture.data)))

    @rule(number=_ANY)
    def fail(self, number: int) -> None:
        capture_id = self._pick(number, CaptureState.WAITING)
        if capture_id is not None:
            self.attempts[capture_id] += 1
            attempts = self.runner.run(queue(self.outbox).failed(capture_id, "no answer"))
            assert attempts == self.attempts[capture_id]

    @rule(number=_ANY)
    def quarantine(self, number: int) -> None:
        capture_id = self._pick(number, CaptureState.WAITING)
        if capture_id is not None:
            assert self.runner.run(queue(self.outbox).quarantine(capture_id, REFUSED))
            self.states[capture_id] = CaptureState.QUARANTINED

    @rule(number=_ANY)
    def retry(self, number: int) -> None:
        capture_id = self._pick(number, CaptureState.QUARANTINED)
        if capture_id is not None:
            assert self.runner.run(self.outbox.retry(capture_id))
            self.states[capture_id] = CaptureState.WAITING
            self.attempts[capture_id] = 0

    @rule(number=_ANY)
    def discard(self, number: int) -> None:
        capture_id = self._pick(number, *CaptureState)
        if capture_id is not None:
            assert self.runner.run(self.outbox.discard(capture_id))
            del self.captures[capture_id], self.states[capture_id]

    @rule()
    def sweep(self) -> None:
        self.clock.now += 1
        self.runner.run(self.outbox.sweep(days=0, megabytes=0))
        gone = [each for each, state in self.states.items() if state is CaptureState.DELIVERED]
        for capture_id in gone:
            del self.captures[capture_id], self.states[capture_id]

    @rule()
    def restart(self) -> None:
        self.runner.run(self.outbox.close())
        self.open()

    def _waiting(self) -> dict[DeviceKey, list[int]]:
        waiting: dict[DeviceKey, list[int]] = {}
        for capture_id, state in sorted(self.states.items()):
            if state is CaptureState.WAITING:
                key = self.captures[capture_id].device.key
                waiting.setdefault(key, []).append(capture_id)
        return waiting

    @invariant()
    def everything_is_where_it_should_be(self) -> None:
        rows = self.runner.run(self.outbox.listing())
        assert {row.capture_id: row.state for row in rows} == self.states
        assert {row.capture_id for row in rows if row.may_repeat} == self.marked & set(self.states)
        for item in self.runner.run(queue(self.outbox).batch(1000)):
            capture = self.captures[item.capture_id]
            assert item.capture.data == capture.data
            assert item.attempts == self.attempts[item.capture_id]

    @invariant()
    def counters_are_the_sum_of_history(self) -> None:
        counters = self.runner.run(self.outbox.counters())
        for key in (CLOCK.key, LAMP.key):
            there = counters.get(key, DeviceCounters())
            sent = [(kind, size) for whose, kind, size in self.uploaded if whose == key]
            assert there.uploads == len(sent)
            assert there.bytes_uploaded == there.bytes_today == sum(size for _, size in sent)
            assert there.core_dumps == sum(kind is CaptureKind.CORE_DUMP for kind, _ in sent)
            assert there.duplicates == self.duplicates.count(key)
            mine = {each for each, capture in self.captures.items() if capture.device.key == key}
            for state, count, size in (
                (CaptureState.WAITING, there.waiting, there.waiting_bytes),
                (CaptureState.QUARANTINED, there.quarantined, there.quarantined_bytes),
                (CaptureState.DELIVERED, there.kept, there.kept_bytes),
            ):
                ids = [each for each in mine if self.states[each] is state]
                assert count == len(ids)
                assert size == sum(len(self.captures[each].data) for each in ids)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
