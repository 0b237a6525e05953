"""The demo finds in a unit's log what devices held, and what is missing, twice or other."""

import asyncio
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from custom_components.ulogger.cloud.pepeunit.device_records import capture_records
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from demo.device.virtual import VirtualDevice
from demo.fleet import Buffers, make_fleet
from demo.pepeunit import service
from demo.pepeunit.reading import compare_records
from demo.pepeunit.service import BACKEND, LocalPepeunit
from demo.pepeunit.units import Unit

BUFFERS = Buffers.load(None, None)


@pytest.fixture
async def devices() -> list[VirtualDevice]:
    """One device; it needs a loop."""
    return make_fleet(1, BUFFERS)


def records(
    devices: list[VirtualDevice], *captures: tuple[int, CaptureKind, bytes]
) -> list[dict[str, str]]:
    found = []
    for number, kind, data in captures:
        capture = Capture(kind, devices[0].identity, data, 0.0)
        found += [each.as_dict() for each in capture_records(capture, number, read(capture), 0)]
    return found


LOG = (1, CaptureKind.LOG, BUFFERS.log)
DUMP = (2, CaptureKind.CORE_DUMP, BUFFERS.core_dump)


def test_everything_that_a_device_held_is_identical(devices: list[VirtualDevice]) -> None:
    result = compare_records(devices, records(devices, LOG, DUMP))
    assert result.ok
    assert (result.identical, result.expected, result.duplicated) == (2, 2, 0)


def test_a_missing_frame_an_altered_one_and_a_stranger_are_found(
    devices: list[VirtualDevice],
) -> None:
    whole = records(devices, LOG, DUMP)
    assert compare_records(devices, whole[:2] + whole[3:]).missing
    altered = [*whole[:2], {**whole[2], "text": whole[2]["text"] + "!"}, *whole[3:]]
    assert compare_records(devices, altered).missing
    assert compare_records(devices, [*whole, {"text": "somebody else"}]).different
    assert compare_records(devices, [*whole, whole[3]]).missing


def test_a_capture_that_came_as_two_is_counted(devices: list[VirtualDevice]) -> None:
    again = (3, CaptureKind.LOG, BUFFERS.log)
    assert compare_records(devices, records(devices, LOG, DUMP, again)).duplicated == 1


@pytest.mark.usefixtures("socket_enabled")
async def test_the_backend_hears_what_the_broker_took_before_it_was_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Unit.make(inputs=[], outputs=[])
    async with LocalPepeunit(tmp_path, units=[unit]) as pepeunit:
        back = asyncio.Event()
        real = service.aiomqtt.Client

        def late(*args: Any, **more: Any) -> aiomqtt.Client:
            if more.get("identifier") == BACKEND and not back.is_set():
                raise aiomqtt.MqttError("not yet")
            return real(*args, **more)

        monkeypatch.setattr(service.aiomqtt, "Client", late)
        await pepeunit.broker.arestart()
        async with real("127.0.0.1", pepeunit.gate.port, username=unit.token) as client:
            await client.publish(unit.topic("log"), b"[]", qos=1)
        assert not pepeunit.messages
        back.set()
        await pepeunit.wait_until(lambda: pepeunit.messages)
        assert pepeunit.of(unit.topic("log")) == [b"[]"]
