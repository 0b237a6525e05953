"""Registrations and log configurations as they travel."""

import json
from typing import Any

from ...model.identity import DeviceIdentity
from ...model.log_config import MODULES, PACKET_SIZE, LogConfig
from ..errors import InvalidMessage

LARGEST_TOKEN = 0xFFFF_FFFF
LARGEST_REPLY = 4_096
LARGEST_LOG_CONFIG = 16_384
LONGEST_NUMBER = 10
LONGEST_MODULE = 64


def boot_message(device: DeviceIdentity) -> bytes:
    """Return the registration of a device: ``{"device_type", "git", "serial", "version"}``."""
    return json.dumps(
        {
            "device_type": device.device_type,
            "git": device.git_hash,
            "serial": device.serial,
            "version": device.git_version,
        }
    ).encode()


def parse_boot_reply(payload: bytes) -> int:
    """Return the session token of ``{"token": u32}``; raises InvalidMessage.

    ``"7"`` and ``7.0`` are 7. 0 stands for *no token* in a log's header, so it is none.
    """
    reply = _json(payload, LARGEST_REPLY)
    token = _whole_number(reply.get("token")) if isinstance(reply, dict) else None
    if token is None or not 0 < token <= LARGEST_TOKEN:
        raise InvalidMessage("the reply has no token from 1 to 4294967295")
    return token


def log_config_message(config: LogConfig) -> bytes:
    """Return a log configuration: 9 bytes, then the names as a JSON array if there are any."""
    return config.pack() + (json.dumps(list(config.modules)).encode() if config.modules else b"")


def parse_log_config(payload: bytes) -> tuple[LogConfig, bool]:
    """Read the 9 bytes of a log configuration, then a JSON array of module names.

    Also says whether the names could be read; a configuration is good without them. Raises
    InvalidMessage for fewer than 9 bytes, for far too many and for an unknown level: what a
    device should log then is anybody's guess.
    """
    if not PACKET_SIZE <= len(payload) <= LARGEST_LOG_CONFIG:
        raise InvalidMessage(f"a log configuration of {len(payload)} bytes")
    names, readable = _module_names(payload[PACKET_SIZE:])
    try:
        return LogConfig.unpack(payload[:PACKET_SIZE], names), readable
    except ValueError as err:
        raise InvalidMessage(str(err)) from err


def _module_names(tail: bytes) -> tuple[tuple[str, ...], bool]:
    if not tail:
        return (), True
    try:
        names = _json(tail, LARGEST_LOG_CONFIG)
    except InvalidMessage:
        return (), False
    if not isinstance(names, list) or len(names) > MODULES:
        return (), False
    texts = [str(name) if type(name) in {int, float} else name for name in names]
    if not all(isinstance(text, str) and len(text) <= LONGEST_MODULE for text in texts):
        return (), False
    return tuple(texts), True


def _whole_number(value: object) -> int | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str() if value.isascii() and value.isdecimal() and len(value) <= LONGEST_NUMBER:
            return int(value)
    return None


def _json(payload: bytes, largest: int) -> Any:
    if len(payload) > largest:
        raise InvalidMessage(f"a message of {len(payload)} bytes")
    try:
        return json.loads(payload.decode())
    except (ValueError, RecursionError) as err:
        raise InvalidMessage("the message is not JSON") from err
