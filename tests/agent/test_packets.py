"""Packets: what is read of good and of hostile bytes."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.agent.errors import BadIdentification
from custom_components.ulogger.agent.packets import (
    MAX_TEXT,
    Chunk,
    encode_ack,
    encode_chunk,
    encode_identification,
    parse_ack,
    parse_chunk,
    parse_identification,
    parse_rssi,
)
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support.agent_world import DEVICE


def identification(*strings, application_id=42):
    return struct.pack("<I", application_id) + b"".join(string + b"\0" for string in strings)


def test_an_identification_is_read_whole():
    assert parse_identification(encode_identification(DEVICE)) == DEVICE


@pytest.mark.parametrize("present", [1, 2, 3, 4])
def test_any_suffix_of_the_strings_can_be_missing(present):
    texts = ["S1", "type", "1.0", "abc"][:present]
    data = identification(*(text.encode() for text in texts))
    assert parse_identification(data) == DeviceIdentity(42, *texts)


def test_a_string_without_its_end_is_missing():
    assert parse_identification(identification(b"S1") + b"typ") == DeviceIdentity(42, "S1")


@pytest.mark.parametrize("data", [b"", b"\x2a\0\0\0", b"\x2a\0\0\0S1", bytes(513)])
def test_too_short_or_too_long_an_identification_is_refused(data):
    with pytest.raises(BadIdentification):
        parse_identification(data)


@pytest.mark.parametrize(
    "serial",
    [
        b"",
        b"  ",
        b"a/b",
        b"a+",
        b"#",
        b"..",
        b"a\\b",
        b"a\nb",
        b"a\x1b[0m",
        "a\u202eb".encode(),
        b"\xff\xfe",
        b"x" * (MAX_TEXT + 1),
    ],
)
def test_a_serial_that_could_change_a_topic_or_path_is_refused(serial):
    with pytest.raises(BadIdentification) as refused:
        parse_identification(identification(serial, b"type"))
    assert not refused.value.retryable


def test_descriptions_are_cleaned_and_cut():
    data = identification(b"S1", b"Door\x00"[:4] + b"\n\x1b \xffx", b"v" * 300)
    identity = parse_identification(data)
    assert identity.device_type == "Door \ufffdx"
    assert identity.git_version == "v" * MAX_TEXT


@given(st.binary(max_size=600))
def test_no_identification_raises_anything_else(data):
    with contextlib.suppress(BadIdentification):
        identity = parse_identification(data)
        assert identity.serial.isprintable()
        assert len(identity.device_type) <= MAX_TEXT


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(min_size=1, max_size=300))
def test_a_chunk_is_read_as_it_was_written(offset, total, payload):
    chunk = Chunk(offset, total, payload)
    assert parse_chunk(encode_chunk(chunk)) == chunk


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0"])
def test_a_chunk_without_payload_is_none(data):
    assert parse_chunk(data) is None


def test_an_ack_is_two_bytes():
    assert encode_ack(0x1234) == b"\x34\x12"
    assert parse_ack(b"\x34\x12") == 0x1234
    assert parse_ack(b"\x34\x12\0") is None


def test_the_signal_strength_is_signed():
    assert parse_rssi(b"\xc4") == -60
    assert parse_rssi(b"") is None
