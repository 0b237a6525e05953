"""What it costs to read what devices logged, measured as ``script/bench decode`` does."""

import asyncio
import multiprocessing
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import decode, upload
from bench.lateness import Lateness, waited_for_processor
from custom_components.ulogger.firmware.elf import LARGEST_IMAGE
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.model.capture import Capture, CaptureKind


def test_a_full_log_is_decoded_within_milliseconds() -> None:
    row = decode.measure_decode()
    assert (row["bytes"], row["frames"]) == (16_399, 735)
    assert row["decoded_ms"] < 10
    assert row["text_ms"] < 15


@pytest.mark.skipif(find_spec("pw_tokenizer") is None, reason="pigweed is not installed")
def test_the_same_messages_are_ours_sooner_than_the_peers() -> None:
    row = decode.measure_peer()
    assert row["messages"] == 600
    assert row["ratio"] > 1


def test_a_peer_that_is_missing_is_told_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    rows = list(decode.run(["peer", "decode"], 1, 1))
    assert [row["bench"] for row in rows] == ["decode"]
    assert "no case peer: Pigweed's detokenizer is not installed" in capsys.readouterr().err


async def test_every_search_is_timed_and_finds_what_there_is() -> None:
    rows = {row["query"]: row for row in await decode.measure_search(60)}
    assert all(row["captures"] == 60 for row in rows.values())
    # How long they take is the benchmark's to tell; this machine may be busy with other tests.
    assert all({"first_answer_ms", "within_limits"} <= row.keys() for row in rows.values())
    assert rows["level"]["hits"] == rows["text"]["hits"] == decode.PAGE
    assert 0 < rows["text"]["hits_in_first_answer"] <= decode.PAGE
    assert rows["rare level"]["hits"] == rows["rare text"]["hits"] == 1
    assert rows["text that is nowhere"]["hits"] == 0


def test_every_row_is_told_to_a_person() -> None:
    image = {"bytes": 1, "seconds": 2, "peak_mb": 3, "added_mb": 4, "kept_bytes": 5, "load_ms": 6}
    assert "LIMIT" not in decode.show({"bench": "image", **image, "within_limits": True})
    assert "LIMIT" in decode.show({"bench": "image", **image, "within_limits": False})
    peer = {"messages": 5, "ours_ms": 1, "pigweed_ms": 2, "ratio": 2}
    assert "2 times" in decode.show({"bench": "peer", **peer})
    assert "735 frames" in decode.show(decode.measure_decode())


@pytest.mark.parametrize("change", [decode._rarity, lambda data: decode._first_frames(data, 300)])
def test_logs_that_the_search_looks_through_are_whole(change: object) -> None:
    data, image = decode.fixture()
    changed = change(data)  # type: ignore[operator]
    assert read(Capture(CaptureKind.LOG, decode.DEVICE, changed, 1.0), image).damage is None


def test_an_image_is_imported_in_time_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        row = decode.measure_image(2_000_000)
    except decode.Unavailable as missing:
        pytest.skip(str(missing))
    assert row["bytes"] >= 2_000_000
    assert 0 < row["kept_bytes"] < row["bytes"]
    assert row["within_limits"] is True
    monkeypatch.setattr(decode, "MOST_MEMORY", 1.0)
    assert decode.measure_image(100_000)["within_limits"] is False


def test_an_upload_is_taken_as_the_form_does() -> None:
    try:
        row = decode.measure_upload(500_000)
    except decode.Unavailable as missing:
        pytest.skip(str(missing))
    assert 0 < row["kept_bytes"] < row["bytes"]
    assert (row["refused"], row["within_limits"]) == (None, True)
    assert row["functions"] >= 400
    assert 0 < row["added_mb"] < row["peak_mb"]
    assert "LIMIT" not in decode.show(row)


def test_an_upload_that_is_too_large_is_refused_before_it_costs_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.elf"
    with path.open("wb") as file:
        file.truncate(LARGEST_IMAGE + 1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        row = pool.apply(upload.upload_in_a_process, (str(path),))
    assert (row["refused"], row["kept_bytes"]) == ("image_too_large", 0)
    assert row["added_mb"] < 10
    assert "LIMIT" in decode.show({"bench": "upload", "bytes": 1, **row, "within_limits": False})


def test_the_image_that_is_imported_has_functions_and_lines(tmp_path: Path) -> None:
    try:
        path = decode.build_image(tmp_path, 500_000)
    except decode.Unavailable as missing:
        pytest.skip(str(missing))
    assert path.stat().st_size >= 500_000
    place = FirmwareImage.load(path.read_bytes()).place(0x0800_0100)
    assert place.function is not None
    assert place.function.startswith("u0_step")
    assert place.location is not None


async def test_a_loop_that_is_held_up_is_noticed_and_whose_doing_it_is() -> None:
    late = Lateness()
    watch = asyncio.create_task(late.watch())
    await asyncio.sleep(0.01)
    time.sleep(0.05)  # noqa: ASYNC251 - this holds the loop up
    await asyncio.sleep(0.01)
    watch.cancel()
    assert late.worst > 0.04
    assert late.ours is not None
    assert 0.04 < late.ours <= late.worst


def test_where_nothing_tells_of_processors_the_whole_delay_counts() -> None:
    assert waited_for_processor([threading.get_native_id()]) is not None
    assert waited_for_processor([0]) is None
