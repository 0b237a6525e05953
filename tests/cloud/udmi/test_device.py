"""A device takes configs, whatever they are, and its blocks make its state."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.block import Block
from custom_components.ulogger.cloud.udmi.device import LARGEST_CONFIG, UdmiDevice
from custom_components.ulogger.cloud.udmi.speaker import GATHER, MOST_KEPT, Speaker
from custom_components.ulogger.cloud.udmi.status import make_status, read_stamp, stamp

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
IDENTITY = {
    "serial_no": "S1",
    "hardware": {"make": "m", "model": "n"},
    "software": {"firmware": "1"},
}
GOOD = {"timestamp": "2026-11-21T10:00:00.123456Z", "version": "1.5.7"}


class Noting(Block):
    name = "pointset"

    def __init__(self) -> None:
        self.configs: list[Mapping[str, Any] | None] = []

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        self.configs.append(config)

    def state(self) -> Mapping[str, Any] | None:
        return {"points": {}}

    def wake_at(self) -> float | None:
        return None

    def wake(self) -> None:
        raise AssertionError


def make() -> tuple[UdmiDevice, Noting]:
    block = Noting()
    return UdmiDevice("BLE-1", [block], now=lambda: NOW, identity=lambda: IDENTITY), block


def said(**config: Any) -> bytes:
    return json.dumps({**GOOD, **config}).encode()


def test_a_config_is_acknowledged_with_its_own_time() -> None:
    device, block = make()
    assert device.configure(said(pointset={"sample_rate_sec": 3}, unknown={"a": 1}))
    assert block.configs == [{"sample_rate_sec": 3}]
    state = device.state()
    assert state["system"]["last_config"] == GOOD["timestamp"]
    assert "status" not in state["system"]
    assert state["pointset"] == {"points": {}}


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (LARGEST_CONFIG + 1),
        b'{"version": "1.5.7"}',
        b'{"timestamp": "2026-11-21T10:00:00Z"}',
        b'{"timestamp": "tomorrow", "version": "1.5.7"}',
        b'{"timestamp": 5, "version": "1.5.7"}',
        b'{"timestamp": "0001-01-01T00:00:00+23:00", "version": "1.5.7"}',
    ],
)
def test_what_is_no_config_changes_nothing_and_is_told(payload: bytes) -> None:
    device, block = make()
    device.configure(said(pointset={}))
    assert not device.configure(payload)
    assert block.configs == [{}]
    system = device.state()["system"]
    assert system["last_config"] == GOOD["timestamp"]
    assert (system["status"]["level"], system["status"]["category"]) == (
        500,
        "system.config.parse",
    )
    assert device.configure(said())
    assert "status" not in device.state()["system"]


def test_a_part_that_is_no_object_is_reported_and_the_others_are_taken() -> None:
    device, block = make()
    assert device.configure(said(pointset=[1]))
    assert not block.configs
    assert device.state()["system"]["status"]["level"] == 500
    assert device.state()["system"]["last_config"] == GOOD["timestamp"]


def test_a_time_that_udmi_does_not_write_so_is_written_as_it_does() -> None:
    device, _ = make()
    assert device.configure(said(timestamp="2026-11-21T10:00:00"))
    assert device.state()["system"]["last_config"] == "2026-11-21T10:00:00.000Z"


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_whatever_comes_is_borne(payload: bytes) -> None:
    device, _ = make()
    device.configure(payload)
    json.dumps(device.state(), allow_nan=False)


@given(st.text(max_size=40))
def test_a_moment_is_read_or_refused(text: str) -> None:
    try:
        moment = read_stamp(text)
    except ValueError:
        return
    assert read_stamp(stamp(moment)).replace(microsecond=0) == moment.replace(microsecond=0)


# Entries


class Listening:
    def __init__(self) -> None:
        self.now = 100.0
        self.events: list[tuple[str, str, Mapping[str, Any]]] = []
        self.speaker = Speaker(
            "GAT-1",
            identity=lambda: IDENTITY,
            publish=lambda *event: self.events.append(event),
            changed=lambda: None,
            clock=lambda: self.now,
            now=lambda: NOW,
            latch=0.0,
        )

    def entries(self) -> list[Mapping[str, Any]]:
        self.now += GATHER
        self.speaker.wake()
        return [entry for _, _, event in self.events for entry in event["logentries"]]


def entry(level: int) -> Mapping[str, Any]:
    return make_status("said", "system.base.ready", level, NOW)


def test_entries_below_the_level_are_left_out() -> None:
    world = Listening()
    world.speaker.device.configure(said(system={"min_loglevel": 400}))
    for level in (100, 300, 400, 500):
        world.speaker.tell(entry(level))
    # The config itself was a notice, under a level that came with it.
    assert [each["level"] for each in world.entries()] == [400, 500]


def test_without_a_level_a_notice_is_the_least_that_goes() -> None:
    world = Listening()
    for level in (200, 300):
        world.speaker.tell(entry(level))
    assert [each["level"] for each in world.entries()] == [300]


def test_entries_go_a_second_after_the_first_and_not_before() -> None:
    world = Listening()
    world.speaker.tell(entry(500))
    world.now += GATHER - 0.1
    world.speaker.wake()
    assert not world.events
    assert len(world.entries()) == 1


def test_too_many_entries_are_left_out_and_counted() -> None:
    world = Listening()
    for _ in range(MOST_KEPT + 7):
        world.speaker.tell(entry(500))
    assert len(world.entries()) == MOST_KEPT
    assert world.speaker.left_out == 7
