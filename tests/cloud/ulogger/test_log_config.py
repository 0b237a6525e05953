"""Log configurations from the cloud reach who watches, and bad ones reach nobody."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.errors import InvalidMessage
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.messages import log_config_message, parse_log_config
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.log_config import LogConfig
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud
from demo.cloud.waiting import until_connected

from ...support.recorder import RecordingTransport
from ..conftest import Transports, until

KEY = (7, "S1")
TOPIC = "config/v0/42/0/7/S1"
GOOD = struct.pack("<BII", 3, 0x80000001, 600) + b'["net", "ble"]'


async def keep_nothing(_tokens: dict[str, Any]) -> None:
    pass


def make_cloud(transport: Any) -> tuple[UloggerCloud, list[tuple[Any, LogConfig]]]:
    cloud = UloggerCloud(transport, customer_id=42, tokens=TokenCache({}, keep_nothing))
    heard: list[tuple[Any, LogConfig]] = []
    cloud.on_log_config = lambda key, config, _retained: heard.append((key, config))
    return cloud, heard


async def test_a_configuration_reaches_who_watches_the_device() -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    transport.hear(TOPIC, GOOD)
    assert heard == [(KEY, LogConfig(3, 0x80000001, 600, ("net", "ble")))]
    assert heard[0][1].level_name == "error"
    assert log_config_message(heard[0][1]) == GOOD


async def test_many_devices_are_watched_with_one_subscription() -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    for number in range(5):
        await cloud.follow_log_config((7, f"S{number}"))
    assert transport.filters == ["config/v0/42/0/+/+"]
    transport.hear("config/v0/42/0/7/S3", GOOD)
    assert [key for key, _ in heard] == [(7, "S3")]


async def test_where_the_wildcard_is_refused_each_device_is_watched_by_itself() -> None:
    transport = RecordingTransport()
    transport.refuses = lambda topic_filter: "+" in topic_filter
    cloud, heard = make_cloud(transport)
    for number in range(3):
        await cloud.follow_log_config((7, f"S{number}"))
    await until(lambda: len(transport.topics) == 3)
    assert sorted(transport.topics) == [f"config/v0/42/0/7/S{number}" for number in range(3)]
    transport.hear(TOPIC, GOOD)
    assert len(heard) == 1
    await cloud.unfollow_log_config((7, "S1"))
    assert TOPIC not in transport.topics


async def test_a_device_that_nobody_watches_is_counted() -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    await cloud.unfollow_log_config(KEY)
    transport.hear(TOPIC, GOOD)
    transport.hear("config/v0/42/0/nonsense/S1", GOOD)
    assert heard == []
    assert cloud.counters["log_configs_for_others"] == 2


@pytest.mark.parametrize("length", range(9))
async def test_a_message_that_is_too_short_is_counted_and_ignored(length: int) -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    transport.hear(TOPIC, GOOD[:length])
    assert heard == []
    assert cloud.counters["log_configs_invalid"] == 1


async def test_an_unknown_level_is_counted_and_ignored() -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    for level in (5, 255):
        transport.hear(TOPIC, bytes([level]) + GOOD[1:])
    assert heard == []
    assert cloud.counters["log_configs_invalid"] == 2


@pytest.mark.parametrize(
    "tail",
    [
        b"[",
        b"{}",
        b"[true]",
        b"[null]",
        b"[[1]]",
        b"\xff",
        b"[" + b"1," * 32 + b"1]",
        b"[" * 5000,
        b'["' + b"x" * 100 + b'"]',
        b"null",
    ],
)
async def test_with_a_broken_tail_the_configuration_still_counts(tail: bytes) -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    transport.hear(TOPIC, GOOD[:9] + tail)
    assert heard == [(KEY, LogConfig(3, 0x80000001, 600))]
    assert cloud.counters["log_config_names_invalid"] == 1


async def test_module_names_may_be_numbers() -> None:
    transport = RecordingTransport()
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    transport.hear(TOPIC, GOOD[:9] + b'[3, "net", 4.5]')
    assert heard == [(KEY, LogConfig(3, 0x80000001, 600, ("3", "net", "4.5")))]
    assert cloud.counters["log_config_names_invalid"] == 0


async def test_over_a_real_broker_it_goes_on_after_a_restart(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports
) -> None:
    transport = await transports.connected(broker)
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    await cloud_service.send_log_config(7, "S1", level=0, timeout=60, modules=["a"])
    await until(lambda: len(heard) == 1)
    await broker.arestart()
    await until(lambda: not transport.connected or cloud_service.connections > 1)
    await until(lambda: cloud_service.connections > 1)
    await until_connected(transport, 10)
    await cloud_service.send_log_config(7, "S1", level=4, timeout=60)
    await until(lambda: len(heard) == 2)
    assert [config.level for _, config in heard] == [0, 4]


async def test_over_a_scripted_broker_a_refused_wildcard_falls_back(
    odd_broker, connect_oddly
) -> None:
    odd_broker.allows = lambda topic_filter: "+" not in topic_filter
    transport = connect_oddly()
    await until_connected(transport, 5)
    cloud, heard = make_cloud(transport)
    await cloud.follow_log_config(KEY)
    await until(lambda: TOPIC in odd_broker.subscribed)
    await until(lambda: not odd_broker.send(TOPIC, GOOD) and heard)
    connects = len(odd_broker.connects)
    odd_broker.subscribed.clear()
    odd_broker.drop_all()
    await until(lambda: len(odd_broker.connects) > connects)
    await until_connected(transport, 5)
    await until(lambda: odd_broker.subscribed)
    assert odd_broker.subscribed == [TOPIC]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_refused(payload: bytes) -> None:
    try:
        config, _names_readable = parse_log_config(payload)
    except InvalidMessage:
        return
    assert 0 <= config.level <= 4
