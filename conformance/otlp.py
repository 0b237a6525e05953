"""OTLP/HTTP: our outbox and delivery, and a collector that is hostile, slow, strict or away.

Every request is parsed with OpenTelemetry's own protobuf; one that is not valid counts. What came
is held against what was read of the captures: each frame once. Where an answer was lost, a record
may come again, and then under the same ``log.record.uid``.
"""

import asyncio
import gzip
import json
import ssl
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import trustme
from aiohttp import web

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.otlp.answers import LONGEST_WAIT
from custom_components.ulogger.cloud.otlp.client import OtlpClient
from custom_components.ulogger.cloud.otlp.endpoint import Endpoint
from custom_components.ulogger.cloud.otlp.otlp import OtlpDestination
from custom_components.ulogger.cloud.otlp.progress import Volatile
from custom_components.ulogger.cloud.otlp.resource import GatewayIdentity
from custom_components.ulogger.cloud.tls import client_context as tls_context
from custom_components.ulogger.insight.crash_report import CrashReport, crash_report
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.backoff import never
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import OutboxError
from custom_components.ulogger.outbox.model import DeliveryState, Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery
from demo.fleet import EXAMPLE, Buffers
from demo.otlp import LocalCollector

GATEWAY: Final = GatewayIdentity("ha-5eed5eed", "0.1.0", "2026.10")
CAPTURED_AT: Final = 1_795_225_292.0
NAME: Final = "otlp"
TIMEOUT: Final = 0.5
WITHIN: Final = 20.0
TOKEN: Final = "Bearer s3cret"

type Answer = Callable[[web.Request, int], Awaitable[web.StreamResponse | None]]


class NotSo(Exception):
    """Something is not as the specification has it."""


def expect(condition: object, what: str) -> None:
    """Raise NotSo unless a condition holds."""
    if not condition:
        raise NotSo(what)


async def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run what blocks in a thread."""
    return await asyncio.to_thread(function, *arguments)


class Stage:
    """A real outbox, a delivery, and a destination that sends to a local collector."""

    def __init__(
        self,
        collector: LocalCollector,
        outbox: Outbox,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.collector = collector
        self.outbox = outbox
        self.captures: dict[int, Capture] = {}
        self.progress = Volatile()
        self.quarantined_ids: list[int] = []
        self.now = CAPTURED_AT
        self.clock = asyncio.get_running_loop().time
        self._session = session
        self._tls = tls
        self._tasks: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        """Begin to deliver, as after a start."""
        endpoint = Endpoint(self.collector.url, {"Authorization": TOKEN}, self._tls)
        self.destination = OtlpDestination(
            NAME,
            OtlpClient(self._session, endpoint, timeout=TIMEOUT, now=lambda: self.now),
            GATEWAY,
            run,
            reading_of=self._reading_of,
            crash_of=self._crash_of,
            progress=self.progress,
            chance=never,
        )
        self.destination.on_state = self._state_changed
        self.delivery = Delivery(self.outbox, self.destination, self)
        self._tasks = [
            asyncio.create_task(self.destination.run()),
            asyncio.create_task(self.delivery.run()),
        ]

    async def stop(self) -> None:
        """End, as before a restart."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def keep(self, capture: Capture) -> int:
        """Have a capture sent; returns its ID."""
        added = await self.outbox.add(capture)
        capture_id = added.capture_id
        if capture_id is None:
            raise NotSo("the outbox has not kept a capture")
        self.captures[capture_id] = capture
        self.delivery.wake()
        return capture_id

    async def settled(self, *ids: int) -> None:
        """Wait until the collector has captures; waiting times that are ours are cut short."""
        async with asyncio.timeout(WITHIN):
            while await self.delivery.wait_delivered(EXAMPLE.key, ids, 0.2) != set(ids):
                self.hurry()

    def hurry(self) -> None:
        """Forget all waiting times."""
        self.destination.forgive()
        self.delivery.retry_now()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that nobody tells of."""
        try:
            async with asyncio.timeout(WITHIN):
                while not condition():  # noqa: ASYNC110 - told to nobody
                    await asyncio.sleep(0.005)
        except TimeoutError as err:
            raise NotSo(what) from err

    def came(self) -> Counter[str]:
        """Return the records that came, by what identifies each."""
        records = self.collector.received.records
        return Counter(each.attributes["log.record.uid"] for each in records)

    def expect_all(self, *captures: Capture, again: bool = False) -> None:
        """Check that each frame arrived, and once unless an answer was lost."""
        came = self.came()
        frames = [frame for each in captures for frame in read(each).frames]
        points = [frame for frame in frames if frame.metric or frame.frame.is_heartbeat]
        dumps = sum(each.kind is CaptureKind.CORE_DUMP for each in captures)
        expect(len(came) == len(frames) - len(points) + dumps, f"{len(came)} records came")
        got = len(self.collector.received.points)
        expect(got >= len(points) if again else got == len(points), f"{got} points came")
        expect(again or max(came.values(), default=0) <= 1, "a record came twice")

    async def _reading_of(self, capture_id: int) -> Reading:
        return await asyncio.to_thread(read, self.captures[capture_id])

    async def _crash_of(self, capture: Capture) -> CrashReport | None:
        return await asyncio.to_thread(lambda: crash_report(CoreDump.parse(capture.data)))

    def _state_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            self.delivery.resume()

    # What the delivery notifies of

    def delivered(self, item: Item) -> None:
        """A capture is there."""

    def failed(self, item: Item, error: CloudError) -> None:
        """A capture was not taken this time."""

    def quarantined(self, item: Item) -> None:
        """A capture was refused for good."""
        self.quarantined_ids.append(item.capture_id)

    def outbox_failed(self, error: OutboxError) -> None:
        """The disk failed, which it must not here."""
        raise NotSo(str(error))


@asynccontextmanager
async def stage(
    totals: Counter[str],
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
) -> AsyncGenerator[Stage]:
    """Set everything up, and count what the collector could not parse."""
    with tempfile.TemporaryDirectory() as place:
        outbox = await Outbox.open(Path(place, "outbox.sqlite"), run)
        await outbox.set_destinations({NAME: 0.0})
        async with LocalCollector(server) as collector, aiohttp.ClientSession() as session:
            made = Stage(collector, outbox, session, client)
            try:
                yield made
            finally:
                await made.stop()
                await outbox.close()
                totals["messages"] += collector.received.requests
                totals["invalid"] += len(collector.received.invalid)


def log(at: float = CAPTURED_AT) -> Capture:
    """Return the example's log."""
    return Capture(CaptureKind.LOG, EXAMPLE, Buffers.load().log, at)


def dump(at: float = CAPTURED_AT + 1) -> Capture:
    """Return the example's core dump."""
    return Capture(CaptureKind.CORE_DUMP, EXAMPLE, Buffers.load().core_dump, at)


def first(number: int, answer: Answer) -> Answer:
    """Answer so many requests that carry something, and leave all others to the collector."""
    left = [number]

    async def answered(request: web.Request, count: int) -> web.StreamResponse | None:
        # An empty request asks only whether it is there.
        if left[0] and len(await request.read()) > 200:
            left[0] -= 1
            return await answer(request, count)
        return None

    return answered


def status(code: int, **headers: str) -> Answer:
    """Answer with a status."""

    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        return web.json_response({"message": "told so"}, status=code, headers=headers)

    return answer


async def everything(totals: Counter[str]) -> None:
    """Logs, metrics and a crash arrive once, each with who said it."""
    async with stage(totals) as s:
        await s.settled(await s.keep(log()), await s.keep(dump()))
        s.expect_all(log(), dump())
        received = s.collector.received
        severities = {each.record.severity_number for each in received.records}
        expect(severities <= {0, 5, 9, 13, 17, 21}, f"severities {severities}")
        expect(all(each.point.time_unix_nano for each in received.points), "a point has no time")
        for each in received.records:
            expect(each.resource["service.instance.id"] == EXAMPLE.serial, "another device")
            expect(each.record.observed_time_unix_nano, "not observed")
            expect(each.body, "a record without text")
        expect(s.collector.headers[-1]["Content-Encoding"] == "gzip", "not packed")


async def throttled(totals: Counter[str]) -> None:
    """429, 502, 503 and 504 are heeded: nothing is sent before the time that was asked for."""
    for code in (429, 502, 503, 504):
        async with stage(totals) as s:
            s.collector.answer = first(1, status(code, **{"Retry-After": "1"}))
            capture_id = await s.keep(log())
            await s.until(lambda s=s: s.destination.waiting > 0, "it did not wait")  # type: ignore[misc]
            asked, began = s.collector.received.requests, s.clock()
            await s.until(
                lambda s=s, asked=asked: s.collector.received.requests > asked,  # type: ignore[misc]
                "it did not come again",
            )
            expect(s.clock() - began > 0.9, f"{code}: it came again too soon")
            await s.settled(capture_id)
            s.expect_all(log())


async def clock_jumps(totals: Counter[str]) -> None:
    """Neither our clock nor the collector's, wherever they jump, makes it wait for days."""
    async with stage(totals) as s:
        s.collector.answer = first(
            1, status(503, **{"Retry-After": "Fri, 31 Dec 2100 00:00:00 GMT"})
        )
        capture_id = await s.keep(log())
        await s.until(lambda: s.destination.waiting > 1, "it did not wait")
        expect(s.destination.waiting <= LONGEST_WAIT, "it waits for years")
        s.now = 4.0
        await s.settled(capture_id)
        s.now = 9e9
        odd = [log(at) for at in (0.0, 1e-7, 2.0**31, 4e9, 1e10)]
        for number, each in enumerate(odd):
            device = DeviceIdentity(7, f"J{number}", "Jumping")
            await s.keep(replace(each, device=device))
        await s.until(
            lambda: (
                len({each.resource["service.instance.id"] for each in s.collector.received.records})
                == 6
            ),
            "not all that jumped came",
        )


async def refusal(totals: Counter[str]) -> None:
    """400 puts its capture aside at once, and the next one passes."""
    async with stage(totals) as s:
        s.collector.answer = first(1, status(400))
        bad, good = await s.keep(log()), await s.keep(dump())
        await s.until(lambda: len(s.quarantined_ids) == 1, "it was not put aside")
        refused = s.quarantined_ids[0]
        await s.settled(good if refused == bad else bad)
        [row] = [each for each in await s.outbox.listing() if each.capture_id == refused]
        expect(row.deliveries[NAME].state is DeliveryState.REFUSED, "it is not aside")


async def partial_success(totals: Counter[str]) -> None:
    """What a collector rejects of a request is counted, and not sent again."""
    rejected = {"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "two are too old"}}

    async def partly(_request: web.Request, _number: int) -> web.StreamResponse:
        return web.json_response(rejected)

    async with stage(totals) as s:
        s.collector.answer = first(1, partly)
        await s.settled(await s.keep(log()))
        expect(s.destination.rejected == 2, f"{s.destination.rejected} rejected")
        expect(s.destination.rejection == "two are too old", "it is not said why")
        expect(not s.collector.received.records, "it was sent again")


async def redirects(totals: Counter[str]) -> None:
    """Nothing goes where a redirection leads, no token either; it arrives when it is over."""
    for code in (301, 302, 307, 308):
        async with stage(totals) as s, LocalCollector() as thief:
            s.collector.answer = first(1, status(code, Location=f"{thief.url}/v1/logs"))
            capture_id = await s.keep(log())
            await s.until(
                lambda s=s: s.destination.state is ConnectionState.DISCONNECTED,  # type: ignore[misc]
                "it did not stop",
            )
            expect(thief.received.requests == 0, "it went elsewhere")
            await s.settled(capture_id)
            s.expect_all(log())


async def slow(totals: Counter[str]) -> None:
    """A collector that drips its answer, or gives none, is not waited for."""

    async def drip(request: web.Request, _number: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.02)
        return response

    async def silent(_request: web.Request, _number: int) -> web.StreamResponse:
        await asyncio.sleep(3 * TIMEOUT)
        return web.Response(status=200)

    for answer in (drip, silent):
        async with stage(totals) as s:
            s.collector.answer = first(1, answer)
            capture_id = await s.keep(log())
            began = s.clock()
            await s.until(
                lambda s=s: s.destination.state is ConnectionState.DISCONNECTED,  # type: ignore[misc]
                "it still waits",
            )
            expect(s.clock() - began < 4 * TIMEOUT, "it waited too long")
            await s.settled(capture_id)
            s.expect_all(log(), again=True)


def hostile_answers() -> list[Answer]:
    """Answers that no collector gives."""

    def whole(body: bytes, kind: str = "application/json", **headers: str) -> Answer:
        async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
            return web.Response(body=body, content_type=kind, headers=headers)

        return answer

    async def cut_off(request: web.Request, _number: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        if request.transport is not None:
            request.transport.abort()
        return response

    async def hung_up(request: web.Request, _number: int) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def not_http(request: web.Request, _number: int) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.write(b"SSH-2.0-OpenSSH_9\r\n" + b"\x00\xff" * 500)
            request.transport.close()
        return web.Response()

    return [
        whole(b"<html>log in</html>", "text/html"),
        whole(b"[" * 60_000),
        whole(b"\xff\xfe{}"),
        whole(b'"partialSuccess"'),
        whole(gzip.compress(b" " * 50_000_000), **{"Content-Encoding": "gzip"}),
        cut_off,
        hung_up,
        not_http,
    ]


async def hostile(totals: Counter[str]) -> None:
    """No answer loses a capture, takes memory, or ends the sending."""
    for number, answer in enumerate(hostile_answers()):
        async with stage(totals) as s:
            s.collector.answer = first(1, answer)
            capture_id = await s.keep(log())
            await s.until(
                lambda s=s: s.destination.failure is not None,  # type: ignore[misc]
                f"answer {number} counts as a success",
            )
            await s.settled(capture_id)
            s.expect_all(log(), again=True)


async def odd_partial_success(totals: Counter[str]) -> None:
    """Counts and messages of any kind are borne, and none is sent again for them."""
    odd: list[Any] = [
        None,
        [],
        {"rejectedLogRecords": -5},
        {"rejectedLogRecords": 10**30, "errorMessage": "x" * 5000},
        {"rejectedLogRecords": "many", "errorMessage": {"a": 1}},
        {"rejectedLogRecords": True, "errorMessage": "\x1b[31m\n<b>"},
    ]
    for partial in odd:

        async def answer(_request: web.Request, _number: int, partial: Any = partial) -> Any:
            return web.json_response({"partialSuccess": partial})

        async with stage(totals) as s:
            s.collector.answer = first(1, answer)
            await s.settled(await s.keep(log()))
            expect(0 <= s.destination.rejected <= 10_000, "an impossible count")
            expect(s.destination.rejection.isprintable(), "a message that is no line")
            expect(not s.collector.received.records, "it was sent again")


async def away(totals: Counter[str]) -> None:
    """A collector that goes and comes back gets all that waited, in order."""
    async with stage(totals) as s:
        await s.until(lambda: s.destination.connected, "it did not connect")
        await s.collector.stop()
        ids = [await s.keep(log()), await s.keep(dump())]
        await s.until(
            lambda: s.destination.state is ConnectionState.DISCONNECTED, "it did not notice"
        )
        await s.collector.start()
        await s.settled(*ids)
        s.expect_all(log(), dump())


async def too_large(totals: Counter[str]) -> None:
    """413 has requests made smaller until they pass."""

    async def narrow(request: web.Request, _number: int) -> web.StreamResponse | None:
        if len(await request.read()) > 5_000:
            return web.Response(status=413)
        return None

    async with stage(totals) as s:
        s.collector.answer = narrow
        await s.settled(await s.keep(log()))
        s.expect_all(log())


async def restart(totals: Counter[str]) -> None:
    """What was acknowledged of a capture is not sent again after a restart."""

    async def no_metrics(request: web.Request, _number: int) -> web.StreamResponse | None:
        stops = request.path.endswith("metrics") and len(await request.read()) > 100
        return web.Response(status=503) if stops else None

    async with stage(totals) as s:
        s.collector.answer = no_metrics
        capture_id = await s.keep(log())
        await s.until(lambda: s.destination.waiting > 0, "its metrics were taken")
        await s.stop()
        s.collector.answer = None
        s.start()
        await s.settled(capture_id)
        s.expect_all(log())


async def unauthorised(totals: Counter[str]) -> None:
    """A token that is refused is not tried with captures; when it is good again they arrive."""
    async with stage(totals) as s:
        await s.until(lambda: s.destination.connected, "it did not connect")
        s.collector.answer = status(401)
        capture_id = await s.keep(log())
        await s.until(
            lambda: s.destination.state is ConnectionState.CREDENTIALS_REFUSED, "it is not said"
        )
        s.collector.answer = None
        await s.settled(capture_id)
        s.expect_all(log())


async def tls(totals: Counter[str]) -> None:
    """Without trust nothing is sent; with it, and a client's certificate, all is."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    authority, clients = trustme.CA(), trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    clients.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    ours = clients.issue_cert("gateway.invalid")
    files = (ours.cert_chain_pems[0].bytes().decode(), ours.private_key_pem.bytes().decode())
    trusted = authority.cert_pem.bytes().decode()
    for ca, own, passes in (
        (None, files, False),
        (trusted, (None, None), False),
        (trusted, files, True),
    ):
        context = await run(tls_context, ca, *own)
        async with stage(totals, server, context) as s:
            capture_id = await s.keep(log())
            if passes:
                await s.settled(capture_id)
                s.expect_all(log())
            else:
                await s.until(lambda s=s: s.destination.failure is not None, "no failure")  # type: ignore[misc]
                expect(s.collector.received.requests == 0, "something was sent")


SCENARIOS: Final[dict[str, Callable[[Counter[str]], Awaitable[None]]]] = {
    "everything_once": everything,
    "throttled": throttled,
    "clock_jumps": clock_jumps,
    "refusal": refusal,
    "partial_success": partial_success,
    "odd_partial_success": odd_partial_success,
    "redirects": redirects,
    "slow": slow,
    "hostile": hostile,
    "away": away,
    "too_large": too_large,
    "restart": restart,
    "unauthorised": unauthorised,
    "tls": tls,
}


async def scenarios() -> dict[str, Any]:
    """Run them all; returns the report."""
    totals: Counter[str] = Counter()
    held: dict[str, bool] = {}
    for name, scenario in SCENARIOS.items():
        try:
            await scenario(totals)
            held[name] = True
        except Exception:  # noqa: BLE001 - whatever it was, the scenario did not hold
            print(f"{name}:", traceback.format_exc(), sep="\n", file=sys.stderr)
            held[name] = False
    return {"messages": totals["messages"], "invalid": totals["invalid"], "scenarios": held}


def main(arguments: list[str]) -> int:
    """Run the scenarios; prints the report."""
    if arguments:
        print("usage: script/conformance otlp", file=sys.stderr)
        return 2
    report = asyncio.run(scenarios())
    print(json.dumps(report), flush=True)
    return 0 if not report["invalid"] and all(report["scenarios"].values()) else 1
