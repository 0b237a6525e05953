"""What Pepeunit asks of a unit: other files, its log, and a version of its program."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

import pytest
from homeassistant.components.update import DOMAIN as UPDATE
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.account.unit_files import UnitFiles, units_being_added
from custom_components.ulogger.cloud.pepeunit.commands import Command, CommandKind
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.errors import InvalidFile
from custom_components.ulogger.cloud.pepeunit.schema import Schema
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.telemetry import TextLine
from custom_components.ulogger.repairs import async_create_fix_flow
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.pepeunit import (
    active_of,
    add_unit,
    call,
    cards,
    connected,
    entity,
    pepeunit,
    private_pepeunit,
    unit,
    until,
)

__all__ = ["pepeunit", "private_pepeunit", "unit"]


async def test_another_env_is_taken_and_a_bad_one_is_not(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    await pepeunit.command(unit, "EnvUpdate")
    await until(lambda: active.destination.env.min_level == 3)
    await connected(account)

    for bad in ({"PU_MQTT_PORT": 1}, {"PU_MQTT_PORT": "x"}, {"PU_AUTH_TOKEN": "a.b.c"}):
        unit.env_override = bad
        await pepeunit.command(unit, "EnvUpdate")
        await until(lambda: "pepeunit_file_kept" in cards(hass))
        assert active.destination.env.min_level == 3
        await until(lambda: active.connected)
        unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
        await pepeunit.command(unit, "EnvUpdate")
        await until(lambda: "pepeunit_file_kept" not in cards(hass))
    await hass.config_entries.async_reload(account.entry_id)
    assert active_of(account).destination.env.min_level == 3


async def test_an_env_that_would_give_the_token_away_or_is_anothers_is_not_taken(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    other = Unit.make(inputs=[], outputs=[])
    unit.env_override = {"PU_AUTH_TOKEN": other.token}
    with pytest.raises(HomeAssistantError) as caught:
        await call(hass, active, "update_env")
    assert "This is another unit's file." in str(caught.value)
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    active.data["readable"] = False
    active.destination.env = replace(active.destination.env, api="https://127.0.0.1")
    with pytest.raises(HomeAssistantError) as caught:
        await call(hass, active, "update_env")
    assert "the token would travel readable" in str(caught.value)
    assert active.destination.env.min_level == 0


async def test_a_unit_that_was_set_up_with_tls_stays_with_it(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    subentry = account.subentries[active.id]
    port, ca = pepeunit.broker.tls_port, pepeunit.broker.ca
    hass.config_entries.async_update_subentry(
        account, subentry, data={**subentry.data, "readable": False, "port": port, "ca": ca}
    )
    await hass.async_block_till_done()
    active = await connected(account)
    assert active.destination.diagnostics()["encrypted"]
    assert active.readable  # its API is reached by http
    # A person has agreed to that, so the same is taken again.
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    await call(hass, active, "update_env")
    env = active.destination.env
    assert env.min_level == 3
    active.destination.env = replace(env, api="https://127.0.0.1")
    assert not active.readable
    with pytest.raises(InvalidFile, match="would_be_readable"):
        await active.async_try(env)
    await active.async_try(active.destination.env)


async def test_commands_and_actions_trust_an_authority_of_ones_own(
    hass: HomeAssistant, account: MockConfigEntry, private_pepeunit: LocalPepeunit, unit: Unit
) -> None:
    port, ca = private_pepeunit.broker.tls_port, private_pepeunit.broker.ca
    env = Env.parse(private_pepeunit.env(unit))
    files = UnitFiles(hass, account, env, Schema.parse(unit.schema()))
    units_being_added(hass).add(unit.uuid)
    await files.async_keep_env(env)
    await files.async_keep()
    data = {"unit": unit.uuid, "readable": False, "port": port, "ca": ca, "since": 0.0}
    hass.config_entries.async_add_subentry(
        account,
        ConfigSubentry(
            data=MappingProxyType({**data, "outputs": [], "inputs": []}),
            subentry_type="pepeunit",
            title="Pepeunit",
            unique_id=None,
        ),
    )
    await hass.async_block_till_done()
    active = await connected(account)
    assert not active.readable
    await until(lambda: active.updates.target is not None)
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    assert (await call(hass, active, "update_env"))["env"]["PU_MIN_LOG_LEVEL"] == "Error"
    await call(hass, active, "set_state_storage", state="kept")
    assert unit.storage == "kept"


async def test_another_schema_is_taken_and_a_node_that_is_gone_is_shown(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(
        hass, account, pepeunit, unit, inputs=[{"node": "lamp", "shown_as": "sensor"}]
    )
    gone = unit.topic("lamp")
    assert gone in pepeunit.gate.subscribed[unit.uuid]
    del unit.inputs["lamp"]
    await pepeunit.command(unit, "SchemaUpdate")
    await until(lambda: "pepeunit_node_gone" in cards(hass))
    await until(lambda: gone not in pepeunit.gate.subscribed[unit.uuid])
    pepeunit.refusing = (403, "no")
    await pepeunit.command(unit, "SchemaUpdate")
    await until(lambda: "schema" in active.updates.failures)
    told = cards(hass)["pepeunit_file_kept"].translation_placeholders
    assert told is not None
    assert told["detail"].startswith(f"Pepeunit does not let {active.title} do that.")


async def test_the_log_is_sent_again_when_it_is_asked_for_also_after_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    unit.env_override = {"PU_MAX_LOG_LENGTH": 5}
    active = await add_unit(hass, account, pepeunit, unit)
    lines = [TextLine(0.0, 1, f"line {number}") for number in range(8)]
    await active.destination.publish_text_log(account.runtime_data.identity, lines)
    await active.updates.files.async_keep()
    await hass.config_entries.async_reload(account.entry_id)
    await connected(account)
    await pepeunit.wait_until(lambda: len(pepeunit.records(unit)) == 8)
    await pepeunit.command(unit, "LogSync")
    await pepeunit.wait_until(lambda: len(pepeunit.records(unit)) == 13)
    assert pepeunit.records(unit)[8:] == pepeunit.records(unit)[3:8]


async def test_only_so_many_commands_wait(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    for _ in range(40):
        active.destination.on_command(Command(CommandKind.LOG_SYNC))
    assert active.destination.counters["commands_dropped"] > 0
    pepeunit.refusing = (403, "no")
    await pepeunit.command(unit, "Update")
    await until(lambda: active.updates.forbidden)


async def test_a_version_is_an_update_that_fetches_and_executes_nothing(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    hass_client: ClientSessionGenerator,
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    program = entity(hass, active, "update", "program")
    await until(lambda: hass.states.get(program).attributes["latest_version"] == unit.commit)  # type: ignore[union-attr]
    assert hass.states.get(program).state == "off"  # type: ignore[union-attr]
    unit.commit, unit.env_override = "beefcafe", {"PU_COMMIT_VERSION": "c0ffee00"}
    pepeunit.archive = {"main.py": b"raise SystemExit", "image.elf": b"\x7fELF no image"}
    await pepeunit.command(unit, "Update", PU_COMMIT_VERSION="beefcafe")
    await until(lambda: hass.states.get(program).state == "on")  # type: ignore[union-attr]
    assert "pepeunit_firmware" not in cards(hass)

    await hass.services.async_call(UPDATE, "install", {"entity_id": program}, blocking=True)
    assert hass.states.get(program).state == "off"  # type: ignore[union-attr]
    await pepeunit.wait_until(
        lambda: json.loads(pepeunit.of(unit.topic("state"))[-1])["pu_commit_version"] == "beefcafe"
    )
    card = cards(hass)["pepeunit_firmware"]
    flow = await async_create_fix_flow(hass, card.issue_id, card.data)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, card.issue_id
    menu = await flow.async_step_init()
    assert menu["menu_options"] == ["download", "image", "put_away"]
    link = (await flow.async_step_download())["description_placeholders"]["link"]
    client = await hass_client()
    response = await client.get(link)
    assert response.status == 200
    for missing in (link.replace(active.id, "none"), link.replace(account.entry_id, "none")):
        assert (await client.get(missing.partition("?")[0])).status == 404
    assert (await response.read()).startswith(b"PK")
    refused = await flow.async_step_image()
    assert refused["reason"] == "image_refused"
    assert "is no firmware image. The ELF file" in refused["description_placeholders"]["detail"]
    assert "pepeunit_firmware" in cards(hass)
    await flow.async_step_put_away()
    assert "pepeunit_firmware" not in cards(hass)
    assert not active.updates.files.archive.exists()
    assert (await client.get(link)).status == 404
    gone = await flow.async_step_image()
    assert gone["reason"] == "image_refused"
    assert "archive" in gone["description_placeholders"]["detail"]
    await hass.config_entries.async_unload(account.entry_id)
    for step in (flow.async_step_init, flow.async_step_image, flow.async_step_put_away):
        assert (await step())["reason"] == "account_not_loaded"


async def test_a_command_says_which_version_is_meant_where_the_api_does_not(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    update = entity(hass, active, UPDATE, "program")
    await until(lambda: active.updates.target is not None)
    pepeunit.refusing = (500, "down")
    await pepeunit.command(unit, "Update", PU_COMMIT_VERSION="beef")
    await until(lambda: hass.states.get(update).attributes["latest_version"] == "beef")  # type: ignore[union-attr]
    assert hass.states.get(update).state == "on"  # type: ignore[union-attr]


async def test_an_image_in_an_archive_becomes_a_firmware_image(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    pepeunit.archive = {"image.elf": b"\x7fELF any"}
    await call(hass, active, "get_firmware")
    card = cards(hass)["pepeunit_firmware"]
    flow = await async_create_fix_flow(hass, card.issue_id, card.data)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, card.issue_id
    images = account.runtime_data.images
    with patch.object(images, "async_add", autospec=True) as added:
        done = await flow.async_step_image()
    assert done["type"] == "create_entry"
    [(read_image, _key, name)] = [each.args for each in added.call_args_list]
    assert (read_image(), name) == (b"\x7fELF any", "image.elf")
    assert not active.updates.fetched


async def test_a_bad_archive_leaves_the_version_as_it_is(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    pepeunit.archive = b"nonsense"
    unit.commit = "beefcafe"
    with pytest.raises(HomeAssistantError) as caught:
        await call(hass, active, "get_firmware")
    assert caught.value.translation_key == "archive_damaged"
    assert active.updates.commit == "c0ffee00"


async def test_an_archive_that_the_disk_does_not_take_is_said(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    with (
        patch.object(Path, "replace", side_effect=OSError(28, "No space left on device")),
        pytest.raises(HomeAssistantError) as caught,
    ):
        await call(hass, active, "get_firmware")
    assert caught.value.translation_key == "archive_not_kept"
    assert not active.updates.fetched
