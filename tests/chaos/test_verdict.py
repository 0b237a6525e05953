"""The judge of a storm: it must see what is wrong, or its praise is worth nothing."""

import asyncio
import time
from dataclasses import replace
from random import Random

import pytest

from chaos.device import AGENTS, BOOT_LINES, TracedDevice
from chaos.ledger import Ledger, content_of
from chaos.outbox import OutboxReader, Snapshot
from chaos.verdict import (
    GRACE,
    Evidence,
    Kill,
    Outage,
    duplicates,
    erased_dumps,
    erased_frames,
    lost_pieces,
    out_of_order,
    unmarked_repeats,
)
from custom_components.ulogger.capture.frames import iter_raw_frames
from custom_components.ulogger.capture.joining import join
from custom_components.ulogger.capture.log_buffer import (
    LogHeader,
    with_session_token,
    xor_checksum,
)
from custom_components.ulogger.model.capture import Capture, CaptureKind
from demo.cloud.service import LocalCloud, Received, Registration
from demo.device.virtual import Erased

from ..support.outbox_world import open_outbox

TOKEN = 77
NOW = 1_000_000.0


async def run(work, *arguments):
    return await asyncio.to_thread(work, *arguments)


@pytest.fixture
async def traced() -> TracedDevice:
    return TracedDevice(0, Random(1))


@pytest.fixture
async def ledger(traced) -> Ledger:
    return ledger_of(traced)


@pytest.fixture
def reader(traced, tmp_path) -> OutboxReader:
    return OutboxReader(tmp_path / "outbox", {traced.identity.serial: traced})


def ledger_of(traced: TracedDevice) -> Ledger:
    cloud = LocalCloud(None)
    identity = traced.identity
    cloud.registrations[TOKEN] = Registration(identity.application_id, identity.serial, "", "", "")
    return Ledger(cloud, {identity.serial: traced})


def taken_log(device: TracedDevice, frames: int = 3) -> bytes:
    """Have the device log, offer and erase."""
    device.write(frames)
    device.firmware._memory.seal()
    log = device.firmware._memory.sealed
    device.firmware._erase()
    return log


def arrive(ledger: Ledger, log: bytes, at: float = NOW, token: int = TOKEN) -> None:
    message = Received(0, "binlog", "binlog/v0/1/0/42", with_session_token(log, token), at)
    ledger.take(message)


async def test_what_was_erased_and_is_nowhere_is_lost(traced, ledger):
    taken_log(traced, 3)
    assert lost_pieces([traced], None, ledger) == {"CHAOS0000": BOOT_LINES + 3}


async def test_what_is_on_disk_or_in_the_cloud_is_not_lost(traced, ledger, reader):
    arrive(ledger, taken_log(traced, 3))
    taken_log(traced, 2)
    reader.frames["CHAOS0000"] = erased_frames(traced) - ledger.frames["CHAOS0000"]
    assert len(reader.frames["CHAOS0000"]) == 2
    assert lost_pieces([traced], reader, ledger) == {}


@pytest.mark.parametrize("number", range(len(AGENTS)))
async def test_the_same_lines_of_another_boot_are_others(number):
    traced = TracedDevice(number, Random(1))
    ledger = ledger_of(traced)
    first = taken_log(traced, 0)
    traced.firmware._memory._taken, traced._consumed = b"", ()
    traced.reset()
    second = taken_log(traced, 0)
    header = LogHeader.parse(first).size
    assert first[header:] == second[header:]
    arrive(ledger, first)
    serial = traced.identity.serial
    assert lost_pieces([traced], None, ledger) == {serial: BOOT_LINES}
    arrive(ledger, second)
    assert lost_pieces([traced], None, ledger) == {}
    assert duplicates(ledger, Evidence()) == (0, [])


async def test_the_same_dump_of_another_crash_is_another(traced, ledger, reader):
    traced.crash()
    dump = traced.firmware.core_dump
    traced.firmware._erase()
    traced.dumps_left[dump] += 1
    traced.firmware.crash(dump)
    traced.firmware._erase()
    content = content_of("CHAOS0000", CaptureKind.CORE_DUMP, dump)
    assert erased_dumps(traced)[dump] == 2
    message = Received(0, "core-dump", "core-dump/v0/1/0", dump, NOW)
    ledger.take(message)
    for log in (each.content for each in traced.erased if each.kind is CaptureKind.LOG):
        arrive(ledger, log)
    assert lost_pieces([traced], None, ledger) == {"CHAOS0000": 1}
    ledger.take(replace(message, at=NOW + 60))
    assert lost_pieces([traced], None, ledger) == {}
    assert len(duplicates(ledger, Evidence())[1]) == 1
    reader.captures[content] = {1, 2}
    assert duplicates(ledger, Evidence(), reader.captures) == (0, [])
    ledger.take(replace(message, at=NOW + 90))
    assert len(duplicates(ledger, Evidence(), reader.captures)[1]) == 1


@pytest.mark.parametrize("marked", [False, True])
async def test_what_is_kept_again_has_to_be_marked(traced, reader, tmp_path, marked):
    log = taken_log(traced, 3)
    outbox = await open_outbox(tmp_path / "outbox/entry.sqlite", run)
    for at in (1.0, 2.0):
        await outbox.add(Capture(CaptureKind.LOG, traced.identity, log, at))
        await outbox.erased(traced.identity.key)
    await outbox._database.write(
        lambda c: c.execute("UPDATE captures SET may_repeat = ?", (marked,))
    )
    await outbox.close()
    found = list(unmarked_repeats([traced], await reader.snapshot()))
    assert bool(found) is not marked


async def test_a_dump_that_was_erased_and_is_nowhere_is_lost(traced, ledger):
    traced.crash()
    traced.erased.append(Erased(CaptureKind.CORE_DUMP, traced.firmware.core_dump))
    assert lost_pieces([traced], None, ledger) == {"CHAOS0000": 1}
    ledger.take(Received(0, "core-dump", "core-dump/v0/1/0", traced.firmware.core_dump, NOW))
    assert lost_pieces([traced], None, ledger) == {}


async def test_the_same_capture_twice_without_a_fault_is_unexplained(traced, ledger):
    log = taken_log(traced)
    arrive(ledger, log, NOW)
    arrive(ledger, log, NOW + 60)
    duplicated, unexplained = duplicates(ledger, Evidence())
    assert duplicated == 1
    assert "CHAOS0000 log" in unexplained[0]


async def test_a_kill_explains_only_what_the_outbox_did_not_have_as_delivered(traced, ledger):
    log = taken_log(traced)
    arrive(ledger, log, NOW)
    arrive(ledger, log, NOW + 60)
    content = content_of("CHAOS0000", CaptureKind.LOG, log)
    for kill, explained in (
        (Kill(NOW + 10, {content}), True),
        (Kill(NOW + 10, set()), False),
        (Kill(NOW - GRACE - 1, {content}), False),
        (Kill(NOW + 61, {content}), False),
    ):
        _, unexplained = duplicates(ledger, Evidence(kills=[kill]))
        assert (not unexplained) is explained, kill


async def test_an_outage_explains_what_arrived_first_about_then_and_nothing_else(traced, ledger):
    log = taken_log(traced)
    arrive(ledger, log, NOW)
    arrive(ledger, log, NOW + 60)
    for outage, explained in (
        (Outage(NOW - 3, NOW + 3), True),
        (Outage(NOW + GRACE + 1, NOW + 30), False),
        (Outage(NOW - 30, NOW - GRACE - 1), False),
    ):
        _, unexplained = duplicates(ledger, Evidence(outages=[outage]))
        assert (not unexplained) is explained, outage


async def test_each_repetition_needs_a_cause_of_its_own(traced, ledger):
    log = taken_log(traced)
    for at in (NOW, NOW + 60, NOW + 120):
        arrive(ledger, log, at)
    _, unexplained = duplicates(ledger, Evidence(outages=[Outage(NOW - 1, NOW + 1)]))
    assert len(unexplained) == 1


async def test_a_later_log_before_an_earlier_one_is_disorder(traced, ledger):
    first, second = taken_log(traced), taken_log(traced)
    arrive(ledger, second)
    arrive(ledger, first)
    assert list(out_of_order([traced], Snapshot(), ledger))


async def test_logs_in_their_order_are_no_disorder(traced, ledger):
    for _ in range(3):
        arrive(ledger, taken_log(traced))
    assert not list(out_of_order([traced], Snapshot(), ledger))


async def test_frames_offered_again_are_no_disorder_and_are_counted(traced, ledger):
    arrive(ledger, taken_log(traced, 3))
    traced.reset()
    arrive(ledger, taken_log(traced, 2))
    assert ledger.repeated["CHAOS0000"] == BOOT_LINES + 3
    assert not list(out_of_order([traced], Snapshot(), ledger))


async def test_a_capture_that_overtakes_another_kind_is_disorder(traced, ledger, reader, tmp_path):
    log = taken_log(traced)
    traced.crash()
    dump = traced.firmware.core_dump
    outbox = await open_outbox(tmp_path / "outbox/entry.sqlite", run)
    for kind, data in ((CaptureKind.LOG, log), (CaptureKind.CORE_DUMP, dump)):
        await outbox.add(Capture(kind, traced.identity, data, time.time()))
    await outbox.close()
    snapshot = await reader.snapshot()
    assert reader.frames["CHAOS0000"] == erased_frames(traced)
    assert len(snapshot.waiting()) == 2
    assert list(out_of_order([traced], snapshot, ledger)) == []
    ledger.take(Received(0, "core-dump", "core-dump/v0/1/0", dump, NOW))
    assert list(out_of_order([traced], snapshot, ledger))
    arrive(ledger, log)
    assert list(out_of_order([traced], snapshot, ledger))
    denied_then = Evidence(denials=[Outage(NOW - 10, NOW - 5)])
    assert not list(out_of_order([traced], snapshot, ledger, denied_then))
    long_ago = Evidence(denials=[Outage(NOW - 1000, NOW - 900)])
    assert list(out_of_order([traced], snapshot, ledger, long_ago))


async def test_a_frame_that_no_device_wrote_is_foreign(traced, ledger):
    log = bytearray(taken_log(traced))
    log[LogHeader.parse(log).total - 1] ^= 1
    arrive(ledger, bytes(log))
    assert ledger.foreign


async def test_a_log_without_a_token_is_told(traced, ledger):
    arrive(ledger, taken_log(traced), token=0)
    assert ledger.without_token == 1
    assert ledger.foreign


def given_in_a_row(device: TracedDevice, count: int) -> list[Capture]:
    """Have the device give logs of three frames each, a second apart."""
    captures = []
    for number in range(1, count + 1):
        device._booted -= 1.0
        log = taken_log(device, 3)
        captures.append(Capture(CaptureKind.LOG, device.identity, log, NOW + number))
    return captures


@pytest.mark.parametrize("number", [0, 1])
async def test_captures_that_came_as_one_message_have_all_come(number):
    traced = TracedDevice(number, Random(1))
    traced._has_clock = False
    ledger = ledger_of(traced)
    captures = given_in_a_row(traced, 5)
    joined = join(captures[0], captures[1:], 16_384)
    assert joined is not None
    assert joined.count == 4
    arrive(ledger, captures[0].data)
    arrive(ledger, joined.capture.data, NOW + 9)
    serial = traced.identity.serial
    assert ledger.foreign == []
    assert list(ledger.arrivals) == [
        content_of(serial, CaptureKind.LOG, capture.data) for capture in captures
    ]
    assert ledger.joined == 4
    assert lost_pieces([traced], None, ledger) == {}
    arrive(ledger, captures[2].data, NOW + 20)
    assert len(duplicates(ledger, Evidence())[1]) == 1


async def test_captures_that_were_joined_badly_are_told(traced):
    traced._has_clock = False
    captures = given_in_a_row(traced, 4)
    joined = join(captures[0], captures[1:], 16_384)
    assert joined is not None
    data = joined.capture.data
    header = LogHeader.parse(data)
    frames = list(iter_raw_frames(data))
    later = frames[3].offset + 2
    for wrong in (
        # The second part's first frame a tick late, the last frame gone, two parts exchanged.
        data[:later] + (frames[3].ticks + 1).to_bytes(4, "little") + data[later + 4 :],
        data[: frames[-1].offset],
        data[: header.size]
        + data[frames[3].offset : frames[6].offset]
        + data[header.size : frames[3].offset]
        + data[frames[6].offset : header.total],
    ):
        content = wrong[header.size :]
        mended = replace(header, used_bytes=len(content), checksum=xor_checksum(content))
        ledger = ledger_of(traced)
        arrive(ledger, captures[0].data)
        arrive(ledger, mended.pack() + content)
        assert ledger.foreign or list(out_of_order([traced], Snapshot(), ledger))
        assert lost_pieces([traced], None, ledger) != {}
