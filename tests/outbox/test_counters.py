"""Counters: the sum of what happened, whatever is apply_retention, and across restarts."""

from custom_components.ulogger.model.capture import CaptureFault
from custom_components.ulogger.outbox.model import DeviceCounters, Space
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import CLOCK, LAMP, NOW, Clock, captured, core_dump, queue
from .conftest import Opener

_MIDNIGHT = NOW // 86_400 * 86_400 + 86_400


async def test_everything_that_happens_is_counted(outbox: Outbox, opened: Opener) -> None:
    log = captured(1)
    first = await outbox.add(log)
    dump = await outbox.add(core_dump(2))
    await outbox.add(captured(3))
    await outbox.add(captured(3))
    await outbox.add(captured(4, fault=CaptureFault.CHECKSUM))
    await queue(outbox).delivered([first.capture_id or 0], NOW + 10)
    await queue(outbox).delivered([dump.capture_id or 0, first.capture_id or 0], NOW + 20)
    expected = DeviceCounters(
        uploads=2,
        bytes_uploaded=len(log.data) + 400,
        last_upload=NOW + 20,
        last_upload_size=400,
        core_dumps=1,
        last_core_dump=NOW + 20,
        duplicates=1,
        bytes_today=len(log.data) + 400,
        waiting=1,
        waiting_bytes=len(log.data),
        quarantined=1,
        quarantined_bytes=len(log.data),
        kept=2,
        kept_bytes=len(log.data) + 400,
    )
    assert await outbox.counters() == {CLOCK.key: expected}
    await outbox.close()
    assert await (await opened()).counters() == {CLOCK.key: expected}


async def test_a_capture_is_delivered_once(outbox: Outbox) -> None:
    added = await outbox.add(captured(1))
    capture_id = added.capture_id or 0
    assert await queue(outbox).delivered([capture_id, capture_id, 999]) == 1
    assert await queue(outbox).delivered([capture_id]) == 0
    assert (await outbox.counters())[CLOCK.key].uploads == 1


async def test_bytes_of_today_begin_anew_at_midnight_utc(outbox: Outbox, clock: Clock) -> None:
    one, two = await outbox.add(captured(1)), await outbox.add(captured(2))
    clock.now = _MIDNIGHT - 1
    await queue(outbox).delivered([one.capture_id or 0])
    assert (await outbox.counters())[CLOCK.key].bytes_today == one.size
    clock.now = _MIDNIGHT
    assert (await outbox.counters())[CLOCK.key].bytes_today == 0
    await queue(outbox).delivered([two.capture_id or 0])
    counters = (await outbox.counters())[CLOCK.key]
    assert (counters.bytes_today, counters.bytes_uploaded) == (two.size, one.size + two.size)


async def test_an_account_is_the_sum_of_its_devices(outbox: Outbox) -> None:
    one, two = await outbox.add(captured(1)), await outbox.add(core_dump(2, LAMP))
    await queue(outbox).delivered([two.capture_id or 0], NOW + 5)
    await queue(outbox).delivered([one.capture_id or 0], NOW + 9)
    total = DeviceCounters.total((await outbox.counters()).values())
    assert (total.uploads, total.kept_bytes) == (2, one.size + two.size)
    assert (total.last_upload, total.last_upload_size) == (NOW + 9, one.size)
    assert total.last_core_dump == NOW + 5
    assert DeviceCounters.total([]) == DeviceCounters()


async def test_space_counts_what_no_cloud_has(outbox: Outbox) -> None:
    one = await outbox.add(captured(1))
    two = await outbox.add(captured(2, fault=CaptureFault.CHECKSUM))
    three = await outbox.add(captured(3))
    await queue(outbox).delivered([three.capture_id or 0])
    space = await outbox.space()
    assert space.undelivered == one.size + two.size
    assert space.file > 0
    assert space.free > 0


def test_there_is_room_while_budget_and_reserve_last() -> None:
    space = Space(free=1000, file=0, undelivered=500)
    assert space.has_room(budget=501, reserve=999)
    assert not space.has_room(budget=500, reserve=999)
    assert not space.has_room(budget=501, reserve=1000)
