"""An account whose captures go through Home Assistant's own MQTT."""

from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components import mqtt
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType

from custom_components.ulogger.const import DOMAIN
from tests.support.flows import expect_form, open_form, submit, suggestions

pytestmark = pytest.mark.usefixtures("socket_enabled", "set_up")


async def test_an_account_can_go_through_home_assistants_mqtt(
    hass: HomeAssistant, home_assistants_mqtt: Any
) -> None:
    flow = await open_form(hass, "home_assistant")

    done = await submit(hass, flow, customer_id=42, group_id=3, topic_prefix="ulogger/")

    assert done["title"] == "uLogger 42 (group 3)"
    assert done["result"].unique_id == "42-3"
    data = dict(done["data"])
    assert data.pop("client_suffix")
    assert data == {
        "connection": "home_assistant",
        "customer_id": 42,
        "group_id": 3,
        "topic_prefix": "ulogger/",
    }


async def test_a_bridge_starts_with_the_prefix_of_ulogger(hass: HomeAssistant) -> None:
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})

    form = await submit(hass, menu["flow_id"], next_step_id="home_assistant")

    assert suggestions(form) == {"topic_prefix": "ulogger/"}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [({}, ""), ({"topic_prefix": " "}, ""), ({"topic_prefix": " site/ulogger "}, "site/ulogger/")],
)
async def test_a_prefix_ends_where_a_topic_begins(
    hass: HomeAssistant, home_assistants_mqtt: Any, typed: dict[str, str], kept: str
) -> None:
    flow = await open_form(hass, "home_assistant")

    done = await submit(hass, flow, customer_id=42, **typed)

    assert done["data"]["topic_prefix"] == kept


@pytest.mark.parametrize("prefix", ["+/ulogger/", "ulogger/#", "ulogger\x00"])
async def test_a_prefix_is_part_of_a_topic(
    hass: HomeAssistant, home_assistants_mqtt: Any, prefix: str
) -> None:
    flow = await open_form(hass, "home_assistant")

    form = await submit(hass, flow, customer_id=42, topic_prefix=prefix)

    expect_form(form, "home_assistant", {"topic_prefix": "invalid_topic_prefix"})


async def test_a_bridge_needs_the_mqtt_integration(hass: HomeAssistant) -> None:
    flow = await open_form(hass, "home_assistant")

    form = await submit(hass, flow, customer_id=42, topic_prefix="ulogger/")

    expect_form(form, "home_assistant", {"base": "mqtt_not_set_up"})
    assert suggestions(form)["customer_id"] == 42


async def test_a_bridge_needs_a_connected_mqtt_integration(
    hass: HomeAssistant, home_assistants_mqtt: Any
) -> None:
    flow = await open_form(hass, "home_assistant")

    with patch.object(mqtt, "is_connected", return_value=False):
        form = await submit(hass, flow, customer_id=42, topic_prefix="ulogger/")
    expect_form(form, "home_assistant", {"base": "mqtt_not_connected"})

    done = await submit(hass, flow, customer_id=42, topic_prefix="ulogger/")
    assert done["type"] is FlowResultType.CREATE_ENTRY


async def test_a_bridged_account_needs_an_own_customer_too(
    hass: HomeAssistant, home_assistants_mqtt: Any
) -> None:
    flow = await open_form(hass, "home_assistant")

    form = await submit(hass, flow, customer_id=0, topic_prefix="ulogger/")

    expect_form(form, "home_assistant", {"customer_id": "not_positive"})
