"""What captures say arrives once, in order, and whole, however often the connection is lost."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.frames import Argument, ArgumentKind, Frame
from custom_components.ulogger.cloud.errors import CloudUnavailable, MessageRefused
from custom_components.ulogger.cloud.udmi.captures import CaptureSender
from custom_components.ulogger.cloud.udmi.entries import MOST_ENTRIES, messages, record_entry
from custom_components.ulogger.cloud.udmi.outgoing import MOST_WAITING, EventQueue
from custom_components.ulogger.cloud.udmi.progress import Volatile
from custom_components.ulogger.insight.reading import LogFrame, Reading
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

DEVICE = DeviceIdentity(42, "S1", "sensor", "1.0", "abc")
LOG = Capture(CaptureKind.LOG, DEVICE, b"", 1_795_225_292.0)
DUMP = Capture(CaptureKind.CORE_DUMP, DEVICE, b"", 1_795_225_292.0)


def line(number: int, level: Level = Level.ERROR, module: str | None = "radio") -> LogFrame:
    frame = Frame(1, level, 3, number, ())
    return LogFrame(number, frame, 1.0, 1e9 + number, 0.1, module, f"line {number}")


def metric(number: int, name: str, value: float, at: float | None = None) -> LogFrame:
    arguments = (Argument(ArgumentKind.STRING, name), Argument(ArgumentKind.DOUBLE, value))
    frame = Frame(1, Level.METRIC, 3, number, arguments)
    return LogFrame(number, frame, 1.0, 1e9 + number if at is None else at, 0.1, None, None)


def reading(*frames: LogFrame) -> Reading:
    return Reading(CaptureKind.LOG, None, frames)


def test_each_line_at_or_above_the_level_is_an_entry() -> None:
    every = [line(number, level) for number, level in enumerate(list(Level)[:5])]
    for least, count in ((100, 5), (200, 4), (300, 3), (400, 3), (500, 2), (600, 1), (700, 0)):
        found = list(messages(LOG, reading(*every), None, least))
        entries = [entry for each in found for entry in each.payload["logentries"]]
        assert len(entries) == count
    first = entries_of(messages(LOG, reading(line(7)), None, 100))[0]
    assert (first["message"], first["category"], first["level"]) == (
        "line 7",
        "device.log.radio",
        500,
    )


@pytest.mark.parametrize(
    ("module", "category"),
    [
        (None, "device.log"),
        ("BLE Stack 2", "device.log.ble_stack"),
        ("7", "device.log"),
        ("é", "device.log"),
    ],
)
def test_a_module_is_part_of_the_category_as_far_as_it_has_letters(
    module: str | None, category: str
) -> None:
    [entry] = entries_of(messages(LOG, reading(line(1, module=module)), None, 100))
    assert entry["category"] == category


def entries_of(found: Any) -> list[dict[str, Any]]:
    return [
        entry
        for each in found
        if each.subfolder == "system"
        for entry in each.payload["logentries"]
    ]


def test_metrics_of_one_moment_go_together_and_each_value_goes() -> None:
    frames = [
        metric(0, "Battery (mV)", 3000, 5.0),
        metric(1, "rssi", -70, 5.0),
        metric(2, "rssi", -71, 5.0),
        metric(3, "rssi", -72, 6.0),
        metric(4, "***", 1, 6.0),
    ]
    found = [each.payload for each in messages(LOG, reading(*frames), None, 100)]
    assert [
        {name: point["present_value"] for name, point in each["points"].items()} for each in found
    ] == [{"battery_mv": 3000, "rssi": -70}, {"rssi": -71}, {"rssi": -72}]
    assert [each["timestamp"] for each in found] == [
        "1970-01-01T00:00:05.000Z",
        "1970-01-01T00:00:05.000Z",
        "1970-01-01T00:00:06.000Z",
    ]
    assert all(each["partial_update"] for each in found)


def test_a_crash_is_an_entry_also_where_it_cannot_be_read() -> None:
    [message] = messages(DUMP, Reading(CaptureKind.CORE_DUMP, None), None, 500)
    [entry] = message.payload["logentries"]
    assert (entry["level"], entry["category"]) == (600, "device.crash")


def test_a_log_without_frames_is_nothing() -> None:
    assert not list(messages(LOG, reading(), None, 100))


# Sent once

FRAMES = st.lists(
    st.one_of(
        st.sampled_from(list(Level)[:5]).map(lambda level: ("line", level)),
        st.sampled_from(["a", "b", "c d"]).map(lambda name: ("metric", name)),
    ),
    max_size=300,
)


def made(kinds: list[tuple[str, Any]]) -> Reading:
    return reading(
        *(
            line(number, what) if kind == "line" else metric(number, what, number, number // 3)
            for number, (kind, what) in enumerate(kinds)
        )
    )


class Site:
    """Takes messages, but for those whose turn it is to be lost."""

    def __init__(self, read: Reading, lose: Callable[[int], bool] = lambda _turn: False) -> None:
        self.read = read
        self.lose = lose
        self.turn = 0
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.progress = Volatile()
        self.sender = self.make()

    def make(self) -> CaptureSender:
        async def reading_of(_id: int) -> Reading:
            return self.read

        async def report_of(_capture: Capture) -> None:
            return None

        async def run(work: Callable[[], Any]) -> Any:
            return work()

        return CaptureSender(
            self.send,
            self.progress,
            Counter(),
            reading_of=reading_of,
            report_of=report_of,
            run=run,
        )

    async def send(self, _proxy: str, subfolder: str, payload: bytes) -> None:
        self.turn += 1
        if self.lose(self.turn):
            raise CloudUnavailable
        self.got.append((subfolder, json.loads(payload)))

    @property
    def entries(self) -> list[str]:
        return [
            entry["message"]
            for kind, said in self.got
            if kind == "system"
            for entry in said["logentries"]
        ]

    @property
    def values(self) -> list[tuple[str, Any]]:
        return [
            (name, point["present_value"])
            for kind, said in self.got
            if kind == "pointset"
            for name, point in said["points"].items()
        ]


@given(FRAMES, st.sets(st.integers(1, 40)))
def test_all_of_a_capture_arrives_once_whatever_is_lost(
    kinds: list[tuple[str, Any]], lost: set[int]
) -> None:
    async def play() -> None:
        read = made(kinds)
        site = Site(read, lost.__contains__)
        for _ in range(len(lost) + 1):
            try:
                await site.sender.send("BLE-1", 100, LOG, 1)
            except CloudUnavailable:
                continue
            break
        lines = [frame.message for frame in read.frames if frame.level is not Level.METRIC]
        assert sorted(site.entries) == sorted(lines)
        assert sorted(site.values) == sorted(
            (each.name.replace(" ", "_"), each.value) for each in read.metrics
        )

    asyncio.run(play())


async def test_after_a_restart_what_was_acknowledged_first_is_not_sent_again() -> None:
    read = reading(*(line(number) for number in range(MOST_ENTRIES * 30)))
    site = Site(read, lambda turn: turn == 15)
    with pytest.raises(CloudUnavailable):
        await site.sender.send("BLE-1", 100, LOG, 1)
    before = len(site.got)
    site.sender = site.make()
    await site.sender.send("BLE-1", 100, LOG, 1)
    # Those beside the one that was lost may be there twice: only a restart forgets them.
    again = len(site.entries) - len(set(site.entries))
    assert again <= 6 * MOST_ENTRIES
    assert len(set(site.entries)) == len(read.frames)
    assert before == 19


# Events of blocks


class Queue:
    def __init__(self) -> None:
        self.sent: list[int] = []
        self.problem: Exception | None = None
        self.counters: Counter[str] = Counter()
        self.idle = asyncio.Event()
        self.queue = EventQueue(self._send, self.counters, sleep=self._sleep)

    async def _send(self, _device: str, _subfolder: str, payload: Any) -> None:
        if self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        self.sent.append(payload["n"])

    async def _sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)

    async def settle(self) -> None:
        async with asyncio.timeout(5):
            while len(self.queue):  # noqa: ASYNC110 - there is nothing to wait for but turns
                await asyncio.sleep(0)


async def test_events_wait_for_a_connection_and_the_oldest_are_dropped() -> None:
    world = Queue()
    for number in range(MOST_WAITING + 5):
        world.queue.put("GAT-1", "system", {"n": number})
    assert world.counters["events_dropped"] == 5
    running = asyncio.create_task(world.queue.run())
    await asyncio.sleep(0)
    assert not world.sent
    world.queue.connected(connected=True)
    await world.settle()
    assert world.sent == list(range(5, MOST_WAITING + 5))
    running.cancel()


async def test_an_event_that_is_lost_goes_again_and_one_that_is_refused_does_not() -> None:
    for problem, sent in ((CloudUnavailable(), [1, 2]), (MessageRefused(), [2])):
        world = Queue()
        world.problem = problem
        world.queue.connected(connected=True)
        for number in (1, 2):
            world.queue.put("GAT-1", "system", {"n": number})
        running = asyncio.create_task(world.queue.run())
        await world.settle()
        assert world.sent == sent
        running.cancel()


async def test_what_waits_of_a_device_that_is_gone_is_dropped() -> None:
    world = Queue()
    world.queue.put("BLE-1", "pointset", {"n": 1})
    world.queue.put("GAT-1", "pointset", {"n": 2})
    world.queue.forget("BLE-1")
    assert len(world.queue) == 1


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, 100),
        (logging.INFO, 200),
        (logging.WARNING, 400),
        (logging.ERROR, 500),
        (logging.CRITICAL, 600),
    ],
)
def test_a_record_of_the_integration_is_an_entry_of_its_room(level: int, severity: int) -> None:
    name = "custom_components.ulogger.gateway.fleet"
    record = logging.LogRecord(name, level, "", 1, "said", None, None)
    entry = record_entry(record, "said")
    assert (entry["level"], entry["category"]) == (severity, "device.gateway.gateway")
    assert entry["timestamp"].startswith(str(datetime.now(UTC).year))
