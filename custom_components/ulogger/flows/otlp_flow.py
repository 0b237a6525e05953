"""Add an OpenTelemetry collector as a destination of an account's captures, or change one."""

import time
from typing import Any
from urllib.parse import urlsplit

import probatio
from homeassistant.config_entries import ConfigSubentry, ConfigSubentryFlow, SubentryFlowResult
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    EntitySelector,
    EntitySelectorConfig,
    TextSelector,
    TextSelectorConfig,
)

from ..account.destination_keys import (
    async_drop_keys,
    async_keep_keys,
    async_load_keys,
    new_keys_id,
)
from ..account.key_store import SecretsNotKept
from ..cloud.otlp.endpoint import is_encrypted
from ..const import (
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_ENTITIES,
    CONF_HEADERS,
    CONF_KEYS,
    CONF_METRICS,
    CONF_PRIVATE_KEY,
    CONF_SINCE,
    CONF_UNENCRYPTED,
    CONF_URL,
)
from .account_checks import FormError
from .account_schema import CA_SELECTOR, CERTIFICATE_SELECTOR, PRIVATE_KEY_SELECTOR
from .folder_flow import CONF_INCLUDE_KEPT
from .otlp_checks import CONF_FORGET, SECTION_TLS, Checked, async_check_collector
from .sections import opened
from .uploaded_files import Uploads

EXAMPLE = "https://collector.example:4318"
_FILES = {
    probatio.Optional(CONF_CA): CA_SELECTOR,
    probatio.Optional(CONF_CERTIFICATE): CERTIFICATE_SELECTOR,
    probatio.Optional(CONF_PRIVATE_KEY): PRIVATE_KEY_SELECTOR,
}


def _schema(files: dict[Any, Any]) -> probatio.Schema:
    return probatio.Schema(
        {
            probatio.Required(CONF_URL): TextSelector(),
            probatio.Required(CONF_UNENCRYPTED, default=False): BooleanSelector(),
            probatio.Optional(CONF_HEADERS): TextSelector(TextSelectorConfig(multiline=True)),
            probatio.Required(CONF_METRICS, default=True): BooleanSelector(),
            probatio.Optional(CONF_ENTITIES): EntitySelector(EntitySelectorConfig(multiple=True)),
            probatio.Required(SECTION_TLS): section(probatio.Schema(files), {"collapsed": True}),
        }
    )


ADD_SCHEMA = _schema(_FILES).extend(
    {probatio.Required(CONF_INCLUDE_KEPT, default=True): BooleanSelector()}
)
CHANGE_SCHEMA = _schema(
    {**_FILES, probatio.Required(CONF_FORGET, default=False): BooleanSelector()}
)


class OtlpSubentryFlow(ConfigSubentryFlow):
    """Asks for endpoint, headers and certificates, and has the collector answer before it saves."""

    def __init__(self) -> None:
        self._uploads = Uploads()

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Take a new collector, for everything that is kept or for what comes from now on."""
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                checked = await async_check_collector(self.hass, self._uploads, user_input, {}, {})
                self._check_free(checked, None)
                keys_id = await self._keep(new_keys_id(self.hass), checked)
            except FormError as err:
                errors = err.errors
            else:
                since = 0.0 if user_input[CONF_INCLUDE_KEPT] else time.time()
                return self.async_create_entry(
                    title=_title(checked),
                    data={**checked.data, CONF_KEYS: keys_id, CONF_SINCE: since},
                    unique_id=checked.data[CONF_URL],
                )
        return self._form("user", ADD_SCHEMA, user_input, errors)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Take another endpoint, other headers or certificates; what was sent stays there."""
        entry, present = self._get_entry(), self._get_reconfigure_subentry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                kept = await async_load_keys(self.hass, entry, present.data[CONF_KEYS]) or {}
                checked = await async_check_collector(
                    self.hass, self._uploads, user_input, present.data, kept
                )
                self._check_free(checked, present)
                # Under another name: a change of keys alone has to load the account anew, too.
                keys_id = present.data[CONF_KEYS]
                if checked.keys != kept:
                    keys_id = await self._keep(new_keys_id(self.hass), checked)
            except FormError as err:
                errors = err.errors
            else:
                by_url = present.title == _title_of(present.data[CONF_URL])
                return self.async_update_and_abort(
                    entry,
                    present,
                    title=_title(checked) if by_url else present.title,
                    data={
                        **checked.data,
                        CONF_KEYS: keys_id,
                        CONF_SINCE: present.data[CONF_SINCE],
                    },
                    unique_id=checked.data[CONF_URL],
                )
        shown = user_input or {
            CONF_URL: present.data[CONF_URL],
            CONF_UNENCRYPTED: not is_encrypted(present.data[CONF_URL]),
            CONF_METRICS: present.data[CONF_METRICS],
            CONF_ENTITIES: present.data[CONF_ENTITIES],
        }
        return self._form("reconfigure", CHANGE_SCHEMA, shown, errors)

    def _check_free(self, checked: Checked, present: ConfigSubentry | None) -> None:
        """Raise FormError if another destination of the account is this collector."""
        for each in self._get_entry().subentries.values():
            is_present = present is not None and each.subentry_id == present.subentry_id
            if each.unique_id == checked.data[CONF_URL] and not is_present:
                raise FormError(**{CONF_URL: "already_configured"})

    async def _keep(self, keys_id: str, checked: Checked) -> str:
        try:
            await async_keep_keys(self.hass, self._get_entry(), keys_id, checked.keys)
        except SecretsNotKept as err:
            await async_drop_keys(self.hass, self._get_entry(), keys_id)
            raise FormError(base="secrets_not_kept") from err
        return keys_id

    def _form(
        self,
        step_id: str,
        schema: probatio.Schema,
        shown: dict[str, Any] | None,
        errors: dict[str, str],
    ) -> SubentryFlowResult:
        form = opened(schema, shown) if errors else schema
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(form, shown),
            description_placeholders={"example": EXAMPLE},
            errors=errors,
        )


def _title(checked: Checked) -> str:
    return _title_of(checked.data[CONF_URL])


def _title_of(url: str) -> str:
    """Name a collector by its host until a person renames it."""
    return urlsplit(url).hostname or url
