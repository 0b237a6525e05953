"""A thing: who this gateway is at Clesyde, and everything it connects with."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self

from .certificates import Pair, read_certificates
from .errors import ANSWER_INVALID, REGISTRATION_REFUSED, ThingError

MQTT_PORT: Final = 8883
SNITUN_PORT: Final = 8443
LARGEST_ANSWER: Final = 256 * 1024
CONFIG_FILE: Final = "cloud_config.json"
PEM_FILES: Final = ("iot_ca", "iot_cert", "iot_key", "remote_cert", "remote_key")
"""Names of the other files of a provisioned folder, without their ``.pem``."""
LONGEST_NAME: Final = 128

_SERIAL = re.compile(r"[A-Za-z0-9:_-]{1,128}")
_HOST = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Thing:
    """One provisioned thing. Keys are in no representation of it.

    ``endpoint``, ``remote_endpoint`` and ``access_point`` are host names, with a port where it is
    not the usual one. ``before`` is the remote certificate that was in use before, kept until the
    present one has worked.
    """

    serial: str
    name: str
    endpoint: str
    remote_endpoint: str
    access_point: str
    iot_ca: str
    iot: Pair
    remote: Pair
    before: Pair | None = field(default=None)

    @property
    def broker(self) -> tuple[str, int]:
        """Host and port of the MQTT broker."""
        return host_and_port(self.endpoint, MQTT_PORT)

    @property
    def snitun(self) -> tuple[str, int]:
        """Host and port of the SniTun server."""
        return host_and_port(self.remote_endpoint, SNITUN_PORT)

    @property
    def url(self) -> str:
        """Where a browser finds this Home Assistant while remote access is on."""
        host, port = host_and_port(self.access_point, SNITUN_PORT)
        return f"https://{host}:{port}"

    def with_remote(self, pair: Pair) -> Self:
        """Return the thing with a new remote certificate; the present one is kept beside it."""
        return replace(self, remote=pair, before=self.remote)

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes the thing of again; it holds the keys."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return a thing that was stored; raises ThingError."""
        try:
            values: dict[str, Any] = {each.name: stored[each.name] for each in fields(cls)}
            for name in ("iot", "remote", "before"):
                if values[name] is not None:
                    values[name] = Pair(values[name]["certificate"], values[name]["key"])
            return cls(**values)
        except (KeyError, TypeError) as err:
            raise ThingError("keys_missing", "the stored keys can't be read") from err


def thing_from_registration(serial: str, answer: bytes, now: dt.datetime | None = None) -> Thing:
    """Return the thing in the answer of Clesyde's API; raises ThingError. Blocks."""
    registration = _member(_json(answer), "registration")
    if (error := registration.get("error")) is not None:
        detail = error if isinstance(error, str) else json.dumps(error)
        raise ThingError(REGISTRATION_REFUSED, "the API refuses the device", detail=detail[:500])
    thing = _member(registration, "thing")
    iot, remote = _member(thing, "iot"), _member(thing, "remote")
    certificates, keys = _member(iot, "certificates"), _member(iot, "keyPair")
    return make_thing(
        serial,
        _text(iot, "thing_name"),
        (_text(iot, "endpoint"), _text(remote, "endpoint"), _text(remote, "access_point")),
        {
            "iot_ca": _text(certificates, "root_ca"),
            "iot_cert": _text(certificates, "device_certificate"),
            "iot_key": _text(keys, "privateKey"),
            "remote_cert": _text(remote, "cert"),
            "remote_key": _text(remote, "pkey"),
        },
        now,
    )


def thing_from_files(
    serial: str, files: Mapping[str, bytes], now: dt.datetime | None = None
) -> Thing:
    """Return the thing of a provisioned folder, by the files' names; raises ThingError. Blocks."""
    for name in (CONFIG_FILE, *(f"{each}.pem" for each in PEM_FILES)):
        if name not in files:
            raise ThingError("file_missing", f"{name} is missing", detail=name)
    try:
        config = _json(files[CONFIG_FILE])
        hosts = (
            _text(config, "iot_endpoint"),
            _text(config, "remote_endpoint"),
            _text(config, "access_point"),
        )
        name = _text(config, "iot_thing_name")
    except ThingError as err:
        raise ThingError("config_invalid", str(err), detail=CONFIG_FILE) from err
    return make_thing(serial, name, hosts, {each: files[f"{each}.pem"] for each in PEM_FILES}, now)


def make_thing(
    serial: str,
    name: str,
    hosts: tuple[str, str, str],
    pem: Mapping[str, str | bytes],
    now: dt.datetime | None,
) -> Thing:
    """Return a thing whose parts are checked: names, hosts, certificates, keys; raises ThingError.

    ``hosts`` are those of MQTT, of SniTun, and of the browser's address.
    """
    for host in hosts:
        host_and_port(host, MQTT_PORT)
    if not name or len(name.encode()) > LONGEST_NAME or not name.isprintable():
        raise ThingError(ANSWER_INVALID, "the thing's name can't be an MQTT client ID")
    iot = Pair.checked(pem["iot_cert"], pem["iot_key"], field="iot_cert", now=now)
    remote = Pair.checked(pem["remote_cert"], pem["remote_key"], field="remote_cert", now=None)
    authority = pem["iot_ca"]
    read_certificates(authority, field="iot_ca")
    text = authority.decode("ascii") if isinstance(authority, bytes) else authority
    return Thing(checked_serial(serial), name, *hosts, text, iot, remote)


def checked_serial(serial: str) -> str:
    """Return a serial that can be part of a topic and the name of a shadow; raises ThingError."""
    if not _SERIAL.fullmatch(serial):
        raise ThingError("serial_invalid", "letters, digits, :, _ and - only", field="serial")
    return serial


def host_and_port(text: str, port: int) -> tuple[str, int]:
    """Split a host, and the port that may follow it; raises ThingError."""
    found = _HOST.fullmatch(text)
    number = int(found["port"]) if found and found["port"] else port
    if found is None or not 0 < number < 65536:
        raise ThingError("host_invalid", "no host name", detail=text[:100])
    return found["host"], number


def _json(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > LARGEST_ANSWER:
        raise ThingError(ANSWER_INVALID, "far too long")
    try:
        parsed = json.loads(raw.decode())
    except (ValueError, RecursionError) as err:
        raise ThingError(ANSWER_INVALID, "not JSON") from err
    if not isinstance(parsed, dict):
        raise ThingError(ANSWER_INVALID, "no JSON object")
    return parsed


def _member(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = parent.get(name)
    if not isinstance(member, dict):
        raise ThingError(ANSWER_INVALID, f"{name} is missing", detail=name)
    return member


def _text(parent: Mapping[str, Any], name: str) -> str:
    text = parent.get(name)
    if not isinstance(text, str) or not text:
        raise ThingError(ANSWER_INVALID, f"{name} is missing", detail=name)
    return text
