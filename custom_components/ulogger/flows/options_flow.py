"""What can be changed while an account runs: collection, consent, telemetry, space, forwarding."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from homeassistant.config_entries import ConfigFlowResult, OptionsFlowWithReload
from homeassistant.core import callback

from ..account.approval import application_unique_id, approving_entry
from ..account.key_store import SecretsNotKept, async_keep_token, async_load_secrets
from ..const import (
    CONF_API_TOKEN,
    CONF_APPLICATIONS,
    CONF_CONNECTION,
    CONF_DAILY_QUOTA_KB,
    CONF_DEVICE_TYPES,
    CONF_FIRMWARE_FOLDER,
    CONF_FORWARD_LOGS,
    CONF_INTEGRATIONS,
    CONF_LEVEL,
    CONF_NAME_PATTERNS,
    CONNECTION_HTTP,
    DOMAIN,
    LEVEL_OFF,
    SUBENTRY_PEPEUNIT,
    WITHOUT_CAPTURES,
)
from .api_token import InvalidOption, parse_api_token
from .options_schema import (
    FLAT_SECTIONS,
    SECTION_APPROVAL,
    SECTION_CLOUD,
    SECTION_COLLECTION,
    SECTION_FIRMWARE,
    as_typed,
    beyond,
    options_schema,
)

LARGEST_APPLICATION_ID = 0xFFFFFFFF
LONGEST_APPLICATION_ID = len(str(LARGEST_APPLICATION_ID))
LITERAL_START = 3
"""Home Assistant's Bluetooth matcher refuses wildcards in the first characters of a name."""


def parse_patterns(typed: Iterable[str]) -> list[str]:
    """Return the name patterns without blanks and repetitions, in the order they were typed."""
    patterns = list(dict.fromkeys(pattern.strip() for pattern in typed if pattern.strip()))
    if not patterns:
        raise InvalidOption("no_name_patterns")
    for pattern in patterns:
        start = pattern[:LITERAL_START]
        if len(start) < LITERAL_START or set(start) & set("*?["):
            raise InvalidOption("name_pattern_too_broad")
    return patterns


def parse_application_id(typed: str) -> int:
    """Return the application ID, an unsigned 32-bit number in decimal digits."""
    digits = typed.strip()
    if not digits.isdecimal() or len(digits) > LONGEST_APPLICATION_ID:
        raise InvalidOption("invalid_application_id")
    if int(digits) > LARGEST_APPLICATION_ID:
        raise InvalidOption("invalid_application_id")
    return int(digits)


def parse_forwarding(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return which log records go up; turned on, it needs to be told whose."""
    integrations = sorted({name.strip() for name in typed[CONF_INTEGRATIONS]} - {""})
    if DOMAIN in integrations:
        raise InvalidOption("own_records")
    if typed[CONF_LEVEL] != LEVEL_OFF and not integrations:
        raise InvalidOption("no_integrations")
    return {CONF_LEVEL: typed[CONF_LEVEL], CONF_INTEGRATIONS: integrations}


class UloggerOptionsFlow(OptionsFlowWithReload):
    """One form in sections; saving it reloads the account."""

    _offered: frozenset[str]

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the options, or check and save them."""
        connection = self.config_entry.data.get(CONF_CONNECTION)
        has_ulogger = connection not in WITHOUT_CAPTURES
        errors: dict[str, str] = {}
        if user_input is not None:
            changed, errors = self._parse(user_input)
            errors |= await self._parse_firmware(user_input, changed)
            if not errors and not has_ulogger:
                return self._finish(changed, reload=False)
            if not errors:
                try:
                    other_token = await async_keep_token(
                        self.hass, self.config_entry, changed.pop(CONF_API_TOKEN)
                    )
                except SecretsNotKept:
                    errors = {SECTION_CLOUD: "secrets_not_kept"}
                else:
                    return self._finish(changed, reload=other_token)
        options = self.config_entry.options
        self._offered = frozenset(options.get(CONF_APPLICATIONS, {}))
        secrets = await async_load_secrets(self.hass, self.config_entry)
        token = {CONF_API_TOKEN: secrets[CONF_API_TOKEN]} if CONF_API_TOKEN in secrets else {}
        shown = user_input or as_typed({**options, **token})
        form = options_schema(
            self.hass,
            options,
            has_ulogger=has_ulogger,
            has_telemetry=connection == CONNECTION_HTTP,
            has_unit=any(self.config_entry.get_subentries_of_type(SUBENTRY_PEPEUNIT)),
        )
        schema = self.add_suggested_values_to_schema(form, shown)
        return self.async_show_form(step_id="init", data_schema=schema, errors=errors)

    async def _parse_firmware(
        self, typed: Mapping[str, Any], changed: dict[str, Any]
    ) -> dict[str, str]:
        """Add the folder to what is kept; returns what is wrong with it."""
        if SECTION_FIRMWARE not in typed:
            return {}
        folder = typed[SECTION_FIRMWARE].get(CONF_FIRMWARE_FOLDER, "").strip()
        changed[CONF_FIRMWARE_FOLDER] = folder
        if not folder or await self.hass.async_add_executor_job(
            self.hass.config.is_allowed_path, folder
        ):
            return {}
        return {SECTION_FIRMWARE: "path_not_allowed"}

    @callback
    def _finish(self, changed: Mapping[str, Any], *, reload: bool) -> ConfigFlowResult:
        """Save what was changed besides the token; *reload* also if that is nothing."""
        present = self.config_entry.options
        options = {
            **present,
            **changed,
            CONF_APPLICATIONS: {**self._added(), **changed[CONF_APPLICATIONS]},
        }
        self._close_cards(options[CONF_APPLICATIONS])
        if reload and options == present:
            self.hass.config_entries.async_schedule_reload(self.config_entry.entry_id)
        return self.async_create_entry(data=options)

    def _added(self) -> dict[str, Any]:
        """Return the applications that discovery cards added after the form was opened."""
        known = self.config_entry.options.get(CONF_APPLICATIONS, {})
        return {key: known[key] for key in known if key not in self._offered}

    def _parse(self, typed: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the options as they are kept, and what is wrong with which section."""
        changed: dict[str, Any] = {}
        errors = beyond(typed)
        for name in FLAT_SECTIONS:
            changed.update(typed.get(name, {}))
        collection, approval = typed[SECTION_COLLECTION], typed[SECTION_APPROVAL]
        fields: list[tuple[str, str, Callable[[Any], Any], Any]] = [
            (
                SECTION_COLLECTION,
                CONF_NAME_PATTERNS,
                parse_patterns,
                collection[CONF_NAME_PATTERNS],
            ),
            (
                SECTION_APPROVAL,
                CONF_APPLICATIONS,
                self._parse_applications,
                approval[CONF_APPLICATIONS],
            ),
        ]
        if (cloud := typed.get(SECTION_CLOUD)) is not None and CONF_DAILY_QUOTA_KB in cloud:
            token = cloud.get(CONF_API_TOKEN, "")
            fields.append((SECTION_CLOUD, CONF_API_TOKEN, parse_api_token, token))
        if (forwarding := typed.get(CONF_FORWARD_LOGS)) is not None:
            fields.append((CONF_FORWARD_LOGS, CONF_FORWARD_LOGS, parse_forwarding, forwarding))
        for name, key, parse, value in fields:
            try:
                changed[key] = parse(value)
            except InvalidOption as err:
                errors.setdefault(name, str(err))
        return changed, errors

    def _parse_applications(self, typed: Iterable[str]) -> dict[str, Any]:
        """Return the approved applications, each with the device types known of it.

        One that a discovery card added after the form was opened stays.
        """
        known = self.config_entry.options.get(CONF_APPLICATIONS, {})
        approved = self._added()
        for application_id in sorted({parse_application_id(value) for value in typed}):
            owner = approving_entry(self.hass, application_id)
            if owner not in (None, self.config_entry):
                raise InvalidOption("application_of_other_account")
            key = str(application_id)
            approved[key] = known.get(key, {CONF_DEVICE_TYPES: []})
        return approved

    @callback
    def _close_cards(self, approved: Iterable[str]) -> None:
        """Take back the discovery cards that ask for what has just been approved here."""
        flows = self.hass.config_entries.flow
        for application_id in approved:
            context = {"unique_id": application_unique_id(int(application_id))}
            for card in flows.async_progress_by_handler(DOMAIN, match_context=context):
                flows.async_abort(card["flow_id"])
