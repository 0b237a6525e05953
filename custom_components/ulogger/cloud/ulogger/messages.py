"""Registrations and log configurations as they travel."""

import json
from dataclasses import dataclass
from struct import Struct
from typing import Any

from ...model.identity import DeviceIdentity
from ..errors import InvalidMessage

LEVELS = ("debug", "info", "warning", "error", "critical")
LARGEST_TOKEN = 0xFFFF_FFFF
LARGEST_REPLY = 4_096
LARGEST_LOG_CONFIG = 16_384
LONGEST_NUMBER = 10
MOST_MODULES = 32
"""A module is a bit of 32."""
LONGEST_MODULE = 64
_LOG_CONFIG = Struct("<BII")


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


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What the cloud wants a device to log.

    ``level`` is 0 (DEBUG) to 4 (CRITICAL), ``module_flags`` one bit a module, ``modules`` the
    names of the modules meant; the device goes back to its own defaults after
    ``timeout_seconds``.
    """

    level: int
    module_flags: int
    timeout_seconds: int
    modules: tuple[str, ...] = ()

    @property
    def level_name(self) -> str:
        """The level's name in lower case."""
        return LEVELS[self.level]

    def encode(self) -> bytes:
        """Return the message: 9 bytes, then the names as a JSON array if there are any."""
        head = _LOG_CONFIG.pack(self.level, self.module_flags, self.timeout_seconds)
        return head + (json.dumps(list(self.modules)).encode() if self.modules else b"")

    @classmethod
    def parse(cls, payload: bytes) -> tuple[LogConfig, bool]:
        """Read ``u8 level, u32 module_flags, u32 timeout_seconds``, then a JSON array of names.

        Also tells whether the names could be read; a configuration is good without them.
        Raises InvalidMessage for fewer than 9 bytes, for far too many and for an unknown
        level: what a device should log then is anybody's guess.
        """
        if not _LOG_CONFIG.size <= len(payload) <= LARGEST_LOG_CONFIG:
            raise InvalidMessage(f"a log configuration of {len(payload)} bytes")
        level, flags, timeout = _LOG_CONFIG.unpack_from(payload)
        if level >= len(LEVELS):
            raise InvalidMessage(f"log level {level} is not one of 0 to {len(LEVELS) - 1}")
        names, readable = _module_names(payload[_LOG_CONFIG.size :])
        return cls(level, flags, timeout, names), readable


def _module_names(tail: bytes) -> tuple[tuple[str, ...], bool]:
    if not tail:
        return (), True
    try:
        names = _json(tail, LARGEST_LOG_CONFIG)
    except InvalidMessage:
        return (), False
    if not isinstance(names, list) or len(names) > MOST_MODULES:
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
