"""Accounts of earlier versions are brought up to date, those of later ones are left alone."""

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.const import DOMAIN, ENTRY_VERSION
from tests.support.account import ToldTransport, certificate

DATA = {
    "customer_id": 42,
    "group_id": 0,
    "broker": "broker.invalid",
    "port": 8883,
    "client_suffix": "5eed5eed",
}


def account(version: int, **said: str) -> MockConfigEntry:
    """Return an account as a version of the integration has left it."""
    issued = certificate(1000)
    key = {"certificate": issued.certificate, "private_key": issued.private_key}
    return MockConfigEntry(
        domain=DOMAIN, unique_id="42-0", data={**DATA, **key, **said}, version=version
    )


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("said", [{}, {"connection": "mqtt"}])
async def test_an_account_of_the_first_version_keeps_its_ulogger(
    hass: HomeAssistant, said: dict[str, str]
) -> None:
    entry = account(1, **said)
    entry.add_to_hass(hass)

    assert await hass.config_entries.async_setup(entry.entry_id)

    assert entry.version == ENTRY_VERSION == 2
    assert entry.data["connection"] == "mqtt"
    assert DATA.items() <= dict(entry.data).items()
    assert entry.unique_id == "42-0"
    assert set(entry.runtime_data.destinations) == {"ulogger"}


@pytest.mark.usefixtures("set_up")
async def test_an_account_of_the_first_version_keeps_its_bridge(hass: HomeAssistant) -> None:
    entry = account(1, connection="home_assistant")
    entry.add_to_hass(hass)

    assert await hass.config_entries.async_setup(entry.entry_id)

    assert (entry.version, entry.data["connection"]) == (2, "home_assistant")


async def test_an_account_of_a_later_version_is_left_as_it_is(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    entry = account(ENTRY_VERSION + 1, connection="satellite")
    entry.add_to_hass(hass)
    data = dict(entry.data)

    assert not await hass.config_entries.async_setup(entry.entry_id)

    assert entry.state is ConfigEntryState.MIGRATION_ERROR
    assert (entry.version, entry.data) == (ENTRY_VERSION + 1, data)
