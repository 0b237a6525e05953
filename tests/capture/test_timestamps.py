"""The gateway's clock for devices without one."""

import pytest

from custom_components.ulogger.capture.log_buffer import LogHeader, with_epoch
from custom_components.ulogger.capture.timestamps import dated, lacks_time
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support import made_captures as made
from ..support.fixtures import real_core_dumps, real_log

DEVICE = DeviceIdentity(42, "S1")


def capture(data: bytes, kind: CaptureKind = CaptureKind.LOG, at: float = 1.5e9) -> Capture:
    return Capture(kind, DEVICE, data, at)


def test_a_log_without_a_clock_is_dated_with_its_arrival() -> None:
    data = real_log("v4-noclock").data
    assert dated(capture(data, at=1_795_225_292.25)) == with_epoch(data, 1_795_225_292_250_000)


def test_a_clock_of_the_devices_own_is_kept() -> None:
    data = real_log("v4-crash").data
    assert LogHeader.parse(data).epoch_us
    assert dated(capture(data)) == data


@pytest.mark.parametrize("version", [1, 2, 3])
def test_older_versions_are_left_as_they_are_and_it_can_be_said(version: int) -> None:
    old = capture(made.log((1, made.payload()), version=version))
    assert dated(old) == old.data
    assert lacks_time(old)


def test_a_version_4_log_lacks_no_time_with_or_without_a_clock() -> None:
    assert not lacks_time(capture(real_log("v4-noclock").data))
    assert not lacks_time(capture(real_log("v4-crash").data))


def test_a_core_dump_is_left_as_it_is() -> None:
    dump = capture(real_core_dumps()[0].data, CaptureKind.CORE_DUMP)
    assert dated(dump) == dump.data
    assert not lacks_time(dump)


def test_what_is_no_log_is_left_as_it_is() -> None:
    damaged = capture(b"\x04\0")
    assert dated(damaged) == damaged.data
    assert not lacks_time(damaged)


@pytest.mark.parametrize("at", [0, -1.5])
def test_an_arrival_before_1970_dates_nothing(at: float) -> None:
    data = real_log("v4-noclock").data
    assert dated(capture(data, at=at)) == data
