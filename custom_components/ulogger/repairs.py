"""What a person can do about an issue, right from its card."""

from collections.abc import Awaitable, Callable
from typing import cast

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.components.repairs.const import FlowType
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState, ConfigFlowContext
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir

from . import removal
from .const import DOMAIN
from .coordinator import UloggerConfigEntry
from .downloads import LINK_VALID, quarantine_path
from .outbox.errors import OutboxError
from .outbox.model import CaptureState, Row
from .outbox.outbox import Outbox

type IssueData = dict[str, str | int | float | None]
type UserInput = dict[str, str] | None

ROWS_SHOWN = 20


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: IssueData | None
) -> RepairsFlow:
    """Make the flow that belongs to the issue."""
    kind = issue_id.split("-", 1)[0]
    return FLOWS[kind](data or {})


class _Flow(RepairsFlow):
    """What all flows share: the words of the issue go into their texts."""

    @property
    def placeholders(self) -> dict[str, str]:
        """The placeholders of the issue itself."""
        issue = ir.async_get(self.hass).async_get_issue(self.handler, self.issue_id)
        return dict(issue.translation_placeholders or {}) if issue is not None else {}

    def ask(self, step_id: str) -> RepairsFlowResult:
        """Show a step that asks for nothing but a confirmation."""
        return self.async_show_form(
            step_id=step_id,
            data_schema=probatio.Schema({}),
            description_placeholders=self.placeholders,
        )


class _EntryFlow(_Flow):
    """A flow about an account that is loaded."""

    def __init__(self, data: IssueData) -> None:
        self._entry_id = str(data["entry_id"])

    @property
    def entry(self) -> UloggerConfigEntry | None:
        """The account, unless it is gone or not at work."""
        entry = self.hass.config_entries.async_get_entry(self._entry_id)
        if entry is None or entry.state is not ConfigEntryState.LOADED:
            return None
        return cast("UloggerConfigEntry", entry)

    def not_loaded(self) -> RepairsFlowResult:
        """End the flow, because there is no account at work that it could change."""
        return self.async_abort(reason="account_not_loaded")

    def failed(self, err: OutboxError) -> RepairsFlowResult:
        """End the flow, because the disk or the outbox did not do what was asked."""
        return self.async_abort(
            reason="outbox_failed", description_placeholders={"detail": str(err)}
        )


class CertificateFlow(_EntryFlow):
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


class DeniedFlow(_EntryFlow):
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


class QuarantineFlow(_EntryFlow):
    """Keep, export or discard what can't be delivered."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Show what there is, and ask."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        try:
            rows = await _quarantined(entry.runtime_data.outbox)
        except OutboxError as err:
            return self.failed(err)
        lines = [
            f"- {row.key[1]}: {row.kind.value}, {row.size} B ({row.reason})"
            for row in rows[:ROWS_SHOWN]
        ]
        if len(rows) > ROWS_SHOWN:
            lines.append("- …")
        return self.async_show_menu(
            step_id="init",
            menu_options=["export", "retry", "discard", "keep"],
            description_placeholders={"count": str(len(rows)), "captures": "\n".join(lines)},
        )

    async def async_step_keep(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Leave everything as it is; the card stays."""
        return self.async_abort(reason="kept")

    async def async_step_export(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Hand out a link to a zip of all of it."""
        path = async_sign_path(self.hass, quarantine_path(self._entry_id), LINK_VALID)
        return self.async_abort(reason="exported", description_placeholders={"link": path})

    async def async_step_retry(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Let everything wait for the cloud again."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        return await self._with_each(entry, entry.runtime_data.outbox.retry)

    async def async_step_discard(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Delete everything in quarantine, after one more question."""
        if (entry := self.entry) is None:
            return self.not_loaded()
        if user_input is None:
            return self.ask("discard")
        return await self._with_each(entry, entry.runtime_data.outbox.discard)

    async def _with_each(
        self, entry: UloggerConfigEntry, do: Callable[[int], Awaitable[bool]]
    ) -> RepairsFlowResult:
        gateway = entry.runtime_data
        try:
            for row in await _quarantined(gateway.outbox):
                await do(row.capture_id)
            await gateway.async_refresh_counters()
        except OutboxError as err:
            return self.failed(err)
        gateway.async_forgive()
        return self.async_create_entry(data={})


class RecoveredFlow(_EntryFlow):
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
            await entry.runtime_data.outbox.dismiss_recovery()
        except OutboxError as err:
            return self.failed(err)
        entry.runtime_data.changed()
        return self.async_create_entry(data={})


class LeftBehindFlow(_Flow):
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
        """Keep the outbox; the same account, added again, takes it over."""
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
    "certificate_expired": CertificateFlow,
    "certificate_expires": CertificateFlow,
    "certificate_refused": CertificateFlow,
    "left_behind": LeftBehindFlow,
    "outbox_recovered": RecoveredFlow,
    "quarantine": QuarantineFlow,
    "registration_denied": DeniedFlow,
    "topic_denied": DeniedFlow,
}
