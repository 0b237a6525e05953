"""What all repairs share: the words of an issue, a question, and the account that it is about."""

import logging
from typing import cast

import probatio
from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.config_entries import ConfigEntryState
from homeassistant.helpers import issue_registry as ir

from .gateway.gateway import UloggerConfigEntry
from .gateway.own_texts import own_reason
from .model.plain_text import one_line
from .outbox.errors import OutboxError

_LOGGER = logging.getLogger(__name__)

type IssueData = dict[str, str | int | float | None]
type UserInput = dict[str, str] | None


class Flow(RepairsFlow):
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


class EntryFlow(Flow):
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
        _LOGGER.info("The outbox did not do what was asked: %s", one_line(err))
        return self.async_abort(
            reason="outbox_failed",
            description_placeholders={"detail": own_reason(self.hass, err.reason)},
        )
