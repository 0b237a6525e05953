"""What a person can do from a repair's card: each way through each flow, over HTTP as in the UI."""

import io
import zipfile
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.account.device_registry import registered_device
from custom_components.ulogger.account.store import outbox_path
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import MessageRefused
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import DiskFailed
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.outbox.outbox import Outbox
from tests.support.account import APPROVED, CRASH_LOG, SENSOR, ToldTransport, core_dump, load, log
from tests.support.bluetooth import ADDRESS
from tests.support.flows import ENGLISH


class Card:
    """One repair, as the frontend opens it."""

    def __init__(self, client: Any, issue: ir.IssueEntry) -> None:
        self.client = client
        self.issue = issue
        self.texts = ENGLISH["issues"][issue.translation_key]["fix_flow"]

    async def open(self) -> dict[str, Any]:
        """Press the card."""
        return await self._post(
            "/api/repairs/issues/fix",
            {"handler": self.issue.domain, "issue_id": self.issue.issue_id},
        )

    async def answer(self, step: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Choose from the menu, or press submit."""
        return await self._post(f"/api/repairs/issues/fix/{step['flow_id']}", given)

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.client.post(url, json=body)
        assert response.status == 200, await response.text()
        step: dict[str, Any] = await response.json()
        self._expect_texts(step)
        return step

    def _expect_texts(self, step: dict[str, Any]) -> None:
        placeholders = step.get("description_placeholders") or {}
        if step["type"] == "abort":
            self.texts["abort"][step["reason"]].format(**placeholders)
        elif step["type"] in {"form", "menu"}:
            texts = self.texts["step"][step["step_id"]]
            texts["title"].format(**placeholders)
            texts["description"].format(**placeholders)
            assert list(texts.get("menu_options", {})) == step.get("menu_options", [])


@pytest.fixture
async def client(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Any:
    for component in (DOMAIN, "repairs"):
        assert await async_setup_component(hass, component, {})
    return await hass_client()


def card(hass: HomeAssistant, client: Any, kind: str) -> Card:
    """Find the card of the only issue of a kind."""
    (found,) = (i for i in ir.async_get(hass).issues.values() if i.translation_key == kind)
    return Card(client, found)


def kinds(hass: HomeAssistant) -> list[str | None]:
    """Name the issues there are."""
    issues = ir.async_get(hass).issues.values()
    return [i.translation_key for i in issues if i.domain == DOMAIN]


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
    hass: HomeAssistant, client: Any, account: MockConfigEntry, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.CREDENTIALS_REFUSED)
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
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
async def quarantine(hass: HomeAssistant, account: MockConfigEntry) -> Outbox:
    """Put two captures into quarantine; the cloud is away."""
    outbox: Outbox = account.runtime_data.account.outbox
    for capture in (log(), core_dump()):
        added = await outbox.add(capture)
        await outbox.quarantine(added.capture_id, CaptureFault.REFUSED)
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
    assert f"- A87DE76F0011: log, {len(CRASH_LOG)} B (refused)" in shown["captures"]
    assert "- A87DE76F0011: core_dump, " in shown["captures"]


async def test_a_serial_in_the_list_is_text_whatever_it_looks_like(
    hass: HomeAssistant, client: Any, account: MockConfigEntry
) -> None:
    identity = replace(SENSOR, serial="![x](www.evil.invalid)<b>")
    added = await account.runtime_data.account.outbox.add(log(identity))
    await account.runtime_data.account.outbox.quarantine(added.capture_id, CaptureFault.REFUSED)
    await account.runtime_data.account.async_refresh_counters()
    menu = await card(hass, client, "quarantine").open()
    assert menu["description_placeholders"]["captures"].startswith(
        "- ! x (www evil.invalid) b: log, "
    )


async def test_a_long_quarantine_is_listed_in_part(
    hass: HomeAssistant, client: Any, account: MockConfigEntry, quarantine: Outbox
) -> None:
    with patch("custom_components.ulogger.repairs.ROWS_SHOWN", 1):
        menu = await card(hass, client, "quarantine").open()
    assert menu["description_placeholders"]["captures"].endswith("\n- …")


async def test_a_quarantine_can_be_kept(
    hass: HomeAssistant, client: Any, quarantine: Outbox
) -> None:
    repair = card(hass, client, "quarantine")
    ended = await repair.answer(await repair.open(), next_step_id="keep")
    assert ended["reason"] == "kept"
    assert kinds(hass) == ["quarantine"]
    assert await states(quarantine) == [CaptureState.QUARANTINED] * 2


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
    assert await account.runtime_data.delivery.wait_delivered(key, ids, 10) == set(ids)


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
        await quarantine.quarantine(row.capture_id, CaptureFault.REFUSED)
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
    hass: HomeAssistant, client: Any, quarantine: Outbox
) -> None:
    repair = card(hass, client, "quarantine")
    menu = await repair.open()
    with patch.object(Outbox, "retry", side_effect=DiskFailed("input/output error")):
        ended = await repair.answer(menu, next_step_id="retry")
    assert ended["reason"] == "outbox_failed"
    assert ended["description_placeholders"] == {"detail": "input/output error"}
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


# New devices that are turned away


def sibling(number: int) -> DeviceIdentity:
    return replace(SENSOR, serial=f"SIBLING{number}")


@pytest.fixture
async def full(hass: HomeAssistant, transport: ToldTransport) -> MockConfigEntry:
    """An account that has met three devices and takes in one."""
    entry = await load(hass, options={**APPROVED, "device_limit": 1})
    for number in range(3):
        entry.runtime_data.fleet.identified(
            sibling(number), f"C0:FF:EE:00:00:1{number}", "uLogger *x*"
        )
    return entry


def in_range(present: bool) -> Any:
    """Have all addresses in range, or none."""
    return patch(
        "custom_components.ulogger.gateway.fleet.bluetooth.async_address_present",
        return_value=present,
    )


async def test_the_card_lists_whom_the_limit_keeps_out(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    assert repair.issue.translation_placeholders == {
        "account": "uLogger 42",
        "limit": "1",
        "count": "2",
    }
    shown = (await repair.open())["description_placeholders"]
    assert shown["devices"] == (
        "- uLogger x, SIBLING1 (C0:FF:EE:00:00:11)\n- uLogger x, SIBLING2 (C0:FF:EE:00:00:12)"
    )
    with patch("custom_components.ulogger.repairs.ROWS_SHOWN", 1):
        menu = await repair.open()
    assert menu["description_placeholders"]["devices"].endswith("(C0:FF:EE:00:00:11)\n- …")


async def test_the_limit_can_be_raised_for_who_waits(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    form = await repair.answer(await repair.open(), next_step_id="raise")
    [field] = form["data_schema"]
    assert field["default"] == 3
    assert field["selector"]["number"]["min"] == 2
    with in_range(True):
        assert (await repair.answer(form, device_limit=3))["type"] == "create_entry"
    assert full.options == {**APPROVED, "device_limit": 3}
    assert len(full.runtime_data.devices) == 3
    assert kinds(hass) == []


async def test_the_limit_can_be_raised_too_little(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    form = await repair.answer(await repair.open(), next_step_id="raise")
    with in_range(True):
        await repair.answer(form, device_limit=2)
    full.runtime_data.account.changed.notify()
    assert card(hass, client, "device_limit").issue.translation_placeholders["count"] == "1"


async def test_the_limit_can_be_left_and_is_asked_for_no_more(
    hass: HomeAssistant, client: Any, full: MockConfigEntry
) -> None:
    repair = card(hass, client, "device_limit")
    ended = await repair.answer(await repair.open(), next_step_id="leave")
    assert ended["reason"] == "left"
    full.runtime_data.fleet.identified(sibling(4), "C0:FF:EE:00:00:14", "uLogger")
    issue = card(hass, client, "device_limit").issue
    assert issue.translation_placeholders["count"] == "3"
    assert issue.dismissed_version is not None
    assert full.options["device_limit"] == 1


@pytest.fixture
async def changing(hass: HomeAssistant, account: MockConfigEntry) -> DeviceCoordinator:
    """Have a device change its serial seven times; a person has named it."""
    for number in range(7):
        account.runtime_data.fleet.identified(sibling(number), ADDRESS, "uLogger")
    last = account.runtime_data.devices[sibling(4).key]
    entry = registered_device(hass, account.entry_id, last.identity)
    assert entry is not None
    dr.async_get(hass).async_update_device(entry.id, name_by_user="Front door")
    account.runtime_data.account.changed.notify()
    return last


async def test_a_device_that_changes_its_serial_is_told_by_its_own_name(
    hass: HomeAssistant, client: Any, changing: DeviceCoordinator, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "new_devices_at_address")
    shown = (await repair.open())["description_placeholders"]
    assert shown == {
        "account": "uLogger 42",
        "address": ADDRESS,
        "device": "Front door",
        "most": "5",
    }
    await account.runtime_data.async_forget(changing.identity.key)
    account.runtime_data.account.changed.notify()
    again = card(hass, client, "new_devices_at_address").issue
    assert again.translation_placeholders["device"] == "uLogger"


async def test_more_devices_can_be_taken_in_at_an_address(
    hass: HomeAssistant, client: Any, changing: DeviceCoordinator, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "new_devices_at_address")
    ended = await repair.answer(await repair.open(), next_step_id="allow")
    assert ended["type"] == "create_entry"
    assert sibling(6).key in account.runtime_data.devices
    assert kinds(hass) == []
    for number in range(7, 11):
        account.runtime_data.fleet.identified(sibling(number), ADDRESS, "uLogger")
        assert sibling(number).key in account.runtime_data.devices
    account.runtime_data.fleet.identified(sibling(11), ADDRESS, "uLogger")
    assert kinds(hass) == ["new_devices_at_address"]


async def test_an_address_can_be_left_and_is_asked_for_no_more(
    hass: HomeAssistant, client: Any, changing: DeviceCoordinator, account: MockConfigEntry
) -> None:
    repair = card(hass, client, "new_devices_at_address")
    ended = await repair.answer(await repair.open(), next_step_id="leave")
    assert ended["reason"] == "left"
    assert await hass.config_entries.async_reload(account.entry_id)
    issue = card(hass, client, "new_devices_at_address").issue
    assert issue.dismissed_version is not None
    assert len(account.runtime_data.devices) == 5


@pytest.mark.parametrize(
    ("kind", "choice"), [("device_limit", "raise"), ("new_devices_at_address", "allow")]
)
async def test_an_account_that_went_meanwhile_takes_in_nobody(
    hass: HomeAssistant, client: Any, full: MockConfigEntry, kind: str, choice: str
) -> None:
    fleet = full.runtime_data.fleet
    for _ in range(5):
        fleet.newcomers.taken_in(ADDRESS)
    assert fleet.newcomers.limit(ADDRESS)
    full.runtime_data.account.changed.notify()
    repair = card(hass, client, kind)
    menu = await repair.open()
    full.mock_state(hass, ConfigEntryState.UNLOAD_IN_PROGRESS)
    assert (await repair.open())["reason"] == "account_not_loaded"
    assert (await repair.answer(menu, next_step_id=choice))["reason"] == "account_not_loaded"
    full.mock_state(hass, ConfigEntryState.LOADED)


# What a removed account left behind


@pytest.fixture
async def left_behind(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    """Remove an account while a capture waits."""
    transport.tell(ConnectionState.DISCONNECTED)
    await account.runtime_data.account.outbox.add(log())
    await hass.config_entries.async_remove(account.entry_id)
    transport.tell(ConnectionState.CONNECTED)


def files(hass: HomeAssistant) -> list[str]:
    """Name the files that the integration has on disk."""
    return sorted(path.name for path in outbox_path(hass, "").parent.iterdir())


@pytest.mark.usefixtures("left_behind")
async def test_captures_of_a_removed_account_can_be_kept_for_when_it_comes_back(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    repair = card(hass, client, "left_behind")
    ended = await repair.answer(await repair.open(), next_step_id="keep")
    assert ended["reason"] == "kept"
    assert kinds(hass) == ["left_behind"]
    entry = await load(hass)
    assert kinds(hass) == []
    (row,) = await entry.runtime_data.account.outbox.listing()
    assert (await entry.runtime_data.account.outbox.read(row.capture_id)).data == CRASH_LOG


@pytest.mark.usefixtures("left_behind")
async def test_another_account_does_not_take_them_over(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    entry = await load(hass, customer_id=43)
    assert kinds(hass) == ["left_behind"]
    assert await entry.runtime_data.account.outbox.listing() == []


@pytest.mark.usefixtures("left_behind")
async def test_captures_of_a_removed_account_are_discarded_only_after_a_second_question(
    hass: HomeAssistant, client: Any
) -> None:
    repair = card(hass, client, "left_behind")
    question = await repair.answer(await repair.open(), next_step_id="discard")
    assert question["type"] == "form"
    assert len(files(hass)) == 1
    assert (await repair.answer(question))["type"] == "create_entry"
    assert kinds(hass) == []
    assert files(hass) == []


async def test_an_account_without_captures_leaves_nothing_behind(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == []
    assert files(hass) == []


async def test_what_was_set_aside_of_a_damaged_outbox_goes_with_it(
    hass: HomeAssistant, account: MockConfigEntry, transport: ToldTransport
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.write_bytes, b"not a database" * 1000)
    await hass.config_entries.async_setup(account.entry_id)
    transport.tell(ConnectionState.DISCONNECTED)
    await account.runtime_data.account.outbox.add(log())
    await hass.config_entries.async_remove(account.entry_id)
    assert all(name.startswith("removed-") for name in files(hass))
    assert any(".damaged-" in name for name in files(hass))


async def test_an_outbox_that_can_not_be_read_is_not_deleted(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    with patch.object(Outbox, "counters", side_effect=DiskFailed("input/output error")):
        await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == ["left_behind"]
    assert files(hass)


async def test_an_account_that_was_never_set_up_leaves_nothing_behind(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    path = outbox_path(hass, account.entry_id)
    await hass.config_entries.async_unload(account.entry_id)
    await hass.async_add_executor_job(path.unlink)
    await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == []
    assert files(hass) == []


async def test_an_outbox_that_can_not_be_opened_is_not_deleted(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    await hass.config_entries.async_unload(account.entry_id)
    with patch.object(Outbox, "open", side_effect=DiskFailed("input/output error")):
        await hass.config_entries.async_remove(account.entry_id)
    assert kinds(hass) == ["left_behind"]
    assert files(hass)


@pytest.mark.usefixtures("left_behind")
async def test_what_one_account_left_behind_does_not_orphan_the_outbox_of_another(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    """An account becomes the one that was removed, by reconfiguration, and is removed itself."""
    transport.tell(ConnectionState.DISCONNECTED)
    other = await load(hass, customer_id=43)
    await other.runtime_data.account.outbox.add(
        replace(log(), data=b"other", fault=CaptureFault.CHECKSUM)
    )
    await hass.config_entries.async_unload(other.entry_id)
    hass.config_entries.async_update_entry(other, unique_id="42-0")
    await hass.config_entries.async_remove(other.entry_id)
    assert kinds(hass) == ["left_behind", "left_behind"]
    assert all(name.startswith("removed-") for name in files(hass))
    entry = await load(hass)
    assert "left_behind" not in kinds(hass)
    outbox = entry.runtime_data.account.outbox
    datas = [(await outbox.read(row.capture_id)).data for row in await outbox.listing()]
    assert sorted(datas) == sorted([CRASH_LOG, b"other"])
    assert all(name.startswith(entry.entry_id) for name in files(hass))


@pytest.mark.usefixtures("left_behind")
async def test_each_outbox_left_behind_is_discarded_by_its_own_card(
    hass: HomeAssistant, client: Any, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    other = await load(hass, customer_id=43)
    await other.runtime_data.account.outbox.add(
        replace(log(), data=b"other", fault=CaptureFault.CHECKSUM)
    )
    await hass.config_entries.async_unload(other.entry_id)
    hass.config_entries.async_update_entry(other, unique_id="42-0")
    await hass.config_entries.async_remove(other.entry_id)
    issues = [each for each in ir.async_get(hass).issues.values() if each.domain == DOMAIN]
    for left, issue in zip((1, 0), issues, strict=True):
        repair = Card(client, issue)
        question = await repair.answer(await repair.open(), next_step_id="discard")
        assert (await repair.answer(question))["type"] == "create_entry"
        assert len(kinds(hass)) == left
        assert len([name for name in files(hass) if name.endswith(".sqlite")]) == left


@pytest.mark.usefixtures("left_behind")
async def test_what_can_not_be_merged_now_stays_where_it_is(
    hass: HomeAssistant, transport: ToldTransport
) -> None:
    transport.tell(ConnectionState.DISCONNECTED)
    other = await load(hass, customer_id=43)
    await hass.config_entries.async_unload(other.entry_id)
    hass.config_entries.async_update_entry(other, unique_id="42-0")
    with patch.object(Outbox, "discard", side_effect=DiskFailed("input/output error")):
        await hass.config_entries.async_setup(other.entry_id)
    assert kinds(hass) == ["left_behind"]
    await hass.config_entries.async_reload(other.entry_id)
    assert kinds(hass) == []
    (row,) = await other.runtime_data.account.outbox.listing()
    assert (await other.runtime_data.account.outbox.read(row.capture_id)).data == CRASH_LOG
