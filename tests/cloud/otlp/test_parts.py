"""What records are made of: units, values, addresses, headers."""

import json
import math
from dataclasses import replace
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.cloud.otlp.endpoint import (
    InvalidEndpoint,
    InvalidHeaders,
    read_headers,
    read_url,
)
from custom_components.ulogger.cloud.otlp.gauges import Gauge, metrics_json
from custom_components.ulogger.cloud.otlp.records import Records, crash_values, text_record
from custom_components.ulogger.cloud.otlp.requests import logs_batch, metrics_batch
from custom_components.ulogger.cloud.otlp.ucum import ucum
from custom_components.ulogger.cloud.otlp.values import any_value, nanoseconds
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.firmware.unwind import Certainty
from custom_components.ulogger.insight.crash_report import BacktraceFrame, crash_report
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.level import Level
from tests.support.account import core_dump, log
from tests.support.fixtures import AGENT

V3 = AGENT / "v3-crash"


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        ("°C", "Cel"),
        ("%", "%"),
        ("mV", "mV"),
        ("μs", "us"),
        ("µs", "us"),
        ("B", "By"),
        ("dBm", "dB[mW]"),
        ("rpm", "{revolution}/min"),
        ("m³/h", "m3/h"),
        ("cats", "{cats}"),
        ("{odd}", "{odd}"),
        (None, ""),
        ("", ""),
        ("猫", ""),
    ],
)
def test_units_are_ucums(unit: str | None, code: str) -> None:
    assert ucum(unit) == code


@example("half a character: \ud83d")
@given(st.recursive(st.text() | st.booleans() | st.integers() | st.floats(), st.lists))
def test_any_value_is_valid_and_says_the_same(value: Any) -> None:
    parsed = json_format.Parse(orjson.dumps(any_value(value)), AnyValue())
    kind = parsed.WhichOneof("value")
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(parsed.double_value)
    elif isinstance(value, list):
        assert len(parsed.array_value.values) == len(value)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        assert parsed.string_value == str(value)
    elif isinstance(value, str):
        assert parsed.string_value == value.encode("utf-8", "replace").decode()
    else:
        assert kind is not None
        assert getattr(parsed, kind) == value


@given(st.floats() | st.none())
def test_a_moment_fits_or_is_none(at: float | None) -> None:
    found = nanoseconds(at)
    assert found is None or 0 < int(found) < 2**64


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://a:4318", "https://a:4318"),
        (" https://a/otlp/ ", "https://a/otlp"),
        ("https://a/v1/logs", "https://a"),
        ("https://a/b/v1/metrics/", "https://a/b"),
        ("http://[::1]:4318/", "http://[::1]:4318"),
    ],
)
def test_an_address_is_kept_without_a_signal(typed: str, url: str) -> None:
    assert read_url(typed) == url


@given(st.text())
def test_any_address_is_read_or_refused(typed: str) -> None:
    try:
        url = read_url(typed)
    except InvalidEndpoint:
        return
    assert read_url(url) == url


@given(st.text())
def test_headers_never_end_early(typed: str) -> None:
    try:
        headers = read_headers(typed)
    except InvalidHeaders:
        return
    assert not any(char in part for pair in headers.items() for part in pair for char in "\r\n\0")


def test_metrics_of_one_name_are_one_gauge() -> None:
    gauges = [Gauge("temp_c", 1, 5.0), Gauge("temp_c", 1.5, 6.0), Gauge("x", 2**64, 7.0)]
    first, second = json.loads(metrics_json(gauges))
    assert (first["name"], first["unit"]) == ("temp_c", "Cel")
    assert [point["timeUnixNano"] for point in first["gauge"]["dataPoints"]] == [
        "5000000000",
        "6000000000",
    ]
    assert second["gauge"]["dataPoints"][0]["asDouble"] == 2.0**64


class Many:
    def __len__(self) -> int:
        return 5000

    def __getitem__(self, number: int) -> bytes:
        return b'{"body":{"stringValue":"' + b"x" * 1000 + b'"}}'


def test_a_request_is_as_large_as_it_may_be_and_never_empty() -> None:
    assert logs_batch({}, {}, Many(), 0, 10_000).items == 9
    assert logs_batch({}, {}, Many(), 4999, 10).items == 1
    gauges = [Gauge("x", number, 5.0) for number in range(5000)]
    assert 0 < metrics_batch({}, {}, gauges, 0, 10_000).items < 400
    assert metrics_batch({}, {}, gauges, 4999, 10).items == 1


def test_a_crash_says_where_in_the_code_as_far_as_an_image_knows() -> None:
    dump = CoreDump.parse((V3 / "core_dump.bin").read_bytes())
    report = crash_report(dump, FirmwareImage.load((V3 / "firmware.elf").read_bytes()))
    assert report is not None
    values = crash_values(report)
    assert values["code.function.name"] == report.function
    assert values["exception.stacktrace"].startswith("pc 0x")
    assert report.function in values["exception.stacktrace"]
    without = crash_report(dump, None)
    assert without is not None
    assert crash_values(without)["code.function.name"] is None


V4 = AGENT / "v4-crash"


def test_a_crash_has_the_file_of_its_innermost_known_function_and_its_fault_address() -> None:
    dump = CoreDump.parse((V4 / "core_dump.bin").read_bytes())
    report = crash_report(dump, FirmwareImage.load((V4 / "firmware.elf").read_bytes()))
    assert report is not None
    frames = (
        BacktraceFrame(0x100, None, None, None, Certainty.EXACT),
        BacktraceFrame(0x104, "inner", "a.c", 7, Certainty.EXACT, inlined=True),
        BacktraceFrame(0x104, "outer", "a.c", 9, Certainty.EXACT),
    )
    fault = replace(report.fault, address=0x20000000)
    values = crash_values(replace(report, backtrace=frames, fault=fault))
    assert (values["code.file.path"], values["code.line.number"]) == ("a.c", 7)
    assert values["ulogger.crash.fault_address"] == "0x20000000"
    assert values["exception.stacktrace"].splitlines() == [
        "#0 0x00000100 in ?",
        "#1 0x00000104 in inner (a.c:7) [inlined]",
        "#2 0x00000104 in outer (a.c:9)",
    ]


def test_a_frame_that_can_not_be_dated_says_its_seconds() -> None:
    reading = read(log())
    frames = tuple(frame._replace(at=None) for frame in reading.frames)
    records = Records(log(), 7, replace(reading, frames=frames), None, with_metrics=True)
    record = json.loads(records[0])
    values = {each["key"]: each["value"] for each in record["attributes"]}
    assert "timeUnixNano" not in record
    assert values["ulogger.seconds"] == any_value(reading.frames[0].seconds)
    assert len(records) == len(frames)


def test_a_core_dump_is_one_record() -> None:
    records = Records(core_dump(), 7, read(core_dump()), None)
    assert len(records) == len(list(records)) == 1


def test_a_line_of_text_has_its_level() -> None:
    record = json.loads(text_record(5.0, Level.WARNING, "told"))
    assert (record["timeUnixNano"], record["body"]) == ("5000000000", {"stringValue": "told"})
    assert (record["severityNumber"], record["severityText"]) == (13, "WARNING")
