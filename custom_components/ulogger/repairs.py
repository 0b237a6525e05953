"""What a person can do about an issue, right from its card."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.components.repairs.const import FlowType
from homeassistant.config_entries import (
    SOURCE_REAUTH,
    ConfigEntry,
    ConfigEntryState,
    ConfigFlowContext,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir

from .account import approval, removal
from .account.firmware_images import FirmwareRefused
from .cloud.pepeunit.errors import ArchiveRefused
from .const import CONF_DEVICE_LIMIT, DOMAIN
from .firmware.matching import ImageKey
from .flows.options_schema import MOST_DEVICES, device_limit_field
from .gateway.gateway import Gateway, UloggerConfigEntry
from .gateway.own_texts import own_reason, own_sentence, own_text
from .gateway.pepeunit import ActivePepeunit
from .model.plain_text import LONGEST_LINE, plain_text
from .model.reason import Reason
from .outbox.errors import OutboxError
from .outbox.model import REFUSED, CaptureState, Row
from .outbox.outbox import Outbox
from .panel.downloads import LINK_VALID, quarantine_path, unit_archive_path
from .repair_flow import EntryFlow, Flow, IssueData, UserInput
from .site_repairs import RedirectFlow, SwitchedOffFlow

ROWS_SHOWN = 20


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: IssueData | None
) -> RepairsFlow:
    """Make the flow that belongs to the issue."""
    kind = issue_id.split("-", 1)[0]
    return FLOWS[kind](data or {})


class CertificateFlow(EntryFlow):
    """Leads into the flow that takes a new certificate."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask, then go over to the account's reauthentication."""
        return await self.async_step_confirm()

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Start the reauthentication, or join the one that waits already."""
        if user_input is None:
            return self.ask("confirm")
        if (entry := self.entry) is None:
            return self.not_loaded()
        return self.async_abort(
            reason="reauthenticate",
            next_flow=(FlowType.CONFIG_FLOW, await self._reauthentication(entry)),
        )

    async def _reauthentication(self, entry: UloggerConfigEntry) -> str:
        for flow in entry.async_get_active_flows(self.hass, {SOURCE_REAUTH}):
            return flow["flow_id"]
        begun = await self.hass.config_entries.flow.async_init(
            DOMAIN,
            context=ConfigFlowContext(
                source=SOURCE_REAUTH,
                entry_id=entry.entry_id,
                title_placeholders={"name": entry.title},
                unique_id=entry.unique_id,
            ),
            data=dict(entry.data),
        )
        return begun["flow_id"]


class DeniedFlow(EntryFlow):
    """The broker's policy denies a topic: try again, now that somebody has changed it."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Say what the policy lacks."""
        return await self.async_step_confirm()

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Try at once; the card comes back when it is denied still."""
        if user_input is None:
            return self.ask("confirm")
        if (entry := self.entry) is None:
            return self.not_loaded()
        entry.runtime_data.async_forgive()
        return self.async_create_entry(data={})


class QuarantineFlow(EntryFlow):
    """Keep, export or discard what can't be delivered."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Show what there is, and ask."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        try:
            rows = await _quarantined(entry.runtime_data.account.outbox)
        except OutboxError as err:
            return self.failed(err)
        lines = [self._line(entry.runtime_data, row) for row in rows[:ROWS_SHOWN]]
        if len(rows) > ROWS_SHOWN:
            lines.append("- …")
        return self.async_show_menu(
            step_id="init",
            menu_options=["export", "retry", "discard", "keep"],
            description_placeholders={"count": str(len(rows)), "captures": "\n".join(lines)},
        )

    def _line(self, gateway: Gateway, row: Row) -> str:
        """Say of one capture whose it is, what it is, and why it can't be delivered."""
        device = gateway.devices.get(row.key)
        name = plain_text(row.key[1] if device is None else device.called, LONGEST_LINE)
        kind = own_text(self.hass, f"selector.capture_kind.options.{row.kind.value}")
        reason = Reason.MESSAGE_REFUSED if row.reason in (None, REFUSED) else row.reason
        why = own_text(self.hass, f"common.fault_{reason}") or own_reason(self.hass, reason)
        return f"- {name}: {kind or row.kind.value}, {row.size} B. {why}"

    async def async_step_keep(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Leave everything as it is, and ask no more until there is more of it."""
        if ir.async_get(self.hass).async_get_issue(self.handler, self.issue_id) is not None:
            ir.async_ignore_issue(self.hass, self.handler, self.issue_id, ignore=True)
        return self.async_abort(reason="kept")

    async def async_step_export(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Hand out a link to a zip of all of it."""
        path = async_sign_path(self.hass, quarantine_path(self._entry_id), LINK_VALID)
        return self.async_abort(reason="exported", description_placeholders={"link": path})

    async def async_step_retry(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Let everything wait for the cloud again."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        return await self._with_each(entry, entry.runtime_data.account.outbox.retry)

    async def async_step_discard(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Delete everything in quarantine, after one more question."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        if user_input is None:
            return self.ask("discard")
        return await self._with_each(entry, entry.runtime_data.account.outbox.discard)

    async def _with_each(
        self, entry: UloggerConfigEntry, do: Callable[[int], Awaitable[bool]]
    ) -> RepairsFlowResult:
        gateway = entry.runtime_data
        try:
            for row in await _quarantined(gateway.account.outbox):
                await do(row.capture_id)
            await gateway.account.async_refresh_counters()
        except OutboxError as err:
            return self.failed(err)
        gateway.async_forgive()
        return self.async_create_entry(data={})


class RecoveredFlow(EntryFlow):
    """Take note that the outbox was damaged."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Show what became of it."""
        return await self.async_step_confirm()

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Dismiss the note; the file set aside stays."""
        if user_input is None:
            return self.ask("confirm")
        if (entry := self.entry) is None:
            return self.not_loaded()
        try:
            await entry.runtime_data.account.outbox.dismiss_recovery()
        except OutboxError as err:
            return self.failed(err)
        entry.runtime_data.account.changed.notify()
        return self.async_create_entry(data={})


class _NewcomersFlow(EntryFlow):
    """New devices are turned away: let them in, or leave it at that."""

    def menu(self, choice: str, **placeholders: str) -> RepairsFlowResult:
        """Ask, with *choice* as the way to let them in."""
        return self.async_show_menu(
            step_id="init",
            menu_options=[choice, "leave"],
            description_placeholders={**self.placeholders, **placeholders},
        )

    async def async_step_leave(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask no more until this has been over."""
        if ir.async_get(self.hass).async_get_issue(self.handler, self.issue_id) is not None:
            ir.async_ignore_issue(self.hass, self.handler, self.issue_id, ignore=True)
        return self.async_abort(reason="left")


class DeviceLimitFlow(_NewcomersFlow):
    """The account has as many devices as it may take in."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Show who waits, and ask."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        waiting = entry.runtime_data.fleet.waiting()
        lines = [
            f"- {plain_text(record.name)}, {plain_text(record.identity.serial)} ({record.address})"
            for record in waiting[:ROWS_SHOWN]
        ]
        if len(waiting) > ROWS_SHOWN:
            lines.append("- …")
        return self.menu("raise", devices="\n".join(lines))

    async def async_step_raise(
        self, user_input: Mapping[str, Any] | None = None
    ) -> RepairsFlowResult:
        """Take a higher limit; who waits and is in range comes in with it."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        gateway = entry.runtime_data
        devices = len(gateway.devices)
        limit = None if user_input is None else user_input[CONF_DEVICE_LIMIT]
        if limit is None or not devices < limit <= max(devices + 1, MOST_DEVICES):
            field = probatio.Required(
                CONF_DEVICE_LIMIT, default=devices + len(gateway.fleet.waiting())
            )
            return self.async_show_form(
                step_id="raise",
                data_schema=probatio.Schema({field: device_limit_field(devices + 1)}),
                errors={} if limit is None else {CONF_DEVICE_LIMIT: "device_limit_bounds"},
                description_placeholders={**self.placeholders, "least": str(devices + 1)},
            )
        self.hass.config_entries.async_update_entry(
            entry, options={**entry.options, CONF_DEVICE_LIMIT: limit}
        )
        # An account reads its options once; loaded anew, it takes in who waits in range.
        self.hass.config_entries.async_schedule_reload(entry.entry_id)
        return self.async_create_entry(data={})


class NewDevicesAtAddressFlow(_NewcomersFlow):
    """A device says another serial each time."""

    def __init__(self, data: IssueData) -> None:
        super().__init__(data)
        self._address = str(data["about"])

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask."""
        if self.entry is None:
            return self.not_loaded()
        return self.menu("allow")

    async def async_step_allow(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Take in as many again."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        gateway = entry.runtime_data
        gateway.fleet.allow_at(self._address)
        gateway.account.changed.notify()
        return self.async_create_entry(data={})


class UnitFirmwareFlow(EntryFlow):
    """A unit's program was fetched: download it, take it as a firmware image, or put it away."""

    def __init__(self, data: IssueData) -> None:
        super().__init__(data)
        self._unit_id = str(data["about"])

    @property
    def unit(self) -> ActivePepeunit | None:
        """The unit, unless it is gone."""
        entry = self.entry
        found = None if entry is None else entry.runtime_data.destinations.get(self._unit_id)
        return found if isinstance(found, ActivePepeunit) else None

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask; images are offered where there are any."""
        if (unit := self.unit) is None:
            return self.not_loaded()
        image = ["image"] if unit.updates.images else []
        return self.async_show_menu(
            step_id="init",
            menu_options=["download", *image, "put_away"],
            description_placeholders=self.placeholders,
        )

    async def async_step_download(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Hand out a link to a zip of it; the card stays."""
        path = async_sign_path(
            self.hass, unit_archive_path(self._entry_id, self._unit_id), LINK_VALID
        )
        return self.async_abort(reason="exported", description_placeholders={"link": path})

    async def async_step_image(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Keep every image that is in it as a firmware image of the account."""
        if (entry := self.entry) is None or (unit := self.unit) is None:
            return self.not_loaded()
        try:
            archive = await unit.updates.async_fetched()
            for name in archive.images:
                content = archive.files[name]
                await entry.runtime_data.images.async_add(partial(bytes, content), ImageKey(), name)
        except FirmwareRefused as err:
            said = own_sentence(self.hass, err.reason, file=name, path=name)
            return self._image_refused(said)
        except ArchiveRefused as err:
            said = own_sentence(self.hass, err.problem, device=entry.title, detail=err.detail)
            return self._image_refused(said)
        await unit.updates.async_put_away()
        return self.async_create_entry(data={})

    def _image_refused(self, why: str) -> RepairsFlowResult:
        placeholders = {"detail": plain_text(why, LONGEST_LINE)}
        return self.async_abort(reason="image_refused", description_placeholders=placeholders)

    async def async_step_put_away(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Delete the archive."""
        if (unit := self.unit) is None:
            return self.not_loaded()
        await unit.updates.async_put_away()
        return self.async_create_entry(data={})


class ApplicationConflictFlow(EntryFlow):
    """Two accounts were given one application: a person says whose it is."""

    def __init__(self, data: IssueData) -> None:
        super().__init__(data)
        self._application = int(str(data["about"]))

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask."""
        if self.entry is None:
            return self.not_loaded()
        return self.async_show_menu(
            step_id="init",
            menu_options=["keep", "move"],
            description_placeholders=self.placeholders,
        )

    async def async_step_keep(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Leave the application with the account that collects it now."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        self._withdraw(entry)
        return self.async_create_entry(data={})

    async def async_step_move(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Move its devices to this account; what waits stays with the account that took it."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        others = [each for each in self._claiming() if each is not entry]
        for other in others:
            self._withdraw(other)
        # Devices that this account has met are taken in where it is set up anew.
        self.hass.config_entries.async_schedule_reload(entry.entry_id)
        return self.async_create_entry(data={})

    def _claiming(self) -> list[ConfigEntry[Any]]:
        entries = self.hass.config_entries.async_entries(DOMAIN, include_ignore=False)
        return [each for each in entries if approval.is_approved(each.options, self._application)]

    def _withdraw(self, entry: ConfigEntry[Any]) -> None:
        """Take the application from an account, and end what it does with its devices."""
        options = approval.without_application(entry.options, self._application)
        self.hass.config_entries.async_update_entry(entry, options=options)
        if entry.state is ConfigEntryState.LOADED:
            self.hass.config_entries.async_schedule_reload(entry.entry_id)


class LeftBehindFlow(Flow):
    """An account was removed while captures waited: keep them for later, or delete them."""

    def __init__(self, data: IssueData) -> None:
        self._data = data

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask."""
        return self.async_show_menu(
            step_id="init",
            menu_options=["keep", "discard"],
            description_placeholders=self.placeholders,
        )

    async def async_step_keep(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Keep the outbox; the same account, added again, takes it over. That settles it."""
        ir.async_delete_issue(self.hass, self.handler, self.issue_id)
        return self.async_abort(reason="kept")

    async def async_step_discard(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Delete the outbox, after one more question."""
        if user_input is None:
            return self.ask("discard")
        await removal.async_discard(self.hass, str(self._data["account"]))
        return self.async_create_entry(data={})


async def _quarantined(outbox: Outbox) -> list[Row]:
    return await outbox.listing(states=(CaptureState.QUARANTINED,))


FLOWS = {
    "application_conflict": ApplicationConflictFlow,
    "certificate_expired": CertificateFlow,
    "certificate_expires": CertificateFlow,
    "certificate_refused": CertificateFlow,
    "clesyde_denied": DeniedFlow,
    "device_limit": DeviceLimitFlow,
    "left_behind": LeftBehindFlow,
    "new_devices_at_address": NewDevicesAtAddressFlow,
    "outbox_recovered": RecoveredFlow,
    "pepeunit_denied": DeniedFlow,
    "pepeunit_firmware": UnitFirmwareFlow,
    "quarantine": QuarantineFlow,
    "registration_denied": DeniedFlow,
    "topic_denied": DeniedFlow,
    "udmi_shut_down": SwitchedOffFlow,
    "udmi_redirect": RedirectFlow,
}
