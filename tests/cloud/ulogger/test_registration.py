"""A device registers once, whoever asks; no bad reply hurts; no log goes up without a token."""

import asyncio
import json
from typing import Any

import pytest

from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.cloud.errors import (
    CloudUnavailable,
    InvalidMessage,
    InvalidSerial,
    MessageTooLarge,
    RegistrationFailed,
)
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.telemetry import Metric
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud

from ...support import made_captures as made
from ...support.recorder import RecordingTransport
from ..conftest import Transports, until

DEVICE = DeviceIdentity(7, "S1", "sensor", "1.0", "abc")
UPDATED = DeviceIdentity(7, "S1", "sensor", "1.1", "def")
REPLY = "boot/v0/42/0/7/S1"


def log(body: bytes = b"frames") -> bytes:
    return LogHeader(4, 0, 0, 1, 1, 1, len(body), xor_checksum(body)).pack() + body


def capture(device: DeviceIdentity = DEVICE, data: bytes | None = None) -> Capture:
    return Capture(CaptureKind.LOG, device, log() if data is None else data, 0)


class Saved:
    """Where tokens are saved."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        self.times = 0

    async def __call__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.times += 1


@pytest.fixture
def saved() -> Saved:
    return Saved()


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
def cloud(transport: RecordingTransport, saved: Saved) -> UloggerCloud:
    return make_cloud(transport, saved)


def make_cloud(transport: Any, saved: Saved, **more: Any) -> UloggerCloud:
    defaults = {"customer_id": 42, "tokens": TokenCache({}, saved), "reply_timeout": 0.2}
    return UloggerCloud(transport, **(defaults | more))


async def test_a_log_goes_up_with_the_token_that_the_cloud_gave(
    transport: RecordingTransport, cloud: UloggerCloud, saved: Saved
) -> None:
    transport.answer_registrations(lambda _serial: b'{"token": 305419896}')
    await cloud.deliver(capture())
    topic, payload = transport.published[1]
    assert topic == "binlog/v0/42/0/7"
    assert payload[1:5] == bytes.fromhex("78563412")
    entry = saved.content["7/S1"]
    assert (entry["git_hash"], entry["token"]) == ("abc", 305419896)


async def test_a_log_without_a_clock_goes_up_with_the_time_it_came(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    transport.answer_registrations(lambda _serial: b'{"token": 5}')
    none, own, old = (
        made.log((1, made.payload()), **header)
        for header in ({"epoch_us": 0}, {"epoch_us": 123_000_000}, {"version": 3})
    )
    for data in (none, own, old):
        await cloud.deliver(Capture(CaptureKind.LOG, DEVICE, data, 1_795_230_000.0))
    sent = [payload for topic, payload in transport.published if topic.startswith("binlog")]
    assert LogHeader.parse(sent[0]).epoch_us == 1_795_230_000_000_000
    assert LogHeader.parse(sent[1]).epoch_us == 123_000_000
    assert [payload[5:] for payload in sent[1:]] == [own[5:], old[5:]]


async def test_the_second_log_needs_no_registration(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    transport.answer_registrations(lambda _serial: b'{"token": 5}')
    await cloud.deliver(capture())
    await cloud.deliver(capture())
    assert [topic.split("/")[0] for topic, _ in transport.published] == ["boot", "binlog", "binlog"]


@pytest.mark.parametrize(
    "other",
    [
        DeviceIdentity(7, "S1", "sensor", "1.1", "def"),
        DeviceIdentity(7, "S2", "sensor", "1.0", "abc"),
        DeviceIdentity(8, "S1", "sensor", "1.0", "abc"),
    ],
)
async def test_another_firmware_serial_or_application_registers_anew(
    transport: RecordingTransport, cloud: UloggerCloud, other: DeviceIdentity
) -> None:
    transport.answer_registrations(lambda _serial: b'{"token": 5}')
    await cloud.register(DEVICE)
    await cloud.register(other)
    assert len(transport.published) == 2


async def test_a_firmware_that_comes_back_registers_again(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    transport.answer_registrations(lambda _serial: b'{"token": 5}')
    for device in (DEVICE, UPDATED, DEVICE):
        await cloud.register(device)
    assert len(transport.published) == 3


async def test_many_who_ask_at_once_share_one_registration(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    asking = [asyncio.create_task(cloud.register(DEVICE)) for _ in range(5)]
    await until(lambda: transport.published)
    transport.hear(REPLY, b'{"token": 9}')
    assert await asyncio.gather(*asking) == [9] * 5
    assert len(transport.published) == 1


async def test_who_gives_up_does_not_end_it_for_the_others(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    impatient = asyncio.create_task(cloud.register(DEVICE))
    patient = asyncio.create_task(cloud.register(DEVICE))
    await until(lambda: transport.published)
    impatient.cancel()
    await asyncio.wait([impatient])
    transport.hear(REPLY, b'{"token": 9}')
    assert await patient == 9


async def test_when_all_give_up_nothing_is_left_running(
    transport: RecordingTransport, saved: Saved
) -> None:
    cloud = make_cloud(transport, saved, reply_timeout=3600)
    before = asyncio.all_tasks()
    asking = asyncio.create_task(cloud.register(DEVICE))
    await until(lambda: transport.published)
    asking.cancel()
    await asyncio.wait([asking])
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_firmware_update_amid_a_registration_gets_its_own(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    first = asyncio.create_task(cloud.register(DEVICE))
    second = asyncio.create_task(cloud.register(UPDATED))
    await until(lambda: transport.published)
    assert len(transport.published) == 1
    transport.hear(REPLY, b'{"token": 1}')
    await until(lambda: len(transport.published) == 2)
    transport.hear(REPLY, b'{"token": 2}')
    assert (await first, await second) == (1, 2)
    assert json.loads(transport.published[1][1])["git"] == "def"


BAD_REPLIES = [
    b"",
    b"no json",
    b"\xff\xfe",
    b"[]",
    b"7",
    b"null",
    b"{}",
    b'{"token": null}',
    b'{"token": 0}',
    b'{"token": -1}',
    b'{"token": 4294967296}',
    b'{"token": true}',
    b'{"token": 5.5}',
    b'{"token": 4294967296.0}',
    b'{"token": 1e999}',
    b'{"token": NaN}',
    b'{"token": "0"}',
    b'{"token": "-5"}',
    b'{"token": "5.0"}',
    b'{"token": "five"}',
    '{"token": "\N{ARABIC-INDIC DIGIT FIVE}"}'.encode(),
    b'{"token": "' + b"9" * 4000 + b'"}',
    b'{"token": [5]}',
    b'{"token": ' + b"9" * 4000 + b"}",
    b"[" * 3000,
    b" " * 100_000 + b'{"token": 5}',
]


@pytest.mark.parametrize("token", ["7", "7.0", '"7"', "7e0", '"007"'])
async def test_a_token_is_taken_in_any_way_that_a_number_can_be_written(
    transport: RecordingTransport, cloud: UloggerCloud, token: str
) -> None:
    transport.answer_registrations(lambda _serial: f'{{"token": {token}}}'.encode())
    assert await cloud.register(DEVICE) == 7


@pytest.mark.parametrize("reply", BAD_REPLIES, ids=lambda reply: repr(reply[:24]))
async def test_a_bad_reply_is_counted_and_no_log_goes_up(
    transport: RecordingTransport, cloud: UloggerCloud, saved: Saved, reply: bytes
) -> None:
    transport.answer_registrations(lambda _serial: reply)
    with pytest.raises(RegistrationFailed) as error:
        await cloud.deliver(capture())
    assert error.value.retryable
    assert not error.value.about_message
    assert cloud.counters["boot_replies_invalid"] == 1
    assert [topic.split("/")[0] for topic, _ in transport.published] == ["boot"]
    assert saved.times == 0


async def test_a_bad_reply_does_not_undo_a_good_one(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    asking = asyncio.create_task(cloud.register(DEVICE))
    await until(lambda: transport.published)
    transport.hear(REPLY, b"nonsense")
    transport.hear(REPLY, b'{"token": 3}')
    transport.hear(REPLY, b'{"token": 4}')
    assert await asking == 3


@pytest.mark.parametrize(
    "topic", ["boot/v0/42/0/7/S2", "boot/v0/42/0/8/S1", "boot/v0/42/0/x/S1", "boot/v0/42/0/-7/S1"]
)
async def test_a_reply_for_somebody_else_is_counted_and_ignored(
    transport: RecordingTransport, cloud: UloggerCloud, topic: str
) -> None:
    asking = asyncio.create_task(cloud.register(DEVICE))
    await until(lambda: transport.published)
    transport.hear(topic, b'{"token": 3}')
    assert cloud.counters["boot_replies_unexpected"] == 1
    with pytest.raises(RegistrationFailed):
        await asking


async def test_silence_fails_after_the_time_that_the_protocol_gives() -> None:
    from custom_components.ulogger.cloud.ulogger.registration import REPLY_TIMEOUT

    assert REPLY_TIMEOUT == 15.0


async def test_without_a_connection_nothing_waits(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    transport.connected = False
    with pytest.raises(CloudUnavailable):
        await cloud.deliver(capture())


async def test_where_the_wildcard_is_refused_each_device_listens_for_itself(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    transport.refuses = lambda topic_filter: "+" in topic_filter
    transport.answer_registrations(lambda _serial: b'{"token": 8}')
    assert await cloud.register(DEVICE) == 8
    assert cloud.diagnostics()["boot_wildcard_refused"]
    assert transport.topics == []  # the topic of the device is left after its reply
    assert await cloud.register(UPDATED) == 8


@pytest.mark.parametrize("serial", ["a/b", "+", "#", "", "a\0b", "a\nb", "x" * 300])
async def test_a_serial_that_would_change_the_topic_is_refused(
    transport: RecordingTransport, cloud: UloggerCloud, serial: str
) -> None:
    device = DeviceIdentity(7, serial, "sensor", "1.0", "abc")
    with pytest.raises(InvalidSerial) as error:
        await cloud.deliver(capture(device))
    assert error.value.about_message
    assert not error.value.retryable
    for publish in (
        cloud.route.publish_metrics({device.key: [Metric("m", 1)]}),
        cloud.follow_log_config(device.key),
    ):
        with pytest.raises(InvalidSerial):
            await publish
    assert transport.published == []
    assert all("S1" not in topic_filter for topic_filter in transport.filters)


@pytest.mark.parametrize("data", [b"", b"\x04", log()[:-1], b"\0" * 40, log()[:-1] + b"?"])
async def test_a_damaged_log_is_not_sent_and_not_worth_another_try(
    transport: RecordingTransport, cloud: UloggerCloud, data: bytes
) -> None:
    with pytest.raises(InvalidMessage) as error:
        await cloud.deliver(capture(data=data))
    assert not error.value.retryable
    assert transport.published == []


async def test_a_capture_over_the_limit_is_refused(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    with pytest.raises(MessageTooLarge):
        await cloud.deliver(Capture(CaptureKind.CORE_DUMP, DEVICE, bytes(131_073), 0))
    await cloud.deliver(Capture(CaptureKind.CORE_DUMP, DEVICE, bytes(131_072), 0))
    assert [topic for topic, _ in transport.published] == ["core-dump/v0/42/0"]


async def test_a_core_dump_needs_no_registration(
    transport: RecordingTransport, cloud: UloggerCloud
) -> None:
    await cloud.deliver(Capture(CaptureKind.CORE_DUMP, DEVICE, b"dump", 0))
    assert transport.published == [("core-dump/v0/42/0", b"dump")]


async def test_a_forgotten_device_registers_again(
    transport: RecordingTransport, cloud: UloggerCloud, saved: Saved
) -> None:
    transport.answer_registrations(lambda _serial: b'{"token": 8}')
    await cloud.register(DEVICE)
    await cloud.forget(DEVICE.key)
    assert saved.content == {}
    await cloud.register(DEVICE)
    assert len(transport.published) == 2


def make_old(saved: Saved, days: float, **more: Any) -> TokenCache:
    given_out = 1_000_000.0
    entry = {"git_hash": "abc", "token": 5, "at": given_out}
    now = given_out + days * 86_400
    return TokenCache({"7/S1": entry}, saved, now=lambda: now, **more)


async def test_a_token_of_a_month_is_renewed_while_it_still_serves(
    transport: RecordingTransport, saved: Saved
) -> None:
    young = make_cloud(transport, saved, tokens=make_old(saved, 29.9))
    assert await young.register(DEVICE) == 5
    await asyncio.sleep(0)
    assert transport.published == []

    transport.answer_registrations(lambda _serial: b'{"token": 6}')
    old = make_cloud(transport, saved, tokens=make_old(saved, 30.1))
    assert await old.register(DEVICE) == 5
    await until(lambda: saved.times)
    assert await old.register(DEVICE) == 6
    assert len(transport.published) == 1
    assert old.counters["tokens_refreshed"] == 1


async def test_without_an_answer_the_old_token_serves_and_is_not_asked_about_each_time(
    transport: RecordingTransport, saved: Saved
) -> None:
    cloud = make_cloud(transport, saved, tokens=make_old(saved, 40), reply_timeout=0.01)
    for _ in range(3):
        await cloud.deliver(capture())
        await asyncio.sleep(0.02)
    kinds = [topic.split("/")[0] for topic, _ in transport.published]
    assert (kinds.count("boot"), kinds.count("binlog")) == (1, 3)
    assert cloud.tokens.get(DEVICE) == 5


async def test_tokens_of_an_older_version_and_of_a_wrong_clock_count_as_new(saved: Saved) -> None:
    before = {"git_hash": "abc", "token": 5}
    for entry in (before, before | {"at": 9e9}, before | {"at": "long ago"}, before | {"at": True}):
        tokens = TokenCache({"7/S1": entry}, saved, now=lambda: 1e9)
        assert tokens.get(DEVICE) == 5
        assert not tokens.refresh_due(DEVICE)


async def test_a_token_that_the_cloud_pushes_replaces_the_cached_one(
    transport: RecordingTransport, saved: Saved
) -> None:
    soon: list[dict[str, Any]] = []
    tokens = TokenCache({}, saved, save_soon=soon.append)
    cloud = make_cloud(transport, saved, tokens=tokens)
    await cloud.listen_for_tokens()
    transport.hear(REPLY, b'{"token": 4}')
    assert tokens.get(DEVICE) is None
    assert cloud.counters["boot_replies_unexpected"] == 1

    await tokens.put(DEVICE, 5)
    for number in range(1500):
        transport.hear(REPLY, json.dumps({"token": 6 + number % 2}).encode())
    transport.hear(REPLY, b"nonsense")
    transport.hear(REPLY, b'{"token": "9"}')
    assert (tokens.get(DEVICE), tokens.get(UPDATED)) == (9, None)
    assert soon[-1]["7/S1"]["token"] == 9
    assert saved.times == 1
    await cloud.deliver(capture())
    assert [topic for topic, _ in transport.published] == ["binlog/v0/42/0/7"]


async def test_the_least_recently_used_token_goes_first(saved: Saved) -> None:
    tokens = TokenCache({}, saved, max_entries=2)
    one, two, three = (DeviceIdentity(1, serial, "", "", "h") for serial in "123")
    await tokens.put(one, 1)
    await tokens.put(two, 2)
    assert tokens.get(one) == 1
    await tokens.put(three, 3)
    assert (tokens.get(one), tokens.get(two), tokens.get(three)) == (1, None, 3)
    assert list(saved.content) == ["1/1", "1/3"]


async def test_tokens_survive_a_restart_and_spoilt_ones_are_forgotten(saved: Saved) -> None:
    tokens = TokenCache({}, saved)
    await tokens.put(DEVICE, 6)
    spoilt = {
        "7/a": {"git_hash": "abc", "token": 0},
        "7/b": {"git_hash": "abc", "token": True},
        "7/c": {"token": 5},
        "7/d": "nonsense",
    }
    again = TokenCache(saved.content | spoilt, saved)
    assert again.get(DEVICE) == 6
    assert len(again) == 1


async def test_over_a_real_broker_with_a_prefix_as_a_bridge_has_it(
    broker: LocalBroker, transports: Transports, saved: Saved
) -> None:
    async with LocalCloud(broker, prefix="ulogger/") as service:
        transport = await transports.connected(broker)
        cloud = make_cloud(transport, saved, topic_prefix="ulogger/", reply_timeout=10)
        await cloud.deliver(capture())
        (received,) = await service.wait_for("binlog")
        assert received.topic == "binlog/v0/42/0/7"
        assert service.device_of(received).serial == "S1"


async def test_over_a_real_broker_a_mute_cloud_delays_a_log_and_loses_none(
    broker: LocalBroker, cloud_service: LocalCloud, transports: Transports, saved: Saved
) -> None:
    transport = await transports.connected(broker)
    cloud = make_cloud(transport, saved)
    cloud_service.muted = True
    with pytest.raises(RegistrationFailed):
        await cloud.deliver(capture())
    assert cloud_service.of("binlog") == []
    cloud_service.muted = False
    patient = make_cloud(transport, saved, reply_timeout=10)
    await patient.deliver(capture())
    (received,) = await cloud_service.wait_for("binlog")
    assert received.token != 0
