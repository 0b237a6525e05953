"""What is recorded: an account's outbox and stores at work, in lives that end by kill or in order.

Devices are collected over simulated Bluetooth, several at once; the road's own code takes their
captures in, delivers them, keeps tokens, device records and key. Marks in the record say what
was promised when: that an erase command may be given, that the cloud has acknowledged, that a
note of it or a store's file is on disk. Only the radio and the cloud are made up.
"""

import asyncio
import ctypes
import json
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from struct import Struct
from typing import Any, override

from homeassistant.core import HomeAssistant

from chaos.ledger import pieces
from custom_components.ulogger.account.key_store import async_keep_key
from custom_components.ulogger.account.store import AccountStore, DeviceRecord, outbox_path
from custom_components.ulogger.agent.errors import AgentError, LinkLost
from custom_components.ulogger.agent.memory import TransferMemory
from custom_components.ulogger.agent.session import AgentSession, Pending
from custom_components.ulogger.capture.log_buffer import xor_checksum
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.mqtt.transport import Transport
from custom_components.ulogger.cloud.ulogger.cloud import UloggerCloud
from custom_components.ulogger.cloud.ulogger.tokens import TokenCache
from custom_components.ulogger.collecting.collection import has_erased
from custom_components.ulogger.const import CONF_PRIVATE_KEY
from custom_components.ulogger.model.capture import CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import ULOGGER, DeviceIdentity
from custom_components.ulogger.outbox import files
from custom_components.ulogger.outbox.database import SUSPECT
from custom_components.ulogger.outbox.model import REFUSED, CaptureState, Item
from custom_components.ulogger.outbox.outbox import Outbox
from custom_components.ulogger.sending.delivery import Delivery
from demo.device.firmware import Firmware
from demo.device.link import SimulatedClient
from demo.device.log_memory import DEFAULT_HEADER
from demo.device.radio import Air
from demo.device.samples import sample_core_dump

from .loop import HastyLoop
from .promises import Mark, piece

ENTRY = "powercut"
"""The ID of the account's config entry."""
KEY = "key"
"""The name of the account's key in the key store."""
APPLICATION = 42
DEVICES = 4
AIR = Air(interval=0.001, packets_up=50, packets_down=50, queue=1 << 20)
_FRAME = Struct("<HIBIB")
_FORMAT = 0x2000_0000
_INFO = 1 << 5
_NO_ARGUMENTS = 6
_PER_LIFE = 1 << 16

type Life = Callable[[Account], Awaitable[None]]


def mark(mark: Mark, **fields: Any) -> None:
    """Put a note into the record; it stands behind all that was done before it."""
    ctypes.CDLL(None).powercut_mark(json.dumps({"mark": mark, **fields}).encode())


class Writer:
    """Makes frames and dumps of which no two are alike, in whatever life."""

    def __init__(self, life: int) -> None:
        self._numbers = count(life * _PER_LIFE)
        self._random = Random(life)

    def frames(self, most: int) -> bytes:
        """Write some frames, now short, now long."""
        return b"".join(self._frame() for _ in range(self._random.randint(1, most)))

    def log(self, frames: bytes) -> bytes:
        """Put frames behind a header, as the device does."""
        header = replace(DEFAULT_HEADER, used_bytes=len(frames), checksum=xor_checksum(frames))
        return header.pack() + frames

    def dump(self, device: DeviceIdentity) -> bytes:
        """Write a core dump."""
        return sample_core_dump(device, self._random.randint(400, 20_000), next(self._numbers))

    def _frame(self) -> bytes:
        more = self._random.choice((0, 0, 0, 40, 600))
        address = _FORMAT + 4 * next(self._numbers)
        return _FRAME.pack(_NO_ARGUMENTS + more, 1, _INFO, address, 0) + bytes(more)


class MarkingCloud(Transport):
    """A transport to a cloud that takes everything, and marks what it has acknowledged."""

    def __init__(self) -> None:
        self.reachable = False
        self.on_state: Callable[[ConnectionState], None] | None = None
        self._callbacks: list[Any] = []

    @property
    @override
    def connected(self) -> bool:
        """Whether the life says so."""
        return self.reachable

    @property
    @override
    def state(self) -> ConnectionState:
        """Connected, or not."""
        return ConnectionState.CONNECTED if self.reachable else ConnectionState.DISCONNECTED

    @override
    async def run(self) -> None:
        """Do nothing: this connection needs no keeping."""

    @override
    async def publish(self, topic: str, payload: bytes) -> None:
        """Take a message."""
        if topic.startswith("boot/"):
            serial = json.loads(payload)["serial"]
            for callback in self._callbacks:
                callback(f"{topic}/{serial}", b'{"token": %d}' % (7000 + int(serial[-2:])), False)
            return
        kind = CaptureKind.CORE_DUMP if topic.startswith("core-dump") else CaptureKind.LOG
        await asyncio.sleep(0)
        mark(Mark.IN_CLOUD, pieces=_named(kind, payload))

    @override
    async def subscribed(self, topic_filter: str) -> bool:
        """Hear everything."""
        return True

    @override
    async def subscribe(
        self,
        topic_filter: str,
        callback: Any,
        on_refused: Any = None,
        *,
        on_allowed: Any = None,
        rank: Any = None,
    ) -> Any:
        """Hear everything; the filters differ, their listeners tell apart what is theirs."""
        if topic_filter.startswith("boot/"):
            self._callbacks.append(callback)

        async def end() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return end


class Listener:
    """Marks the notes of deliveries; needs nothing else of what the delivery tells."""

    def delivered(self, item: Item) -> None:
        """Mark that the note of the acknowledgement is on disk."""
        mark(Mark.NOTED, capture=item.capture_id)

    def __getattr__(self, name: str) -> Any:
        """Take no note of anything else."""
        return lambda *_: None


class Account:
    """One account in one life: its outbox, its stores, its devices and its cloud."""

    def __init__(self, tree: Path, life: int, sessions: int) -> None:
        self.sessions = sessions
        self.life = life
        self.hass = HomeAssistant(str(tree))
        self.path = outbox_path(self.hass, ENTRY)
        self.store = AccountStore(self.hass, ENTRY)
        self.cloud = MarkingCloud()
        self.writer = Writer(life)
        self.outbox: Outbox
        self.delivery: Delivery
        self._pump: asyncio.Task[None] | None = None
        self._saves = count(life * _PER_LIFE + 1)

    async def open(self) -> None:
        """Come up, as an entry does."""
        await self.store.async_load()
        self.outbox = await Outbox.open(self.path, self.hass.async_add_executor_job)
        await self.outbox.set_destinations({ULOGGER: 0.0})
        tokens = TokenCache(self.store.tokens, self._save_tokens)
        cloud = UloggerCloud(self.cloud, customer_id=1, tokens=tokens)
        self.delivery = Delivery(self.outbox, cloud, Listener())
        self._pump = asyncio.create_task(self.delivery.run())

    async def close(self) -> None:
        """End in order."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await self.outbox.close()
        await self.save(self.store.async_close)

    async def keep_key(self) -> None:
        """Store a private key, in place of an earlier one."""
        number = next(self._saves)
        mark(Mark.SAVING, store=KEY, number=number)
        await async_keep_key(self.hass, ENTRY, {CONF_PRIVATE_KEY: str(number) + "=" * 1600})
        mark(Mark.SAVED, store=KEY, number=number)

    async def save(self, write: Callable[[], Awaitable[None]] | None = None) -> None:
        """Write the account's file; the number that it holds tells which save it is of."""
        number = next(self._saves)
        for device in range(DEVICES):
            identity = _identity(device)
            self.store.devices[identity.key] = DeviceRecord(
                identity, f"C0:DE:00:00:00:{device:02}", f"Device {device}", last_seen=number
            )
        mark(Mark.SAVING, store=ENTRY, number=number)
        await (write or self.store.async_save)()
        mark(Mark.SAVED, store=ENTRY, number=number)

    async def _save_tokens(self, tokens: dict[str, Any]) -> None:
        await self.save(lambda: self.store.async_save_tokens(tokens))

    async def collect(self) -> None:
        """Collect all devices, each as often as this life wants it, side by side."""
        await asyncio.gather(*(self._device(number) for number in range(DEVICES)))

    async def deliver(self) -> None:
        """Have the cloud take all that waits."""
        self.cloud.reachable = True
        self.delivery.retry_now()
        while await self.outbox.listing(states=(CaptureState.WAITING,)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _device(self, number: int) -> None:
        identity = _identity(number)
        memory = TransferMemory()
        random = Random(self.life * DEVICES + number)
        frames = b""
        for _ in range(self.sessions):
            frames += self.writer.frames(30)
            dump = self.writer.dump(identity) if random.random() < 0.3 else None
            heard = random.random() < 0.8
            firmware = Firmware(
                identity,
                self.writer.log(frames),
                dump,
                schedule=asyncio.get_running_loop(),
                chunk_payload=200,
                is_committed=lambda *_: True,
            )
            while not await self._visit(firmware, memory, random, heard=heard):
                pass
            if heard:
                frames = b""

    async def _visit(
        self, firmware: Firmware, memory: TransferMemory, random: Random, *, heard: bool
    ) -> bool:
        """Collect a device; one that does not hear the erase command offers again, and more.

        False when that did not come about.
        """
        client = SimulatedClient(firmware, AIR)
        await client.connect()
        taken: list[Pending] = []
        session = AgentSession(client, memory=memory)
        try:
            async for pending in session.captures(firmware.identity):
                taken.append(pending)
                async with pending as capture:
                    faulty = random.random() < 0.05
                    kept = replace(capture, fault=CaptureFault.CHECKSUM) if faulty else capture
                    await self.outbox.add(kept)
                    mark(Mark.ERASED, pieces=_named(capture.kind, capture.data))
                    self.delivery.wake()
                    if not heard:
                        raise LinkLost("the erase command was not heard")
        except AgentError:
            return not heard
        else:
            return True
        finally:
            await client.disconnect()
            if has_erased(taken, session):
                await self.outbox.erased(firmware.identity.key)


def _identity(number: int) -> DeviceIdentity:
    return DeviceIdentity(APPLICATION, f"CUT{number:02}", "Cut", "1.0.0", "c0ffee")


def _named(kind: CaptureKind, data: bytes) -> list[str]:
    """Name the pieces of a capture; one whose frames can't be read is a piece itself."""
    return [piece(kind, each) for each in pieces(kind, data)]


async def _first(account: Account) -> None:
    """Begin with nothing; devices are collected before anything else reaches the disk."""
    await account.keep_key()
    await account.open()
    await account.collect()
    await account.deliver()
    await account.outbox.checkpoint()
    await account.collect()


async def _second(account: Account) -> None:
    """Go on after a kill; deliver while captures come, copy, sweep, and end in order."""
    await account.open()
    account.cloud.reachable = True
    await account.collect()
    outbox = account.outbox
    for row in await outbox.listing(states=(CaptureState.QUARANTINED,)):
        await outbox.retry(row.capture_id)
    async with outbox.frozen():
        await account.collect()
    await account.deliver()
    await outbox.sweep(days=30, megabytes=0.05)
    await account.collect()
    await account.keep_key()
    await outbox.sweep(days=0, megabytes=0)
    account.cloud.reachable = False
    await account.collect()
    await account.close()


async def _third(account: Account) -> None:
    """Collect without a cloud, put some aside, and be killed with a log beside the file."""
    await account.open()
    await account.collect()
    for row in (await account.outbox.listing(states=(CaptureState.WAITING,)))[:5]:
        await account.outbox.queue(ULOGGER).failed(row.capture_id, "no answer")
        await account.outbox.queue(ULOGGER).quarantine(row.capture_id, REFUSED)
    await account.save()


async def _fourth(account: Account) -> None:
    """Find the file under suspicion, so that it is rebuilt; go on with the new one."""
    mark(Mark.SUSPECTED)
    files.companion(account.path, SUSPECT).touch(mode=0o600)
    await account.open()
    await account.collect()
    await account.outbox.dismiss_recovery()
    mark(Mark.DISMISSED)
    await account.deliver()
    await account.outbox.sweep(days=0, megabytes=0.1)
    await account.collect()


async def _fifth(account: Account) -> None:
    """Write enough for the log to be brought into the file by itself, and end in order."""
    await account.open()
    await account.collect()
    await account.collect()
    await account.deliver()
    await account.collect()
    await account.collect()
    await account.deliver()
    await account.collect()
    await account.keep_key()
    await account.close()


LIVES: tuple[tuple[Life, bool], ...] = (
    (_first, True),
    (_second, False),
    (_third, True),
    (_fourth, True),
    (_fifth, False),
)
"""What is done in each life, and whether a kill ends it."""


class WeakConnection(sqlite3.Connection):
    """A connection that syncs as rarely as any library is built to by default.

    Apple's is built so (``SQLITE_DEFAULT_WAL_SYNCHRONOUS=1``): with a write-ahead log it does
    not sync at each commit unless it was told to. Most others happen to do so, and with them
    nothing would show whether they were told.
    """

    _told = False

    @override
    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Execute; entering the write-ahead log changes what is synced, unless that was told."""
        done = super().execute(sql, *arguments)
        words = sql.lower().replace("=", " ").split()
        if words[:2] == ["pragma", "synchronous"]:
            self._told = True
        if words == ["pragma", "journal_mode", "wal"] and not self._told:
            super().execute("PRAGMA synchronous = NORMAL")
        return done


async def _live(tree: Path, life: int, sessions: int) -> None:
    """Live one life; it takes its process with it."""
    work, killed = LIVES[life]
    await work(Account(tree, life, sessions))
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


def main(tree: Path, sessions: int) -> None:
    """Live all lives, each in a process of its own."""
    sqlite3.connect = partial(sqlite3.connect, factory=WeakConnection)  # type: ignore[assignment]
    for life, (_, killed) in enumerate(LIVES):
        if (child := os.fork()) == 0:
            try:
                with asyncio.Runner(loop_factory=HastyLoop) as runner:
                    runner.run(_live(tree, life, sessions))
            finally:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != (-signal.SIGKILL if killed else 0):
            raise SystemExit(f"life {life} did not end as it should")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
