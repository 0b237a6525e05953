"""One row a capture."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight.dating import Anchor
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.insight.summary import MOST_METRICS, Summary, summarize
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from ..support import encoder
from ..support import made_captures as made
from ..support.fixtures import real_log

DEVICE = DeviceIdentity(42, "S1")


def of(data: bytes) -> Summary:
    return summarize(read(Capture(CaptureKind.LOG, DEVICE, data, 1_795_225_293.0)))


def test_a_real_log_is_summed_up() -> None:
    found = of(real_log("v4-crash").data)
    assert found.frames == 102
    assert (found.errors, found.warnings) == (found.levels[3] + found.levels[4], found.levels[2])
    assert sum(found.levels) == found.frames
    assert found.metrics == ("battery_mv", "packets_rx", "rssi")
    assert found.modules == 1 << 31 | 0b11111
    assert found.since == pytest.approx(1_795_225_292 - (34008 - 327) / 32768)
    assert found.until == pytest.approx(1_795_225_292 - (34008 - 102 * 327) / 32768)
    assert found.anchor is not None
    assert (found.crash, found.damage) == (None, None)


def test_errors_and_warnings_are_counted() -> None:
    frames = [(1, made.payload(level=level)) for level in (0, 2, 2, 3, 4, 4, 5)]
    found = of(made.log(*frames))
    assert (found.errors, found.warnings) == (3, 2)
    assert found.levels[Level.METRIC] == 1


@given(encoder.logs, st.none() | st.text(max_size=10))
def test_a_row_comes_back_as_it_was(log: encoder.Log, crash: str | None) -> None:
    data = log.encoded()
    for part in (data, data[:-1]):
        found = summarize(read(Capture(CaptureKind.LOG, DEVICE, part, 1e9)), crash)
        row = found.to_row()
        assert Summary.from_row(row) == found
        assert "\n" not in row


@pytest.mark.parametrize(
    "row",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"layout": 1}',
        Summary().to_row().replace('"layout":1', '"layout":2'),
        Summary().to_row().replace('"frames":0', '"frames":null'),
        Summary().to_row().replace("[0,0,0,0,0,0,0,0]", "[0]"),
        Summary().to_row().replace('"anchor":null', '"anchor":[1]'),
        Summary().to_row()[:-1],
    ],
)
def test_a_row_that_is_not_understood_is_derived_again(row: str) -> None:
    assert Summary.from_row(row) is None


@given(st.text(max_size=60))
def test_no_row_fails(row: str) -> None:
    assert Summary.from_row(row) is None


def test_the_anchor_comes_back_as_one() -> None:
    anchor = Anchor(5, 100, 1.5, 0.25, None)
    again = Summary.from_row(Summary(anchor=anchor).to_row())
    assert again is not None
    assert again.anchor == anchor
    assert isinstance(again.anchor, Anchor)


def test_names_of_metrics_are_limited() -> None:
    names = [f"m{number:04}".encode() + b"x" * 200 for number in range(200)]
    frames = [
        (1, made.payload((0x80, b""), (0x11, b"\1"), strings=(name,), level=5)) for name in names
    ]
    found = of(made.log(*frames))
    assert len(found.metrics) == MOST_METRICS
    assert len(json.dumps(found.to_row())) < 6_000
