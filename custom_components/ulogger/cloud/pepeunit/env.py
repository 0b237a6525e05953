"""The file ``env.json``: where a unit's Pepeunit is, and what it may say there.

It holds the unit's permanent token and two keys: whoever has the file is the unit.
"""

import json
from base64 import b64decode, urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from re import ASCII
from re import compile as regular
from typing import Any, Final, Self
from uuid import UUID

from .errors import InvalidFile
from .records import LEVELS

LARGEST: Final = 65_536
LONGEST_LINE: Final = 4096
KEY_SIZES: Final = (16, 24, 32)
SECRET_NAMES: Final = frozenset({"PU_AUTH_TOKEN", "PU_SECRET_KEY", "PU_ENCRYPT_KEY"})
MOST_RING: Final = 10_000
LONGEST_INTERVAL: Final = 86_400
DEFAULTS: Final[Mapping[str, Any]] = {
    "PU_HTTP_TYPE": "https",
    "PU_APP_PREFIX": "",
    "PU_API_ACTUAL_PREFIX": "",
    "PU_MQTT_PORT": 1883,
    "PU_MQTT_PING_INTERVAL": 20,
    "PU_MQTT_KEEPALIVE": 60,
    "PU_SECRET_KEY": "",
    "PU_ENCRYPT_KEY": "",
    "PU_STATE_SEND_INTERVAL": 300,
    "PU_MIN_LOG_LEVEL": "Debug",
    "PU_MAX_LOG_LENGTH": 64,
    "PU_COMMIT_VERSION": "",
}
"""What may be missing, as the published client has it."""

_HOST = regular(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]+", ASCII
)
_DOMAIN = regular(rf"(?:{_HOST.pattern})(?::\d{{1,5}})?", ASCII)
_PREFIX = regular(r"(?:/[A-Za-z0-9._~-]+)*", ASCII)
_VERSION = regular(r"[A-Za-z0-9._+/-]{0,128}", ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """A checked ``env.json``; ``text`` is the file itself, ``unit`` the UUID that its token names.

    Keepalive and interval are in seconds, ``log_length`` counts records.
    """

    text: str
    unit: str
    domain: str
    api: str
    host: str
    port: int
    keepalive: int
    token: str
    secret_key: str
    encrypt_key: str
    state_interval: int
    min_level: int
    log_length: int
    commit: str

    @classmethod
    def parse(cls, content: str | bytes | Mapping[str, Any]) -> Self:
        """Read a file, field by field; raises InvalidFile."""
        values = {**DEFAULTS, **read_object(content, LARGEST)}
        fields = _Fields(values)
        scheme = fields.choice("PU_HTTP_TYPE", ("http", "https"))
        domain = fields.matching("PU_DOMAIN", _DOMAIN)
        prefixes = [
            fields.matching(name, _PREFIX) for name in ("PU_APP_PREFIX", "PU_API_ACTUAL_PREFIX")
        ]
        token = fields.line("PU_AUTH_TOKEN")
        return cls(
            text=_as_text(values),
            unit=unit_of(token),
            domain=domain,
            api=f"{scheme}://{domain}{''.join(prefixes)}",
            host=fields.matching("PU_MQTT_HOST", _HOST),
            port=fields.whole("PU_MQTT_PORT", 1, 65_535),
            keepalive=fields.whole("PU_MQTT_KEEPALIVE", 5, 65_535),
            token=token,
            secret_key=fields.key("PU_SECRET_KEY"),
            encrypt_key=fields.key("PU_ENCRYPT_KEY"),
            state_interval=fields.whole("PU_STATE_SEND_INTERVAL", 1, LONGEST_INTERVAL),
            min_level=LEVELS.index(fields.choice("PU_MIN_LOG_LEVEL", LEVELS)),
            log_length=fields.whole("PU_MAX_LOG_LENGTH", 1, MOST_RING),
            commit=fields.matching("PU_COMMIT_VERSION", _VERSION),
        )

    @property
    def public(self) -> dict[str, Any]:
        """The file without its token and keys, for a person."""
        values: dict[str, Any] = json.loads(self.text)
        return {name: value for name, value in values.items() if name not in SECRET_NAMES}

    @property
    def secrets(self) -> list[str]:
        """What of it nobody may see."""
        return [each for each in (self.token, self.secret_key, self.encrypt_key) if each]


def read_object(content: str | bytes | Mapping[str, Any], largest: int) -> dict[str, Any]:
    """Read a JSON object, also one that was put into a JSON string; raises InvalidFile."""
    if isinstance(content, Mapping):
        return dict(content)
    if len(content) > largest:
        raise InvalidFile("file_too_large")
    try:
        value = json.loads(content)
        if isinstance(value, str):
            value = json.loads(value)
    except (ValueError, RecursionError) as err:
        raise InvalidFile("not_json") from err
    if not isinstance(value, dict):
        raise InvalidFile("not_an_object")
    return value


def _as_text(values: Mapping[str, Any]) -> str:
    """Return a file as it is kept; raises InvalidFile for what no file can hold."""
    for name, value in values.items():
        try:
            json.dumps({name: value}, ensure_ascii=False).encode()
        except (UnicodeError, RecursionError) as err:
            raise InvalidFile("invalid_field", ascii(name)[1:-1][:128]) from err
    return json.dumps(values, ensure_ascii=False, sort_keys=True)


def unit_of(token: str) -> str:
    """Return the UUID of the unit that a token is for; raises InvalidFile.

    The token's signature is nobody's to check but Pepeunit's.
    """
    parts = token.split(".")
    try:
        head, payload, _ = parts
        if json.loads(_decoded(head)).get("alg", "").lower() == "none":
            raise InvalidFile("invalid_token", "PU_AUTH_TOKEN")
        claims = json.loads(_decoded(payload))
        if claims.get("type", "Unit") != "Unit":
            raise InvalidFile("not_a_units_token", "PU_AUTH_TOKEN")
        return str(UUID(claims["uuid"]))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as err:
        raise InvalidFile("invalid_token", "PU_AUTH_TOKEN") from err


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part.encode() + b"=" * (-len(part) % 4))


class _Fields:
    """Checks the values of a file by their names; each raises InvalidFile."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def line(self, name: str, *, empty: bool = False) -> str:
        if (value := self._values.get(name)) is None:
            raise InvalidFile("missing_field", name)
        if not isinstance(value, str):
            raise InvalidFile("not_text", name)
        if not value and not empty:
            raise InvalidFile("missing_field", name)
        if len(value) > LONGEST_LINE or not value.isprintable() or not value.isascii():
            raise InvalidFile("invalid_field", name)
        return value

    def matching(self, name: str, pattern: Any) -> str:
        value = self.line(name, empty=pattern.fullmatch("") is not None)
        if pattern.fullmatch(value) is None:
            raise InvalidFile("invalid_field", name)
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        if (value := self.line(name)) not in choices:
            raise InvalidFile("invalid_choice", name, ", ".join(choices))
        return value

    def whole(self, name: str, least: int, most: int) -> int:
        value = self._values.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        if type(value) is not int:
            raise InvalidFile("not_a_number", name)
        if not least <= value <= most:
            raise InvalidFile("out_of_range", name, f"{least}-{most}")
        return value

    def key(self, name: str) -> str:
        """Check a key of 16, 24 or 32 bytes in Base64; there may be none."""
        if not (value := self.line(name, empty=True)):
            return ""
        try:
            size = len(b64decode(value, validate=True))
        except (Base64Error, ValueError) as err:
            raise InvalidFile("invalid_key", name) from err
        if size not in KEY_SIZES:
            raise InvalidFile("invalid_key", name)
        return value
