"""An account without a cloud is set up, and gets uLogger later if somebody wants that."""

from typing import Any
from unittest.mock import AsyncMock

import pytest
from homeassistant.config_entries import SOURCE_BLUETOOTH, SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, UnknownHandler
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.key_store import async_load_key
from custom_components.ulogger.const import DOMAIN
from demo.cloud.broker import LocalBroker
from tests.support.bluetooth import ADDRESS, service_info
from tests.support.flows import (
    ENGLISH,
    Upload,
    add_destination,
    answer,
    expect_abort,
    expect_form,
    expect_menu,
    open_form,
    submit,
    suggestions,
)

pytestmark = pytest.mark.usefixtures("socket_enabled", "set_up")

ADDED_TO_ANY = {"clesyde", "firmware_image", "folder", "otlp", "pepeunit", "udmi"}
SUFFIX = "5eed5eed"


def has_account(hass: HomeAssistant, **more: Any) -> MockConfigEntry:
    """Have an account without a cloud there."""
    more.setdefault("title", "uLogger")
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="only_here",
        data={"connection": "none", "client_suffix": SUFFIX},
        **more,
    )
    entry.add_to_hass(hass)
    return entry


async def test_only_here_nothing_is_asked_for(hass: HomeAssistant, set_up: AsyncMock) -> None:
    flow = await open_form(hass, "only_here")

    done = await submit(hass, flow)

    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    entry = done["result"]
    assert (entry.title, entry.unique_id, entry.options) == ("uLogger", "only_here", {})
    data = dict(entry.data)
    assert len(bytes.fromhex(data.pop("client_suffix"))) == 4
    assert data == {"connection": "none"}
    set_up.assert_awaited_once()


async def test_there_is_one_such_account(hass: HomeAssistant) -> None:
    late = await open_form(hass, "only_here")
    has_account(hass)
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})

    expect_abort(await submit(hass, menu["flow_id"], next_step_id="only_here"), "only_here_exists")
    expect_abort(await submit(hass, late), "only_here_exists")


async def test_the_device_on_the_card_is_confirmed_and_others_cards_go(hass: HomeAssistant) -> None:
    card = await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_BLUETOOTH}, data=service_info()
    )
    expect_menu(card, "bluetooth_confirm")
    form = await submit(hass, card["flow_id"], next_step_id="only_here")
    expect_form(form, "only_here")
    # Ignored now, it would be the device that is ignored.
    assert hass.config_entries.flow.async_get(card["flow_id"])["context"]["unique_id"] == ADDRESS

    done = await submit(hass, card["flow_id"])

    assert done["result"].unique_id == "only_here"
    assert done["result"].options == {"confirmed_address": ADDRESS}


async def test_nobody_leaves_ulogger_by_accident(hass: HomeAssistant) -> None:
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-0",
        data={
            "connection": "home_assistant",
            "customer_id": 42,
            "group_id": 0,
            "client_suffix": SUFFIX,
        },
    )
    entry.add_to_hass(hass)
    menu = await entry.start_reconfigure_flow(hass)
    expect_menu(menu, "reconfigure")
    assert "only_here" not in menu["menu_options"]
    assert entry.supported_subentry_types == {
        kind: {"supports_reconfigure": True} for kind in ADDED_TO_ANY
    }
    with pytest.raises(UnknownHandler):
        await add_destination(hass, entry.entry_id, "ulogger")


# uLogger comes later


async def test_ulogger_is_added_as_a_destination(
    hass: HomeAssistant,
    broker: LocalBroker,
    upload: Upload,
    at_broker: dict[str, Any],
    set_up: AsyncMock,
) -> None:
    entry = has_account(hass, options={"applications": {"7": {"device_types": []}}})
    assert set(entry.supported_subentry_types) == {*ADDED_TO_ANY, "ulogger"}
    menu = await add_destination(hass, entry.entry_id, "ulogger")
    texts = ENGLISH["config_subentries"]["ulogger"]["step"]["user"]["menu_options"]
    assert menu["menu_options"] == list(texts)
    late = await answer(
        hass, await add_destination(hass, entry.entry_id, "ulogger"), next_step_id="certificate"
    )
    form = await answer(hass, menu, next_step_id="certificate")
    expect_form(form, "certificate", destination="ulogger")
    typed = {"customer_id": 42, "group_id": 7, "advanced": at_broker}
    form = await answer(hass, form, **typed)
    expect_form(form, "certificate", {"archive": "missing_archive"}, destination="ulogger")
    assert suggestions(form)["customer_id"] == 42

    done = await answer(hass, form, **typed, archive=await upload(broker.download))

    expect_abort(done, "ulogger_added", destination="ulogger")
    assert (entry.title, entry.unique_id) == ("uLogger 42 (group 7)", "42-7")
    assert entry.data == {
        "connection": "mqtt",
        "customer_id": 42,
        "group_id": 7,
        "certificate": broker.customer.certificate,
        "broker": broker.host,
        "port": broker.port,
        "ca": broker.ca,
        "topic_prefix": "",
        "client_suffix": SUFFIX,
    }
    assert await async_load_key(hass, entry) == broker.customer.private_key
    assert entry.options == {"applications": {"7": {"device_types": []}}}
    assert entry.subentries == {}
    set_up.assert_awaited_once()
    # It is not offered a second time, and a form that is still open changes nothing.
    assert set(entry.supported_subentry_types) == ADDED_TO_ANY
    with pytest.raises(UnknownHandler):
        await add_destination(hass, entry.entry_id, "ulogger")
    again = {**at_broker, "ca": await upload(broker.ca)}
    end = await answer(
        hass,
        late,
        customer_id=42,
        group_id=8,
        advanced=again,
        archive=await upload(broker.download),
    )
    expect_abort(end, "has_ulogger", destination="ulogger")
    assert entry.unique_id == "42-7"


@pytest.mark.usefixtures("home_assistants_mqtt")
async def test_ulogger_is_reached_through_the_broker_that_is_there(hass: HomeAssistant) -> None:
    entry = has_account(hass, title="Lab")
    menu = await add_destination(hass, entry.entry_id, "ulogger")
    form = await answer(hass, menu, next_step_id="home_assistant")
    expect_form(form, "home_assistant", destination="ulogger")

    done = await answer(hass, form, customer_id=42, group_id=0, topic_prefix="ulogger/")

    expect_abort(done, "ulogger_added", destination="ulogger")
    assert (entry.title, entry.unique_id) == ("Lab", "42-0")
    assert entry.data["connection"] == "home_assistant"
    assert entry.data["client_suffix"] == SUFFIX


@pytest.mark.usefixtures("home_assistants_mqtt")
async def test_ulogger_is_added_by_reconfiguration(hass: HomeAssistant) -> None:
    entry = has_account(hass)
    assert "ulogger" in entry.supported_subentry_types
    menu = await entry.start_reconfigure_flow(hass)
    form = await submit(hass, menu["flow_id"], next_step_id="home_assistant")
    expect_form(form, "home_assistant")

    done = await submit(hass, form["flow_id"], customer_id=42, group_id=0)

    expect_abort(done, "reconfigure_successful", own=False)
    assert (entry.title, entry.unique_id) == ("uLogger 42", "42-0")
    assert "ulogger" not in entry.supported_subentry_types
    # Another account without a cloud may take its place.
    assert (await submit(hass, await open_form(hass, "only_here")))["type"] == "create_entry"


@pytest.mark.usefixtures("home_assistants_mqtt")
async def test_an_account_that_is_there_is_not_added_a_second_time(hass: HomeAssistant) -> None:
    MockConfigEntry(domain=DOMAIN, unique_id="42-0").add_to_hass(hass)
    entry = has_account(hass)
    menu = await add_destination(hass, entry.entry_id, "ulogger")
    form = await answer(hass, menu, next_step_id="home_assistant")

    form = await answer(hass, form, customer_id=42, group_id=0)

    expect_form(form, "home_assistant", {"group_id": "account_exists"}, destination="ulogger")
    assert entry.data["connection"] == "none"
