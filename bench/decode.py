"""What it costs to read what devices logged: decoding, text, a firmware image, a search.

    script/bench decode              as lines for a person
    script/bench decode --json       one object a line
    script/bench decode --case search --captures 500

*decode*: a log of 16 KiB with 735 frames, as the firmware agent wrote it. *peer*: those of its
frames that have a text, beside Pigweed's Python detokenizer with the same format strings and
arguments; ours finds and dates the frames besides, the peer is handed each message by itself.
*image*: a firmware image of 10 MB with debug information, compiled here. *upload*: the largest one
that is taken, 64 MB, from the uploaded file to the disk. *search*: captures on
disk, by level and by text, with a probe that measures how long the event loop was held up, and
how much of that is not the machine's doing (`lateness`).
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from custom_components.ulogger.capture.frames import iter_raw_frames
from custom_components.ulogger.capture.log_buffer import LogHeader, xor_checksum
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.elf import LARGEST_IMAGE
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.reading import read
from custom_components.ulogger.insight.search import Query, Search, Source
from custom_components.ulogger.insight.summary import summarize
from custom_components.ulogger.insight.text import printable
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.model.level import Level

from .lateness import Lateness
from .memory import peak_memory
from .upload import upload_in_a_process

CASES: Final = ("decode", "peer", "image", "upload", "search")
ROUNDS: Final = 30
FIXTURE: Final = Path(__file__).parents[1] / "tests" / "fixtures" / "agent" / "v3-long"
DEVICE: Final = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")
NEWEST: Final = 1_795_225_292.0
EVERY: Final = 900.0
"""Seconds between two captures of the search."""
PAGE: Final = 100
ANSWER_AFTER: Final = 0.2
"""Seconds after which a search answers with what it has."""
UNDISTURBED: Final = 2.0
"""Seconds for which the event loop is watched before anything is searched."""
LATEST_ANSWER: Final = 0.3
LATEST_LOOP: Final = 0.02
"""Seconds by which a search may delay the event loop, besides what the machine does."""
IMAGE_BYTES: Final = 10_000_000
LONGEST_IMPORT: Final = 10.0
"""Seconds that an image of 10 MB may take."""
MOST_MEMORY: Final = 300.0
"""Megabytes that the process may have at its peak meanwhile."""
UPLOAD_BYTES: Final = LARGEST_IMAGE - 1_000_000
"""What is compiled is a little larger than it is to be."""
PEER_MISSING: Final = "Pigweed's detokenizer is not installed; script/setup does that"

type Row = dict[str, Any]


class Unavailable(Exception):
    """A case can't be measured on this machine; says what is missing."""


def fixture() -> tuple[bytes, FirmwareImage]:
    """Return the full log and its image."""
    image = FirmwareImage.load((FIXTURE / "firmware.elf").read_bytes())
    return (FIXTURE / "log.bin").read_bytes(), image


def best(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the seconds of the fastest round: what else runs on the machine only adds."""
    times = []
    for _ in range(rounds):
        gc.collect()
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def measure_decode() -> Row:
    """Decode a full log, without and with text."""
    data, image = fixture()
    capture = Capture(CaptureKind.LOG, DEVICE, data, NEWEST)
    frames = len(read(capture).frames)
    decoded = best(lambda: read(capture))
    as_text = best(lambda: [frame.message for frame in read(capture, image).frames])
    return {
        "bench": "decode",
        "bytes": len(data),
        "frames": frames,
        "decoded_ms": round(decoded * 1000, 2),
        "text_ms": round(as_text * 1000, 2),
        "frames_per_second": round(frames / decoded),
        "text_frames_per_second": round(frames / as_text),
    }


def with_text(data: bytes, image: FirmwareImage) -> bytes:
    """Return a log of only those frames whose format string is in the image."""
    reading = read(Capture(CaptureKind.LOG, DEVICE, data, NEWEST), image)
    raw = list(iter_raw_frames(data))
    kept = b"".join(
        len(raw[frame.number].payload).to_bytes(2, "little")
        + raw[frame.number].ticks.to_bytes(4, "little")
        + raw[frame.number].payload
        for frame in reading.frames
        if frame.text is not None
    )
    header = replace(LogHeader.parse(data), used_bytes=len(kept), checksum=xor_checksum(kept))
    return header.pack() + kept


def measure_peer() -> Row:
    """Decode the same messages as text, here and with Pigweed."""
    data, image = fixture()
    data = with_text(data, image)
    capture = Capture(CaptureKind.LOG, DEVICE, data, NEWEST)
    frames = read(capture, image).frames
    peer, messages = _peer([(frame.address, frame.arguments) for frame in frames], image)

    def theirs() -> list[str]:
        return [str(peer.detokenize(message)) for message in messages]

    def ours() -> list[str | None]:
        return [frame.text for frame in read(capture, image).frames]

    if [printable(text) for text in theirs()] != ours():
        raise RuntimeError("the two do not say the same")
    our_seconds, their_seconds = best(ours), best(theirs)
    return {
        "bench": "peer",
        "messages": len(messages),
        "ours_ms": round(our_seconds * 1000, 2),
        "pigweed_ms": round(their_seconds * 1000, 2),
        "ours_per_second": round(len(messages) / our_seconds),
        "pigweed_per_second": round(len(messages) / their_seconds),
        "ratio": round(their_seconds / our_seconds, 2),
    }


def _peer(said: list[tuple[int, Any]], image: FirmwareImage) -> tuple[Any, list[bytes]]:
    """Return Pigweed's detokenizer for these format strings, and the messages encoded for it."""
    if find_spec("pw_tokenizer") is None:
        raise Unavailable(PEER_MISSING)
    detokenize, encode, tokens = (
        import_module(f"pw_tokenizer.{name}") for name in ("detokenize", "encode", "tokens")
    )
    entries = [
        tokens.TokenizedStringEntry(address, image.format_string(address))
        for address in sorted({address for address, _ in said})
    ]
    messages = [
        encode.encode_token_and_args(address, *[argument.value for argument in arguments])
        for address, arguments in said
    ]
    return detokenize.Detokenizer(tokens.Database(entries)), messages


def measure_image(size: int) -> Row:
    """Import an image of that size in a process of its own, whose memory is measured."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as folder:
        path = build_image(Path(folder), size)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            result = pool.apply(import_in_a_process, (str(path),))
        within = result["seconds"] <= LONGEST_IMPORT and result["peak_mb"] <= MOST_MEMORY
        return {
            "bench": "image",
            "bytes": path.stat().st_size,
            **result,
            "limit_seconds": LONGEST_IMPORT,
            "limit_mb": MOST_MEMORY,
            "within_limits": within,
        }


def measure_upload(size: int) -> Row:
    """Take an image of that size as the form does, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="ulogger-bench-") as folder:
        path = build_image(Path(folder), size)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(upload_in_a_process, (str(path),))
        return {
            "bench": "upload",
            "bytes": path.stat().st_size,
            **result,
            "limit_mb": MOST_MEMORY,
            "within_limits": result["refused"] is None and result["peak_mb"] <= MOST_MEMORY,
        }


def build_image(folder: Path, size: int) -> Path:
    """Compile a unit of 400 functions, and link as many of it as make the size."""
    (folder / "unit.c").write_text(_unit())
    (folder / "image.ld").write_text(
        "ENTRY(u0_step0) SECTIONS { .text 0x08000000 : { *(.text*) *(.rodata*) } "
        ".ARM.exidx : { *(.ARM.exidx*) } .data 0x20000000 : { *(.data*) *(.bss*) } }"
    )
    flags = ("-mcpu=cortex-m4", "-mthumb", "-ffreestanding")
    _run(folder, "gcc", *flags, "-g", "-Os", "-c", "unit.c", "-o", "unit.o")
    image = folder / "image.elf"
    units: list[str] = []
    while not image.exists() or image.stat().st_size < size:
        share = image.stat().st_size // len(units) if units else size
        for number in range(len(units), len(units) + max(1, size // share - len(units))):
            units.append(f"unit{number}.o")
            _run(folder, "objcopy", f"--prefix-symbols=u{number}_", "unit.o", units[-1])
        ignored = ("-nostdlib", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-Timage.ld")
        _run(folder, "gcc", *flags, *ignored, *units, "-o", "image.elf")
    return image


def _unit() -> str:
    """Return the source of a unit: what debug information describes are types and inlined calls."""
    types = "\n".join(
        f"struct part{n} {{ int state; int field[4]; const char *name; struct part{n} *next; }};"
        for n in range(200)
    )
    functions = "\n".join(
        f"int step{n}(struct part{n % 200} *part, int value, int count) {{\n"
        "  int total = 0;\n  for (int i = 0; i < count; i++) {\n"
        f"    int kept = clamp(value + i, -{n}, {n} * 7);\n"
        "    total += kept * part->field[i & 3];\n"
        f'    if (total > {1000 + n}) sink("step {n} of %s gave %d", part->name, total);\n  }}\n'
        f"  part->state = clamp(total, 0, {n + 9});\n"
        "  return part->next ? part->next->state + total : total;\n}"
        for n in range(400)
    )
    clamp = (
        "static inline int clamp(int v, int lo, int hi)\n{ return v < lo ? lo : v > hi ? hi : v; }"
    )
    return f"{types}\nextern int sink(const char *, ...);\n{clamp}\n{functions}\n"


def _run(folder: Path, tool: str, *arguments: str) -> None:
    try:
        subprocess.run([f"arm-none-eabi-{tool}", *arguments], cwd=folder, check=True)  # noqa: S603
    except FileNotFoundError as error:
        raise Unavailable(f"arm-none-eabi-{tool} is not installed") from error


def import_in_a_process(path: str) -> Row:
    """Import an image; seconds, and megabytes at the peak: of the process, and of that added."""
    before = peak_memory()
    data = Path(path).read_bytes()
    began = time.perf_counter()
    kept = import_image(data)
    seconds = time.perf_counter() - began
    loaded = time.perf_counter()
    CompactImage.load(kept)
    loaded = time.perf_counter() - loaded
    return {
        "seconds": round(seconds, 2),
        "load_ms": round(loaded * 1000, 1),
        "peak_mb": round(peak_memory(), 1),
        "added_mb": round(peak_memory() - before, 1),
        "kept_bytes": len(kept),
    }


@dataclass
class Shelf:
    """Captures on disk, the newest first, with their summaries."""

    folder: Path
    sources: list[Source]

    @classmethod
    def fill(cls, folder: Path, captures: int) -> Shelf:
        """Write captures: every second a full log, the others shorter; the oldest has a rarity."""
        data, image = fixture()
        short = _first_frames(data, 300)
        rare = data.replace(b"sensors.json", b"RARITY.json_")
        sources = []
        for number, content in enumerate(islice(cycle((data, short)), captures)):
            path = folder / f"{number}.bin"
            arrived = NEWEST - number * EVERY
            kept = _rarity(rare) if number >= captures - 1 else content
            path.write_bytes(kept)
            load = partial(_load, path, arrived)
            summary = summarize(read(Capture(CaptureKind.LOG, DEVICE, kept, arrived), image))
            sources.append(Source(number, arrived, load, image, summary))
        return cls(folder, sources)


def _load(path: Path, arrived: float) -> Capture:
    return Capture(CaptureKind.LOG, DEVICE, path.read_bytes(), arrived)


def _first_frames(data: bytes, count: int) -> bytes:
    """Return a log of only the first frames."""
    header = LogHeader.parse(data)
    end = next(islice(iter_raw_frames(data), count, None)).offset
    frames = data[header.size : end]
    return replace(header, used_bytes=len(frames), checksum=xor_checksum(frames)).pack() + frames


def _rarity(data: bytes) -> bytes:
    """Return a log whose first frame is CRITICAL, and says what no other log says."""
    header = LogHeader.parse(data)
    raw = next(frame for frame in iter_raw_frames(data) if b"\x80" in frame.payload[6:8])
    text = b"RARITY"
    payload = bytes((Level.CRITICAL << 5, *raw.payload[1:5], 1, 0x80)) + b"".join(
        (b"\1\0", (len(text) + 2).to_bytes(2, "little"), len(text).to_bytes(2, "little"), text)
    )
    frame = len(payload).to_bytes(2, "little") + bytes(4) + payload
    frames = frame + data[header.size : header.total]
    return replace(header, used_bytes=len(frames), checksum=xor_checksum(frames)).pack() + frames


def queries() -> Iterator[tuple[str, Query]]:
    """Yield what is searched for, with a name."""
    yield "level", Query(level=Level.ERROR)
    yield "text", Query(contains="link down, code 1")
    yield "level and text", Query(level=Level.WARNING, contains="missing")
    yield "rare level", Query(level=Level.CRITICAL)
    yield "rare text", Query(contains="rarity")
    yield "text that is nowhere", Query(contains="no such text")


async def measure_search(captures: int) -> list[Row]:
    """Search captures in a thread while a probe watches the event loop."""
    with (
        tempfile.TemporaryDirectory(prefix="ulogger-bench-") as folder,
        ThreadPoolExecutor(1) as executor,
    ):
        loop = asyncio.get_running_loop()
        thread = await loop.run_in_executor(executor, threading.get_native_id)
        shelf = await loop.run_in_executor(executor, Shelf.fill, Path(folder), captures)
        frames = sum(source.summary.frames for source in shelf.sources if source.summary)
        gc.collect()
        undisturbed = Lateness(thread)
        with suppress(TimeoutError):
            await asyncio.wait_for(undisturbed.watch(), UNDISTURBED)
        rows = []
        for name, query in queries():
            late = Lateness(thread)
            probe = asyncio.create_task(late.watch())
            search = Search(shelf.sources, query)
            began = time.perf_counter()
            hits = await loop.run_in_executor(executor, _answer, search, PAGE)
            first, at_first = time.perf_counter() - began, len(hits)
            while not search.done and len(hits) < PAGE:
                hits += await loop.run_in_executor(executor, _answer, search, PAGE - len(hits))
            page = time.perf_counter() - began
            probe.cancel()
            rows.append(
                {
                    "bench": "search",
                    "query": name,
                    "captures": captures,
                    "frames": frames,
                    "first_answer_ms": _milliseconds(first),
                    "hits_in_first_answer": at_first,
                    "page_ms": _milliseconds(page),
                    "hits": len(hits),
                    "loop_late_ms": _milliseconds(late.worst),
                    "loop_late_of_ours_ms": _milliseconds(late.ours),
                    "loop_late_without_ms": _milliseconds(undisturbed.worst),
                    "limit_first_answer_ms": _milliseconds(LATEST_ANSWER),
                    "limit_loop_late_ms": _milliseconds(LATEST_LOOP),
                    "within_limits": first < LATEST_ANSWER
                    and (late.worst if late.ours is None else late.ours) < LATEST_LOOP,
                }
            )
    return rows


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _answer(search: Search, most: int) -> list[Any]:
    """Return a page, or what there is of it when it is time to answer."""
    until = time.perf_counter() + ANSWER_AFTER
    return search.more(most, leave=lambda: time.perf_counter() > until)


def run(
    cases: list[str], captures: int, image_bytes: int, upload_bytes: int = UPLOAD_BYTES
) -> Iterator[Row]:
    """Measure, one case after the other; a case that can't be is told on standard error."""
    measures: dict[str, Callable[[], list[Row]]] = {
        "decode": lambda: [measure_decode()],
        "peer": lambda: [measure_peer()],
        "image": lambda: [measure_image(image_bytes)],
        "upload": lambda: [measure_upload(upload_bytes)],
        "search": lambda: asyncio.run(measure_search(captures)),
    }
    for case in cases:
        try:
            yield from measures[case]()
        except Unavailable as error:
            print(f"script/bench decode: no case {case}: {error}", file=sys.stderr)


def show(row: Row) -> str:
    """Tell a row to a person."""
    if row["bench"] == "decode":
        return (
            f"a log of {row['bytes']} bytes, {row['frames']} frames: decoded in "
            f"{row['decoded_ms']} ms, as text in {row['text_ms']} ms "
            f"({row['frames_per_second']} and {row['text_frames_per_second']} frames/s)"
        )
    if row["bench"] == "peer":
        return (
            f"{row['messages']} messages as text: {row['ours_ms']} ms, "
            f"Pigweed {row['pigweed_ms']} ms, {row['ratio']} times as long"
        )
    if row["bench"] == "image":
        return (
            f"an image of {row['bytes']} bytes: {row['seconds']} s, {row['peak_mb']} MB at the "
            f"peak, {row['added_mb']} MB of them for it; {row['kept_bytes']} bytes are kept, "
            f"which are read in {row['load_ms']} ms"
            f"{'' if row['within_limits'] else ': OVER THE LIMIT'}"
        )
    if row["bench"] == "upload":
        return (
            f"an upload of {row['bytes']} bytes: {row['seconds']} s, {row['peak_mb']} MB at the "
            f"peak, {row['added_mb']} MB of them for it; {row['kept_bytes']} bytes are kept"
            f"{'' if row['within_limits'] else ': OVER THE LIMIT'}"
        )
    return (
        f"search for a {row['query']} in {row['captures']} captures, {row['frames']} frames: "
        f"first answer after {row['first_answer_ms']} ms ({row['hits_in_first_answer']} frames), "
        f"page or end after {row['page_ms']} ms ({row['hits']} frames), "
        f"event loop late by {row['loop_late_ms']} ms at most, "
        f"{row['loop_late_of_ours_ms']} ms of them by the search "
        f"(without one {row['loop_late_without_ms']} ms)"
        f"{'' if row['within_limits'] else ': OVER THE LIMIT'}"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="script/bench decode", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--case", choices=CASES, action="append", help="only this one (all)")
    parser.add_argument("--captures", type=int, default=2_000, help="in the search (2000)")
    parser.add_argument("--image-bytes", type=int, default=IMAGE_BYTES, help="size (10000000)")
    options = parser.parse_args()
    for row in run(options.case or list(CASES), options.captures, options.image_bytes):
        print(json.dumps(row) if options.json else show(row), flush=True)


if __name__ == "__main__":
    main()
