"""The options: shown as they are, checked, kept side by side, applied by a reload."""

import copy
from types import MappingProxyType
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
from homeassistant.config_entries import SOURCE_INTEGRATION_DISCOVERY, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.key_store import async_load_secrets
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import options_flow
from tests.support.flows import ENGLISH, suggestions

pytestmark = pytest.mark.usefixtures("set_up")

TYPED: dict[str, Any] = {
    "collection": {
        "collect_interval": 30,
        "name_patterns": ["uLogger*", "Thermo*"],
        "device_limit": 300,
    },
    "approval": {"applications": ["1001", "7"]},
    "said": {"log_events": "warning", "metric_limit": 20},
    "cloud": {"heartbeats": False, "api_token": " ulg_secret ", "daily_quota_kb": 400},
    "storage": {"retention_days": 3, "retention_mb": 50, "undelivered_budget_mb": 200},
    "forward_logs": {"level": "error", "integrations": ["mqtt", "bluetooth"]},
    "assistants": {"offer_to_assistants": True},
}


def typed(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return the filled form with some sections filled differently."""
    form = copy.deepcopy(TYPED)
    for section, fields in changes.items():
        form[section].update(fields)
    return form


@pytest.fixture
async def account(hass: HomeAssistant) -> MockConfigEntry:
    """Return an account that runs, with one application approved."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-0",
        title="uLogger 42",
        data={"client_suffix": "5eed5eed"},
        options={
            "applications": {"1001": {"device_types": ["thermostat", "valve"]}},
            "confirmed_address": "C0:FF:EE:00:00:01",
        },
    )
    entry.add_to_hass(hass)
    await hass.config_entries.async_setup(entry.entry_id)
    return entry


async def open_form(hass: HomeAssistant, account: MockConfigEntry) -> Any:
    """Open the options."""
    form = await hass.config_entries.options.async_init(account.entry_id)
    assert form["type"] is FlowResultType.FORM
    assert form["step_id"] == "init"
    return form


async def save(hass: HomeAssistant, account: MockConfigEntry, form: dict[str, Any]) -> None:
    """Open the options and save them as *form*."""
    flow = await open_form(hass, account)
    done = await hass.config_entries.options.async_configure(flow["flow_id"], form)
    assert done["type"] is FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()


def field(form: Any, section: str, name: str) -> tuple[Any, Any]:
    """Return a field of a section: how it is marked, and its selector."""
    fields = form["data_schema"].schema[section].schema.schema
    return next((key, value) for key, value in fields.items() if key == name)


async def test_a_new_account_shows_what_it_does_by_itself(hass: HomeAssistant) -> None:
    account = MockConfigEntry(domain=DOMAIN, data={"client_suffix": "5eed5eed"})
    account.add_to_hass(hass)
    form = await open_form(hass, account)

    defaults = form["data_schema"]({section: {} for section in TYPED})

    assert defaults == {
        "collection": {
            "collect_interval": 15,
            "adaptive_interval": False,
            "name_patterns": ["uLogger*"],
            "device_limit": 200,
            "reserved_slots": 1,
            "live_minutes": 30,
        },
        "approval": {"applications": []},
        "said": {"log_events": "error", "metric_limit": 50},
        "cloud": {"heartbeats": True, "daily_quota_kb": 0},
        "storage": {"retention_days": 7, "retention_mb": 100, "undelivered_budget_mb": 500},
        "forward_logs": {"level": "off", "integrations": []},
        "assistants": {"offer_to_assistants": False},
    }


async def test_all_of_the_form_can_be_read(hass: HomeAssistant, account: MockConfigEntry) -> None:
    form = await open_form(hass, account)

    sections = dict(ENGLISH["options"]["step"]["init"]["sections"])
    del sections["kept"]
    assert {str(key) for key in form["data_schema"].schema} == set(sections)
    for name, texts in sections.items():
        fields = {str(key) for key in form["data_schema"].schema[name].schema.schema}
        assert fields == set(texts["data"]) == set(texts["data_description"])
    _, level = field(form, "forward_logs", "level")
    assert level.config["options"] == list(ENGLISH["selector"]["forward_level"]["options"])


async def test_options_are_kept_side_by_side_and_applied_by_a_reload(
    hass: HomeAssistant, account: MockConfigEntry, set_up: AsyncMock
) -> None:
    form = await open_form(hass, account)
    set_up.reset_mock()

    done = await hass.config_entries.options.async_configure(form["flow_id"], typed())
    await hass.async_block_till_done()

    assert done["type"] is FlowResultType.CREATE_ENTRY
    assert account.options == {
        "collect_interval": 30,
        "adaptive_interval": False,
        "name_patterns": ["uLogger*", "Thermo*"],
        "device_limit": 300,
        "reserved_slots": 1,
        "live_minutes": 30,
        "applications": {
            "7": {"device_types": []},
            "1001": {"device_types": ["thermostat", "valve"]},
        },
        "confirmed_address": "C0:FF:EE:00:00:01",
        "heartbeats": False,
        "daily_quota_kb": 400,
        "retention_days": 3,
        "retention_mb": 50,
        "undelivered_budget_mb": 200,
        "offer_to_assistants": True,
        "log_events": "warning",
        "metric_limit": 20,
        "forward_logs": {"level": "error", "integrations": ["bluetooth", "mqtt"]},
    }
    assert type(account.options["collect_interval"]) is int
    set_up.assert_awaited_once()


async def test_the_form_shows_again_what_was_saved(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)
    await hass.config_entries.options.async_configure(form["flow_id"], typed())
    await hass.async_block_till_done()

    form = await open_form(hass, account)

    for section, fields in typed(
        approval={"applications": ["7", "1001"]},
        cloud={"api_token": "ulg_secret"},
        forward_logs={"integrations": ["bluetooth", "mqtt"]},
    ).items():
        for name, value in fields.items():
            marker, _ = field(form, section, name)
            assert marker.description == {"suggested_value": value}, name


async def test_an_api_token_is_shown_to_nobody_and_goes_when_it_is_emptied(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)
    _, selector = field(form, "cloud", "api_token")
    assert selector.config["type"] == "password"
    await hass.config_entries.options.async_configure(form["flow_id"], typed())
    form = await open_form(hass, account)
    emptied = typed()
    del emptied["cloud"]["api_token"]

    await hass.config_entries.options.async_configure(form["flow_id"], emptied)
    await hass.async_block_till_done()

    assert "api_token" not in account.options
    assert await async_load_secrets(hass, account) == {}


async def test_an_api_token_stands_in_the_private_file_and_not_among_the_options(
    hass: HomeAssistant, account: MockConfigEntry, hass_storage: dict[str, Any]
) -> None:
    await save(hass, account, typed())

    assert "ulg_secret" not in str(account.as_dict())
    assert hass_storage["ulogger.key.5eed5eed"]["data"] == {"api_token": "ulg_secret"}


async def test_another_api_token_alone_is_applied_by_a_reload_and_the_same_one_by_none(
    hass: HomeAssistant, account: MockConfigEntry, set_up: AsyncMock
) -> None:
    await save(hass, account, typed())
    set_up.reset_mock()

    await save(hass, account, typed(cloud={"api_token": "ulg_other"}))
    set_up.assert_awaited_once()

    await save(hass, account, typed(cloud={"api_token": "ulg_other"}))
    set_up.assert_awaited_once()


async def test_an_api_token_that_the_disk_does_not_take_is_said_to_be_so(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    before = dict(account.options)
    form = await open_form(hass, account)

    with patch.object(Store, "async_save"):
        form = await hass.config_entries.options.async_configure(form["flow_id"], typed())

    assert form["errors"] == {"cloud": "secrets_not_kept"}
    assert "secrets_not_kept" in ENGLISH["options"]["error"]
    assert account.options == before


async def test_an_application_approved_while_the_token_is_written_stays(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)
    kept = options_flow.async_keep_token

    async def slowly(hass: HomeAssistant, entry: MockConfigEntry, token: str) -> bool:
        applications = {**entry.options["applications"], "99": {"device_types": ["lock"]}}
        hass.config_entries.async_update_entry(
            entry, options={**entry.options, "applications": applications}
        )
        return await kept(hass, entry, token)

    with patch.object(options_flow, "async_keep_token", slowly):
        await hass.config_entries.options.async_configure(form["flow_id"], typed())
    await hass.async_block_till_done()

    assert set(account.options["applications"]) == {"7", "99", "1001"}


async def test_an_application_is_shown_with_its_device_types(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    hass.config_entries.async_update_entry(
        account,
        options={
            "applications": {
                "1001": {"device_types": ["thermostat", "valve"]},
                "7": {"device_types": []},
            }
        },
    )
    form = await open_form(hass, account)

    _, selector = field(form, "approval", "applications")

    assert selector.config["options"] == [
        {"value": "1001", "label": "1001 (thermostat, valve)"},
        {"value": "7", "label": "7"},
    ]


async def test_an_application_can_be_removed(hass: HomeAssistant, account: MockConfigEntry) -> None:
    form = await open_form(hass, account)

    await hass.config_entries.options.async_configure(
        form["flow_id"], typed(approval={"applications": []})
    )
    await hass.async_block_till_done()

    assert account.options["applications"] == {}


async def test_an_application_approved_while_the_form_was_open_stays(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)
    late = {"2002": {"device_types": ["lamp"]}}
    hass.config_entries.async_update_entry(
        account, options={**account.options, "applications": {**late}}
    )

    await hass.config_entries.options.async_configure(
        form["flow_id"], typed(approval={"applications": ["1001"]})
    )
    await hass.async_block_till_done()

    assert account.options["applications"] == {**late, "1001": {"device_types": []}}


async def test_the_own_integration_is_not_offered_for_forwarding(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)

    _, selector = field(form, "forward_logs", "integrations")

    assert "bluetooth" in selector.config["options"]
    assert "ulogger" not in selector.config["options"]
    assert not any("." in name for name in selector.config["options"])


@pytest.mark.parametrize(
    ("section", "fields", "reason"),
    [
        ("collection", {"name_patterns": []}, "no_name_patterns"),
        ("collection", {"name_patterns": [" ", ""]}, "no_name_patterns"),
        ("collection", {"name_patterns": ["*"]}, "name_pattern_too_broad"),
        ("collection", {"name_patterns": ["uL*"]}, "name_pattern_too_broad"),
        ("collection", {"name_patterns": ["u?ogger"]}, "name_pattern_too_broad"),
        ("collection", {"name_patterns": ["uLogger*", "[uU]Logger"]}, "name_pattern_too_broad"),
        ("collection", {"name_patterns": ["uL"]}, "name_pattern_too_broad"),
        ("approval", {"applications": ["thermostat"]}, "invalid_application_id"),
        ("approval", {"applications": ["-1"]}, "invalid_application_id"),
        ("approval", {"applications": ["4294967296"]}, "invalid_application_id"),
        ("approval", {"applications": ["1" * 5000]}, "invalid_application_id"),
        ("cloud", {"api_token": "ulg secret"}, "invalid_api_token"),
        ("cloud", {"api_token": "ulg\nsecret"}, "invalid_api_token"),
        ("cloud", {"api_token": "ulg_sécret"}, "invalid_api_token"),
        ("forward_logs", {"integrations": []}, "no_integrations"),
        ("forward_logs", {"integrations": [" "]}, "no_integrations"),
        ("forward_logs", {"integrations": ["mqtt", "ulogger"]}, "own_records"),
    ],
)
async def test_a_mistake_is_shown_at_its_section_and_can_be_put_right(
    hass: HomeAssistant,
    account: MockConfigEntry,
    section: str,
    fields: dict[str, Any],
    reason: str,
) -> None:
    before = dict(account.options)
    form = await open_form(hass, account)

    form = await hass.config_entries.options.async_configure(
        form["flow_id"], typed(**{section: fields})
    )

    assert form["type"] is FlowResultType.FORM
    assert form["errors"] == {section: reason}
    assert reason in ENGLISH["options"]["error"]
    assert account.options == before
    marker, _ = field(form, "storage", "retention_days")
    assert marker.description == {"suggested_value": 3}

    done = await hass.config_entries.options.async_configure(form["flow_id"], typed())
    assert done["type"] is FlowResultType.CREATE_ENTRY


async def test_two_mistakes_are_shown_at_once(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)

    form = await hass.config_entries.options.async_configure(
        form["flow_id"],
        typed(collection={"name_patterns": []}, approval={"applications": ["x"]}),
    )

    assert form["errors"] == {
        "collection": "no_name_patterns",
        "approval": "invalid_application_id",
    }


async def test_an_application_belongs_to_one_account(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    MockConfigEntry(
        domain=DOMAIN, unique_id="43-0", options={"applications": {"7": {}}}
    ).add_to_hass(hass)
    form = await open_form(hass, account)

    form = await hass.config_entries.options.async_configure(form["flow_id"], typed())

    assert form["errors"] == {"approval": "application_of_other_account"}
    assert "application_of_other_account" in ENGLISH["options"]["error"]


async def test_forwarding_turned_off_needs_no_integrations(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await open_form(hass, account)

    done = await hass.config_entries.options.async_configure(
        form["flow_id"], typed(forward_logs={"level": "off", "integrations": []})
    )

    assert done["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("collection", "collect_interval", "often"),
        ("collection", "device_limit", None),
        ("forward_logs", "level", "loud"),
    ],
)
async def test_what_the_form_does_not_offer_is_refused(
    hass: HomeAssistant, account: MockConfigEntry, section: str, name: str, value: Any
) -> None:
    form = await open_form(hass, account)

    with pytest.raises(InvalidData) as refused:
        await hass.config_entries.options.async_configure(
            form["flow_id"], typed(**{section: {name: value}})
        )

    assert [str(part) for part in refused.value.path] == [section, name]


@pytest.mark.parametrize(
    ("section", "name", "value", "error", "said"),
    [
        ("collection", "collect_interval", 0, "interval_bounds", "at least 1 minute"),
        ("collection", "collect_interval", 10081, "interval_bounds", "at most 10080"),
        ("collection", "device_limit", 0, "device_limit_bounds", "at least 1"),
        ("collection", "device_limit", 10_001, "device_limit_bounds", "at most 10000"),
        ("collection", "reserved_slots", 11, "reserved_slots_bounds", "at most 10"),
        ("collection", "live_minutes", 0, "live_minutes_bounds", "at least 1 minute"),
        ("said", "metric_limit", 501, "metric_limit_bounds", "at most 500"),
        ("cloud", "daily_quota_kb", -1, "daily_limit_bounds", "not negative"),
        ("storage", "retention_days", 3651, "sent_days_bounds", "at most 3650"),
        ("storage", "retention_mb", 100_001, "sent_size_bounds", "at most 100000"),
        ("storage", "undelivered_budget_mb", 0, "waiting_size_bounds", "at least 1 MB"),
    ],
)
async def test_a_number_that_is_too_small_or_too_large_is_told_in_words(
    hass: HomeAssistant,
    account: MockConfigEntry,
    section: str,
    name: str,
    value: int,
    error: str,
    said: str,
) -> None:
    form = await open_form(hass, account)
    before = dict(account.options)
    answer = typed(**{section: {name: value}})
    again = await hass.config_entries.options.async_configure(form["flow_id"], answer)
    assert again["errors"] == {section: error}
    assert said in ENGLISH["options"]["error"][error]
    # What was typed is there to be mended.
    assert suggestions(again)[section][name] == value
    assert dict(account.options) == before


async def test_approving_an_application_takes_back_its_discovery_card(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    for application_id in (7, 8):
        await hass.config_entries.flow.async_init(
            DOMAIN,
            context={"source": SOURCE_INTEGRATION_DISCOVERY},
            data={
                "application_id": application_id,
                "device_type": "lamp",
                "name": "uLogger Lamp",
                "address": "C0:FF:EE:00:00:02",
            },
        )
    form = await open_form(hass, account)

    await hass.config_entries.options.async_configure(form["flow_id"], typed())
    await hass.async_block_till_done()

    cards = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert [card["context"]["unique_id"] for card in cards] == ["application-8"]


# An account without uLogger


@pytest.fixture
async def only_here(hass: HomeAssistant) -> MockConfigEntry:
    """Return an account that has no uLogger."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="only_here",
        data={"connection": "none", "client_suffix": "5eed5eed"},
        options={"heartbeats": False},
    )
    entry.add_to_hass(hass)
    await hass.config_entries.async_setup(entry.entry_id)
    return entry


async def test_a_unit_of_pepeunit_takes_log_records_without_ulogger(
    hass: HomeAssistant, only_here: MockConfigEntry
) -> None:
    unit = ConfigSubentry(
        data=MappingProxyType({"unit": "none", "since": 0.0}),
        subentry_type="pepeunit",
        title="Pepeunit",
        unique_id="pepeunit-none",
    )
    hass.config_entries.async_add_subentry(only_here, unit)
    await hass.async_block_till_done()
    form = await open_form(hass, only_here)
    assert "forward_logs" in {str(key) for key in form["data_schema"].schema}


async def test_an_account_without_ulogger_is_not_asked_about_it(
    hass: HomeAssistant, only_here: MockConfigEntry
) -> None:
    form = await open_form(hass, only_here)
    sections = {str(key) for key in form["data_schema"].schema}
    assert sections == {
        "collection",
        "approval",
        "said",
        "kept",
        "firmware",
        "panel",
        "assistants",
    }
    texts = ENGLISH["options"]["step"]["init"]["sections"]["kept"]
    fields = {str(key) for key in form["data_schema"].schema["kept"].schema.schema}
    assert fields == set(texts["data"]) == set(texts["data_description"])

    kept = {"retention_days": 30, "retention_mb": 200, "undelivered_budget_mb": 500}
    chosen = {
        "collection": TYPED["collection"],
        "approval": {"applications": ["7"]},
        "said": TYPED["said"],
        "kept": kept,
        "assistants": {"offer_to_assistants": True},
    }
    await save(hass, only_here, chosen)

    assert only_here.options == {
        **TYPED["collection"],
        "adaptive_interval": False,
        "reserved_slots": 1,
        "live_minutes": 30,
        **TYPED["said"],
        **kept,
        "offer_to_assistants": True,
        "heartbeats": False,
        "applications": {"7": {"device_types": []}},
    }
    form = await open_form(hass, only_here)
    assert suggestions(form)["kept"] == kept
    assert await async_load_secrets(hass, only_here) == {}


@pytest.mark.parametrize("limit", ["retention_days", "retention_mb"])
async def test_what_nobody_else_has_is_not_deleted_at_once(
    hass: HomeAssistant, only_here: MockConfigEntry, limit: str
) -> None:
    form = await open_form(hass, only_here)
    kept = {"retention_days": 7, "retention_mb": 100, "undelivered_budget_mb": 500, limit: 0}
    again = await hass.config_entries.options.async_configure(
        form["flow_id"],
        {
            "collection": TYPED["collection"],
            "approval": {"applications": []},
            "said": TYPED["said"],
            "kept": kept,
        },
    )
    errors = {"retention_days": "kept_days_bounds", "retention_mb": "kept_size_bounds"}
    assert again["errors"] == {"kept": errors[limit]}
