"""An account with an API token alone: metrics and events go to uLogger, captures stay here."""

import json
from typing import Any

import aiohttp
import pytest
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import device_registry as dr
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.test_util.aiohttp import AiohttpClientMocker

from custom_components.ulogger.account.key_store import async_load_secrets
from custom_components.ulogger.config_flow import UloggerConfigFlow
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.outbox.model import CaptureState
from demo.cloud.broker import LocalBroker
from tests.support.account import APPROVED, SENSOR, log, meet
from tests.support.flows import (
    Upload,
    add_destination,
    answer,
    expect_abort,
    expect_form,
    open_form,
    submit,
    suggestions,
)

API = "https://api.ulogger.ai"
METRICS = f"{API}/publish/metrics"
TOKEN = "ulg_first"
NEW_TOKEN = "ulg_second"
IDS = {"customer_id": 42, "group_id": 3}
NOWHERE_ELSE: dict[str, Any] = {"advanced": {}}

pytestmark = pytest.mark.usefixtures("socket_enabled")


@pytest.fixture(autouse=True)
def api(aioclient_mock: AiohttpClientMocker) -> AiohttpClientMocker:
    """An API that knows the token and reads what it is sent."""
    refuse(aioclient_mock, 400)
    return aioclient_mock


def refuse(api: AiohttpClientMocker, status: int, url: str = METRICS, **more: Any) -> None:
    """Have the API answer like this from now on."""
    api.clear_requests()
    api.post(url, status=status, **more)


@pytest.fixture
async def http_account(hass: HomeAssistant) -> MockConfigEntry:
    """Return an account that is set up."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-3",
        title="uLogger 42 (group 3)",
        data={"connection": "http", "client_suffix": "5eed5eed", "topic_prefix": "", **IDS},
        # As an earlier version kept a token; it is moved to the account's own file.
        options={**APPROVED, "api_token": TOKEN},
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    return entry


async def test_an_account_is_added_whose_token_is_in_its_own_file(
    hass: HomeAssistant, api: AiohttpClientMocker
) -> None:
    flow = await open_form(hass, "api_token")
    done = await submit(hass, flow, **IDS, api_token=f" {TOKEN} ", **NOWHERE_ELSE)
    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    entry = done["result"]
    assert (entry.title, entry.unique_id) == ("uLogger 42 (group 3)", "42-3")
    assert {**entry.data, "client_suffix": ""} == {
        **IDS,
        "connection": "http",
        "client_suffix": "",
        "topic_prefix": "",
    }
    assert await async_load_secrets(hass, entry) == {"api_token": TOKEN}
    assert entry.state is ConfigEntryState.LOADED
    [(_, url, body, headers)] = api.mock_calls
    assert (str(url), body) == (METRICS, b"{}")
    assert headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [200, 400, 422])
async def test_whatever_the_api_says_of_an_empty_message_it_has_read_it(
    hass: HomeAssistant, api: AiohttpClientMocker, status: int
) -> None:
    refuse(api, status, json={"success": False})
    flow = await open_form(hass, "api_token")
    done = await submit(hass, flow, **IDS, api_token=TOKEN, **NOWHERE_ELSE)
    assert done["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize(
    ("answered", "errors"),
    [
        ({"status": 401}, {"api_token": "api_token_refused"}),
        ({"status": 403}, {"api_token": "api_token_refused"}),
        ({"status": 404}, {"base": "api_unreachable"}),
        ({"status": 500}, {"base": "api_unreachable"}),
        ({"status": 200, "exc": aiohttp.ClientError()}, {"base": "api_unreachable"}),
        ({"status": 200, "exc": TimeoutError()}, {"base": "api_unreachable"}),
    ],
)
async def test_a_token_that_the_api_does_not_let_in_is_told_and_can_be_mended(
    hass: HomeAssistant,
    api: AiohttpClientMocker,
    answered: dict[str, Any],
    errors: dict[str, str],
) -> None:
    flow = await open_form(hass, "api_token")
    refuse(api, **answered)
    form = await submit(hass, flow, **IDS, api_token=TOKEN, **NOWHERE_ELSE)
    expect_form(form, "api_token", errors)
    refuse(api, 400)
    done = await submit(hass, flow, **IDS, api_token=TOKEN, **NOWHERE_ELSE)
    assert done["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize(
    ("typed", "errors"),
    [
        ({"api_token": "  "}, {"api_token": "invalid_api_token"}),
        ({"api_token": "two words"}, {"api_token": "invalid_api_token"}),
        ({"api_token": "ulg_ü"}, {"api_token": "invalid_api_token"}),
        ({"customer_id": 0}, {"customer_id": "not_positive"}),
        *(
            ({"advanced": {"api_base_url": url}}, {"advanced": "invalid_api_url"})
            for url in (
                *("api.example.com", "http://api.example.com", "ftp://127.0.0.1", "https://"),
                *("https://user@example.com", "https://example.com/?a=b", "https://e.com/#x"),
                *("https://[", "https://e.com:port"),
            )
        ),
    ],
)
async def test_a_mistake_is_told_and_nothing_is_sent(
    hass: HomeAssistant, api: AiohttpClientMocker, typed: dict[str, Any], errors: dict[str, str]
) -> None:
    flow = await open_form(hass, "api_token")
    form = await submit(hass, flow, **{**IDS, "api_token": TOKEN, **NOWHERE_ELSE, **typed})
    expect_form(form, "api_token", errors)
    assert api.call_count == 0


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v2/", "http://127.0.0.1:8080", "http://localhost/ulogger"]
)
async def test_an_api_of_ones_own_gets_it_all(
    hass: HomeAssistant, api: AiohttpClientMocker, url: str
) -> None:
    kept = url.rstrip("/")
    refuse(api, 200, f"{kept}/publish/metrics", json={"success": True})
    flow = await open_form(hass, "api_token")
    typed = {**IDS, "api_token": TOKEN, "advanced": {"api_base_url": url}}
    done = await submit(hass, flow, **typed)
    entry = done["result"]
    assert entry.data["api_base_url"] == kept
    gateway = dr.async_get(hass).async_get_device_by_identifier(
        (DOMAIN, entry.entry_id), entry.entry_id
    )
    assert gateway is not None
    data = {"device_id": gateway.id, "metrics": {"a": 1}}
    await hass.services.async_call(DOMAIN, "publish_metrics", data, blocking=True)
    _, sent = api.mock_calls
    assert str(sent[1]) == f"{kept}/publish/metrics"
    assert json.loads(sent[2])["group_id"] == "3"


async def test_metrics_and_events_go_up_and_captures_stay(
    hass: HomeAssistant, api: AiohttpClientMocker, http_account: MockConfigEntry
) -> None:
    refuse(api, 200, json={"success": True})
    api.post(f"{API}/publish/events", json={"success": True})
    device = meet(http_account)
    target = {"device_id": _registered(hass, http_account)}
    for action, data in (
        ("publish_metrics", {"metrics": {"a": 1}}),
        ("publish_events", {"events": {"type": "e", "by": "hand"}}),
    ):
        await hass.services.async_call(DOMAIN, action, {**target, **data}, blocking=True)
    metrics, events = (json.loads(call[2]) for call in api.mock_calls)
    assert metrics == {
        "device_serial": SENSOR.serial,
        "metrics": [{"name": "a", "value": 1}],
        "app_id": "42",
        "group_id": "3",
    }
    assert events["events"] == [{"type": "e", "by": "hand"}]
    gateway = http_account.runtime_data
    assert (gateway.ulogger, gateway.destinations) == (None, {})
    await device.account.outbox.add(log())
    [row] = await device.account.outbox.listing()
    assert row.state is CaptureState.KEPT
    told = str(await async_get_config_entry_diagnostics(hass, http_account))
    assert TOKEN not in told


@pytest.mark.parametrize(
    ("action", "data"),
    [("register", {}), ("publish_log", {"message": "a"}), ("forget_session", {})],
)
async def test_what_a_token_is_not_enough_for_asks_for_a_certificate(
    hass: HomeAssistant,
    api: AiohttpClientMocker,
    http_account: MockConfigEntry,
    action: str,
    data: dict[str, Any],
) -> None:
    meet(http_account)
    target = {"device_id": _registered(hass, http_account)}
    with pytest.raises(ServiceValidationError) as error:
        await hass.services.async_call(DOMAIN, action, {**target, **data}, blocking=True)
    assert error.value.translation_key == "no_certificate"
    assert api.mock_calls == []


def _registered(hass: HomeAssistant, entry: MockConfigEntry) -> str:
    [device] = entry.runtime_data.devices.values()
    found = dr.async_get(hass).async_get_device_by_identifier(device.identifier, entry.entry_id)
    assert found is not None
    return found.id


async def test_a_token_that_is_refused_later_is_asked_for_anew(
    hass: HomeAssistant, api: AiohttpClientMocker, http_account: MockConfigEntry
) -> None:
    refuse(api, 401)
    meet(http_account)
    data = {"device_id": _registered(hass, http_account), "metrics": {"a": 1}}
    with pytest.raises(Exception, match="API token"):
        await hass.services.async_call(DOMAIN, "publish_metrics", data, blocking=True)
    await hass.async_block_till_done()
    [flow] = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert flow["context"]["source"] == SOURCE_REAUTH
    form = await hass.config_entries.flow.async_configure(flow["flow_id"])
    expect_form(form, "reauth_token")
    again = await submit(hass, flow["flow_id"], api_token=NEW_TOKEN)
    expect_form(again, "reauth_token", {"api_token": "api_token_refused"})
    refuse(api, 400)
    done = await submit(hass, flow["flow_id"], api_token=NEW_TOKEN)
    expect_abort(done, "reauth_successful", own=False)
    assert await async_load_secrets(hass, http_account) == {"api_token": NEW_TOKEN}
    assert "api_token" not in http_account.data
    assert http_account.state is ConfigEntryState.LOADED


async def test_an_account_whose_token_is_gone_asks_for_it(hass: HomeAssistant) -> None:
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-3",
        data={"connection": "http", "client_suffix": "5eed5eed", "topic_prefix": "", **IDS},
    )
    entry.add_to_hass(hass)
    assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.state is ConfigEntryState.SETUP_ERROR
    [flow] = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert (flow["context"]["source"], flow["step_id"]) == (SOURCE_REAUTH, "reauth_token")


async def reconfigured(hass: HomeAssistant, entry: MockConfigEntry, how: str) -> Any:
    """Begin to change an account; return the form."""
    menu = await entry.start_reconfigure_flow(hass)
    return await hass.config_entries.flow.async_configure(menu["flow_id"], {"next_step_id": how})


async def test_a_changed_account_keeps_its_token_when_none_is_typed(
    hass: HomeAssistant, api: AiohttpClientMocker, http_account: MockConfigEntry
) -> None:
    form = await reconfigured(hass, http_account, "api_token")
    assert suggestions(form) == {"group_id": 3, "advanced": {}}
    url = "https://api.example.com"
    refuse(api, 400, f"{url}/publish/metrics")
    done = await submit(hass, form["flow_id"], group_id=4, advanced={"api_base_url": url})
    expect_abort(done, "reconfigure_successful", own=False)
    assert (http_account.unique_id, http_account.data["api_base_url"]) == ("42-4", url)
    assert await async_load_secrets(hass, http_account) == {"api_token": TOKEN}
    form = await reconfigured(hass, http_account, "api_token")
    assert suggestions(form) == {"group_id": 4, "advanced": {"api_base_url": url}}


async def test_a_certificate_is_added_later_and_captures_go_up_from_then_on(
    hass: HomeAssistant,
    http_account: MockConfigEntry,
    broker: LocalBroker,
    upload: Upload,
    at_broker: dict[str, Any],
) -> None:
    assert "ulogger" in UloggerConfigFlow.async_get_supported_subentry_types(http_account)
    menu = await add_destination(hass, http_account.entry_id, "ulogger")
    form = await answer(hass, menu, next_step_id="certificate")
    expect_form(form, "certificate", destination="ulogger")
    customer = broker.customer
    done = await answer(
        hass,
        form,
        group_id=3,
        certificate=await upload(customer.certificate),
        private_key=await upload(customer.private_key),
        advanced=at_broker | {"api_base_url": "https://api.example.com"},
    )
    expect_abort(done, "ulogger_added", destination="ulogger")
    assert http_account.data["connection"] == "mqtt"
    assert http_account.data["api_base_url"] == "https://api.example.com"
    secrets = await async_load_secrets(hass, http_account)
    assert secrets["api_token"] == TOKEN
    assert "private_key" in secrets
    assert http_account.runtime_data.ulogger is not None
    assert http_account.runtime_data.over_http is None
    assert "ulogger" not in UloggerConfigFlow.async_get_supported_subentry_types(http_account)
    await hass.config_entries.async_unload(http_account.entry_id)


async def test_an_account_that_was_only_here_sends_metrics_from_then_on(
    hass: HomeAssistant,
) -> None:
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="only_here",
        title="uLogger",
        data={"connection": "none", "client_suffix": "5eed5eed"},
    )
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    menu = await add_destination(hass, entry.entry_id, "ulogger")
    form = await answer(hass, menu, next_step_id="api_token")
    expect_form(form, "api_token", destination="ulogger")
    done = await answer(hass, form, **IDS, api_token=TOKEN, **NOWHERE_ELSE)
    expect_abort(done, "ulogger_added", destination="ulogger")
    assert (entry.unique_id, entry.data["connection"]) == ("42-3", "http")
    assert "ulogger" in entry.supported_subentry_types
    assert list(entry.runtime_data.telemetry) == ["ulogger"]


async def test_its_options_have_heartbeats_and_keep_the_token(
    hass: HomeAssistant, http_account: MockConfigEntry
) -> None:
    form = await hass.config_entries.options.async_init(http_account.entry_id)
    shown = form["data_schema"].schema
    assert [str(name) for name in shown][:4] == ["collection", "approval", "cloud", "kept"]
    typed = suggestions(form) | {"cloud": {"heartbeats": False}}
    typed["approval"] = {"applications": ["42"]}
    done = await hass.config_entries.options.async_configure(form["flow_id"], typed)
    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    await hass.async_block_till_done()
    assert not http_account.runtime_data.account.settings.heartbeats
    assert await async_load_secrets(hass, http_account) == {"api_token": TOKEN}
