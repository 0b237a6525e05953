"""The queue: strict order per device, devices independent, nothing loaded unasked."""

import pytest

from custom_components.ulogger.model.capture import Capture, CaptureFault
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox.errors import NoSuchCapture
from custom_components.ulogger.outbox.model import REFUSED, Added, CaptureState, Outcome
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import CLOCK, LAMP, NOW, Clock, captured, core_dump, log, queue
from .conftest import Opener


async def _add(outbox: Outbox, *captures: Capture) -> list[int]:
    added = [await outbox.add(capture) for capture in captures]
    return [each.capture_id for each in added if each.capture_id is not None]


async def test_a_capture_comes_back_as_it_was_added(outbox: Outbox) -> None:
    capture = captured(3)
    added = await outbox.add(capture)
    assert added == Added(Outcome.STORED, added.capture_id, len(capture.data))
    [item] = await queue(outbox).batch()
    assert (item.capture, item.key, item.attempts) == (capture, CLOCK.key, 0)
    assert await outbox.read(item.capture_id) == capture


async def test_a_device_is_served_in_the_order_its_captures_came(outbox: Outbox) -> None:
    ids = await _add(outbox, *(captured(number) for number in range(7)))
    assert [item.capture_id for item in await queue(outbox).batch(3)] == ids[:3]
    assert await queue(outbox).delivered(ids[:3]) == 3
    assert [item.capture_id for item in await queue(outbox).batch()] == ids[3:]


async def test_devices_take_turns_so_that_none_waits_for_anothers_backlog(outbox: Outbox) -> None:
    backlog = await _add(outbox, *(captured(number) for number in range(5)))
    [other] = await _add(outbox, captured(9, LAMP))
    batch = [item.capture_id for item in await queue(outbox).batch(3)]
    assert batch == [backlog[0], other, backlog[1]]


async def test_the_device_that_has_waited_longest_comes_first(outbox: Outbox) -> None:
    first, second = await _add(outbox, captured(1, LAMP), captured(2, CLOCK))
    await queue(outbox).delivered([first])
    await outbox.add(captured(3, LAMP))
    assert (await queue(outbox).batch(1))[0].capture_id == second


async def test_an_excluded_device_leaves_the_others_alone(outbox: Outbox) -> None:
    await _add(outbox, captured(1), captured(2))
    [lamp] = await _add(outbox, captured(3, LAMP))
    assert [item.capture_id for item in await queue(outbox).batch(exclude={CLOCK.key})] == [lamp]


async def test_over_the_limit_only_core_dumps_pass(outbox: Outbox) -> None:
    _log, dump, lamp = await _add(outbox, captured(1), core_dump(2), captured(3, LAMP))
    batch = await queue(outbox).batch(core_dumps_only={CLOCK.key})
    assert {item.capture_id for item in batch} == {dump, lamp}


async def test_a_batch_ends_before_it_grows_too_large_but_is_never_empty(outbox: Outbox) -> None:
    size = len(captured(0, size=500).data)
    await _add(outbox, *(captured(number, size=500) for number in range(4)))
    assert len(await queue(outbox).batch(max_bytes=size * 2)) == 2
    assert len(await queue(outbox).batch(max_bytes=1)) == 1


async def test_a_failed_attempt_is_counted_and_keeps_its_place(
    outbox: Outbox, clock: Clock
) -> None:
    first, second = await _add(outbox, captured(1), captured(2))
    clock.now += 5
    assert await queue(outbox).failed(first, "no answer") == 1
    assert await queue(outbox).failed(first, "x" * 5000) == 2
    assert [item.capture_id for item in await queue(outbox).batch()] == [first, second]
    row = (await outbox.listing())[-1]
    assert (row.attempts, row.last_error, row.last_attempt) == (2, "x" * 500, NOW + 5)


async def test_a_quarantined_capture_lets_the_next_one_move_up(outbox: Outbox) -> None:
    first, second = await _add(outbox, captured(1), captured(2))
    assert await queue(outbox).quarantine(first, REFUSED)
    assert [item.capture_id for item in await queue(outbox).batch()] == [second]
    assert (await outbox.listing())[-1].reason == REFUSED
    assert not await queue(outbox).quarantine(first, REFUSED)


async def test_a_retried_capture_waits_at_its_old_place(outbox: Outbox) -> None:
    first, second = await _add(outbox, captured(1), captured(2))
    await queue(outbox).failed(first, "refused")
    await queue(outbox).quarantine(first, REFUSED)
    assert await outbox.retry(first)
    batch = await queue(outbox).batch()
    assert [item.capture_id for item in batch] == [first, second]
    assert (batch[0].attempts, batch[0].capture.fault) == (0, None)
    assert not await outbox.retry(first)


async def test_a_faulty_capture_goes_straight_into_quarantine(outbox: Outbox) -> None:
    capture = captured(1, fault=CaptureFault.CHECKSUM)
    added = await outbox.add(capture)
    assert added.outcome is Outcome.QUARANTINED
    assert await queue(outbox).batch() == []
    [row] = await outbox.listing(states=[CaptureState.QUARANTINED])
    assert (row.capture_id, row.reason, row.kind) == (added.capture_id, "checksum", capture.kind)
    assert await outbox.read(row.capture_id) == capture


async def test_a_discarded_capture_is_gone(outbox: Outbox) -> None:
    [only] = await _add(outbox, captured(1))
    assert await outbox.discard(only)
    assert await queue(outbox).batch() == await outbox.listing() == []
    assert not await outbox.discard(only)
    with pytest.raises(NoSuchCapture):
        await outbox.read(only)
    with pytest.raises(NoSuchCapture):
        await queue(outbox).failed(only, "no answer")


async def test_the_listing_shows_the_newest_first_and_can_be_narrowed(outbox: Outbox) -> None:
    one, two, lamp = await _add(outbox, captured(1), captured(2), captured(3, LAMP))
    await queue(outbox).delivered([one], NOW + 9)
    assert [row.capture_id for row in await outbox.listing()] == [lamp, two, one]
    assert [row.capture_id for row in await outbox.listing(CLOCK.key, limit=1)] == [two]
    [row] = await outbox.listing(states=[CaptureState.DELIVERED])
    assert (row.capture_id, row.delivered_at, row.captured_at) == (one, NOW + 9, NOW + 1)


async def test_what_was_added_is_there_after_a_restart(outbox: Outbox, opened: Opener) -> None:
    captures = [captured(1), captured(2, LAMP), core_dump(3)]
    ids = await _add(outbox, *captures)
    await queue(outbox).delivered(ids[:1])
    await outbox.close()
    again = await opened()
    assert [item.capture for item in await queue(again).batch()] == captures[1:]


async def test_any_name_and_any_bytes_are_kept_as_they_are(outbox: Outbox) -> None:
    device = DeviceIdentity(2**32 - 1, "'; DROP TABLE captures; --\0é", "\n", "", "☃")
    capture = captured(1, device, data=bytes(range(256)) * 256)
    added = await outbox.add(capture)
    assert added.capture_id is not None
    assert await outbox.read(added.capture_id) == capture
    assert await queue(outbox).batch(core_dumps_only={device.key}) == []
    assert (await outbox.counters())[device.key].waiting == 1


async def test_an_empty_capture_is_a_capture(outbox: Outbox) -> None:
    await _add(outbox, captured(data=log()), captured(data=b""))
    assert [item.capture.data for item in await queue(outbox).batch()] == [log(), b""]
