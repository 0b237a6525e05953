"""What a person can do from a repair's card: each way through each flow, over HTTP as in the UI."""

import io
import zipfile
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import MessageRefused
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.outbox.errors import DiskFailed
from custom_components.ulogger.outbox.model import REFUSED, CaptureState
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import CRASH_LOG, SENSOR, ToldTransport, core_dump, load, log, meet
from tests.support.language import speak
from tests.support.outbox_world import queue
from tests.support.repairs import card, client, kinds

__all__ = ["client"]

# The certificate


@pytest.mark.parametrize(
    ("days", "kind"), [(10, "certificate_expires"), (-1, "certificate_expired")]
)
async def test_a_certificate_near_its_end_leads_into_a_new_reauthentication(
    hass: HomeAssistant, client: Any, transport: ToldTransport, days: int, kind: str
) -> None:
    entry = await load(hass, days=days)
    repair = card(hass, client, kind)
    step = await repair.open()
    assert step["step_id"] == "confirm"
    ended = await repair.answer(step)
    (flow,) = hass.config_entries.flow.async_progress()
    assert ended["next_flow"] == ["config_flow", flow["flow_id"]]
    assert flow["context"]["source"] == SOURCE_REAUTH
    assert flow["context"]["entry_id"] == entry.entry_id
    assert flow["step_id"] == "reauth_confirm"
    assert kinds(hass) == [kind]


async def test_a_refused_certificate_leads_into_the_reauthentication_that_waits_already(
    hass: HomeAssistant,
    client: Any,
    account: MockConfigEntry,
    transport: ToldTransport,
    freezer: FrozenDateTimeFactory,
) -> None:
    transport.tell(ConnectionState.CREDENTIALS_REFUSED)
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
    # Home Assistant's own card is there; ours is for when that one is gone.
    assert kinds(hass) == []
    ir.async_delete_issue(hass, "homeassistant", f"config_entry_reauth_ulogger_{account.entry_id}")
    freezer.tick(60)
    async_fire_time_changed(hass)
    await hass.async_block_till_done()
    repair = card(hass, client, "certificate_refused")
    ended = await repair.answer(await repair.open())
    assert ended["next_flow"] == ["config_flow", flow["flow_id"]]
    assert len(hass.config_entries.flow.async_progress()) == 1


async def test_an_account_that_went_meanwhile_can_not_be_reauthenticated(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    entry = await load(hass, days=10)
    repair = card(hass, client, "certificate_expires")
    step = await repair.open()
    await hass.config_entries.async_unload(entry.entry_id)
    assert (await repair.answer(step))["reason"] == "account_not_loaded"


# What the policy lacks


@pytest.mark.parametrize(
    ("topic", "kind"),
    [("core-dump/v0/42/0", "topic_denied"), ("boot/v0/42/0/7", "registration_denied")],
)
async def test_a_denied_topic_is_tried_at_once_when_somebody_says_so(
    hass: HomeAssistant,
    client: Any,
    account: MockConfigEntry,
    transport: ToldTransport,
    topic: str,
    kind: str,
) -> None:
    transport.deny(topic)
    repair = card(hass, client, kind)
    step = await repair.open()
    assert topic in step["description_placeholders"]["topic"]
    assert (await repair.answer(step))["type"] == "create_entry"
    assert transport.forgiven == 1
    assert kinds(hass) == []
    # Denied still, it comes back.
    transport.deny(topic)
    assert kinds(hass) == [kind]


async def test_a_denied_topic_of_an_account_that_went_can_not_be_tried(
    hass: HomeAssistant, client: Any, account: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.deny("core-dump/v0/42/0")
    repair = card(hass, client, "topic_denied")
    step = await repair.open()
    await hass.config_entries.async_unload(account.entry_id)
    assert (await repair.answer(step))["reason"] == "account_not_loaded"


# Quarantine


@pytest.fixture
async def quarantine(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> Outbox:
    """Put two captures into quarantine; the cloud is away meanwhile."""
    outbox: Outbox = account.runtime_data.account.outbox
    transport.tell(ConnectionState.DISCONNECTED)
    for capture in (log(), core_dump()):
        added = await outbox.add(capture)
        await queue(outbox).quarantine(added.capture_id, REFUSED)
    transport.tell(ConnectionState.CONNECTED)
    await account.runtime_data.account.async_refresh_counters()
    return outbox


async def states(outbox: Outbox) -> list[CaptureState]:
    return [row.state for row in await outbox.listing()]


async def test_the_card_lists_what_is_in_quarantine(
    hass: HomeAssistant, client: Any, quarantine: Outbox
) -> None:
    menu = await card(hass, client, "quarantine").open()
    shown = menu["description_placeholders"]
    assert shown["count"] == "2"
    refused = "The cloud refused the capture"
    assert f"- A87DE76F0011: Log, {len(CRASH_LOG)} B. {refused}" in shown["captures"]
    assert "- A87DE76F0011: Core dump, " in shown["captures"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (CaptureFault.CHECKSUM, "Die Prüfsumme"),
        (CaptureFault.TOO_LONG, "Sie ist länger, als geholt werden kann"),
    ],
)
async def test_the_list_is_in_the_language_of_the_house_and_calls_the_device_as_its_user_does(
    hass: HomeAssistant,
    client: Any,
    account: MockConfigEntry,
    fault: CaptureFault,
    said: str,
) -> None:
    await speak(hass, "de")
    device = meet(account)
    found = dr.async_get(hass).async_get_device_by_identifier(device.identifier, account.entry_id)
    assert found is not None
    dr.async_get(hass).async_update_device(found.id, name_by_user="Keller")
    await account.runtime_data.account.outbox.add(log(fault=fault))
    await account.runtime_data.account.async_refresh_counters()
    menu = await card(hass, client, "quarantine").open()
    shown = menu["description_placeholders"]["captures"]
    assert shown.startswith(f"- Keller: Log, {len(log().data)} B. {said}")


async def test_a_serial_in_the_list_is_text_whatever_it_looks_like(
    hass: HomeAssistant, client: Any, account: MockConfigEntry
) -> None:
    identity = replace(SENSOR, serial="![x](www.evil.invalid)<b>")
    added = await account.runtime_data.account.outbox.add(log(identity))
    await queue(account.runtime_data.account.outbox).quarantine(added.capture_id, REFUSED)
    await account.runtime_data.account.async_refresh_counters()
    menu = await card(hass, client, "quarantine").open()
    assert menu["description_placeholders"]["captures"].startswith(
        "- ! x (www evil.invalid) b: Log, "
    )


async def test_a_long_quarantine_is_listed_in_part(
    hass: HomeAssistant, client: Any, account: MockConfigEntry, quarantine: Outbox
) -> None:
    with patch("custom_components.ulogger.repairs.ROWS_SHOWN", 1):
        menu = await card(hass, client, "quarantine").open()
    assert menu["description_placeholders"]["captures"].endswith("\n- …")


async def test_a_quarantine_that_was_emptied_meanwhile_can_be_kept_all_the_same(
    hass: HomeAssistant, client: Any, account: MockConfigEntry, quarantine: Outbox
) -> None:
    repair = card(hass, client, "quarantine")
    menu = await repair.open()
    ir.async_delete_issue(hass, repair.issue.domain, repair.issue.issue_id)
    assert (await repair.answer(menu, next_step_id="keep"))["reason"] == "kept"


def dismissed(hass: HomeAssistant, kind: str) -> bool:
    """Say whether the card of a kind is ignored."""
    (issue,) = (each for each in ir.async_get(hass).issues.values() if each.translation_key == kind)
    return issue.dismissed_version is not None


async def test_a_quarantine_can_be_kept(
    hass: HomeAssistant, client: Any, quarantine: Outbox
) -> None:
    repair = card(hass, client, "quarantine")
    ended = await repair.answer(await repair.open(), next_step_id="keep")
    assert ended["reason"] == "kept"
    assert await states(quarantine) == [CaptureState.QUARANTINED] * 2
    assert [dismissed(hass, "quarantine")] == [True]
    gateway = hass.config_entries.async_loaded_entries(DOMAIN)[0].runtime_data
    await gateway.account.async_refresh_counters()
    assert [dismissed(hass, "quarantine")] == [True]
    # More of it is something else.
    await quarantine.add(
        Capture(CaptureKind.LOG, SENSOR, b"\xff\xfe", 1_790_000_300.0, CaptureFault.CHECKSUM)
    )
    await gateway.account.async_refresh_counters()
    assert [dismissed(hass, "quarantine")] == [False]


async def test_a_quarantine_can_be_exported_without_a_session_of_ones_own(
    hass: HomeAssistant, client: Any, quarantine: Outbox, hass_client_no_auth: Any
) -> None:
    repair = card(hass, client, "quarantine")
    ended = await repair.answer(await repair.open(), next_step_id="export")
    assert ended["reason"] == "exported"
    anybody = await hass_client_no_auth()
    response = await anybody.get(ended["description_placeholders"]["link"])
    assert response.status == 200
    with zipfile.ZipFile(io.BytesIO(await response.read())) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert sorted(contents) == sorted([log().data, core_dump().data])
    assert kinds(hass) == ["quarantine"]


async def test_a_quarantine_can_be_delivered_after_all(
    hass: HomeAssistant, client: Any, quarantine: Outbox, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "quarantine")
    ended = await repair.answer(await repair.open(), next_step_id="retry")
    assert ended["type"] == "create_entry"
    assert kinds(hass) == []
    ids = [row.capture_id for row in await quarantine.listing()]
    key = log().device.key
    assert await account.runtime_data.destinations["ulogger"].delivery.wait_delivered(
        key, ids, 10
    ) == set(ids)


async def test_what_is_refused_again_comes_back(
    hass: HomeAssistant,
    client: Any,
    quarantine: Outbox,
    account: MockConfigEntry,
    transport: ToldTransport,
) -> None:
    transport.refusal = MessageRefused("still not")
    repair = card(hass, client, "quarantine")
    await repair.answer(await repair.open(), next_step_id="retry")
    for row in await quarantine.listing():
        await queue(quarantine).quarantine(row.capture_id, REFUSED)
    await account.runtime_data.account.async_refresh_counters()
    assert kinds(hass) == ["quarantine"]


async def test_a_quarantine_is_discarded_only_after_a_second_question(
    hass: HomeAssistant, client: Any, quarantine: Outbox
) -> None:
    repair = card(hass, client, "quarantine")
    question = await repair.answer(await repair.open(), next_step_id="discard")
    assert question["type"] == "form"
    assert question["description_placeholders"]["count"] == "2"
    assert len(await quarantine.listing()) == 2
    ended = await repair.answer(question)
    assert ended["type"] == "create_entry"
    assert await quarantine.listing() == []
    assert kinds(hass) == []


@pytest.mark.parametrize("choice", ["retry", "discard"])
async def test_an_account_that_went_meanwhile_has_no_quarantine(
    hass: HomeAssistant, client: Any, quarantine: Outbox, account: MockConfigEntry, choice: str
) -> None:
    repair = card(hass, client, "quarantine")
    menu = await repair.open()
    await hass.config_entries.async_unload(account.entry_id)
    ended = await repair.answer(menu, next_step_id=choice)
    assert ended["reason"] == "account_not_loaded"


async def test_an_account_that_goes_before_the_card_is_opened_has_no_quarantine(
    hass: HomeAssistant, client: Any, quarantine: Outbox, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "quarantine")
    account.mock_state(hass, ConfigEntryState.UNLOAD_IN_PROGRESS)
    assert (await repair.open())["reason"] == "account_not_loaded"
    account.mock_state(hass, ConfigEntryState.LOADED)


async def test_a_disk_that_fails_is_said_and_the_card_stays(
    hass: HomeAssistant, client: Any, quarantine: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    repair = card(hass, client, "quarantine")
    menu = await repair.open()
    with patch.object(Outbox, "retry", side_effect=DiskFailed("input/output error")):
        ended = await repair.answer(menu, next_step_id="retry")
    assert ended["reason"] == "outbox_failed"
    assert ended["description_placeholders"] == {"detail": "The disk failed"}
    assert "input/output error" in caplog.text
    assert kinds(hass) == ["quarantine"]
    with patch.object(Outbox, "listing", side_effect=DiskFailed("input/output error")):
        assert (await repair.open())["reason"] == "outbox_failed"


# A damaged outbox


async def test_the_note_on_a_damaged_outbox_is_dismissed_for_good(
    hass: HomeAssistant, client: Any, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.write_bytes, b"not a database" * 1000)
    await hass.config_entries.async_setup(account.entry_id)
    repair = card(hass, client, "outbox_recovered")
    question = await repair.open()
    with patch.object(Outbox, "dismiss_recovery", side_effect=DiskFailed("input/output error")):
        assert (await repair.answer(question))["reason"] == "outbox_failed"
    assert (await repair.answer(await repair.open()))["type"] == "create_entry"
    assert kinds(hass) == []
    await hass.config_entries.async_reload(account.entry_id)
    assert kinds(hass) == []
    assert list(path.parent.glob(f"{path.name}.damaged*"))


async def test_an_account_that_went_meanwhile_has_no_note_to_dismiss(
    hass: HomeAssistant, client: Any, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.write_bytes, b"not a database" * 1000)
    await hass.config_entries.async_setup(account.entry_id)
    repair = card(hass, client, "outbox_recovered")
    question = await repair.open()
    await hass.config_entries.async_unload(account.entry_id)
    assert (await repair.answer(question))["reason"] == "account_not_loaded"
