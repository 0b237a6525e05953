"""What is done for a device by hand: registering it, and uploading a buffer out of a file."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import probatio
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_register_admin_service
from homeassistant.util.json import JsonValueType

from ..capture.core_dump import HEADER_SIZE, KNOWN_VERSION, CoreDumpHeader, check_core_dump
from ..capture.errors import CaptureError
from ..capture.log_buffer import check_log
from ..cloud.destination import RegistersDevices
from ..cloud.ulogger.topics import checked_serial
from ..const import DOMAIN
from ..errors import user_errors
from ..gateway.gateway import Gateway
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from ..model.plain_text import one_line
from ..outbox.model import Outcome
from .samples import ATTR_TIMESTAMP, TIME, mistake, parse_time
from .targets import async_targets, gateway_of, name_of, required

_LOGGER = logging.getLogger(__name__)

ATTR_PATH = "path"
ATTR_KIND = "kind"
ATTR_TIMEOUT = "timeout"
ATTR_APPLICATION_ID = "application_id"
ATTR_SERIAL = "serial"
LARGEST_FILE = 1024 * 1024
LONGEST_TEXT = 128
"""Bytes of a device's whole identification."""

_TEXT = probatio.All(cv.string, probatio.Length(max=LONGEST_TEXT))
KEY_FIELDS = {
    probatio.Optional(ATTR_APPLICATION_ID): probatio.All(
        probatio.Coerce(int), probatio.Range(min=0, max=0xFFFF_FFFF)
    ),
    probatio.Optional(ATTR_SERIAL): _TEXT,
}
IDENTITY_FIELDS = {
    **KEY_FIELDS,
    **{probatio.Optional(name): _TEXT for name in ("device_type", "git_version", "git_hash")},
}
IDENTITY_NAMES = tuple(map(str, IDENTITY_FIELDS))
REGISTER_SCHEMA = probatio.Schema({**cv.TARGET_FIELDS, **IDENTITY_FIELDS})
UPLOAD_FILE_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Required(ATTR_PATH): cv.string,
        probatio.Optional(ATTR_KIND): probatio.In([each.value for each in CaptureKind]),
        probatio.Optional(ATTR_TIMESTAMP): TIME,
        **IDENTITY_FIELDS,
        probatio.Optional(ATTR_TIMEOUT, default=30): probatio.All(
            probatio.Coerce(int), probatio.Range(min=0, max=3600)
        ),
    }
)


@callback
def async_register_actions_by_hand(hass: HomeAssistant) -> None:
    """Register the actions; who speaks in a device's name to the cloud is an administrator."""
    for name, act, schema in (
        ("register", _register, REGISTER_SCHEMA),
        ("upload_file", _upload_file, UPLOAD_FILE_SCHEMA),
    ):
        async_register_admin_service(
            hass, DOMAIN, name, act, schema, supports_response=SupportsResponse.OPTIONAL
        )


async def _register(call: ServiceCall) -> ServiceResponse:
    """Have devices registered now, each by itself; return what became of each.

    The tokens stay here. The action fails only if no device could be registered.
    """
    if call.data.keys() & set(IDENTITY_NAMES):
        gateway, identity = whose(call)
        wanted = [(gateway, checked(identity))]
    else:
        devices = async_targets(call.hass, call).devices
        wanted = [(gateway_of(device), device.identity) for device in devices]
    able = {gateway: required(gateway, gateway.registers) for gateway, _ in wanted}
    results = await asyncio.gather(
        *(_register_one(able[gateway], gateway, identity) for gateway, identity in wanted)
    )
    errors = [error for error in results if error is not None]
    if len(errors) == len(results):
        raise errors[0]
    for (gateway, identity), error in zip(wanted, results, strict=True):
        device = gateway.devices.get(identity.key)
        if device is not None and error is None:
            device.async_update_listeners()
    answer: dict[str, JsonValueType] = {
        identity.serial: {
            "registered": error is None,
            "error": None if error is None else error.translation_key,
        }
        for (_, identity), error in zip(wanted, results, strict=True)
    }
    return {"devices": answer}


async def _register_one(
    able: Iterable[RegistersDevices], gateway: Gateway, identity: DeviceIdentity
) -> HomeAssistantError | None:
    try:
        with user_errors(name_of(gateway, identity.key)):
            for each in able:
                await each.register(identity)
    except HomeAssistantError as err:
        return err
    return None


async def _upload_file(call: ServiceCall) -> ServiceResponse:
    """Take a buffer out of a file as if it came off its device, and have it delivered.

    It is on disk here before anything is sent, and goes wherever the account's captures go.
    """
    gateway, identity = whose(call)
    data, written = await call.hass.async_add_executor_job(_read, call.hass, call.data[ATTR_PATH])
    try:
        kind, header = _kind(data, call.data.get(ATTR_KIND))
    except CaptureError as err:
        _LOGGER.info("%s is no capture: %s", call.data[ATTR_PATH], one_line(err))
        raise mistake("not_a_capture", path=call.data[ATTR_PATH]) from err
    if header is not None and not identity.serial:
        identity = header.device
    at = parse_time(call.data.get(ATTR_TIMESTAMP))
    capture = Capture(
        kind, checked(identity), data, min(written, time.time()) if at is None else at
    )
    name = name_of(gateway, identity.key)
    with user_errors(name):
        await gateway.account.disk_space.check()
        added = await gateway.account.outbox.add(capture)
    gateway.async_stored(identity.key)
    ids = set() if added.capture_id is None else {added.capture_id}
    there = list(gateway.destinations.values())
    with user_errors(name):
        delivered = await asyncio.gather(
            *(
                each.delivery.wait_delivered(identity.key, ids, call.data[ATTR_TIMEOUT])
                for each in there
            )
        )
    return {
        "id": added.capture_id,
        "kind": kind.value,
        "serial": identity.serial,
        "outcome": added.outcome.value,
        "new": added.outcome is not Outcome.DUPLICATE,
        "bytes": added.size,
        "may_repeat": added.may_repeat,
        "delivered": {
            each.title: bool(ids) and done == ids
            for each, done in zip(there, delivered, strict=True)
        },
    }


def whose(call: ServiceCall) -> tuple[Gateway, DeviceIdentity]:
    """Return the account, and who the device is: the target's identity, or what the call says.

    With the account as target and nothing said, the serial is empty: a core dump may name it.
    """
    targets = async_targets(call.hass, call, gateways=True)
    if len(targets.devices) + len(targets.gateways) != 1:
        raise mistake("one_target")
    said = {name: call.data[name] for name in IDENTITY_NAMES if name in call.data}
    if targets.devices:
        (device,) = targets.devices
        return gateway_of(device), replace(device.identity, **said)
    if (ATTR_SERIAL in said) is not (ATTR_APPLICATION_ID in said):
        raise mistake("no_identity")
    return targets.gateways[0], replace(DeviceIdentity(0, ""), **said)


def checked(identity: DeviceIdentity) -> DeviceIdentity:
    """Return an identity that a device can have."""
    if not identity.serial:
        raise mistake("no_identity")
    with user_errors(identity.serial):
        checked_serial(identity.serial)
    return identity


def _read(hass: HomeAssistant, path: str) -> tuple[bytes, float]:
    """Return a file's content, and when it was written (Unix seconds); blocks."""
    try:
        # What is checked is what is read: a link could point elsewhere a moment later.
        file = Path(path).resolve(strict=True)
        if not hass.config.is_allowed_path(str(file)):
            raise mistake("path_not_allowed", path=path)
        if not file.is_file():
            # A pipe would be waited on for ever.
            raise mistake("file_unreadable", path=path)
        with file.open("rb") as opened:
            data = opened.read(LARGEST_FILE + 1)
        written = file.stat().st_mtime
    except (OSError, RuntimeError, ValueError) as err:
        raise mistake("file_unreadable", path=path) from err
    if len(data) > LARGEST_FILE:
        raise mistake("file_too_large", path=path)
    return data, written


def _kind(data: bytes, said: str | None) -> tuple[CaptureKind, CoreDumpHeader | None]:
    """Return what a buffer is, whole and unharmed; a core dump with who it is from.

    Raises CaptureError for one that is neither whole log nor whole core dump.
    """
    if said != CaptureKind.LOG:
        try:
            header = check_core_dump(data)
        except CaptureError:
            if said is not None:
                raise
        else:
            # Nearly anything passes for a dump of a version that nobody knows.
            if header.version == KNOWN_VERSION or (said and header.length >= HEADER_SIZE):
                return CaptureKind.CORE_DUMP, header
            if said is not None:
                raise CaptureError(f"a core dump of {header.length} bytes")
    check_log(data)
    return CaptureKind.LOG, None
