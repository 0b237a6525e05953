"""For any device and data, what goes over the wire equals what uLogger's library sends."""

import asyncio
import gzip
import json
import threading
from typing import Any

import pytest
import ulogger_cloud
from hypothesis import given, settings
from hypothesis import strategies as st
from ulogger_cloud.telemetry import build_batch_mqtt

from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import (
    LogHeader,
    check_log,
    with_epoch,
    with_session_token,
    xor_checksum,
)
from custom_components.ulogger.cloud.errors import InvalidMessage, InvalidSerial
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.messages import (
    log_config_message,
    parse_boot_reply,
    parse_log_config,
)
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import LEVELS
from custom_components.ulogger.model.log_config import LogConfig
from custom_components.ulogger.model.telemetry import Event, Metric, heartbeat
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud

from ...support.recorder import LibraryClient, RecordingTransport
from ..conftest import Transports

U32 = st.integers(0, 0xFFFFFFFF)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
NAME = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="="), min_size=1)
SERIAL = st.text(
    st.characters(categories=["L", "N", "P"], exclude_characters="/+#"), min_size=1, max_size=40
)
PREFIX = st.sampled_from(["", "ulogger/", "a/b/"])
DEVICES = st.builds(DeviceIdentity, U32, SERIAL, TEXT, TEXT, TEXT)
TIMES = st.one_of(st.none(), st.integers(0, 2**40), st.floats(0, 2**40))
VALUES = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
QUICK = settings(max_examples=60, deadline=None)


def as_metrics(metrics: list[dict[str, Any]]) -> list[Metric]:
    return [Metric(**each) for each in metrics]


def as_event(event: dict[str, Any]) -> Event:
    extras = {name: value for name, value in event.items() if name not in {"type", "timestamp"}}
    return Event(event["type"], event.get("timestamp"), extras)


def dated(entry: dict[str, Any], at: float | None) -> dict[str, Any]:
    return entry if at is None else entry | {"timestamp": at}


METRICS = st.lists(
    st.builds(lambda n, v, t: dated({"name": n, "value": v}, t), NAME, VALUES, TIMES),
    min_size=1,
    max_size=8,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), VALUES, TEXT), lambda each: st.lists(each, max_size=3)
)
EXTRAS = st.dictionaries(NAME.filter(lambda n: n not in {"type", "timestamp"}), JSON, max_size=3)
EVENTS = st.lists(
    st.builds(lambda n, t, more: dated({"type": n}, t) | more, NAME, TIMES, EXTRAS),
    min_size=1,
    max_size=8,
)


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Log buffers of all versions, good and bad."""
    version = draw(st.integers(1, 9))
    data = draw(st.binary(max_size=300))
    used = len(data) + draw(st.sampled_from([0, 0, 0, 1, -1]))
    wrong = draw(st.sampled_from([0, 0, 0, 1]))
    header = LogHeader(
        version,
        draw(U32),
        draw(U32),
        draw(U32),
        draw(U32),
        draw(st.integers(0, 2**64 - 1)),
        max(0, used),
        xor_checksum(data) ^ wrong,
    )
    return header.pack() + data + draw(st.sampled_from([b"", b"trailer"]))


def library_config(client: LibraryClient, customer: int, group: int, prefix: str):
    return ulogger_cloud.MqttConfig(
        client=client, customer_id=customer, group_id=group, topic_prefix=prefix, token_timeout=1
    )


def info(device: DeviceIdentity) -> ulogger_cloud.DeviceInfo:
    return ulogger_cloud.DeviceInfo(
        device.application_id,
        device.serial,
        device.device_type,
        device.git_version,
        device.git_hash,
    )


def ours(
    customer: int = 1, group: int = 0, prefix: str = "", token: int = 1
) -> tuple[RecordingTransport, UloggerCloud]:
    async def save(_tokens: dict[str, Any]) -> None:
        pass

    transport = RecordingTransport()
    transport.answer_registrations(lambda _serial: json.dumps({"token": token}).encode())
    cloud = UloggerCloud(
        transport,
        customer_id=customer,
        group_id=group,
        topic_prefix=prefix,
        tokens=TokenCache({}, save),
    )
    return transport, cloud


def same_json(mine: tuple[str, bytes], theirs: tuple[str, bytes, int, bool]) -> None:
    topic, payload, qos, retain = theirs
    assert mine[0] == topic
    assert unpacked(mine[1]) == unpacked(payload)
    assert mine[1].startswith(b"\x1f\x8b") == payload.startswith(b"\x1f\x8b")
    assert (qos, retain) == (1, False)


def unpacked(payload: bytes) -> Any:
    return json.loads(gzip.decompress(payload) if payload[:2] == b"\x1f\x8b" else payload)


@QUICK
@given(DEVICES, U32, U32, PREFIX, logs(), st.integers(1, 2**32 - 1))
def test_registration_and_log_are_the_same(device, customer, group, prefix, log, token) -> None:
    client = LibraryClient(json.dumps({"token": token}).encode())
    config = library_config(client, customer, group, prefix)
    store = ulogger_cloud.SessionStore()
    theirs = ulogger_cloud.upload_log(info(device), log, config, store)

    transport, cloud = ours(customer, group, prefix, token)
    capture = Capture(CaptureKind.LOG, device, log, 0)
    if not theirs:
        with pytest.raises(InvalidMessage):
            asyncio.run(cloud.deliver(capture))
        assert transport.published == []
        return
    asyncio.run(cloud.deliver(capture))
    boot, binlog = client.published
    same_json(transport.published[0], boot)
    assert transport.published[1] == binlog[:2]
    assert binlog[2:] == (1, False)
    assert len(transport.published) == 2
    topic_filter = f"{prefix}boot/v0/{customer}/{group}/+/+"
    assert ulogger_cloud.bridge._boot_reply_wildcard(config) == topic_filter
    assert topic_filter in transport.filters


@QUICK
@given(logs())
def test_checksums_are_judged_the_same(log) -> None:
    try:
        good = bool(check_log(log))
    except CaptureError:
        good = False
    assert good == ulogger_cloud.validate_checksum(log)


@QUICK
@given(logs(), U32, st.integers(0, 2**64 - 1))
def test_token_and_epoch_are_patched_the_same(log, token, epoch) -> None:
    theirs = bytearray(log)
    ulogger_cloud.patch_session_token(theirs, token)
    mine = with_session_token(log, token)
    assert mine == theirs
    try:
        ulogger_cloud.patch_epoch_time_us(theirs, epoch)
    except ValueError:
        with pytest.raises(CaptureError):
            with_epoch(mine, epoch)
    else:
        assert with_epoch(mine, epoch) == theirs


@QUICK
@given(DEVICES, U32, U32, PREFIX, st.binary(max_size=2000))
def test_core_dumps_are_the_same(device, customer, group, prefix, dump) -> None:
    client = LibraryClient()
    ulogger_cloud.publish_core_dump(dump, library_config(client, customer, group, prefix))
    transport, cloud = ours(customer, group, prefix)
    asyncio.run(cloud.deliver(Capture(CaptureKind.CORE_DUMP, device, dump, 0)))
    assert transport.published == [each[:2] for each in client.published]


@QUICK
@given(DEVICES, U32, U32, PREFIX, METRICS, EVENTS, TIMES)
def test_metrics_events_and_heartbeats_are_the_same(
    device, customer, group, prefix, metrics, events, at
) -> None:
    client = LibraryClient()
    config = library_config(client, customer, group, prefix)
    application, serial = device.key
    ulogger_cloud.publish_metrics(serial, application, metrics, config)
    ulogger_cloud.publish_events(serial, application, events, config)
    ulogger_cloud.publish_heartbeat(serial, application, config, timestamp=at)
    transport, cloud = ours(customer, group, prefix)

    route = cloud.route

    async def publish() -> None:
        await route.publish_metrics({device.key: as_metrics(metrics)})
        await route.publish_events({device.key: [as_event(each) for each in events]})
        await route.publish_metrics({device.key: heartbeat(timestamp=at)})

    asyncio.run(publish())
    for mine, theirs in zip(transport.published, client.published, strict=True):
        same_json(mine, theirs)
        assert mine[1] == theirs[1]


@QUICK
@given(
    st.lists(st.tuples(SERIAL, METRICS), min_size=2, max_size=20, unique_by=lambda each: each[0]),
    U32,
    PREFIX,
)
def test_batches_are_the_same_with_and_without_gzip(entries, application, prefix) -> None:
    devices = [{"device_serial": serial, "metrics": metrics} for serial, metrics in entries]
    events = [{"device_serial": serial, "events": [{"type": "e"}]} for serial, _ in entries]
    client = LibraryClient()
    config = library_config(client, 1, 0, prefix)
    ulogger_cloud.publish_metrics_batch(devices, application, config, compress="auto")
    ulogger_cloud.publish_events_batch(events, application, config, compress="auto")
    transport, cloud = ours(prefix=prefix)
    route = cloud.route

    async def publish() -> None:
        await route.publish_metrics(
            {(application, serial): as_metrics(metrics) for serial, metrics in entries}
        )
        await route.publish_events({(application, serial): [Event("e")] for serial, _ in entries})

    asyncio.run(publish())
    for our_message, their_message in zip(transport.published, client.published, strict=True):
        same_json(our_message, their_message)


@QUICK
@given(
    st.lists(st.tuples(TEXT, st.one_of(st.just([]), METRICS)), min_size=2, unique_by=lambda e: e[0])
)
def test_a_batch_that_the_library_refuses_is_refused(entries) -> None:
    config = library_config(LibraryClient(), 1, 0, "")
    devices = [{"device_serial": serial, "metrics": metrics} for serial, metrics in entries]
    try:
        build_batch_mqtt("metrics", devices, 1, config)
    except ValueError:
        transport, cloud = ours()
        samples = {(1, serial): as_metrics(metrics) for serial, metrics in entries}
        with pytest.raises((InvalidMessage, InvalidSerial)):
            asyncio.run(cloud.route.publish_metrics(samples))
        assert transport.published == []


MODULES = st.lists(st.text(max_size=20), max_size=10)


@QUICK
@given(
    st.integers(0, 4),
    U32,
    U32,
    st.one_of(MODULES.map(lambda names: json.dumps(names).encode()), st.binary(max_size=40)),
)
def test_log_configurations_read_the_same(level, flags, timeout, tail) -> None:
    payload = log_config_message(LogConfig(level, flags, timeout)) + tail
    client = LibraryClient()
    config = library_config(client, 1, 0, "")
    device = DeviceIdentity(7, "S")
    got: list[ulogger_cloud.LogConfig] = []
    stop = threading.Event()
    stop.set()
    client.unsubscribe = lambda topic: client.hear(topic, payload)  # type: ignore[method-assign]
    ulogger_cloud.subscribe_log_config_loop(info(device), config, got.append, stop)
    (theirs,) = got
    mine, _names_readable = parse_log_config(payload)
    assert (LEVELS[mine.level].upper(), mine.module_flags, mine.timeout_seconds) == (
        theirs.log_level,
        theirs.module_flags,
        theirs.timeout_seconds,
    )
    if all(isinstance(name, str) for name in theirs.log_modules) and mine.modules:
        assert list(mine.modules) == theirs.log_modules


@QUICK
@given(DEVICES, U32, U32, PREFIX)
def test_log_configurations_are_heard_on_the_same_topic(device, customer, group, prefix) -> None:
    client = LibraryClient()
    config = library_config(client, customer, group, prefix)
    ulogger_cloud.wait_for_log_config(info(device), config, timeout=0)
    _, cloud = ours(customer, group, prefix)
    assert client.subscribed == [(cloud.topics.log_config(device.key), 1)]


@QUICK
@given(st.integers(1, 2**32 - 1), st.dictionaries(TEXT, st.integers(), max_size=3))
def test_good_boot_replies_read_the_same(token, more) -> None:
    payload = json.dumps(more | {"token": token}).encode()
    assert parse_boot_reply(payload) == ulogger_cloud.mqtt._parse_boot_token(payload) == token


async def test_on_the_same_real_broker_both_send_the_same(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports, monkeypatch
) -> None:
    async def save(_tokens: dict[str, Any]) -> None:
        pass

    monkeypatch.setenv("SSL_CERT_FILE", str(broker.ca_file))
    device = DeviceIdentity(7, "S-1", "sensor", "1.0", "abc")
    data = bytes(range(200))
    log = LogHeader(4, 0, 0, 1, 1000, 5, len(data), xor_checksum(data)).pack() + data
    dump = bytes(1000)
    metrics = [{"name": "m", "value": 1.5, "timestamp": 3}]
    certificate, key = broker.customer_files
    config = ulogger_cloud.MqttConfig(
        broker=broker.host,
        port=broker.port,
        cert_file=certificate,
        key_file=key,
        customer_id=42,
        group_id=3,
    )
    cloud_service.reply = lambda _asked, _token: b'{"token": 77}'

    def theirs() -> None:
        store = ulogger_cloud.SessionStore()
        assert ulogger_cloud.upload_log(info(device), log, config, store)
        assert ulogger_cloud.publish_core_dump(dump, config)
        assert ulogger_cloud.publish_metrics(device.serial, 7, metrics, config)

    await asyncio.to_thread(theirs)
    await cloud_service.wait_until(lambda: len(cloud_service.messages) == 4)
    expected = [(each.topic, each.payload) for each in cloud_service.messages]
    cloud_service.clear()

    transport = await transports.connected(broker)
    cloud = UloggerCloud(transport, customer_id=42, group_id=3, tokens=TokenCache({}, save))
    await cloud.deliver(Capture(CaptureKind.LOG, device, log, 0))
    await cloud.deliver(Capture(CaptureKind.CORE_DUMP, device, dump, 0))
    await cloud.route.publish_metrics({device.key: as_metrics(metrics)})
    await cloud_service.wait_until(lambda: len(cloud_service.messages) == 4)
    assert [(each.topic, each.payload) for each in cloud_service.messages] == expected
