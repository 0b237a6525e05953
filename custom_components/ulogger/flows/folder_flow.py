"""Add a directory as a destination of an account's captures, or change one."""

import os
import time
from pathlib import Path
from typing import Any

import probatio
from homeassistant.config_entries import (
    ConfigSubentry,
    ConfigSubentryFlow,
    SubentryFlowResult,
)
from homeassistant.helpers.selector import (
    BooleanSelector,
    TextSelector,
)

from ..const import CONF_KEEP_DAYS, CONF_KEEP_MB, CONF_PATH, CONF_SINCE
from .account_checks import FormError
from .folder_checks import async_check_folder, folder_title, is_named_by_path
from .numbers import out_of_bounds, whole_number

CONF_INCLUDE_KEPT = "include_kept"
EXAMPLE = "/media/ulogger"
LIMITS = {CONF_KEEP_DAYS: "keep_days_bounds", CONF_KEEP_MB: "keep_size_bounds"}


CHANGE_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_PATH): TextSelector(),
        probatio.Required(CONF_KEEP_DAYS, default=0): whole_number(0, 36_500, "d"),
        probatio.Required(CONF_KEEP_MB, default=0): whole_number(0, 100_000_000, "MB"),
    }
)
ADD_SCHEMA = CHANGE_SCHEMA.extend(
    {probatio.Required(CONF_INCLUDE_KEPT, default=True): BooleanSelector()}
)


class FolderSubentryFlow(ConfigSubentryFlow):
    """Asks for the directory and its limits; the account is loaded anew by the change itself."""

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Take a new directory, for everything that is kept or for what comes from now on."""
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                _check_limits(user_input)
                directory = await async_check_folder(self.hass, user_input[CONF_PATH], None)
            except FormError as err:
                errors = err.errors
            else:
                since = 0.0 if user_input[CONF_INCLUDE_KEPT] else time.time()
                return self.async_create_entry(
                    title=folder_title(self.hass, directory, None),
                    data={**_chosen(user_input, directory), CONF_SINCE: since},
                    unique_id=os.fspath(directory),
                )
        return self._form("user", ADD_SCHEMA, user_input, errors)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Take another directory or other limits; what was written stays where it is."""
        present = self._get_reconfigure_subentry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                _check_limits(user_input)
                directory = await async_check_folder(self.hass, user_input[CONF_PATH], present)
            except FormError as err:
                errors = err.errors
            else:
                return self.async_update_and_abort(
                    self._get_entry(),
                    present,
                    title=self._title(present, directory),
                    data_updates=_chosen(user_input, directory),
                    unique_id=os.fspath(directory),
                )
        return self._form("reconfigure", CHANGE_SCHEMA, user_input or dict(present.data), errors)

    def _title(self, present: ConfigSubentry, directory: Path) -> str:
        if is_named_by_path(present):
            return folder_title(self.hass, directory, present)
        return present.title

    def _form(
        self,
        step_id: str,
        schema: probatio.Schema,
        shown: dict[str, Any] | None,
        errors: dict[str, str],
    ) -> SubentryFlowResult:
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(schema, shown),
            description_placeholders={"example": EXAMPLE},
            errors=errors,
        )


def _check_limits(typed: dict[str, Any]) -> None:
    for name in out_of_bounds(CHANGE_SCHEMA, typed):
        raise FormError(**{name: LIMITS[name]})


def _chosen(typed: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return what is kept of a form."""
    limits = {key: typed[key] for key in (CONF_KEEP_DAYS, CONF_KEEP_MB)}
    return {CONF_PATH: os.fspath(directory), **limits}
