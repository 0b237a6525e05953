"""What a device offers again: dropped on proof, never on likeness."""

import pytest

from custom_components.ulogger.model.capture import CaptureFault, CaptureKind
from custom_components.ulogger.outbox import contents
from custom_components.ulogger.outbox.model import REFUSED, Outcome
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import CLOCK, LAMP, NOW, Clock, captured, core_dump, frame, log, queue
from .conftest import Opener
from .test_destinations import CLOUD

LATER = NOW + 100
"""When a device's tick of 200,000 is due, if 100,000 was at ``NOW``."""


async def test_the_same_log_under_another_token_and_time_is_counted_and_not_kept_twice(
    outbox: Outbox,
) -> None:
    first = await outbox.add(captured(data=log(frame(1), token=5, epoch=1)))
    again = await outbox.add(
        captured(data=log(frame(1), token=6, anchor=200_000, epoch=2), at=LATER)
    )
    assert (again.outcome, again.capture_id, again.size) == (
        Outcome.DUPLICATE,
        first.capture_id,
        0,
    )
    assert len(await outbox.listing()) == 1
    assert (await outbox.counters())[CLOCK.key].duplicates == 1


@pytest.mark.parametrize(
    "other",
    [
        captured(data=log(frame(1)), device=LAMP),
        captured(data=log(frame(2))),
        captured(data=log(frame(1), frame(1), anchor=1)),
        captured(data=log(frame(1)) + b"trailer"),
        captured(data=log(frame(1)), kind=CaptureKind.CORE_DUMP),
        captured(data=log(frame(1)), fault=CaptureFault.CHECKSUM),
    ],
    ids=["device", "frame", "more", "trailer", "kind", "fault"],
)
async def test_what_only_resembles_a_capture_is_kept(outbox: Outbox, other: object) -> None:
    await outbox.add(captured(data=log(frame(1))))
    kept = {Outcome.STORED, Outcome.QUARANTINED, Outcome.MAY_REPEAT}
    assert (await outbox.add(other)).outcome in kept
    assert len(await outbox.listing()) == 2


async def test_what_goes_on_but_cannot_be_cut_is_kept_whole_and_marked_for_good(
    outbox: Outbox,
) -> None:
    first = await outbox.add(captured(data=log(frame(1))))
    whole = log(frame(1), frame(2), anchor=20_000)
    added = await outbox.add(captured(data=whole))
    assert (added.outcome, added.size) == (Outcome.MAY_REPEAT, len(whole))
    assert (await outbox.read(added.capture_id or 0)).data == whole
    await queue(outbox).quarantine(added.capture_id or 0, REFUSED)
    await outbox.retry(added.capture_id or 0)
    await queue(outbox).delivered([first.capture_id or 0, added.capture_id or 0])
    marked, unmarked = await outbox.listing()
    assert (marked.may_repeat, marked.continues) == (True, first.capture_id)
    assert (unmarked.may_repeat, unmarked.continues) == (False, None)
    assert (await outbox.counters())[CLOCK.key].may_repeat == 1
    assert (await outbox.add(captured(data=whole))).outcome is Outcome.DUPLICATE


async def test_a_delivered_capture_that_was_not_to_be_erased_is_recognised(outbox: Outbox) -> None:
    added = await outbox.add(core_dump(1))
    await outbox.held([added.capture_id or 0])
    await queue(outbox).delivered([added.capture_id or 0])
    assert (await outbox.add(core_dump(1))).outcome is Outcome.DUPLICATE


async def test_equal_keys_are_not_believed_without_equal_bytes(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "content_key", lambda capture: b"always the same")
    await outbox.add(captured(1))
    assert (await outbox.add(captured(2))).outcome is Outcome.STORED
    assert len(await queue(outbox).batch()) == 2


@pytest.mark.parametrize(
    "damage",
    ["x'00'", "x'04FF' || substr(data, 3)"],
    ids=["all", "a byte of the header"],
)
async def test_a_capture_whose_copy_here_is_damaged_is_taken_again(
    outbox: Outbox, damage: str
) -> None:
    added = await outbox.add(captured(1))
    await outbox._database.write(
        lambda c: c.execute(
            f"UPDATE bodies SET data = CAST({damage} AS BLOB) WHERE id = ?", (added.capture_id,)
        )
    )
    assert (await outbox.add(captured(1))).outcome is Outcome.STORED


@pytest.mark.parametrize("how", ["sweep", "discard"])
async def test_a_content_is_remembered_after_its_capture_has_left(
    outbox: Outbox, how: str, opened: Opener
) -> None:
    added = await outbox.add(captured(1))
    capture_id = added.capture_id or 0
    if how == "discard":
        await outbox.discard(capture_id)
    else:
        await queue(outbox).delivered([capture_id])
        await outbox.sweep(days=0, megabytes=0)
    assert await outbox.listing() == []
    await outbox.close()
    outbox = await opened()
    again = await outbox.add(captured(1))
    assert (again.outcome, again.capture_id) == (Outcome.DUPLICATE, None)


async def test_what_goes_on_from_a_log_that_one_destination_refused_is_marked_for_the_others(
    outbox: Outbox,
) -> None:
    """Whole for the one that has nothing of it; the other one has those frames already."""
    await outbox.set_destinations({CLOUD: 0, "folder": 0})
    first = await outbox.add(captured(data=log(frame(1), frame(2))))
    await queue(outbox).quarantine(first.capture_id or 0, REFUSED)
    await outbox.queue("folder").delivered([first.capture_id or 0])
    whole = log(frame(1), frame(2), frame(3), anchor=200_000)
    added = await outbox.add(captured(data=whole, at=LATER))
    assert (added.outcome, added.size) == (Outcome.MAY_REPEAT, len(whole))


@pytest.mark.parametrize("trailer", [b"", b"trailer!"])
async def test_a_log_that_grows_and_is_never_erased_is_marked_where_its_beginning_is_forgotten(
    outbox: Outbox, trailer: bytes
) -> None:
    added = []
    for lines in range(1, 30):
        data = log(*map(frame, range(lines)), anchor=100_000 + 10_000 * lines) + trailer
        added.append(await outbox.add(captured(data=data, at=NOW + 10 * lines)))
    assert added[0].outcome is Outcome.STORED
    assert {each.outcome for each in added[1:]} == {Outcome.CONTINUATION, Outcome.MAY_REPEAT}
    assert sum(each.may_repeat for each in added) <= 3


async def test_only_the_latest_contents_are_remembered(outbox: Outbox) -> None:
    ids = [(await outbox.add(captured(n))).capture_id or 0 for n in range(contents.REMEMBERED + 1)]
    for capture_id in ids:
        await outbox.discard(capture_id)
    assert (await outbox.add(captured(1))).outcome is Outcome.DUPLICATE
    assert (await outbox.add(captured(0))).outcome is Outcome.STORED


async def test_of_a_log_that_goes_on_only_the_new_frames_are_kept(outbox: Outbox) -> None:
    first = await outbox.add(captured(data=log(frame(1), frame(2))))
    longer = log(frame(1), frame(2), frame(3), anchor=200_000)
    added = await outbox.add(captured(data=longer, at=LATER))
    assert added.outcome is Outcome.CONTINUATION
    assert added.size < len(longer)
    row = (await outbox.listing())[0]
    assert (row.capture_id, row.continues) == (added.capture_id, first.capture_id)
    rest = await outbox.read(row.capture_id)
    assert rest.data == log(frame(3, ticks=3), anchor=200_000)
    assert (await outbox.counters())[CLOCK.key].continuations == 1


async def test_a_log_that_goes_on_and_on_is_followed(outbox: Outbox) -> None:
    frames = [frame(number) for number in range(6)]
    for count in range(1, 7):
        anchor, at = 100_000 * count, NOW + 100 * count
        added = await outbox.add(captured(data=log(*frames[:count], anchor=anchor), at=at))
        assert added.size == len(log(frames[0]))
        again = await outbox.add(captured(data=log(*frames[:count], anchor=anchor + 5), at=at))
        assert (again.outcome, again.capture_id) == (Outcome.DUPLICATE, added.capture_id)


async def test_frames_that_were_all_taken_in_two_pieces_are_a_duplicate(outbox: Outbox) -> None:
    whole = log(frame(1), frame(2), anchor=200_000)
    await outbox.add(captured(data=log(frame(1))))
    await outbox.add(captured(data=whole, at=LATER))
    await outbox._database.write(lambda c: c.execute("DELETE FROM contents WHERE whole = 0"))
    assert (await outbox.add(captured(data=whole, at=LATER))).outcome is Outcome.DUPLICATE


async def test_a_log_that_goes_on_from_a_quarantined_one_is_kept_whole(outbox: Outbox) -> None:
    first = await outbox.add(captured(data=log(frame(1))))
    await queue(outbox).quarantine(first.capture_id or 0, REFUSED)
    longer = captured(data=log(frame(1), frame(2), anchor=200_000))
    assert (await outbox.add(longer)).outcome is Outcome.STORED


async def test_a_dump_too_long_to_be_erased_is_kept_once_however_often_it_comes(
    outbox: Outbox, clock: Clock
) -> None:
    data = core_dump(1, size=900).data
    kind, fault = CaptureKind.CORE_DUMP, CaptureFault.TOO_LONG
    first = await outbox.add(captured(data=data, kind=kind, fault=fault))
    shorter = captured(data=data[:500], kind=kind, fault=fault)
    other = captured(data=data[:500] + b"!", kind=kind, fault=fault)
    assert (await outbox.add(captured(data=data, kind=kind, fault=fault))).size == 0
    assert (await outbox.add(shorter)).capture_id == first.capture_id
    assert (await outbox.add(other)).outcome is Outcome.QUARANTINED
    assert (await outbox.counters())[CLOCK.key].duplicates == 2
