"""Home Assistant's own MQTT integration as the connection, on real brokers."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, override
from unittest.mock import patch

import aiomqtt
import pytest
import pytest_socket
from homeassistant.components import mqtt
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.capture.log_buffer import with_session_token
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable, NotAcknowledged
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway.home_assistant_mqtt import HomeAssistantTransport
from custom_components.ulogger.model.telemetry import Event
from demo.cloud.broker import LocalBroker, listens
from demo.cloud.service import LocalCloud
from demo.ports import free_port
from tests.support.local_cloud import CUSTOMER_ID
from tests.support.road import APPLICATION, CORE_DUMP, IDENTITY, LOG, Road, approving

PREFIX = "ulogger/"
CLIENT = "homeassistant.components.mqtt.client"
BRIDGE = Path(__file__).parents[2] / "docs" / "bridge.md"


class HomeBroker(LocalBroker):
    """The broker at home: Home Assistant comes without TLS, the test's own clients with it."""

    def __init__(self, directory: Path, *settings: str) -> None:
        super().__init__(directory, customer_id=CUSTOMER_ID)
        self.plain_port = free_port()
        self.settings = [
            f"listener {self.plain_port} 127.0.0.1",
            "allow_anonymous true",
            *settings,
        ]

    @override
    def _accepts(self) -> bool:
        return listens(self.plain_port) and super()._accepts()


@pytest.fixture
async def home(tmp_path: Path, socket_enabled: None) -> AsyncGenerator[HomeBroker]:
    """A broker at home that runs."""
    pytest_socket.enable_socket()
    async with HomeBroker(tmp_path / "home") as broker:
        yield broker


@pytest.fixture
async def cloud(home: HomeBroker) -> AsyncGenerator[LocalCloud]:
    """A cloud behind the prefix, on the broker at home."""
    async with LocalCloud(home, prefix=PREFIX) as service:
        yield service


@pytest.fixture
async def mqtt_entry(hass: HomeAssistant, home: HomeBroker) -> AsyncGenerator[MockConfigEntry]:
    """Home Assistant's MQTT integration, not set up yet."""
    entry = MockConfigEntry(
        domain=mqtt.DOMAIN,
        version=2,
        minor_version=1,
        data={"broker": "127.0.0.1", "port": home.plain_port, "protocol": "5"},
        options={"discovery": False},
    )
    with (
        patch(f"{CLIENT}.RECONNECT_INTERVAL_SECONDS", 0.05),
        patch(f"{CLIENT}.INITIAL_SUBSCRIBE_COOLDOWN", 0.05),
        patch("homeassistant.config.load_yaml_config_file", return_value={}),
    ):
        yield entry
        for ours in hass.config_entries.async_loaded_entries(DOMAIN):
            await hass.config_entries.async_unload(ours.entry_id)
        if entry.state is ConfigEntryState.LOADED:
            await hass.config_entries.async_unload(entry.entry_id)
        await hass.async_block_till_done()


@pytest.fixture
async def connected(hass: HomeAssistant, mqtt_entry: MockConfigEntry) -> MockConfigEntry:
    """Home Assistant's MQTT integration, connected."""
    await set_up_mqtt(hass, mqtt_entry)
    return mqtt_entry


async def set_up_mqtt(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await connection(hass, up=True)


async def connection(hass: HomeAssistant, *, up: bool) -> None:
    """Wait until Home Assistant's connection is up, or is down."""
    changed = asyncio.Event()

    @callback
    def look(_connected: bool) -> None:
        changed.set()

    stop = mqtt.async_subscribe_connection_status(hass, look)
    async with asyncio.timeout(15):
        while mqtt.is_connected(hass) is not up:
            changed.clear()
            await changed.wait()
    stop()


def bridged_account(hass: HomeAssistant) -> MockConfigEntry:
    entry = MockConfigEntry(
        domain=DOMAIN,
        title="uLogger 42",
        unique_id="42-0",
        data={
            "connection": "home_assistant",
            "customer_id": CUSTOMER_ID,
            "group_id": 0,
            "topic_prefix": PREFIX,
            "client_suffix": "bridged",
        },
        options=approving(APPLICATION),
    )
    entry.add_to_hass(hass)
    return entry


async def add_bridged_account(hass: HomeAssistant) -> MockConfigEntry:
    entry = bridged_account(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


async def expect_as_the_device_held_it(cloud: LocalCloud) -> None:
    [log] = await cloud.wait_for("binlog")
    [dump] = await cloud.wait_for("core-dump")
    assert dump.payload == CORE_DUMP
    assert log.payload[25:] == LOG[25:]
    assert log.payload[:9] == with_session_token(LOG, log.token)[:9]
    registered = cloud.device_of(log)
    assert registered is not None
    assert registered.serial == IDENTITY.serial


@pytest.mark.usefixtures("connected")
async def test_captures_arrive_behind_the_prefix_as_the_device_held_them(
    hass: HomeAssistant, cloud: LocalCloud, road: Road, home: HomeBroker
) -> None:
    device = road.device(core_dump=CORE_DUMP)
    entry = await add_bridged_account(hass)

    await road.collected(device)

    await expect_as_the_device_held_it(cloud)
    await road.until_shown(entry, "uploads", "2")
    assert "cust-42" not in home.log
    counters = entry.runtime_data.ulogger.cloud.diagnostics()["transport"]["counters"]
    assert counters["published"] >= 3


@pytest.mark.usefixtures("connected")
async def test_home_assistants_mqtt_at_debug_shows_tokens_and_captures_and_ours_does_not(
    hass: HomeAssistant, cloud: LocalCloud, road: Road, caplog: pytest.LogCaptureFixture
) -> None:
    """What `docs/security.md` warns of."""
    with caplog.at_level(logging.DEBUG):
        await add_bridged_account(hass)
        await road.collected(road.device())
        await cloud.wait_for("binlog")
    [token] = {str(token) for token in cloud.registrations}
    theirs, ours = [
        [each.getMessage() for each in caplog.records if each.name.startswith(logger)]
        for logger in ("homeassistant.components.mqtt", "custom_components.ulogger")
    ]
    assert any("boot/v0/" in line and token in line for line in theirs)
    content = repr(LOG[100:140])[2:-1]
    assert any("binlog/v0/" in line and content in line for line in theirs)
    assert ours
    assert not any(token in line or content in line for line in ours)


@pytest.mark.usefixtures("connected")
async def test_a_log_configuration_comes_back_behind_the_prefix(
    hass: HomeAssistant, cloud: LocalCloud, road: Road
) -> None:
    road.device()
    entry = await add_bridged_account(hass)
    await cloud.wait_for("binlog")

    await cloud.send_log_config(APPLICATION, IDENTITY.serial, level=0, modules=["BLE"])

    await road.until_shown(entry, "log_level", "debug")


@pytest.mark.usefixtures("connected")
async def test_captures_wait_while_the_broker_is_away_and_go_up_when_it_is_back(
    hass: HomeAssistant, cloud: LocalCloud, road: Road, home: HomeBroker
) -> None:
    entry = await add_bridged_account(hass)
    await home.astop()
    await connection(hass, up=False)
    await road.collected(road.device(core_dump=CORE_DUMP))
    await road.until_shown(entry, "captures_waiting", "2")
    assert road.state(entry, "cloud_connection", None) == "off"
    with pytest.raises(CloudUnavailable):
        await entry.runtime_data.ulogger.transport.publish("x", b"y")

    await home.astart()

    await expect_as_the_device_held_it(cloud)
    await road.until_shown(entry, "captures_waiting", "0")
    assert road.state(entry, "cloud_connection", None) == "on"


@pytest.mark.usefixtures("connected")
async def test_what_the_broker_never_acknowledges_is_not_delivered(
    hass: HomeAssistant, cloud: LocalCloud, road: Road, home: HomeBroker
) -> None:
    entry = await add_bridged_account(hass)
    home.freeze()
    with (
        patch(f"{CLIENT}.TIMEOUT_ACK", 0.2),
        patch("custom_components.ulogger.gateway.home_assistant_mqtt.TIMEOUT_ACK", 0.2),
        pytest.raises(NotAcknowledged),
    ):
        await entry.runtime_data.ulogger.transport.publish("ulogger/x", b"y")
    home.thaw()

    counters = entry.runtime_data.ulogger.cloud.diagnostics()["transport"]["counters"]
    assert counters["not_acknowledged"] == 1
    await road.collected(road.device())
    await cloud.wait_for("binlog")


async def test_what_is_subscribed_without_a_connection_is_heard_with_it(
    hass: HomeAssistant, connected: MockConfigEntry, home: HomeBroker
) -> None:
    transport = HomeAssistantTransport(hass)
    heard = asyncio.Queue[tuple[str, bytes, bool]]()
    await home.astop()
    await connection(hass, up=False)
    assert transport.state is ConnectionState.DISCONNECTED
    async with asyncio.timeout(1):
        await transport.subscribe("ulogger/+/b", lambda *message: heard.put_nowait(message))

    await home.astart()
    await connection(hass, up=True)
    other = HomeAssistantTransport(hass)
    await other.subscribe("ulogger/+/b", lambda *_: None)
    await transport.publish("ulogger/a/b", b"\x00\xff")

    async with asyncio.timeout(10):
        assert await heard.get() == ("ulogger/a/b", b"\x00\xff", False)


async def test_nothing_that_comes_right_after_a_subscription_is_missed(
    hass: HomeAssistant, connected: MockConfigEntry
) -> None:
    transport = HomeAssistantTransport(hass)
    heard = asyncio.Queue[bytes]()
    for number in range(5):
        end = await transport.subscribe(
            f"ulogger/{number}", lambda _, payload, __: heard.put_nowait(payload)
        )
        await transport.publish(f"ulogger/{number}", bytes([number]))
        async with asyncio.timeout(10):
            assert await heard.get() == bytes([number])
        await end()


async def test_a_subscription_that_is_never_answered_or_not_wanted_any_longer_holds_up_nobody(
    hass: HomeAssistant, connected: MockConfigEntry, home: HomeBroker
) -> None:
    transport = HomeAssistantTransport(hass)
    heard = asyncio.Queue[str]()
    home.freeze()
    impatient = asyncio.ensure_future(
        transport.subscribe("ulogger/cancelled", lambda *_: heard.put_nowait("cancelled"))
    )
    with patch("custom_components.ulogger.gateway.home_assistant_mqtt.SUBSCRIBED_WITHIN", 0.2):
        await transport.subscribe("ulogger/slow", lambda *_: heard.put_nowait("slow"))
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    home.thaw()

    await transport.subscribe("ulogger/done", lambda *_: heard.put_nowait("done"))
    for topic in ("cancelled", "slow", "done"):
        await transport.publish(f"ulogger/{topic}", b"")
    async with asyncio.timeout(10):
        assert [await heard.get(), await heard.get()] == ["slow", "done"]
    assert transport.diagnostics()["counters"]["subscriptions_unanswered"] == 1


async def test_what_home_assistants_mqtt_refuses_is_told_as_unreachable(
    hass: HomeAssistant, connected: MockConfigEntry
) -> None:
    transport = HomeAssistantTransport(hass)
    with (
        patch.object(mqtt, "async_publish", side_effect=HomeAssistantError("refused")),
        pytest.raises(CloudUnavailable, match="refused"),
    ):
        await transport.publish("ulogger/x", b"")
    assert transport.diagnostics()["counters"] == {"failed": 1}
    await hass.config_entries.async_unload(connected.entry_id)
    await hass.config_entries.async_remove(connected.entry_id)
    assert transport.state is ConnectionState.DISCONNECTED
    with pytest.raises(CloudUnavailable):
        await transport.subscribe("ulogger/x", lambda *_: None)


async def test_what_was_unsubscribed_stays_silent_after_mqtt_was_reloaded(
    hass: HomeAssistant, connected: MockConfigEntry
) -> None:
    transport = HomeAssistantTransport(hass)
    heard = asyncio.Queue[str]()
    end = await transport.subscribe("ulogger/gone", lambda *_: heard.put_nowait("gone"))
    assert await hass.config_entries.async_reload(connected.entry_id)
    await connection(hass, up=True)
    await end()
    await transport.subscribe("ulogger/last", lambda *_: heard.put_nowait("last"))

    await transport.publish("ulogger/gone", b"")
    await transport.publish("ulogger/last", b"")

    async with asyncio.timeout(10):
        assert await heard.get() == "last"


async def test_an_account_waits_for_mqtt_that_is_not_there_yet(
    hass: HomeAssistant, mqtt_entry: MockConfigEntry, cloud: LocalCloud, road: Road
) -> None:
    entry = bridged_account(hass)
    await hass.config_entries.async_setup(entry.entry_id)
    assert entry.error_reason_translation_key == "mqtt_not_available"

    await set_up_mqtt(hass, mqtt_entry)
    await hass.config_entries.async_reload(entry.entry_id)

    assert entry.state is ConfigEntryState.LOADED
    await road.collected(road.device())
    await cloud.wait_for("binlog")


async def test_devices_are_collected_while_mqtt_finds_no_broker(
    hass: HomeAssistant, mqtt_entry: MockConfigEntry, home: HomeBroker, road: Road
) -> None:
    await home.astop()
    mqtt_entry.add_to_hass(hass)
    await hass.config_entries.async_setup(mqtt_entry.entry_id)

    entry = await add_bridged_account(hass)

    assert entry.state is ConfigEntryState.LOADED
    await road.collected(road.device())
    await road.until_shown(entry, "captures_waiting", "1")
    await home.astart()
    async with LocalCloud(home, prefix=PREFIX) as cloud:
        await cloud.wait_for("binlog")


def documented(heading: str) -> list[str]:
    """The lines of configuration under a heading of the documentation."""
    section = f"\n{BRIDGE.read_text()}".partition(f"\n{heading}\n")[2]
    block = section.partition("```conf\n")[2].partition("```")[0]
    return [line for line in block.splitlines() if line]


def documented_bridge(upstream: LocalBroker) -> list[str]:
    """The bridge as the documentation has it, to a broker of the test's."""
    certificate, key = upstream.customer_files
    values: dict[str, Any] = {
        "address": f"{upstream.host}:{upstream.port}",
        "bridge_certfile": certificate,
        "bridge_keyfile": key,
        "restart_timeout": "1",
    }
    lines = []
    for line in documented("# uLogger over the broker that you have"):
        name = line.partition(" ")[0]
        if name in values:
            lines.append(f"{name} {values[name]}")
        elif name == "bridge_capath":
            lines.append(f"bridge_cafile {upstream.ca_file}")
        else:
            lines.append(line)
    return lines


async def test_the_documented_bridge_carries_everything_and_keeps_it_while_the_cloud_is_away(
    hass: HomeAssistant,
    mqtt_entry: MockConfigEntry,
    home: HomeBroker,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    road: Road,
) -> None:
    home.settings += documented_bridge(broker)
    await home.arestart()
    await set_up_mqtt(hass, mqtt_entry)
    entry = await add_bridged_account(hass)
    await road.collected(road.device(core_dump=CORE_DUMP))
    await expect_as_the_device_held_it(cloud_service)
    await cloud_service.send_log_config(APPLICATION, IDENTITY.serial, level=1)
    level = road.entity_id(entry, "log_level")
    await road.until(lambda: hass.states.get(level).attributes["wished"] == "info")

    await broker.astop()
    await entry.runtime_data.ulogger.cloud.publish_events({IDENTITY.key: [Event("kept")]})
    await broker.astart()

    [event] = await cloud_service.wait_for("events")
    assert event.json() == {"device_serial": IDENTITY.serial, "events": [{"type": "kept"}]}


@pytest.mark.parametrize("advice", ["as documented", "autosave_interval 60"])
async def test_a_broker_that_is_killed_keeps_what_it_acknowledged_as_documented_and_not_otherwise(
    tmp_path: Path, broker: LocalBroker, cloud_service: LocalCloud, advice: str
) -> None:
    keeping = documented("## What the bridge must keep")
    if advice != "as documented":
        keeping = [line for line in keeping if not line.startswith("autosave")] + [advice]
    home = HomeBroker(tmp_path / "home", *keeping, *documented_bridge(broker))
    captures = [number.to_bytes(4, "little") * 1000 for number in range(60)]
    await broker.astop()
    async with home:
        async with aiomqtt.Client("127.0.0.1", home.plain_port) as gateway:
            for capture in captures:
                await gateway.publish("ulogger/binlog/v0/42/0/1", capture, qos=1)
            # The broker saves when it has answered; this answer comes after that.
            await gateway.publish("elsewhere", b"", qos=1)
        await home.akill()
        await home.astart()
        await broker.astart()
        async with aiomqtt.Client("127.0.0.1", home.plain_port) as gateway:
            await gateway.publish("ulogger/events/v0/42/0/1", b"{}", qos=1)
        await cloud_service.wait_for("events")
    arrived = {message.payload for message in cloud_service.of("binlog")}
    assert arrived == (set(captures) if advice == "as documented" else set())


def test_the_readme_says_what_a_broker_must_keep_as_the_documentation_does() -> None:
    readme = (BRIDGE.parents[1] / "README.md").read_text()
    lines = documented("## What the bridge must keep")
    assert "\n".join(lines) in readme
    assert {"autosave_on_changes true", "autosave_interval 1"} <= {*lines}
