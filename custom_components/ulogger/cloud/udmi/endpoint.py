"""Where a UDMI gateway connects to, as UDMI's endpoint configuration says, field by field."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

LARGEST: Final = 64 * 1024
DEFAULT_PORT: Final = 8883
DEFAULT_PREFIX: Final = "/devices"
DEFAULT_SYNC: Final = 10.0
"""Seconds that the first state waits for a config."""
LONGEST_SYNC: Final = 600.0
RS256: Final = "RS256"
ES256: Final = "ES256"
ALGORITHMS: Final = (RS256, ES256)

_DEVICE_ID = re.compile(r"[A-Z]{2,6}-[1-9][0-9]{0,15}")
_PREFIX = re.compile(r"[-_/a-zA-Z0-9]+")
_HOST = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]{2,39}")
_MOSQUITTO = re.compile(r"/?(r/[^/]+/d)/[^/]+")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,1024}")


class InvalidEndpoint(ValueError):
    """An endpoint can't be used; ``reason`` names the case and ``field`` what it is about."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A broker, and who this gateway is there.

    ``prefix`` begins with a slash and ends without one. ``audience`` is there for a token;
    ``username`` for a password, which is taken from the key where there is none. ``algorithm`` is
    empty where nothing says it. ``sync`` is how many seconds the first state waits for a config.
    """

    hostname: str
    port: int = DEFAULT_PORT
    client_id: str
    prefix: str = DEFAULT_PREFIX
    encrypted: bool = True
    audience: str = ""
    username: str = ""
    password: str = ""
    algorithm: str = ""
    sync: float = DEFAULT_SYNC
    acknowledges: bool = True
    generation: str = ""

    @property
    def device_id(self) -> str:
        """The gateway's own ID: the last part of its client ID."""
        return self.client_id.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Host and port, as a person reads them."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"

    def without_secrets(self) -> Self:
        """Return it without its password."""
        return replace(self, password="")

    def as_dict(self) -> dict[str, Any]:
        """Return it as UDMI writes it, from which `from_dict` makes the same."""
        said: dict[str, Any] = {
            "protocol": "mqtt",
            "transport": "ssl" if self.encrypted else "tcp",
            "hostname": self.hostname,
            "port": self.port,
            "client_id": self.client_id,
            "topic_prefix": self.prefix,
            "config_sync_sec": int(self.sync) or -1,
        }
        if not self.acknowledges:
            said["noConfigAck"] = True
        if self.algorithm:
            said["algorithm"] = self.algorithm
        if self.generation:
            said["generation"] = self.generation
        if self.audience:
            said["auth_provider"] = {"jwt": {"audience": self.audience}}
        elif self.username:
            basic = {"username": self.username}
            if self.password:
                basic["password"] = self.password
            said["auth_provider"] = {"basic": basic}
        return said

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read one as it is pasted, uploaded or sent; raises InvalidEndpoint."""
        if len(text) > LARGEST:
            raise InvalidEndpoint("endpoint_invalid", "endpoint", f"more than {LARGEST} bytes")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise InvalidEndpoint("not_json", "endpoint", f"no JSON: {err}") from err
        if not isinstance(said, dict):
            raise InvalidEndpoint("endpoint_invalid", "endpoint", "no JSON object")
        return cls.from_dict(said)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """Read one; fields that nobody knows are left alone. Raises InvalidEndpoint."""
        if said.get("protocol", "mqtt") != "mqtt":
            raise _invalid("protocol_unknown", "protocol", "only MQTT is spoken here")
        client_id = _text(said, "client_id")
        if not client_id:
            raise _invalid("client_id_missing", "client_id", "there is no client ID")
        device_id = client_id.rpartition("/")[2]
        if not _DEVICE_ID.fullmatch(device_id) or not _PRINTABLE.fullmatch(client_id):
            message = f"the client ID ends in no device ID such as GAT-1: {device_id!r}"
            raise _invalid("client_id_invalid", "client_id", message)
        transport = said.get("transport") or "ssl"
        if transport not in ("ssl", "tcp"):
            raise _invalid("transport_unknown", "transport", "it is neither ssl nor tcp")
        algorithm = _text(said, "algorithm").upper()
        if algorithm and algorithm not in ALGORITHMS:
            raise _invalid("algorithm_unknown", "algorithm", f"it is none of {ALGORITHMS}")
        return cls(
            hostname=_hostname(said),
            port=_number(said, "port", DEFAULT_PORT, 1, 65535),
            client_id=client_id,
            prefix=_prefix(said, client_id, device_id),
            encrypted=transport == "ssl",
            algorithm=algorithm,
            sync=_sync(said),
            acknowledges=said.get("noConfigAck") is not True,
            generation=_text(said, "generation"),
            **_auth(said),
        )


def is_device_id(text: object) -> bool:
    """Whether a text can name a device, such as ``BLE-1``."""
    return isinstance(text, str) and _DEVICE_ID.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether a text can name a host."""
    return _HOST.fullmatch(text) is not None


def _invalid(reason: str, field: str, message: str) -> InvalidEndpoint:
    return InvalidEndpoint(reason, field, message)


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _invalid("endpoint_invalid", name, f"{name} is no text")
    return value.strip()


def _number(said: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = said.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise _invalid(f"{name}_invalid", name, f"{name} is no whole number")
    if not least <= value <= most:
        raise _invalid(f"{name}_invalid", name, f"{name} is not from {least} to {most}")
    return int(value)


def _hostname(said: Mapping[str, Any]) -> str:
    host = _text(said, "hostname").removeprefix("[").removesuffix("]")
    if not host:
        raise _invalid("hostname_missing", "hostname", "there is no host name")
    if not _HOST.fullmatch(host):
        raise _invalid("hostname_invalid", "hostname", "that is no host name")
    return host


def _prefix(said: Mapping[str, Any], client_id: str, device_id: str) -> str:
    """Return where topics begin; a client ID of the mosquitto kind says it, too."""
    prefix = _text(said, "topic_prefix")
    if not prefix:
        of_mosquitto = _MOSQUITTO.fullmatch(client_id)
        prefix = of_mosquitto.group(1) if of_mosquitto else DEFAULT_PREFIX
    if not _PREFIX.fullmatch(prefix) or len(prefix) > 512 or not prefix.strip("/"):
        raise _invalid("topic_prefix_invalid", "topic_prefix", "that can't begin a topic")
    # Some sites write it with the device, some without.
    prefix = prefix.strip("/").removesuffix(f"/{device_id}")
    return f"/{prefix}"


def _sync(said: Mapping[str, Any]) -> float:
    """Return how long a state waits for a config; a negative number is not at all."""
    value = said.get("config_sync_sec")
    if value is None or value == 0:
        return DEFAULT_SYNC
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid("endpoint_invalid", "config_sync_sec", "that is no number of seconds")
    # What is no number at all counts as none.
    return float(min(max(0.0, value), LONGEST_SYNC))


def _auth(said: Mapping[str, Any]) -> dict[str, str]:
    provider = said.get("auth_provider") or {}
    if not isinstance(provider, Mapping):
        raise _invalid("auth_invalid", "auth_provider", "that is no JSON object")
    basic, jwt = provider.get("basic"), provider.get("jwt")
    for each in (basic, jwt):
        if each is not None and not isinstance(each, Mapping):
            raise _invalid("auth_invalid", "auth_provider", "that is no JSON object")
    if jwt is not None and basic is not None:
        raise _invalid("auth_ambiguous", "auth_provider", "both a token and a password are named")
    if jwt is not None:
        audience = _text(jwt, "audience")
        if not audience:
            raise _invalid("audience_missing", "audience", "a token needs an audience")
        return {"audience": audience}
    if basic is None:
        return {}
    username = _text(basic, "username")
    if not username:
        raise _invalid("username_missing", "username", "a password needs a user name")
    password = basic.get("password") or ""
    if not isinstance(password, str):
        raise _invalid("auth_invalid", "password", "the password is no text")
    return {"username": username, "password": password}
