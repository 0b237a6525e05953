"""A unit comes about only when its files are good, and its broker and its API have answered."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.key_store import SecretsNotKept
from custom_components.ulogger.account.unit_files import UnitFiles, async_forget_unit
from custom_components.ulogger.cloud.errors import NotAuthorised
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import pepeunit_checks
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.flows import (
    Upload,
    add_destination,
    answer,
    expect_abort,
    expect_form,
    suggestions,
)
from tests.support.pepeunit import files, pepeunit, private_pepeunit, unit

__all__ = ["pepeunit", "private_pepeunit", "unit"]
pytestmark = pytest.mark.usefixtures("set_up")


@pytest.fixture
def account(hass: HomeAssistant) -> MockConfigEntry:
    """An account; what it is connected to is no matter here."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-0",
        data={"connection": "mqtt", "client_suffix": "5eed5eed"},
    )
    entry.add_to_hass(hass)
    return entry


@pytest.fixture
def tls_port(pepeunit: LocalPepeunit) -> Iterator[None]:
    """Look for TLS where the local broker offers it."""
    with patch.object(pepeunit_checks, "TLS_PORT", pepeunit.broker.tls_port):
        yield


async def begin(hass: HomeAssistant, account: MockConfigEntry, **typed: Any) -> Any:
    """Fill in the first form; return what is shown then."""
    form = await add_destination(hass, account.entry_id, "pepeunit")
    expect_form(form, "user", destination="pepeunit")
    return await answer(hass, form, **typed)


def only(account: MockConfigEntry) -> ConfigSubentry:
    [subentry] = account.subentries.values()
    return subentry


async def test_a_unit_is_made_of_pasted_files(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    nodes = await begin(hass, account, **files(pepeunit, unit))
    expect_form(nodes, "nodes", destination="pepeunit")
    fields = nodes["data_schema"].schema["inputs"].config["fields"]
    assert fields["shown_as"]["selector"]["select"]["options"] == [
        {"value": "sensor", "label": "A sensor with its last value"},
        {"value": "event", "label": "An event for every value"},
    ]
    done = await answer(
        hass,
        nodes,
        outputs=[{"node": "temperature", "entity": "sensor.room"}],
        inputs=[{"node": "lamp", "shown_as": "event"}],
    )
    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    subentry = only(account)
    assert subentry.title == f"Pepeunit {unit.uuid[:8]}"
    assert subentry.data == {
        "unit": unit.uuid,
        "readable": True,
        "port": None,
        "ca": None,
        "since": 0.0,
        "outputs": [{"node": "temperature", "entity": "sensor.room"}],
        "inputs": [{"node": "lamp", "shown_as": "event"}],
    }
    kept = await UnitFiles.async_load(hass, account, unit.uuid)
    assert kept is not None
    assert kept.env.token == unit.token


async def test_files_are_uploaded_and_kept_over_an_error(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    upload: Upload,
) -> None:
    uploaded = {
        "env_file": await upload(json.dumps(pepeunit.env(unit))),
        "schema_file": await upload(json.dumps(unit.schema())),
    }
    refused = await begin(hass, account, **uploaded, readable=False, include_kept=True)
    expect_form(refused, "user", {"readable": "api_readable"}, destination="pepeunit")
    nodes = await answer(hass, refused, **uploaded, readable=True, include_kept=True)
    expect_form(nodes, "nodes", destination="pepeunit")


@pytest.mark.usefixtures("tls_port")
async def test_tls_is_used_where_it_is_offered_even_if_it_need_not_be(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    upload: Upload,
) -> None:
    untrusted = await begin(hass, account, **files(pepeunit, unit))
    expect_form(untrusted, "user", {"base": "tls_untrusted"}, destination="pepeunit")
    ca = await upload(pepeunit.broker.ca)
    nodes = await answer(hass, untrusted, **files(pepeunit, unit, ca=ca))
    await answer(hass, nodes, outputs=[], inputs=[])
    data = only(account).data
    assert (data["readable"], data["port"]) == (False, pepeunit.broker.tls_port)
    assert data["ca"].startswith("-----BEGIN CERTIFICATE")


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"env": ""}, {"env": "no_file"}),
        ({"env": "{"}, {"env": "not_json"}),
        ({"env": '{"PU_DOMAIN": "x"}'}, {"env": "missing_field"}),
        ({"schema": '{"input_topic": {"a": ["#"]}}'}, {"schema": "invalid_topic"}),
        ({"env_file": "f" * 32}, {"env": "pasted_and_uploaded"}),
    ],
    ids=range(5),
)
async def test_a_bad_file_is_said_and_nothing_is_kept(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    change: dict[str, Any],
    errors: dict[str, str],
) -> None:
    shown = await begin(hass, account, **files(pepeunit, unit, **change))
    expect_form(shown, "user", errors, destination="pepeunit")
    assert shown["description_placeholders"]["field"] is not None
    assert await UnitFiles.async_load(hass, account, unit.uuid) is None


async def test_broker_and_api_must_let_the_unit_in(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    pepeunit.gate.allowed.clear()
    shown = await begin(hass, account, **files(pepeunit, unit))
    expect_form(shown, "user", {"env": "unit_refused"}, destination="pepeunit")
    pepeunit.allow()
    pepeunit.refusing = (403, "no")
    shown = await answer(hass, shown, **files(pepeunit, unit))
    expect_form(shown, "user", {"base": "pepeunit_forbidden"}, destination="pepeunit")
    nowhere = json.dumps(pepeunit.env(unit) | {"PU_MQTT_PORT": 1})
    shown = await answer(hass, shown, **files(pepeunit, unit, env=nowhere))
    expect_form(shown, "user", {"base": "cannot_connect"}, destination="pepeunit")


@pytest.mark.parametrize(
    ("typed", "errors"),
    [
        ({"outputs": [{"node": "secret"}]}, {"outputs": "entity_or_metric"}),
        (
            {"inputs": [{"node": "lamp", "shown_as": "event"}] * 2},
            {"inputs": "node_twice"},
        ),
        (
            {"inputs": [{"node": "lamp", "shown_as": "event", "actions": [{"nonsense": 1}]}]},
            {"inputs": "invalid_actions"},
        ),
    ],
    ids=range(3),
)
async def test_a_node_that_can_not_work_is_said(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    typed: dict[str, Any],
    errors: dict[str, str],
) -> None:
    nodes = await begin(hass, account, **files(pepeunit, unit))
    shown = await answer(hass, nodes, **{"outputs": [], "inputs": [], **typed})
    expect_form(shown, "nodes", errors, destination="pepeunit")


async def test_nodes_and_files_are_changed_and_a_unit_is_there_once(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    nodes = await begin(hass, account, **files(pepeunit, unit))
    await answer(hass, nodes, outputs=[], inputs=[])
    again = await begin(hass, account, **files(pepeunit, unit))
    expect_form(again, "user", {"env": "unit_taken"}, destination="pepeunit")

    subentry = only(account)
    menu = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    assert menu["menu_options"] == ["change_nodes", "files"]
    form = await answer(hass, menu, next_step_id="change_nodes")
    expect_form(form, "change_nodes", destination="pepeunit")
    twice = [{"node": "note", "shown_as": "sensor"}] * 2
    form = await answer(hass, form, outputs=[], inputs=twice)
    expect_form(form, "change_nodes", {"inputs": "node_twice"}, destination="pepeunit")
    await answer(hass, form, outputs=[], inputs=[{"node": "note", "shown_as": "sensor"}])
    assert only(account).data["inputs"] == [{"node": "note", "shown_as": "sensor"}]

    menu = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    form = await answer(hass, menu, next_step_id="files")
    expect_form(form, "files", destination="pepeunit")
    assert suggestions(form) == {"readable": True}
    other = Unit.make(inputs=[], outputs=[])
    pepeunit.units.append(other)
    refused = await answer(hass, form, env=json.dumps(pepeunit.env(other)), readable=True)
    expect_form(refused, "files", {"env": "another_unit"}, destination="pepeunit")
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    done = await answer(hass, refused, env=json.dumps(pepeunit.env(unit)), readable=True)
    expect_abort(done, "reconfigure_successful", own=False, destination="pepeunit")
    kept = await UnitFiles.async_load(hass, account, unit.uuid)
    assert kept is not None
    assert kept.env.min_level == 3


async def test_without_tls_a_person_has_to_agree(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    env = json.dumps(pepeunit.env(unit) | {"PU_HTTP_TYPE": "https"})
    shown = await begin(hass, account, **files(pepeunit, unit, env=env, readable=False))
    expect_form(shown, "user", {"readable": "broker_readable"}, destination="pepeunit")
    with patch.object(pepeunit_checks, "check_connection", side_effect=NotAuthorised("told so")):
        shown = await answer(hass, shown, **files(pepeunit, unit))
    expect_form(shown, "user", {"env": "unit_refused"}, destination="pepeunit")


async def test_an_authority_of_ones_own_is_trusted_by_broker_and_api(
    hass: HomeAssistant,
    account: MockConfigEntry,
    private_pepeunit: LocalPepeunit,
    unit: Unit,
    upload: Upload,
) -> None:
    # The API's side of a handshake that we end is an error to the loop that both share.
    hass.loop.set_exception_handler(lambda *_: None)
    given = files(private_pepeunit, unit)
    shown = await begin(hass, account, **given)
    expect_form(shown, "user", {"base": "pepeunit_untrusted"}, destination="pepeunit")
    assert private_pepeunit.requests == []
    port = private_pepeunit.broker.tls_port
    with patch.object(pepeunit_checks, "TLS_PORT", port):
        ca = await upload(private_pepeunit.broker.ca)
        nodes = await answer(hass, shown, **{**given, "readable": False}, ca=ca)
    expect_form(nodes, "nodes", destination="pepeunit")
    assert private_pepeunit.requests == [f"GET /units/get_current_schema/{unit.uuid}"]
    await answer(hass, nodes, outputs=[], inputs=[])
    assert (only(account).data["readable"], only(account).data["port"]) == (False, port)


async def test_the_api_has_to_know_a_schema_that_can_be_used(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    typed = files(pepeunit, unit)
    unit.outputs["bad"] = "#"
    shown = await begin(hass, account, **typed)
    expect_form(shown, "user", {"schema": "invalid_topic"}, destination="pepeunit")


async def test_an_upload_that_is_gone_or_no_authority_is_said(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    upload: Upload,
) -> None:
    gone = files(pepeunit, unit, env_file="f" * 32) | {"env": ""}
    shown = await begin(hass, account, **gone)
    expect_form(shown, "user", {"env_file": "upload_gone"}, destination="pepeunit")
    shown = await answer(hass, shown, **files(pepeunit, unit, ca="f" * 32))
    expect_form(shown, "user", {"ca": "upload_gone"}, destination="pepeunit")
    bad = await upload(b"no certificate")
    shown = await answer(hass, shown, **files(pepeunit, unit, ca=bad))
    expect_form(shown, "user", {"ca": "invalid_ca"}, destination="pepeunit")


async def test_files_that_the_disk_does_not_take_make_no_unit(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    nodes = await begin(hass, account, **files(pepeunit, unit))
    with patch.object(UnitFiles, "async_keep_env", side_effect=SecretsNotKept("full")):
        shown = await answer(hass, nodes, outputs=[], inputs=[])
    expect_form(shown, "nodes", {"base": "secrets_not_kept"}, destination="pepeunit")
    assert not account.subentries


async def test_nodes_of_a_unit_whose_files_are_gone_can_not_be_changed(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    nodes = await begin(hass, account, **files(pepeunit, unit))
    await answer(hass, nodes, outputs=[], inputs=[])
    await async_forget_unit(hass, unit.uuid)
    menu = await account.start_subentry_reconfigure_flow(hass, only(account).subentry_id)
    ended = await answer(hass, menu, next_step_id="change_nodes")
    expect_abort(ended, "files_gone", destination="pepeunit")
