"""The options form: sections, fields, what they start with and how far they go."""

from collections.abc import Mapping
from typing import Any

import probatio
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)

from ..const import (
    CONF_ADAPTIVE_INTERVAL,
    CONF_API_TOKEN,
    CONF_APPLICATIONS,
    CONF_COLLECT_INTERVAL,
    CONF_DAILY_QUOTA_KB,
    CONF_DEVICE_LIMIT,
    CONF_DEVICE_TYPES,
    CONF_FIRMWARE_FOLDER,
    CONF_FORWARD_LOGS,
    CONF_HEARTBEATS,
    CONF_INTEGRATIONS,
    CONF_LEVEL,
    CONF_LIVE_MINUTES,
    CONF_LOG_EVENTS,
    CONF_METRIC_LIMIT,
    CONF_NAME_PATTERNS,
    CONF_OFFER_TO_ASSISTANTS,
    CONF_RESERVED_SLOTS,
    CONF_RETENTION_DAYS,
    CONF_RETENTION_MB,
    CONF_SHOW_PANEL,
    CONF_UNDELIVERED_BUDGET_MB,
    DEFAULT_ADAPTIVE_INTERVAL,
    DEFAULT_COLLECT_INTERVAL,
    DEFAULT_DAILY_QUOTA_KB,
    DEFAULT_DEVICE_LIMIT,
    DEFAULT_HEARTBEATS,
    DEFAULT_LIVE_MINUTES,
    DEFAULT_LOG_EVENTS,
    DEFAULT_METRIC_LIMIT,
    DEFAULT_NAME_PATTERNS,
    DEFAULT_RESERVED_SLOTS,
    DEFAULT_RETENTION_DAYS,
    DEFAULT_RETENTION_MB,
    DEFAULT_SHOW_PANEL,
    DEFAULT_UNDELIVERED_BUDGET_MB,
    DOMAIN,
    FORWARD_LEVELS,
    LEVEL_OFF,
)
from .numbers import out_of_bounds, whole_number

SECTION_COLLECTION = "collection"
SECTION_APPROVAL = "approval"
SECTION_SAID = "said"
SECTION_CLOUD = "cloud"
SECTION_STORAGE = "storage"
SECTION_FIRMWARE = "firmware"
SECTION_KEPT = "kept"
"""What an account without uLogger has for storage: nothing else may have what it deletes."""
MOST_DEVICES = 10_000
SECTION_PANEL = "panel"
MOST_RESERVED_SLOTS = 10
MOST_METRICS = 500
SECTION_ASSISTANTS = "assistants"
FLAT_SECTIONS = (
    SECTION_COLLECTION,
    SECTION_SAID,
    SECTION_CLOUD,
    SECTION_STORAGE,
    SECTION_KEPT,
    SECTION_PANEL,
    SECTION_ASSISTANTS,
)
"""Sections of the form whose fields are kept side by side, as if there were no sections."""


def options_schema(
    hass: HomeAssistant,
    options: Mapping[str, Any],
    *,
    has_ulogger: bool,
    has_telemetry: bool = False,
    has_unit: bool = False,
) -> probatio.Schema:
    """Return the form; what can be chosen depends on the account and on what is loaded.

    ``has_telemetry`` is an account that has uLogger for metrics and events alone, ``has_unit``
    one that is a unit of Pepeunit, whose log takes records.
    """
    applications = _applications_selector(options.get(CONF_APPLICATIONS, {}))
    approval = {probatio.Required(CONF_APPLICATIONS, default=list): applications}
    sections: dict[str, tuple[probatio.Schema, bool]] = {
        SECTION_COLLECTION: (COLLECTION_SCHEMA, False),
        SECTION_APPROVAL: (probatio.Schema(approval), False),
    }
    if has_ulogger:
        sections[SECTION_CLOUD] = (CLOUD_SCHEMA, True)
        sections[SECTION_STORAGE] = (STORAGE_SCHEMA, True)
    else:
        if has_telemetry:
            sections[SECTION_CLOUD] = (TELEMETRY_SCHEMA, True)
        sections[SECTION_KEPT] = (KEPT_SCHEMA, False)
    if has_ulogger or has_unit:
        forwarding = {
            probatio.Required(CONF_LEVEL, default=LEVEL_OFF): LEVEL_SELECTOR,
            probatio.Required(CONF_INTEGRATIONS, default=list): _integrations_selector(hass),
        }
        sections[CONF_FORWARD_LOGS] = (probatio.Schema(forwarding), True)
    form: dict[probatio.Marker, section] = {
        probatio.Required(name): section(schema, {"collapsed": collapsed})
        for name, (schema, collapsed) in sections.items()
    }
    # Forms are also filled in by scripts that know of none of these.
    form[probatio.Optional(SECTION_SAID)] = section(SAID_SCHEMA, {"collapsed": True})
    form[probatio.Optional(SECTION_FIRMWARE)] = section(FIRMWARE_SCHEMA, {"collapsed": True})
    form[probatio.Optional(SECTION_PANEL)] = section(PANEL_SCHEMA, {"collapsed": True})
    form[probatio.Optional(SECTION_ASSISTANTS)] = section(ASSISTANTS_SCHEMA, {"collapsed": True})
    return probatio.Schema(form)


def as_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return kept options the way the form shows them."""
    return {
        **dict.fromkeys((*FLAT_SECTIONS, SECTION_FIRMWARE), options),
        SECTION_APPROVAL: {CONF_APPLICATIONS: list(options.get(CONF_APPLICATIONS, {}))},
        CONF_FORWARD_LOGS: options.get(CONF_FORWARD_LOGS, {}),
    }


def device_limit_field(low: int) -> probatio.All[int]:
    """Return the field for how many devices an account takes in."""
    return whole_number(low, max(low, MOST_DEVICES))


def _applications_selector(applications: Mapping[str, Any]) -> SelectSelector:
    """Return a list to take applications from and to type new ones into."""
    choices = []
    for application_id, about in applications.items():
        types = ", ".join(about[CONF_DEVICE_TYPES])
        label = f"{application_id} ({types})" if types else application_id
        choices.append(SelectOptionDict(value=application_id, label=label))
    return SelectSelector(
        SelectSelectorConfig(
            options=choices, multiple=True, custom_value=True, mode=SelectSelectorMode.DROPDOWN
        )
    )


def _integrations_selector(hass: HomeAssistant) -> SelectSelector:
    loaded = {name for name in hass.config.components if "." not in name} - {DOMAIN}
    return SelectSelector(
        SelectSelectorConfig(
            options=sorted(loaded),
            multiple=True,
            custom_value=True,
            mode=SelectSelectorMode.DROPDOWN,
        )
    )


LEVEL_SELECTOR = SelectSelector(
    SelectSelectorConfig(
        options=list(FORWARD_LEVELS),
        translation_key="forward_level",
        mode=SelectSelectorMode.DROPDOWN,
    )
)

COLLECTION_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_COLLECT_INTERVAL, default=DEFAULT_COLLECT_INTERVAL): whole_number(
            1, 10080, "min"
        ),
        probatio.Required(
            CONF_ADAPTIVE_INTERVAL, default=DEFAULT_ADAPTIVE_INTERVAL
        ): BooleanSelector(),
        probatio.Required(
            CONF_NAME_PATTERNS, default=lambda: list(DEFAULT_NAME_PATTERNS)
        ): TextSelector(TextSelectorConfig(multiple=True)),
        probatio.Required(CONF_DEVICE_LIMIT, default=DEFAULT_DEVICE_LIMIT): device_limit_field(1),
        probatio.Required(CONF_RESERVED_SLOTS, default=DEFAULT_RESERVED_SLOTS): whole_number(
            0, MOST_RESERVED_SLOTS
        ),
        probatio.Required(CONF_LIVE_MINUTES, default=DEFAULT_LIVE_MINUTES): whole_number(
            1, 1440, "min"
        ),
    }
)

SAID_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_LOG_EVENTS, default=DEFAULT_LOG_EVENTS): LEVEL_SELECTOR,
        probatio.Required(CONF_METRIC_LIMIT, default=DEFAULT_METRIC_LIMIT): whole_number(
            0, MOST_METRICS
        ),
    }
)

CLOUD_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_HEARTBEATS, default=DEFAULT_HEARTBEATS): BooleanSelector(),
        probatio.Optional(CONF_API_TOKEN): TextSelector(
            TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off")
        ),
        probatio.Required(CONF_DAILY_QUOTA_KB, default=DEFAULT_DAILY_QUOTA_KB): whole_number(
            0, 10_000_000, "KB"
        ),
    }
)

PANEL_SCHEMA = probatio.Schema(
    {probatio.Required(CONF_SHOW_PANEL, default=DEFAULT_SHOW_PANEL): BooleanSelector()}
)
TELEMETRY_SCHEMA = probatio.Schema(
    {probatio.Required(CONF_HEARTBEATS, default=DEFAULT_HEARTBEATS): BooleanSelector()}
)
ASSISTANTS_SCHEMA = probatio.Schema(
    {probatio.Required(CONF_OFFER_TO_ASSISTANTS, default=False): BooleanSelector()}
)
FIRMWARE_SCHEMA = probatio.Schema({probatio.Optional(CONF_FIRMWARE_FOLDER): TextSelector()})


def _storage(least: int) -> probatio.Schema:
    """Return the limits of what is kept here; *least* is that of age and size."""
    return probatio.Schema(
        {
            probatio.Required(CONF_RETENTION_DAYS, default=DEFAULT_RETENTION_DAYS): whole_number(
                least, 3650, "d"
            ),
            probatio.Required(CONF_RETENTION_MB, default=DEFAULT_RETENTION_MB): whole_number(
                least, 100_000, "MB"
            ),
            probatio.Required(
                CONF_UNDELIVERED_BUDGET_MB, default=DEFAULT_UNDELIVERED_BUDGET_MB
            ): whole_number(1, 100_000, "MB"),
        }
    )


STORAGE_SCHEMA = _storage(0)
KEPT_SCHEMA = _storage(1)

NUMBERS: Mapping[str, tuple[probatio.Schema, Mapping[str, str]]] = {
    SECTION_COLLECTION: (
        COLLECTION_SCHEMA,
        {
            CONF_COLLECT_INTERVAL: "interval_bounds",
            CONF_DEVICE_LIMIT: "device_limit_bounds",
            CONF_RESERVED_SLOTS: "reserved_slots_bounds",
            CONF_LIVE_MINUTES: "live_minutes_bounds",
        },
    ),
    SECTION_SAID: (SAID_SCHEMA, {CONF_METRIC_LIMIT: "metric_limit_bounds"}),
    SECTION_CLOUD: (CLOUD_SCHEMA, {CONF_DAILY_QUOTA_KB: "daily_limit_bounds"}),
    SECTION_STORAGE: (
        STORAGE_SCHEMA,
        {
            CONF_RETENTION_DAYS: "sent_days_bounds",
            CONF_RETENTION_MB: "sent_size_bounds",
            CONF_UNDELIVERED_BUDGET_MB: "waiting_size_bounds",
        },
    ),
    SECTION_KEPT: (
        KEPT_SCHEMA,
        {
            CONF_RETENTION_DAYS: "kept_days_bounds",
            CONF_RETENTION_MB: "kept_size_bounds",
            CONF_UNDELIVERED_BUDGET_MB: "waiting_size_bounds",
        },
    ),
}
"""Of each section the fields with a number, and what is said of one that is out of bounds."""


def beyond(typed: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the numbers of the form, for each section the first of it."""
    errors: dict[str, str] = {}
    for section_name, (schema, texts) in NUMBERS.items():
        for name in out_of_bounds(schema, typed.get(section_name, {})):
            errors.setdefault(section_name, texts[name])
    return errors
