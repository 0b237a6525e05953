"""Brokers that allow little: whatever they refuse, and however, messages go up. In virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

import pytest

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudError, InvalidSerial
from custom_components.ulogger.cloud.mqtt import subscriber
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.mqtt.rate_limit import RateLimit
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.messages import log_config_message
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.cloud.ulogger.topics import LONGEST, Topics
from custom_components.ulogger.model.backoff import Backoff
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.log_config import LogConfig
from demo.cloud.limits import WILDCARDS, Limits
from demo.cloud.waiting import until_connected
from demo.device.virtual_time import run_virtually

from ...support.narrow_broker import HANDSHAKE, ROUND_TRIP, VirtualBroker
from ..conftest import until

BODY = b"frames"
LOG = LogHeader(4, 0, 0, 1, 1, 1, len(BODY), xor_checksum(BODY)).pack() + BODY
CRAB = "\N{CRAB}"
LONG_SERIAL = CRAB * 67
BOTH = (CaptureKind.LOG, CaptureKind.CORE_DUMP)
CONFIG = log_config_message(LogConfig(0, 1, 600))


def devices(count: int) -> list[DeviceIdentity]:
    return [DeviceIdentity(7, f"S{number:03}", "sensor", "1.0", "abc") for number in range(count)]


async def keep_nothing(_tokens: Any) -> None:
    pass


class Gateway:
    """A transport and a cloud, and whoever insists on delivering captures through them."""

    def __init__(self, broker: VirtualBroker, known: dict[str, int] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker = broker
        self.states: list[ConnectionState] = []
        self.transport = MqttTransport(
            Broker(host="broker", port=8883, client_id="cust-42-ha-test", unencrypted=True),
            clock=self.loop.time,
            pace=RateLimit(clock=self.loop.time),
            backoff=Backoff(chance=lambda: 0.0),
            make_connection=broker.connect,  # type: ignore[arg-type]
        )
        tokens = {
            f"7/{serial}": {"git_hash": "abc", "token": token}
            for serial, token in (known or {}).items()
        }
        self.cloud = UloggerCloud(
            self.transport, customer_id=42, tokens=TokenCache(tokens, keep_nothing)
        )
        self.heard: list[tuple[Any, LogConfig]] = []
        self.cloud.on_log_config = lambda key, config, _retained: self.heard.append((key, config))
        self.transport.on_state = self._changed
        self.delivered: dict[tuple[str, CaptureKind], float] = {}
        self.refused: dict[tuple[str, CaptureKind], CloudError] = {}
        self._connected = asyncio.Event()
        self._reconnected = asyncio.Event()
        self._gate = asyncio.Semaphore(8)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self.start(self.transport.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task

    def watch(self, *identities: DeviceIdentity) -> None:
        async def watching(identity: DeviceIdentity, identified_at: float) -> None:
            with suppress(CloudError):
                await self.cloud.follow_log_config(identity.key, identified_at)

        for identified_at, identity in enumerate(identities):
            self.start(watching(identity, identified_at))

    async def deliver(self, *identities: DeviceIdentity, seconds: float = 600) -> None:
        """Deliver a log and a core dump of each, trying again; give up after some time."""
        work = [self.start(self._insist(each, kind)) for each in identities for kind in BOTH]
        await asyncio.wait(work, timeout=seconds)

    async def _insist(self, identity: DeviceIdentity, kind: CaptureKind) -> None:
        name = (identity.serial, kind)
        wait = 5.0
        while True:
            async with self._gate:
                await self._connected.wait()
                try:
                    data = LOG if kind is CaptureKind.LOG else identity.serial.encode()
                    await self.cloud.deliver(Capture(kind, identity, data, 0))
                except CloudError as err:
                    if err.about_message:
                        self.refused[name] = err
                        return
                else:
                    self.delivered[name] = self.loop.time()
                    return
            # As the delivery does: later, or as soon as there is a new connection.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._reconnected.wait()
                    wait = 5.0
            wait = min(600.0, 2 * wait)

    def _changed(self, state: ConnectionState) -> None:
        self.states.append(state)
        if self.transport.connected:
            self._reconnected.set()
            self._reconnected = asyncio.Event()
            self._connected.set()
        else:
            self._connected.clear()

    def filters(self, kind: str) -> set[str]:
        """What is subscribed to now."""
        now = self.broker.connection
        return {each for each in now.client.filters if each.startswith(kind)} if now else set()


def on(broker_limits: Limits, scenario: Callable[[VirtualBroker], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(VirtualBroker(broker_limits))

    run_virtually(run())


def up(broker: VirtualBroker, now: float) -> float:
    """The share of the time that there was a connection."""
    opened = [connection for connection in broker.connections if connection.opened_at]
    return sum((each.ended_at or now) - each.opened_at for each in opened) / now


WILDCARDS_REFUSED = [
    pytest.param(Limits(refused=WILDCARDS, closes=True), id="by closing"),
    pytest.param(Limits(refused=WILDCARDS, closes=False), id="by an answer"),
]


@pytest.mark.parametrize("limits", WILDCARDS_REFUSED)
def test_sixty_devices_and_one_with_an_endless_serial_deliver_where_wildcards_are_refused(
    limits: Limits,
) -> None:
    fleet = devices(60)
    odd = DeviceIdentity(7, LONG_SERIAL, "sensor", "1.0", "abc")

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            gateway.watch(odd, *fleet)
            await gateway.deliver(odd, *fleet)
            everything = {(each.serial, kind) for each in fleet for kind in BOTH}
            assert gateway.delivered.keys() == everything | {(LONG_SERIAL, CaptureKind.CORE_DUMP)}
            # No answer could ever reach it: kept aside, with the reason.
            assert isinstance(gateway.refused[LONG_SERIAL, CaptureKind.LOG], InvalidSerial)
            assert len(gateway.refused) == 1
            assert max(gateway.delivered.values()) < 30
            assert broker.most_filters <= subscriber.MOST_FILTERS
            closings = 2 if limits.closes else 0
            assert len(broker.connections) == 1 + closings
            assert sum(broker.closed_on.values()) == closings
            assert ConnectionState.CLIENT_ID_CONFLICT not in gateway.states

    on(limits, scenario)


def test_a_broker_that_closes_on_every_subscription_takes_what_needs_none() -> None:
    fleet = devices(60)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker, {each.serial: 5 for each in fleet}) as gateway:
            gateway.watch(*fleet)
            await gateway.deliver(*fleet)
            assert len(gateway.delivered) == 120
            assert max(gateway.delivered.values()) < 30
            await asyncio.sleep(3600 - gateway.loop.time())
            assert up(broker, 3600.0) > 0.97
            assert sum(broker.closed_on.values()) < 25
            await asyncio.sleep(23 * 3600)
            assert sum(broker.closed_on.values()) < 250

    on(Limits(refused=("*",)), scenario)


def test_a_broker_that_never_answers_a_subscription_takes_what_needs_none() -> None:
    fleet = devices(60)

    async def scenario(broker: VirtualBroker) -> None:
        broker.answers_subscriptions = False
        async with Gateway(broker, {each.serial: 5 for each in fleet}) as gateway:
            gateway.watch(*fleet)
            await gateway.deliver(*fleet)
            assert len(gateway.delivered) == 120
            assert max(gateway.delivered.values()) < 30
            assert len(broker.connections) == 1

    on(Limits(), scenario)


def test_what_waits_goes_up_before_a_subscription_ends_the_connection() -> None:
    fleet = devices(10)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker, {each.serial: 5 for each in fleet}) as gateway:
            gateway.watch(*fleet)
            await gateway.deliver(*fleet)
            assert max(gateway.delivered.values()) < HANDSHAKE + subscriber.GRACE
            await asyncio.sleep(60)
            assert broker.connections[0].asked == ["config/v0/42/0/+/+"]
            assert len(broker.connections) > 2
            assert gateway.transport.counters["lost_in_flight"] == 0

    on(Limits(refused=("*",)), scenario)


def test_a_registration_waits_while_a_refused_wildcard_ends_the_connection() -> None:
    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            gateway.watch(*devices(2))
            await until_connected(gateway.transport, 5)
            assert await gateway.cloud.register(devices(1)[0]) == 1000
            assert len(broker.connections) == 2

    on(Limits(refused=("boot/*+*",)), scenario)


def test_amid_other_messages_a_refused_filter_is_found_out_with_two_closings() -> None:
    fleet = devices(3)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker, {each.serial: 5 for each in fleet}) as gateway:
            gateway.watch(fleet[0])
            await asyncio.sleep(10)

            async def send_on() -> None:
                while True:
                    with suppress(CloudError):
                        await gateway.transport.publish("metrics/v0/42/0/7", b"{}")
                    await asyncio.sleep(0.001)

            for _ in range(5):
                gateway.start(send_on())
            gateway.watch(*fleet)
            await asyncio.sleep(40)
            assert broker.closed_on["config/v0/42/0/7/S001"] == 2
            assert gateway.filters("config/") == {
                f"config/v0/42/0/7/{serial}" for serial in ("S000", "S002")
            }

    on(Limits(refused=(*WILDCARDS, "*/S001")), scenario)


def test_devices_whose_topics_are_refused_do_not_hold_up_the_others() -> None:
    fleet = devices(60)
    refused = [f"boot/*/S{number:03}" for number in range(0, 60, 3)]

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            await gateway.deliver(*fleet, seconds=900)
            logs = {serial for serial, kind in gateway.delivered if kind is CaptureKind.LOG}
            assert logs == {each.serial for each in fleet[1::3] + fleet[2::3]}
            dumps = {serial for serial, kind in gateway.delivered if kind is CaptureKind.CORE_DUMP}
            assert len(dumps) == 60
            assert max(gateway.delivered.values()) < 180
            assert up(broker, gateway.loop.time()) > 0.85

    on(Limits(refused=(*WILDCARDS, *refused)), scenario)


def test_those_met_last_are_heard_always_and_the_others_by_turns() -> None:
    fleet = devices(100)
    last_met = {f"config/v0/42/0/7/{each.serial}" for each in fleet[-30:]}

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            gateway.watch(*fleet)
            await asyncio.sleep(30)
            heard: set[str] = set()
            for _ in range(8 * 3):
                now = gateway.filters("config/")
                assert len(now) == subscriber.MOST_FILTERS
                assert last_met < now
                heard |= now
                await asyncio.sleep(subscriber.TURN / 3)
            assert len(heard) == 100
            assert broker.most_filters <= 50
            assert len(broker.connections) == 2

            gateway.cloud.device_identified(fleet[3].key, 1_000.0)
            await asyncio.sleep(2 * subscriber.TURN)
            for _ in range(10):
                assert f"config/v0/42/0/7/{fleet[3].serial}" in gateway.filters("config/")
                await asyncio.sleep(subscriber.TURN)

    on(Limits(refused=WILDCARDS), scenario)


def test_a_device_that_registers_is_heard_at_once_among_many() -> None:
    fleet = devices(100)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            gateway.watch(*fleet)
            await gateway.deliver(fleet[50])
            await asyncio.sleep(30)
            began = gateway.loop.time()
            await gateway.cloud.register(fleet[0])
            assert gateway.loop.time() - began < 1 + 6 * ROUND_TRIP
            assert broker.most_filters <= 50

    on(Limits(refused=WILDCARDS), scenario)


def test_after_a_loss_the_same_is_heard_again_and_configurations_still_come() -> None:
    fleet = devices(5)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            gateway.watch(*fleet)
            await asyncio.sleep(30)
            before = gateway.filters("config/")
            broker.connection._over(by_broker=True)
            await asyncio.sleep(5)
            assert gateway.filters("config/") == before
            assert len(before) == 5
            assert broker.send("config/v0/42/0/7/S003", CONFIG)
            await asyncio.sleep(1)
            assert [key for key, _ in gateway.heard] == [(7, "S003")]

    on(Limits(refused=WILDCARDS), scenario)


def test_a_wildcard_that_a_mishap_made_look_refused_is_back_within_hours() -> None:
    fleet = devices(100)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker) as gateway:
            gateway.watch(*fleet)
            connection = await asked(gateway, broker, "config/v0/42/0/+/+")
            connection._over(by_broker=True)
            await asyncio.sleep(60)
            assert gateway.cloud.diagnostics()["config_wildcard_refused"]
            assert len(gateway.filters("config/")) == subscriber.MOST_FILTERS
            await asyncio.sleep(2 * 3600)
            assert gateway.filters("config/") == {"config/v0/42/0/+/+"}
            assert not gateway.cloud.diagnostics()["config_wildcard_refused"]
            assert len(broker.connections) == 2

    async def asked(gateway: Gateway, broker: VirtualBroker, topic_filter: str) -> Any:
        broker.answers_subscriptions = False
        await until(lambda: broker.connection and topic_filter in broker.connection.asked)
        broker.answers_subscriptions = True
        return broker.connection

    on(Limits(), scenario)


def test_a_filter_that_was_asked_for_in_company_is_asked_for_alone_before_it_is_blamed() -> None:
    first, second = devices(2)

    async def scenario(broker: VirtualBroker) -> None:
        async with Gateway(broker, {first.serial: 1, second.serial: 2}) as gateway:
            gateway.watch(first)
            await asyncio.sleep(10)
            broker.answers_subscriptions = False
            gateway.start(gateway._insist(first, CaptureKind.CORE_DUMP))
            gateway.watch(second)
            await asyncio.sleep(ROUND_TRIP / 4)
            broker.connection._over(by_broker=True)
            broker.answers_subscriptions = True
            await asyncio.sleep(10)
            assert gateway.filters("config/") == {
                f"config/v0/42/0/7/{each.serial}" for each in (first, second)
            }
            assert gateway.delivered

    on(Limits(refused=WILDCARDS), scenario)


def test_topics_are_limited_in_bytes_without_the_prefix_that_a_bridge_takes_off() -> None:
    shorter = "boot/v0/42/0/7/"
    fits = CRAB * ((256 - len(shorter)) // 4)
    for prefix in ("", "ulogger/"):
        assert Topics(42, prefix=prefix).boot_reply((7, fits)) == prefix + shorter + fits
        with pytest.raises(InvalidSerial, match="takes 256"):
            Topics(42, prefix=prefix).boot_reply((7, fits + CRAB))
    assert LONG_SERIAL in Topics(42, longest=LONGEST).log_config((7, LONG_SERIAL))
