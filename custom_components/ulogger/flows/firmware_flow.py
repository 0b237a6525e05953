"""Add a firmware image to an account, or change what it is of, or put another in its place."""

from functools import partial
from typing import Any, override

import probatio
from homeassistant.components.file_upload import process_uploaded_file
from homeassistant.config_entries import ConfigSubentry, ConfigSubentryFlow, SubentryFlowResult
from homeassistant.core import callback
from homeassistant.helpers.selector import FileSelector, FileSelectorConfig, TextSelector

from ..account.firmware_images import (
    FirmwareRefused,
    ImportedImage,
    async_import_image,
    async_release,
    image_data,
    image_key,
    image_title,
    image_unique_id,
    known_devices,
    read_image_file,
)
from ..const import CONF_APPLICATION_ID, CONF_FILE, CONF_GIT_HASH, CONF_SOURCE, CONF_VERSION
from ..model.plain_text import plain_text

CONF_IMAGE = "image"
LARGEST_APPLICATION_ID = 0xFFFFFFFF
LONGEST_VERSION = 64
IMAGE_SELECTOR = FileSelector(FileSelectorConfig(accept=".elf,.axf,.out"))
ABOUT_FIELDS = {
    probatio.Optional(CONF_VERSION): TextSelector(),
    probatio.Optional(CONF_GIT_HASH): TextSelector(),
    probatio.Optional(CONF_APPLICATION_ID): TextSelector(),
}
UPLOAD_SCHEMA = probatio.Schema({probatio.Required(CONF_IMAGE): IMAGE_SELECTOR})
ABOUT_SCHEMA = probatio.Schema(ABOUT_FIELDS)
CHANGE_SCHEMA = probatio.Schema({**ABOUT_FIELDS, probatio.Optional(CONF_IMAGE): IMAGE_SELECTOR})


class InvalidField(Exception):
    """Something that was typed can't be taken."""

    def __init__(self, field: str, reason: str) -> None:
        """Keep the field and the key of the message."""
        super().__init__(reason)
        self.field = field
        self.reason = reason


class FirmwareImageFlow(ConfigSubentryFlow):
    """Takes the image first, and then asks only what it does not tell itself."""

    def __init__(self) -> None:
        self._imported: ImportedImage | None = None
        self._source = ""
        self._uploaded = ""

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Take the image."""
        refused: FirmwareRefused | None = None
        if user_input is not None:
            try:
                await self._import(user_input[CONF_IMAGE])
                return await self.async_step_about()
            except FirmwareRefused as err:
                refused = err
        return self._form("user", UPLOAD_SCHEMA, refused=refused)

    async def async_step_about(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask what the image is of; what it tells itself stands there already."""
        if (imported := self._imported) is None:
            return await self.async_step_user()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                data = image_data(image_key(_parsed(user_input)), imported.file, self._source)
                return self._finish(data)
            except InvalidField as err:
                errors = {err.field: err.reason}
        told = image_data(imported.told, imported.file)
        return self._form("about", ABOUT_SCHEMA, shown=user_input or _as_typed(told), errors=errors)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Change what an image is of, or replace it."""
        present = self._get_reconfigure_subentry()
        errors: dict[str, str] = {}
        refused: FirmwareRefused | None = None
        if user_input is not None:
            try:
                key = image_key(_parsed(user_input))
                if uploaded := user_input.get(CONF_IMAGE):
                    await self._import(uploaded)
                self._check_free(image_unique_id(key), present)
                file, source = present.data[CONF_FILE], present.data.get(CONF_SOURCE, "")
                if self._imported is not None:
                    file, source = self._imported.file, self._source
                return self._update(present, image_data(key, file, source))
            except InvalidField as err:
                errors = {err.field: err.reason}
            except FirmwareRefused as err:
                refused = err
        return self._form(
            "reconfigure",
            CHANGE_SCHEMA,
            shown=_without_upload(user_input) or _as_typed(present.data),
            errors=errors,
            refused=refused,
        )

    @callback
    @override
    def async_remove(self) -> None:
        """Delete what was imported, unless a subentry has it now."""
        if self._imported is not None:
            self.hass.async_create_task(
                async_release(self.hass, self._get_entry(), self._imported.file)
            )

    async def _import(self, uploaded: str) -> None:
        """Keep an upload; raises FirmwareRefused."""
        entry = self._get_entry()
        before = self._imported
        self._imported = await async_import_image(
            self.hass, entry.entry_id, partial(self._take, uploaded), known_devices(entry)
        )
        self._source = self._uploaded
        if before is not None:
            await async_release(self.hass, entry, before.file)

    def _take(self, uploaded: str) -> bytes:
        """Read an upload and have it deleted. Blocks."""
        try:
            with process_uploaded_file(self.hass, uploaded) as path:
                self._uploaded = path.name
                return read_image_file(path)
        except ValueError as err:
            raise FirmwareRefused("upload_gone") from err

    def _finish(self, data: dict[str, Any]) -> SubentryFlowResult:
        """Add the image, or replace the one of the same version."""
        unique_id = image_unique_id(image_key(data))
        if (same := self._of_same_version(unique_id)) is not None:
            self._update(same, data)
            return self.async_abort(reason="firmware_replaced")
        return self.async_create_entry(
            title=image_title(image_key(data)), data=data, unique_id=unique_id
        )

    def _update(self, subentry: ConfigSubentry, data: dict[str, Any]) -> SubentryFlowResult:
        key = image_key(data)
        return self.async_update_and_abort(
            self._get_entry(),
            subentry,
            title=image_title(key),
            unique_id=image_unique_id(key),
            data=data,
        )

    def _of_same_version(self, unique_id: str) -> ConfigSubentry | None:
        subentries = self._get_entry().subentries.values()
        return next((each for each in subentries if each.unique_id == unique_id), None)

    def _check_free(self, unique_id: str, present: ConfigSubentry) -> None:
        """Raise InvalidField when another image is of the same version."""
        if self._of_same_version(unique_id) not in (None, present):
            raise InvalidField(CONF_VERSION, "version_taken")

    def _form(
        self,
        step_id: str,
        schema: probatio.Schema,
        *,
        shown: dict[str, Any] | None = None,
        errors: dict[str, str] | None = None,
        refused: FirmwareRefused | None = None,
    ) -> SubentryFlowResult:
        """Show a form, with why an image was refused or what was found in it."""
        imported = self._imported
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(schema, shown or {}),
            errors={CONF_IMAGE: refused.reason} if refused else errors or {},
            description_placeholders={
                "detail": plain_text(refused) if refused else "",
                "file": plain_text(self._uploaded or self._source),
                "functions": str(imported.functions if imported else 0),
                "lines": str(imported.lines if imported else 0),
                "modules": ", ".join(map(plain_text, imported.modules if imported else ())) or "0",
            },
        )


def _parsed(typed: dict[str, Any]) -> dict[str, Any]:
    """Return what an image is of, as it is kept; raises InvalidField."""
    version = typed.get(CONF_VERSION, "").strip()
    git_hash = typed.get(CONF_GIT_HASH, "").strip()
    if not version and not git_hash:
        raise InvalidField(CONF_VERSION, "no_version")
    for field, text in ((CONF_VERSION, version), (CONF_GIT_HASH, git_hash)):
        if len(text) > LONGEST_VERSION:
            raise InvalidField(field, "version_too_long")
    application = typed.get(CONF_APPLICATION_ID, "").strip() or "0"
    if not (application.isascii() and application.isdecimal() and len(application) <= 10):
        raise InvalidField(CONF_APPLICATION_ID, "invalid_application_id")
    if int(application) > LARGEST_APPLICATION_ID:
        raise InvalidField(CONF_APPLICATION_ID, "invalid_application_id")
    return {
        CONF_VERSION: version,
        CONF_GIT_HASH: git_hash,
        CONF_APPLICATION_ID: int(application),
    }


def _as_typed(data: Any) -> dict[str, Any]:
    """Return what is kept the way a form shows it."""
    application = data[CONF_APPLICATION_ID]
    typed = {
        CONF_VERSION: data[CONF_VERSION],
        CONF_GIT_HASH: data[CONF_GIT_HASH],
        CONF_APPLICATION_ID: str(application) if application else "",
    }
    return {name: value for name, value in typed.items() if value}


def _without_upload(typed: dict[str, Any] | None) -> dict[str, Any]:
    """Return what was typed: an upload is gone once it was read."""
    return {name: value for name, value in (typed or {}).items() if name != CONF_IMAGE}
