"""An account without a cloud collects, keeps and shows; uLogger comes later and gets it all."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from homeassistant.config_entries import SOURCE_USER, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.device.samples import HEADER_SIZE
from tests.support.flows import Upload, add_destination, answer, expect_abort, expect_form, submit
from tests.support.road import APPLICATION, CORE_DUMP, IDENTITY, LOG, Road, approving


@pytest.fixture
async def only_here(hass: HomeAssistant) -> AsyncGenerator[MockConfigEntry]:
    """An account without a cloud that was set up by its form, with an application approved."""
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await submit(hass, menu["flow_id"], next_step_id="only_here")
    expect_form(form, "only_here")
    entry = (await submit(hass, menu["flow_id"]))["result"]
    assert entry.state is ConfigEntryState.LOADED
    hass.config_entries.async_update_entry(entry, options=approving(APPLICATION))
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done()
    yield entry
    await hass.config_entries.async_unload(entry.entry_id)


async def collected(road: Road, entry: MockConfigEntry) -> None:
    """Have a log and a core dump of a device taken in."""
    device = road.device(core_dump=CORE_DUMP)
    coordinator = await road.adopted(entry)
    await road.collected(device)
    await road.idle(coordinator)
    await entry.runtime_data.account.async_refresh_counters()
    await road.hass.async_block_till_done()


async def captures(hass: HomeAssistant, entry: MockConfigEntry) -> list[dict[str, Any]]:
    """What the action says of the device's captures, oldest first."""
    [device] = [
        each.id
        for each in dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
        if each.serial_number == IDENTITY.serial
    ]
    said = await hass.services.async_call(
        DOMAIN, "get_captures", {"device_id": device}, blocking=True, return_response=True
    )
    rows: list[dict[str, Any]] = said["devices"][IDENTITY.serial]  # type: ignore[index,call-overload,assignment]
    return rows[::-1]


@pytest.mark.usefixtures("socket_enabled")
async def test_captures_are_kept_shown_and_downloaded_and_go_up_when_ulogger_is_added(
    hass: HomeAssistant,
    road: Road,
    only_here: MockConfigEntry,
    hass_client: ClientSessionGenerator,
    broker: LocalBroker,
    cloud_service: LocalCloud,
    upload: Upload,
    at_broker: dict[str, Any],
) -> None:
    await collected(road, only_here)

    kept = await captures(hass, only_here)
    assert sorted((row["kind"], row["state"]) for row in kept) == [
        ("core_dump", "kept"),
        ("log", "kept"),
    ]
    client = await hass_client()
    downloaded = {row["kind"]: await (await client.get(row["download"])).read() for row in kept}
    assert downloaded == {"log": LOG, "core_dump": CORE_DUMP}
    assert road.state(only_here, "captures_waiting") == "0"
    assert road.state(only_here, "state") == "idle"
    assert [each.translation_key for each in ir.async_get(hass).issues.values()] == []

    menu = await add_destination(hass, only_here.entry_id, "ulogger")
    form = await answer(hass, menu, next_step_id="certificate")
    done = await answer(
        hass,
        form,
        customer_id=42,
        group_id=0,
        archive=await upload(broker.download),
        advanced=at_broker,
    )
    expect_abort(done, "ulogger_added", destination="ulogger")

    [log] = await cloud_service.wait_for("binlog")
    [dump] = await cloud_service.wait_for("core-dump")
    # uLogger's logs carry its token and their time in the header.
    assert log.payload[HEADER_SIZE:] == LOG[HEADER_SIZE:]
    assert dump.payload == CORE_DUMP
    await road.until_shown(only_here, "uploads", "2")
    assert road.state(only_here, "cloud_connection", None) == "on"
    assert {row["state"] for row in await captures(hass, only_here)} == {"delivered"}


async def test_an_account_without_a_cloud_says_nothing_of_one(
    hass: HomeAssistant, road: Road, only_here: MockConfigEntry
) -> None:
    await collected(road, only_here)

    told = await async_get_config_entry_diagnostics(hass, only_here)

    assert told["destinations"] == {}
    assert told["entry"]["certificate_expiry"] is None
    assert told["outbox"]["totals"]["only_here"] == 2
    for missing in ("cloud_connection", "certificate_expiry"):
        with pytest.raises(AssertionError):
            road.state(only_here, missing, None)
