"""What comes from Clesyde is read whatever it is, and what goes there fits."""

import base64
import json
import ssl
from dataclasses import replace
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.clesyde.captures import (
    LARGEST_PAYLOAD,
    RAW_BYTES,
    Choice,
    messages,
)
from custom_components.ulogger.cloud.clesyde.certificates import (
    Pair,
    client_context,
    server_context,
)
from custom_components.ulogger.cloud.clesyde.errors import ThingError
from custom_components.ulogger.cloud.clesyde.keys import ThingKeys
from custom_components.ulogger.cloud.clesyde.remote import parse_token
from custom_components.ulogger.cloud.clesyde.rotation import checked_successor
from custom_components.ulogger.cloud.clesyde.shadow import (
    LARGEST_DOCUMENT,
    bounded,
    difference,
    encoded,
    merged,
    parse_delta,
)
from custom_components.ulogger.cloud.clesyde.thing import (
    CONFIG_FILE,
    PEM_FILES,
    Thing,
    thing_from_files,
)
from custom_components.ulogger.cloud.clesyde.topics import Topics, usable_topic
from custom_components.ulogger.cloud.clesyde.wishes import Settable, read_wishes
from custom_components.ulogger.cloud.errors import InvalidMessage
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from tests.support.account import log
from tests.support.clesyde import issued

DEVICE = DeviceIdentity(42, "A" * 100, "sensor", "1.0", "abc")
NOW = 1_795_225_292.0
VALUES = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
STATES = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)


@given(STATES, STATES)
def test_a_difference_makes_one_state_of_another(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert merged(before, difference(before, after)) == after
    assert not difference(after, after)


@given(st.integers(0, 300), st.integers(0, 9_000), st.text(max_size=40))
def test_a_report_fits_the_shadow_beside_what_is_desired(count: int, size: int, text: str) -> None:
    desired = {"x": "y" * min(size, LARGEST_DOCUMENT - 400)}
    devices = [
        (f"42-{number}", {"state": text, "metrics": {"a": number}}) for number in range(count)
    ]
    state = bounded({"collectInterval": 5, "refused": {"x": text}}, devices, desired)
    assert len(encoded({"desired": desired, "reported": state})) <= LARGEST_DOCUMENT
    if "devices" in state:
        assert len(state["devices"]) + state.get("devicesOmitted", 0) == count


def test_the_devices_seen_last_are_reported_as_long_as_there_is_room() -> None:
    devices = [(f"42-{number:03}", {"state": "idle"}) for number in range(500)]
    state = bounded({"collectInterval": 5}, devices, {})
    shown = list(state["devices"])
    assert shown == [name for name, _ in devices[: len(shown)]]
    assert state["devicesOmitted"] == 500 - len(shown)
    assert len(encoded({"desired": {}, "reported": state})) > LARGEST_DOCUMENT - 400


def test_a_delta_is_read_in_both_shapes() -> None:
    assert parse_delta(b'{"version": 3, "state": {"a": 1}}').state == {"a": 1}
    deep = parse_delta(b'{"state": {"desired": {"a": 1, "b": 2}, "delta": {"b": 2}}}')
    assert deep.state == {"b": 2}
    # An option that is called so is no shape.
    assert parse_delta(b'{"state": {"delta": {"x": 1}, "other": 2}}').state["other"] == 2


@given(st.dictionaries(st.text(max_size=80), VALUES, max_size=30))
def test_whatever_is_desired_is_done_or_refused(desired: dict[str, Any]) -> None:
    wishes = read_wishes({**desired, "interval": 7}, {"interval": Settable(1, 9)}, NOW)
    assert wishes.options == {"interval": 7}
    assert len(wishes.refused) <= 17


@pytest.mark.parametrize("value", [0, 10, True, "7", 7.5, None, 1e300])
def test_a_number_out_of_its_range_is_refused(value: object) -> None:
    wishes = read_wishes({"interval": value}, {"interval": Settable(1, 9)}, NOW)
    assert not wishes.options
    assert wishes.refused == {"interval": "a whole number from 1 to 9"}


@pytest.mark.parametrize("number", [12, "12", "0012"])
def test_a_serial_number_is_the_same_however_it_is_written(number: object) -> None:
    assert read_wishes({"remoteCertSn": number}, {}, NOW).certificate == "12"


def test_a_wish_that_has_ended_is_refused() -> None:
    wish = {"level": "debug", "until": NOW - 1}
    wishes = read_wishes({"logLevels": {"42-A": wish}}, {}, NOW)
    assert not wishes.log_levels
    assert wishes.refused == {"logLevels.42-A": "ended"}


@pytest.mark.parametrize("size", [0, 1, RAW_BYTES, RAW_BYTES + 1, 5 * RAW_BYTES + 7])
def test_every_message_fits_and_together_they_are_the_capture(size: int) -> None:
    capture = Capture(CaptureKind.CORE_DUMP, DEVICE, bytes(range(256)) * (size // 256 + 1), NOW)
    choice = Choice(crashes="up", raw=True)
    found = messages(choice, 7, capture, None, None)
    assert all(len(payload) <= LARGEST_PAYLOAD for _, payload in found)
    assert len(found) == max(1, -(-len(capture.data) // RAW_BYTES))
    parts = [json.loads(payload) for _, payload in found]
    assert b"".join(base64.b64decode(each["data"]) for each in parts) == capture.data
    assert [each["part"] for each in parts] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("text", ["a", "ü" * 500, '"' * 5000], ids=["short", "wide", "long"])
def test_a_long_log_is_split_between_its_frames(text: str) -> None:
    capture = log()
    frame = read(capture).frames[0]
    frames = tuple(frame._replace(number=number, text=text) for number in range(1500))
    reading = replace(read(capture), frames=frames)
    found = messages(Choice(logs="logs"), 7, capture, reading, None)
    assert len(found) > 1
    assert all(len(payload) <= LARGEST_PAYLOAD for _, payload in found)
    parts = [json.loads(payload) for _, payload in found]
    numbers = [each["number"] for part in parts for each in part["frames"]]
    assert numbers == list(range(1500))
    assert {part["parts"] for part in parts} == {len(found)}


@pytest.mark.parametrize("topic", ["", "a b", "a/+", "#", "status", "remotecr", "a//b", "a/b/c/d"])
def test_no_chosen_topic_changes_the_structure_of_another(topic: str) -> None:
    assert not usable_topic(topic)


def test_only_answers_to_this_thing_are_its_own() -> None:
    topics = Topics("HA-1")
    assert topics.response_to("c/d/HA-1/remotetoken/res") == "remotetoken"
    assert topics.response_to("c/d/HA-2/remotetoken/res") is None
    assert topics.response_to("c/d/HA-1/a/b/res") is None
    assert topics.of_shadow("$aws/things/HA-1/shadow/name/config/update/delta") == (
        "update",
        "delta",
    )
    assert topics.of_shadow("$aws/things/HA-1/shadow/name/other/update/delta") is None


def test_a_token_has_to_be_renewed_before_it_ends() -> None:
    keys = (bytes(32), bytes(16))
    long = parse_token(f'{{"valid": {NOW + 7200}, "token": "t"}}'.encode(), keys, NOW)
    assert long.due(NOW) == pytest.approx(7200 - 900)
    short = parse_token(f'{{"valid": {NOW + 60}, "token": "t"}}'.encode(), keys, NOW)
    assert short.due(NOW) == pytest.approx(30)
    with pytest.raises(InvalidMessage):
        parse_token(f'{{"valid": {NOW - 1}, "token": "t"}}'.encode(), keys, NOW)


@pytest.mark.parametrize("missing", [CONFIG_FILE, *(f"{each}.pem" for each in PEM_FILES)])
def test_a_folder_without_one_of_its_files_is_no_thing(missing: str) -> None:
    files = dict.fromkeys((CONFIG_FILE, *(f"{each}.pem" for each in PEM_FILES)), b"{}")
    del files[missing]
    with pytest.raises(ThingError) as caught:
        thing_from_files("HA-1", files)
    assert (caught.value.reason, caught.value.detail) == ("file_missing", missing)


def test_keys_are_in_no_representation() -> None:
    pair = issued(trustme.CA(), 10)
    thing = Thing("HA-1", "t", "a", "b", "c", "ca", pair, pair, before=pair)
    token = parse_token(f'{{"valid": {NOW + 9}, "token": "sEcReT"}}'.encode(), (b"k", b"v"), NOW)
    assert "PRIVATE" not in repr(thing)
    assert "sEcReT" not in repr(token)
    assert Thing.from_dict(thing.as_dict()) == thing


def test_a_successor_fits_is_the_one_asked_for_and_newer() -> None:
    authority = trustme.CA()
    present, successor = issued(authority, 10, since=5), issued(authority, 5, since=1)
    serial = successor.about.serial
    assert checked_successor(successor, present, serial) == successor
    for pair, wanted in (
        (present, None),
        (issued(authority, 90, since=6), None),
        (successor, "1"),
        (Pair(successor.certificate, present.key), None),
        (issued(authority, -1, since=2), None),
    ):
        with pytest.raises(ThingError):
            checked_successor(pair, present, wanted)


def test_tls_is_verified_and_a_pair_is_tried_before_it_serves() -> None:
    authority = trustme.CA()
    pair = issued(authority, 10)
    context = client_context(authority.cert_pem.bytes().decode(), pair)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    server_context(pair, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    other = Pair(pair.certificate, issued(authority, 10).key)
    with pytest.raises(ThingError):
        server_context(other, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


async def test_a_certificate_that_does_not_work_gives_way_to_the_one_before() -> None:
    authority = trustme.CA()
    good = issued(authority, 10)
    bad = Pair(issued(authority, 20).certificate, good.key)
    thing = Thing("HA-1", "t", "a", "b", "c", "ca", good, bad, before=good)
    saved: list[Thing] = []

    async def save(kept: Thing, _wanted: bool) -> None:
        saved.append(kept)

    async def run(work: Any, *values: Any) -> Any:
        return work(*values)

    keys = await ThingKeys.of(
        thing,
        wanted=True,
        save=save,
        run=run,
        new_context=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    )
    await keys.context()
    assert keys.thing.remote == good
    assert saved == [keys.thing]
