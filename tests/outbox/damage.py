"""A small outbox, damaged in one place at a time, opened, and held against what was in it.

``script/bitflips`` runs it: every bit of what the file uses (``--all``), or seeded samples; the
last line is the account in JSON.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from custom_components.ulogger.model.capture import Capture, CaptureFault, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity
from custom_components.ulogger.outbox import database
from custom_components.ulogger.outbox.model import DAMAGED, REFUSED, CaptureState, Item

from ..support.outbox_world import CLOCK, LAMP, NOW, log, open_outbox, queue

PAGE: Final = 4096
SECTOR: Final = 512
SECONDS: Final = 5.0
_CELL_HEAD: Final = 20
_SLICE: Final = 64
"""Bytes by which a body is found: more than the header of a log, which stands elsewhere, too."""
_SHARED: Final = Path("/dev/shm")

type Damage = tuple[str, int, int]
"""A kind of damage (a bit flipped, a sector garbled, a page gone), the offset, a bit or a seed."""


async def _run(work: Callable[..., Any], *values: Any) -> Any:
    return work(*values)


@dataclass(frozen=True)
class Small:
    """The undamaged file, the captures that no cloud has, and where the bytes of each stand."""

    content: bytes
    undelivered: dict[int, Capture]
    others: frozenset[bytes]
    extents: dict[int, list[range]]

    def number_of(self, capture: Capture) -> int | None:
        """Recognise a capture, also one of which a part is not what it was."""
        for number, original in self.undelivered.items():
            if capture.data == original.data:
                return number
        for number, original in self.undelivered.items():
            if len(capture.data) > 64 and _differences(capture.data, original.data) < 16:
                return number
        for number, original in self.undelivered.items():
            if (capture.captured_at, capture.kind) == (original.captured_at, original.kind):
                return number
        return None

    def touched(self, start: int, stop: int) -> set[int]:
        """Name the captures whose own bytes lie in a part of the file."""
        return {
            number
            for number, parts in self.extents.items()
            if any(part.start < stop and start < part.stop for part in parts)
        }


def _differences(left: bytes, right: bytes) -> int:
    return sum(a != b for a, b in zip(left, right, strict=False)) + abs(len(left) - len(right))


@dataclass
class Verdict:
    """What became of one damage; ``faults`` breaks a promise."""

    faults: list[str] = field(default_factory=list)
    repaired: bool = False
    lost: int = 0
    untold: bool = False
    resurrected: int = 0
    seconds: float = 0.0


def _frames(noise: random.Random, size: int) -> bytes:
    content = noise.randbytes(size)
    return log(len(content).to_bytes(2, "little") + bytes(4) + content)


def _offered(noise: random.Random) -> Iterator[Capture]:
    for number in range(12):
        device: DeviceIdentity = CLOCK if number % 3 else LAMP
        yield Capture(CaptureKind.LOG, device, _frames(noise, 90 + 7 * number), NOW + number)
    yield Capture(CaptureKind.CORE_DUMP, CLOCK, noise.randbytes(9000), NOW + 20)
    yield Capture(CaptureKind.LOG, LAMP, _frames(noise, 5000), NOW + 21)
    yield Capture(CaptureKind.LOG, LAMP, noise.randbytes(80), NOW + 22, CaptureFault.CHECKSUM)


async def build(path: Path) -> Small:
    """Write the outbox: delivered, waiting, quarantined and discarded captures of two devices."""
    noise = random.Random(9)
    outbox = await open_outbox(path, _run, now=lambda: NOW)
    every: dict[int, Capture] = {}
    for capture in _offered(noise):
        added = await outbox.add(capture)
        every[added.capture_id or 0] = capture
    ids = list(every)
    await queue(outbox).delivered(ids[:3])
    await queue(outbox).quarantine(ids[4], REFUSED)
    for gone in (ids[2], ids[6]):
        await outbox.discard(gone)
    await outbox.close()
    rest = {number: every[number] for number in (*ids[3:6], *ids[7:])}
    content = await asyncio.to_thread(path.read_bytes)
    others = frozenset(every[number].data for number in every.keys() - rest.keys())
    extents = {number: list(_extents(content, capture.data)) for number, capture in rest.items()}
    return Small(content, rest, others, extents)


def _extents(content: bytes, data: bytes) -> Iterator[range]:
    """Find a capture's bytes in the file, the head of its row with the first of them."""
    position, expected = 0, -1
    while position < len(data):
        found = content.find(data[position : position + _SLICE])
        length = min(_SLICE, len(data) - position)
        while found < 0 or (found % PAGE) + length > PAGE:
            length -= 1
            found = content.find(data[position : position + length])
        start = found
        if position == 0:
            digest_and_texts = content.rfind(b"log" if data[0] == 4 else b"core", 0, found)
            start = max(content.rfind(b"log", 0, found), content.rfind(b"core_dump", 0, found))
            start = min(start, digest_and_texts) if digest_and_texts > found - 200 else start
            start -= _CELL_HEAD
        elif found != expected:
            start = found - 4
        yield range(start, found + length)
        position += length
        expected = found + length


def damaged(small: Small, damage: Damage) -> tuple[bytes, range]:
    """Apply one damage; tells also which bytes it changed."""
    kind, offset, variant = damage
    content = bytearray(small.content)
    if kind == "bit":
        content[offset] ^= 1 << variant
        return bytes(content), range(offset, offset + 1)
    length = PAGE if kind == "page" else SECTOR
    junk = (bytes(length), b"\xff" * length, random.Random(variant).randbytes(length))
    content[offset : offset + length] = junk[variant % 3]
    return bytes(content), range(offset, offset + length)


def _write(small: Small, damage: Damage, path: Path) -> range:
    for each in path.parent.iterdir():
        each.unlink()
    content, changed = damaged(small, damage)
    path.write_bytes(content)
    return changed


async def judge(small: Small, damage: Damage, directory: Path) -> Verdict:
    """Open the damaged file as the integration does, and look what is delivered of it."""
    path = directory / "account.db"
    changed = _write(small, damage, path)
    verdict = Verdict()
    begun = time.perf_counter()
    try:
        await _look(small, path, changed, verdict)
    except Exception as error:  # noqa: BLE001
        verdict.faults.append(f"failed_to_open: {type(error).__name__}: {error}")
    verdict.seconds = time.perf_counter() - begun
    if verdict.seconds > SECONDS:
        verdict.faults.append("slow")
    return verdict


async def _look(small: Small, path: Path, changed: range, verdict: Verdict) -> None:
    outbox = await open_outbox(path, _run, now=lambda: NOW)
    try:
        try:
            items = await queue(outbox).batch(100, max_bytes=1 << 30)
            rows = await outbox.listing(states=[CaptureState.QUARANTINED])
        except Exception:
            if outbox.recovered is not None:
                raise
            await outbox.close()
            outbox = await open_outbox(path, _run, now=lambda: NOW)
            items = await queue(outbox).batch(100, max_bytes=1 << 30)
            rows = await outbox.listing(states=[CaptureState.QUARANTINED])
        kept = [(row.capture_id, await outbox.read(row.capture_id), row.reason) for row in rows]
        recovered = outbox.recovered
    finally:
        database.abandon(outbox._database._connection)
    _compare(small, items, kept, verdict)
    ids = {small.number_of(item.capture) for item in items}
    ids |= {small.number_of(capture) for _, capture, _ in kept}
    ids |= {number for number, _, reason in kept if reason == DAMAGED}
    missing = small.undelivered.keys() - ids
    touched = small.touched(changed.start, changed.stop)
    if missing - touched:
        verdict.faults.append(f"readable, but lost: {sorted(missing - touched)}")
    distrusted = {small.number_of(capture) for _, capture, reason in kept if reason == DAMAGED}
    if beyond := (distrusted & small.undelivered.keys()) - touched:
        verdict.faults.append(f"readable, but distrusted: {sorted(beyond)}")
    verdict.repaired = recovered is not None
    verdict.lost = len(missing)
    told = 0 if recovered is None else recovered.lost
    if told is None:
        verdict.untold = True
    elif told != len(missing):
        verdict.faults.append(f"says lost={told}, lost={len(missing)}")


def _compare(
    small: Small, items: list[Item], kept: list[tuple[int, Capture, str | None]], verdict: Verdict
) -> None:
    """Note what was delivered, or would be if it were tried again, and should not be."""
    there = Counter(item.capture.data for item in items)
    for data, times in there.items():
        if data in small.others:
            verdict.resurrected += 1
        elif data not in {capture.data for capture in small.undelivered.values()}:
            verdict.faults.append("delivered what no device sent")
        elif times > 1:
            verdict.faults.append("delivered twice")
    if there.keys() & {capture.data for _, capture, _ in kept}:
        verdict.faults.append("delivered and quarantined")


def used(content: bytes) -> list[int]:
    """Name the offsets of the bytes that mean something: all but long runs of zeros."""
    offsets: list[int] = []
    for start in range(0, len(content), 16):
        block = content[start : start + 16]
        if any(block):
            offsets += range(start, start + 16)
    return offsets


def bits(offsets: Iterable[int]) -> list[Damage]:
    """Every bit of these bytes."""
    return [("bit", offset, bit) for offset in offsets for bit in range(8)]


def samples(small: Small, seed: int, flips: int) -> list[Damage]:
    """Take some bits by chance from each page's used bytes; they are the same for a seed."""
    chance = random.Random(seed)
    every = bits(used(small.content))
    return chance.sample(every, min(flips, len(every)))


def areas(small: Small) -> list[Damage]:
    """Every sector and every page, each with one kind of junk."""
    size = len(small.content)
    sectors: list[Damage] = [("sector", at, at // SECTOR) for at in range(0, size, SECTOR)]
    return sectors + [("page", at, variant) for at in range(0, size, PAGE) for variant in range(3)]


async def account(small: Small, damages: Iterable[Damage]) -> dict[str, Any]:
    """Judge them all; what breaks a promise is named by its damage."""
    faults: dict[str, str] = {}
    sums: Counter[str] = Counter()
    slowest = 0.0
    with TemporaryDirectory(dir=_SHARED if _SHARED.is_dir() else None) as directory:
        for damage in damages:
            verdict = await judge(small, damage, Path(directory))
            sums["damages"] += 1
            sums["repaired"] += verdict.repaired
            sums["with_losses"] += bool(verdict.lost)
            sums["untold"] += verdict.untold
            sums["resurrected"] += bool(verdict.resurrected)
            slowest = max(slowest, verdict.seconds)
            for fault in verdict.faults:
                sums[fault.split(":")[0].split("=")[0]] += 1
                faults[" ".join(map(str, damage))] = fault
    return {**sums, "slowest_s": round(slowest, 3), "faults": faults}


def _main() -> int:
    parser = argparse.ArgumentParser(description="Flip bits of a small outbox and open it.")
    parser.add_argument("--all", action="store_true", help="every bit that the file uses")
    parser.add_argument("--flips", type=int, default=2000, help="how many bits, by chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="1/1", help="such as 2/8: the second eighth of them")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        small = asyncio.run(build(Path(directory) / "account.db"))
    every = bits(used(small.content)) if arguments.all else []
    every = every or samples(small, arguments.seed, arguments.flips)
    part, parts = map(int, arguments.part.split("/"))
    told = asyncio.run(account(small, [*areas(small), *every][part - 1 :: parts]))
    for damage, fault in told.pop("faults").items():
        print(f"{damage}: {fault}")
    print(json.dumps(told))
    promises = {"damages", "repaired", "with_losses", "untold", "resurrected", "slowest_s"}
    return int(bool(told.keys() - promises))


if __name__ == "__main__":
    sys.exit(_main())
