"""System health sums up what all accounts are at."""

from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    get_system_health_info,
)

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.folder.names import MARKER
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.capture import CaptureFault
from tests.support.account import ToldTransport, core_dump, load, log, meet
from tests.support.flows import ENGLISH, add_destination, answer


async def info(hass: HomeAssistant) -> dict[str, Any]:
    """Return what the page shows of the integration; each line must have a name."""
    assert await async_setup_component(hass, "system_health", {})
    await hass.async_block_till_done()
    shown: dict[str, Any] = await get_system_health_info(hass, DOMAIN)
    assert shown.keys() == ENGLISH["system_health"]["info"].keys()
    return shown


async def test_accounts_are_summed_up(hass: HomeAssistant, transport: ToldTransport) -> None:
    account = await load(hass)
    await load(hass, customer_id=43, options={})
    transport.tell(ConnectionState.DISCONNECTED)
    meet(account)
    gateway = account.runtime_data
    await gateway.account.outbox.add(log())
    await gateway.account.outbox.add(core_dump())
    added = await gateway.account.outbox.add(log(fault=CaptureFault.CHECKSUM))
    await gateway.account.async_refresh_counters()
    assert added.outcome == "quarantined"
    assert await info(hass) == {
        "accounts": 2,
        "broker_reachable": False,
        "devices": 1,
        "captures_waiting": 2,
        "captures_quarantined": 1,
    }
    transport.tell(ConnectionState.CONNECTED)
    assert (await info(hass))["broker_reachable"] is True


async def test_accounts_that_are_not_loaded_do_not_count(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await hass.config_entries.async_unload(account.entry_id)
    assert (await info(hass))["accounts"] == 0


async def test_a_folder_is_no_broker(hass: HomeAssistant, account: MockConfigEntry) -> None:
    form = await add_destination(hass, account.entry_id, "folder")
    path = Path(hass.config.path("captures"))
    await answer(hass, form, path=str(path), keep_days=0, keep_mb=0, include_kept=True)
    (path / MARKER).unlink()
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    connected = {each.id: each.connected for each in account.runtime_data.destinations.values()}
    assert connected.pop("ulogger")
    assert list(connected.values()) == [False]
    assert (await info(hass))["broker_reachable"] is True
