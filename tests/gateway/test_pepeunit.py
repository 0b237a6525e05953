"""An account that is a unit of Pepeunit: values, commands, files, and what people see of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.update import DOMAIN as UPDATE
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError, Unauthorized
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.account.unit_files import UnitFiles
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.pepeunit import echoes
from custom_components.ulogger.cloud.pepeunit.commands import Command, CommandKind
from custom_components.ulogger.cloud.pepeunit.errors import InvalidFile
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.gateway.pepeunit import ActivePepeunit
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.telemetry import TextLine
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.repairs import async_create_fix_flow
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.account import SENSOR, core_dump, log, meet
from tests.support.pepeunit import active_of, add_unit, connected, pepeunit, unit, until

__all__ = ["pepeunit", "unit"]

OUTPUTS = [
    {"node": "temperature", "entity": "sensor.room", "template": "{{ value | float + 1 }}"},
    {"node": "secret", "entity": "sensor.room", "encrypted": True},
]


def cards(hass: HomeAssistant) -> dict[str, ir.IssueEntry]:
    """Return the repair cards by their kinds."""
    issues = ir.async_get(hass).issues.values()
    return {
        each.issue_id.split("-", 1)[0]: each
        for each in issues
        if each.domain == DOMAIN and each.issue_id.startswith("pepeunit")
    }


async def call(hass: HomeAssistant, active: ActivePepeunit, name: str, **data: Any) -> Any:
    """Call an action of the unit, and return its answer."""
    registry = er.async_get(hass)
    prefix = f"{active.account.entry_id}-{active.id}-"
    [device_id] = {
        each.device_id
        for each in registry.entities.values()
        if each.unique_id.startswith(prefix) and each.device_id
    }
    return await hass.services.async_call(
        DOMAIN,
        f"pepeunit_{name}",
        {"device_id": device_id, **data},
        blocking=True,
        return_response=True,
    )


def entity(hass: HomeAssistant, active: ActivePepeunit, platform: str, key: str) -> str:
    unique_id = f"{active.account.entry_id}-{active.id}-{key}"
    found = er.async_get(hass).async_get_entity_id(platform, DOMAIN, unique_id)
    assert found is not None
    return found


# Captures


async def test_captures_go_to_the_log_and_count_as_delivered(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    meet(account)
    active = await add_unit(hass, account, pepeunit, unit)
    outbox = account.runtime_data.account.outbox
    ids = [(await outbox.add(each)).capture_id for each in (log(), core_dump())]
    assert await active.delivery.wait_delivered(SENSOR.key, ids, 10) == set(ids)
    came = [record["text"] for record in pepeunit.records(unit)]
    assert any(text.startswith(f"{SENSOR.serial} #{ids[0]}.3 ") for text in came)
    assert any("core dump of" in text for text in came)
    assert pepeunit.invalid == []


async def test_what_the_broker_drops_waits_and_is_shown_until_it_is_tried_again(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echoes.Echoes.__init__, "__defaults__", (0.3,))
    meet(account)
    active = await add_unit(hass, account, pepeunit, unit)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("state")))
    pepeunit.allow(denied=(unit.topic("log"),))
    outbox = account.runtime_data.account.outbox
    added = await outbox.add(log())
    account.runtime_data.async_retry_now()
    await until(lambda: "pepeunit_denied" in cards(hass))
    [row] = await outbox.listing(states=(CaptureState.WAITING,))
    assert row.capture_id == added.capture_id

    pepeunit.allow()
    card = cards(hass)["pepeunit_denied"]
    flow = await async_create_fix_flow(hass, card.issue_id, card.data)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, card.issue_id
    await flow.async_step_confirm({})
    assert await active.delivery.wait_delivered(SENSOR.key, [added.capture_id], 10)
    await hass.async_block_till_done()
    assert "pepeunit_denied" not in cards(hass)


async def test_log_records_that_home_assistant_forwards_go_there_too(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    assert account.runtime_data.text_logs[active.id] is active.destination
    lines = [TextLine(0.0, 2, "mqtt: lost")]
    await active.destination.publish_text_log(account.runtime_data.identity, lines)
    await pepeunit.wait_until(lambda: pepeunit.records(unit))
    assert pepeunit.records(unit)[-1]["text"].endswith("mqtt: lost")


# Nodes


async def test_outputs_follow_entities_and_inputs_become_entities_and_run_actions(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    hass.states.async_set("sensor.room", "20")
    called: list[dict[str, Any]] = []
    hass.services.async_register("test", "light", lambda call: called.append(dict(call.data)))
    actions = [{"action": "test.light", "data": {"to": "{{ value }}", "node": "{{ node }}"}}]
    active = await add_unit(
        hass,
        account,
        pepeunit,
        unit,
        outputs=OUTPUTS,
        inputs=[
            {"node": "lamp", "shown_as": "sensor", "actions": actions},
            {"node": "note", "shown_as": "event"},
        ],
    )
    hass.states.async_set("sensor.room", "unavailable")
    hass.states.async_set("sensor.room", "21")
    topic = unit.topic("temperature")
    await pepeunit.wait_until(lambda: pepeunit.of(topic) == [b"21.0", b"22.0"])
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("secret"))) == 2)
    assert all(b"." in each and each != b"20" for each in pepeunit.of(unit.topic("secret")))

    await pepeunit.publish(unit.topic("lamp"), "on")
    await pepeunit.publish(unit.topic("note"), "x" * 300)
    await until(lambda: called)
    assert called == [{"to": "on", "node": "lamp"}]
    state = hass.states.get(entity(hass, active, "sensor", "input-lamp"))
    assert state is not None
    assert state.state == "on"
    event = entity(hass, active, "event", "input-note")
    await until(lambda: hass.states.get(event).attributes.get("value") == "x" * 300)  # type: ignore[union-attr]


async def test_metrics_that_devices_log_feed_an_output(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    device = meet(account)
    metric = next(iter(read(log()).metrics))
    await add_unit(
        hass, account, pepeunit, unit, outputs=[{"node": "temperature", "metric": metric.name}]
    )
    device = meet(account)
    await account.runtime_data.account.outbox.add(log())
    device.captures_stored.notify()
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("temperature")))
    last = [each.value for each in read(log()).metrics if each.name == metric.name][-1]
    assert pepeunit.of(unit.topic("temperature")) == [str(last).encode()]


async def test_the_state_of_this_machine_comes_at_its_interval(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    await add_unit(hass, account, pepeunit, unit)
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("state"))) == 2)
    first, second = (each.at for each in pepeunit.messages if each.topic == unit.topic("state"))
    assert 1.0 <= second - first < 2.5
    assert json.loads(pepeunit.of(unit.topic("state"))[0])["pu_commit_version"] == unit.commit
    assert pepeunit.invalid == []


# Commands


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
    assert "another_unit" in str(caught.value.translation_placeholders)
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    active.data["readable"] = False
    with pytest.raises(HomeAssistantError) as caught:
        await call(hass, active, "update_env")
    assert "would_be_readable" in str(caught.value.translation_placeholders)
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
    env = active.destination.env
    with pytest.raises(InvalidFile):
        await active.async_try(env)
    await active.async_try(replace(env, api="https://127.0.0.1"))


async def test_what_goes_wrong_with_nodes_is_counted_and_stops_nothing(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unit.env_override = {"PU_ENCRYPT_KEY": ""}

    def fail(_call: Any) -> None:
        raise HomeAssistantError("told so")

    hass.services.async_register("test", "fail", fail)
    active = await add_unit(
        hass,
        account,
        pepeunit,
        unit,
        outputs=[
            {"node": "temperature", "entity": "sensor.room", "template": "{{ value | float }}"},
            {"node": "secret", "entity": "sensor.room", "encrypted": True},
        ],
        inputs=[
            {"node": "lamp", "shown_as": "event", "actions": [{"action": "test.fail"}]},
            {
                "node": "note",
                "shown_as": "event",
                "actions": [{"condition": "device", "device_id": "none", "domain": "none"}],
            },
        ],
    )
    assert "actions of the input note can't be run" in caplog.text
    hass.states.async_set("sensor.room", "warm")
    await hass.async_block_till_done()
    counters = active.destination.counters
    assert (counters["templates_failed"], counters["cipher_no_key"]) == (1, 1)
    hass.states.async_set("sensor.room", "20")
    await pepeunit.publish(unit.topic("lamp"), "on")
    await until(lambda: "actions of the input lamp failed" in caplog.text)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("temperature")) == [b"20.0"])


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


async def test_a_capture_that_can_not_be_read_waits(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    with pytest.raises(CloudUnavailable):
        await active.destination.deliver(log(), 4711)


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
    assert "no" in str(cards(hass)["pepeunit_file_kept"].translation_placeholders)


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
    assert "pepeunit_firmware" in cards(hass)
    await flow.async_step_put_away()
    assert "pepeunit_firmware" not in cards(hass)
    assert not active.updates.files.archive.exists()
    assert (await client.get(link)).status == 404
    assert (await flow.async_step_image())["reason"] == "image_refused"
    await hass.config_entries.async_unload(account.entry_id)
    for step in (flow.async_step_init, flow.async_step_image, flow.async_step_put_away):
        assert (await step())["reason"] == "account_not_loaded"


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


# Actions


async def test_every_action_answers(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    unit.links[unit.inputs["lamp"]] = unit.outputs["temperature"]
    answer = await call(hass, active, "update_env")
    assert answer["env"]["PU_MQTT_KEEPALIVE"] == 60
    assert unit.token not in json.dumps(answer)
    answer = await call(hass, active, "update_schema")
    assert answer["schema"] == unit.schema()
    answer = await call(hass, active, "get_target_version")
    assert answer == {"commit": unit.commit, "tag": "1.0", "current": unit.commit}
    answer = await call(hass, active, "get_firmware")
    assert answer["files"].keys() == {"env.json", "schema.json"}
    assert await call(hass, active, "set_state_storage", state='"ü"') == {"characters": 3}
    assert await call(hass, active, "get_state_storage") == {"state": '"ü"'}
    answer = await call(hass, active, "find_inputs", node=unit.outputs["temperature"])
    assert [node["uuid"] for node in answer["unit_nodes"]] == [unit.inputs["lamp"]]
    answer = await call(hass, active, "find_units", nodes=[unit.inputs["lamp"]])
    assert answer["units"][0]["uuid"] == unit.uuid
    answer = await call(hass, active, "set_input", node=unit.inputs["lamp"], value="on")
    assert answer["node"]["state"] == "on"
    sealed = (await call(hass, active, "encrypt", text="hello"))["text"]
    assert await call(hass, active, "decrypt", text=sealed) == {"text": "hello"}


@pytest.mark.parametrize(
    ("status", "kind", "key"),
    [
        (403, HomeAssistantError, "pepeunit_forbidden"),
        (422, ServiceValidationError, "pepeunit_invalid"),
        (500, HomeAssistantError, "pepeunit_unreachable"),
    ],
)
async def test_a_refusal_of_the_api_is_an_error_that_says_why(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    status: int,
    kind: type[Exception],
    key: str,
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    pepeunit.refusing = (status, "because")
    with pytest.raises(kind) as caught:
        await call(hass, active, "get_state_storage")
    assert caught.value.translation_key == key  # type: ignore[attr-defined]
    assert caught.value.translation_placeholders["detail"] == "because"  # type: ignore[attr-defined]


async def test_actions_are_for_administrators_and_for_units(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    hass_read_only_user: MockUser,
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    with pytest.raises(ServiceValidationError) as caught:
        await call(hass, active, "decrypt", text="nonsense")
    assert caught.value.translation_key == "cipher_not_encrypted"
    with pytest.raises(ServiceValidationError) as caught:
        await hass.services.async_call(
            DOMAIN, "pepeunit_update_env", {"device_id": "none"}, blocking=True
        )
    assert caught.value.translation_key == "no_unit"
    with pytest.raises(Unauthorized):
        await hass.services.async_call(
            DOMAIN,
            "pepeunit_get_state_storage",
            {"device_id": "none"},
            blocking=True,
            return_response=True,
            context=Context(user_id=hass_read_only_user.id),
        )


# What is kept, and what is shown


async def test_nothing_secret_is_in_the_entry_or_in_the_diagnostics(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    kept = json.dumps([dict(each.data) for each in account.subentries.values()])
    told = json.dumps(await async_get_config_entry_diagnostics(hass, account), default=str)
    for secret in (unit.token, unit.secret_key, unit.encrypt_key):
        assert secret not in kept
        assert secret not in told
    assert unit.uuid not in told
    assert active.diagnostics()["readable"]


async def test_a_token_that_travels_readable_stays_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    await add_unit(hass, account, pepeunit, unit)
    assert "pepeunit_readable" in cards(hass)


async def test_a_unit_that_pepeunit_refuses_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    pepeunit.refusing = (403, "deleted")
    await pepeunit.command(unit, "Update")
    await until(lambda: "pepeunit_refused" in cards(hass))
    pepeunit.refusing = None
    await pepeunit.command(unit, "Update")
    await until(lambda: "pepeunit_refused" not in cards(hass))

    pepeunit.gate.allowed.clear()
    await pepeunit.gate.drop()
    await until(lambda: "pepeunit_refused" in cards(hass))
    assert active.destination.state is ConnectionState.CREDENTIALS_REFUSED


async def test_an_input_that_may_not_be_heard_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    pepeunit.allow(denied=(unit.topic("lamp"),))
    await add_unit(hass, account, pepeunit, unit, inputs=[{"node": "lamp", "shown_as": "event"}])
    card = cards(hass)["pepeunit_denied"]
    assert unit.topic("lamp") in str(card.translation_placeholders)


async def test_an_hour_without_pepeunit_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    await pepeunit.broker.astop()
    await pepeunit.gate.drop()
    await until(lambda: active.disconnected_since is not None)
    assert active.disconnected_since is not None
    active.disconnected_since -= 3600
    active.account.changed.notify()
    assert "pepeunit_unreachable" in cards(hass)


async def test_a_client_that_is_the_same_unit_is_a_repair(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    transport = active.destination.link._transport
    with patch.object(type(transport), "state", ConnectionState.CLIENT_ID_CONFLICT):
        active.account.changed.notify()
        assert "pepeunit_conflict" in cards(hass)


async def test_a_unit_that_is_removed_leaves_nothing_behind(
    hass: HomeAssistant,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    hass_storage: dict[str, Any],
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    await active.updates.async_fetch()
    assert unit.token in json.dumps(hass_storage)
    assert active.updates.files.archive.exists()
    hass.config_entries.async_remove_subentry(account, active.id)
    await hass.async_block_till_done()
    assert not active.updates.files.archive.exists()
    assert not [name for name in hass_storage if unit.uuid in name]
    assert unit.token not in json.dumps(hass_storage)
    assert cards(hass) == {}


async def test_a_unit_that_is_being_added_is_not_swept_by_an_account_that_is_loaded(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    keep = UnitFiles.async_keep

    async def keep_and_reload(self: UnitFiles, *schema: Any) -> None:
        await keep(self, *schema)
        await hass.config_entries.async_reload(account.entry_id)

    with patch.object(UnitFiles, "async_keep", keep_and_reload):
        active = await add_unit(hass, account, pepeunit, unit)
    assert active.connected


async def test_lost_files_are_told_and_captures_wait(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    store = active.updates.files.store()
    await hass.config_entries.async_unload(account.entry_id)
    await store.async_remove()
    await hass.config_entries.async_setup(account.entry_id)
    await hass.async_block_till_done()
    assert "pepeunit_files_gone" in cards(hass)
    added = await account.runtime_data.account.outbox.add(log())
    [row] = await account.runtime_data.account.outbox.listing(states=(CaptureState.WAITING,))
    assert row.capture_id == added.capture_id
