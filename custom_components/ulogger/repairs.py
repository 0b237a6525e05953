"""What a person can do about an issue, right from its card."""

from typing import cast

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.components.repairs.const import FlowType
from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntryState
from homeassistant.core import HomeAssistant

from . import removal
from .const import DOMAIN
from .coordinator import UloggerConfigEntry
from .downloads import LINK_VALID, quarantine_path
from .outbox.model import CaptureState

type IssueData = dict[str, str | int | float | None]
type UserInput = dict[str, str] | None


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: IssueData | None
) -> RepairsFlow:
    """Make the flow that belongs to the issue."""
    kind = issue_id.split("-", 1)[0]
    return FLOWS[kind](data or {})


class _EntryFlow(RepairsFlow):
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


class CertificateFlow(_EntryFlow):
    """Leads into the flow that takes a new certificate."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask, then go over to the account's reauthentication."""
        return await self.async_step_confirm(user_input)

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Start the reauthentication, or join the one that waits already."""
        if user_input is None:
            return self.async_show_form(step_id="confirm")
        if (entry := self.entry) is None:
            return self.async_abort(reason="account_not_loaded")
        entry.async_start_reauth(self.hass)
        await self.hass.async_block_till_done(wait_background_tasks=False)
        flows = self.hass.config_entries.flow.async_progress_by_handler(
            DOMAIN, match_context={"source": SOURCE_REAUTH, "entry_id": entry.entry_id}
        )
        if not flows:
            return self.async_abort(reason="account_not_loaded")
        return self.async_abort(
            reason="reauthenticate", next_flow=(FlowType.CONFIG_FLOW, flows[0]["flow_id"])
        )


class QuarantineFlow(_EntryFlow):
    """Keep, export or discard what can't be delivered."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Show what there is, and ask."""
        if (entry := self.entry) is None:
            return self.async_abort(reason="account_not_loaded")
        rows = await entry.runtime_data.outbox.listing(states=(CaptureState.QUARANTINED,))
        listing = "\n".join(
            f"- {row.key[1]}: {row.kind.value}, {row.size} B ({row.reason})" for row in rows[:20]
        )
        return self.async_show_menu(
            step_id="init",
            menu_options=["export", "retry", "discard", "keep"],
            description_placeholders={"count": str(len(rows)), "captures": listing},
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
            return self.async_abort(reason="account_not_loaded")
        gateway = entry.runtime_data
        for row in await gateway.outbox.listing(states=(CaptureState.QUARANTINED,)):
            await gateway.outbox.retry(row.capture_id)
        gateway.delivery.retry_now()
        await gateway.async_refresh_counters()
        return self.async_create_entry(data={})

    async def async_step_discard(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Delete everything in quarantine, after one more question."""
        if user_input is None:
            return self.async_show_form(step_id="discard", data_schema=probatio.Schema({}))
        if (entry := self.entry) is None:
            return self.async_abort(reason="account_not_loaded")
        gateway = entry.runtime_data
        for row in await gateway.outbox.listing(states=(CaptureState.QUARANTINED,)):
            await gateway.outbox.discard(row.capture_id)
        await gateway.async_refresh_counters()
        return self.async_create_entry(data={})


class RecoveredFlow(_EntryFlow):
    """Take note that the outbox was damaged."""

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Show what became of it."""
        return await self.async_step_confirm(user_input)

    async def async_step_confirm(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Dismiss the note; the file set aside stays."""
        if user_input is None:
            return self.async_show_form(step_id="confirm")
        if (entry := self.entry) is None:
            return self.async_abort(reason="account_not_loaded")
        await entry.runtime_data.outbox.dismiss_recovery()
        entry.runtime_data.changed()
        return self.async_create_entry(data={})


class LeftBehindFlow(RepairsFlow):
    """An account was removed while captures waited: keep them for later, or delete them."""

    def __init__(self, data: IssueData) -> None:
        self._data = data

    async def async_step_init(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Ask."""
        return self.async_show_menu(
            step_id="init",
            menu_options=["keep", "discard"],
            description_placeholders={key: str(value) for key, value in self._data.items()},
        )

    async def async_step_keep(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Keep the outbox; the same account, added again, takes it over."""
        return self.async_abort(reason="kept")

    async def async_step_discard(self, user_input: UserInput = None) -> RepairsFlowResult:
        """Delete the outbox, after one more question."""
        if user_input is None:
            return self.async_show_form(step_id="discard", data_schema=probatio.Schema({}))
        await removal.async_discard(self.hass, str(self._data["account_id"]))
        return self.async_create_entry(data={})


FLOWS = {
    "certificate_expired": CertificateFlow,
    "certificate_expires": CertificateFlow,
    "certificate_refused": CertificateFlow,
    "left_behind": LeftBehindFlow,
    "outbox_recovered": RecoveredFlow,
    "quarantine": QuarantineFlow,
}
