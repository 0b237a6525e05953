"""The log buffer's header, checks and the fields that a gateway fills in."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulogger_cloud import checksum as oracle

from custom_components.ulogger.capture.errors import (
    CaptureError,
    ChecksumMismatch,
    NoClockField,
    TruncatedCapture,
)
from custom_components.ulogger.capture.log_buffer import (
    LogHeader,
    check_log,
    with_epoch,
    with_session_token,
    xor_checksum,
)

from ..support import made_captures as made
from ..support.fixtures import RealCapture, real_log, real_logs

VERSIONS = [1, 2, 3, 4, 5, 255]
BODY = made.payload((0x11, b"\x07"))


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_header_of_a_real_log_is_read_as_expected(capture: RealCapture) -> None:
    header = check_log(capture.data)
    expected = capture.expected["header"]
    assert header.version == expected["version"]
    assert header.session_token == expected["session_token"]
    assert header.anchor_tick == expected["anchor_tick"]
    assert header.tick_rate_hz == expected["tick_rate_hz"]
    assert header.epoch_us == expected.get("epoch_time_us", 0)
    assert header.used_bytes == expected["used_bytes"]
    assert header.checksum == expected["checksum"]
    assert header.total == capture.expected["length"] == len(capture.data)


@pytest.mark.parametrize(("version", "size"), [(1, 13), (2, 13), (3, 17), (4, 25), (5, 25)])
def test_each_version_has_its_header_size(version: int, size: int) -> None:
    buffer = made.log((1, BODY), version=version)
    assert check_log(buffer).size == size
    assert check_log(buffer).total == len(buffer)


def test_versions_1_and_2_carry_a_sequence_number_and_no_ticks() -> None:
    header = LogHeader.parse(made.log((1, BODY), version=2, sequence=77, token=5))
    assert (header.sequence_number, header.session_token) == (77, 5)
    assert (header.anchor_tick, header.tick_rate_hz, header.epoch_us) == (0, 0, 0)


@pytest.mark.parametrize("capture", real_logs(), ids=str)
def test_a_header_packs_to_the_bytes_it_came_from(capture: RealCapture) -> None:
    header = LogHeader.parse(capture.data)
    assert header.pack() == capture.data[: header.size]


def test_a_trailer_is_allowed_and_not_part_of_the_checksum() -> None:
    assert check_log(made.log((1, BODY), trailer=b"trailer")).used_bytes == 6 + len(BODY)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_buffer_that_lacks_its_last_byte_is_truncated(version: int) -> None:
    with pytest.raises(TruncatedCapture):
        check_log(made.log((1, BODY), version=version)[:-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_half_a_header_is_truncated(version: int) -> None:
    header = LogHeader.parse(made.log(version=version))
    with pytest.raises(TruncatedCapture):
        LogHeader.parse(header.pack()[:-1])
    with pytest.raises(TruncatedCapture):
        LogHeader.parse(b"")


def test_memory_that_was_never_written_is_no_log() -> None:
    with pytest.raises(CaptureError, match="version 0"):
        check_log(bytes(64))


@given(st.sampled_from(real_logs()), st.data())
def test_any_single_changed_data_byte_is_noticed(capture: RealCapture, data: st.DataObject) -> None:
    at = data.draw(st.integers(LogHeader.parse(capture.data).size, len(capture.data) - 1))
    changed = bytearray(capture.data)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ChecksumMismatch):
        check_log(bytes(changed))


@given(st.binary(max_size=80), st.sampled_from([*VERSIONS, None]))
def test_any_bytes_are_judged_as_uloggers_own_library_does(
    data: bytes, version: int | None
) -> None:
    if data and version is not None:
        data = bytes([version]) + data[1:]
    if not data or not data[0]:
        return
    assert _passes(data) == oracle.validate_checksum(data)


@given(made.frames, st.sampled_from(VERSIONS), st.binary(max_size=4))
def test_any_valid_buffer_passes_here_and_there(
    frames: list[made.RawFrame], version: int, trailer: bytes
) -> None:
    buffer = made.log(*frames, version=version, trailer=trailer)
    assert _passes(buffer)
    assert oracle.validate_checksum(buffer)


@given(st.integers(0, 0xFFFF_FFFF), st.sampled_from(VERSIONS))
def test_a_token_is_patched_as_uloggers_own_library_does(token: int, version: int) -> None:
    buffer = made.log((1, BODY), version=version, token=99)
    theirs = bytearray(buffer)
    oracle.patch_session_token(theirs, token)
    assert with_session_token(buffer, token) == theirs
    assert check_log(with_session_token(buffer, token)).session_token == token


@pytest.mark.parametrize("token", [-1, 1 << 32])
def test_a_token_that_is_no_u32_is_refused(token: int) -> None:
    with pytest.raises(CaptureError):
        with_session_token(made.log((1, BODY)), token)


def test_a_token_needs_a_header_to_go_into() -> None:
    with pytest.raises(TruncatedCapture):
        with_session_token(b"\x04\0\0\0\0", 1)


@given(st.integers(0, 2**64 - 1))
def test_a_time_is_patched_as_uloggers_own_library_does(epoch_us: int) -> None:
    buffer = made.log((1, BODY), trailer=b"x")
    theirs = bytearray(buffer)
    oracle.patch_epoch_time_us(theirs, epoch_us)
    assert with_epoch(buffer, epoch_us) == theirs
    assert check_log(with_epoch(buffer, epoch_us)).epoch_us == epoch_us


@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions_1_to_3_can_not_carry_a_time(version: int) -> None:
    with pytest.raises(NoClockField) as refused:
        with_epoch(made.log((1, BODY), version=version), 1)
    assert not refused.value.retryable


@pytest.mark.parametrize("epoch_us", [-1, 1 << 64])
def test_a_time_that_is_no_u64_is_refused(epoch_us: int) -> None:
    with pytest.raises(CaptureError):
        with_epoch(made.log((1, BODY)), epoch_us)


@given(st.binary(max_size=300))
def test_the_checksum_is_the_xor_of_all_bytes(data: bytes) -> None:
    expected = 0
    for byte in data:
        expected ^= byte
    assert xor_checksum(data) == expected


def test_the_checksum_of_the_longest_buffer_takes_under_two_milliseconds() -> None:
    data = real_log("v3-long").data * 4
    assert len(data) > 65_535

    def once() -> float:
        start = time.perf_counter()
        xor_checksum(data)
        return time.perf_counter() - start

    assert min(once() for _ in range(20)) < 0.002


def _passes(data: bytes) -> bool:
    try:
        check_log(data)
    except CaptureError:
        return False
    return True
