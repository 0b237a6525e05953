"""Make this Home Assistant a unit of Pepeunit, or change what it says and hears there."""

import time
from typing import Any

import probatio
from homeassistant.config_entries import ConfigSubentryFlow, SubentryFlowResult
from homeassistant.core import DOMAIN as HOMEASSISTANT_DOMAIN
from homeassistant.helpers import translation
from homeassistant.helpers.selector import (
    ActionSelector,
    BooleanSelector,
    DeviceFilterSelectorConfig,
    DeviceSelector,
    DeviceSelectorConfig,
    EntitySelector,
    FileSelector,
    FileSelectorConfig,
    ObjectSelector,
    ObjectSelectorConfig,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    TemplateSelector,
    TextSelector,
    TextSelectorConfig,
)

from ..account.key_store import SecretsNotKept
from ..account.unit_files import UnitFiles, units_being_added
from ..cloud.pepeunit.schema import Schema
from ..const import (
    CONF_ACTIONS,
    CONF_CA,
    CONF_ENCRYPTED,
    CONF_ENTITY,
    CONF_INPUTS,
    CONF_METRIC,
    CONF_NODE,
    CONF_OUTPUTS,
    CONF_READABLE,
    CONF_SHOWN_AS,
    CONF_SINCE,
    CONF_TEMPLATE,
    CONF_UNIT,
    DOMAIN,
)
from .account_checks import FormError
from .folder_flow import CONF_INCLUDE_KEPT
from .pepeunit_checks import (
    CONF_ENV,
    CONF_ENV_FILE,
    CONF_SCHEMA,
    CONF_SCHEMA_FILE,
    CheckedUnit,
    FileError,
    async_check_unit,
    check_nodes,
)
from .uploaded_files import Uploads

CONF_DEVICE = "device"
PASTED = TextSelector(TextSelectorConfig(multiline=True))
JSON_FILE = FileSelector(FileSelectorConfig(accept=".json,application/json"))
CHANGE_SCHEMA = probatio.Schema(
    {
        probatio.Optional(CONF_ENV_FILE): JSON_FILE,
        probatio.Optional(CONF_ENV): PASTED,
        probatio.Optional(CONF_SCHEMA_FILE): JSON_FILE,
        probatio.Optional(CONF_SCHEMA): PASTED,
        probatio.Required(CONF_READABLE, default=False): BooleanSelector(),
        probatio.Optional(CONF_CA): FileSelector(FileSelectorConfig(accept=".pem,.crt,.cer")),
    }
)
ADD_SCHEMA = CHANGE_SCHEMA.extend(
    {probatio.Required(CONF_INCLUDE_KEPT, default=True): BooleanSelector()}
)


class PepeunitSubentryFlow(ConfigSubentryFlow):
    """Takes the unit's files first, tries them, and then asks what its nodes are for."""

    _checked: CheckedUnit

    def __init__(self) -> None:
        self._uploads = Uploads()
        self._since = 0.0

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Take the files of a new unit."""
        errors: dict[str, str] = {}
        placeholders: dict[str, str] = {}
        if user_input is not None:
            try:
                self._checked = await async_check_unit(self.hass, self._uploads, user_input, None)
            except FormError as err:
                errors, placeholders = err.errors, _placeholders(err)
            else:
                self._since = 0.0 if user_input[CONF_INCLUDE_KEPT] else time.time()
                return await self.async_step_nodes()
        return self._files_form("user", ADD_SCHEMA, user_input, errors, placeholders)

    async def async_step_nodes(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask which nodes are used, and make the destination."""
        checked = self._checked
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                nodes = check_nodes(user_input)
                await self._async_keep(checked)
            except FormError as err:
                errors = err.errors
            else:
                return self.async_create_entry(
                    title=f"Pepeunit {checked.env.unit[:8]}",
                    data={**checked.data, **nodes, CONF_SINCE: self._since},
                    unique_id=f"pepeunit-{checked.env.unit}",
                )
        return await self._nodes_form("nodes", checked.schema, user_input, errors)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask what to change."""
        return self.async_show_menu(step_id="reconfigure", menu_options=["change_nodes", "files"])

    async def async_step_change_nodes(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Change which nodes are used."""
        present = self._get_reconfigure_subentry()
        if (files := await self._async_files()) is None:
            return self.async_abort(reason="files_gone")
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                nodes = check_nodes(user_input)
            except FormError as err:
                errors = err.errors
            else:
                return self.async_update_and_abort(self._get_entry(), present, data_updates=nodes)
        shown = user_input or dict(present.data)
        return await self._nodes_form("change_nodes", files.schema, shown, errors)

    async def async_step_files(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Take other files of the same unit; those that are not given stay."""
        present = self._get_reconfigure_subentry()
        errors: dict[str, str] = {}
        placeholders: dict[str, str] = {}
        if user_input is not None:
            files = await self._async_files()
            kept = None if files is None else (files.env.text, files.schema.text)
            try:
                checked = await async_check_unit(
                    self.hass, self._uploads, user_input, present, kept
                )
                await self._async_keep(checked)
            except FormError as err:
                errors, placeholders = err.errors, _placeholders(err)
            else:
                self.hass.config_entries.async_update_subentry(
                    self._get_entry(), present, data={**present.data, **checked.data}
                )
                # The files are none of the subentry, and may be all that is new.
                self.hass.config_entries.async_schedule_reload(self._get_entry().entry_id)
                return self.async_abort(
                    reason="reconfigure_successful", translation_domain=HOMEASSISTANT_DOMAIN
                )
        shown = user_input or {CONF_READABLE: present.data[CONF_READABLE]}
        return self._files_form("files", CHANGE_SCHEMA, shown, errors, placeholders)

    async def _async_files(self) -> UnitFiles | None:
        unit = self._get_reconfigure_subentry().data[CONF_UNIT]
        return await UnitFiles.async_load(self.hass, self._get_entry(), unit)

    async def _async_keep(self, checked: CheckedUnit) -> None:
        """Put the files on disk; raises FormError."""
        files = UnitFiles(self.hass, self._get_entry(), checked.env, checked.schema)
        if (
            before := await UnitFiles.async_load(self.hass, self._get_entry(), checked.env.unit)
        ) is not None:
            files.records = before.records
        units_being_added(self.hass).add(checked.env.unit)
        try:
            await files.async_keep_env(checked.env)
            await files.async_keep(checked.schema)
        except SecretsNotKept as err:
            raise FormError(base="secrets_not_kept") from err

    def _files_form(
        self,
        step_id: str,
        schema: probatio.Schema,
        shown: dict[str, Any] | None,
        errors: dict[str, str],
        placeholders: dict[str, str],
    ) -> SubentryFlowResult:
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(schema, shown),
            errors=errors,
            description_placeholders={"field": "", "detail": "", **placeholders},
        )

    async def _nodes_form(
        self,
        step_id: str,
        schema: Schema,
        shown: dict[str, Any] | None,
        errors: dict[str, str],
    ) -> SubentryFlowResult:
        form = _nodes_schema(schema, await self._async_ways_to_show())
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(form, shown),
            errors=errors,
        )

    async def _async_ways_to_show(self) -> list[SelectOptionDict]:
        """Return what an input can be; within a list the frontend translates no options."""
        language = self.hass.config.language
        texts = await translation.async_get_translations(self.hass, language, "common", {DOMAIN})
        return [
            SelectOptionDict(value=way, label=texts[f"component.{DOMAIN}.common.as_{way}"])
            for way in ("sensor", "event")
        ]


def _placeholders(err: FormError) -> dict[str, str]:
    return err.placeholders if isinstance(err, FileError) else {}


def _nodes_schema(schema: Schema, ways_to_show: list[SelectOptionDict]) -> probatio.Schema:
    """Return the form for the nodes of a unit."""
    outputs = ObjectSelector(
        ObjectSelectorConfig(
            multiple=True,
            label_field=CONF_NODE,
            description_field=CONF_ENTITY,
            translation_key="unit_output",
            fields={
                CONF_NODE: {"required": True, "selector": _choice(list(schema.outputs))},
                CONF_ENTITY: {"selector": EntitySelector().serialize()["selector"]},
                CONF_METRIC: {"selector": TextSelector().serialize()["selector"]},
                CONF_DEVICE: {
                    "selector": DeviceSelector(
                        DeviceSelectorConfig(filter=DeviceFilterSelectorConfig(integration=DOMAIN))
                    ).serialize()["selector"]
                },
                CONF_TEMPLATE: {"selector": TemplateSelector().serialize()["selector"]},
                CONF_ENCRYPTED: {"selector": BooleanSelector().serialize()["selector"]},
            },
        )
    )
    inputs = ObjectSelector(
        ObjectSelectorConfig(
            multiple=True,
            label_field=CONF_NODE,
            translation_key="unit_input",
            fields={
                CONF_NODE: {"required": True, "selector": _choice(list(schema.inputs))},
                CONF_SHOWN_AS: {"required": True, "selector": _choice(ways_to_show)},
                CONF_ACTIONS: {"selector": ActionSelector().serialize()["selector"]},
                CONF_ENCRYPTED: {"selector": BooleanSelector().serialize()["selector"]},
            },
        )
    )
    return probatio.Schema(
        {
            probatio.Optional(CONF_OUTPUTS, default=list): outputs,
            probatio.Optional(CONF_INPUTS, default=list): inputs,
        }
    )


def _choice(options: list[str] | list[SelectOptionDict]) -> dict[str, Any]:
    choice = SelectSelector(SelectSelectorConfig(options=options)).serialize()["selector"]
    return dict(choice)
