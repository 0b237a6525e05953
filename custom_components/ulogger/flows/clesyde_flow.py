"""Add a thing at Clesyde as a destination of an account, or change one."""

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import probatio
from homeassistant.config_entries import (
    SOURCE_RECONFIGURE,
    ConfigSubentry,
    ConfigSubentryFlow,
    SubentryFlowResult,
)
from homeassistant.helpers import instance_id
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.selector import (
    BooleanSelector,
    FileSelector,
    FileSelectorConfig,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from homeassistant.util import dt as dt_util

from ..account.destination_keys import (
    async_drop_keys,
    async_keep_keys,
    async_load_keys,
    new_keys_id,
)
from ..account.key_store import SecretsNotKept
from ..cloud.clesyde.errors import ThingError
from ..cloud.clesyde.keys import STORED_WANTED, stored
from ..cloud.clesyde.provisioning import register
from ..cloud.clesyde.thing import CONFIG_FILE, PEM_FILES, Thing, checked_serial, thing_from_files
from ..cloud.clesyde.topics import usable_topic
from ..const import (
    CAPTURE_TOPICS,
    CONF_API,
    CONF_FORMAT,
    CONF_KEYS,
    CONF_SERIAL,
    CONF_SINCE,
    CONF_THING,
    CONF_TOKEN,
    FORMAT_DECODED,
    FORMAT_RAW,
)
from ..model.plain_text import one_line
from .account_checks import FormError
from .clesyde_checks import async_check_thing, thing_is_taken
from .uploaded_files import UploadError, Uploads

_LOGGER = logging.getLogger(__name__)

CONF_INCLUDE_KEPT: Final = "include_kept"
CONF_CONFIG: Final = "config"
EXAMPLE: Final = "ulogger/logs"

_FILE = FileSelector(FileSelectorConfig(accept=".json,.pem,.crt,.key"))
_PASSWORD = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off"))

PROVISION_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_API): TextSelector(TextSelectorConfig(type=TextSelectorType.URL)),
        probatio.Required(CONF_SERIAL): TextSelector(),
        probatio.Required(CONF_TOKEN): _PASSWORD,
    }
)
UPLOAD_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_SERIAL): TextSelector(),
        probatio.Required(CONF_CONFIG): _FILE,
        **{probatio.Required(name): _FILE for name in PEM_FILES},
    }
)
CAPTURES_SCHEMA = probatio.Schema(
    {
        **{probatio.Optional(name): TextSelector() for name in CAPTURE_TOPICS},
        probatio.Required(CONF_FORMAT, default=FORMAT_DECODED): SelectSelector(
            SelectSelectorConfig(
                options=[FORMAT_DECODED, FORMAT_RAW],
                translation_key="capture_format",
                mode=SelectSelectorMode.LIST,
            )
        ),
        probatio.Required(CONF_INCLUDE_KEPT, default=False): BooleanSelector(),
    }
)


class ClesydeSubentryFlow(ConfigSubentryFlow):
    """Gets a thing, by registration or from files, then asks which captures go there.

    Nothing of it is on disk before all is checked and chosen.
    """

    def __init__(self) -> None:
        """Begin without a thing."""
        self._uploads = Uploads()
        self._thing: Thing | None = None
        self._registered: tuple[tuple[str, str, str], Thing] | None = None
        self._api = ""

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Ask whether there is a thing already."""
        return self.async_show_menu(step_id="user", menu_options=["provision", "upload"])

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask what is to be changed: which captures go, or the thing itself."""
        return self.async_show_menu(
            step_id="reconfigure", menu_options=["captures", "provision", "upload"]
        )

    async def async_step_provision(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Register this Home Assistant at Clesyde's API."""
        errors: dict[str, str] = {}
        detail = ""
        if user_input is not None:
            try:
                thing = await self._async_registered(user_input)
                await async_check_thing(self.hass, thing)
            except ThingError as err:
                errors, detail = _told(err, user_input)
            except FormError as err:
                errors = {"base": next(iter(err.errors.values()))}
            else:
                self._api = user_input[CONF_API].strip()
                return await self._async_have(thing)
        shown = user_input or {CONF_API: self._present(CONF_API), CONF_SERIAL: await self._serial()}
        return self._form("provision", PROVISION_SCHEMA, shown, errors, detail)

    async def async_step_upload(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Take a thing that was provisioned elsewhere."""
        errors: dict[str, str] = {}
        detail = ""
        if user_input is not None:
            try:
                thing = await self._async_uploaded(user_input)
                await async_check_thing(self.hass, thing)
            except ThingError as err:
                errors, detail = _told(err, user_input)
            except UploadError as err:
                errors = {"base": err.reason}
            except FormError as err:
                errors = {"base": next(iter(err.errors.values()))}
            else:
                return await self._async_have(thing)
        shown = user_input or {CONF_SERIAL: await self._serial()}
        return self._form("upload", UPLOAD_SCHEMA, shown, errors, detail)

    async def async_step_captures(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask which captures go, and save everything."""
        errors: dict[str, str] = {}
        if user_input is not None:
            errors = {
                name: "topic_invalid"
                for name in CAPTURE_TOPICS
                if (topic := user_input.get(name)) and not usable_topic(topic)
            }
            if not errors:
                try:
                    return await self._async_save(user_input)
                except SecretsNotKept:
                    errors = {"base": "secrets_not_kept"}
        present = self._subentry()
        shown = user_input or (dict(present.data) if present is not None else None)
        return self._form("captures", CAPTURES_SCHEMA, shown, errors)

    # What is done

    async def _async_registered(self, typed: dict[str, Any]) -> Thing:
        """Register, but not again what was registered in this flow; raises ThingError."""
        asked = (typed[CONF_API].strip(), typed[CONF_SERIAL].strip(), typed[CONF_TOKEN])
        if self._registered is None or self._registered[0] != asked:
            session = async_get_clientsession(self.hass)
            thing = await register(session, *asked, self.hass.async_add_executor_job)
            self._registered = (asked, thing)
        return self._registered[1]

    async def _async_uploaded(self, typed: dict[str, Any]) -> Thing:
        """Read the files and make a thing of them; raises ThingError or UploadError."""
        serial = checked_serial(typed[CONF_SERIAL].strip())
        files = {CONFIG_FILE: await self._uploads.async_read(self.hass, typed[CONF_CONFIG])}
        for name in PEM_FILES:
            files[f"{name}.pem"] = await self._uploads.async_read(self.hass, typed[name])
        thing: Thing = await self.hass.async_add_executor_job(
            thing_from_files, serial, files, dt_util.utcnow()
        )
        return thing

    async def _async_have(self, thing: Thing) -> SubentryFlowResult:
        """Go on with a thing that works."""
        present = self._subentry()
        if thing_is_taken(self.hass, thing, present.subentry_id if present else None):
            return self.async_abort(reason="already_configured")
        self._thing = thing
        if present is not None:
            try:
                return await self._async_save({**present.data, CONF_INCLUDE_KEPT: False})
            except SecretsNotKept:
                return self.async_abort(reason="secrets_not_kept")
        return await self.async_step_captures()

    async def _async_save(self, typed: dict[str, Any]) -> SubentryFlowResult:
        """Put the keys on disk, then the rest into the subentry; raises SecretsNotKept."""
        present = self._subentry()
        data: dict[str, Any] = dict(present.data) if present is not None else {}
        before = any(data.get(name) for name in CAPTURE_TOPICS)
        data |= {name: typed.get(name, "") for name in CAPTURE_TOPICS}
        data[CONF_FORMAT] = typed[CONF_FORMAT]
        if not before:
            data[CONF_SINCE] = 0.0 if typed[CONF_INCLUDE_KEPT] else time.time()
        if (thing := self._thing) is not None:
            data |= {
                CONF_SERIAL: thing.serial,
                CONF_THING: thing.name,
                CONF_API: self._api or data.get(CONF_API, ""),
                CONF_KEYS: await self._async_keep(thing, present),
            }
        name = data[CONF_THING]
        if present is None:
            return self.async_create_entry(title=_title(data), data=data, unique_id=name)
        title = _title(data) if present.title == _title(present.data) else present.title
        return self.async_update_and_abort(
            self._get_entry(), present, title=title, data=data, unique_id=name
        )

    async def _async_keep(self, thing: Thing, present: ConfigSubentry | None) -> str:
        """Put a thing on disk under a new name, and return that; raises SecretsNotKept."""
        entry, keys_id = self._get_entry(), new_keys_id(self.hass)
        kept = None
        if present is not None:
            kept = await async_load_keys(self.hass, entry, present.data[CONF_KEYS])
        wanted = bool(kept and kept.get(STORED_WANTED))
        try:
            await async_keep_keys(self.hass, entry, keys_id, stored(thing, remote_wanted=wanted))
        except SecretsNotKept:
            await async_drop_keys(self.hass, entry, keys_id)
            raise
        return keys_id

    # What is shown

    def _subentry(self) -> ConfigSubentry | None:
        return self._get_reconfigure_subentry() if self.source == SOURCE_RECONFIGURE else None

    def _present(self, name: str) -> str:
        present = self._subentry()
        return "" if present is None else str(present.data.get(name, ""))

    async def _serial(self) -> str:
        """Propose a serial: the present one, or Home Assistant's own."""
        own = await instance_id.async_get(self.hass)
        return self._present(CONF_SERIAL) or f"ha-{own[:12]}"

    def _form(
        self,
        step_id: str,
        schema: probatio.Schema,
        shown: dict[str, Any] | None,
        errors: dict[str, str],
        detail: str = "",
    ) -> SubentryFlowResult:
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(schema, shown),
            description_placeholders={"example": EXAMPLE, "detail": detail or "-"},
            errors=errors,
        )


def _told(err: ThingError, typed: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Return what a form says of an error, at its field; how it came about is for the log."""
    _LOGGER.info("No thing can be made: %s", one_line(err))
    return {err.field if err.field in typed else "base": err.reason}, err.detail


def _title(data: Any) -> str:
    return f"Clesyde {data[CONF_SERIAL]}"
