"""A unit at a real broker: what it sends, what it hears, and what it notices."""

import asyncio
import json
import ssl
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from custom_components.ulogger.cloud.errors import (
    CloudError,
    CloudUnavailable,
    MessageRefused,
)
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.rate_limit import RateLimit
from custom_components.ulogger.cloud.pepeunit import echoes, link
from custom_components.ulogger.cloud.pepeunit.cipher import decrypt, encrypt
from custom_components.ulogger.cloud.pepeunit.commands import Command, CommandKind
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.errors import SilentlyDenied
from custom_components.ulogger.cloud.pepeunit.link import Security
from custom_components.ulogger.cloud.pepeunit.records import LARGEST_MESSAGE, LogRecord
from custom_components.ulogger.cloud.pepeunit.schema import Schema
from custom_components.ulogger.cloud.pepeunit.unit import Mapped
from custom_components.ulogger.model.backoff import Backoff, never
from custom_components.ulogger.model.telemetry import TextLine
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import BASE_INPUTS, BASE_OUTPUTS, Unit
from tests.support.account import SENSOR, core_dump, log

from .conftest import Running, until


def texts(pepeunit: LocalPepeunit, unit: Unit) -> list[str]:
    return [record["text"] for record in pepeunit.records(unit)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hear what was sent soon, or never."""
    monkeypatch.setattr(echoes, "WITHIN", 0.3)
    monkeypatch.setattr(echoes.Echoes.__init__, "__defaults__", (0.3,))


# Captures


async def test_a_capture_is_in_the_log_once_in_its_order(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    running.captures |= {1: log(), 2: core_dump()}
    ours = await running.start(running.unit(unit))
    sent: list[LogRecord] = []
    ours.on_records = sent.extend

    await ours.deliver(running.captures[1], 1)
    await ours.deliver(running.captures[2], 2)

    frames = len((await running.reading(1)).frames)
    await pepeunit.wait_until(lambda: len(texts(pepeunit, unit)) >= frames + 2)
    came = texts(pepeunit, unit)
    assert frames > 1
    assert [text.split(" ")[1].rstrip(":") for text in came] == [
        "#1",
        *(f"#1.{number}" for number in range(frames)),
        "#2",
    ]
    assert all(text.startswith(f"{SENSOR.serial} #") for text in came)
    assert "core dump of" in came[-1]
    assert [record.text for record in sent] == came
    assert pepeunit.invalid == []


async def test_records_below_the_units_level_are_left_out(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    unit.env_override["PU_MIN_LOG_LEVEL"] = "Error"
    running.captures[1] = log()
    ours = await running.start(running.unit(unit))
    await ours.deliver(running.captures[1], 1)
    await ours.publish_text_log(SENSOR, [TextLine(0.0, 3, "bad"), TextLine(0.0, 2, "well")])
    await pepeunit.wait_until(lambda: texts(pepeunit, unit)[-1:] == [f"{SENSOR.serial} bad"])
    assert {record["level"] for record in pepeunit.records(unit)} <= {"Error", "Critical"}


async def test_what_was_taken_of_a_capture_is_not_sent_again(
    running: Running, pepeunit: LocalPepeunit, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.captures[1] = log()
    ours = await running.start(running.unit(unit))
    from custom_components.ulogger.cloud.pepeunit import unit as module

    pack = module.in_messages
    monkeypatch.setattr(module, "in_messages", lambda records: pack(records, 500))
    send = ours.link.send
    left = 2

    async def fail_in_between(topic: str, payload: bytes) -> None:
        nonlocal left
        if not left:
            raise CloudUnavailable("told so")
        left -= 1
        await send(topic, payload)

    ours.link.send = fail_in_between  # type: ignore[method-assign]
    with pytest.raises(CloudUnavailable):
        await ours.deliver(running.captures[1], 1)
    left = 1000
    await ours.deliver(running.captures[1], 1)

    wanted = len((await running.reading(1)).frames) + 1
    await pepeunit.wait_until(lambda: len(texts(pepeunit, unit)) >= wanted)
    came = texts(pepeunit, unit)
    assert len(came) == len(set(came)) == wanted


async def test_a_unit_without_a_log_topic_keeps_captures_waiting(
    running: Running, unit: Unit
) -> None:
    running.captures[1] = log()
    ours = await running.start(running.unit(unit))
    ours.apply_schema(replace(ours.schema, reports={}))
    with pytest.raises(CloudError) as caught:
        await ours.deliver(running.captures[1], 1)
    assert caught.value.retryable
    assert caught.value.retry_after


# Inputs, outputs, commands


async def test_outputs_wait_for_a_connection_and_go_in_their_order(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    ours = running.unit(unit, Mapped(outputs=frozenset(unit.outputs)))
    for value in ("21.5", "21.6"):
        ours.put_output("temperature", value)
    ours.put_output("not there", "1")
    await running.start(ours)
    topic = unit.topic("temperature")
    await pepeunit.wait_until(lambda: len(pepeunit.of(topic)) == 2)
    assert pepeunit.of(topic) == [b"21.5", b"21.6"]


async def test_only_what_is_mapped_is_subscribed_and_what_is_dropped_is_no_longer(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    ours = running.unit(unit, Mapped(inputs=frozenset({"lamp"})))
    heard: list[tuple[str, str]] = []
    ours.on_input = lambda *each: heard.append(each)
    await running.start(ours)
    await until(lambda: unit.topic("lamp") in pepeunit.gate.subscribed[unit.uuid])
    bases = {unit.topic(name) for name in (*BASE_INPUTS, *BASE_OUTPUTS)}
    await until(lambda: pepeunit.gate.subscribed[unit.uuid] == bases | {unit.topic("lamp")})

    await pepeunit.publish(unit.topic("lamp"), "on")
    await until(lambda: heard == [("lamp", "on")])
    ours.apply_mapping(Mapped(inputs=frozenset({"note"})))
    await until(lambda: unit.topic("note") in pepeunit.gate.subscribed[unit.uuid])
    await pepeunit.publish(unit.topic("lamp"), "off")
    await pepeunit.publish(unit.topic("note"), "é" * 3)
    await until(lambda: len(heard) > 1)
    assert heard == [("lamp", "on"), ("note", "ééé")]


async def test_a_schema_without_a_topic_ends_its_subscription(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    ours = await running.start(running.unit(unit))
    await until(lambda: unit.topic("note") in pepeunit.gate.subscribed[unit.uuid])
    gone = unit.topic("note")
    del unit.inputs["note"]
    ours.apply_schema(Schema.parse(unit.schema()))
    await until(lambda: gone not in pepeunit.gate.subscribed[unit.uuid])
    assert ours.missing == ["note"]


async def test_encrypted_topics_are_read_and_written_as_other_units_do(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    mapped = Mapped(frozenset({"note"}), frozenset({"secret"}), frozenset({"note", "secret"}))
    ours = running.unit(unit, mapped)
    heard: list[tuple[str, str]] = []
    ours.on_input = lambda *each: heard.append(each)
    await running.start(ours)
    await until(lambda: unit.topic("note") in pepeunit.gate.subscribed[unit.uuid])
    ours.put_output("secret", "21.5 °C")
    await pepeunit.publish(unit.topic("note"), "not encrypted")
    await pepeunit.publish(unit.topic("note"), encrypt("good", unit.encrypt_key))
    await until(lambda: heard)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("secret")))
    assert heard == [("note", "good")]
    [sealed] = pepeunit.of(unit.topic("secret"))
    assert b"21.5" not in sealed
    assert decrypt(sealed.decode(), unit.encrypt_key) == "21.5 °C"
    assert ours.counters["cipher_not_encrypted"] == 1


async def test_commands_come_in_and_what_is_none_is_counted(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    ours = running.unit(unit)
    heard: list[Command] = []
    ours.on_command = heard.append
    await running.start(ours)
    await until(lambda: unit.topic("log_sync") in pepeunit.gate.subscribed[unit.uuid])
    await pepeunit.publish(unit.topic("update"), b"\xff\x00 nonsense")
    await pepeunit.command(unit, "Update", PU_COMMIT_VERSION="abc")
    for name in ("EnvUpdate", "SchemaUpdate", "LogSync"):
        await pepeunit.command(unit, name)
    await until(lambda: len(heard) == 4)
    assert heard == [Command(CommandKind.UPDATE, "abc"), *map(Command, list(CommandKind)[1:])]
    assert ours.counters["commands_refused"] == 1


async def test_the_state_goes_to_its_topic(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    ours = await running.start(running.unit(unit))
    assert await ours.publish_state({"millis": 1})
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("state")))
    assert [json.loads(each) for each in pepeunit.of(unit.topic("state"))] == [{"millis": 1}]
    ours.apply_schema(replace(ours.schema, reports={}))
    assert not await ours.publish_state({"millis": 2})


# The broker


async def test_another_env_reconnects_and_what_waits_goes_there(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    nowhere = pepeunit.env(unit) | {"PU_MQTT_PORT": 1}
    ours = running.unit(unit, env=nowhere)
    task = asyncio.create_task(ours.run())
    ours.put_output("temperature", "20")
    ours.apply_env(Env.parse(pepeunit.env(unit)))
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("temperature")) == [b"20"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_token_travels_within_tls_where_that_is_offered(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    context = ssl.create_default_context(cafile=str(pepeunit.broker.ca_file))
    ours = running.unit(unit, security=Security(context, pepeunit.broker.tls_port))
    await running.start(ours)
    await ours.publish_state({"millis": 1})
    assert ours.diagnostics()["encrypted"]
    assert unit.token not in json.dumps(ours.diagnostics())


async def test_at_most_30_messages_a_second_leave(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    ours = await running.start(running.unit(unit))
    for number in range(75):
        ours.put_output("temperature", str(number))
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("temperature"))) == 75)
    assert pepeunit.most_in_a_second(unit) <= 30


@pytest.mark.parametrize("size", [1, 100, 40_000, LARGEST_MESSAGE])
async def test_no_second_takes_more_than_the_broker_does(
    monkeypatch: pytest.MonkeyPatch, unit: Unit, size: int
) -> None:
    now = 0.0
    paces: list[RateLimit] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def transport(_broker: Broker, *, pace: RateLimit, **_more: Any) -> None:
        paces.append(pace)

    monkeypatch.setattr(link, "RateLimit", partial(RateLimit, clock=lambda: now, sleep=sleep))
    monkeypatch.setattr(link, "MqttTransport", transport)
    make = link.paced_transports()
    env = Env.parse(unit.env("127.0.0.1", 1883, 80))
    went: list[float] = []
    for number in range(200):
        # Each may go over another connection.
        make(Security(None).broker(env))
        await paces[number].take(size)
        went.append(now)
    most = max(sum(at <= each < at + 1 for each in went) for at in went)
    assert 1 <= most <= 30
    assert most * size <= 1_000_000


async def test_a_long_value_goes_and_comes_whole_or_not_at_all(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    every = frozenset({"lamp", "temperature"})
    mapped = Mapped(frozenset({"lamp"}), frozenset({"temperature"}), every)
    ours = await running.start(running.unit(unit, mapped))
    heard: list[str] = []
    ours.on_input = lambda _, value: heard.append(value)
    text, key = "ü" * 60_000, unit.encrypt_key
    ours.put_output("temperature", text)
    ours.put_output("temperature", text * 3)
    await pepeunit.wait_until(lambda: pepeunit.of(unit.topic("temperature")))
    [sealed] = pepeunit.of(unit.topic("temperature"))
    assert decrypt(sealed.decode(), key) == text
    assert ours.counters["values_too_long"] == 1
    await pepeunit.publish(unit.topic("lamp"), encrypt(text, key))
    await until(lambda: heard == [text])
    ours._received(unit.topic("lamp"), b"x" * 300_000, False)
    assert ours.counters["inputs_too_long"] == 1


@pytest.mark.usefixtures("impatient")
async def test_what_the_broker_drops_silently_is_noticed_and_waits(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    running.captures[1] = log()
    ours = await running.start(running.unit(unit))
    changes: list[list[str]] = []
    ours.on_denied = lambda: changes.append(ours.link.denied)
    await ours.publish_state({"millis": 1})
    pepeunit.allow(denied=(unit.topic("log"),))

    with pytest.raises(SilentlyDenied) as caught:
        await ours.deliver(running.captures[1], 1)
    assert caught.value.retryable
    assert caught.value.about_kind
    assert caught.value.retry_after > 10
    assert changes[-1] == [unit.topic("log")]
    assert pepeunit.records(unit) == []
    with pytest.raises(SilentlyDenied):
        await ours.deliver(running.captures[1], 1)

    pepeunit.allow()
    ours.forgive()
    assert changes[-1] == []
    await ours.deliver(running.captures[1], 1)
    await pepeunit.wait_until(lambda: texts(pepeunit, unit))


@pytest.mark.usefixtures("impatient")
async def test_a_denial_that_began_with_a_new_connection_ends_by_itself(
    running: Running, pepeunit: LocalPepeunit, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echoes, "HOLD", Backoff(0.1, 0.2, never))
    running.captures[1] = log()
    ours = await running.start(running.unit(unit))
    await ours.publish_state({"millis": 1})
    pepeunit.allow(denied=(unit.topic("log"),))
    await pepeunit.gate.drop()
    await until(lambda: unit.topic("log") in ours.link.refused)
    for _ in range(2):
        await until(lambda: not ours.link.echoes.waits(unit.topic("log")))
        with pytest.raises(SilentlyDenied):
            await ours.deliver(running.captures[1], 1)
    pepeunit.allow()
    await until(lambda: not ours.link.echoes.waits(unit.topic("log")))
    await ours.deliver(running.captures[1], 1)
    assert not ours.link.denied


@pytest.mark.usefixtures("impatient")
async def test_a_broker_that_lets_nobody_hear_itself_is_believed(
    running: Running, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    pepeunit.gate.muted = {unit.topic("log"), unit.topic("state")}
    running.captures |= dict.fromkeys(range(1, 5), log())
    ours = await running.start(running.unit(unit))
    for capture_id in range(1, 5):
        await ours.deliver(running.captures[capture_id], capture_id)
    assert ours.link.echoes.mute
    await pepeunit.wait_until(lambda: len(pepeunit.of(unit.topic("log"))) == 4)
    assert not ours.link.denied


async def test_values_wait_for_a_denial_or_a_lost_connection_to_end_and_the_oldest_go(
    running: Running, pepeunit: LocalPepeunit, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from custom_components.ulogger.cloud.pepeunit import unit as module

    monkeypatch.setattr(module, "MOST_WAITING", 3)

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    ours = running.unit(unit, sleep=at_once)
    send, failures = ours.link.send, [CloudUnavailable("told so"), MessageRefused("told so")]

    async def fail_first(topic: str, payload: bytes) -> None:
        if failures:
            raise failures.pop(0)
        await send(topic, payload)

    ours.link.send = fail_first  # type: ignore[method-assign]
    for number in range(5):
        ours.put_output("temperature", str(number))
    await running.start(ours)
    topic = unit.topic("temperature")
    await pepeunit.wait_until(lambda: pepeunit.of(topic) == [b"3", b"4"])
    assert (ours.counters["values_dropped"], ours.counters["values_refused"]) == (2, 1)
    failures.append(SilentlyDenied(topic, 30))
    ours.put_output("temperature", "5")
    ours.put_output("temperature", "6")
    await pepeunit.wait_until(lambda: pepeunit.of(topic) == [b"3", b"4", b"6"])
    assert ours.counters["values_denied"] == 1


async def test_what_a_broker_had_retained_counts_for_nothing(running: Running, unit: Unit) -> None:
    ours = running.unit(unit)
    heard: list[object] = []
    ours.on_command = heard.append
    ours._received(unit.topic("update"), b"{}", True)
    assert heard == []
    assert ours.counters["retained"] == 1


async def test_nothing_is_sent_before_it_is_known_what_can_be_heard(
    running: Running, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = running.unit(unit)
    with pytest.raises(CloudUnavailable):
        await ours.publish_state({})
    await running.start(ours)
    monkeypatch.setattr(link, "SETTLE_WITHIN", 0.01)
    assert ours.link._followed is not None
    ours.link._followed.settled.clear()
    with pytest.raises(CloudUnavailable, match="does not answer"):
        await ours.publish_state({})
