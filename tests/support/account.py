"""An account at work, without a radio and without a network: its cloud is told what to answer."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, override
from unittest.mock import patch

import pytest
import trustme
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.mqtt.transport import MessageCallback, Transport, Unsubscribe
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity as Identity
from demo.cloud.certificates import Issued
from tests.support.bluetooth import ADDRESS
from tests.support.fixtures import AGENT

SENSOR = Identity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
APPROVED = {"applications": {"42": {"device_types": ["DoorSenseV2"]}}}
TOKEN = 3735928559
CRASH_LOG = (AGENT / "v4-crash" / "log.bin").read_bytes()
CRASH_DUMP = (AGENT / "v4-crash" / "core_dump.bin").read_bytes()


class ToldTransport(Transport):
    """A connection that stands as the test says, and registers whoever asks."""

    def __init__(self) -> None:
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.denied: list[str] = []
        self.forgiven = 0
        self.published: list[tuple[str, bytes]] = []
        self.refusal: Exception | None = None
        self._state = ConnectionState.CONNECTED
        self._subscriptions: list[tuple[str, MessageCallback]] = []

    @property
    @override
    def connected(self) -> bool:
        return self._state is ConnectionState.CONNECTED

    @property
    @override
    def state(self) -> ConnectionState:
        return self._state

    @property
    @override
    def denied_topics(self) -> list[str]:
        return self.denied

    @override
    def forgive(self) -> None:
        self.forgiven += 1
        self.deny()

    def deny(self, *topics: str) -> None:
        """Deny these topics from now on."""
        self.denied = list(topics)
        if self.on_denied is not None:
            self.on_denied()

    def tell(self, state: ConnectionState) -> None:
        """Be in another state from now on."""
        self._state = state
        if self.on_state is not None:
            self.on_state(state)

    @override
    async def run(self) -> None:
        self.tell(self._state)
        await asyncio.get_running_loop().create_future()

    @override
    async def publish(self, topic: str, payload: bytes) -> None:
        if not self.connected:
            raise CloudUnavailable("told so")
        if self.refusal is not None:
            raise self.refusal
        self.published.append((topic, payload))
        if topic.startswith("boot/"):
            reply = json.dumps({"token": TOKEN}).encode()
            self.receive(f"{topic}/{json.loads(payload)['serial']}", reply)

    def receive(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Let a message come in."""
        for topic_filter, callback in list(self._subscriptions):
            if topic_filter.split("/")[0] == topic.split("/", maxsplit=1)[0]:
                callback(topic, payload, retained)

    @override
    async def subscribed(self, topic_filter: str) -> bool:
        return True

    @override
    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
        *,
        on_allowed: Callable[[], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> Unsubscribe:
        subscription = (topic_filter, callback)
        self._subscriptions.append(subscription)

        async def end() -> None:
            self._subscriptions.remove(subscription)

        return end


@pytest.fixture
def transport() -> Iterator[ToldTransport]:
    """Give accounts a transport that does what it is told."""
    told = ToldTransport()
    with patch("custom_components.ulogger.gateway.ulogger.MqttTransport", return_value=told):
        yield told


@pytest.fixture
async def account(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """Return an account that is set up."""
    return await load(hass)


@pytest.fixture
def device(account: MockConfigEntry) -> DeviceCoordinator:
    """Return a device of the account."""
    return meet(account)


@cache
def certificate(days: int) -> Issued:
    """Issue a certificate that is valid for some days more."""
    now = dt.datetime.now(dt.UTC)
    return Issued.by(
        trustme.CA(),
        "customer.invalid",
        not_before=now - dt.timedelta(days=100),
        not_after=now + dt.timedelta(days=days),
    )


async def load(
    hass: HomeAssistant, *, days: int = 1000, options: dict[str, Any] | None = None, **data: Any
) -> MockConfigEntry:
    """Set up an account."""
    issued = certificate(days)
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id=f"{data.get('customer_id', 42)}-0",
        title=f"uLogger {data.get('customer_id', 42)}",
        data={
            "connection": "mqtt",
            "customer_id": 42,
            "group_id": 0,
            "certificate": issued.certificate,
            "private_key": issued.private_key,
            "broker": "broker.invalid",
            "port": 8883,
            "client_suffix": "5eed5eed",
            **data,
        },
        options=APPROVED if options is None else options,
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


def meet(
    account: MockConfigEntry, identity: Identity = SENSOR, address: str = ADDRESS
) -> DeviceCoordinator:
    """Have the account meet a device that is out of range again already."""
    gateway: Gateway = account.runtime_data
    gateway.fleet.identified(identity, address, "uLogger Example")
    return gateway.devices[identity.key]


def log(identity: Identity = SENSOR, fault: CaptureFault | None = None) -> Capture:
    """Return the log of a device."""
    return Capture(CaptureKind.LOG, identity, CRASH_LOG, 1_790_000_000.0, fault)


def core_dump(identity: Identity = SENSOR) -> Capture:
    """Return the core dump of a device."""
    return Capture(CaptureKind.CORE_DUMP, identity, CRASH_DUMP, 1_790_000_100.0)
