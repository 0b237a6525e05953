"""Discovery cards: of a device without an account, and of an application nobody approved yet."""

from typing import Any
from unittest.mock import AsyncMock

import pytest
from homeassistant.config_entries import (
    SOURCE_BLUETOOTH,
    SOURCE_IGNORE,
    SOURCE_INTEGRATION_DISCOVERY,
    ConfigEntryDisabler,
)
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account import approval
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.plain_text import plain_text
from tests.support.bluetooth import (
    ADDRESS,
    OTHER_ADDRESS,
    SERVICE_UUID,
    inject_bluetooth_service_info,
    service_info,
)
from tests.support.flows import ENGLISH, expect_abort, expect_form, expect_menu
from tests.support.road import Road

pytestmark = pytest.mark.usefixtures("set_up")

MET = {
    "application_id": 1001,
    "device_type": "thermostat",
    "name": "uLogger Hall",
    "address": ADDRESS,
}


def add_account(hass: HomeAssistant, customer_id: int = 42, **more: Any) -> MockConfigEntry:
    """Have an account there."""
    entry = MockConfigEntry(
        domain=DOMAIN, unique_id=f"{customer_id}-0", title=f"uLogger {customer_id}", **more
    )
    entry.add_to_hass(hass)
    return entry


async def discover(hass: HomeAssistant, **more: Any) -> Any:
    """Let Bluetooth discover a device."""
    return await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_BLUETOOTH}, data=service_info(**more)
    )


async def meet(hass: HomeAssistant, **more: Any) -> Any:
    """Let a gateway meet a device of an application that nobody approved."""
    return await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_INTEGRATION_DISCOVERY}, data={**MET, **more}
    )


def cards(hass: HomeAssistant) -> list[str]:
    """Return whose cards are shown."""
    flows = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    return sorted(flow["context"]["unique_id"] for flow in flows)


# A device, and no account


@pytest.mark.parametrize(
    "heard", [service_info(), service_info("Thermostat", service_uuids=(SERVICE_UUID,))]
)
async def test_a_device_in_range_brings_a_card(hass: HomeAssistant, heard: Any) -> None:
    inject_bluetooth_service_info(hass, heard)
    await hass.async_block_till_done(wait_background_tasks=True)

    assert cards(hass) == [ADDRESS]


async def test_a_device_of_another_kind_brings_none(hass: HomeAssistant) -> None:
    inject_bluetooth_service_info(hass, service_info("Thermostat"))
    await hass.async_block_till_done(wait_background_tasks=True)

    assert cards(hass) == []


async def test_the_card_leads_to_an_account_that_knows_its_device(
    hass: HomeAssistant, home_assistants_mqtt: Any
) -> None:
    menu = await discover(hass)
    expect_menu(menu, "bluetooth_confirm")
    assert menu["description_placeholders"] == {"name": "uLogger Example (0001)"}
    (card,) = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert card["context"]["title_placeholders"] == {"name": "uLogger Example (0001)"}

    form = await hass.config_entries.flow.async_configure(
        menu["flow_id"], {"next_step_id": "home_assistant"}
    )
    expect_form(form, "home_assistant")
    done = await hass.config_entries.flow.async_configure(form["flow_id"], {"customer_id": 42})

    assert done["type"] is FlowResultType.CREATE_ENTRY
    assert done["result"].unique_id == "42-0"
    assert done["result"].options == {"confirmed_address": ADDRESS}


async def test_an_account_takes_back_the_cards_of_other_devices(
    hass: HomeAssistant, home_assistants_mqtt: Any
) -> None:
    menu = await discover(hass)
    await discover(hass, address=OTHER_ADDRESS)
    assert cards(hass) == [ADDRESS, OTHER_ADDRESS]

    form = await hass.config_entries.flow.async_configure(
        menu["flow_id"], {"next_step_id": "home_assistant"}
    )
    await hass.config_entries.flow.async_configure(form["flow_id"], {"customer_id": 42})

    assert cards(hass) == []


async def test_a_device_brings_one_card(hass: HomeAssistant) -> None:
    await discover(hass)

    expect_abort(await discover(hass), "already_in_progress", own=False)


async def test_with_an_account_a_device_brings_no_card(hass: HomeAssistant) -> None:
    add_account(hass)

    expect_abort(await discover(hass), "already_configured")


async def test_an_ignored_device_stays_ignored_and_others_do_not(hass: HomeAssistant) -> None:
    await discover(hass)
    await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_IGNORE}, data={"unique_id": ADDRESS, "title": "x"}
    )
    assert cards(hass) == []

    expect_abort(await discover(hass), "already_configured")
    expect_menu(await discover(hass, address=OTHER_ADDRESS), "bluetooth_confirm")
    assert approval.is_address_ignored(hass, ADDRESS)
    assert not approval.is_address_ignored(hass, OTHER_ADDRESS)


async def test_ten_devices_bring_cards_and_the_next_when_one_is_ignored(
    hass: HomeAssistant,
) -> None:
    there = [f"C0:FF:EE:00:01:{number:02}" for number in range(13)]
    for address in there:
        inject_bluetooth_service_info(hass, service_info(address=address))
        await hass.async_block_till_done(wait_background_tasks=True)
    assert cards(hass) == there[:10]
    expect_abort(await discover(hass, address=OTHER_ADDRESS), "too_many_cards")

    await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_IGNORE}, data={"unique_id": there[4], "title": "x"}
    )
    await hass.async_block_till_done(wait_background_tasks=True)

    assert cards(hass) == sorted({*there[:11]} - {there[4]})


async def test_a_device_that_went_meanwhile_gets_no_card_that_is_free(hass: HomeAssistant) -> None:
    there = [f"C0:FF:EE:00:01:{number:02}" for number in range(10)]
    for address in there:
        await discover(hass, address=address)
    expect_abort(await discover(hass, address=OTHER_ADDRESS), "too_many_cards")

    await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_IGNORE}, data={"unique_id": there[4], "title": "x"}
    )
    await hass.async_block_till_done(wait_background_tasks=True)

    assert cards(hass) == sorted({*there} - {there[4]})


async def test_of_very_many_devices_without_a_card_only_some_are_remembered(
    hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custom_components.ulogger.config_flow.MOST_WITHOUT_CARD", 1)
    there = [f"C0:FF:EE:00:01:{number:02}" for number in range(12)]
    for address in there:
        inject_bluetooth_service_info(hass, service_info(address=address))
        await hass.async_block_till_done(wait_background_tasks=True)
    for address in there[:2]:
        await hass.config_entries.flow.async_init(
            DOMAIN, context={"source": SOURCE_IGNORE}, data={"unique_id": address, "title": "x"}
        )
        await hass.async_block_till_done(wait_background_tasks=True)

    assert cards(hass) == there[2:11]


async def test_ten_cards_of_devices_leave_no_room_for_one_of_an_application(
    hass: HomeAssistant,
) -> None:
    for number in range(10):
        await discover(hass, address=f"C0:FF:EE:00:01:{number:02}")
    add_account(hass)

    expect_abort(await meet(hass), "too_many_cards")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("uLogger Hall", "uLogger Hall"),
        ("a" * 300, "a" * 64),
        ("tab\tnew\nline\x1b[0m", "tab new line 0m"),
        ("[free](http://evil.invalid) <b>`x`", "free (http: evil.invalid) b x"),
        ("\u202egnp.exe", "gnp.exe"),
    ],
)
def test_a_device_is_shown_by_bounded_plain_text(name: str, shown: str) -> None:
    assert plain_text(name) == shown


# An application that nobody approved


async def test_confirming_approves_the_application_and_reloads_the_account(
    hass: HomeAssistant, set_up: AsyncMock
) -> None:
    account = add_account(hass, options={"applications": {"7": {"device_types": ["lamp"]}}})
    await hass.config_entries.async_setup(account.entry_id)
    set_up.reset_mock()

    form = await meet(hass)
    expect_form(form, "application")
    assert form["description_placeholders"] == {
        "application_id": "1001",
        "device_type": "thermostat",
        "name": "uLogger Hall",
        "address": ADDRESS,
        "signal": "?",
    }
    assert cards(hass) == ["application-1001"]
    assert not approval.is_approved(account.options, 1001)

    end = await hass.config_entries.flow.async_configure(form["flow_id"], {})
    await hass.async_block_till_done()

    expect_abort(end, "application_added")
    assert account.options["applications"] == {
        "7": {"device_types": ["lamp"]},
        "1001": {"device_types": ["thermostat"]},
    }
    assert approval.approving_entry(hass, 1001) is account
    set_up.assert_awaited_once()


async def test_the_card_asks_whose_devices_these_are_and_says_how_near_one_is(
    hass: HomeAssistant, road: Road
) -> None:
    add_account(hass)
    road.device(address=ADDRESS)
    form = await meet(hass)
    assert form["description_placeholders"]["signal"] == "-58 dBm"
    asked = ENGLISH["config"]["step"]["application"]
    assert asked["title"] == "Are these your devices?"
    assert "{signal}" in asked["description"]


async def test_the_card_is_named_after_device_and_application(hass: HomeAssistant) -> None:
    add_account(hass)

    await meet(hass)

    (card,) = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert card["context"]["title_placeholders"] == {"name": "uLogger Hall (1001)"}


async def test_a_device_without_a_type_can_be_approved(hass: HomeAssistant) -> None:
    account = add_account(hass)

    form = await meet(hass, device_type="")
    assert form["description_placeholders"]["device_type"] == "?"
    await hass.config_entries.flow.async_configure(form["flow_id"], {})

    assert account.options["applications"] == {"1001": {"device_types": []}}


async def test_of_several_accounts_one_is_chosen(hass: HomeAssistant) -> None:
    first, second = add_account(hass, 42), add_account(hass, 43)

    form = await meet(hass)
    expect_form(form, "application")
    selector = form["data_schema"].schema["account"]
    assert selector.config["options"] == [
        {"value": first.entry_id, "label": "uLogger 42"},
        {"value": second.entry_id, "label": "uLogger 43"},
    ]
    await hass.config_entries.flow.async_configure(form["flow_id"], {"account": second.entry_id})

    assert not approval.is_approved(first.options, 1001)
    assert approval.approving_entry(hass, 1001) is second


async def test_a_chosen_account_may_be_gone_by_then(hass: HomeAssistant) -> None:
    first, second = add_account(hass, 42), add_account(hass, 43)
    form = await meet(hass)
    await hass.config_entries.async_remove(second.entry_id)

    end = await hass.config_entries.flow.async_configure(
        form["flow_id"], {"account": second.entry_id}
    )

    expect_abort(end, "no_account")
    assert not approval.is_approved(first.options, 1001)


async def test_without_an_account_nothing_is_asked(hass: HomeAssistant) -> None:
    add_account(hass, disabled_by=ConfigEntryDisabler.USER)

    expect_abort(await meet(hass), "no_account")


async def test_an_approved_application_is_not_asked_for_again(hass: HomeAssistant) -> None:
    add_account(hass, options=approval.with_application({}, 1001, "thermostat"))

    expect_abort(await meet(hass), "already_configured")


async def test_an_application_approved_meanwhile_stays_where_it_is(hass: HomeAssistant) -> None:
    first, second = add_account(hass, 42), add_account(hass, 43)
    form = await meet(hass)
    hass.config_entries.async_update_entry(
        first, options=approval.with_application({}, 1001, "thermostat")
    )

    end = await hass.config_entries.flow.async_configure(
        form["flow_id"], {"account": second.entry_id}
    )

    expect_abort(end, "already_configured")
    assert not approval.is_approved(second.options, 1001)


async def test_many_devices_of_an_application_bring_one_card(hass: HomeAssistant) -> None:
    add_account(hass)
    await meet(hass)

    expect_abort(await meet(hass, address=OTHER_ADDRESS), "already_in_progress", own=False)
    assert cards(hass) == ["application-1001"]


async def test_an_ignored_application_is_left_alone(hass: HomeAssistant) -> None:
    add_account(hass)
    await meet(hass)
    assert not approval.is_ignored(hass, 1001)

    await hass.config_entries.flow.async_init(
        DOMAIN,
        context={"source": SOURCE_IGNORE},
        data={"unique_id": "application-1001", "title": "uLogger Hall (1001)"},
    )

    assert approval.is_ignored(hass, 1001)
    assert approval.approving_entry(hass, 1001) is None
    expect_abort(await meet(hass), "already_configured")
    expect_form(await meet(hass, application_id=1002), "application")


# What approval keeps


def test_device_types_are_gathered() -> None:
    options = approval.with_application({"heartbeats": False}, 1, "valve")
    options = approval.with_application(options, 1, "lamp")
    options = approval.with_application(options, 1, "")

    assert options == {
        "heartbeats": False,
        "applications": {"1": {"device_types": ["lamp", "valve"]}},
    }


def test_a_confirmation_is_used_once() -> None:
    options = {"confirmed_address": ADDRESS, "applications": {"2": {"device_types": []}}}

    assert approval.with_confirmation_used(options, 1, "valve") == {
        "applications": {"2": {"device_types": []}, "1": {"device_types": ["valve"]}}
    }
    assert options["confirmed_address"] == ADDRESS
