"""The files of a unit, its cipher and its commands: good ones, and all others."""

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pepeunit_client.cipher import AesGcmCipher

from custom_components.ulogger.cloud.pepeunit import machine
from custom_components.ulogger.cloud.pepeunit.cipher import decrypt, encrypt
from custom_components.ulogger.cloud.pepeunit.commands import Command, CommandKind
from custom_components.ulogger.cloud.pepeunit.device_records import capture_records
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.errors import (
    CipherError,
    InvalidCommand,
    InvalidFile,
)
from custom_components.ulogger.cloud.pepeunit.machine import machine_state, own_address
from custom_components.ulogger.cloud.pepeunit.records import (
    LARGEST_MESSAGE,
    LEVELS,
    LogRecord,
    in_messages,
)
from custom_components.ulogger.cloud.pepeunit.schema import Schema, is_topic, node_of
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.pepeunit.judging import judge
from demo.pepeunit.units import Unit, make_key, make_token
from tests.support.account import log

UNIT = Unit.make(inputs=["lamp"], outputs=["temperature"])
GOOD = UNIT.env("127.0.0.1", 1883, 8080)


# env.json


def test_an_env_is_read_field_by_field() -> None:
    env = Env.parse(json.dumps(GOOD))
    assert env.unit == UNIT.uuid
    assert env.api == "http://127.0.0.1:8080/pepeunit/api/v1"
    assert (env.host, env.port, env.keepalive, env.min_level) == ("127.0.0.1", 1883, 60, 0)
    assert env.secrets == [UNIT.token, UNIT.secret_key, UNIT.encrypt_key]
    assert Env.parse(env.text) == env
    assert not any(secret in json.dumps(env.public) for secret in env.secrets)


def test_an_env_that_was_put_into_a_json_string_is_read_too() -> None:
    assert Env.parse(json.dumps(json.dumps(GOOD))) == Env.parse(GOOD)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PU_EXTRA", "\ud800"), ("PU_EXTRA", [{"\udfff": 1}]), ("\ud800", 1)],
    ids=["value", "within", "name"],
)
def test_what_no_file_can_hold_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidFile) as caught:
        Env.parse(json.dumps({**GOOD, name: value}))
    assert (caught.value.problem, caught.value.field) == ("invalid_field", ascii(name)[1:-1])


def test_what_may_be_missing_has_the_published_clients_values() -> None:
    names = ("PU_DOMAIN", "PU_MQTT_HOST", "PU_AUTH_TOKEN")
    env = Env.parse({name: GOOD[name] for name in names})
    assert (env.api, env.port) == ("https://127.0.0.1:8080", 1883)
    assert (env.state_interval, env.log_length, env.encrypt_key) == (300, 64, "")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("PU_DOMAIN", None, "missing_field"),
        ("PU_DOMAIN", "evil.example/path", "invalid_field"),
        ("PU_DOMAIN", "user@evil.example", "invalid_field"),
        ("PU_HTTP_TYPE", "ftp", "invalid_choice"),
        ("PU_APP_PREFIX", "/../..//x?y", "invalid_field"),
        ("PU_MQTT_HOST", "", "missing_field"),
        ("PU_MQTT_HOST", 7, "not_text"),
        ("PU_MQTT_PORT", 0, "out_of_range"),
        ("PU_MQTT_PORT", True, "not_a_number"),
        ("PU_MQTT_KEEPALIVE", "many", "not_a_number"),
        ("PU_AUTH_TOKEN", "a.b", "invalid_token"),
        ("PU_AUTH_TOKEN", "a.b.c", "invalid_token"),
        ("PU_AUTH_TOKEN", make_token("no uuid"), "invalid_token"),
        ("PU_AUTH_TOKEN", make_token(UNIT.uuid, "User"), "not_a_units_token"),
        ("PU_AUTH_TOKEN", "line\nbreak", "invalid_field"),
        ("PU_ENCRYPT_KEY", "not base64!", "invalid_key"),
        ("PU_ENCRYPT_KEY", make_key(17), "invalid_key"),
        ("PU_STATE_SEND_INTERVAL", 0, "out_of_range"),
        ("PU_MIN_LOG_LEVEL", "Loud", "invalid_choice"),
        ("PU_MAX_LOG_LENGTH", 1.5, "not_a_number"),
        ("PU_COMMIT_VERSION", "a b", "invalid_field"),
    ],
    ids=range(21),
)
def test_a_wrong_field_is_named(field: str, value: Any, problem: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        Env.parse({**GOOD, field: value})
    assert (caught.value.field, caught.value.problem) == (field, problem)
    assert UNIT.token not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not_json"),
        ("[]", "not_an_object"),
        ('"[]"', "not_an_object"),
        ("[" * 100_000, "file_too_large"),
        ("[" * 60_000, "not_json"),
        (b"\xff\xfe", "not_json"),
    ],
    ids=range(6),
)
def test_what_is_no_object_is_refused(content: str | bytes, problem: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        Env.parse(content)
    assert caught.value.problem == problem


# schema.json


def test_a_schema_names_topics_and_builds_none() -> None:
    schema = Schema.parse(json.dumps(UNIT.schema()))
    assert schema.log_topic == UNIT.topic("log")
    assert schema.state_topic == UNIT.topic("state")
    assert schema.inputs == {"lamp": (UNIT.topic("lamp"),)}
    assert schema.command_of(UNIT.topic("update")) == "update/pepeunit"
    assert schema.input_of(UNIT.topic("lamp")) == "lamp"
    assert schema.input_of(UNIT.topic("temperature")) is None
    assert node_of(UNIT.topic("lamp")) == UNIT.inputs["lamp"]
    assert Schema.parse(schema.text) == schema
    assert Schema.parse("{}").log_topic is None


@pytest.mark.parametrize(
    ("section", "content", "field"),
    [
        ("input_topic", [], "input_topic"),
        ("input_topic", {"a": "x"}, "input_topic.a"),
        ("input_topic", {"a": ["d/#"]}, "input_topic.a"),
        ("input_topic", {"a": ["d/+/x"]}, "input_topic.a"),
        ("output_topic", {"a": ["a/b/c/d/e/f"]}, "output_topic.a"),
        ("output_topic", {"a": [7]}, "output_topic.a"),
        ("output_topic", {"a": ["a//b"]}, "output_topic.a"),
        ("output_base_topic", {"": ["a/b"]}, "output_base_topic"),
        ("input_base_topic", {"a": ["x\x00y"]}, "input_base_topic.a"),
        ("input_base_topic", {"a": ["$SYS/broker"]}, "input_base_topic.a"),
    ],
)
def test_a_wrong_topic_is_named(section: str, content: Any, field: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        Schema.parse({**UNIT.schema(), section: content})
    assert caught.value.field == field


def test_a_schema_has_no_end_of_topics() -> None:
    many = {f"n{number}": [f"d/{number}"] for number in range(1001)}
    with pytest.raises(InvalidFile, match="too_many_topics"):
        Schema.parse({"input_topic": many})


@given(st.text(max_size=80))
def test_no_topic_that_is_taken_has_a_wildcard_or_a_line_end(text: str) -> None:
    if is_topic(text):
        assert not set("+#\0\n").intersection(text)
        assert text.count("/") < 5


# Cipher


@pytest.mark.parametrize("size", [16, 24, 32])
@given(text=st.text(max_size=200))
def test_the_published_client_and_we_read_each_other(size: int, text: str) -> None:
    key = make_key(size)
    peer = AesGcmCipher()
    assert decrypt(peer.aes_gcm_encode(text, key), key) == text
    assert peer.aes_gcm_decode(encrypt(text, key), key) == text


@pytest.mark.parametrize(
    ("sealed", "problem"),
    [
        ("", "cipher_not_encrypted"),
        ("a.b.c", "cipher_not_encrypted"),
        ("!!!.AAAA", "cipher_not_encrypted"),
        ("AAAA." + "A" * 40, "cipher_not_encrypted"),
        ("." * 3_000_000, "cipher_too_long"),
    ],
    ids=range(5),
)
def test_what_is_not_encrypted_says_so(sealed: str, problem: str) -> None:
    with pytest.raises(CipherError) as caught:
        decrypt(sealed, UNIT.encrypt_key)
    assert caught.value.problem == problem


def test_a_wrong_key_and_a_changed_text_are_told() -> None:
    sealed = encrypt("text", UNIT.encrypt_key)
    for key, problem in (
        (make_key(16), "cipher_wrong_key"),
        ("", "cipher_no_key"),
        (base64.b64encode(b"short").decode(), "cipher_bad_key"),
        ("ü", "cipher_bad_key"),
    ):
        with pytest.raises(CipherError) as caught:
            decrypt(sealed, key)
        assert caught.value.problem == problem
    nonce, body = sealed.split(".")
    changed = bytearray(base64.b64decode(body))
    changed[0] ^= 1
    with pytest.raises(CipherError):
        decrypt(f"{nonce}.{base64.b64encode(changed).decode()}", UNIT.encrypt_key)


# Commands


def test_a_command_is_what_its_topic_says() -> None:
    payload = b'{"COMMAND": "Update", "PU_COMMIT_VERSION": "abc", "COMPILED_FIRMWARE_LINK": "x"}'
    assert Command.parse("update/pepeunit", payload) == Command(CommandKind.UPDATE, "abc", "x")
    assert Command.parse("log_sync/pepeunit", b"") == Command(CommandKind.LOG_SYNC)
    assert Command.parse("update/pepeunit", b'{"PU_COMMIT_VERSION": 7}').commit is None


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("reset/pepeunit", b"{}"),
        ("update/pepeunit", b"[]"),
        ("update/pepeunit", b"\xff"),
        ("update/pepeunit", b'{"COMMAND": "EnvUpdate"}'),
        ("update/pepeunit", b" " * 70_000),
        ("update/pepeunit", b"[" * 50_000),
    ],
    ids=range(6),
)
def test_what_is_no_command_is_refused(name: str, payload: bytes) -> None:
    with pytest.raises(InvalidCommand):
        Command.parse(name, payload)


# Log records


@given(
    st.lists(
        st.builds(
            LogRecord,
            st.integers(0, 4),
            st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()),
            st.floats(0, 4e9),
        ),
        max_size=40,
    ),
    st.integers(300, 5000),
)
def test_records_are_cut_into_messages_and_none_is_lost(
    records: list[LogRecord], largest: int
) -> None:
    messages = list(in_messages(records, largest))
    came = [record for payload, _ in messages for record in json.loads(payload)]
    assert came == [record.as_dict() for record in records]
    assert [len(json.loads(payload)) for payload, _ in messages] == [n for _, n in messages]
    assert all(judge(UNIT, UNIT.topic("log"), payload) is None for payload, _ in messages)
    assert all(len(payload) <= largest for payload, count in messages if count > 1)


def test_a_long_ring_fits_the_brokers_messages() -> None:
    records = [LogRecord(0, "ü" * 20_000, float("inf")) for _ in range(200)]
    messages = list(in_messages(records))
    assert len(messages) > 20
    assert all(len(payload) <= LARGEST_MESSAGE for payload, _ in messages)
    assert LEVELS[0] == json.loads(messages[0][0])[0]["level"]


def test_a_text_that_is_too_long_is_not_encrypted() -> None:
    with pytest.raises(CipherError, match="cipher_too_long"):
        encrypt("x" * 1_000_001, UNIT.encrypt_key)


def test_a_token_that_nobody_signed_is_refused() -> None:
    head = base64.urlsafe_b64encode(b'{"alg": "none"}').decode().rstrip("=")
    unsigned = ".".join([head, *UNIT.token.split(".")[1:]])
    with pytest.raises(InvalidFile, match="invalid_token"):
        Env.parse({**GOOD, "PU_AUTH_TOKEN": unsigned})


def test_damaged_captures_are_told_as_far_as_they_go() -> None:
    device = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2")
    good = log()
    for kind, data in ((CaptureKind.LOG, good.data[:-3]), (CaptureKind.CORE_DUMP, b"no dump")):
        capture = Capture(kind, device, data, 1.0)
        records = capture_records(capture, 7, read(capture), 0)
        assert records[0].text.startswith("A87DE76F0011 #7: DoorSenseV2 4.24.2: ")
        assert records[-1].level == 2
        assert "#7: damaged: " in records[-1].text


# This machine


@pytest.mark.usefixtures("socket_enabled")
def test_the_state_of_this_machine_is_what_the_backend_reads() -> None:
    state = machine_state("abc", "/", own_address("127.0.0.1", 1883))
    assert judge(UNIT, UNIT.topic("state"), json.dumps(state).encode()) is None
    assert state["pu_commit_version"] == "abc"
    assert state["mem_free"] > 1_000_000
    assert state["statvfs"][0] == os.statvfs("/").f_bsize
    assert state["ifconfig"][0] == "127.0.0.1"


def test_the_frequency_is_that_of_the_processor_or_left_out(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_FREQUENCY", tmp_path / "scaling_cur_freq")
    assert "freq" not in machine_state("", "/", proc=tmp_path)
    for text, told in (("cpu MHz\t: 2400.5\n", 2400.5), ("cpu MHz\t: fast\n", None)):
        (tmp_path / "cpuinfo").write_text(f"processor: 0\n{text}")
        assert machine_state("", "/", proc=tmp_path).get("freq") == told
    (tmp_path / "scaling_cur_freq").write_text("1800000\n")
    assert machine_state("", "/", proc=tmp_path)["freq"] == 1800


def test_netmask_and_gateway_are_the_kernels(tmp_path: Any) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU\n"
        "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        "broken\nx zz 00 00 0 0 0 zz\n"
    )
    state = machine_state("", "/", "192.0.2.7", proc=tmp_path)
    assert state["ifconfig"][:3] == ["192.0.2.7", "255.255.255.0", "192.0.2.1"]


def test_what_this_machine_does_not_tell_is_left_out(tmp_path: Any) -> None:
    state = machine_state("", str(tmp_path / "none"), proc=tmp_path, now=lambda: 1.5)
    assert state == {"millis": 1500, "pu_commit_version": ""} | (
        {"freq": state["freq"]} if "freq" in state else {}
    )
