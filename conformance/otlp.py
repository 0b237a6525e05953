"""OTLP/HTTP: our outbox and delivery, and a collector that is hostile, slow, strict or away.

Every request is parsed with OpenTelemetry's own protobuf; one that is not valid counts. What came
is held against what was read of the captures: each frame once. Where an answer was lost, a record
may come again, and then under the same ``log.record.uid``.
"""

import asyncio
import json
import ssl
import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import trustme
from aiohttp import web

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.otlp.answers import LONGEST_WAIT
from custom_components.ulogger.cloud.tls import client_context as tls_context
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.model import DeliveryState
from demo.fleet import EXAMPLE
from demo.otlp import LocalCollector

from .expecting import expect
from .otlp_answers import drip, first, hostile_answers, silent, status
from .otlp_stage import NAME, TIMEOUT, dump, log, run, stage


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
    for answer in (drip, silent(3 * TIMEOUT)):
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
