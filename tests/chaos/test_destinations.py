"""The judge of two destinations: what is wrong at one is told of that one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chaos.__main__ import passed
from chaos.destinations import (
    MOST_DELAY,
    Judgement,
    Trouble,
    altered,
    compare_troubles,
    journeys,
    judge,
    misfiled,
    most_delay,
    until_caught_up,
)
from chaos.device import TracedDevice
from chaos.folder import FULL, GONE, UNMOUNTED, UNWRITABLE, FrailFolder
from chaos.ledger import Ledger
from chaos.outbox import OutboxReader
from chaos.verdict import Outage
from custom_components.ulogger.cloud.folder.errors import FolderError
from custom_components.ulogger.cloud.folder.writing import check, prepare, store
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import ULOGGER
from custom_components.ulogger.outbox.outbox import Outbox
from demo.cloud.service import LocalCloud
from demo.folder import FolderReader

from ..support.outbox_world import open_outbox
from .test_verdict import run, taken_log

FOLDER = "folder"
SERIAL = "CHAOS0000"
START = 1000.0


@pytest.fixture
async def traced() -> TracedDevice:
    return TracedDevice(0, Random(1))


@pytest.fixture
def reader(traced, tmp_path) -> OutboxReader:
    return OutboxReader(tmp_path / "outbox", {SERIAL: traced})


@pytest.fixture
async def outbox(tmp_path) -> Outbox:
    outbox = await open_outbox(tmp_path / "outbox/entry.sqlite", run)
    await outbox.set_destinations({ULOGGER: 0.0, FOLDER: 0.0})
    return outbox


def ledger_of(device: TracedDevice, *logs: tuple[bytes, float]) -> Ledger:
    ledger = Ledger(LocalCloud(None), {SERIAL: device})
    for log, at in logs:
        ledger.note(SERIAL, CaptureKind.LOG, log, at)
    return ledger


async def keep(outbox: Outbox, device: TracedDevice, log: bytes, *delivered: str) -> Capture:
    """Have the outbox keep a log, and record that it was delivered somewhere."""
    capture = Capture(CaptureKind.LOG, device.identity, log, 1.0)
    added = await outbox.add(capture)
    await outbox.erased(device.identity.key)
    for destination in delivered:
        await outbox.queue(destination).delivered([added.capture_id])
    return capture


async def test_a_destination_that_waits_has_lost_nothing_and_one_that_was_served_has(
    traced, reader, outbox
):
    log = taken_log(traced)
    await keep(outbox, traced, log, FOLDER)
    await outbox.close()
    snapshot = await reader.snapshot()
    nothing = ledger_of(traced)
    waiting = judge("a", ULOGGER, [traced], snapshot, nothing)
    assert (waiting.lost, waiting.undelivered) == (0, 1)
    served = judge("b", FOLDER, [traced], snapshot, nothing)
    assert (served.lost, served.undelivered) == (len(traced.frames_in(log)), 0)
    assert served.details == [f"b: lost: {SERIAL}: {served.lost}"]
    assert judge("b", FOLDER, [traced], snapshot, ledger_of(traced, (log, START))).lost == 0


async def test_a_destination_is_judged_by_its_own_arrivals(traced, reader, outbox):
    first, second = taken_log(traced), taken_log(traced)
    for log in (first, second):
        await keep(outbox, traced, log, ULOGGER, FOLDER)
    await outbox.close()
    snapshot = await reader.snapshot()
    right = ledger_of(traced, (first, START), (second, START + 1))
    wrong = ledger_of(traced, (second, START), (first, START + 1), (first, START + 2))
    good = judge("a", ULOGGER, [traced], snapshot, right)
    assert (good.captures, good.out_of_order, good.duplicated_unexplained) == (2, 0, 0)
    bad = judge("b", FOLDER, [traced], snapshot, wrong)
    assert bad.out_of_order > 0
    assert (bad.duplicated, bad.duplicated_unexplained) == (1, 1)


async def test_what_was_read_of_captures_is_no_outbox(traced, reader, outbox, tmp_path):
    await keep(outbox, traced, taken_log(traced))
    await outbox.close()
    (tmp_path / "outbox/entry.readings.sqlite").write_bytes(b"something else")
    assert len((await reader.snapshot()).rows) == 1


async def test_files_have_to_be_what_was_recorded_as_delivered(traced, reader, outbox, tmp_path):
    directory = tmp_path / "captures"
    prepare(directory)
    captures = [await keep(outbox, traced, taken_log(traced), FOLDER) for _ in range(2)]
    await outbox.close()
    snapshot = await reader.snapshot()
    store(directory, captures[0], 1)
    found = FolderReader(directory).read()
    absent, twice = misfiled(found, snapshot, FOLDER)
    assert (absent, twice) == (["capture 2 was delivered and is not there"], [])
    assert misfiled(found, snapshot, ULOGGER) == ([], [])
    assert list(altered(found, snapshot)) == []
    store(directory, captures[0], 2)
    assert len(list(altered(FolderReader(directory).read(), snapshot))) == 1
    _, twice = misfiled([*found, *found], snapshot, FOLDER)
    assert twice == ["capture 1 is there more than once"]


@pytest.fixture
def trips(traced, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Have a device be released of logs at given moments; yields what makes their ledger."""

    def make(*moments: tuple[float, float]) -> Ledger:
        logs = []
        for released, came in moments:
            monkeypatch.setattr("chaos.device.time.time", lambda at=released: at)
            logs.append((taken_log(traced), came))
        return ledger_of(traced, *logs)

    return make


async def test_a_log_travels_from_its_release_to_its_arrival(traced, trips):
    ledger = trips((START, START + 2), (START + 10, START + 9))
    assert journeys([traced], ledger) == [(START, START + 2), (START + 9, START + 9)]


async def test_a_header_made_anew_for_each_chunk_hides_no_journey(traced):
    traced.write(3)
    memory = traced.firmware._memory
    memory.seal()
    log = memory.read(0, memory.sealed_length)
    assert log != memory.sealed
    traced.firmware._erase()
    assert len(journeys([traced], ledger_of(traced, (log, START)))) == 1


def compared(devices: list[TracedDevice], ledger: Ledger, own: Trouble, dead: Outage) -> Judgement:
    judgement = Judgement("a")
    compare_troubles(judgement, ledger, journeys(devices, ledger), own, [dead])
    return judgement


@pytest.mark.parametrize(("seconds", "delayed"), [(MOST_DELAY - 1, 0), (MOST_DELAY + 1, 1)])
async def test_a_log_that_came_late_while_the_other_one_was_dead_is_told(
    traced, trips, seconds, delayed
):
    dead = Outage(START - 5, START + 5)
    found = compared([traced], trips((START, START + seconds)), Trouble([], []), dead)
    assert (found.timed_while_other_dead, found.delayed) == (1, delayed)
    assert found.longest_delay_while_other_dead_s == seconds
    assert [line.partition(": ")[0] for line in found.details] == ["a"] * delayed


async def test_own_trouble_excuses_and_other_times_are_not_looked_at(traced, trips):
    ledger = trips((START, START + 60))
    dead = Outage(START - 5, START + 5)
    own = Outage(START + 50, START + 55)
    found = compared([traced], ledger, Trouble([own], [own]), dead)
    assert (found.timed_while_other_dead, found.delayed) == (0, 0)
    assert (found.dead, found.dead_s) == (1, 5.0)
    earlier = Outage(START - 50, START - 5)
    assert compared([traced], ledger, Trouble([], []), earlier).timed_while_other_dead == 0


def test_a_trouble_lasts_until_what_waited_is_there_but_not_for_ever():
    outage = Outage(START, START + 10)
    of_logs = [(START + 5, START + 14), (START + 13, START + 17), (START + 18, START + 40)]
    assert until_caught_up([outage], 30, of_logs) == [Outage(START, START + 17)]
    assert until_caught_up([outage], 3, of_logs) == [Outage(START, START + 13)]
    assert until_caught_up([outage], 30, []) == [outage]


@pytest.mark.parametrize("how", [GONE, UNMOUNTED, FULL, UNWRITABLE])
async def test_an_unusable_folder_is_unusable_and_usable_again(tmp_path: Path, how: str):
    folder = FrailFolder(tmp_path / "shelf")
    await asyncio.to_thread(folder.disk.mount)
    try:
        if how not in folder.ways:
            pytest.skip("nothing can be mounted here")
        prepare(folder.path)
        async with folder.unusable(how):
            with pytest.raises(FolderError):
                check(folder.path)
        check(folder.path)
        assert len(folder.dead) == 1
    finally:
        await asyncio.to_thread(folder.disk.unmount)


async def test_a_storm_that_ends_leaves_the_folder_usable(tmp_path: Path):
    folder = FrailFolder(tmp_path / "shelf")
    await asyncio.to_thread(folder.disk.mount)
    try:
        prepare(folder.path)
        for how in folder.ways:
            for turns in range(4):
                spoiling = asyncio.create_task(_spoil_for_ever(folder, how))
                for _ in range(turns):
                    await asyncio.sleep(0)
                spoiling.cancel()
                await asyncio.wait([spoiling])
                check(folder.path)
                prepare(folder.path / f"{how}{turns}")
    finally:
        await asyncio.to_thread(folder.disk.unmount)


async def _spoil_for_ever(folder: FrailFolder, how: str) -> None:
    async with folder.unusable(how):
        await asyncio.Event().wait()


def test_every_promise_has_to_be_kept_at_each_destination():
    clean = {"ulogger": Judgement().described(), "folder": Judgement().described()}
    names = (
        *("lost", "duplicated_unexplained", "out_of_order", "foreign", "without_token"),
        *("outboxes_damaged", "stuck", "traces"),
    )
    report: dict[str, Any] = dict.fromkeys(names, 0)
    report |= {"drained": True, "destinations": clean}
    assert passed(report)
    for name in ("lost", "duplicated_unexplained", "out_of_order", "foreign", "delayed"):
        for destination, numbers in clean.items():
            wrong = {**clean, destination: {**numbers, name: 1}}
            assert not passed({**report, "destinations": wrong})


def test_a_slow_machine_is_given_as_much_time_as_it_takes_with_nothing_wrong():
    assert most_delay([]) == MOST_DELAY
    assert most_delay([0.1] * 20) == MOST_DELAY
    assert most_delay([4.0] * 20) == 12.0
    # One that was slow by chance is no measure, and few say nothing.
    assert most_delay([0.1] * 39 + [60.0]) == MOST_DELAY
    assert most_delay([60.0] * 4) == MOST_DELAY


@pytest.mark.parametrize(("healthy", "delayed"), [(0.2, 1), (4.0, 0)])
def test_a_log_is_late_by_the_measure_of_the_same_run(traced, healthy, delayed):
    dead = [Outage(2000.0, 2020.0)]
    journeys = [(START + number, START + number + healthy) for number in range(20)]
    judgement = Judgement("otlp")
    ledger = ledger_of(traced)
    compare_troubles(judgement, ledger, [*journeys, (2001.0, 2010.0)], Trouble([], []), dead)
    assert judgement.timed_while_other_dead == 1
    assert judgement.delayed == delayed
