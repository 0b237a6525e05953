"""How fast waiting captures go up over a long way, beside bare paho on the same way.

Case ``drain_latency`` of ``script/bench cloud``. A proxy between client and broker delays both
directions by half of the round trip. *seconds* is ours, from connecting until the last
acknowledgement is recorded on disk, within the limits of an AWS account (100 publishes and 512 KB
a second; we keep to 90 and 450 KB). *paho_seconds* is bare paho with a window of 20 within the
same limits, from connecting until the last acknowledgement, reading and writing no disk.
*unpaced_seconds* and *paho_unpaced_seconds* are the same without limits: what window and work
cost by themselves.
"""

import argparse
import asyncio
import ssl
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from custom_components.ulogger.cloud.mqtt.rate_limit import RateLimit
from custom_components.ulogger.cloud.ulogger.topics import Topics
from demo.cloud.broker import LocalBroker

from .delay_proxy import DelayProxy
from .road import APPLICATION_ID, CLIENT_ID, CUSTOMER_ID, make_capture, road, tls_context

WINDOW: Final = 20
"""Messages without an acknowledgement that paho has under way at once."""
RTTS_MS: Final = (0, 50, 100)
DEVICE_COUNTS: Final = (1, 20)
LONGEST: Final = 300.0


async def drain_latency(
    broker: LocalBroker, folder: Path, options: argparse.Namespace
) -> AsyncGenerator[dict[str, Any]]:
    """Measure all round trips with few and many devices."""
    for rtt_ms in options.rtt_ms:
        with DelayProxy(broker.port, rtt_ms / 1_000) as proxy:
            peer = [
                await bare_paho(broker, proxy.port, options.captures, pace)
                for pace in (RateLimit(), None)
            ]
            for devices in options.devices:
                place = folder / f"{rtt_ms}-{devices}"
                ours = [
                    await ours_drains(
                        broker,
                        proxy.port,
                        place,
                        captures=options.captures,
                        devices=devices,
                        pace=pace,
                    )
                    for pace in (RateLimit(), None)
                ]
                yield {
                    "bench": "cloud",
                    "case": "drain_latency",
                    "devices": devices,
                    "rtt_ms": rtt_ms,
                    "captures": options.captures,
                    "seconds": round(ours[0], 3),
                    "paho_seconds": round(peer[0], 3),
                    "unpaced_seconds": round(ours[1], 3),
                    "paho_unpaced_seconds": round(peer[1], 3),
                }


async def ours_drains(
    broker: LocalBroker,
    port: int,
    place: Path,
    *,
    captures: int,
    devices: int,
    pace: RateLimit | None,
) -> float:
    """Return the seconds until captures that wait in an outbox are delivered."""
    chance = Random(6)  # noqa: S311
    folder = place / ("unpaced" if pace is None else "paced")
    await asyncio.to_thread(lambda: folder.mkdir(parents=True))
    async with road(broker, folder, devices=devices, port=port, pace=pace) as bench:
        for number in range(captures):
            await bench.outbox.add(make_capture(number, chance, devices))
        started = time.perf_counter()
        done = asyncio.create_task(bench.listener.wait(captures))
        await bench.connect()
        bench.delivery.wake()
        async with asyncio.timeout(LONGEST):
            await done
        return time.perf_counter() - started


async def bare_paho(broker: LocalBroker, port: int, captures: int, pace: RateLimit | None) -> float:
    """Return the seconds until paho, on a thread of its own, has as many acknowledgements."""
    chance = Random(6)  # noqa: S311
    payloads = [make_capture(number, chance).data for number in range(captures)]
    topic = Topics(CUSTOMER_ID).binary_log(APPLICATION_ID)
    context = await asyncio.to_thread(tls_context, broker)
    paho = _Paho(context)
    started = time.perf_counter()
    await asyncio.to_thread(paho.connect, broker.host, port)
    try:
        messages: list[MQTTMessageInfo] = []
        for payload in payloads:
            if pace is not None:
                await pace.take(len(topic) + len(payload))
            messages.append(paho.client.publish(topic, payload, qos=1))
        for message in messages:
            await asyncio.to_thread(message.wait_for_publish, LONGEST)
        return time.perf_counter() - started
    finally:
        await asyncio.to_thread(paho.close)


class _Paho:
    """Paho as its documentation shows it, with a network thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._connected = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=f"{CLIENT_ID}-paho")
        self.client.tls_set_context(context)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.on_connect = self._on_connect

    def connect(self, host: str, port: int) -> None:
        """Connect, and wait for the broker's answer."""
        self.client.connect(host, port)
        self.client.loop_start()
        if not self._connected.wait(LONGEST):
            raise TimeoutError("paho did not connect")

    def close(self) -> None:
        """Disconnect and end the thread."""
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not reason.is_failure:
            self._connected.set()
