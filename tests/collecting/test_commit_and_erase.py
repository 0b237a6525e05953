"""What happens between commit and erase (nothing), and what an erase makes of equal content."""

import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from operator import xor
from typing import Any
from unittest.mock import patch

import pytest
from bleak.exc import BleakError
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.agent import gatt
from custom_components.ulogger.agent.errors import LinkLost
from custom_components.ulogger.agent.session import Pending
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.collecting.collection import Collection
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway import crashes
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.outbox.errors import DiskFull
from custom_components.ulogger.outbox.model import Outcome
from demo.device.log_memory import Moment
from demo.device.samples import sample_core_dump, sample_frames
from demo.device.virtual import VirtualDevice
from tests.support.bluetooth import ADDRESS
from tests.support.road import CORE_DUMP, FAST_AIR, IDENTITY, LOG, LinkToDevice, Road
from tests.support.said import read_all

UPTIME = 100_000


def dated(log: bytes, tick: int = UPTIME, trailer: bytes = b"") -> bytes:
    """Make a log say at which tick it was made."""
    header = LogHeader.parse(log)
    return replace(header, anchor_tick=tick).pack() + log[header.size :] + trailer


@contextmanager
def at_the_erase(do: Callable[[LinkToDevice], None]) -> Iterator[None]:
    """Do something whenever an erase command is about to be written."""
    write = LinkToDevice.write_gatt_char

    async def watched(self: LinkToDevice, characteristic: Any, data: Any, response: bool) -> None:
        if response and characteristic.uuid == gatt.LOG_ACK:
            do(self)
        await write(self, characteristic, data, response)

    with patch.object(LinkToDevice, "write_gatt_char", watched):
        yield


async def visited(
    road: Road, account: MockConfigEntry, log: bytes = b"", core_dump: bytes | None = None
) -> tuple[VirtualDevice, DeviceCoordinator]:
    """Have a device collected that holds this."""
    road.adapter.devices.clear()
    device = road.device(log=log, core_dump=core_dump)
    coordinator = await road.adopted(account)
    await coordinator.async_collect()
    await read_all(account.runtime_data)
    return device, coordinator


async def rows(account: MockConfigEntry) -> list[tuple[str, bool]]:
    """What is kept here, oldest first: the kind, and whether it may repeat another."""
    listing = await account.runtime_data.account.outbox.listing()
    return [(row.kind.value, row.may_repeat) for row in reversed(listing)]


def kinds(road: Road) -> list[str]:
    """What was told of the collection; what the cloud acknowledges meanwhile is another story."""
    return [event for event, _ in road.events if event != "uploaded"]


# Between commit and erase


async def test_between_commit_and_erase_nothing_parses_fires_or_notifies(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    happened: list[str] = []
    gateway = account.runtime_data
    _, coordinator = await visited(road, account)
    add, report = gateway.account.outbox.add, crashes.crash_report

    async def on_disk(capture: Capture) -> Any:
        added = await add(capture)
        happened.append("disk")
        return added

    def parsed(*dump: Any) -> Any:
        happened.append("parsed")
        return report(*dump)

    coordinator.async_add_event_listener(lambda event, _: happened.append(event.value))
    coordinator.async_add_listener(lambda: happened.append("shown"))
    gateway.account.changed.add(lambda: happened.append("account"))
    with (
        patch.object(gateway.account.outbox, "add", on_disk),
        patch.object(
            gateway.destinations["ulogger"].delivery, "wake", lambda: happened.append("delivery")
        ),
        patch.object(crashes, "crash_report", parsed),
        at_the_erase(lambda _: happened.append("erase")),
    ):
        await visited(road, account, LOG, CORE_DUMP)

    commits = [place for place, what in enumerate(happened) if what == "disk"]
    assert [happened[place + 1] for place in commits] == ["erase", "erase"]
    after = happened[commits[-1] + 2 :]
    assert {"delivery", "collected", "core_dump", "parsed"} <= set(after)


@pytest.mark.parametrize("what", ["event", "device", "account", "delivery", "crash"])
async def test_a_listener_that_raises_changes_nothing(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, what: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a listener of somebody else's")

    _, coordinator = await visited(road, account)
    gateway = account.runtime_data
    if what == "event":
        coordinator.async_add_event_listener(fail)
    elif what == "device":
        coordinator.async_add_listener(fail)
    elif what == "account":
        gateway.account.changed.add(fail)
        gateway.session_succeeded.add(fail)
    road.listen(coordinator)
    wake = fail if what == "delivery" else gateway.destinations["ulogger"].delivery.wake
    crash = fail if what == "crash" else crashes.crash_report
    with (
        patch.object(gateway.destinations["ulogger"].delivery, "wake", wake),
        patch.object(crashes, "crash_report", crash),
    ):
        device, _ = await visited(road, account, LOG, CORE_DUMP)

    assert device.empty
    assert coordinator.timeline[-1].result == "ok"
    assert coordinator.timeline[-1].captures == 2
    assert await rows(account) == [("log", False), ("core_dump", False)]
    if what in {"event", "device", "account", "crash"}:
        assert kinds(road) == ["collected", "collected", "core_dump"]
    # What was noted after it holds as well: the same crash again is a new one.
    await visited(road, account, b"", CORE_DUMP)
    assert (await rows(account))[2:] == [("core_dump", False)]


async def test_what_could_not_be_put_on_disk_is_told_to_nobody(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    _, coordinator = await visited(road, account)
    road.listen(coordinator)

    async def full(_: Capture) -> Any:
        raise DiskFull("no space left")

    with patch.object(account.runtime_data.account.outbox, "add", full), pytest.raises(DiskFull):
        await visited(road, account, LOG)
    assert road.events == []
    assert [device.empty for device in road.adapter.devices.values()] == [False]


# Identical is not the same


@pytest.mark.parametrize("log", [LOG, dated(LOG), dated(LOG, 60_000)], ids=["0", "same", "other"])
async def test_the_same_lines_after_a_confirmed_erase_are_collected_anew(
    hass: HomeAssistant, account: MockConfigEntry, road: Road, log: bytes
) -> None:
    _, coordinator = await visited(road, account, dated(LOG))
    road.listen(coordinator)
    await visited(road, account, log)
    assert await rows(account) == [("log", False), ("log", False)]
    assert kinds(road) == ["collected"]


async def test_the_same_crash_again_is_kept_and_told(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    _, coordinator = await visited(road, account, LOG, CORE_DUMP)
    road.listen(coordinator)
    await visited(road, account, LOG, CORE_DUMP)
    assert await rows(account) == [("log", False), ("core_dump", False)] * 2
    assert kinds(road) == ["collected", "collected", "core_dump"]


async def test_a_reset_newer_agent_offers_again_and_is_believed_but_marked(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    _, coordinator = await visited(road, account, dated(LOG, trailer=b"sealed"))
    road.listen(coordinator)
    await visited(road, account, dated(LOG, 900, trailer=b"sealed"))
    assert await rows(account) == [("log", False), ("log", True)]
    [told_of] = [attributes for event, attributes in road.events if event == "collected"]
    assert told_of["may_repeat"] is True
    told = await hass.services.async_call(
        DOMAIN,
        "get_captures",
        {"device_id": road.registered(account).id},
        blocking=True,
        return_response=True,
    )
    shown = told["devices"][IDENTITY.serial]
    assert [each["may_repeat"] for each in shown] == [True, False]


@pytest.mark.parametrize(
    ("core_dump", "erases", "expected"),
    [
        (None, 1, [("log", False)]),
        (CORE_DUMP, 1, [("log", False), ("core_dump", False)]),
        (CORE_DUMP, 2, [("log", False), ("core_dump", False), ("core_dump", True)]),
    ],
    ids=["a log's", "that of a log before a dump", "a dump's"],
)
async def test_an_erase_that_nobody_answered(
    hass: HomeAssistant,
    account: MockConfigEntry,
    road: Road,
    core_dump: bytes | None,
    erases: int,
    expected: list[tuple[str, bool]],
) -> None:
    """In the same boot a log is recognised; of a dump nobody can tell whether it is another."""
    left = erases

    def cut(link: LinkToDevice) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise BleakError("the link broke")

    _, coordinator = await visited(road, account)
    with at_the_erase(cut), pytest.raises(Exception, match="the link broke"):
        await visited(road, account, dated(LOG), core_dump)
    await read_all(account.runtime_data)
    road.listen(coordinator)
    await visited(road, account, dated(LOG), core_dump)
    assert await rows(account) == expected
    assert kinds(road)[0] == "duplicate"


async def test_a_log_behind_which_the_dump_never_came_whole_is_still_there(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    """The log's command was answered, yet only the dump's erases: the log is not taken again."""
    gateway = account.runtime_data
    add = gateway.account.outbox.add

    async def only_logs(capture: Capture) -> Any:
        if capture.data == CORE_DUMP:
            raise DiskFull("no space left")
        return await add(capture)

    _, coordinator = await visited(road, account)
    with patch.object(gateway.account.outbox, "add", only_logs), pytest.raises(DiskFull):
        await visited(road, account, LOG, CORE_DUMP)
    road.listen(coordinator)
    device, _ = await visited(road, account, LOG, CORE_DUMP)
    assert await rows(account) == [("log", False), ("core_dump", False)]
    assert kinds(road) == ["collected", "core_dump"]
    assert device.empty


async def test_the_silence_of_a_link_that_stalls_is_not_taken_for_an_erase(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    """The log's command was answered, and the dump that keeps the log came too late."""
    write = LinkToDevice.write_gatt_char

    async def stalls_then(
        self: LinkToDevice, characteristic: Any, data: Any, response: bool
    ) -> None:
        await write(self, characteristic, data, response)
        if response and self._link is not None:
            self._link.radio.stall(2.0)

    _, coordinator = await visited(road, account)
    with patch.object(LinkToDevice, "write_gatt_char", stalls_then):
        device, _ = await visited(road, account, dated(LOG), CORE_DUMP)
    assert not device.empty
    road.listen(coordinator)
    device, _ = await visited(road, account, dated(LOG, UPTIME + 500), CORE_DUMP)
    assert await rows(account) == [("log", False), ("core_dump", False)]
    assert kinds(road) == ["duplicate", "collected", "core_dump"]
    assert device.empty


async def test_a_log_that_a_dump_keeps_there_for_good_is_never_taken_twice(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    """A dump too long for the wire is taken once, and what the log has behind it then, too."""
    tick = hass.loop.time
    await visited(road, account)
    road.adapter.devices.clear()
    device = VirtualDevice(
        ADDRESS,
        IDENTITY,
        core_dump=sample_core_dump(IDENTITY, 66_000),
        air=replace(FAST_AIR, queue=1 << 20),
        clock=lambda: Moment(round(1000 * tick()), 0),
    )
    device.firmware._payload = 200
    road.adapter.devices[ADDRESS] = device
    coordinator = road.coordinator(account)
    for seed in range(5):
        device.firmware.append_log(sample_frames(30, seed=seed))
        await coordinator.async_collect()
    await read_all(account.runtime_data)
    assert await rows(account) == [("log", False), ("core_dump", False)] + 4 * [("log", False)]
    logs = await account.runtime_data.account.outbox.listing()
    assert {row.size for row in logs if row.kind is CaptureKind.LOG} == {25 + 30}


class Scripted:
    """A session that hands captures out, of which the first so many are confirmed as erased."""

    emptied = None
    dump_waits = False

    def __init__(self, confirmed: int, *captures: Capture) -> None:
        self.left = confirmed
        self.pending = captures

    async def captures(self, _: Any) -> AsyncGenerator[Any]:
        for capture in self.pending:
            yield Pending(self, capture)  # type: ignore[arg-type]
        raise LinkLost("that was all")

    follow = captures

    async def erase(self, pending: Pending) -> None:
        if not self.left:
            raise LinkLost("before the command")
        self.left -= 1
        pending.commanded = pending.answered = True

    async def close(self) -> None:
        """Have nothing to take leave of."""


async def test_what_an_earlier_connection_had_confirmed_is_not_taken_for_held(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    """A log without a tick that is held is dropped when it comes again: not one that was erased."""
    _, coordinator = await visited(road, account)
    outbox = account.runtime_data.account.outbox
    first, second = (
        Capture(CaptureKind.LOG, IDENTITY, without_tick(seed), 1e9 + seed) for seed in (1, 2)
    )
    collection = Collection(account.runtime_data.account, coordinator, lambda *_: None)
    for session in (Scripted(1, first), Scripted(0, second)):
        with pytest.raises(LinkLost):
            await collection._take(session, IDENTITY)  # type: ignore[arg-type]
    await hass.async_block_till_done()
    again = [(await outbox.add(each)).outcome for each in (first, second)]
    assert again == [Outcome.MAY_REPEAT, Outcome.DUPLICATE]


def without_tick(seed: int) -> bytes:
    """Make a log of the oldest kind, which does not tell when it was made."""
    frames = sample_frames(60, seed=seed)
    checksum = reduce(xor, frames)
    return struct.pack("<BIIHH", 2, 0, 1, len(frames), checksum) + frames


async def test_a_log_that_comes_again_unconfirmed_while_it_is_followed_is_the_same(
    hass: HomeAssistant, account: MockConfigEntry, road: Road
) -> None:
    _, coordinator = await visited(road, account)
    log = Capture(CaptureKind.LOG, IDENTITY, dated(LOG), 1e9)
    later = replace(log, data=dated(LOG, UPTIME + 1000), captured_at=1e9 + 1)
    session = Scripted(2, log, later)
    confirm = session.erase

    async def command(pending: Pending) -> None:
        await confirm(pending)
        pending.answered = False

    session.erase = command  # type: ignore[method-assign]
    account_ = account.runtime_data.account
    collection = Collection(account_, coordinator, lambda *_: None, live=True)
    with pytest.raises(LinkLost):
        await collection._take(session, IDENTITY)  # type: ignore[arg-type]
    assert [each.outcome for each in collection.added] == [Outcome.STORED, Outcome.DUPLICATE]
