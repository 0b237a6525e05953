"""Clesyde: our thing, and the library's own beside it, at a platform made from the facts.

Each scenario is one of the features; the report names those that held. Whether anybody logs in past
the guard of remote access is tested with a whole Home Assistant (``tests/gateway``).
"""

import asyncio
import datetime as dt
import json
import ssl
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import trustme
from aiohttp import web
from snitun.client.connector import TransportConnector  # type: ignore[import-untyped]

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.cloud.clesyde.captures import Choice
from custom_components.ulogger.cloud.clesyde.certificates import Pair, client_context
from custom_components.ulogger.cloud.clesyde.clesyde import OFFLINE, ClesydeDestination
from custom_components.ulogger.cloud.clesyde.errors import ThingError
from custom_components.ulogger.cloud.clesyde.keys import ThingKeys
from custom_components.ulogger.cloud.clesyde.provisioning import register
from custom_components.ulogger.cloud.clesyde.remote import RemoteAccess, RemoteState
from custom_components.ulogger.cloud.clesyde.shadow_sync import Devices, ShadowSync
from custom_components.ulogger.cloud.clesyde.thing import Thing, thing_from_files
from custom_components.ulogger.cloud.clesyde.wishes import Settable, Wishes
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.mqtt.broker import Broker, LastWill
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.insight.crash_report import CrashReport, crash_report
from custom_components.ulogger.insight.reading import Reading, read
from custom_components.ulogger.model.backoff import Backoff
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from demo.clesyde.platform import TOKEN, Device, LocalClesyde, Whole, serial_of
from demo.fleet import Buffers

from .clesyde_peer import ClesydePeer
from .expecting import NotSo, expect

SERIAL: Final = "HA-0001"
LIBRARY: Final = "LIB-0001"
DEVICE: Final = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
QUICK: Final = Backoff(first=0.05, longest=0.5)
RAW: Final = Choice("up/logs", "", "up/crashes", raw=True)
DECODED: Final = Choice("logs", "metrics", "crashes")

type Scenario = Callable[["Stage"], Awaitable[None]]


async def fails(work: Awaitable[object], reason: str) -> None:
    """Raise NotSo unless something fails for a reason."""
    try:
        await work
    except ThingError as err:
        expect(err.reason == reason, f"it fails for {err.reason}, not for {reason}")
    else:
        raise NotSo(f"it does not fail for {reason}")


class Owner:
    """Whose shadow it is: options that can be set, and a number of devices."""

    settable: Mapping[str, Settable] = {"collectInterval": Settable(1, 100)}

    def __init__(self, keys: ThingKeys) -> None:
        self.keys = keys
        self.interval = 15
        self.intervals: list[int] = []
        """All that were ever wished for: the platform may wish for another one at once."""
        self.count = 0
        self.wishes = Wishes()
        self.destination: ClesydeDestination | None = None

    def options(self) -> Mapping[str, int]:
        """Return what is set."""
        return {"collectInterval": self.interval}

    def about(self) -> Mapping[str, Any]:
        """Return what else there is."""
        return {"homeAssistant": "conformance"}

    def devices(self) -> Devices:
        """Return as many devices as there shall be."""
        return [
            (f"42-D{number:05}", {"state": "idle", "metrics": {"battery": number, "ß": 1.5}})
            for number in range(self.count)
        ]

    def certificate_serial(self) -> str:
        """Return that of the certificate in use."""
        return self.keys.remote.serial

    def desired(self, wishes: Wishes) -> None:
        """Do what is desired."""
        self.wishes = wishes
        self.interval = wishes.options.get("collectInterval", self.interval)
        self.intervals.append(self.interval)
        if wishes.certificate is not None and self.destination is not None:
            self.destination.rotation.desired(wishes.certificate, self.certificate_serial())


class Stage:
    """One local Clesyde, our thing at it, and the library's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clesyde = LocalClesyde(directory / "clesyde")
        self.peer = ClesydePeer(self.clesyde, directory / "library", LIBRARY)
        self.messages = 0
        self.saved: list[Thing] = []
        buffers = Buffers.load(None, None)
        self.captures = {
            1: Capture(CaptureKind.LOG, DEVICE, buffers.log, 1_795_225_292.0),
            2: Capture(CaptureKind.CORE_DUMP, DEVICE, buffers.core_dump, 1_795_225_292.0),
            3: Capture(CaptureKind.CORE_DUMP, DEVICE, buffers.core_dump * 40, 1_795_225_292.0),
        }

    @property
    def device(self) -> Device:
        """What the platform knows of our thing."""
        return self.clesyde.devices[SERIAL]

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 15) -> None:
        """Wait until a condition holds; raises NotSo."""
        try:
            await self.clesyde.wait_until(condition, seconds)
        except TimeoutError as err:
            raise NotSo(what) from err

    async def thing(self, serial: str = SERIAL, token: str = TOKEN) -> Thing:
        """Register a thing."""
        async with aiohttp.ClientSession() as session:
            return await register(session, self.clesyde.api, serial, token, asyncio.to_thread)

    @asynccontextmanager
    async def running(
        self, choice: Choice | None = None, *, wanted: bool = False
    ) -> AsyncGenerator[tuple[ClesydeDestination, Owner]]:
        """Run our thing inside, registered anew, until it is there and its shadow reported."""
        thing = await self.thing()

        async def save(thing: Thing, _wanted: bool) -> None:  # noqa: FBT001
            self.saved.append(thing)

        keys = await ThingKeys.of(
            thing,
            wanted=wanted,
            save=save,
            run=asyncio.to_thread,
            new_context=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        )
        host, port = thing.broker
        broker = Broker(
            host=host,
            port=port,
            client_id=thing.name,
            tls=client_context(thing.iot_ca, thing.iot),
            version_5=True,
            last_will=LastWill(f"c/d/{SERIAL}/status", OFFLINE),
        )
        owner = Owner(keys)
        destination = owner.destination = ClesydeDestination(
            "clesyde",
            keys,
            MqttTransport(broker, backoff=QUICK),
            choice or Choice(),
            reading_of=self._reading,
            report_of=self._report,
            run_in_executor=asyncio.to_thread,
        )
        destination.shadow = ShadowSync(
            destination.transport.publish, destination.topics.shadow, owner
        )
        app = web.Application()
        app.router.add_get("/", self._hello)
        runner = web.AppRunner(app)
        await runner.setup()

        async def connector() -> TransportConnector:
            return TransportConnector(runner.server, await keys.context())

        destination.offer_remote(
            RemoteAccess(thing.snitun, destination.request, connector, backoff=QUICK)
        )
        task = asyncio.create_task(destination.run())
        try:
            await self.until(lambda: "ONLINE" in self.device.states, "it says ONLINE")
            await self.until(lambda: self.device.shadow.reported, "its shadow is reported")
            yield destination, owner
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await runner.cleanup()
            self.messages += destination.transport.counters["published"]  # type: ignore[attr-defined]

    async def _hello(self, request: web.Request) -> web.Response:
        return web.Response(text=f"ours, to {request.remote}")

    async def _reading(self, capture_id: int) -> Reading:
        return read(self.captures[capture_id])

    async def _report(self, capture: Capture) -> CrashReport | None:
        return crash_report(CoreDump.parse(capture.data))


async def provisioning(stage: Stage) -> None:
    """15.8: registered, refused, and from a folder; the library's folder is ours to take."""
    clesyde = stage.clesyde
    thing = await stage.thing()
    expect(thing.name == stage.device.name, "the thing is named as the API says")
    expect(thing.iot.key not in repr(thing), "a key is in no representation")
    await fails(stage.thing(token="wrong"), "token_refused")
    clesyde.refuse = "quota"
    await fails(stage.thing(), "registration_refused")
    clesyde.refuse = None
    clesyde.status = 500
    await fails(stage.thing(), "api_failed")
    clesyde.status = 200
    other = clesyde.provision("OTHER").iot.private_key

    def foreign_key(answer: dict[str, Any]) -> dict[str, Any]:
        answer["registration"]["thing"]["iot"]["keyPair"]["privateKey"] = other
        return answer

    clesyde.answer = foreign_key
    await fails(stage.thing(), "key_mismatch")
    clesyde.answer = lambda answer: {"registration": {"error": None}}
    await fails(stage.thing(), "answer_invalid")
    clesyde.answer = lambda answer: answer
    files = {name: text.encode() for name, text in clesyde.files(stage.device).items()}
    expect(thing_from_files(SERIAL, files).name == stage.device.name, "a folder is a thing, too")
    await stage.until(lambda: LIBRARY in clesyde.devices, "the library registers", 40)
    await stage.until(lambda: "remote_key.pem" in stage.peer.files, "the library keeps its files")
    theirs = thing_from_files(LIBRARY, stage.peer.files)
    expect(theirs.name == stage.peer.device.name, "the library's folder can be uploaded")


async def mqtt(stage: Stage) -> None:
    """15.9: verified TLS, ONLINE, OFFLINE by will and by word, back again, nothing hangs."""
    thing = await stage.thing()
    foreign = trustme.CA().cert_pem.bytes().decode()
    host, port = thing.broker
    tls = client_context(foreign, thing.iot)
    distrusting = MqttTransport(Broker(host=host, port=port, client_id="x", tls=tls), backoff=QUICK)
    task = asyncio.create_task(distrusting.run())
    await stage.until(lambda: distrusting.last_failure, "a foreign broker is noticed")
    task.cancel()
    failure = distrusting.last_failure
    expect(failure is not None and failure.reason == "tls_untrusted", "it is not trusted")
    async with stage.running() as (destination, _):
        expect("p5" in stage.clesyde.broker.log, "it speaks MQTT 5")
        states = stage.device.states
        for topic in (f"c/d/{SERIAL}/remotetoken/res", "c/platform", f"c/d/{SERIAL}/odd/res"):
            for rubbish in (b"", b"\xff\xfe", b"[" * 3000, b"{}", b"null"):
                await stage.clesyde.say(topic, rubbish)
        await stage.clesyde.broker.arestart()
        await stage.until(lambda: states.count("ONLINE") >= 2, "it comes back", 30)
        destination.transport._connection.abort()  # type: ignore[attr-defined]
        await stage.until(lambda: "OFFLINE" in states, "the broker says OFFLINE for it", 30)
        await stage.until(lambda: states.count("ONLINE") >= 3, "it comes back again", 30)
    await stage.until(lambda: states[-1] == "OFFLINE", "it says OFFLINE when it goes")
    await stage.until(lambda: "ONLINE" in stage.peer.device.states, "so does the library", 30)


def report(destination: ClesydeDestination) -> None:
    """Have the shadow reported at once."""
    if destination.shadow is not None:
        destination.shadow.report_soon()


async def shadow(stage: Stage) -> None:
    """15.10: desired becomes done and reported; refusals, conflicts, both deltas, the size."""
    async with stage.running() as (destination, owner):
        device = stage.device
        reported = device.shadow
        await stage.clesyde.desire(device, {"collectInterval": 5, "door": "open"})
        await stage.until(lambda: reported.reported.get("collectInterval") == 5, "it is reported")
        await stage.until(
            lambda: reported.reported.get("refused") == {"door": "not settable"}, "so is a refusal"
        )
        expect(owner.interval == 5, "what is desired is done")
        deep = {"state": {"desired": {"collectInterval": 7}, "delta": {"collectInterval": 7}}}
        await stage.clesyde.say(f"$aws/things/{SERIAL}/shadow/name/config/update/delta", deep)
        await stage.until(lambda: 7 in owner.intervals, "the library's shape of a delta is read")
        await stage.until(lambda: reported.reported.get("collectInterval") == 7, "and reported")
        reported.version += 3
        owner.interval = 9
        report(destination)
        await stage.until(lambda: reported.conflicts, "a conflict is noticed")
        await stage.until(lambda: reported.reported.get("collectInterval") == 5, "the truth wins")
        owner.count = 500
        report(destination)
        await stage.until(lambda: reported.reported.get("devicesOmitted"), "devices are left out")
        expect(reported.largest <= 8192, f"{reported.largest} bytes")
        others = [each for each in reported.rejected if each["code"] != 409]
        expect(not others, f"rejected: {others}")


async def captures(stage: Stage) -> None:
    """15.11: off by default, raw or decoded, each message within AWS's size."""
    async with stage.running() as (destination, _):
        for number, capture in stage.captures.items():
            await destination.deliver(capture, number)
        expect(not stage.device.messages, "nothing goes that was not chosen")
    async with stage.running(RAW) as (destination, _):
        for number, capture in stage.captures.items():
            await destination.deliver(capture, number)

        def came() -> list[Whole]:
            return stage.clesyde.whole(stage.device, "up/logs", "up/crashes")

        await stage.until(lambda: len(came()) == 3, "all captures come")
        sent = [(DEVICE.serial, each.kind, each.data) for each in stage.captures.values()]
        expect(sorted(came()) == sorted(sent), "raw captures are as they came off the device")
        largest = max(len(payload) for _, payload, _ in stage.device.messages)
        expect(largest <= 128 * 1024, f"a message of {largest} bytes")
    async with stage.running(DECODED) as (destination, _):
        for number in (1, 2):
            await destination.deliver(stage.captures[number], number)
        await stage.until(lambda: stage.clesyde.said(stage.device, "crashes"), "a report comes")
        [said] = stage.clesyde.said(stage.device, "logs")
        texts = [each.message for each in (await stage._reading(1)).frames]
        expect([each["text"] for each in said["frames"]] == texts, "every frame is a line")


async def remote(stage: Stage) -> None:
    """15.12: off until wanted; end to end; renewed, back after an end, off again."""
    clesyde = stage.clesyde
    async with stage.running() as (destination, _):
        expect(not destination.remote_wanted and not stage.device.token_requests, "it is off")
        clesyde.token_life = dt.timedelta(seconds=8)
        await destination.want_remote(wanted=True)
        await stage.until(lambda: destination.remote_connected, "the tunnel is up")
        status, body, _ = await clesyde.visit(stage.device)
        expect((status, body) == (200, b"ours, to 203.0.113.7"), f"a browser sees {body!r}")
        first = destination.remote_token_expires_at or time.time()
        clesyde.token_life = dt.timedelta(hours=1)
        await stage.until(
            lambda: (destination.remote_token_expires_at or 0) > first + 60, "it is renewed"
        )
        await stage.until(lambda: destination.remote_connected, "the tunnel is up with it")
        await clesyde.stop_snitun()
        await stage.until(lambda: not destination.remote_connected, "an end is noticed")
        await clesyde.start_snitun()
        await stage.until(lambda: destination.remote_connected, "it comes back", 30)
        expect((await clesyde.visit(stage.device))[0] == 200, "and serves")
        await destination.want_remote(wanted=False)
        await stage.until(
            lambda: destination.remote is not None and destination.remote.state is RemoteState.OFF,
            "it is off again",
        )
    await stage.until(lambda: stage.peer.connected["tunnel"], "the library has its tunnel", 30)


async def rotation(stage: Stage) -> None:
    """15.13: fetched, checked, swapped; the old one kept until the new one works."""
    clesyde = stage.clesyde
    async with stage.running(wanted=True) as (destination, _):
        await stage.until(lambda: destination.remote_connected, "the tunnel is up")
        old = stage.device.remote
        stage.saved.clear()
        serial = await clesyde.rotate(stage.device)
        keys = destination.keys
        await stage.until(lambda: keys.remote.serial == serial, "the new one is taken")
        await stage.until(lambda: keys.thing.before is None, "the old one is let go of")
        expect(stage.saved[0].before == Pair(old.certificate, old.private_key), "it was kept")
        await stage.until(lambda: destination.remote_connected, "the tunnel is up again")
        _, _, shown = await clesyde.visit(stage.device)
        expect(int(shown["serialNumber"], 16) == int(serial), "browsers are shown the new one")
        await stage.until(
            lambda: stage.device.shadow.reported.get("remoteCertSn") == serial, "it is reported"
        )
        stage.device.remote = old
        await clesyde.desire(stage.device, {"remoteCertSn": serial_of(old)})
        await stage.until(
            lambda: destination.rotation.failure == "certificate_older", "an older one is refused"
        )
        expect(keys.remote.serial == serial, "and changes nothing")
    # The first one has not noticed that the broker was restarted.
    async with ClesydePeer(clesyde, stage.directory / "library-2", "LIB-0002") as peer:
        await stage.until(lambda: peer.connected["tunnel"], "the library is there", 40)
        wanted = await clesyde.rotate(peer.device)
        state = {"desired": {"remoteCertSn": wanted}, "delta": {"remoteCertSn": wanted}}
        topic = "$aws/things/LIB-0002/shadow/name/config/update/delta"
        await clesyde.say(topic, {"state": state})
        await stage.until(
            lambda: wanted in peer.device.certificate_requests, "the library asks for it as we do"
        )
        theirs = peer.device.remote.certificate.encode()
        await stage.until(lambda: peer.files["remote_cert.pem"] == theirs, "and takes it")


SCENARIOS: Final[dict[str, Scenario]] = {
    "15.8_provisioning": provisioning,
    "15.9_mqtt": mqtt,
    "15.10_shadow": shadow,
    "15.11_captures": captures,
    "15.12_remote_access": remote,
    "15.13_rotation": rotation,
}


async def conform(directory: Path) -> dict[str, Any]:
    """Run all scenarios against one Clesyde, and report."""
    stage = Stage(directory)
    held: dict[str, bool] = {}
    async with stage.clesyde, stage.peer:
        for name, scenario in SCENARIOS.items():
            try:
                await scenario(stage)
            except (NotSo, CloudError, ThingError, OSError, ValueError, LookupError) as err:
                print(f"{name}: {err}", file=sys.stderr)
                traceback.print_exc()
                held[name] = False
            else:
                held[name] = True
        for problem in stage.clesyde.faulty:
            print(f"invalid: {problem}", file=sys.stderr)
    return {
        "messages": stage.messages,
        "invalid": len(stage.clesyde.faulty),
        "scenarios": held,
    }


def main(arguments: list[str]) -> int:
    """Run, print the report as the last line, and return whether all held."""
    if arguments:
        print("usage: script/conformance clesyde", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="ulogger-conformance-") as temporary:
        report = asyncio.run(conform(Path(temporary)))
    print(json.dumps(report), flush=True)
    return 0 if not report["invalid"] and all(report["scenarios"].values()) else 1
