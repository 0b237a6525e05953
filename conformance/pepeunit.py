"""Pepeunit: our unit, the published client as another one, and a broker and API from the facts.

Each scenario is one of the features; the report names those that held.
"""

import asyncio
import json
import ssl
import sys
import tempfile
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
from pepeunit_client.cipher import AesGcmCipher  # type: ignore[import-untyped]

from custom_components.ulogger.cloud.pepeunit.archive import Archive
from custom_components.ulogger.cloud.pepeunit.cipher import decrypt, encrypt
from custom_components.ulogger.cloud.pepeunit.commands import Command, CommandKind
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.errors import (
    ArchiveRefused,
    InvalidFile,
    RestError,
    RestFailure,
    SilentlyDenied,
)
from custom_components.ulogger.cloud.pepeunit.link import Security
from custom_components.ulogger.cloud.pepeunit.machine import machine_state, own_address
from custom_components.ulogger.cloud.pepeunit.records import LogRecord
from custom_components.ulogger.cloud.pepeunit.rest import RestClient
from custom_components.ulogger.cloud.pepeunit.schema import Schema
from custom_components.ulogger.cloud.pepeunit.unit import Mapped, PepeunitDestination
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.telemetry import TextLine
from demo.fleet import Buffers
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import BASE_INPUTS, BASE_OUTPUTS, Unit

from .expecting import NotSo, expect
from .peer import Peer

DEVICE: Final = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
MOST_MESSAGES: Final = 30
CAPTURED_AT: Final = 1_795_225_292.0

type Scenario = Callable[["Stage"], Awaitable[None]]


async def until(condition: Callable[[], object], what: str, seconds: float = 15.0) -> None:
    """Wait until a condition holds; raises NotSo."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError as err:
        raise NotSo(what) from err


class Stage:
    """One local Pepeunit with our unit and the other one, linked to each other."""

    def __init__(self, directory: Path) -> None:
        self.ours = Unit.make(inputs=["lamp", "unused", "sealed"], outputs=["door", "secret"])
        self.theirs = Unit.make(inputs=["watch"], outputs=["button", "cipher"])
        self.theirs.encrypt_key = self.ours.encrypt_key
        self.ours.links[self.ours.inputs["lamp"]] = self.theirs.outputs["button"]
        self.ours.links[self.ours.inputs["sealed"]] = self.theirs.outputs["cipher"]
        self.theirs.links[self.theirs.inputs["watch"]] = self.ours.outputs["door"]
        self.pepeunit = LocalPepeunit(
            directory / "pepeunit", with_tls=True, units=[self.ours, self.theirs]
        )
        buffers = Buffers.load(None, None)
        self.captures = {
            1: Capture(CaptureKind.LOG, DEVICE, buffers.log, CAPTURED_AT),
            2: Capture(CaptureKind.CORE_DUMP, DEVICE, buffers.core_dump, CAPTURED_AT),
        }
        self.heard: list[tuple[str, str]] = []
        self.commands: list[Command] = []
        self.sent: list[LogRecord] = []
        self.mapped = Mapped(
            frozenset({"lamp", "sealed"}),
            frozenset({"door", "secret"}),
            frozenset({"sealed", "secret"}),
        )

    @asynccontextmanager
    async def unit(
        self, security: Security | None = None, env: dict[str, Any] | None = None
    ) -> AsyncGenerator[PepeunitDestination]:
        """Run our unit inside, connected."""

        async def reading(capture_id: int) -> Any:
            return read(self.captures[capture_id])

        destination = PepeunitDestination(
            "unit",
            Env.parse(env or self.pepeunit.env(self.ours)),
            Schema.parse(self.ours.schema()),
            security or Security(None),
            reading_of=reading,
            run=asyncio.to_thread,
            mapped=self.mapped,
        )
        self.heard.clear()
        self.commands.clear()
        self.sent.clear()
        destination.on_input = lambda *each: self.heard.append(each)
        destination.on_command = self.commands.append
        destination.on_records = self.sent.extend
        running = asyncio.create_task(destination.run())
        try:
            await until(lambda: destination.link.settled, "the unit does not connect")
            yield destination
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    @asynccontextmanager
    async def api(self) -> AsyncGenerator[RestClient]:
        """Return the API of our unit."""
        async with aiohttp.ClientSession() as session:
            yield RestClient(session, Env.parse(self.pepeunit.env(self.ours)))


async def set_up(stage: Stage) -> None:
    """15.1: files field by field, TLS where offered, the token's unit, both sides tried."""
    env = stage.pepeunit.env(stage.ours)
    expect(Env.parse(json.dumps(env)).unit == stage.ours.uuid, "the unit is not its token's")
    for field, bad in (("PU_MQTT_PORT", 0), ("PU_AUTH_TOKEN", "x"), ("PU_ENCRYPT_KEY", "AAAA")):
        try:
            Env.parse({**env, field: bad})
        except InvalidFile as err:
            expect(err.field == field, f"{field} is not named")
        else:
            raise NotSo(f"{field} is taken as {bad!r}")
    ca = str(stage.pepeunit.broker.ca_file)
    context = await asyncio.to_thread(ssl.create_default_context, cafile=ca)
    async with stage.unit(Security(context, stage.pepeunit.broker.tls_port)) as unit:
        expect(await unit.publish_state(await _state("tls")), "no state within TLS")
    async with stage.api() as api:
        expect((await api.schema()).log_topic == stage.ours.topic("log"), "another schema")


async def topics(stage: Stage) -> None:
    """15.2: topics of the schema alone; each unit hears and understands the other."""
    async with Peer(stage.pepeunit, stage.theirs) as peer, stage.unit() as unit:
        subscribed = stage.pepeunit.gate.subscribed
        bases = {stage.ours.topic(name) for name in (*BASE_INPUTS, *BASE_OUTPUTS)}
        schema = stage.ours.schema()
        nodes = {
            topic
            for section, name in (
                ("input_topic", "lamp"),
                ("input_topic", "sealed"),
                ("output_topic", "door"),
                ("output_topic", "secret"),
            )
            for topic in schema[section][name]
        }
        expect(subscribed[stage.ours.uuid] == bases | nodes, "other topics than the mapped ones")
        peer.publish("button", "pressed ü")
        await until(lambda: ("lamp", "pressed ü") in stage.heard, "we do not hear the other unit")
        unit.put_output("door", "open ü")
        topic = stage.ours.topic("door")
        await until(lambda: (topic, "open ü") in peer.heard, "the other unit does not hear us")
        unit.apply_mapping(Mapped(outputs=frozenset({"door"})))
        lamp = set(schema["input_topic"]["lamp"])
        await until(
            lambda: not lamp & subscribed[stage.ours.uuid], "a dropped topic stays subscribed"
        )


async def commands(stage: Stage) -> None:
    """15.3: commands, other files without a loss, the ring in pieces, archives as data."""
    pepeunit, ours = stage.pepeunit, stage.ours
    async with stage.unit() as unit:
        for name in ("EnvUpdate", "SchemaUpdate", "LogSync"):
            await pepeunit.command(ours, name)
        await pepeunit.command(ours, "Update", PU_COMMIT_VERSION="beef")
        await until(lambda: len(stage.commands) == 4, "a command is missing")
        expect(stage.commands[-1] == Command(CommandKind.UPDATE, "beef"), "another update")
        before = len(pepeunit.of(ours.topic("door")))
        unit.apply_env(Env.parse({**pepeunit.env(ours), "PU_MQTT_KEEPALIVE": 30}))
        unit.put_output("door", "while it reconnects")
        await until(lambda: len(pepeunit.of(ours.topic("door"))) > before, "a value was lost")
        await until(lambda: unit.link.settled, "it does not reconnect")
        before = len(pepeunit.of(ours.topic("log")))
        ring = [LogRecord(1, "x" * 16_000, CAPTURED_AT) for _ in range(64)]
        await unit.publish_records(ring, again=True)

        def pieces() -> list[bytes]:
            return pepeunit.of(ours.topic("log"))[before:]

        def is_whole() -> bool:
            return sum(len(json.loads(piece)) for piece in pieces()) == len(ring)

        await until(is_whole, "the ring is cut")
        expect(len(pieces()) > 3, "the ring was one message")
        expect(all(len(piece) <= 256 * 1024 for piece in pieces()), "a piece is too large")
    pepeunit.archive = {"main.py": b"raise SystemExit", "image.elf": b"\x7fELF"}
    async with stage.api() as api:
        archive = Archive.parse(await api.firmware())
        expect(archive.images == ["image.elf"], "the image is not found")
        pepeunit.archive = {"../escape": b""}
        try:
            Archive.parse(await api.firmware())
        except ArchiveRefused:
            pass
        else:
            raise NotSo("an archive that escapes is taken")


async def state_and_log(stage: Stage) -> None:
    """15.4: the state of this machine, decoded frames and records, from the unit's level on."""
    pepeunit, ours = stage.pepeunit, stage.ours
    before = len(pepeunit.records(ours))
    async with stage.unit() as unit:
        await unit.publish_state(await _state("abc"))
        await until(lambda: pepeunit.of(ours.topic("state")), "no state")
        for capture_id, capture in stage.captures.items():
            await unit.deliver(capture, capture_id)
        frames = len(read(stage.captures[1]).frames)
        await until(
            lambda: len(pepeunit.records(ours)) - before == frames + 2, "frames are missing"
        )
        came = pepeunit.records(ours)[before:]
        expect([each["text"] for each in came] == [each.text for each in stage.sent], "not once")
        await unit.publish_text_log(DEVICE, [TextLine(CAPTURED_AT, 3, "from Home Assistant")])
        await until(
            lambda: pepeunit.records(ours)[-1]["text"].endswith("from Home Assistant"),
            "a record of Home Assistant is missing",
        )
    strict = {**pepeunit.env(ours), "PU_MIN_LOG_LEVEL": "Critical"}
    before = len(pepeunit.records(ours))
    async with stage.unit(env=strict) as unit:
        await unit.deliver(stage.captures[1], 1)
        await unit.publish_text_log(DEVICE, [TextLine(CAPTURED_AT, 4, "critical")])
        await until(lambda: len(pepeunit.records(ours)) > before, "nothing critical came")
        levels = {each["level"] for each in pepeunit.records(ours)[before:]}
        expect(levels == {"Critical"}, "a record below the level was sent")


async def rest(stage: Stage) -> None:
    """15.5: the REST API, quoted right, and its refusals."""
    pepeunit, ours, theirs = stage.pepeunit, stage.ours, stage.theirs
    async with stage.api() as api:
        expect(await api.env() == Env.parse(pepeunit.env(ours)), "another env.json")
        expect(await api.target_version() == (ours.commit, ours.tag), "another version")
        for text in ("", 'a "quoted" ü', "x" * 1_000_000):
            await api.set_state_storage(text)
            expect(await api.state_storage() == text, "the state comes back as another")
        nodes = await api.inputs_of_output(ours.outputs["door"])
        found = [node["uuid"] for node in nodes["unit_nodes"]]
        expect(found == [theirs.inputs["watch"]], "the input is not found")
        units = await api.units_of_nodes([theirs.inputs["watch"]])
        expect(units["units"][0]["uuid"] == theirs.uuid, "the unit is not found")
        async with Peer(pepeunit, theirs) as peer:
            topic = theirs.topic("watch")
            subscribed = pepeunit.gate.subscribed
            await until(lambda: topic in subscribed.get(theirs.uuid, ()), "no subscription")
            await api.set_input(theirs.inputs["watch"], "42")
            await until(lambda: (topic, "42") in peer.heard, "the input was not set")
        for status, failure in ((403, RestFailure.FORBIDDEN), (422, RestFailure.INVALID)):
            pepeunit.refusing = (status, "because")
            try:
                await api.env()
            except RestError as err:
                expect((err.failure, err.detail) == (failure, "because"), "another refusal")
            else:
                raise NotSo(f"{status} is no error")
            finally:
                pepeunit.refusing = None


async def cipher(stage: Stage) -> None:
    """15.6: AES-GCM as the published client has it, in both directions and on the wire."""
    peers = AesGcmCipher()
    for size in (16, 24, 32):
        key = Unit.make(inputs=[], outputs=[]).secret_key if size == 32 else _key(size)
        expect(decrypt(peers.aes_gcm_encode("grün", key), key) == "grün", "theirs is not read")
        expect(peers.aes_gcm_decode(encrypt("grün", key), key) == "grün", "ours is not read")
    key = stage.ours.encrypt_key
    async with Peer(stage.pepeunit, stage.theirs) as peer, stage.unit() as unit:
        peer.publish("cipher", peers.aes_gcm_encode("sealed ü", key))
        await until(lambda: ("sealed", "sealed ü") in stage.heard, "a sealed value is not read")
        unit.put_output("secret", "ours ü")
        topic = stage.ours.topic("secret")
        await until(lambda: stage.pepeunit.of(topic), "a sealed value is missing")
        sealed = stage.pepeunit.of(topic)[-1].decode()
        expect(peers.aes_gcm_decode(sealed, key) == "ours ü", "ours is not read")


async def limits(stage: Stage) -> None:
    """15.7: 30 messages a second, nothing retained, and what is dropped silently is noticed."""
    pepeunit, ours = stage.pepeunit, stage.ours
    async with stage.unit() as unit:
        before = len(pepeunit.of(ours.topic("door")))
        for number in range(60):
            unit.put_output("door", str(number))
        await until(lambda: len(pepeunit.of(ours.topic("door"))) - before == 60, "values missing")
        pepeunit.allow(denied=(ours.topic("log"),))
        try:
            await unit.deliver(stage.captures[1], 1)
        except SilentlyDenied as err:
            expect(err.topic == ours.topic("log"), "another topic is blamed")
        else:
            raise NotSo("a capture that was dropped counts as delivered")
        expect(ours.topic("log") in unit.link.denied, "the denial is not told")
        pepeunit.allow()
        unit.forgive()
        await unit.deliver(stage.captures[1], 1)
        expect(not unit.link.denied, "the denial stays")
    expect(pepeunit.most_in_a_second(ours) <= MOST_MESSAGES, "too many messages in a second")
    expect(not pepeunit.gate.counters["retained"], "something was retained")


SCENARIOS: Final[dict[str, Scenario]] = {
    "15.1_set_up": set_up,
    "15.2_topics": topics,
    "15.3_commands": commands,
    "15.4_state_and_log": state_and_log,
    "15.5_rest": rest,
    "15.6_cipher": cipher,
    "15.7_limits": limits,
}


async def conform(directory: Path) -> dict[str, Any]:
    """Run all scenarios against one Pepeunit, and report."""
    stage = Stage(directory)
    held: dict[str, bool] = {}
    async with stage.pepeunit:
        for name, scenario in SCENARIOS.items():
            try:
                await scenario(stage)
            except (NotSo, TimeoutError, OSError, ValueError, LookupError) as err:
                print(f"{name}: {err}", file=sys.stderr)
                traceback.print_exc()
                held[name] = False
            else:
                held[name] = True
        for problem in stage.pepeunit.invalid:
            print(f"invalid: {problem}", file=sys.stderr)
        own = stage.ours.own_topics
        messages = sum(each.topic in own for each in stage.pepeunit.messages)
        return {
            "messages": messages,
            "invalid": len(stage.pepeunit.invalid),
            "scenarios": held,
        }


async def _state(commit: str) -> dict[str, Any]:
    address = await asyncio.to_thread(own_address, "127.0.0.1", 1883)
    return await asyncio.to_thread(machine_state, commit, "/", address)


def _key(size: int) -> str:
    unit = Unit.make(inputs=[], outputs=[])
    return {16: unit.encrypt_key, 24: "QUJD" * 8}[size]


def main(arguments: list[str]) -> int:
    """Run, print the report as the last line, and return whether all held."""
    if arguments:
        print("usage: script/conformance pepeunit", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ulogger-conformance-") as temporary:
        report = asyncio.run(conform(Path(temporary)))
    print(json.dumps(report), flush=True)
    return 0 if not report["invalid"] and all(report["scenarios"].values()) else 1
