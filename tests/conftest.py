"""What every test with a Home Assistant in it needs; the rooms' own tests see nothing of it."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity import Entity
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.const import DOMAIN
from demo.cloud.broker import LocalBroker
from tests.support.account import account, device, transport
from tests.support.flows import Upload, make_upload
from tests.support.local_cloud import CUSTOMER_ID, broker, cloud_service
from tests.support.road import Road, make_adapter, short_patience

__all__ = ["account", "broker", "cloud_service", "device", "transport"]


@pytest.fixture
def hass_config_dir(tmp_path: Path) -> str:
    """Give each test a directory of its own; outboxes would stay in the common one."""
    (tmp_path / "config").mkdir()
    return str(tmp_path / "config")


@pytest.fixture(scope="session", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep uploads of tests that run side by side apart: Home Assistant has one place for them."""
    with patch("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary"))):
        yield


@pytest.fixture(autouse=True)
def home_assistant_with_bluetooth(request: pytest.FixtureRequest) -> None:
    """Let Home Assistant find the integration, and give it an adapter that hears nothing."""
    if "hass" in request.fixturenames:
        request.getfixturevalue("enable_custom_integrations")
        request.getfixturevalue("enable_bluetooth")


SELDOM_ENABLED = {
    "capture_event",
    "duplicates",
    "last_seen",
    "next_collection",
    "session_token",
    "signal_strength",
}


@pytest.fixture(autouse=True)
def entities_of_a_power_user(request: pytest.FixtureRequest) -> Iterator[None]:
    """Enable what a lab turns on; a family's few entities show little of what is tested.

    Marked with ``as_installed`` a test has what a new device has.
    """
    if "as_installed" in request.keywords or "hass" not in request.fixturenames:
        yield
        return

    def enabled(entity: Entity) -> bool:
        if entity.platform.platform_name != DOMAIN:
            return entity.entity_description.entity_registry_enabled_default
        return entity.entity_description.key not in SELDOM_ENABLED

    with patch.object(Entity, "entity_registry_enabled_default", property(enabled)):
        yield


@pytest.fixture
async def home_assistants_mqtt(
    mqtt_mock: MagicMock, mqtt_client_mock: MagicMock
) -> AsyncGenerator[MagicMock]:
    """Have Home Assistant's MQTT integration connected to a broker that is not there."""
    yield mqtt_mock
    mqtt_client_mock.on_socket_close(mqtt_client_mock, None, MagicMock(fileno=lambda: -1))


@pytest.fixture
def set_up() -> Iterator[AsyncMock]:
    """Count set-ups of accounts, for flows that are only about whether one comes about."""
    with (
        patch("custom_components.ulogger.async_setup_entry", return_value=True) as counted,
        patch("custom_components.ulogger.async_unload_entry", return_value=True),
    ):
        yield counted


@pytest.fixture
async def upload(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Upload:
    """Return what uploads a file."""
    return await make_upload(hass, hass_client)


@pytest.fixture
async def at_broker(broker: LocalBroker, upload: Upload) -> dict[str, Any]:
    """Return the section of the form that leads to the local broker."""
    return {"broker": broker.host, "port": broker.port, "ca": await upload(broker.ca)}


@pytest.fixture
async def road(hass: HomeAssistant, home_assistant_with_bluetooth: None) -> AsyncGenerator[Road]:
    """An adapter in Home Assistant for virtual devices to come into reach of."""
    adapter, remove = make_adapter(hass)
    with short_patience():
        yield Road(hass, adapter)
        for entry in hass.config_entries.async_loaded_entries(DOMAIN):
            await hass.config_entries.async_unload(entry.entry_id)
        await hass.async_block_till_done()
    remove()


@pytest.fixture
def silent_broker(tmp_path: Path) -> LocalBroker:
    """A broker that was set up and does not run; most of the road needs none."""
    return LocalBroker(tmp_path / "broker", customer_id=CUSTOMER_ID)
