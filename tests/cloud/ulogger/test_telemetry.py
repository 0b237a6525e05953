"""Metrics, events and text logs: checked, batched, split where too large, over MQTT or HTTP."""

import gzip
import json
import math
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from custom_components.ulogger.cloud import errors as i
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.http import HttpTelemetry
from custom_components.ulogger.cloud.ulogger.samples import Compress
from custom_components.ulogger.cloud.ulogger.text_logs import TextLine
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.identity import DeviceIdentity

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


def content(payload: bytes) -> Any:
    return json.loads(gzip.decompress(payload) if payload[:2] == b"\x1f\x8b" else payload)


async def test_a_heartbeat_carries_the_signal_strength(cloud, transport) -> None:
    await cloud.publish_heartbeat(KEY, rssi=-70, timestamp=5)
    ((topic, payload),) = transport.published
    assert topic == "metrics/v0/42/3/7"
    assert content(payload)["metrics"] == [
        {"name": "heartbeat", "value": 1, "timestamp": 5},
        {"name": "rssi", "value": -70, "timestamp": 5},
    ]


@pytest.mark.parametrize(
    "metric",
    [
        {},
        {"name": "a"},
        {"name": "", "value": 1},
        {"name": "a b", "value": 1},
        {"name": "a\tb", "value": 1},
        {"name": "a=b", "value": 1},
        {"name": "x" * 300, "value": 1},
        {"name": 5, "value": 1},
        {"name": "a", "value": "1"},
        {"name": "a", "value": True},
        {"name": "a", "value": None},
        {"name": "a", "value": math.nan},
        {"name": "a", "value": math.inf},
        {"name": "a", "value": 1, "timestamp": "now"},
        {"name": "a", "value": 1, "timestamp": -1},
        {"name": "a", "value": 1, "timestamp": math.inf},
    ],
)
async def test_a_bad_metric_is_refused_before_anything_is_sent(cloud, transport, metric) -> None:
    good = {"name": "good", "value": 1}
    for publish in (
        cloud.publish_metrics(KEY, [good, metric]),
        cloud.publish_metrics_batch([{"device_serial": "a", "metrics": [good, metric]}], 7),
    ):
        with pytest.raises(i.InvalidMessage):
            await publish
    assert transport.published == []


@pytest.mark.parametrize("event", [{}, {"type": ""}, {"type": "a b"}, {"type": "a=b"}])
async def test_a_bad_event_is_refused(cloud, transport, event) -> None:
    with pytest.raises(i.InvalidMessage):
        await cloud.publish_events(KEY, [event])
    assert transport.published == []


async def test_nothing_is_nothing_to_publish(cloud, transport) -> None:
    for publish in (cloud.publish_metrics(KEY, []), cloud.publish_metrics_batch([], 7)):
        with pytest.raises(i.InvalidMessage):
            await publish
    assert transport.published == []


async def test_too_many_metrics_of_one_device_are_split_and_stay_in_order(cloud, transport) -> None:
    metrics = [{"name": f"metric_{n}", "value": n} for n in range(12_000)]
    await cloud.publish_metrics(KEY, metrics)
    assert len(transport.published) > 2
    assert all(len(payload) <= LIMIT for _, payload in transport.published)
    together = [each for _, payload in transport.published for each in content(payload)["metrics"]]
    assert together == metrics
    assert {content(payload)["device_serial"] for _, payload in transport.published} == {"S1"}


@pytest.mark.parametrize("compress", Compress)
async def test_a_batch_that_is_too_large_is_split_into_good_batches(
    cloud, transport, compress
) -> None:
    value = 0.123456789
    devices = [
        {
            "device_serial": f"d{n}",
            "app_id": "9",
            "metrics": [{"name": f"m{n}_{m}", "value": value * m * n} for m in range(30)],
        }
        for n in range(400)
    ]
    await cloud.publish_metrics_batch(devices, 7, compress)
    assert all(len(payload) <= LIMIT for _, payload in transport.published)
    parts = [content(payload)["devices"] for _, payload in transport.published]
    assert [entry for part in parts for entry in part] == devices
    assert (len(parts) > 2) == (compress is Compress.NEVER) or len(parts) > 1


async def test_one_device_too_large_for_a_message_comes_in_several(cloud, transport) -> None:
    metrics = [{"name": f"metric_{n}", "value": n} for n in range(12_000)]
    await cloud.publish_metrics_batch(
        [{"device_serial": "S1", "metrics": metrics}], 7, Compress.NEVER
    )
    parts = [content(payload)["devices"] for _, payload in transport.published]
    assert [each for (entry,) in parts for each in entry["metrics"]] == metrics


async def test_what_just_fits_is_one_message(cloud, transport) -> None:
    empty = len(json.dumps({"device_serial": "S1", "events": [{"type": "", "x": ""}]}))
    event = {"type": "e", "x": "y" * (LIMIT - empty - 1)}
    await cloud.publish_events(KEY, [event])
    assert [len(payload) for _, payload in transport.published] == [LIMIT]
    with pytest.raises(i.MessageTooLarge):
        await cloud.publish_events(KEY, [event | {"x": event["x"] + "y"}])


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
    batch = [{"device_serial": "S1", "events": [{"type": "e" * 50}] * 40}]
    config = ulogger_cloud.MqttConfig(customer_id=42, group_id=3)

    def theirs() -> None:
        more = {"api_token": "ulg_secret", "api_base_url": api.url}
        assert ulogger_cloud.publish_metrics("S1", 7, metrics, config, **more)
        assert ulogger_cloud.publish_heartbeat("S1", 7, config, timestamp=4, **more)
        assert ulogger_cloud.publish_events("S1", 7, [{"type": "e"}], config, **more)
        assert ulogger_cloud.publish_events_batch(batch, 7, config, **more)

    await asyncio.to_thread(theirs)
    expected, api.requests = api.requests, []
    await http.publish_metrics(KEY, metrics)
    await http.publish_heartbeat(KEY, timestamp=4)
    await http.publish_events(KEY, [{"type": "e"}])
    await http.publish_events_batch(batch, 7)
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
        await http.publish_metrics(KEY, [{"name": "m", "value": 1}])
    assert "ulg_secret" not in repr(caught.value)
    assert "ulg_secret" not in repr(http)


async def test_http_success_may_be_a_number(api: Api, http: HttpTelemetry) -> None:
    api.answer = b'{"success": 1}'
    await http.publish_metrics(KEY, [{"name": "m", "value": 1}])


async def test_http_never_takes_the_token_to_where_it_is_redirected(
    api: Api, http: HttpTelemetry
) -> None:
    api.status = 307
    with pytest.raises(i.MessageRefused):
        await http.publish_metrics(KEY, [{"name": "m", "value": 1}])
    assert [path for path, _, _ in api.requests] == ["/publish/metrics"]


async def test_http_without_a_server_can_not_connect(socket_enabled: None) -> None:
    async with aiohttp.ClientSession() as session:
        http = HttpTelemetry(session, "ulg_secret", url="http://127.0.0.1:1")
        with pytest.raises(i.CannotConnect):
            await http.publish_events(KEY, [{"type": "e"}])
