"""A thing at Clesyde is registered or uploaded and checked; what fails leaves nothing behind."""

from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import instance_id
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.destination_keys import async_keep_keys
from custom_components.ulogger.account.key_store import SecretsNotKept
from custom_components.ulogger.cloud.clesyde.errors import ThingError
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import clesyde_checks, clesyde_flow
from demo.clesyde.platform import TOKEN, LocalClesyde
from demo.cloud.certificates import Issued
from tests.support.clesyde import NO_TOPICS, RAW, SERIAL, clesyde, register
from tests.support.flows import (
    Upload,
    add_destination,
    answer,
    expect_abort,
    expect_form,
    suggestions,
)

__all__ = ["clesyde"]

pytestmark = pytest.mark.usefixtures("set_up")


@pytest.fixture
def account(hass: HomeAssistant) -> MockConfigEntry:
    """An account; what it is connected to is no matter here."""
    return add_account(hass, 42)


def add_account(hass: HomeAssistant, customer_id: int) -> MockConfigEntry:
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id=f"{customer_id}-0",
        data={"connection": "mqtt", "client_suffix": f"5eed{customer_id:04}"},
    )
    entry.add_to_hass(hass)
    return entry


def kept(hass_storage: dict[str, Any]) -> list[str]:
    """Name the files of keys."""
    return [name for name in hass_storage if name.endswith(".destinations")]


async def test_a_serial_is_proposed_and_nothing_secret_is_in_the_entry(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    menu = await add_destination(hass, account.entry_id, "clesyde")
    assert menu["type"] is FlowResultType.MENU
    form = await answer(hass, menu, next_step_id="provision")
    expect_form(form, "provision", destination="clesyde")
    own = await instance_id.async_get(hass)
    assert suggestions(form)["serial"] == f"ha-{own[:12]}"
    form = await answer(hass, form, api=clesyde.api, serial=SERIAL, token=TOKEN)
    expect_form(form, "captures", destination="clesyde")
    assert not kept(hass_storage)
    done = await answer(hass, form, **NO_TOPICS)
    assert done["type"] is FlowResultType.CREATE_ENTRY
    [subentry] = account.subentries.values()
    assert subentry.title == f"Clesyde {SERIAL}"
    assert TOKEN not in str(dict(subentry.data))
    assert "PRIVATE KEY" not in str(dict(subentry.data))
    [name] = kept(hass_storage)
    [stored] = hass_storage[name]["data"].values()
    assert stored["thing"]["iot"]["key"] == clesyde.devices[SERIAL].iot.private_key
    assert stored["remote_access"] is False


@pytest.mark.parametrize(
    ("typed", "errors"),
    [
        ({"token": "wrong"}, {"token": "token_refused"}),
        ({"serial": "a/b"}, {"serial": "serial_invalid"}),
        ({"api": "nonsense"}, {"api": "url_invalid"}),
        ({"api": "http://api.example"}, {"api": "url_unencrypted"}),
        ({"api": "http://127.0.0.1:9"}, {"api": "api_unreachable"}),
    ],
)
async def test_what_is_typed_wrong_is_named(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
    typed: dict[str, str],
    errors: dict[str, str],
) -> None:
    form = await register(hass, account, clesyde, **typed)
    expect_form(form, "provision", errors, destination="clesyde")
    assert not kept(hass_storage)
    assert not account.subentries


async def test_keys_that_the_disk_takes_half_stay_nowhere(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    async def half(*given: Any) -> None:
        await async_keep_keys(*given)
        raise SecretsNotKept("told so")

    form = await register(hass, account, clesyde)
    with patch("custom_components.ulogger.flows.clesyde_flow.async_keep_keys", half):
        form = await answer(hass, form, **NO_TOPICS)
    expect_form(form, "captures", {"base": "secrets_not_kept"}, destination="clesyde")
    assert not kept(hass_storage)
    assert not account.subentries


@pytest.mark.parametrize(
    "reason",
    ["registration_refused", "api_failed", "api_not_there", "answer_invalid", "key_mismatch"],
)
async def test_a_registration_that_fails_leaves_nothing_behind(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
    reason: str,
) -> None:
    def other_key(answered: dict[str, Any]) -> dict[str, Any]:
        foreign = Issued.by(clesyde.broker.authority.issuer, "other.invalid")
        answered["registration"]["thing"]["iot"]["keyPair"]["privateKey"] = foreign.private_key
        return answered

    match reason:
        case "registration_refused":
            clesyde.refuse = "too many devices"
        case "api_failed":
            clesyde.status = 500
        case "api_not_there":
            clesyde.status = 404
        case "answer_invalid":
            clesyde.answer = lambda _: {"registration": {"error": None, "thing": {}}}
        case _:
            clesyde.answer = other_key
    form = await register(hass, account, clesyde)
    field = "api" if reason == "api_not_there" else "base"
    expect_form(form, "provision", {field: reason}, destination="clesyde")
    assert not kept(hass_storage)
    # What was wrong is mended; the same form goes on.
    clesyde.refuse, clesyde.status, clesyde.answer = None, 200, lambda answered: answered
    form = await answer(hass, form, api=clesyde.api, serial=SERIAL, token=TOKEN)
    expect_form(form, "captures", destination="clesyde")


async def test_a_broker_that_can_not_be_reached_costs_no_second_token(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    await clesyde.broker.astop()
    form = await register(hass, account, clesyde)
    expect_form(form, "provision", {"base": "cannot_connect"}, destination="clesyde")
    assert not kept(hass_storage)
    first = clesyde.devices[SERIAL]
    await clesyde.broker.astart()
    form = await answer(hass, form, api=clesyde.api, serial=SERIAL, token=TOKEN)
    expect_form(form, "captures", destination="clesyde")
    assert clesyde.devices[SERIAL] is first


@pytest.mark.parametrize("topic", ["a b", "status", "a/+/b", "a/b/c/d", "remotecr/x", "/a"])
async def test_a_topic_that_can_not_be_is_refused(
    hass: HomeAssistant, account: MockConfigEntry, clesyde: LocalClesyde, topic: str
) -> None:
    form = await register(hass, account, clesyde)
    form = await answer(hass, form, **{**RAW, "logs_topic": topic})
    expect_form(form, "captures", {"logs_topic": "topic_invalid"}, destination="clesyde")


async def test_one_thing_is_one_destination(
    hass: HomeAssistant, account: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    form = await register(hass, account, clesyde)
    await answer(hass, form, **NO_TOPICS)
    other = add_account(hass, 43)
    expect_abort(await register(hass, other, clesyde), "already_configured", destination="clesyde")


async def uploaded(upload: Upload, clesyde: LocalClesyde, **changed: str) -> dict[str, str]:
    device = clesyde.provision(SERIAL)
    files = {**clesyde.files(device), **changed}
    typed = {"serial": SERIAL, "config": await upload(files["cloud_config.json"])}
    for name in ("iot_ca", "iot_cert", "iot_key", "remote_cert", "remote_key"):
        typed[name] = await upload(files[f"{name}.pem"])
    return typed


async def test_a_provisioned_folder_is_taken(
    hass: HomeAssistant, account: MockConfigEntry, clesyde: LocalClesyde, upload: Upload
) -> None:
    menu = await add_destination(hass, account.entry_id, "clesyde")
    form = await answer(hass, menu, next_step_id="upload")
    expect_form(form, "upload", destination="clesyde")
    form = await answer(hass, form, **await uploaded(upload, clesyde))
    expect_form(form, "captures", destination="clesyde")
    assert (await answer(hass, form, **RAW))["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize(
    ("file", "content", "errors"),
    [
        ("cloud_config.json", "{}", {"base": "config_invalid"}),
        ("iot_cert.pem", "nothing", {"iot_cert": "not_pem"}),
        ("iot_ca.pem", "nothing", {"iot_ca": "not_pem"}),
        ("remote_key.pem", "nothing", {"remote_cert": "not_pem"}),
    ],
)
async def test_a_file_that_is_wrong_is_named(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    upload: Upload,
    file: str,
    content: str,
    errors: dict[str, str],
) -> None:
    menu = await add_destination(hass, account.entry_id, "clesyde")
    form = await answer(hass, menu, next_step_id="upload")
    form = await answer(hass, form, **await uploaded(upload, clesyde, **{file: content}))
    expect_form(form, "upload", errors, destination="clesyde")


async def test_a_thing_is_registered_anew_and_its_topics_stay(
    hass: HomeAssistant,
    account: MockConfigEntry,
    clesyde: LocalClesyde,
    hass_storage: dict[str, Any],
) -> None:
    form = await register(hass, account, clesyde)
    await answer(hass, form, **RAW)
    [subentry] = account.subentries.values()
    before = subentry.data["keys"]
    menu = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    form = await answer(hass, menu, next_step_id="provision")
    assert suggestions(form) == {"api": clesyde.api, "serial": SERIAL}
    done = await answer(hass, form, api=clesyde.api, serial=SERIAL, token=TOKEN)
    expect_abort(done, "reconfigure_successful", own=False, destination="clesyde")
    [subentry] = account.subentries.values()
    assert subentry.data["keys"] != before
    assert subentry.data["logs_topic"] == "up/logs"


@pytest.fixture
async def upload_form(
    hass: HomeAssistant, account: MockConfigEntry, clesyde: LocalClesyde
) -> dict[str, Any]:
    """Return the form for the folder of a thing that is registered already."""
    menu = await add_destination(hass, account.entry_id, "clesyde")
    form: dict[str, Any] = await answer(hass, menu, next_step_id="upload")
    return form


async def test_a_file_that_is_gone_is_asked_for_again(
    hass: HomeAssistant, upload_form: dict[str, Any], clesyde: LocalClesyde, upload: Upload
) -> None:
    typed = await uploaded(upload, clesyde)
    form = await answer(hass, upload_form, **{**typed, "iot_key": "0" * 32})
    expect_form(form, "upload", {"base": "upload_gone"}, destination="clesyde")


async def test_an_uploaded_thing_is_tried_on_its_broker(
    hass: HomeAssistant, upload_form: dict[str, Any], clesyde: LocalClesyde, upload: Upload
) -> None:
    typed = await uploaded(upload, clesyde)
    await clesyde.broker.astop()
    form = await answer(hass, upload_form, **typed)
    expect_form(form, "upload", {"base": "cannot_connect"}, destination="clesyde")
    await clesyde.broker.astart()
    expect_form(await answer(hass, form, **typed), "captures", destination="clesyde")


async def test_keys_that_the_disk_does_not_take_make_no_destination(
    hass: HomeAssistant, account: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    form = await register(hass, account, clesyde)
    full = patch.object(clesyde_flow, "async_keep_keys", side_effect=SecretsNotKept("full"))
    with full:
        form = await answer(hass, form, **NO_TOPICS)
    expect_form(form, "captures", {"base": "secrets_not_kept"}, destination="clesyde")
    assert not account.subentries
    assert (await answer(hass, form, **NO_TOPICS))["type"] is FlowResultType.CREATE_ENTRY
    [subentry] = account.subentries.values()
    before = dict(subentry.data)
    menu = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    form = await answer(hass, menu, next_step_id="provision")
    with full:
        done = await answer(hass, form, api=clesyde.api, serial=SERIAL, token=TOKEN)
    expect_abort(done, "secrets_not_kept", destination="clesyde")
    assert dict(next(iter(account.subentries.values())).data) == before


async def test_a_certificate_that_makes_no_connection_is_named(
    hass: HomeAssistant, account: MockConfigEntry, clesyde: LocalClesyde
) -> None:
    unusable = ThingError("key_mismatch", "they do not belong together", field="iot_cert")
    with patch.object(clesyde_checks, "client_context", side_effect=unusable):
        form = await register(hass, account, clesyde)
    expect_form(form, "provision", {"base": "key_mismatch"}, destination="clesyde")
