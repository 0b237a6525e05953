"""Waiting for a connection, as the integration never does: it goes on with what it has."""

import asyncio

from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.mqtt.client import MqttTransport

LOOK_EVERY = 0.002


async def until_connected(transport: MqttTransport, seconds: float) -> None:
    """Return once there is a connection; raises the last failure if there is none in time."""
    try:
        async with asyncio.timeout(seconds):
            while not transport.connected:  # noqa: ASYNC110 - whoever listens to it is not disturbed
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError as err:
        raise transport.last_failure or CloudUnavailable("the broker did not answer") from err
