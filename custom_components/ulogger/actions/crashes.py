"""The actions that show the crash groups of an account, and set what people make of them."""

from datetime import UTC, datetime
from typing import Final

import probatio
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_get_config_entry, async_register_admin_service
from homeassistant.util.json import JsonObjectType, JsonValueType

from ..const import DOMAIN
from ..errors import user_errors
from ..gateway.crash_words import crash_line
from ..gateway.gateway import Gateway
from ..insight.crash_groups import SET_BY_PEOPLE, CaptureKey, CrashGroup, CrashState, Occurrence
from ..panel.downloads import capture_path, core_path

ATTR_CONFIG_ENTRY_ID: Final = "config_entry_id"
ATTR_FINGERPRINT: Final = "fingerprint"
ATTR_LIMIT: Final = "limit"
ATTR_STATE: Final = "state"
ATTR_VERSION: Final = "version"
MOST_GROUPS: Final = 500
LONGEST_VERSION: Final = 64
LONGEST_FINGERPRINT: Final = 64

_FINGERPRINT: Final = probatio.All(
    cv.string, str.strip, str.lower, probatio.Length(min=1, max=LONGEST_FINGERPRINT)
)

GET_CRASHES_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY_ID): cv.string,
        probatio.Optional(ATTR_STATE, default=list): probatio.All(
            cv.ensure_list, [probatio.In([each.value for each in CrashState])]
        ),
        probatio.Optional(ATTR_FINGERPRINT): _FINGERPRINT,
        probatio.Optional(ATTR_LIMIT, default=20): probatio.All(
            probatio.Coerce(int), probatio.Range(min=1, max=MOST_GROUPS)
        ),
    }
)
SET_CRASH_STATE_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY_ID): cv.string,
        probatio.Required(ATTR_FINGERPRINT): _FINGERPRINT,
        probatio.Required(ATTR_STATE): probatio.In(
            [each.value for each in CrashState if each in SET_BY_PEOPLE]
        ),
        probatio.Optional(ATTR_VERSION): probatio.All(
            cv.string, str.strip, probatio.Length(min=1, max=LONGEST_VERSION)
        ),
    }
)


@callback
def async_register_crash_actions(hass: HomeAssistant) -> None:
    """Register the actions."""
    async_register_admin_service(
        hass,
        DOMAIN,
        "get_crashes",
        _get_crashes,
        GET_CRASHES_SCHEMA,
        supports_response=SupportsResponse.ONLY,
    )
    async_register_admin_service(
        hass,
        DOMAIN,
        "set_crash_state",
        _set_crash_state,
        SET_CRASH_STATE_SCHEMA,
        supports_response=SupportsResponse.OPTIONAL,
    )


async def _get_crashes(call: ServiceCall) -> ServiceResponse:
    """Return crash groups, the one that was last seen first; of a single one the whole report."""
    gateway = _gateway(call)
    wanted, limit = call.data.get(ATTR_FINGERPRINT), call.data[ATTR_LIMIT]
    states = call.data[ATTR_STATE]
    if wanted is None:
        groups = [each for each in gateway.crashes.groups if not states or each.state in states]
    else:
        groups = [_found(gateway, wanted)]
    with user_errors(gateway.entry.title):
        rows = await gateway.account.outbox.listing()
    here = {CaptureKey(str(row.capture_id), row.captured_at) for row in rows}
    described = [
        {**_describe(call.hass, group), "occurrences": _occurrences(gateway, group, here, limit)}
        for group in groups[:limit]
    ]
    if wanted is not None:
        described[0]["report"] = await _report(gateway, groups[0], here)
    return {"crashes": described, "more": max(len(groups) - limit, 0)}


async def _set_crash_state(call: ServiceCall) -> ServiceResponse:
    """Set what people make of a crash group, and return it."""
    gateway = _gateway(call)
    state, version = CrashState(call.data[ATTR_STATE]), call.data.get(ATTR_VERSION)
    group = _found(gateway, call.data[ATTR_FINGERPRINT])
    if version is not None and state is not CrashState.RESOLVED:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="version_without_resolved",
            translation_placeholders={"fingerprint": group.fingerprint, "version": version},
        )
    await gateway.crashes.async_set_state(group.fingerprint, state, version)
    return _describe(call.hass, group)


def _gateway(call: ServiceCall) -> Gateway:
    entry = async_get_config_entry(call.hass, DOMAIN, call.data.get(ATTR_CONFIG_ENTRY_ID))
    gateway: Gateway = entry.runtime_data
    return gateway


def _found(gateway: Gateway, fingerprint: str) -> CrashGroup:
    """Return a crash group; raises ServiceValidationError when there is no such one."""
    if (group := gateway.crashes.groups.get(fingerprint)) is None:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key="no_such_crash",
            translation_placeholders={
                "account": gateway.entry.title,
                "fingerprint": fingerprint,
            },
        )
    return group


def _describe(hass: HomeAssistant, group: CrashGroup) -> JsonObjectType:
    return {
        "fingerprint": group.fingerprint,
        "application": group.application_id,
        "reason": crash_line(hass, group),
        "fault_kind": group.fault_kind or None,
        "place": group.place or None,
        "state": group.state.value,
        "resolved_in": list(group.resolved_in),
        "count": group.count,
        "first_seen": _moment(group.first_seen),
        "last_seen": _moment(group.last_seen),
        "devices": {name: _moment(at) for name, at in reversed(group.devices.items())},
        "versions": {name: _moment(at) for name, at in reversed(group.versions.items())},
    }


def _occurrences(
    gateway: Gateway, group: CrashGroup, here: set[CaptureKey], limit: int
) -> list[JsonValueType]:
    """Describe the latest occurrences, with their core dump as long as it is here."""
    return [
        {
            "time": _moment(each.at),
            "device": each.device,
            "firmware_version": each.version,
            "git_hash": each.git_hash,
            "reason": crash_line(gateway.account.hass, each),
            "capture": int(each.capture_id) if each.key in here else None,
            **_downloads(gateway.entry.entry_id, each, here=each.key in here),
        }
        for each in _latest(group)[:limit]
    ]


def _downloads(entry_id: str, each: Occurrence, *, here: bool) -> dict[str, JsonValueType]:
    """Return where the core dump is downloaded, as it came and for a debugger."""
    capture_id = int(each.capture_id)
    return {
        "download": capture_path(entry_id, capture_id) if here else None,
        "core_file": core_path(entry_id, capture_id) if here else None,
    }


async def _report(gateway: Gateway, group: CrashGroup, here: set[CaptureKey]) -> JsonValueType:
    """Return the report of the latest occurrence whose core dump is here; None without one."""
    with user_errors(gateway.entry.title):
        for each in _latest(group):
            if each.key in here and (report := await gateway.crashes.async_report(each)):
                return report.as_dict()
    return None


def _latest(group: CrashGroup) -> list[Occurrence]:
    return sorted(group.occurrences.values(), key=lambda each: -each.at)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
