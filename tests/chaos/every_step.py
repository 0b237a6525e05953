"""The road in miniature, ended at each of its steps, one after another.

Device, gateway and cloud run on virtual time in a process of their own; what the device has
erased and what the cloud has got goes to files that outlive it. ``python -m
tests.chaos.every_step DIR`` prints what became of it as JSON.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from custom_components.ulogger.agent.errors import AgentError, LinkLost
from custom_components.ulogger.agent.memory import TransferMemory
from custom_components.ulogger.agent.session import AgentSession, Pending
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import CloudUnavailable
from custom_components.ulogger.cloud.mqtt.transport import Transport
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.collecting.collection import has_erased
from custom_components.ulogger.model.capture import CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import DiskFull, OutboxError
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery
from demo.device.firmware import Firmware
from demo.device.link import SimulatedClient
from demo.device.log_memory import LogMemory
from demo.device.radio import Air
from demo.device.samples import sample_core_dump, sample_log
from demo.device.virtual_time import run_virtually

from ..support.outbox_world import open_outbox

DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")


def dated_log(size: int, number: int) -> bytes:
    """Make a log of a device that has been up for some minutes."""
    log = sample_log(size, number)
    header = LogHeader.parse(log)
    return replace(header, anchor_tick=number * 300_000).pack() + log[header.size :]


MEMORIES = (
    (dated_log(120, 1), sample_core_dump(DEVICE, 330, 1)),
    (dated_log(90, 2), None),
)

"""What the device holds at first, and again once it has erased that."""
AIR = Air(interval=0.0075)
TOKEN = 7001
LOG_VERSION = 4
LONGEST = 3600.0

type Ending = Callable[[str], None]


class Steps:
    """Counts the steps and does something at one of them: a kill at any, others under way."""

    def __init__(self, end_at: int | None, ending: Ending) -> None:
        self.names: list[str] = []
        self.under_way = False
        self._end_at = end_at
        self._ending = ending

    def __call__(self, name: str) -> None:
        """Take note of a step."""
        self.names.append(name)
        if len(self.names) - 1 == self._end_at and (self.under_way or self._ending is kill):
            self._ending(name)


def kill(_name: str) -> None:
    """End the process as a power cut does, as far as a process can tell."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(name: str) -> None:
    """Fail once as what takes the step would."""
    failures: dict[str, Exception] = {
        "cloud": CloudUnavailable(name),
        "device": LinkLost(name),
        "disk": DiskFull(name),
    }
    if failure := failures.get(name.split(maxsplit=1)[0]):
        raise failure


class Notebook:
    """Lines in a file that are there as soon as they are written, whoever is killed then."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, *fields: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(fields) + "\n")

    def lines(self) -> list[Any]:
        text = self._path.read_text() if self._path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


class FileCloud(Transport):
    """A transport to a cloud that is a file."""

    connected = True
    state = ConnectionState.CONNECTED

    def __init__(self, received: Notebook, step: Steps) -> None:
        self.on_state = None
        self._received = received
        self._step = step
        self._callbacks: list[Any] = []

    async def run(self) -> None: ...

    async def publish(self, topic: str, payload: bytes) -> None:
        self._step("cloud before it has the message")
        self._received.add(topic.split("/", maxsplit=1)[0], payload.hex())
        self._step("cloud has the message, without the acknowledgement")
        await asyncio.sleep(0.05)
        if topic.startswith("boot/"):
            for callback in self._callbacks:
                callback(f"{topic}/{DEVICE.serial}", b'{"token": %d}' % TOKEN, False)

    async def subscribed(self, topic_filter: str) -> bool:
        return True

    async def subscribe(
        self, topic_filter: str, callback: Any, on_refused: Any = None, **_more: Any
    ) -> Any:
        self._callbacks.append(callback)

        async def end() -> None:
            self._callbacks.remove(callback)

        return end


class Listener:
    """Hears what the delivery tells, and needs none of it."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Road:
    """All of it, in one directory."""

    def __init__(self, directory: Path, step: Steps) -> None:
        self.step = step
        self.erased = Notebook(directory / "erased")
        self.received = Notebook(directory / "received")
        self.marked: list[bytes] = []
        self._tokens = directory / "tokens"
        self._path = directory / "outbox" / "account.sqlite"

    async def travel(self) -> list[str]:
        """Go until device and outbox are empty; return what waited on disk at the start."""
        outbox = await open_outbox(self._path, self._run)
        rows = await outbox.listing(states=(CaptureState.WAITING,))
        waited = [(await outbox.read(row.capture_id)).data.hex() for row in rows]
        tokens = json.loads(self._tokens.read_text()) if self._tokens.exists() else {}
        cloud = UloggerCloud(
            FileCloud(self.received, self.step),
            customer_id=1,
            tokens=TokenCache(tokens, self._save),
        )
        delivery = Delivery(outbox, cloud, Listener(), clock=asyncio.get_running_loop().time)
        pump = asyncio.create_task(delivery.run())
        memory = TransferMemory()
        self.step.under_way = True
        async with asyncio.timeout(LONGEST):
            while len(self.erased.lines()) < len(MEMORIES):
                await self._visit(memory, outbox, delivery)
            while await self._waiting(outbox):  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(1)
        self.step.under_way = False
        pump.cancel()
        await asyncio.wait([pump])
        marked = [row.capture_id for row in await outbox.listing() if row.may_repeat]
        self.marked = contents([(await outbox.read(each)).data for each in marked])
        await outbox.close()
        return waited

    async def _visit(self, memory: TransferMemory, outbox: Outbox, delivery: Delivery) -> None:
        """Collect what the device holds now; it erases on our word, and notes that it did."""
        number = len(self.erased.lines())
        log, dump = MEMORIES[number]
        firmware = Firmware(
            DEVICE,
            log,
            dump,
            schedule=asyncio.get_running_loop(),
            is_committed=lambda kind, _: self._erases(kind, number),
        )
        client = SimulatedClient(firmware, AIR)
        await client.connect()
        taken: list[Pending] = []
        ids: list[int] = []
        session = AgentSession(client, memory=memory)
        try:
            async for pending in session.captures(DEVICE):
                taken.append(pending)
                self.step("device is connected")
                async with pending as capture:
                    self.step("device has sent a capture")
                    ids.append((await outbox.add(capture)).capture_id or 0)
                    self.step("device is about to be told to erase")
                self.step("device was told to erase")
                delivery.wake()
        except AgentError, OutboxError:
            await asyncio.sleep(1)
        finally:
            await client.disconnect()
        with suppress(OutboxError):
            erased = has_erased(taken, session)
            if erased:
                await outbox.erased(DEVICE.key)
            elif erased is False:
                await outbox.held(ids)

    def _erases(self, kind: CaptureKind, number: int) -> bool:
        if kind is CaptureKind.LOG:
            self.erased.add(number)
            self.step("memory was erased")
        return True

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        self.step("disk before a job")
        result = work(*arguments)
        self.step("disk after a job")
        return result

    async def _waiting(self, outbox: Outbox) -> bool:
        try:
            return bool(await outbox.listing(states=(CaptureState.WAITING,)))
        except OutboxError:
            return True

    async def _save(self, tokens: Any) -> None:
        self.step("token is not saved")
        self._tokens.write_text(json.dumps(tokens))
        self.step("token is saved")


def contents(data: list[bytes]) -> list[bytes]:
    """Leave out of logs what a gateway may fill in."""
    return [LogMemory.frames_of(each) if each[0] == LOG_VERSION else each for each in data]


def faults(road: Road, may_come_again: list[bytes]) -> Iterator[str]:
    """Say what is not as it should be after all has come to rest."""
    sent = [bytes.fromhex(payload) for kind, payload in road.received.lines() if kind != "boot"]
    came = contents(sent)
    held = contents([part for memory in MEMORIES for part in memory if part])
    places = [came.index(content) if content in came else -1 for content in held]
    if -1 in places or places != sorted(places):
        yield f"lost or out of order: {places}"
    for content in held:
        causes = (content in may_come_again) + road.marked.count(content)
        if came.count(content) > 1 + causes:
            yield f"sent {came.count(content)} times without a cause"
    logs = contents([log for log, _ in MEMORIES])
    if not set(road.marked).isdisjoint(logs):
        yield "a log of the same boot is not recognised"
    if any(each[0] == LOG_VERSION and each[1:5] != TOKEN.to_bytes(4, "little") for each in sent):
        yield "a log went up without its token"


def travel(directory: Path, end_at: int | None = None, ending: Ending = kill) -> tuple[Any, ...]:
    """Go all the way; return the road, what waited on disk at the start, and the steps taken."""
    directory.mkdir(parents=True, exist_ok=True)
    step = Steps(end_at, ending)
    road = Road(directory, step)
    return road, run_virtually(road.travel()), step.names


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do work in a process of its own; return how it ended, and its result if it has one."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), json.loads(text) if text else None


def after_kill(directory: Path) -> list[str]:
    """Go on where a kill has left everything."""
    before = len(Road(directory, Steps(None, kill)).received.lines())
    road, waited, _ = travel(directory)
    told = contents([bytes.fromhex(p) for _, p in road.received.lines()[:before]])
    unrecorded = contents([bytes.fromhex(data) for data in waited])
    return list(faults(road, [content for content in unrecorded if content in told]))


def after_failure(directory: Path, number: int) -> list[str]:
    """Go all the way with one failure in it, in one go."""
    road, _, names = travel(directory, number, fail)
    unheard = names[number] == "cloud has the message, without the acknowledgement"
    held = contents([part for memory in MEMORIES for part in memory if part])
    return list(faults(road, held if unheard else []))


def main(directory: Path) -> dict[str, Any]:
    """End the road at every step, each time in both ways."""
    _, names = in_child(lambda: travel(directory / "whole")[2])
    failures = []
    killed = 0
    for number, name in enumerate(names):
        place = directory / f"kill-{number}"
        code, _ = in_child(lambda place=place, number=number: travel(place, number)[2])
        killed += code == -signal.SIGKILL
        ends = {
            "kill": in_child(lambda place=place: after_kill(place))[1],
            "failure": in_child(
                lambda number=number: after_failure(directory / f"failure-{number}", number)
            )[1],
        }
        failures += [
            f"{kind} at step {number} ({name}): {found}"
            for kind, found in ends.items()
            if found != []
        ]
    return {
        "steps": len(names),
        "kinds": sorted(set(names)),
        "killed": killed,
        "failures": failures,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
