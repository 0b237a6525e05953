"""How an account gets to uLogger: the three forms, for every flow that asks."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowContext, FlowHandler, FlowResult

from ..account.key_store import SecretsNotKept, async_keep_key
from ..const import (
    CONF_API_BASE_URL,
    CONF_BROKER,
    CONF_CA,
    CONF_CLIENT_SUFFIX,
    CONF_CUSTOMER_ID,
    CONF_GROUP_ID,
    CONF_PACE,
    CONF_PORT,
    CONF_TOPIC_PREFIX,
    DEFAULT_TOPIC_PREFIX,
)
from .account_checks import (
    FormError,
    account_title,
    async_account_title,
    async_check_bridge,
    async_check_certificate,
    async_check_http,
)
from .account_schema import SECTION_ADVANCED, bridge_schema, certificate_schema, token_schema
from .uploaded_files import Uploads

CONNECTIONS = ["certificate", "home_assistant", "api_token"]


class AccountSteps[ContextT: FlowContext, ResultT: FlowResult[Any, Any], HandlerT](
    FlowHandler[ContextT, ResultT, HandlerT]
):
    """The forms of all ways; a flow says which account is changed and what becomes of it."""

    _uploads: Uploads

    @abstractmethod
    def _changed_entry(self) -> ConfigEntry | None:
        """Return the account that is being changed; none while one is set up."""

    @abstractmethod
    async def _async_finish(self, data: dict[str, Any]) -> ResultT:
        """Give the account its data, the private key in it; raises FormError."""

    async def async_step_certificate(self, user_input: dict[str, Any] | None = None) -> ResultT:
        """Take the account's IDs and certificate, and try them on the broker."""
        entry = self._changed_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                data = await async_check_certificate(self.hass, self._uploads, user_input, entry)
                return await self._async_finish(data)
            except FormError as err:
                errors = err.errors
        has_ca = entry is not None and entry.data.get(CONF_CA) is not None
        return self.async_show_form(
            step_id="certificate",
            data_schema=self.add_suggested_values_to_schema(
                certificate_schema(
                    new=_is_new(entry), has_ca=has_ca, broker_failed=SECTION_ADVANCED in errors
                ),
                user_input or _as_typed(entry),
            ),
            errors=errors,
        )

    async def async_step_home_assistant(self, user_input: dict[str, Any] | None = None) -> ResultT:
        """Take the account's IDs; captures go through Home Assistant's own MQTT."""
        entry = self._changed_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                data = await async_check_bridge(self.hass, user_input, entry)
                return await self._async_finish(data)
            except FormError as err:
                errors = err.errors
        return self.async_show_form(
            step_id="home_assistant",
            data_schema=self.add_suggested_values_to_schema(
                bridge_schema(new=_is_new(entry)), user_input or _as_typed(entry)
            ),
            errors=errors,
        )

    async def async_step_api_token(self, user_input: dict[str, Any] | None = None) -> ResultT:
        """Take the account's IDs and API token, and try it; no captures go that way."""
        entry = self._changed_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                data = await async_check_http(self.hass, user_input, entry)
                return await self._async_finish(data)
            except FormError as err:
                errors = err.errors
        return self.async_show_form(
            step_id="api_token",
            data_schema=self.add_suggested_values_to_schema(
                token_schema(new=_is_new(entry)), user_input or _as_typed(entry)
            ),
            errors=errors,
        )


async def async_without_key(hass: HomeAssistant, data: Mapping[str, Any]) -> dict[str, Any]:
    """Put the key in its own file and return the rest; raises FormError."""
    try:
        return await async_keep_key(hass, data[CONF_CLIENT_SUFFIX], data)
    except SecretsNotKept as err:
        raise FormError(base="secrets_not_kept") from err


async def async_changed_title(
    hass: HomeAssistant, entry: ConfigEntry, data: Mapping[str, Any]
) -> str:
    """Return what an account is called after a change: a name that a person gave it stays."""
    present = {account_title(entry.data), await async_account_title(hass, entry.data)}
    return await async_account_title(hass, data) if entry.title in present else entry.title


def _is_new(entry: ConfigEntry | None) -> bool:
    """Whether uLogger's customer is still to be asked for; afterwards it never changes."""
    return entry is None or CONF_CUSTOMER_ID not in entry.data


def _as_typed(entry: ConfigEntry | None) -> dict[str, Any]:
    """Return what a form shows at first; never the certificate, the key or the CA."""
    if entry is None or _is_new(entry):
        return {CONF_TOPIC_PREFIX: DEFAULT_TOPIC_PREFIX}
    shown = (CONF_BROKER, CONF_PORT, CONF_PACE, CONF_API_BASE_URL)
    broker = {key: entry.data[key] for key in shown if key in entry.data}
    prefix = entry.data.get(CONF_TOPIC_PREFIX) or DEFAULT_TOPIC_PREFIX
    group = entry.data[CONF_GROUP_ID]
    return {CONF_GROUP_ID: group, CONF_TOPIC_PREFIX: prefix, SECTION_ADVANCED: broker}
