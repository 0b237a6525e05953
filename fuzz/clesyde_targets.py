"""Everything that comes from Clesyde: registrations, folders, shadows, tokens, certificates."""

import datetime as dt
import json

import trustme

from custom_components.ulogger.cloud.clesyde.certificates import Pair
from custom_components.ulogger.cloud.clesyde.errors import ThingError
from custom_components.ulogger.cloud.clesyde.provisioning import api_url
from custom_components.ulogger.cloud.clesyde.remote import parse_token
from custom_components.ulogger.cloud.clesyde.rotation import checked_successor, parse_answer
from custom_components.ulogger.cloud.clesyde.shadow import (
    LARGEST_DOCUMENT,
    bounded,
    difference,
    encoded,
    merged,
    parse_delta,
    parse_document,
    parse_documents,
    parse_rejection,
)
from custom_components.ulogger.cloud.clesyde.thing import (
    CONFIG_FILE,
    PEM_FILES,
    host_and_port,
    thing_from_files,
    thing_from_registration,
)
from custom_components.ulogger.cloud.clesyde.topics import Topics
from custom_components.ulogger.cloud.clesyde.wishes import Settable, read_wishes
from custom_components.ulogger.cloud.errors import InvalidMessage

from .target import Target

_CA = trustme.CA()
_LEAF = _CA.issue_cert("thing.invalid")
_CERTIFICATE = _LEAF.cert_chain_pems[0].bytes().decode()
_KEY = _LEAF.private_key_pem.bytes().decode()
_AUTHORITY = _CA.cert_pem.bytes().decode()
_OLD = _CA.issue_cert("thing.invalid", not_after=dt.datetime(2090, 1, 1, tzinfo=dt.UTC))
_PRESENT = Pair(_OLD.cert_chain_pems[0].bytes().decode(), _OLD.private_key_pem.bytes().decode())
_KEYS = (bytes(32), bytes(16))
_NOW = 1_795_225_292.0
_THING = {
    "iot": {
        "endpoint": "iot.example:8883",
        "thing_name": "thing-1",
        "certificates": {"device_certificate": _CERTIFICATE, "root_ca": _AUTHORITY},
        "keyPair": {"privateKey": _KEY},
    },
    "remote": {
        "endpoint": "remote.example",
        "access_point": "home.example",
        "cert": _CERTIFICATE,
        "pkey": _KEY,
    },
}
_CONFIG = {
    "iot_thing_name": "thing-1",
    "iot_endpoint": "iot.example",
    "remote_endpoint": "remote.example",
    "access_point": "home.example",
}
_DESIRED = {
    "collectInterval": 5,
    "remoteCertSn": "396318736086317984504724300857618443341278",
    "logLevels": {"42-A87D": {"level": "debug", "until": _NOW + 60, "moduleFlags": 7}},
    "other": {"a": [1]},
}
_SETTABLE = {"collectInterval": Settable(1, 10_080)}


def _registration(data: bytes) -> object:
    return thing_from_registration("HA-1", data).url


def _folder(data: bytes) -> object:
    pem = {"iot_ca": _AUTHORITY, "iot_cert": _CERTIFICATE, "iot_key": _KEY}
    pem |= {"remote_cert": _CERTIFICATE, "remote_key": _KEY}
    files = {f"{name}.pem": pem[name].encode() for name in PEM_FILES}
    return thing_from_files("HA-1", {**files, CONFIG_FILE: data}).broker


def _pem(data: bytes) -> object:
    return Pair.checked(data, _KEY, field="iot_cert", now=None).about


def _key(data: bytes) -> object:
    return Pair.checked(_CERTIFICATE, data, field="iot_key", now=None)


def _shadow(data: bytes) -> object:
    kind, rest = data[:1], data[1:]
    if kind == b"d":
        state = parse_delta(rest).state
    elif kind == b"n":
        state = parse_documents(rest).desired
    elif kind == b"r":
        return parse_rejection(rest)
    else:
        state = parse_document(rest).desired
    wishes = read_wishes(state, _SETTABLE, _NOW)
    reported = bounded({"refused": dict(wishes.refused)}, [("42-A", {"state": "idle"})], {})
    if len(encoded(reported)) > LARGEST_DOCUMENT:
        raise AssertionError("a report does not fit the shadow")
    if merged(state, difference(state, reported)) != reported and not _has_null(reported):
        raise AssertionError("a difference does not lead to what it was made for")
    return wishes


def _has_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(each is None or _has_null(each) for each in value.values())
    return False


def _shadows() -> list[bytes]:
    delta = {"version": 3, "state": _DESIRED}
    deep = {"state": {"desired": _DESIRED, "delta": {"collectInterval": 7}}}
    document = {"state": {"desired": _DESIRED, "reported": {}}, "version": 4}
    documents = {"previous": document, "current": document}
    rejection = {"code": 409, "message": "Version conflict", "clientToken": "a"}
    return [
        b"d" + json.dumps(delta).encode(),
        b"d" + json.dumps(deep).encode(),
        b"g" + json.dumps(document).encode(),
        b"n" + json.dumps(documents).encode(),
        b"r" + json.dumps(rejection).encode(),
        b"d" + b"[" * 3000,
    ]


def _token(data: bytes) -> object:
    return parse_token(data, _KEYS, _NOW).due(_NOW)


def _rotation(data: bytes) -> object:
    return checked_successor(parse_answer(data), _PRESENT, None)


def _topic(data: bytes) -> object:
    topics, text = Topics("HA-1"), data.decode(errors="replace")
    return topics.response_to(text), topics.of_shadow(text)


def _address(data: bytes) -> object:
    text = data.decode(errors="replace")
    return api_url(text[1:]) if text.startswith("u") else host_and_port(text, 1)


_TOPICS = (b"c/d/HA-1/remotetoken/res", b"$aws/things/HA-1/shadow/name/config/update/delta")
_BAD = (ThingError, InvalidMessage)
TARGETS = (
    Target(
        "clesyde_registration",
        _registration,
        _BAD,
        lambda: [json.dumps({"registration": {"error": None, "thing": _THING}}).encode()],
        8192,
    ),
    Target("clesyde_folder", _folder, _BAD, lambda: [json.dumps(_CONFIG).encode()]),
    Target("clesyde_certificate", _pem, _BAD, lambda: [_CERTIFICATE.encode()]),
    Target("clesyde_key", _key, _BAD, lambda: [_KEY.encode()]),
    Target("clesyde_shadow", _shadow, _BAD, _shadows),
    Target(
        "clesyde_token",
        _token,
        _BAD,
        lambda: [json.dumps({"valid": _NOW + 9, "throttling": 5, "token": "gAAAA"}).encode()],
    ),
    Target(
        "clesyde_rotation",
        _rotation,
        _BAD,
        lambda: [json.dumps({"cert": _CERTIFICATE, "pkey": _KEY}).encode()],
        8192,
    ),
    Target("clesyde_topic", _topic, _BAD, lambda: list(_TOPICS), 512),
    Target("clesyde_address", _address, _BAD, lambda: [b"uhttps://api.example/v1", b"a.b:1"], 512),
)
