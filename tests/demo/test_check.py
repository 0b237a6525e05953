"""The comparison finds every byte that is not as the device held it."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custom_components.ulogger.capture.frames import iter_frames
from custom_components.ulogger.capture.log_buffer import with_epoch, with_session_token
from demo.check import compare
from demo.cloud.service import LocalCloud, Received, Registration
from demo.device.life import metric_frame
from demo.device.virtual import VirtualDevice
from demo.fleet import FIXTURES, Buffers, UnusableBufferError, make_fleet
from demo.hass import Hass

TOKEN = 0x10000001


class Cloud(LocalCloud):
    """A service that was handed its messages."""

    def __init__(self, *messages: tuple[str, bytes]) -> None:
        self.messages = [
            Received(index, kind, f"{kind}/v0/1/0", payload, time.time())
            for index, (kind, payload) in enumerate(messages)
        ]
        self.registrations = {
            TOKEN + number: Registration(42, device.identity.serial, "", "", "")
            for number, device in enumerate(make_devices(2))
        }


def make_devices(count: int = 1) -> list[Any]:
    """What the comparison reads of devices, without a loop to run them on."""
    devices = []

    def record(address: str, identity: Any, log: bytes, core_dump: bytes, **_: Any) -> Any:
        return SimpleNamespace(identity=identity, log=log, core_dump=core_dump)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("demo.fleet.VirtualDevice", record)
        devices += make_fleet(count, Buffers.load())
    return devices


def sent(device: VirtualDevice, token: int = TOKEN, epoch: int = 5) -> tuple[str, bytes]:
    return "binlog", with_epoch(with_session_token(device.log, token), epoch)


def dump_of(device: VirtualDevice) -> tuple[str, bytes]:
    assert device.core_dump is not None
    return "core-dump", device.core_dump


def test_logs_and_dumps_are_alike_whatever_token_and_time_they_carry() -> None:
    first, second = devices = make_devices(2)
    cloud = Cloud(sent(first), dump_of(second), sent(second, TOKEN + 1, 9), dump_of(first))
    comparison = compare(devices, cloud)
    assert comparison.ok
    assert (comparison.expected, comparison.identical) == (4, 4)
    assert comparison.bytes == 2 * (len(first.log) + len(first.core_dump))


def test_what_has_not_come_is_named() -> None:
    [device] = make_devices()
    comparison = compare([device], Cloud(dump_of(device)))
    assert not comparison.ok
    assert comparison.missing == [f"log of {device.identity.serial}"]


@pytest.mark.parametrize("position", [0, 5, 12, 21, 24, 25, -1])
def test_one_wrong_byte_is_found(position: int) -> None:
    [device] = make_devices()
    kind, payload = sent(device)
    damaged = bytearray(payload)
    damaged[position] ^= 0x01
    comparison = compare([device], Cloud((kind, bytes(damaged)), dump_of(device)))
    assert not comparison.ok
    assert len(comparison.different) == 1


def test_a_log_under_another_devices_token_is_not_taken_for_it() -> None:
    [device] = make_devices()
    comparison = compare([device], Cloud(sent(device, TOKEN + 1), dump_of(device)))
    assert comparison.missing == [f"log of {device.identity.serial}"]


def test_a_log_without_a_token_is_counted() -> None:
    [device] = make_devices()
    comparison = compare([device], Cloud(sent(device, 0), dump_of(device)))
    assert not comparison.ok
    assert comparison.logs_without_token == 1


def test_a_dump_that_nobody_held_is_different() -> None:
    [device] = make_devices()
    comparison = compare([device], Cloud(sent(device), dump_of(device), ("core-dump", b"?")))
    assert not comparison.ok


def test_what_came_twice_is_counted_and_still_identical() -> None:
    [device] = make_devices()
    cloud = Cloud(sent(device), sent(device), dump_of(device), dump_of(device), dump_of(device))
    comparison = compare([device], cloud)
    assert comparison.ok
    assert comparison.duplicated == 3


def test_a_buffer_that_no_agent_could_offer_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.bin"
    log.write_bytes((FIXTURES / "log.bin").read_bytes()[:-1])
    with pytest.raises(UnusableBufferError, match="the header tells of"):
        Buffers.load(log)
    log.write_bytes(b"")
    with pytest.raises(UnusableBufferError, match="not a log buffer"):
        Buffers.load(log)
    log.write_bytes(bytes(0x10000))
    with pytest.raises(UnusableBufferError, match="u16"):
        Buffers.load(core_dump=log)


def test_a_living_device_logs_metrics_that_the_agent_could_have_written() -> None:
    header = (FIXTURES / "log.bin").read_bytes()[:25]
    data = metric_frame("temperature", 21.5, 1000)
    buffer = header[:21] + len(data).to_bytes(2, "little") + bytes(2) + data
    [frame] = iter_frames(buffer)
    assert frame.metric is not None
    assert (frame.metric.name, frame.metric.value) == ("temperature", 21.5)


def test_our_warnings_and_traces_are_found_in_the_log_and_no_others(tmp_path: Path) -> None:
    hass = Hass(tmp_path, port=1, radio_port=1)
    ours = [
        "2026-10-01 00:00:00.0 WARNING (MainThread) [custom_components.ulogger.outbox] full",
        '  File "/config/custom_components/ulogger/gateway.py", line 1, in x',
        (
            "2026-10-01 00:00:00.0 WARNING (MainThread) [homeassistant.util.loop] Detected blocking"
            " call to open inside the event loop by custom integration 'ulogger'"
        ),
    ]
    others = [
        (
            "2026-10-01 00:00:00.0 WARNING (SyncWorker_0) [homeassistant.loader] We found a custom"
            " integration ulogger which has not been tested by Home Assistant"
        ),
        "2026-10-01 00:00:00.0 INFO (MainThread) [custom_components.ulogger] collected",
        "2026-10-01 00:00:00.0 WARNING (MainThread) [homeassistant.components.zone] far",
    ]
    hass.log.write_text("\n".join(ours + others))
    assert hass.problems() == ours
