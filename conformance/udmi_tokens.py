"""UDMI, tokens: replaced before they expire, on a clock that runs six hundred times as fast.

A token lasts an hour. The gateway's clock and the site's both make that six seconds; the site ends
a connection whose token has expired, as brokers with tokens do.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.tls import client_context
from custom_components.ulogger.cloud.udmi.auth import Authentication, authentication
from custom_components.ulogger.cloud.udmi.endpoint import Endpoint
from custom_components.ulogger.cloud.udmi.keys import generate, public_pem
from custom_components.ulogger.cloud.udmi.link import Target, UdmiLink
from demo.udmi.checking import VERSION
from demo.udmi.door import Way
from demo.udmi.gateways import register
from demo.udmi.site import LocalSite, as_text

from .udmi_stage import Scenario, Stage, expect, utc_now

SPEED: Final = 600.0
TOKENS: Final = 3
"""How many connections are waited for: the first one, and two that replaced it."""
EVERY: Final = 0.1


class FastClock:
    """The time of day, as if each second were ten minutes."""

    def __init__(self) -> None:
        self._began = time.time()
        self._since = time.monotonic()

    def __call__(self) -> float:
        """Return the time (Unix seconds)."""
        return self._began + (time.monotonic() - self._since) * SPEED

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many of its seconds."""
        await asyncio.sleep(seconds / SPEED)


async def tokens_replaced(stage: Stage) -> None:
    """4: a token is replaced before it expires, by a connection in order, and nothing is lost."""
    clock = FastClock()
    site = LocalSite(stage.directory / "hurried", way=Way.JWT, schemas=stage.schemas)
    stage.places["hurried"] = site
    site.door.now, site.door.speed = clock, SPEED
    keys = await asyncio.to_thread(generate, "ES256", site.gateway_id, utc_now())
    register(site, public_pem(keys.private_key))
    context = await asyncio.to_thread(client_context, site.ca, None, None)

    async def transport(target: Target) -> tuple[MqttTransport, Authentication]:
        proof = authentication(target.endpoint, target.keys, clock)
        broker = Broker(
            host=target.endpoint.hostname,
            port=target.endpoint.port,
            client_id=target.endpoint.client_id,
            tls=context,
            username=proof.username,
            password=proof.password,
        )
        return MqttTransport(broker), proof

    async with site:
        target = Target(Endpoint.from_dict(site.endpoint()), keys)
        link = UdmiLink(target, transport, now=clock, sleep=clock.sleep)
        running = asyncio.create_task(link.run())
        try:
            said = await _speak(link, site)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    expect(not site.gate.counters["expired"], "a token has expired while it was used")
    expect(not site.gate.refusals, f"{site.gate.refusals}")
    came = site.gateway.values("number")
    expect(sorted(set(came)) == list(range(said)), f"{said} were said, {len(set(came))} came")
    expect(came == sorted(came), "they came in another order")


async def _speak(link: UdmiLink, site: LocalSite) -> int:
    """Say numbers until some tokens were replaced; returns how many were acknowledged."""
    number = 0
    topic = link.topics.events(link.device_id, "pointset")
    async with asyncio.timeout(30):
        while site.gate.counters["admitted"] < TOKENS:
            points = {"number": {"present_value": number}}
            event = {"timestamp": as_text(utc_now()), "version": VERSION, "points": points}
            try:
                await link.publish(topic, site.encoded(event))
            except CloudError:
                # Not acknowledged: it is said again, as a delivery does.
                await asyncio.sleep(EVERY / 10)
            else:
                number += 1
                await asyncio.sleep(EVERY)
    return number


TOKENS_ALONE: Final[dict[str, Scenario]] = {
    "tokens_replaced": tokens_replaced,
}
