"""Metrics, events and text logs: checked, batched, split where too large, over MQTT or HTTP."""

import gzip
import json
import math
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from custom_components.ulogger.cloud import errors as i
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.http import HttpTelemetry
from custom_components.ulogger.cloud.ulogger.route import TelemetryRoute
from custom_components.ulogger.cloud.ulogger.samples import Kind, Sample, messages
from custom_components.ulogger.cloud.ulogger.telemetry import send_samples
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.telemetry import Event, Metric, TextLine, heartbeat

from ...support.recorder import RecordingTransport

KEY = (7, "S1")
LIMIT = 131_072
DEVICE = DeviceIdentity(7, "S1", "sensor", "1.0", "abc")


async def keep_nothing(_tokens: dict[str, Any]) -> None:
    pass


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
def cloud(transport: RecordingTransport) -> UloggerCloud:
    tokens = TokenCache({}, keep_nothing)
    return UloggerCloud(transport, customer_id=42, group_id=3, tokens=tokens)


@pytest.fixture
def route(cloud: UloggerCloud) -> TelemetryRoute:
    return cloud.route


async def post(http: HttpTelemetry, kind: Kind, samples: Sequence[Sample]) -> None:
    await send_samples(http, kind, KEY[0], {KEY[1]: samples})


def content(payload: bytes) -> Any:
    return json.loads(gzip.decompress(payload) if payload[:2] == b"\x1f\x8b" else payload)


async def test_a_heartbeat_carries_the_signal_strength(route, transport) -> None:
    await route.publish_metrics({KEY: heartbeat(-70, 5)})
    ((topic, payload),) = transport.published
    assert topic == "metrics/v0/42/3/7"
    assert content(payload)["metrics"] == [
        {"name": "heartbeat", "value": 1, "timestamp": 5},
        {"name": "rssi", "value": -70, "timestamp": 5},
    ]


@pytest.mark.parametrize(
    "metric",
    [
        Metric("", 1),
        Metric("a b", 1),
        Metric("a\tb", 1),
        Metric("a=b", 1),
        Metric("x" * 300, 1),
        Metric(5, 1),  # type: ignore[arg-type]
        Metric("a", "1"),  # type: ignore[arg-type]
        Metric("a", True),
        Metric("a", None),  # type: ignore[arg-type]
        Metric("a", math.nan),
        Metric("a", math.inf),
        Metric("a", 1, "now"),  # type: ignore[arg-type]
        Metric("a", 1, -1),
        Metric("a", 1, math.inf),
    ],
)
async def test_a_bad_metric_is_refused_before_anything_is_sent(route, transport, metric) -> None:
    bad = [Metric("good", 1), metric]
    for metrics in ({KEY: bad}, {KEY: [Metric("good", 1)], (7, "S2"): bad}):
        with pytest.raises(i.InvalidMessage):
            await route.publish_metrics(metrics)
    assert transport.published == []


@pytest.mark.parametrize("name", ["", "a b", "a=b"])
async def test_a_bad_event_is_refused(route, transport, name) -> None:
    with pytest.raises(i.InvalidMessage):
        await route.publish_events({KEY: [Event(name)]})
    assert transport.published == []


@pytest.mark.parametrize(
    "extras", [{"type": 1}, {"timestamp": 1}, {"": 1}, {7: 1}, {"x": math.nan}, {"x": {1, 2}}]
)
async def test_extras_that_no_server_could_read_are_refused(route, transport, extras) -> None:
    with pytest.raises(i.InvalidMessage):
        await route.publish_events({KEY: [Event("e", None, extras)]})
    assert transport.published == []


async def test_nothing_is_nothing_to_publish(route, transport) -> None:
    with pytest.raises(i.InvalidMessage):
        await route.publish_metrics({KEY: []})
    assert transport.published == []


async def test_too_many_metrics_of_one_device_are_split_and_stay_in_order(route, transport) -> None:
    metrics = [Metric(f"metric_{n}", n) for n in range(12_000)]
    await route.publish_metrics({KEY: metrics})
    assert len(transport.published) > 2
    assert all(len(payload) <= LIMIT for _, payload in transport.published)
    together = [each for _, payload in transport.published for each in content(payload)["metrics"]]
    assert [Metric(**each) for each in together] == metrics
    assert {content(payload)["device_serial"] for _, payload in transport.published} == {"S1"}


async def test_a_batch_that_is_too_large_is_split_into_good_batches(route, transport) -> None:
    devices = {
        (7, f"d{n}"): [Metric(f"m{n}_{m}", math.sin(30 * n + m)) for m in range(30)]
        for n in range(400)
    }
    await route.publish_metrics(devices)
    assert all(len(payload) <= LIMIT for _, payload in transport.published)
    parts = [content(payload)["devices"] for _, payload in transport.published]
    assert len(parts) > 1
    sent = {
        (7, entry["device_serial"]): [Metric(**each) for each in entry["metrics"]]
        for part in parts
        for entry in part
    }
    assert list(sent.items()) == list(devices.items())


def test_one_device_of_a_batch_too_large_for_a_message_comes_in_several() -> None:
    many = [Metric(f"metric_{n}", n) for n in range(12_000)]
    sent = list(messages(Kind.METRICS, {"S1": many, "S2": many[:1]}, {}, 20_000))
    assert all(len(message.data) <= 20_000 for message in sent)
    entries = [content(message.data) for message in sent]
    metrics = [each for entry in entries[:-1] for each in entry["metrics"]]
    assert [Metric(**each) for each in metrics] == many
    assert entries[-1] == {"device_serial": "S2", "metrics": [{"name": "metric_0", "value": 0}]}


def test_what_just_fits_is_one_message_and_what_never_fits_is_refused() -> None:
    just = len(json.dumps({"device_serial": "S1", "events": [{"type": "ab"}], "app_id": "7"}))
    more = {"app_id": "7"}
    (message,) = messages(Kind.EVENTS, {"S1": [Event("ab")]}, more, just)
    assert len(message.data) == just
    with pytest.raises(i.MessageTooLarge):
        list(messages(Kind.EVENTS, {"S1": [Event("abc")]}, more, just))


async def test_text_lines_go_as_ndjson(cloud, transport) -> None:
    await cloud.publish_text_log(DEVICE, [TextLine(1.5, 0, "a\nb"), TextLine(2, 4, "ü")])
    await cloud.publish_text_log(DEVICE, [TextLine(3, 1, "c")])
    (topic, payload), (_, second) = transport.published
    assert topic == "logs/v0/42/7"
    head, *lines = map(json.loads, payload.decode().splitlines())
    assert {key: head[key] for key in head if key != "sequence"} == {
        "device_type": "sensor",
        "version": "1.0",
        "git": "abc",
        "serial": "S1",
    }
    assert lines == [{"t": 1.5, "lv": 1, "m": "a\nb"}, {"t": 2, "lv": 5, "m": "ü"}]
    assert json.loads(second.decode().splitlines()[0])["sequence"] == head["sequence"] + 1


async def test_many_text_lines_are_split_with_a_head_each(cloud, transport) -> None:
    lines = [TextLine(n, 1, "x" * 500) for n in range(1000)]
    await cloud.publish_text_log(DEVICE, lines)
    assert len(transport.published) > 3
    sequences, texts = [], []
    for _, payload in transport.published:
        assert len(payload) <= LIMIT
        head, *rest = map(json.loads, payload.decode().splitlines())
        sequences.append(head["sequence"])
        texts.extend(rest)
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert [each["t"] for each in texts] == list(range(1000))


async def test_a_text_that_is_far_too_long_is_cut_and_says_so(cloud, transport) -> None:
    await cloud.publish_text_log(DEVICE, [TextLine(1, 1, "x" * 200_000)])
    ((_, payload),) = transport.published
    assert json.loads(payload.decode().splitlines()[1])["m"].endswith("(191808 more characters)")


async def test_a_line_of_no_level_is_refused(cloud, transport) -> None:
    with pytest.raises(i.InvalidMessage):
        await cloud.publish_text_log(DEVICE, [TextLine(1, 5, "x")])
    assert transport.published == []


class Api:
    """A server that speaks the HTTP API."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.answer = b'{"success": true}'

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.path, dict(request.headers), body))
        headers = {"Location": "/elsewhere"} if 300 <= self.status < 400 else {}
        return web.Response(status=self.status, body=self.answer, headers=headers)


@pytest.fixture
async def api(socket_enabled: None) -> AsyncGenerator[Api]:
    served = Api()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/{path:.*}", served.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def http(api: Api) -> AsyncGenerator[HttpTelemetry]:
    async with aiohttp.ClientSession() as session:
        yield HttpTelemetry(session, "ulg_secret", group_id=3, url=api.url)


async def test_http_sends_what_the_library_sends(api: Api, http: HttpTelemetry) -> None:
    import asyncio

    import ulogger_cloud

    metrics = [{"name": "m", "value": 1.5}]
    batch = [
        {"device_serial": serial, "events": [{"type": "e" * 50}] * 40} for serial in ("S1", "S2")
    ]
    config = ulogger_cloud.MqttConfig(customer_id=42, group_id=3)

    def theirs() -> None:
        more = {"api_token": "ulg_secret", "api_base_url": api.url}
        assert ulogger_cloud.publish_metrics("S1", 7, metrics, config, **more)
        assert ulogger_cloud.publish_heartbeat("S1", 7, config, timestamp=4, **more)
        assert ulogger_cloud.publish_events("S1", 7, [{"type": "e"}], config, **more)
        assert ulogger_cloud.publish_events_batch(batch, 7, config, **more)

    await asyncio.to_thread(theirs)
    expected, api.requests = api.requests, []
    await post(http, Kind.METRICS, [Metric("m", 1.5)])
    await post(http, Kind.METRICS, heartbeat(timestamp=4))
    await post(http, Kind.EVENTS, [Event("e")])
    events = {each["device_serial"]: [Event("e" * 50)] * 40 for each in batch}
    await send_samples(http, Kind.EVENTS, 7, events)
    for mine, library in zip(api.requests, expected, strict=True):
        assert mine[0] == library[0]
        assert json.loads(mine[2]) == json.loads(library[2])
        for name in ("Content-Type", "Content-Encoding", "Authorization"):
            assert mine[1].get(name) == library[1].get(name)


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, b"", i.ApiTokenRefused),
        (403, b"", i.ApiTokenRefused),
        (413, b"", i.MessageTooLarge),
        (400, b"", i.MessageRefused),
        (429, b"", i.CloudUnavailable),
        (500, b"", i.CloudUnavailable),
        (302, b"", i.MessageRefused),
        (200, b'{"success": true' + b" " * 100_000 + b"}", i.CloudUnavailable),
        (200, b"no json", i.CloudUnavailable),
        (200, b"[]", i.MessageRefused),
        (200, b'{"success": false}', i.MessageRefused),
        (200, b'{"success": 0}', i.MessageRefused),
        (200, b'{"success": "1"}', i.MessageRefused),
        (200, b'{"success": [1]}', i.MessageRefused),
    ],
)
async def test_http_failures_are_told_apart_and_never_show_the_token(
    api: Api, http: HttpTelemetry, status: int, answer: bytes, error: type[Exception]
) -> None:
    api.status, api.answer = status, answer
    with pytest.raises(error) as caught:
        await post(http, Kind.METRICS, [Metric("m", 1)])
    assert "ulg_secret" not in repr(caught.value)
    assert "ulg_secret" not in repr(http)


async def test_http_success_may_be_a_number(api: Api, http: HttpTelemetry) -> None:
    api.answer = b'{"success": 1}'
    await post(http, Kind.METRICS, [Metric("m", 1)])


async def test_http_never_takes_the_token_to_where_it_is_redirected(
    api: Api, http: HttpTelemetry
) -> None:
    api.status = 307
    with pytest.raises(i.MessageRefused):
        await post(http, Kind.METRICS, [Metric("m", 1)])
    assert [path for path, _, _ in api.requests] == ["/publish/metrics"]


async def test_http_without_a_server_can_not_connect(socket_enabled: None) -> None:
    async with aiohttp.ClientSession() as session:
        http = HttpTelemetry(session, "ulg_secret", url="http://127.0.0.1:1")
        with pytest.raises(i.CannotConnect):
            await post(http, Kind.EVENTS, [Event("e")])
