"""What automations ask of a Pepeunit unit, and who may."""

import json
from unittest.mock import patch

import pytest
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError, Unauthorized
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser

from custom_components.ulogger.account.key_store import SecretsNotKept
from custom_components.ulogger.account.unit_files import UnitFiles
from custom_components.ulogger.const import DOMAIN
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from tests.support.pepeunit import (
    add_unit,
    call,
    pepeunit,
    unit,
)

__all__ = ["pepeunit", "unit"]


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
async def test_a_refusal_of_the_api_is_an_error_that_says_what_to_do_and_the_log_says_why(
    hass: HomeAssistant,
    caplog: pytest.LogCaptureFixture,
    account: MockConfigEntry,
    pepeunit: LocalPepeunit,
    unit: Unit,
    status: int,
    kind: type[Exception],
    key: str,
) -> None:
    caplog.set_level("INFO")
    active = await add_unit(hass, account, pepeunit, unit)
    pepeunit.refusing = (status, "because")
    with pytest.raises(kind) as caught:
        await call(hass, active, "get_state_storage")
    assert caught.value.translation_key == key  # type: ignore[attr-defined]
    assert active.title in str(caught.value)
    # Whoever asked for something invalid has to know what of it.
    assert ("because" in str(caught.value)) is (status == 422)
    assert f"{active.title}: {key}: because ({key})" in caplog.text


async def test_what_is_no_uuid_and_a_full_disk_are_told_in_words(
    hass: HomeAssistant, account: MockConfigEntry, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    active = await add_unit(hass, account, pepeunit, unit)
    with pytest.raises(ServiceValidationError, match=r"'\.\./units' is no UUID"):
        await call(hass, active, "find_inputs", node="../units", limit=1, offset=0)
    unit.env_override = {"PU_MIN_LOG_LEVEL": "Error"}
    full = SecretsNotKept("the disk did not take them")
    with (
        patch.object(UnitFiles, "async_keep_env", side_effect=full),
        pytest.raises(HomeAssistantError, match="The disk did not take the files"),
    ):
        await call(hass, active, "update_env")


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
