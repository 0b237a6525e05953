"""Add uLogger as a destination to an account that was without it."""

from typing import Any, override

from homeassistant.config_entries import (
    ConfigEntry,
    ConfigSubentryFlow,
    SubentryFlowContext,
    SubentryFlowResult,
)

from ..const import CONF_CONNECTION, SUBENTRY_ULOGGER, WITHOUT_CAPTURES
from .account_checks import account_unique_id
from .account_steps import CONNECTIONS, AccountSteps, async_changed_title, async_without_key
from .uploaded_files import Uploads


class UloggerSubentryFlow(
    AccountSteps[SubentryFlowContext, SubentryFlowResult, tuple[str, str]], ConfigSubentryFlow
):
    """Asks what a new account is asked; the account itself is changed, no subentry is made."""

    def __init__(self) -> None:
        self._uploads = Uploads()

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Ask how captures get to uLogger."""
        return self.async_show_menu(step_id="user", menu_options=CONNECTIONS)

    @override
    def _changed_entry(self) -> ConfigEntry:
        return self._get_entry()

    @override
    async def _async_finish(self, data: dict[str, Any]) -> SubentryFlowResult:
        """Have the account go to uLogger, too; raises FormError."""
        entry = self._get_entry()
        if entry.data[CONF_CONNECTION] not in WITHOUT_CAPTURES:
            return self.async_abort(reason="has_ulogger")
        data = await async_without_key(self.hass, data)
        if data[CONF_CONNECTION] not in WITHOUT_CAPTURES:
            # Home Assistant works out once what can be added, and would offer this again.
            entry.supported_subentry_types.pop(SUBENTRY_ULOGGER, None)
        self.hass.config_entries.async_update_entry(
            entry,
            data=data,
            unique_id=account_unique_id(data),
            title=await async_changed_title(self.hass, entry, data),
        )
        self.hass.config_entries.async_schedule_reload(entry.entry_id)
        return self.async_abort(reason="ulogger_added")
