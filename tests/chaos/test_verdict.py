"""The judge of a storm: it must see what is wrong, or its praise is worth nothing."""

import asyncio
import time
from random import Random

import pytest

from chaos.device import TracedDevice
from chaos.ledger import Ledger, content_of
from chaos.outbox import OutboxReader, Snapshot
from chaos.verdict import (
    GRACE,
    Evidence,
    Kill,
    Outage,
    duplicates,
    erased_pieces,
    lost_pieces,
    out_of_order,
)
from custom_components.ulogger.capture.log_buffer import with_session_token
from custom_components.ulogger.capture.model import Capture, CaptureKind
from custom_components.ulogger.outbox.outbox import Outbox
from demo.cloud.service import LocalCloud, Received, Registration
from demo.device.virtual import Erased

TOKEN = 77
NOW = 1_000_000.0


async def run(work, *arguments):
    return await asyncio.to_thread(work, *arguments)


@pytest.fixture
async def traced() -> TracedDevice:
    return TracedDevice(0, Random(1))


@pytest.fixture
async def ledger(traced) -> Ledger:
    cloud = LocalCloud(None)
    identity = traced.identity
    cloud.registrations[TOKEN] = Registration(identity.application_id, identity.serial, "", "", "")
    return Ledger(cloud, {identity.serial: traced})


def taken_log(device: TracedDevice, frames: int = 3) -> bytes:
    """Have the device log, offer and erase."""
    device.write(frames)
    log = device.firmware.log
    device.erased.append(Erased(CaptureKind.LOG, log))
    device.firmware._memory.seal()
    device.firmware._memory.erase()
    return log


def arrive(ledger: Ledger, log: bytes, at: float = NOW, token: int = TOKEN) -> None:
    message = Received(0, "binlog", "binlog/v0/1/0/42", with_session_token(log, token), at)
    ledger.take(message)


async def test_what_was_erased_and_is_nowhere_is_lost(traced, ledger):
    taken_log(traced, 3)
    assert lost_pieces([traced], {}, ledger) == {"CHAOS0000": 3}


async def test_what_is_on_disk_or_in_the_cloud_is_not_lost(traced, ledger):
    arrive(ledger, taken_log(traced, 3))
    taken_log(traced, 2)
    kept = {"CHAOS0000": erased_pieces(traced) - ledger.pieces["CHAOS0000"]}
    assert len(kept["CHAOS0000"]) == 2
    assert lost_pieces([traced], kept, ledger) == {}


async def test_a_dump_that_was_erased_and_is_nowhere_is_lost(traced, ledger):
    traced.crash()
    traced.erased.append(Erased(CaptureKind.CORE_DUMP, traced.firmware.core_dump))
    assert lost_pieces([traced], {}, ledger) == {"CHAOS0000": 1}
    ledger.take(Received(0, "core-dump", "core-dump/v0/1/0", traced.firmware.core_dump, NOW))
    assert lost_pieces([traced], {}, ledger) == {}


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
    assert ledger.repeated["CHAOS0000"] == 3
    assert not list(out_of_order([traced], Snapshot(), ledger))


async def test_a_capture_that_overtakes_another_kind_is_disorder(traced, ledger, tmp_path):
    log = taken_log(traced)
    traced.crash()
    dump = traced.firmware.core_dump
    outbox = await Outbox.open(tmp_path / "outbox/entry.sqlite", run)
    for kind, data in ((CaptureKind.LOG, log), (CaptureKind.CORE_DUMP, dump)):
        await outbox.add(Capture(kind, traced.identity, data, time.time()))
    await outbox.close()
    reader = OutboxReader(tmp_path / "outbox")
    snapshot = await reader.snapshot()
    assert reader.pieces["CHAOS0000"] == {*traced.frames, dump}
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
    log[-1] ^= 1
    arrive(ledger, bytes(log))
    assert ledger.foreign


async def test_a_log_without_a_token_is_told(traced, ledger):
    arrive(ledger, taken_log(traced), token=0)
    assert ledger.without_token == 1
    assert ledger.foreign
