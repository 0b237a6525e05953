"""Looking through what devices logged."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.firmware.format_strings import may_contain, render
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.reading import LogFrame, read
from custom_components.ulogger.insight.search import Query, Search, Source, search
from custom_components.ulogger.insight.summary import summarize
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from ..firmware.test_format_strings import conversions
from ..support import encoder
from ..support import made_captures as made
from ..support.fixtures import real_core_dumps, real_log

DEVICE = DeviceIdentity(42, "S1")
NOW = 1_795_225_293.0
REAL = real_log("v4-crash")
IMAGE = FirmwareImage.load(REAL.image)


def source(
    number: int,
    data: bytes,
    image: FirmwareImage | None = None,
    kind: CaptureKind = CaptureKind.LOG,
    *,
    arrived: float = NOW,
    summed_up: bool = True,
) -> Source:
    capture = Capture(kind, DEVICE, data, arrived)
    summary = summarize(read(capture, image)) if summed_up else None
    return Source(number, arrived, lambda: capture, image, summary)


def found(query: Query, *sources: Source) -> list[tuple[int, int]]:
    return [(hit.capture_id, hit.frame.number) for hit in search(sources, query).hits]


def expected(query: Query, each: Source) -> list[int]:
    """The slow way: read everything, look at every frame."""
    capture = each.load()
    assert capture is not None
    modules = each.image.modules if each.image else {}

    def wanted(frame: LogFrame) -> bool:
        at = capture.captured_at if frame.at is None else frame.at
        named = modules.get(frame.module, "").casefold() == str(query.module).casefold()
        level = query.level
        severe = level is not None and level <= frame.level <= Level.CRITICAL
        return (
            (query.since is None or at >= query.since)
            and (query.until is None or at < query.until)
            and (level is None or severe or (level > Level.CRITICAL and frame.level is level))
            and (query.module is None or str(frame.module) == str(query.module) or named)
            and (query.contains or "").casefold() in frame.message.casefold()
        )

    frames = read(capture, each.image).frames
    return [frame.number for frame in reversed(frames) if wanted(frame)]


REAL_QUERIES = [
    Query(),
    Query(level=Level.ERROR),
    Query(level=Level.CRITICAL),
    Query(level=Level.METRIC),
    Query(level=Level.RESERVED_7),
    Query(module=4),
    Query(module="4"),
    Query(module="main"),
    Query(module="nothing"),
    Query(module=99),
    Query(module=-1),
    Query(contains="BROWN-OUT"),
    Query(contains="2711 mv"),
    Query(contains="config net.cfg missing"),
    Query(contains="23.9 c at"),
    Query(contains="battery_mv = 3012"),
    Query(contains="heartbeat"),
    Query(contains="not there"),
    Query(since=NOW - 2),
    Query(since=NOW - 2, until=NOW - 1.5),
    Query(until=NOW - 10),
    Query(since=NOW - 1.5, level=Level.WARNING, contains="link"),
]


@pytest.mark.parametrize("query", REAL_QUERIES, ids=str)
@pytest.mark.parametrize("image", [IMAGE, None], ids=["image", "no image"])
@pytest.mark.parametrize("summed_up", [True, False])
def test_a_search_finds_what_a_look_at_every_frame_finds(
    query: Query, image: FirmwareImage | None, summed_up: bool
) -> None:
    each = source(7, REAL.data, image, summed_up=summed_up)
    wanted = [(7, number) for number in expected(query, each)]
    assert found(replace(query, limit=1000), each) == wanted


@given(
    encoder.logs,
    st.none() | st.sampled_from(list(Level)),
    st.none() | st.integers(0, 31),
    st.none() | st.text("0x123 ab'", min_size=1, max_size=3),
    st.none() | st.floats(NOW - 1e6, NOW + 10),
)
def test_any_search_in_any_log_finds_what_a_look_at_every_frame_finds(
    log: encoder.Log, level: Level | None, module: int | None, text: str | None, since: float | None
) -> None:
    query = Query(since, None, level, module, text)
    each = source(1, log.encoded())
    assert [number for _, number in found(query, each)] == expected(query, each)


@given(st.lists(conversions(), max_size=4), st.text("ab %d", max_size=6), st.data())
def test_a_text_that_is_there_is_never_sieved_out(
    several: list[tuple[str, object, object]], between: str, data: st.DataObject
) -> None:
    literal = between.replace("%", "%%")
    text = literal + "".join(conversion + literal for conversion, _, _ in several)
    given_arguments = several[: data.draw(st.integers(0, len(several)))]
    shown = render(text, [argument for _, argument, _ in given_arguments]).casefold()  # type: ignore[misc]
    start = data.draw(st.integers(0, len(shown)))
    part = shown[start : data.draw(st.integers(start, len(shown)))]
    assert may_contain(text, part)


def test_a_format_string_alone_can_rule_a_text_out() -> None:
    assert not may_contain("temp %d.%d C at %u\n", "brown-out")
    assert may_contain("brown-out imminent: %d mV", "brown-out")
    assert may_contain("brown-out imminent: %d mV", "imminent: 2711 mv")
    assert may_contain("link %s", "brown-out")


def test_what_stands_on_both_sides_of_a_number_that_is_nothing_is_not_ruled_out() -> None:
    assert may_contain("foo%.0dbar", "foobar")
    assert not may_contain("foo %u bar", "sum")


def test_a_string_where_a_wrong_image_has_a_number_is_found() -> None:
    image = FirmwareImage.load(made.elf([(".rodata", 1, 2, 0x400, b"speed %u\0")]))
    body = made.payload((0x80, b""), strings=(b"valve",))
    assert found(Query(contains="valve"), source(1, made.log((1, body)), image)) == [(1, 0)]


def test_the_newest_come_first() -> None:
    sources = [source(2, REAL.data, IMAGE), source(1, REAL.data, IMAGE)]
    hits = found(Query(level=Level.CRITICAL), *sources)
    assert hits == sorted(hits, reverse=True)
    assert {capture for capture, _ in hits} == {1, 2}


def test_pages_follow_one_another_until_there_are_no_more() -> None:
    sources = [source(number, REAL.data, IMAGE) for number in (3, 2, 1)]
    everything = found(Query(limit=1000), *sources)
    assert len(everything) == 306
    pages = [search(sources, Query(limit=100, page=page)) for page in (1, 2, 3, 4, 5)]
    assert [page.more for page in pages] == [True, True, True, False, False]
    together = [(hit.capture_id, hit.frame.number) for page in pages for hit in page.hits]
    assert together == everything


@pytest.mark.parametrize(("limit", "page"), [(0, 1), (-5, 0), (10**9, -3)])
def test_a_limit_or_page_without_sense_gives_the_first_page(limit: int, page: int) -> None:
    hits = found(Query(limit=limit, page=page), source(1, REAL.data))
    assert len(hits) == max(1, min(limit, 102))


def test_captures_that_can_not_hold_a_match_are_not_opened() -> None:
    opened = []

    def load() -> None:
        opened.append(1)

    summed_up = source(1, REAL.data).summary
    closed = Source(1, NOW, load, None, summed_up)  # type: ignore[arg-type]
    for query in (
        Query(level=Level.RESERVED_7),
        Query(module=17),
        Query(module="MAIN"),
        Query(since=NOW + 1),
        Query(until=NOW - 100),
    ):
        assert not found(query, closed)
    assert not opened
    assert not found(Query(), closed)
    assert opened


def test_a_search_gives_what_it_has_when_it_is_left_and_goes_on_later() -> None:
    sources = [source(number, REAL.data, IMAGE) for number in (3, 2, 1)]
    under_way = Search(sources, Query(level=Level.CRITICAL))
    first = under_way.more(1000, leave=lambda: True)
    assert {hit.capture_id for hit in first} == {3}
    assert not under_way.done
    rest = under_way.more(1000)
    assert {hit.capture_id for hit in rest} == {2, 1}
    assert under_way.done
    assert not under_way.more(10)


def test_a_metric_is_found_by_what_is_shown_of_it_whatever_the_image_has_there() -> None:
    body = made.payload((0x80, b""), (0x11, b"\5"), strings=(b"speed",), level=5, address=1052)
    each = source(1, made.log((1, body)), IMAGE)
    assert found(Query(contains="speed = 5"), each) == [(1, 0)]
    assert not found(Query(contains="system"), each)


def test_a_heartbeat_is_found_by_its_name_whatever_its_format_string_says() -> None:
    image = FirmwareImage.load(made.elf([(".rodata", 1, 2, 0x400, b"alive\0")]))
    each = source(1, made.log((1, made.payload(level=5))), image)
    assert found(Query(contains="heartbeat"), each) == [(1, 0)]


def test_what_is_gone_damaged_or_a_core_dump_is_passed_over() -> None:
    dump = real_core_dumps()[0].data
    cut = REAL.data[:1000]
    sources = [
        Source(5, NOW, lambda: None),
        source(4, dump, kind=CaptureKind.CORE_DUMP, summed_up=False),
        source(3, b"", summed_up=False),
        source(2, b"\x04garbage", summed_up=False),
        source(1, cut),
    ]
    hits = found(Query(), *sources)
    assert {capture for capture, _ in hits} == {1}
    assert len(hits) == len(read(Capture(CaptureKind.LOG, DEVICE, cut, NOW)).frames)


def test_frames_that_can_not_be_dated_count_as_logged_at_arrival() -> None:
    each = source(1, made.log((1, made.payload()), version=2), arrived=NOW)
    assert found(Query(since=NOW, until=NOW + 1), each) == [(1, 0)]
    assert not found(Query(until=NOW), each)


def test_a_frame_that_can_not_be_read_is_found_where_a_reading_has_it() -> None:
    cut = made.payload((0x11, b"\1"), level=0)[:-1]
    each = source(1, made.log((1, b""), (1, b"\xff\xff"), (1, cut)))
    with_text = replace(each, image=IMAGE)
    assert found(Query(contains="unreadable"), with_text) == [(1, 2), (1, 1), (1, 0)]
    assert found(Query(level=Level.DEBUG, module=0), each) == [(1, 2), (1, 1), (1, 0)]
    assert found(Query(contains="unreadable"), each) == [(1, 2), (1, 1), (1, 0)]


def test_an_image_that_is_known_only_from_the_capture_names_modules_and_texts() -> None:
    asked: list[DeviceIdentity] = []

    def image_of(device: DeviceIdentity) -> FirmwareImage:
        asked.append(device)
        return IMAGE

    known = source(1, REAL.data, IMAGE)
    late = replace(known, image=None, image_of=image_of)
    for query in REAL_QUERIES:
        assert found(query, late) == found(query, known)
    assert set(asked) == {DEVICE}
    assert found(Query(module="main", contains="initialized"), late) != []
    asked.clear()
    assert found(Query(level=Level.RESERVED_7), late) == []
    assert asked == []
