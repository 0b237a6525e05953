"""The comparison finds every byte that is not as the device held it."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custom_components.ulogger.capture.frames import iter_frames
from custom_components.ulogger.capture.log_buffer import with_epoch, with_session_token
from custom_components.ulogger.model.capture import CaptureKind
from demo.check import Comparison, Held, compare, compare_untouched, report, wait_until_there
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


def held_by(*devices: VirtualDevice) -> list[Held]:
    held: list[Held] = []
    for device in devices:
        assert device.core_dump is not None
        held.append((device.identity.serial, CaptureKind.LOG, device.log))
        held.append((device.identity.serial, CaptureKind.CORE_DUMP, device.core_dump))
    return held


def test_where_nothing_is_filled_in_everything_has_to_be_as_it_was() -> None:
    first, second = devices = make_devices(2)
    comparison = compare_untouched(devices, held_by(second, first))
    assert comparison.ok
    assert (comparison.expected, comparison.identical) == (4, 4)
    assert comparison.bytes == 2 * (len(first.log) + len(first.core_dump))


@pytest.mark.parametrize("position", [0, 1, 13, 25, -1])
def test_there_a_filled_in_field_is_a_wrong_byte(position: int) -> None:
    [device] = make_devices()
    (serial, kind, log), dump = held_by(device)
    damaged = bytearray(log)
    damaged[position] ^= 0x01
    comparison = compare_untouched([device], [(serial, kind, bytes(damaged)), dump])
    assert not comparison.ok
    assert comparison.missing == [f"log of {device.identity.serial}"]
    assert len(comparison.different) == 1


def test_there_a_capture_is_found_at_its_own_device_and_as_its_own_kind_only() -> None:
    first, second = make_devices(2)
    log, dump = held_by(first)
    assert compare_untouched([second], [log, dump]).identical == 0
    swapped = [(log[0], dump[1], log[2]), (dump[0], log[1], dump[2])]
    assert compare_untouched([first], swapped).identical == 0


def test_there_what_is_faulty_is_different_and_what_is_twice_is_counted() -> None:
    [device] = make_devices()
    assert not compare_untouched([device], held_by(device), ["torn"]).ok
    comparison = compare_untouched([device], [*held_by(device), held_by(device)[0]])
    assert comparison.ok
    assert comparison.duplicated == 1


async def test_it_is_looked_until_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.check.LOOK_EVERY", 0)
    missing = [["a", "b"], ["b"], []]

    async def look() -> Comparison:
        return Comparison(missing=missing.pop(0))

    assert not (await wait_until_there([], look, 60)).missing
    missing = [["a"]]
    assert (await wait_until_there([], look, 0)).missing == ["a"]


def test_the_report_names_each_destination_and_what_is_only_here() -> None:
    [device] = make_devices()
    device.empty = True
    good = Comparison(expected=2, identical=2)
    bad = Comparison(expected=2, identical=1, missing=["log"])
    both = report({"ulogger": good, "folder": bad}, None, [device], started=0, log_problems=[])
    assert not both["identical"]
    assert (both["captures"], both["missing"]) == (2, [])
    assert both["destinations"] == {
        "ulogger": {"captures": 2, "identical": True},
        "folder": {"captures": 1, "identical": False, "faults": ["log"]},
    }
    here = report({}, good, [device], started=0, log_problems=[])
    assert (here["destinations"], here["kept"], here["identical"]) == ({}, 2, True)
    assert not report({}, bad, [device], started=0, log_problems=[])["identical"]


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
