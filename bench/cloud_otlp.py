"""OTLP beside OpenTelemetry's own SDK and exporter: the frames of a log become log records.

Both begin with frames that are decoded, make the same records of them with the same attributes,
pack them and end when they are acknowledged. The collector is another process that reads what comes
and answers without parsing it, so that its work is not measured.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiohttp import web
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from custom_components.ulogger.capture.frames import Argument, ArgumentKind, Frame
from custom_components.ulogger.cloud.otlp.client import OtlpClient
from custom_components.ulogger.cloud.otlp.endpoint import Endpoint
from custom_components.ulogger.cloud.otlp.otlp import OtlpDestination
from custom_components.ulogger.cloud.otlp.records import SEVERITIES
from custom_components.ulogger.cloud.otlp.resource import GatewayIdentity
from custom_components.ulogger.cloud.otlp.values import nanoseconds
from custom_components.ulogger.insight.reading import LogFrame, Reading
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level
from demo.ports import free_port

FRAMES: Final = 4_000
AT: Final = 1_795_225_292.0
DEVICE: Final = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
GATEWAY: Final = GatewayIdentity("ha-5eed5eed", "0.1.0", "2026.10")
BATCH: Final = 2_000

type Row = dict[str, Any]


async def measure(rounds: int) -> list[Row]:
    """Return a row: the best of so many rounds of each side."""
    port = free_port()
    context = multiprocessing.get_context("spawn")
    collector = context.Process(target=serve, args=(port,), daemon=True)
    collector.start()
    url = f"http://127.0.0.1:{port}"
    try:
        frames = [_frame(number) for number in range(FRAMES)]
        async with aiohttp.ClientSession() as session:
            await _until_there(session, url)
            ours = await _ours(session, url, frames, rounds)
        theirs = await _theirs(url, frames, rounds)
    finally:
        collector.terminate()
        collector.join()
    return [_row(ours, theirs)]


async def _ours(
    session: aiohttp.ClientSession, url: str, frames: Sequence[LogFrame], rounds: int
) -> tuple[float, float]:
    reading = Reading(CaptureKind.LOG, None, tuple(frames))

    async def reading_of(_capture_id: int) -> Reading:
        return reading

    async def no_crash(_capture: Capture) -> None:
        return None

    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    destination = OtlpDestination(
        "otlp",
        OtlpClient(session, Endpoint(url)),
        GATEWAY,
        run,
        reading_of=reading_of,
        crash_of=no_crash,
    )
    running = asyncio.create_task(destination.run())
    try:
        while not destination.connected:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        capture = Capture(CaptureKind.LOG, DEVICE, b"", AT)
        return await _best(rounds, lambda: destination.deliver(capture, 1))
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _theirs(url: str, frames: Sequence[LogFrame], rounds: int) -> tuple[float, float]:
    exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs", compression=Compression.Gzip)
    provider = LoggerProvider(
        Resource({"service.name": DEVICE.device_type, "service.instance.id": DEVICE.serial})
    )
    provider.add_log_record_processor(
        BatchLogRecordProcessor(
            exporter,
            schedule_delay_millis=60_000,
            max_export_batch_size=BATCH,
            max_queue_size=2 * FRAMES,
        )
    )
    logger = provider.get_logger("ulogger", GATEWAY.version)

    def send() -> None:
        for frame in frames:
            logger.emit(_library_record(frame))
        if not provider.force_flush():
            raise RuntimeError("the exporter did not send everything")

    async def work() -> None:
        await asyncio.to_thread(send)

    try:
        return await _best(rounds, work)
    finally:
        await asyncio.to_thread(provider.shutdown)


def _library_record(frame: LogFrame) -> LogRecord:
    """Return the record that ours is, for the SDK."""
    at = int(nanoseconds(frame.at) or 0)
    return LogRecord(
        timestamp=at,
        observed_timestamp=at,
        severity_number=SeverityNumber(SEVERITIES[frame.level]),
        severity_text=frame.level.name,
        body=frame.message,
        attributes={
            "log.record.uid": f"0123456789abcdef01234567-{frame.number:x}",
            "ulogger.capture.id": 1,
            "ulogger.frame.number": frame.number,
            "ulogger.module.number": frame.module,
            "ulogger.module.name": frame.module_name,
            "ulogger.address": f"0x{frame.address:08X}",
            "ulogger.uncertainty": frame.uncertainty,
            "ulogger.arguments": [value for _, value in frame.arguments],
        },
    )


async def _best(rounds: int, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return the seconds and the processor's seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        began, processor = time.perf_counter(), time.process_time()
        await work()
        times.append((time.perf_counter() - began, time.process_time() - processor))
    return min(seconds for seconds, _ in times), min(used for _, used in times)


def _row(ours: tuple[float, float], theirs: tuple[float, float]) -> Row:
    return {
        "case": "log_records",
        "messages": FRAMES,
        "ours_ms": round(ours[0] * 1000, 3),
        "library_ms": round(theirs[0] * 1000, 3),
        "ratio": round(theirs[0] / ours[0], 2),
        "ours_messages_s": round(FRAMES / ours[0]),
        "library_messages_s": round(FRAMES / theirs[0]),
        "ours_cpu_us": round(ours[1] / FRAMES * 1e6, 2),
        "library_cpu_us": round(theirs[1] / FRAMES * 1e6, 2),
        "cpu_ratio": round(theirs[1] / ours[1], 2),
    }


def _frame(number: int) -> LogFrame:
    values = (
        Argument(ArgumentKind.INT, number),
        Argument(ArgumentKind.DOUBLE, number / 10),
        Argument(ArgumentKind.STRING, "front door"),
    )
    frame = Frame(32, Level(number % 5), number % 7, 0x0800_4000 + number % 40, values)
    text = f"door {number} opened after {number / 10:.1f} s by front door"
    return LogFrame(number, frame, number / 100, AT + number / 100, 0.01, "DOOR", text)


async def _until_there(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url):
                    return
            await asyncio.sleep(0.05)


def serve(port: int) -> None:
    """Take requests, as a process of its own."""

    async def take(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        body = b"{}" if request.content_type == "application/json" else b""
        return web.Response(body=body, content_type=request.content_type)

    app = web.Application(client_max_size=100 * 1024 * 1024)
    app.router.add_post("/v1/logs", take)
    app.router.add_post("/v1/metrics", take)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)
