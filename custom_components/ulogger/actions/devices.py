"""The actions: what a person or an automation can ask of a device or of the gateway."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from ..outbox.model import Added, Outcome
from .by_hand import async_register_actions_by_hand
from .captures import async_register_capture_actions
from .collect import RELOADED_WITHIN, async_collect, async_loaded_again
from .crashes import async_register_crash_actions
from .firmware import async_register_firmware_actions
from .logs import async_register_log_actions
from .pepeunit import async_register_pepeunit_actions
from .publish import async_register_publish_actions
from .targets import Targets, async_targets, gateway_of, required

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
    async_register_actions_by_hand(hass)
    async_register_log_actions(hass)
    async_register_pepeunit_actions(hass)
    async_register_firmware_actions(hass)
    async_register_crash_actions(hass)


async def _upload(call: ServiceCall) -> ServiceResponse:
    """Collect the devices now, wait until the cloud has everything, and return what it was.

    Each device has a result of its own; raises HomeAssistantError only when all of them failed.
    """
    targets = async_targets(call.hass, call, refuse=True)
    devices, seconds = targets.devices, call.data[ATTR_TIMEOUT]
    uploads = await asyncio.gather(*(_upload_device(device, seconds) for device in devices))
    names = [device.called for device in devices]
    for entry, refusal in targets.refused:
        uploads.append(_Upload(error=refusal))
        names.append(entry.name_by_user or entry.name or entry.id)
    errors = [error for upload in uploads if (error := upload.error) is not None]
    if len(errors) == len(uploads):
        raise _none_uploaded(names, errors)
    told: dict[str, JsonValueType] = {
        key: upload.told() for key, upload in zip(_keys(targets), uploads, strict=True)
    }
    return {"devices": told}


def _keys(targets: Targets) -> list[str]:
    """Name the devices by their serials; those that share one with their application, too."""
    full = [device.identifier[1] for device in targets.devices]
    serials = [device.identity.serial for device in targets.devices]
    for entry, _ in targets.refused:
        full += [name for domain, name in entry.identifiers if domain == DOMAIN][:1]
        serials.append(full[-1].partition("-")[2] or full[-1])
    return [
        name if serials.count(serial) > 1 else serial
        for name, serial in zip(full, serials, strict=True)
    ]


@dataclass(slots=True)
class _Upload:
    """What became of one device: what came to disk, and where it is by now."""

    added: list[Added] = field(default_factory=list)
    delivered: int = 0
    destinations: list[_There] = field(default_factory=list)
    error: HomeAssistantError | None = None

    def told(self) -> dict[str, JsonValueType]:
        """Return it as the action answers."""
        error: JsonValueType = None
        if self.error is not None:
            error = {"reason": self.error.translation_key, "message": str(self.error)}
        return {
            "collected": [
                {
                    "id": each.capture_id,
                    "outcome": each.outcome.value,
                    "bytes": each.size,
                    "may_repeat": each.may_repeat,
                }
                for each in self.added
            ],
            "delivered": self.delivered,
            "destinations": {
                each.title: {"delivered": len(each.delivered), "error": each.error}
                for each in self.destinations
            },
            "bytes": sum(each.size for each in self.added),
            "error": error,
        }


async def _upload_device(device: DeviceCoordinator, seconds: float) -> _Upload:
    """Collect a device and wait for its destinations; what goes wrong is part of the result."""
    upload = _Upload()
    try:
        await _collect_and_deliver(device, seconds, upload)
    except HomeAssistantError as err:
        upload.error = err
    return upload


async def _collect_and_deliver(device: DeviceCoordinator, seconds: float, upload: _Upload) -> None:
    """Note in *upload* what comes of it; raises HomeAssistantError."""
    name = device.called
    with user_errors(name):
        try:
            async with asyncio.timeout(seconds):
                upload.added = added = await async_collect(device)
        except TimeoutError as err:
            raise _error("collect_timeout", name, seconds) from err
        await async_loaded_again(device.hass, device.account.entry, min(seconds, RELOADED_WITHIN))
    gateway = gateway_of(device)
    ids = {
        each.capture_id
        for each in added
        if each.outcome is not Outcome.DUPLICATE and each.capture_id is not None
    }
    gateway.async_retry_now()
    upload.destinations = there = await asyncio.gather(
        *(_deliver(each, device, ids, seconds) for each in gateway.destinations.values())
    )
    everywhere = ids.intersection(*(each.delivered for each in there)) if there else set()
    upload.delivered = len(everywhere)
    # With several destinations each says for itself how it went.
    if there and all(each.error for each in there):
        if there[0].error is _Missed.UNREACHABLE:
            raise _error("cloud_unreachable", name, seconds)
        raise _error("delivery_timeout", name, seconds)


def _none_uploaded(
    names: Sequence[str], errors: Sequence[HomeAssistantError]
) -> HomeAssistantError:
    """Say why no device could be uploaded, of several for each of them."""
    if len(errors) == 1:
        return errors[0]
    reasons = " ".join(
        said if name in (said := str(error)) else f"{name}: {said}"
        for name, error in zip(names, errors, strict=True)
    )
    return HomeAssistantError(
        translation_domain=DOMAIN,
        translation_key="none_uploaded",
        translation_placeholders={"count": str(len(errors)), "reasons": reasons},
    )


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
    with user_errors(device.called):
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
        with user_errors(device.called):
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
            about = {"device": device.called, "module": str(module)[:64]}
            if not known:
                raise ServiceValidationError(
                    translation_domain=DOMAIN,
                    translation_key="no_module_names",
                    translation_placeholders=about,
                )
            raise ServiceValidationError(
                translation_domain=DOMAIN,
                translation_key="invalid_module",
                translation_placeholders={**about, "known": ", ".join(sorted(known))},
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


def _error(key: str, device: str, seconds: float) -> HomeAssistantError:
    return HomeAssistantError(
        translation_domain=DOMAIN,
        translation_key=key,
        translation_placeholders={"device": device, "seconds": str(round(seconds))},
    )
