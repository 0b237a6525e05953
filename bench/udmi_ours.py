"""Our gateway as a process of its own: sends what it is told to, and says what that cost.

Each line of standard input names a case; the answer is a line with the processor's seconds, once
all of it is acknowledged.
"""

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custom_components.ulogger.capture.frames import Argument, ArgumentKind, Frame
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.udmi.auth import Authentication, Kind
from custom_components.ulogger.cloud.udmi.endpoint import Endpoint
from custom_components.ulogger.cloud.udmi.link import Target, UdmiLink
from custom_components.ulogger.cloud.udmi.progress import Volatile
from custom_components.ulogger.cloud.udmi.speaker import Speaker
from custom_components.ulogger.cloud.udmi.udmi import UdmiDestination
from custom_components.ulogger.cloud.udmi.wishes import LevelWishes
from custom_components.ulogger.insight.reading import LogFrame, Reading
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

AT = 1_795_225_292.0
DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
PROXY = "BLE-1"
HARDWARE = {"make": "uLogger", "model": "DoorSenseV2"}


def text(number: int) -> str:
    """Return what a frame says."""
    return f"door {number} opened after {number / 10:.1f} s by front door"


def reading_of(case: str, number: int) -> Reading:
    """Return so many frames: log lines, or metrics of as many moments."""
    made = _line if case == "log_entries" else _metric
    return Reading(CaptureKind.LOG, None, tuple(made(each) for each in range(number)))


def _line(number: int) -> LogFrame:
    frame = Frame(32, Level.WARNING, number % 7, 0x0800_4000 + number % 40, ())
    return LogFrame(number, frame, number / 100, AT + number / 100, 0.01, "DOOR", text(number))


def _metric(number: int) -> LogFrame:
    values = (Argument(ArgumentKind.STRING, "battery"), Argument(ArgumentKind.INT, number))
    frame = Frame(32, Level.METRIC, 0, 0, values)
    return LogFrame(number, frame, number / 100, AT + number / 100, 0.01, None, None)


async def serve(endpoint: Endpoint, ca: Path, number: int) -> None:
    """Connect, and send what is asked for until nothing more is."""
    context = await asyncio.to_thread(ssl.create_default_context, cafile=str(ca))
    case = ""

    async def transport(target: Target) -> tuple[MqttTransport, Authentication]:
        broker = Broker(
            host=target.endpoint.hostname,
            port=target.endpoint.port,
            client_id=target.endpoint.client_id,
            tls=context,
        )
        return MqttTransport(broker), Authentication(Kind.NONE)

    async def reading(_capture_id: int) -> Reading:
        return readings[case]

    async def no_report(_capture: Capture) -> None:
        return None

    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    async def forget(_told_at: Any) -> None:
        return None

    readings = {each: reading_of(each, number) for each in ("log_entries", "points")}
    destination = UdmiDestination(
        "udmi",
        UdmiLink(Target(endpoint), transport),
        progress=Volatile(),
        proxy_of=lambda _key: PROXY,
        device_of=lambda _proxy: DEVICE.key,
        reading_of=reading,
        report_of=no_report,
        wishes=LevelWishes({}, forget, time.time),
        run=run,
    )

    def speaker(device_id: str) -> Speaker:
        return Speaker(
            device_id,
            identity=lambda: {"serial_no": DEVICE.serial, "hardware": HARDWARE, "software": {}},
            publish=destination.publish,
            changed=destination.changed,
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
            latch=1.0,
        )

    destination.gateway = speaker(endpoint.device_id)
    destination.make_proxy = speaker
    running = asyncio.create_task(destination.run())
    capture = Capture(CaptureKind.LOG, DEVICE, b"", AT)
    destination.attach(PROXY)
    await destination.prepare(capture)
    print("ready", flush=True)
    capture_id = 0
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        case, capture_id = line, capture_id + 1
        began = time.process_time()
        await destination.deliver(capture, capture_id)
        print(json.dumps(time.process_time() - began), flush=True)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("ca", type=Path)
    parser.add_argument("number", type=int)
    options = parser.parse_args()
    asyncio.run(serve(Endpoint.from_json(options.endpoint), options.ca, options.number))


if __name__ == "__main__":
    main()
