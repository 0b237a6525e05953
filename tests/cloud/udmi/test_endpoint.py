"""Endpoints are read field by field, and whatever else comes is refused with its field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.endpoint import (
    DEFAULT_SYNC,
    LARGEST,
    LONGEST_SYNC,
    Endpoint,
    InvalidEndpoint,
    is_device_id,
)
from custom_components.ulogger.cloud.udmi.topics import Heard, Topics

LEAST = {"protocol": "mqtt", "hostname": "broker.invalid", "client_id": "/r/ZZ/d/GAT-1"}
GOOGLE = "projects/p/locations/us-central1/registries/ZZ-TRI/devices/GAT-12"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(st.sampled_from(["jwt", "basic", "username", "audience"]), SCALARS)
)
FIELDS = [
    "protocol",
    "transport",
    "hostname",
    "port",
    "client_id",
    "topic_prefix",
    "auth_provider",
    "config_sync_sec",
    "algorithm",
    "generation",
    "noConfigAck",
]


def test_what_is_left_out_is_as_udmi_has_it() -> None:
    endpoint = Endpoint.from_dict(LEAST)
    assert (endpoint.port, endpoint.encrypted, endpoint.sync) == (8883, True, DEFAULT_SYNC)
    assert endpoint.device_id == "GAT-1"
    assert endpoint.acknowledges


@pytest.mark.parametrize(
    ("said", "prefix"),
    [
        ({}, "/r/ZZ/d"),
        ({"client_id": GOOGLE}, "/devices"),
        ({"topic_prefix": "/site/a"}, "/site/a"),
        ({"topic_prefix": "site/a/"}, "/site/a"),
        ({"topic_prefix": "/devices/GAT-1"}, "/devices"),
    ],
)
def test_topics_begin_as_the_endpoint_or_the_client_id_says(
    said: dict[str, Any], prefix: str
) -> None:
    assert Endpoint.from_dict({**LEAST, **said}).prefix == prefix


@pytest.mark.parametrize(
    ("said", "reason", "field"),
    [
        ({"protocol": "pubsub"}, "protocol_unknown", "protocol"),
        ({"hostname": None}, "hostname_missing", "hostname"),
        ({"hostname": "a b"}, "hostname_invalid", "hostname"),
        ({"hostname": "http://a"}, "hostname_invalid", "hostname"),
        ({"port": 0}, "port_invalid", "port"),
        ({"port": 70000}, "port_invalid", "port"),
        ({"port": True}, "port_invalid", "port"),
        ({"port": "8883"}, "port_invalid", "port"),
        ({"client_id": ""}, "client_id_missing", "client_id"),
        ({"client_id": "/r/ZZ/d/gat-1"}, "client_id_invalid", "client_id"),
        ({"client_id": "/r/ZZ/d/GAT-01"}, "client_id_invalid", "client_id"),
        ({"client_id": "a b/GAT-1"}, "client_id_invalid", "client_id"),
        ({"client_id": 3}, "endpoint_invalid", "client_id"),
        ({"transport": "udp"}, "transport_unknown", "transport"),
        ({"topic_prefix": "a/#"}, "topic_prefix_invalid", "topic_prefix"),
        ({"topic_prefix": "//"}, "topic_prefix_invalid", "topic_prefix"),
        ({"algorithm": "HS256"}, "algorithm_unknown", "algorithm"),
        ({"auth_provider": []}, None, None),
        ({"auth_provider": 3}, "auth_invalid", "auth_provider"),
        ({"auth_provider": {"jwt": {}}}, "audience_missing", "audience"),
        ({"auth_provider": {"basic": {"password": "p"}}}, "username_missing", "username"),
        (
            {"auth_provider": {"basic": {"username": "u"}, "jwt": {"audience": "a"}}},
            "auth_ambiguous",
            "auth_provider",
        ),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    said: dict[str, Any], reason: str | None, field: str | None
) -> None:
    if reason is None:
        assert Endpoint.from_dict({**LEAST, **said}).username == ""
        return
    with pytest.raises(InvalidEndpoint) as refused:
        Endpoint.from_dict({**LEAST, **said})
    assert (refused.value.reason, refused.value.field) == (reason, field)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, "x" * (LARGEST + 1)])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidEndpoint):
        Endpoint.from_json(text)


@pytest.mark.parametrize(
    ("said", "sync"),
    [(-1, 0.0), (0, DEFAULT_SYNC), (30, 30.0), (10**400, LONGEST_SYNC), (2.5, 2.5)],
)
def test_a_state_waits_for_a_config_as_long_as_the_site_says(said: float, sync: float) -> None:
    assert Endpoint.from_dict({**LEAST, "config_sync_sec": said}).sync == sync


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"auth_provider": {"jwt": {"audience": "a"}}, "algorithm": "es256"},
        {"auth_provider": {"basic": {"username": "u", "password": "p"}}, "transport": "tcp"},
        {"noConfigAck": True, "generation": "2026-01-01T00:00:00Z", "config_sync_sec": -1},
    ],
)
def test_an_endpoint_is_written_as_it_is_read(said: dict[str, Any]) -> None:
    endpoint = Endpoint.from_dict({**LEAST, **said})
    assert Endpoint.from_json(json.dumps(endpoint.as_dict())) == endpoint


def test_an_endpoint_without_secrets_has_no_password() -> None:
    said = {**LEAST, "auth_provider": {"basic": {"username": "u", "password": "s3cret"}}}
    endpoint = Endpoint.from_dict(said).without_secrets()
    assert "s3cret" not in json.dumps(endpoint.as_dict())
    assert endpoint.username == "u"


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_whatever_is_said_is_an_endpoint_or_refused(said: dict[str, Any]) -> None:
    try:
        endpoint = Endpoint.from_dict({**LEAST, **said})
    except InvalidEndpoint:
        return
    assert 1 <= endpoint.port <= 65535
    assert is_device_id(endpoint.device_id)
    assert endpoint.prefix.startswith("/")
    assert not endpoint.prefix.endswith("/")
    assert not set("+#") & set(endpoint.prefix)
    assert 0 <= endpoint.sync <= LONGEST_SYNC


def test_a_topic_is_told_apart_by_device_and_kind() -> None:
    topics = Topics("/r/ZZ/d")
    assert topics.heard("/r/ZZ/d/BLE-1/config") == Heard("BLE-1", "config", "")
    assert topics.heard("/r/ZZ/d/BLE-1/commands/a/b") == Heard("BLE-1", "commands", "a/b")
    for other in ("/r/ZZ/d/BLE-1/state", "/r/ZZ/d", "/r/ZZ/d//config", "/other/BLE-1/config"):
        assert topics.heard(other) is None
