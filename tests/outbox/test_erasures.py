"""Identical is not the same: what an erase, confirmed or not, makes of equal content."""

import struct
from dataclasses import replace

import pytest

from custom_components.ulogger.capture import duplicates
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.outbox import contents
from custom_components.ulogger.outbox.errors import DiskFull
from custom_components.ulogger.outbox.model import CaptureState, Outcome
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import CLOCK, LAMP, NOW, captured, core_dump, frame, log, queue
from .conftest import Opener

DAY = 86_400.0
TRAILER = b"trailer!"


def older(*frames: bytes, version: int, anchor: int = 100_000) -> bytes:
    """Make a log buffer of an agent that never offers anything again."""
    plain = log(*frames, anchor=anchor)
    used, checksum = struct.unpack_from("<HH", plain, 21)
    if version == 3:
        return struct.pack("<BIIIHH", 3, 0, anchor, 1000, used, checksum) + plain[25:]
    if version < 3:
        return struct.pack("<BIIHH", version, 0, 1, used, checksum) + plain[25:]
    return plain


async def taken(outbox: Outbox, *captures: Capture, erased: bool = True) -> list[int]:
    """Take captures in, and have the device confirm each erase."""
    ids = []
    for capture in captures:
        ids.append((await outbox.add(capture)).capture_id or 0)
        if erased:
            await outbox.erased(capture.device.key)
    return ids


BOOT = (frame(1), frame(2, ticks=30))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("anchor", [100_000, 105_000, 60_000])
async def test_a_device_that_boots_a_day_later_and_logs_the_same_is_taken_anew(
    outbox: Outbox, version: int, anchor: int
) -> None:
    await taken(outbox, captured(data=older(*BOOT, version=version)))
    again = captured(data=older(*BOOT, version=version, anchor=anchor), at=NOW + DAY)
    assert (await outbox.add(again)).outcome is Outcome.STORED
    assert len(await queue(outbox).batch()) == 2
    assert not any(row.may_repeat for row in await outbox.listing())
    assert (await outbox.counters())[CLOCK.key].duplicates == 0


@pytest.mark.parametrize("version", [1, 2, 3, 4])
async def test_one_more_line_after_an_erase_cuts_nothing_off(outbox: Outbox, version: int) -> None:
    await taken(outbox, captured(data=older(*BOOT, version=version)))
    longer = older(*BOOT, frame(3), version=version, anchor=160_000)
    # Sixty seconds later in the same boot: even that is no continuation of what was erased.
    added = await outbox.add(captured(data=longer, at=NOW + 60))
    assert (added.outcome, added.size) == (Outcome.STORED, len(longer))
    assert (await outbox.read(added.capture_id or 0)).data == longer


async def test_the_same_crash_after_an_erase_is_a_new_one(outbox: Outbox) -> None:
    await taken(outbox, core_dump(1))
    again = await outbox.add(core_dump(1))
    assert (again.outcome, again.may_repeat) == (Outcome.STORED, False)
    await outbox.erased(CLOCK.key)
    assert (await outbox.add(core_dump(1))).outcome is Outcome.STORED
    assert len(await queue(outbox).batch()) == 3


async def test_an_erase_of_one_device_says_nothing_of_another(outbox: Outbox) -> None:
    [first] = await taken(outbox, core_dump(1), erased=False)
    await outbox.held([first])
    await taken(outbox, core_dump(1, LAMP))
    assert (await outbox.add(core_dump(1))).outcome is Outcome.DUPLICATE
    assert (await outbox.add(core_dump(1, LAMP))).outcome is Outcome.STORED


async def test_what_newer_agents_offer_after_a_reset_is_kept_whole_and_marked(
    outbox: Outbox,
) -> None:
    [first] = await taken(outbox, captured(data=log(*BOOT) + TRAILER))
    again = await outbox.add(captured(data=log(*BOOT, anchor=900) + TRAILER, at=NOW + 60))
    assert (again.outcome, again.may_repeat) == (Outcome.MAY_REPEAT, True)
    row = (await outbox.listing())[0]
    assert (row.may_repeat, row.continues, row.state) == (True, first, CaptureState.WAITING)
    assert len(await queue(outbox).batch()) == 2


async def test_what_comes_late_from_a_device_that_had_just_booted_proves_no_boot(
    outbox: Outbox,
) -> None:
    """Two seconds late, and reset at once: the next one's arrival fits the same boot as well."""
    await taken(outbox, captured(data=log(*BOOT, anchor=2000) + TRAILER, at=NOW + 2))
    again = captured(data=log(*BOOT, frame(3), anchor=5000) + TRAILER, at=NOW + 5.2)
    assert (await outbox.add(again)).may_repeat


@pytest.mark.parametrize(
    ("anchor", "outcome"), [(900, Outcome.MAY_REPEAT), (160_000, Outcome.STORED)]
)
async def test_after_a_reset_it_is_marked_also_where_all_that_was_taken_has_left_the_disk(
    outbox: Outbox, anchor: int, outcome: Outcome
) -> None:
    """Nobody can look any more whether its lines are among those that an agent offers again."""
    taken_ids = await taken(outbox, captured(data=log(*BOOT) + TRAILER))
    for each in taken_ids:
        await outbox.discard(each)
    more = captured(data=log(*BOOT, frame(3), anchor=anchor) + TRAILER, at=NOW + 60)
    assert (await outbox.add(more)).outcome is outcome


async def test_a_newer_agent_that_was_not_reset_has_written_anew(outbox: Outbox) -> None:
    await taken(outbox, captured(data=log(*BOOT) + TRAILER))
    again = captured(data=log(*BOOT, anchor=160_000) + TRAILER, at=NOW + 60)
    assert (await outbox.add(again)).outcome is Outcome.STORED


@pytest.mark.parametrize(
    "frames",
    [
        (frame(1), frame(2), frame(3), frame(4), frame(5)),
        (frame(2), frame(3), frame(4), frame(5)),
        (frame(4), frame(5)),
        (frame(4),),
    ],
    ids=["all and more", "the oldest gone", "a part of one", "a part alone"],
)
async def test_what_newer_agents_offer_of_several_captures_is_marked(
    outbox: Outbox, frames: tuple[bytes, ...]
) -> None:
    await taken(
        outbox,
        captured(data=log(frame(1), frame(2)) + TRAILER),
        captured(data=log(frame(3), frame(4), anchor=110_000) + TRAILER, at=NOW + 10),
    )
    data = log(*frames, anchor=700) + TRAILER
    added = await outbox.add(captured(data=data, at=NOW + 60))
    assert (added.outcome, added.size) == (Outcome.MAY_REPEAT, len(data))


async def test_other_lines_of_a_newer_agent_are_not_marked(outbox: Outbox) -> None:
    await taken(outbox, captured(data=log(*BOOT) + TRAILER))
    other = captured(data=log(frame(7), frame(2), anchor=900) + TRAILER, at=NOW + 60)
    assert (await outbox.add(other)).outcome is Outcome.STORED


async def test_a_header_of_the_same_instant_proves_a_duplicate_even_after_an_erase(
    outbox: Outbox,
) -> None:
    epoch = round(NOW * 1e6)
    [first] = await taken(outbox, captured(data=log(*BOOT, epoch=epoch) + TRAILER))
    again = await outbox.add(captured(data=log(*BOOT, epoch=epoch) + TRAILER, at=NOW + DAY))
    assert (again.outcome, again.capture_id) == (Outcome.DUPLICATE, first)
    # The tick alone proves nothing: a device may well send at the same tick of each boot.
    other = captured(data=log(*BOOT, epoch=epoch + 1) + TRAILER, at=NOW + DAY)
    assert (await outbox.add(other)).outcome is Outcome.MAY_REPEAT


@pytest.mark.parametrize("version", [3, 4])
async def test_without_an_answer_only_the_same_boot_makes_a_duplicate(
    outbox: Outbox, version: int
) -> None:
    await taken(outbox, captured(data=older(*BOOT, version=version)), erased=False)
    same_boot = older(*BOOT, version=version, anchor=160_000)
    assert (await outbox.add(captured(data=same_boot, at=NOW + 61))).outcome is Outcome.DUPLICATE
    added = await outbox.add(captured(data=same_boot, at=NOW + DAY))
    assert (added.outcome, added.may_repeat) == (Outcome.MAY_REPEAT, True)


async def test_what_has_no_anchor_is_a_duplicate_only_if_it_was_not_to_be_erased(
    outbox: Outbox,
) -> None:
    for capture in (core_dump(1), captured(data=older(*BOOT, version=2))):
        [first] = await taken(outbox, capture, erased=False)
        unanswered = await outbox.add(capture)
        assert (unanswered.outcome, unanswered.may_repeat) == (Outcome.MAY_REPEAT, True)
        await outbox.held([unanswered.capture_id or 0])
        assert (await outbox.add(capture)).outcome is Outcome.DUPLICATE
        assert first != unanswered.capture_id


async def test_an_erase_that_is_confirmed_later_counts_for_all_that_was_offered_before(
    outbox: Outbox,
) -> None:
    added = await outbox.add(captured(data=log(*BOOT)))
    await outbox.held([added.capture_id or 0])
    await outbox.add(captured(data=log(*BOOT, frame(3), anchor=160_000), at=NOW + 60))
    await outbox.erased(CLOCK.key)
    for frames in (BOOT, (*BOOT, frame(3))):
        again = await outbox.add(captured(data=log(*frames), at=NOW + DAY))
        assert (again.outcome, again.may_repeat) == (Outcome.STORED, False)


async def test_whether_a_content_was_erased_is_remembered_after_it_has_left(
    outbox: Outbox, opened: Opener
) -> None:
    logs = [captured(data=log(frame(number))) for number in (1, 2)]
    dumps = [core_dump(1), core_dump(2)]
    ids = await taken(outbox, logs[0], dumps[0])
    kept = await taken(outbox, logs[1], dumps[1], erased=False)
    await outbox.held(kept)
    await queue(outbox).delivered([*ids, *kept])
    await outbox.sweep(days=-1, megabytes=0)
    assert await outbox.listing() == []
    await outbox.close()
    outbox = await opened()
    outcomes = [(await outbox.add(capture)).outcome for capture in (*logs, *dumps)]
    new, again = Outcome.STORED, Outcome.DUPLICATE
    assert outcomes == [new, again, new, again]
    later = replace(logs[1], captured_at=NOW + DAY)
    assert (await outbox.add(later)).outcome is Outcome.MAY_REPEAT


async def test_a_note_that_fails_is_made_with_the_next_capture(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await taken(outbox, core_dump(1), erased=False)

    async def full(_work: object) -> None:
        raise DiskFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(outbox._database, "write", full)
        with pytest.raises(DiskFull):
            await outbox.erased(CLOCK.key)
    again = await outbox.add(core_dump(1))
    assert (again.outcome, again.may_repeat) == (Outcome.STORED, False)
    assert (await outbox.add(core_dump(1))).outcome is Outcome.MAY_REPEAT


async def test_a_damaged_capture_that_was_erased_is_kept_again(outbox: Outbox) -> None:
    damaged = captured(data=log(*BOOT)[:-1], fault=CaptureFault.CHECKSUM)
    await taken(outbox, damaged)
    assert (await outbox.add(damaged)).outcome is Outcome.QUARANTINED
    await outbox.erased(CLOCK.key)
    shorter = replace(damaged, data=damaged.data[:-1])
    assert (await outbox.add(shorter)).outcome is Outcome.QUARANTINED
    assert len(await outbox.listing()) == 3


async def test_what_is_too_long_to_be_erased_is_kept_once_whatever_was_noted(
    outbox: Outbox,
) -> None:
    endless = captured(
        data=core_dump(1).data, kind=CaptureKind.CORE_DUMP, fault=CaptureFault.TOO_LONG
    )
    await taken(outbox, endless)
    assert (await outbox.add(endless)).outcome is Outcome.DUPLICATE


async def test_the_notes_look_only_at_what_is_not_erased(outbox: Outbox) -> None:
    def plans(connection: object) -> list[str]:
        return [
            connection.execute(  # type: ignore[attr-defined]
                f"EXPLAIN QUERY PLAN UPDATE {table} SET erased = 1"
                " WHERE device_id = ? AND erased IS NOT 1",
                (1,),
            ).fetchone()[3]
            for table in ("captures", "contents")
        ]

    for plan in await outbox._database.read(plans):
        assert "_unerased" in plan


async def test_earlier_logs_do_not_have_a_new_one_read_again_and_again(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device waits for the commit; what is read of the log before must not add up."""
    read: list[bytes] = []

    def anchored(data: bytes) -> LogHeader | None:
        read.append(data)
        return duplicates.anchored(data)

    monkeypatch.setattr(contents, "anchored", anchored)
    for number in range(16):
        data = log(frame(number), anchor=100_000 + 60_000 * number)
        await outbox.add(captured(data=data, at=NOW + 60 * number))
        await outbox.erased(CLOCK.key)
    read.clear()
    new = log(frame(16), anchor=100_000 + 60_000 * 16)
    added = await outbox.add(captured(data=new, at=NOW + 60 * 16))
    assert added.outcome is Outcome.STORED
    assert set(read) == {new}
    assert len(read) <= 3
