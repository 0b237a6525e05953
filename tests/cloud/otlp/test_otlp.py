"""Captures arrive at a collector once, whatever it answers, and no answer loses one."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import (
    ApiTokenRefused,
    CloudUnavailable,
    MessageRefused,
    MessageTooLarge,
    NotAcknowledged,
)
from custom_components.ulogger.cloud.otlp import requests as requests_module
from custom_components.ulogger.cloud.otlp.answers import (
    LONGEST_WAIT,
    NotACollector,
    Overloaded,
    Redirected,
    Refused,
    check_status,
    read_answer,
    retry_after,
)
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.firmware.symbols import CodePlace
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from tests.support.account import CRASH_DUMP, CRASH_LOG, SENSOR
from tests.support.fixtures import AGENT
from tests.support.made_captures import log, payload

from .world import CAPTURED_AT, World, world

LOG = Capture(CaptureKind.LOG, SENSOR, CRASH_LOG, CAPTURED_AT)
DUMP = Capture(CaptureKind.CORE_DUMP, SENSOR, CRASH_DUMP, CAPTURED_AT)


def answering(*answers: Any) -> Any:
    """Answer the requests with these, one after the other, and then as the collector does."""
    left = list(answers)

    async def answer(request: web.Request, number: int) -> web.StreamResponse | None:
        told = left.pop(0) if left else None
        return told(request) if callable(told) else told

    return answer


def status(number: int, **headers: str) -> web.Response:
    return web.json_response({"message": "told so"}, status=number, headers=headers)


def numbers(of: World) -> list[int]:
    """The frames that arrived as records, by their numbers."""
    return [each.attributes["ulogger.frame.number"] for each in of.collector.received.records]


def many(frames: int = 5000) -> Capture:
    """A log of many short frames."""
    data = log(*[(32, payload(address=0x400 + n)) for n in range(frames)])
    return Capture(CaptureKind.LOG, SENSOR, data, CAPTURED_AT)


async def test_every_frame_arrives_once_as_a_record_or_as_a_gauge() -> None:
    async with world() as w:
        await w.deliver(LOG)
        reading = read(LOG)
        received = w.collector.received
        metrics = [frame for frame in reading.frames if frame.metric or frame.frame.is_heartbeat]
        assert metrics
        assert numbers(w) == [each.number for each in reading.frames if each not in metrics]
        assert [each.body for each in received.records] == [
            each.message for each in reading.frames if each not in metrics
        ]
        assert len(received.points) == len(metrics)
        assert received.invalid == []
        assert w.collector.headers[-1]["Authorization"] == "Bearer s3cret"


async def test_a_line_says_where_it_is_logged_if_that_is_one_place() -> None:
    image = CompactImage.load(import_image((AGENT / "v4-crash/firmware.elf").read_bytes()))

    def places_of(device: DeviceIdentity, address: int) -> tuple[CodePlace, ...]:
        assert device is SENSOR
        return image.log_places(address) * (2 if address == 0x41C else 1)

    async with world(image=image, places_of=places_of) as w:
        await w.deliver(LOG)
        said = {each.body: each.attributes for each in w.collector.received.records}
        brown_out = next(said[text] for text in said if text.startswith("brown-out"))
        assert brown_out["code.function.name"] == "main"
        assert brown_out["code.file.path"].endswith("session.c")
        assert brown_out["code.line.number"] == 18
        started = next(said[text] for text in said if text.startswith("System initialized"))
        assert "code.function.name" not in started


async def test_a_crash_is_one_fatal_record() -> None:
    async with world() as w:
        await w.deliver(DUMP)
        [crash] = w.collector.received.records
        assert (crash.record.severity_number, crash.record.severity_text) == (21, "FATAL")
        assert crash.attributes["exception.type"]
        assert crash.attributes["exception.message"] in crash.body
        assert crash.attributes["exception.stacktrace"].startswith("pc 0x")
        assert len(crash.attributes["ulogger.crash.fingerprint"]) == 16


async def test_a_core_dump_that_says_nothing_is_a_fatal_record_too() -> None:
    async with world() as w:
        await w.deliver(replace(DUMP, data=b"\1\2\3"))
        [crash] = w.collector.received.records
        assert crash.record.severity_number == 21
        assert crash.attributes["exception.type"] == "core_dump"


async def test_without_metrics_their_frames_are_records() -> None:
    async with world(metrics=False) as w:
        await w.deliver(LOG)
        assert len(w.collector.received.records) == len(read(LOG).frames)
        assert w.collector.received.points == []
        assert all(not each.get("path", "").endswith("metrics") for each in w.collector.headers)


async def test_a_log_that_ends_early_says_so() -> None:
    async with world() as w:
        await w.deliver(replace(LOG, data=CRASH_LOG[:-30]))
        last = w.collector.received.records[-1]
        assert last.attributes["ulogger.damage"] == "truncated_capture"
        assert last.record.severity_number == 13


# What was acknowledged is not sent again


async def test_what_was_acknowledged_of_a_capture_is_not_sent_again() -> None:
    async with world() as w:
        capture = many()
        w.collector.answer = answering(None, lambda _: status(503, **{"Retry-After": "0"}))
        with pytest.raises(Overloaded):
            await w.deliver(capture)
        first = len(numbers(w))
        assert 0 < first < 5000
        w.destination.forgive()
        await w.deliver(capture)
        assert numbers(w) == list(range(5000))
        assert w.progress.sent(capture, 1).records == 0


async def test_a_request_that_is_too_large_is_made_smaller() -> None:
    async def only_small(request: web.Request, number: int) -> web.StreamResponse | None:
        return status(413) if len(await request.read()) > 100_000 else None

    async with world() as w:
        w.collector.answer = only_small
        await w.deliver(many())
        assert numbers(w) == list(range(5000))


async def test_one_record_that_is_too_large_is_refused() -> None:
    async def never(request: web.Request, number: int) -> web.StreamResponse | None:
        return status(413)

    async with world() as w:
        w.collector.answer = never
        with pytest.raises(MessageTooLarge):
            await w.deliver(many(20))
        assert w.destination.state is ConnectionState.CONNECTED


async def test_the_same_record_has_the_same_id_each_time() -> None:
    async with world() as w:
        await w.deliver(LOG)
        await w.deliver(LOG)
        uids = [each.attributes["log.record.uid"] for each in w.collector.received.records]
        assert len(uids) == 2 * len(set(uids))


# Answers


@pytest.mark.parametrize("number", [429, 502, 503, 504])
async def test_a_collector_that_asks_for_time_gets_it_and_stays_connected(number: int) -> None:
    async with world() as w:
        w.collector.answer = answering(status(number, **{"Retry-After": "100"}))
        before = w.collector.received.requests
        with pytest.raises(Overloaded):
            await w.deliver(LOG)
        assert 99 < w.destination.waiting <= 100
        with pytest.raises(CloudUnavailable) as refused:
            await w.deliver(LOG)
        assert not refused.value.sent
        assert w.collector.received.requests == before + 1
        assert w.destination.state is ConnectionState.CONNECTED


async def test_after_the_time_it_asked_for_it_is_said_to_be_there() -> None:
    async with world() as w:
        w.collector.answer = answering(status(429))
        with pytest.raises(Overloaded):
            await w.deliver(LOG)
        w.states.clear()
        async with asyncio.timeout(5):
            while not w.states:  # noqa: ASYNC110 - told to nobody here
                await asyncio.sleep(0.01)
        assert w.states == [ConnectionState.CONNECTED]
        await w.deliver(LOG)


async def test_a_collector_that_asks_for_time_again_and_again_counts_as_gone() -> None:
    async with world() as w:
        for _ in range(5):
            w.collector.answer = answering(status(503))
            w.destination.forgive()
            w.destination._wait_until = 0.0
            with pytest.raises(Overloaded):
                await w.deliver(LOG)
        assert w.destination.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize(
    ("number", "error", "final", "state"),
    [
        (400, Refused, True, ConnectionState.CONNECTED),
        (422, Refused, True, ConnectionState.CONNECTED),
        (500, MessageRefused, False, ConnectionState.CONNECTED),
        (401, ApiTokenRefused, False, ConnectionState.CREDENTIALS_REFUSED),
        (403, ApiTokenRefused, False, ConnectionState.CREDENTIALS_REFUSED),
        (404, NotACollector, False, ConnectionState.DISCONNECTED),
        (302, Redirected, False, ConnectionState.DISCONNECTED),
        (307, Redirected, False, ConnectionState.DISCONNECTED),
    ],
)
async def test_what_a_status_means(number: int, error: Any, final: bool, state: Any) -> None:
    async with world() as w:
        w.collector.answer = answering(status(number, Location="http://elsewhere.invalid/v1/logs"))
        with pytest.raises(error, match="told so") as failed:
            await w.deliver(LOG)
        assert failed.value.final is final
        assert w.destination.state is state
        assert w.collector.received.records == []


async def test_what_is_rejected_is_counted_and_not_sent_again() -> None:
    def partly(_request: web.Request) -> web.Response:
        answer = {"partialSuccess": {"rejectedLogRecords": "7", "errorMessage": "too\nold"}}
        return web.json_response(answer)

    async with world() as w:
        told: list[tuple[int, str]] = []
        w.destination.on_rejected = lambda count, message: told.append((count, message))
        w.collector.answer = answering(partly)
        await w.deliver(LOG)
        assert (w.destination.rejected, w.destination.rejection) == (7, "too old")
        assert told == [(7, "too old")]
        assert w.collector.received.records == []


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>log in</html>", content_type="text/html"),
        web.Response(text="[1]", content_type="application/json"),
        web.Response(text="{", content_type="application/json"),
    ],
)
async def test_a_success_that_no_collector_says_is_none(answer: web.Response) -> None:
    async with world() as w:
        w.collector.answer = answering(answer)
        with pytest.raises(NotACollector):
            await w.deliver(LOG)
        assert w.destination.state is ConnectionState.DISCONNECTED


async def test_a_collector_that_answers_too_slowly_is_not_waited_for() -> None:
    async def slow(request: web.Request, number: int) -> web.StreamResponse | None:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with world(timeout=0.3) as w:
        w.collector.answer = slow
        began = time.monotonic()
        with pytest.raises(NotAcknowledged):
            await w.deliver(LOG)
        assert time.monotonic() - began < 3
        assert w.destination.state is ConnectionState.DISCONNECTED


async def test_a_collector_that_comes_back_is_found() -> None:
    async with world() as w:
        await w.collector.stop()
        with pytest.raises(CloudUnavailable):
            await w.deliver(LOG)
        assert w.destination.state is ConnectionState.DISCONNECTED
        await w.collector.start()
        await w.until(ConnectionState.CONNECTED)
        await w.deliver(LOG)
        assert numbers(w)


async def test_it_is_asked_ever_less_often() -> None:
    async with world(connected=False) as w:
        w.destination._failures = 40
        w.collector.answer = answering(*[status(404)] * 3)
        await w.until(ConnectionState.DISCONNECTED)
        assert w.destination.waiting > 290


# Properties of the parsers


@given(st.text(max_size=80), st.floats(allow_nan=False, allow_infinity=False))
def test_a_retry_after_is_never_negative_nor_endless(value: str, now: float) -> None:
    assert 0.0 <= retry_after(value, now) <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        ("999999999999", LONGEST_WAIT),
        ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2126 07:27:00 GMT", LONGEST_WAIT),
        ("soon", 0.0),
        (None, 0.0),
    ],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    assert retry_after(value, 1_792_567_680.0) == seconds


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(100, 599))
def test_any_answer_is_borne(body: bytes, number: int) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        check_status(number, headers, body, 0.0)
        assert read_answer("application/json", body, "rejectedLogRecords").items >= 0
    except CloudUnavailable, MessageRefused, ApiTokenRefused:
        pass


def test_a_request_is_packed_the_same_each_time() -> None:
    assert requests_module.packed(b"x" * 100) == requests_module.packed(b"x" * 100)


async def test_a_token_shows_in_no_error() -> None:
    async with world() as w:
        await w.collector.stop()
        with pytest.raises(CloudUnavailable) as failed:
            await w.deliver(LOG)
        assert "s3cret" not in repr(failed.value) + str(failed.value.__cause__)
        assert "s3cret" not in repr(w.destination.diagnostics())
        assert isinstance(failed.value.__cause__, aiohttp.ClientError)
