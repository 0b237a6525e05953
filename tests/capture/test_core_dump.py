"""The core dump's header, checks, registers and memory."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.core_dump import (
    CoreDump,
    CoreDumpHeader,
    check_core_dump,
    declared_length,
)
from custom_components.ulogger.capture.errors import (
    CaptureError,
    ChecksumMismatch,
    TruncatedCapture,
)
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support import made_captures as made
from ..support.fixtures import RealCapture, real_core_dumps

SIGNATURE = b"\x63\x43\x03\x00"
REGISTERS = struct.pack("<20I", *range(20))
BODY = SIGNATURE + bytes(4) + REGISTERS


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_header_of_a_real_dump_is_read_as_expected(capture: RealCapture) -> None:
    header = check_core_dump(capture.data)
    expected = capture.expected
    assert (header.length, header.checksum) == (expected["length"], expected["checksum"])
    assert (header.version, header.known) == (expected["version"], True)
    assert header.device == DeviceIdentity(
        expected["application_id"],
        expected["device_serial"],
        expected["device_type"],
        expected["git_version"],
        expected["git_hash"],
    )


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_registers_and_memory_of_a_real_dump_are_read_as_expected(capture: RealCapture) -> None:
    dump = CoreDump.parse(capture.data)
    expected = capture.expected
    assert dump.flags == expected["flags"]
    assert dump.registers == expected["registers"]
    assert list(dump.float_registers.values()) == expected.get("fp_registers", [])
    regions = [{"start": r.start, "end": r.end, "bytes": r.data.hex()} for r in dump.regions]
    assert regions == expected["memory"]


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_fault_status_is_the_last_region(capture: RealCapture) -> None:
    dump = CoreDump.parse(capture.data)
    stored = bytes.fromhex(capture.expected["memory"][-1]["bytes"])
    assert tuple(dump.fault_status.values()) == struct.unpack("<5I", stored)
    assert dump.fault_status["bfar"] == dump.registers["r0"]


def test_a_dump_without_fault_status_has_none() -> None:
    assert not CoreDump.parse(made.core_dump(BODY)).fault_status


@pytest.mark.parametrize("capture", real_core_dumps(), ids=str)
def test_the_first_chunk_tells_the_true_length(capture: RealCapture) -> None:
    assert declared_length(capture.data[:16]) == len(capture.data)


def test_a_length_beyond_16_bits_is_told_by_the_first_chunk() -> None:
    assert declared_length(made.core_dump(BODY, length=70_000)[:4]) == 70_000
    with pytest.raises(TruncatedCapture):
        declared_length(b"\0\0\0")


@given(st.sampled_from(real_core_dumps()), st.data())
def test_any_single_changed_byte_after_the_header_is_noticed(
    capture: RealCapture, data: st.DataObject
) -> None:
    changed = bytearray(capture.data)
    changed[data.draw(st.integers(264, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ChecksumMismatch):
        check_core_dump(bytes(changed))


@pytest.mark.parametrize("kept", [0, 11, 100, 263, 264, 459])
def test_a_dump_that_lacks_bytes_is_truncated(kept: int) -> None:
    with pytest.raises(TruncatedCapture):
        check_core_dump(real_core_dumps()[0].data[:kept])
    with pytest.raises(TruncatedCapture):
        CoreDump.parse(real_core_dumps()[0].data[:kept])


def test_a_dump_shorter_than_its_own_header_is_refused() -> None:
    with pytest.raises(CaptureError, match="shorter"):
        check_core_dump(made.core_dump(BODY, length=263))


def test_a_dump_of_an_unknown_version_is_opaque_and_no_error() -> None:
    data = made.core_dump(b"whatever", version=2)
    header = check_core_dump(data)
    assert not header.known
    assert header.device.serial == ""
    assert CoreDump.parse(data).opaque
    with pytest.raises(TruncatedCapture):
        check_core_dump(data[:-1])


def test_contents_by_another_collector_are_opaque_and_no_error() -> None:
    dump = CoreDump.parse(made.core_dump(b"nobody knows this format"))
    assert dump.opaque
    assert dump.header.device.serial == "S1"


def test_bytes_behind_the_declared_length_are_ignored() -> None:
    data = made.core_dump(BODY) + b"more"
    assert check_core_dump(data).length == len(data) - 4
    assert CoreDump.parse(data).regions == ()


@pytest.mark.parametrize(
    "body",
    [
        SIGNATURE,
        BODY[:-1],
        SIGNATURE + struct.pack("<I", 1) + REGISTERS,
        BODY + b"\0\0\0\0",
        BODY + struct.pack("<II", 0x100, 0x104) + b"abc",
    ],
    ids=["flags", "registers", "float registers", "addresses", "memory"],
)
def test_contents_that_end_early_are_an_error(body: bytes) -> None:
    with pytest.raises(TruncatedCapture):
        CoreDump.parse(made.core_dump(body))


def test_a_region_that_ends_before_it_starts_is_an_error() -> None:
    with pytest.raises(CaptureError, match="before its start"):
        CoreDump.parse(made.core_dump(BODY + struct.pack("<II", 0x104, 0x100)))


def test_strings_of_a_dump_keep_only_what_prints() -> None:
    header = CoreDumpHeader.parse(made.core_dump(BODY, serial=b"A\x1b[2J\n\xffB\0hidden"))
    assert header.device.serial == "A[2J\ufffdB"
