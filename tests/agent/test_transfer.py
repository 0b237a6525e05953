"""The transfer's core: chunks and time in, requests out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.agent.errors import AgentError, BadChunks, NoAnswer
from custom_components.ulogger.agent.memory import Partial
from custom_components.ulogger.agent.packets import Chunk, encode_chunk
from custom_components.ulogger.agent.transfer import PATIENCE, Transfer, TransferOutcome
from custom_components.ulogger.agent.window import MOST_REQUESTS
from custom_components.ulogger.model.capture import CaptureKind
from demo.device.samples import sample_core_dump, sample_log

from ..support.agent_world import DEVICE

LOG = sample_log(4000)
KIND = CaptureKind.LOG


class Exchange:
    """A transfer and the device's side of it, chunk by chunk, on a clock moved by hand."""

    def __init__(self, data=LOG, kind=KIND, payload=16, **options):
        self.transfer = Transfer(**options)
        self.data, self.kind, self.payload = data, kind, payload
        self.now = 0.0
        self.asked = list(self.transfer.start(0.0))

    def chunk(self, offset, total=None):
        payload = self.data[offset : offset + self.payload]
        return encode_chunk(Chunk(offset, len(self.data) if total is None else total, payload))

    def hear(self, data, kind=None):
        requests = self.transfer.on_chunk(kind or self.kind, data, self.now)
        self.asked += requests
        return list(requests)

    def answer(self, count=1, *, after=0.06):
        """Answer the oldest requests, a round trip later."""
        self.now += after
        for offset in [self.asked.pop(0) for _ in range(min(count, len(self.asked)))]:
            self.hear(self.chunk(offset))

    def wait(self, seconds):
        requests = []
        end = self.now + seconds
        while self.transfer.outcome is None and (due := self.transfer.wake_at()) <= end:
            self.now = max(self.now, due)
            requests += self.transfer.on_timer(self.now)
        self.now = end
        self.asked += requests
        return requests

    def finish(self):
        while self.transfer.outcome is None:
            if self.asked:
                self.answer(len(self.asked))
            else:
                self.wait(0.1)
        return self.transfer


def test_one_request_until_the_device_has_answered():
    exchange = Exchange()
    assert exchange.asked == [0]
    exchange.answer()
    assert exchange.asked == [16, 32]


def test_the_window_grows_with_every_answer_in_order():
    exchange = Exchange()
    widths = []
    for _ in range(5):
        exchange.answer(len(exchange.asked))
        widths.append(len(exchange.asked))
    assert widths == [2, 4, 8, 16, 32]


def test_the_window_has_a_limit():
    exchange = Exchange(sample_log(30_000))
    for _ in range(12):
        exchange.answer(len(exchange.asked))
    assert len(exchange.asked) == MOST_REQUESTS


def test_the_window_stops_growing_when_round_trips_do():
    exchange = Exchange(sample_log(30_000))
    for trip in (0.06, 0.06, 0.06, 0.3, 0.3, 0.3):
        exchange.answer(len(exchange.asked), after=trip)
    assert len(exchange.asked) < MOST_REQUESTS / 2


def test_the_window_halves_on_loss_once():
    exchange = Exchange()
    for _ in range(5):
        exchange.answer(len(exchange.asked))
    before = exchange.transfer.pace.window
    exchange.asked.clear()
    exchange.wait(0.25)
    assert exchange.transfer.pace.window == before // 2


def test_no_request_reaches_the_total_while_anything_is_missing():
    exchange = Exchange(sample_log(100))
    heard = [*exchange.asked]
    for _ in range(4):
        exchange.answer(len(exchange.asked) - 1 or 1)
        heard += exchange.asked
    assert max(heard) == 96
    exchange.asked.clear()
    assert max(exchange.wait(5)) < 100
    assert exchange.transfer.outcome is None


def test_a_lost_chunk_is_asked_for_again_and_only_that():
    exchange = Exchange()
    exchange.answer()
    exchange.answer(2)
    lost = exchange.asked.pop(0)
    exchange.answer(3, after=0.06)
    exchange.answer(len(exchange.asked), after=0.03)
    assert lost in exchange.wait(0.15)
    assert exchange.transfer.resent >= 1
    assert exchange.finish().data == LOG


def test_a_deadline_follows_the_round_trip():
    quick, slow = Exchange(), Exchange()
    for _ in range(4):
        quick.answer(len(quick.asked), after=0.015)
        slow.answer(len(slow.asked), after=0.3)
    assert quick.transfer.wake_at() - quick.now < 0.05
    assert slow.transfer.wake_at() - slow.now > 0.3


def test_a_chunk_overtaken_by_many_is_lost_before_its_deadline():
    exchange = Exchange()
    for _ in range(5):
        exchange.answer(len(exchange.asked))
    lost = exchange.asked.pop(0)
    exchange.answer(20, after=0.01)
    assert lost in exchange.asked


@pytest.mark.parametrize("shuffle", [reversed, sorted])
def test_the_order_of_chunks_does_not_matter(shuffle):
    exchange = Exchange()
    while exchange.transfer.outcome is None:
        exchange.now += 0.06
        asked, exchange.asked = exchange.asked, []
        for offset in shuffle(asked):
            exchange.hear(exchange.chunk(offset))
            exchange.hear(exchange.chunk(offset))
    assert exchange.transfer.data == LOG
    assert exchange.transfer.duplicates


def test_nothing_answers_and_the_transfer_is_empty():
    exchange = Exchange()
    assert exchange.wait(sum(PATIENCE) - 0.1) == [0] * (len(PATIENCE) - 1)
    assert exchange.transfer.outcome is None
    exchange.wait(0.2)
    assert exchange.transfer.outcome is TransferOutcome.EMPTY


def test_a_device_that_falls_silent_is_given_up():
    exchange = Exchange()
    exchange.answer()
    exchange.asked.clear()
    with pytest.raises(NoAnswer):
        exchange.wait(30)
    assert exchange.now < 15


def test_a_device_that_forgot_is_asked_from_the_beginning():
    exchange = Exchange()
    exchange.answer()
    exchange.asked.clear()
    assert 0 in exchange.wait(5)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\0\0\x10\0", b"\0\0\0\0x", b"\x10\0\x10\0x"])
def test_short_and_empty_chunks_are_counted_and_dropped(data):
    exchange = Exchange()
    assert exchange.hear(data) == []
    assert exchange.transfer.kind is None


def test_only_rubbish_is_an_error():
    exchange = Exchange()
    exchange.hear(b"\0")
    with pytest.raises(BadChunks):
        exchange.wait(10)


def test_a_chunk_past_the_total_is_dropped():
    exchange = Exchange()
    exchange.answer()
    exchange.hear(encode_chunk(Chunk(4000, 4000, b"x")))
    assert exchange.transfer.rejected == 1


def test_a_padded_last_chunk_is_cut():
    data = sample_log(100)
    exchange = Exchange(data)
    for offset in range(0, 112, 16):
        exchange.hear(encode_chunk(Chunk(offset, 100, (data + bytes(12))[offset : offset + 16])))
    assert exchange.transfer.data == data


def test_chunks_that_become_shorter_leave_no_holes():
    exchange = Exchange(payload=20)
    exchange.answer()
    exchange.payload = 7
    assert exchange.finish().data == LOG


def test_another_total_starts_over_with_one_request():
    exchange = Exchange()
    for _ in range(4):
        exchange.answer(len(exchange.asked))
    exchange.asked.clear()
    assert exchange.hear(exchange.chunk(160, total=200)) == [0]
    exchange.data = sample_log(200)
    exchange.answer()
    assert exchange.asked == [16, 32]
    assert exchange.finish().data == sample_log(200)


def test_a_late_chunk_of_the_old_buffer_does_not_set_the_total():
    exchange = Exchange()
    exchange.hear(exchange.chunk(1600))
    assert exchange.transfer.kind is None


def test_chunks_of_the_other_kind_start_over():
    exchange = Exchange()
    exchange.answer()
    assert exchange.hear(exchange.chunk(16), CaptureKind.CORE_DUMP) == [0]


def test_a_device_that_keeps_changing_is_given_up():
    exchange = Exchange()
    chunks = [exchange.chunk(0, total=total) for total in range(4000, 4100)]
    with pytest.raises(BadChunks):
        list(map(exchange.hear, chunks))


def test_a_dump_over_u16_is_fetched_as_far_as_offsets_go():
    dump = sample_core_dump(DEVICE, 70_000)
    exchange = Exchange(dump, CaptureKind.CORE_DUMP, payload=200)
    transfer = exchange.transfer
    while transfer.outcome is None:
        exchange.now += 0.06
        asked, exchange.asked = exchange.asked, []
        assert all(offset <= 0xFFFF for offset in asked)
        for offset in asked:
            exchange.hear(exchange.chunk(offset, total=70_000 - 65_536))
    assert transfer.outcome is TransferOutcome.TOO_LONG
    assert transfer.data == dump[:65_536]


def test_a_dump_whose_length_contradicts_its_total_is_held_to_the_total():
    exchange = Exchange(sample_core_dump(DEVICE, 70_000), CaptureKind.CORE_DUMP)
    exchange.hear(exchange.chunk(0, total=64))
    assert exchange.transfer.size == 64


# Resuming


def kept(data, at=0.0):
    return {KIND: Partial(len(data), data[:3000], at)}


def with_tick(data, tick):
    return data[:5] + tick.to_bytes(4, "little") + data[9:]


def test_a_kept_prefix_is_taken_over_after_its_proof():
    exchange = Exchange(partials=kept(LOG))
    transfer = exchange.finish()
    assert transfer.data == LOG
    assert transfer.resumed > 2900


def test_the_tick_of_the_header_may_have_moved_with_the_clock():
    exchange = Exchange(with_tick(LOG, 30_000), partials=kept(LOG))
    exchange.now = 30.0
    transfer = exchange.finish()
    assert transfer.resumed
    assert transfer.data == with_tick(LOG, 30_000)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(with_tick(LOG, 30_000_000), id="another boot"),
        pytest.param(LOG[:24] + bytes([LOG[24], *LOG[25:40]]) + b"!" + LOG[41:], id="frames"),
        pytest.param(LOG[:23] + bytes([LOG[23] ^ 1]) + LOG[24:], id="checksum"),
        pytest.param(sample_log(4001), id="length"),
        pytest.param(b"\3" + LOG[1:], id="version"),
    ],
)
def test_other_data_starts_over(other):
    transfer = Exchange(other, partials=kept(LOG)).finish()
    assert transfer.resumed == 0
    assert transfer.data == other


def test_a_tick_that_went_back_is_another_boot():
    transfer = Exchange(LOG, partials=kept(with_tick(LOG, 500))).finish()
    assert transfer.resumed == 0


def test_a_kept_dump_needs_an_equal_beginning():
    dump, other = sample_core_dump(DEVICE, 900), sample_core_dump(DEVICE, 900, seed=1)
    partials = {CaptureKind.CORE_DUMP: Partial(900, dump[:800], 0.0)}
    assert Exchange(dump, CaptureKind.CORE_DUMP, partials=partials).finish().resumed > 700
    assert Exchange(other, CaptureKind.CORE_DUMP, partials=partials).finish().data == other


def test_what_came_before_the_first_hole_is_kept():
    exchange = Exchange()
    for _ in range(4):
        exchange.answer(len(exchange.asked))
    exchange.asked.pop(0)
    exchange.answer(5)
    partial = exchange.transfer.partial()
    assert partial is not None
    assert partial.prefix == LOG[: 16 * 15]


# Silence before the erase command


def test_after_a_clean_transfer_the_link_is_quiet_at_once():
    exchange = Exchange()
    assert exchange.finish().quiet_at() <= exchange.now


def test_after_requests_were_repeated_it_takes_two_timeouts():
    exchange = Exchange()
    exchange.answer()
    exchange.asked.pop(0)
    transfer = exchange.finish()
    assert transfer.resent
    assert transfer.quiet_at() > exchange.now


# Hostile


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(CaptureKind), st.binary(max_size=30), st.floats(0, 1, width=16)),
        max_size=60,
    )
)
def test_any_bytes_at_any_time_raise_only_the_rooms_errors(notifications):
    transfer = Transfer()
    now = 0.0
    requests = list(transfer.start(now))
    try:
        for kind, data, pause in notifications:
            now += pause
            requests += transfer.on_chunk(kind, data, now)
            requests += transfer.on_timer(now)
    except AgentError:
        return
    assert all(0 <= offset <= 0xFFFF for offset in requests)
