"""The choice between MQTT and HTTP, in one place."""

import asyncio
import json
import math
from typing import Any

import pytest

from custom_components.ulogger.cloud import errors as i
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.route import FROZEN_AFTER, TelemetryRoute
from custom_components.ulogger.cloud.ulogger.samples import Kind, Message
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.telemetry import Event, Metric
from demo.device.virtual_time import run_virtually

from ...support.recorder import RecordingTransport

BEAT = [Metric("heartbeat", 1)]
EVENT = [Event("open")]
BEAT_SENT = [{"name": "heartbeat", "value": 1}]
EVENT_SENT = [{"type": "open"}]


class Api:
    """The HTTP way, as far as the route uses it; writes down what it is given."""

    largest = None

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, dict[str, Any]]] = []

    def fields(self, application_id: int) -> dict[str, str]:
        return {"app_id": str(application_id)}

    async def send(self, kind: Kind, application_id: int, message: Message) -> None:
        self.calls.append((kind.value, application_id, json.loads(message.data)))


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
def cloud(transport: RecordingTransport) -> UloggerCloud:
    return make_cloud(transport)


def make_cloud(transport: RecordingTransport) -> UloggerCloud:
    async def keep_nothing(_tokens: Any) -> None:
        pass

    return UloggerCloud(transport, customer_id=42, group_id=3, tokens=TokenCache({}, keep_nothing))


def over_http(cloud: UloggerCloud, api: Api) -> TelemetryRoute:
    """Give a cloud its second way."""
    cloud.route.http = api
    return cloud.route


async def test_devices_of_several_applications_go_in_a_message_each(cloud, transport) -> None:
    route = cloud.route
    await route.publish_metrics({(7, "a"): BEAT, (8, "b"): BEAT, (7, "c"): BEAT})
    await route.publish_events({(7, "a"): EVENT, (8, "b"): EVENT, (7, "c"): EVENT})
    sent = [(topic, json.loads(payload)) for topic, payload in transport.published]
    assert [topic for topic, _ in sent] == [
        *("metrics/v0/42/3/7", "metrics/v0/42/3/8"),
        *("events/v0/42/3/7", "events/v0/42/3/8"),
    ]
    assert [each["device_serial"] for each in sent[0][1]["devices"]] == ["a", "c"]
    assert sent[1][1] == {"device_serial": "b", "metrics": BEAT_SENT}
    assert [each["events"] for each in sent[2][1]["devices"]] == [EVENT_SENT, EVENT_SENT]
    assert sent[3][1] == {"device_serial": "b", "events": EVENT_SENT}


async def test_nothing_is_nothing_to_publish(cloud, transport) -> None:
    await cloud.route.publish_metrics({})
    assert transport.published == []


async def test_nothing_is_sent_when_one_of_several_applications_has_a_bad_sample(
    cloud, transport
) -> None:
    with pytest.raises(i.InvalidMessage):
        await cloud.route.publish_metrics(
            {(7, "a"): BEAT, (8, "b"): [Metric("no number", math.nan)]}
        )
    assert transport.published == []


async def test_mqtt_is_the_way_while_it_is_connected_and_http_while_it_is_not(
    cloud, transport
) -> None:
    api = Api()
    route = over_http(cloud, api)
    await route.publish_metrics({(7, "a"): BEAT})
    assert (len(transport.published), api.calls) == (1, [])
    transport.connected = False
    assert route.available
    await route.publish_metrics({(7, "a"): BEAT, (7, "b"): BEAT})
    await route.publish_events({(8, "a"): EVENT})
    assert len(transport.published) == 1
    (metrics, _, batch), events = api.calls
    assert (metrics, [each["device_serial"] for each in batch["devices"]]) == (
        "metrics",
        ["a", "b"],
    )
    assert events == ("events", 8, {"device_serial": "a", "events": EVENT_SENT, "app_id": "8"})


@pytest.mark.parametrize("devices", [["a"], ["a", "b"]])
def test_what_a_frozen_connection_does_not_acknowledge_goes_over_http(devices) -> None:
    async def scenario() -> None:
        transport, api = RecordingTransport(), Api()
        transport.frozen = True
        route = over_http(make_cloud(transport), api)
        await route.publish_metrics({(7, serial): BEAT for serial in devices})
        await route.publish_events({(7, serial): EVENT for serial in devices})
        assert len(api.calls) == 2
        assert asyncio.get_running_loop().time() == 2 * FROZEN_AFTER

    run_virtually(scenario())


async def test_what_a_lost_connection_did_not_take_goes_over_http(cloud, transport) -> None:
    def lose(_topic: str, _payload: bytes) -> None:
        raise i.NotAcknowledged("lost")

    transport.answer = lose
    api = Api()
    route = over_http(cloud, api)
    await route.publish_metrics({(7, "a"): BEAT})
    assert [call[0] for call in api.calls] == ["metrics"]
    with pytest.raises(i.InvalidMessage):
        await route.publish_metrics({(7, "a"): [Metric("no number", math.nan)]})
    assert len(api.calls) == 1
    cloud.route.http = None
    with pytest.raises(i.NotAcknowledged):
        await cloud.route.publish_metrics({(7, "a"): BEAT})


async def test_without_a_token_there_is_no_way_but_mqtt(cloud, transport) -> None:
    route = cloud.route
    assert route.available
    transport.connected = False
    assert not route.available
    with pytest.raises(i.CloudUnavailable):
        await route.publish_metrics({(7, "a"): BEAT})
