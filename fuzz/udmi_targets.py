"""Everything that comes from a UDMI site: endpoints, keys, topics, configs."""

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import trustme

from custom_components.ulogger.cloud.udmi.auth import Kind, kind_of
from custom_components.ulogger.cloud.udmi.blobs import Blobset
from custom_components.ulogger.cloud.udmi.blobs import Kind as BlobKind
from custom_components.ulogger.cloud.udmi.block import BlobFailed
from custom_components.ulogger.cloud.udmi.data_url import read_data_url
from custom_components.ulogger.cloud.udmi.device import UdmiDevice
from custom_components.ulogger.cloud.udmi.discovery import Discovery, Inventory
from custom_components.ulogger.cloud.udmi.endpoint import Endpoint, InvalidEndpoint
from custom_components.ulogger.cloud.udmi.family_scan import Found
from custom_components.ulogger.cloud.udmi.keys import KeyPair, KeyUnusable, checked_pair
from custom_components.ulogger.cloud.udmi.lifecycle import Lifecycle, Mode
from custom_components.ulogger.cloud.udmi.localnet import Localnet
from custom_components.ulogger.cloud.udmi.points import InvalidValue, Point, Value, point_name
from custom_components.ulogger.cloud.udmi.pointset import Pointset
from custom_components.ulogger.cloud.udmi.proxies import Proxies
from custom_components.ulogger.cloud.udmi.system import System
from custom_components.ulogger.cloud.udmi.topics import Topics
from demo.udmi.checking import NAME, Message, faults

from .target import Target

_NOW = dt.datetime(2026, 11, 21, 20, tzinfo=dt.UTC)
_AT = "2026-11-21T19:59:59.000Z"
_LATER = "2026-11-21T21:00:00.000Z"
_CA = trustme.CA()
_LEAF = _CA.issue_cert("gateway.invalid")
_CERTIFICATE = _LEAF.cert_chain_pems[0].bytes()
_KEY = _LEAF.private_key_pem.bytes()
_HARDWARE = {"make": "a", "model": "b"}
_ENDPOINT = {
    "protocol": "mqtt",
    "transport": "ssl",
    "hostname": "site.example",
    "port": 8883,
    "client_id": "/r/ZZ-A/d/GAT-1",
    "topic_prefix": "/r/ZZ-A/d",
    "config_sync_sec": 10,
    "algorithm": "ES256",
    "auth_provider": {"jwt": {"audience": "site"}},
}
_CONFIG = {
    "timestamp": _AT,
    "version": "1.5.7",
    "system": {
        "min_loglevel": 200,
        "metrics_rate_sec": 10,
        "operation": {"mode": "active", "last_start": _AT},
    },
    "pointset": {
        "state_etag": "0",
        "set_value_expiry": _LATER,
        "sample_rate_sec": 5,
        "sample_limit_sec": 1,
        "points": {
            "level": {"set_value": 3.5, "cov_increment": 0.5, "units": "Cel"},
            "named_here": {"ref": "number.level"},
            "ghost": {},
        },
    },
    "gateway": {"proxy_ids": ["BLE-1", "AHU-99"]},
    "localnet": {"families": {"ble": {}}},
    "discovery": {
        "generation": _AT,
        "enumerations": {"families": "entries", "points": "details"},
        "families": {
            "ble": {
                "generation": "2026-11-21T20:00:00.000Z",
                "scan_interval_sec": 10,
                "scan_duration_sec": 5,
                "passive_sec": 20,
                "addrs": ["C0:DE:00:00:00:00"],
                "depth": "refs",
            },
            "bacnet": {},
        },
    },
    "blobset": {
        "blobs": {
            "image": {
                "phase": "final",
                "url": "data:text/plain;base64,aGVsbG8=",
                "sha256": hashlib.sha256(b"hello").hexdigest(),
                "generation": _AT,
            },
            "other": {
                "phase": "final",
                "url": "http://site.example/image",
                "sha256": "0" * 64,
                "generation": _LATER,
            },
        }
    },
}


def _endpoint(data: bytes) -> object:
    endpoint = Endpoint.from_json(data)
    if Endpoint.from_json(json.dumps(endpoint.as_dict())) != endpoint:
        raise AssertionError(f"{endpoint} is another one when it is kept")
    topics = Topics(endpoint.prefix)
    topic = topics.state(endpoint.device_id)
    if any(each in topic for each in "+#\0") or not topic.startswith("/"):
        raise AssertionError(f"{topic!r} is no topic to publish on")
    return endpoint.without_secrets().address, kind_of(endpoint, None) is Kind.NONE


def _endpoints() -> list[bytes]:
    basic = {"auth_provider": {"basic": {"username": "u", "password": "p"}}}
    plain = {"protocol": "mqtt", "hostname": "::1", "client_id": "a/GAT-1"}
    return [
        json.dumps(_ENDPOINT).encode(),
        json.dumps({**_ENDPOINT, **basic}).encode(),
        json.dumps(plain).encode(),
        b"[" * 3000,
    ]


def _key(data: bytes) -> object:
    return checked_pair(data, b"")


def _certificate(data: bytes) -> object:
    pair = checked_pair(_KEY, data)
    if "PRIVATE" in repr(KeyPair("", pair.certificate)):
        raise AssertionError("a certificate shows a key")
    return pair.certificate


def _topic(data: bytes) -> object:
    heard = Topics("/r/ZZ-A/d").heard(data.decode(errors="replace"))
    if heard is not None and not heard.device_id:
        raise AssertionError("a message of nobody")
    return heard


async def _write(_name: str, _value: Value) -> None:
    raise InvalidValue("not here")


def _check(_name: str, value: Value) -> Value:
    if isinstance(value, str):
        raise InvalidValue("no number")
    return value


async def _handle(content: bytes, _generation: str) -> None:
    if content != b"hello":
        raise AssertionError("something was applied that is not what its hash says")


async def _fetch(url: str, _most: int) -> bytes:
    raise BlobFailed(f"{url[:20]} is not there", "blobset.blob.fetch")


async def _run(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


async def _keep() -> None:
    return None


def _listen(found: Callable[[Found], None]) -> Callable[[], None]:
    families = {"ble": "c0:de:00:00:00:00"}
    found(Found("c0:de:00:00:00:00", families, system={"serial_no": "1", "hardware": _HARDWARE}))
    return lambda: None


def _config(data: bytes) -> object:
    return asyncio.run(_configured(data))


async def _configured(data: bytes) -> object:
    """Take a config, let time pass, and hold all that is said to the rules of the site."""
    time = 0.0

    def now_is() -> float:
        return time

    said: list[tuple[str, object]] = []
    device = UdmiDevice(
        "BLE-1",
        now=lambda: _NOW + dt.timedelta(seconds=time),
        identity=lambda: {"serial_no": "1", "hardware": _HARDWARE, "software": {}},
    )
    ends: list[Mode] = []
    lifecycle = Lifecycle(
        device.changed, lambda mode, _start: ends.append(mode), last_start=_NOW, restart_count=1
    )
    pointset = Pointset(
        [Point("level", "Cel", writable=True, reference="number.level"), Point("door")],
        changed=device.changed,
        publish=lambda subfolder, payload: said.append((f"events/{subfolder}", payload)),
        clock=now_is,
        now=lambda: _NOW + dt.timedelta(seconds=time),
        write=_write,
        check=_check,
    )
    device.add(System(device.changed, now_is, lifecycle))
    device.add(pointset)
    add_others(device, said, now_is)
    pointset.report("level", 1.5)
    device.on_entry = lambda entry: said.append(("events/system", {"logentries": [entry]}))
    good = device.configure(data)
    for _ in range(3):
        for _turn in range(8):
            await asyncio.sleep(0)
        said.append(("state", device.state()))
        time += 5.0
        if (at := device.wake_at()) is not None and at <= time:
            device.wake(now_is)
    for block in device.blocks.values():
        if isinstance(block, Pointset | Blobset | Discovery):
            block.close()
    for rest, payload in said:
        _check_said(rest, payload)
    if not good:
        raise InvalidEndpoint("config", "config", "no config")
    return len(ends) <= 1


def add_others(
    device: UdmiDevice, said: list[tuple[str, object]], clock: Callable[[], float]
) -> None:
    """Add what else a device may consist of."""

    def publish(subfolder: str, payload: Mapping[str, Any]) -> None:
        said.append((f"events/{subfolder}", payload))

    def now() -> dt.datetime:
        return _NOW + dt.timedelta(seconds=clock())

    kinds = {"image": BlobKind(_handle), "other": BlobKind(_handle)}
    device.add(
        Proxies(
            ["BLE-1"],
            on_attach=lambda _id: None,
            on_detach=lambda _id: None,
            changed=device.changed,
            clock=clock,
            now=now,
        )
    )
    device.add(Localnet(lambda: {"ble": "c0:de:00:00:00:00"}))
    device.add(
        Discovery(
            {"ble": _listen},
            Inventory(families=lambda: {"ble": "C0:DE:00:00:00:00"}),
            changed=device.changed,
            publish=publish,
            clock=clock,
            now=now,
        )
    )
    device.add(Blobset(kinds, changed=device.changed, now=now, fetch=_fetch, run=_run, keep=_keep))


def _check_said(rest: str, payload: object) -> None:
    stamped = {"timestamp": _AT, "version": "1.5.7"}
    document = {**stamped, **payload} if isinstance(payload, dict) else payload
    text = json.dumps(document, allow_nan=False).encode()
    for fault in faults(Message.read("", "BLE-1", rest, text, 0.0)):
        raise AssertionError(f"{rest}: {fault}")


def _configs() -> list[bytes]:
    return [
        json.dumps(_CONFIG).encode(),
        json.dumps({**_CONFIG, "pointset": {"points": {"level": {"set_value": "x"}}}}).encode(),
        json.dumps({**_CONFIG, "system": []}).encode(),
        b'{"timestamp": "%s", "pointset": {"points": {"level": {"set_value": NaN}}}}'
        % _AT.encode(),
        b"[" * 3000,
    ]


_ODD: Final[tuple[object, ...]] = (
    *(None, True, False, 0, 1, -1, 5, 3.5, 1e308, -1e308, float("nan"), 10**30, "", "x"),
    *([], {}, [[]], {"": None}, _AT, _LATER, "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("restart", "shutdown", "level", "number.level", "Cel", "\0\u2028", "9" * 400),
)


def _odd_config(data: bytes) -> object:
    """Have each byte choose what stands in the next place of a config."""
    choices = iter(data)
    config = _odd(json.loads(json.dumps(_CONFIG)), choices)
    if isinstance(config, dict) and next(choices, 0) % 4:
        config["timestamp"] = _AT
    return _config(json.dumps(config).encode())


def _odd(value: object, choices: Iterator[int]) -> object:
    choice = next(choices, 0)
    if choice > 127:
        return _ODD[choice % len(_ODD)]
    if isinstance(value, dict):
        return {key: _odd(each, choices) for key, each in value.items()}
    return value


def _data_url(data: bytes) -> object:
    content = read_data_url(data.decode(errors="replace"), 1024)
    if len(content) > 1024:
        raise AssertionError("more than may be")
    return content


def _point_name(data: bytes) -> object:
    name = point_name(data.decode(errors="replace"))
    if name and not NAME.fullmatch(name):
        raise AssertionError(f"{name!r} is no name of a point")
    return name


_BAD = (InvalidEndpoint, KeyUnusable, BlobFailed)
TARGETS = (
    Target("udmi_endpoint", _endpoint, _BAD, _endpoints),
    Target("udmi_key", _key, _BAD, lambda: [_KEY]),
    Target("udmi_certificate", _certificate, _BAD, lambda: [_CERTIFICATE]),
    Target("udmi_topic", _topic, (), lambda: [b"/r/ZZ-A/d/GAT-1/config", b"/r/ZZ-A/d/B/x"], 512),
    Target("udmi_config", _config, _BAD, _configs),
    Target("udmi_odd_config", _odd_config, _BAD, lambda: [bytes(64), bytes(range(0, 240, 4))], 96),
    Target("udmi_data_url", _data_url, _BAD, lambda: [b"data:;base64,aGVsbG8=", b"data:,a%20b"]),
    Target("udmi_point_name", _point_name, (), lambda: [b"RSSI (dBm)", "9 Grüße".encode()], 256),
)
