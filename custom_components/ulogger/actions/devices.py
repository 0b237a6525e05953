"""The actions: what a person or an automation can ask of a device or of the gateway."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import probatio
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_register_admin_service
from homeassistant.util.json import JsonValueType

from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..errors import user_errors
from ..gateway.destinations import ActiveDestination
from ..model.level import LEVELS
from ..model.log_config import ALL_MODULES, LONGEST, MODULES, SHORTEST, LogConfig
from ..model.log_levels import PERSON, Wish
from ..outbox.model import Outcome
from .captures import async_register_capture_actions
from .crashes import async_register_crash_actions
from .firmware import async_register_firmware_actions
from .logs import async_register_log_actions
from .publish import async_register_publish_actions
from .targets import async_targets, gateway_of, required

ATTR_TIMEOUT = "timeout"
ATTR_LEVEL = "level"
ATTR_MODULES = "modules"
ATTR_DURATION = "duration"

UPLOAD_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Optional(ATTR_TIMEOUT, default=120): probatio.All(
            probatio.Coerce(int), probatio.Range(min=5, max=3600)
        ),
    }
)
LOG_LEVEL_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_LEVEL): probatio.In(LEVELS),
        probatio.Optional(ATTR_MODULES, default=list): probatio.All(
            cv.ensure_list, [probatio.Any(int, cv.string)]
        ),
        probatio.Required(ATTR_DURATION): probatio.All(
            cv.time_period,
            probatio.Range(min=timedelta(seconds=SHORTEST), max=timedelta(seconds=LONGEST)),
        ),
    }
)
FORGET_SCHEMA = probatio.Schema({**cv.TARGET_FIELDS})


@callback
def async_register_actions(hass: HomeAssistant) -> None:
    """Register all actions; those that change or show what devices log need an administrator."""
    hass.services.async_register(
        DOMAIN, "upload", _upload, UPLOAD_SCHEMA, supports_response=SupportsResponse.OPTIONAL
    )
    async_register_admin_service(hass, DOMAIN, "set_log_level", _set_log_level, LOG_LEVEL_SCHEMA)
    async_register_admin_service(hass, DOMAIN, "forget_session", _forget_session, FORGET_SCHEMA)
    async_register_publish_actions(hass)
    async_register_capture_actions(hass)
    async_register_log_actions(hass)
    async_register_firmware_actions(hass)
    async_register_crash_actions(hass)


async def _upload(call: ServiceCall) -> ServiceResponse:
    """Collect the devices now, wait until the cloud has everything, and return what it was."""
    devices = async_targets(call.hass, call).devices
    seconds = call.data[ATTR_TIMEOUT]
    # One device out of range must not keep the others from being uploaded.
    uploads = await asyncio.gather(
        *(_upload_device(device, seconds) for device in devices), return_exceptions=True
    )
    done: dict[str, JsonValueType] = {}
    for device, upload in zip(devices, uploads, strict=True):
        if isinstance(upload, BaseException):
            raise upload
        done[device.identity.serial] = upload
    return {"devices": done}


async def _upload_device(device: DeviceCoordinator, seconds: float) -> dict[str, JsonValueType]:
    gateway = gateway_of(device)
    serial = device.identity.serial
    with user_errors(serial):
        try:
            async with asyncio.timeout(seconds):
                added = await device.async_collect()
        except TimeoutError as err:
            raise _error("collect_timeout", serial, seconds) from err
    ids = {
        each.capture_id
        for each in added
        if each.outcome is not Outcome.DUPLICATE and each.capture_id is not None
    }
    gateway.async_retry_now()
    there = await asyncio.gather(
        *(_deliver(each, device, ids, seconds) for each in gateway.destinations.values())
    )
    # With several destinations each says for itself how it went.
    if there and all(each.error for each in there):
        if there[0].error is _Missed.UNREACHABLE:
            raise _error("cloud_unreachable", serial, seconds)
        raise _error("delivery_timeout", serial, seconds)
    everywhere = ids.intersection(*(each.delivered for each in there)) if there else set()
    return {
        "collected": [
            {
                "id": each.capture_id,
                "outcome": each.outcome.value,
                "bytes": each.size,
                "may_repeat": each.may_repeat,
            }
            for each in added
        ],
        "delivered": len(everywhere),
        "destinations": {
            each.title: {"delivered": len(each.delivered), "error": each.error} for each in there
        },
        "bytes": sum(each.size for each in added),
    }


class _Missed(StrEnum):
    UNREACHABLE = "cloud_unreachable"
    TIMEOUT = "delivery_timeout"


@dataclass(frozen=True, slots=True)
class _There:
    """What one destination has got: the captures, or why not all of them."""

    title: str
    delivered: set[int]
    error: _Missed | None = None


async def _deliver(
    destination: ActiveDestination, device: DeviceCoordinator, ids: set[int], seconds: float
) -> _There:
    """Wait until a destination has captures of a device."""
    if ids and not destination.connected:
        return _There(destination.title, set(), _Missed.UNREACHABLE)
    with user_errors(device.identity.serial):
        delivered = await destination.delivery.wait_delivered(device.identity.key, ids, seconds)
    return _There(destination.title, delivered, _Missed.TIMEOUT if delivered < ids else None)


async def _set_log_level(call: ServiceCall) -> None:
    """Have devices log at a level for a time, at once or when they are next connected."""
    devices = async_targets(call.hass, call).devices
    level = LEVELS.index(call.data[ATTR_LEVEL])
    seconds = round(call.data[ATTR_DURATION].total_seconds())
    modules = [_modules(device, call.data[ATTR_MODULES]) for device in devices]
    for device, (flags, names) in zip(devices, modules, strict=True):
        wish = Wish.of(PERSON, LogConfig(level, flags, seconds, names), time.time())
        with user_errors(device.identity.serial):
            await device.async_set_log_levels(device.record.log_levels.wished(wish))


def _modules(device: DeviceCoordinator, modules: list[int | str]) -> tuple[int, tuple[str, ...]]:
    """Turn names and numbers into flags, and into names as far as they are known."""
    if not modules:
        return ALL_MODULES, ()
    known = device.record.modules
    names = {bit: name for name, bit in known.items()}
    bits: dict[int, None] = {}
    for module in modules:
        bit = known.get(str(module), int(module) if str(module).isdecimal() else -1)
        if not 0 <= bit < MODULES:
            raise ServiceValidationError(
                translation_domain=DOMAIN,
                translation_key="invalid_module",
                translation_placeholders={
                    "module": str(module)[:64],
                    "known": ", ".join(sorted(known)) or "-",
                },
            )
        bits[bit] = None
    return sum(1 << bit for bit in bits), tuple(names.get(bit, str(bit)) for bit in bits)


async def _forget_session(call: ServiceCall) -> None:
    """Have devices registered again with their next capture."""
    for device in async_targets(call.hass, call).devices:
        gateway = gateway_of(device)
        for each in required(gateway, gateway.registers):
            await each.forget(device.identity.key)
        device.async_update_listeners()


def _error(key: str, serial: str, seconds: float) -> HomeAssistantError:
    return HomeAssistantError(
        translation_domain=DOMAIN,
        translation_key=key,
        translation_placeholders={"device": serial, "seconds": str(round(seconds)), "detail": ""},
    )
