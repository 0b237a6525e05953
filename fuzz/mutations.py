"""A mutational driver for where atheris can't be had: no coverage, but fast and repeatable."""

import random
from collections.abc import Iterator
from typing import Final

_NUMBERS: Final = (0, 1, 2, 4, 8, 16, 64, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 31, -1)
_MOST_AT_ONCE: Final = 6
_KEPT: Final = 256


def mutated(seeds: list[bytes], longest: int, seed: int) -> Iterator[bytes]:
    """Yield inputs without end: the seeds, then what became of them and of one another."""
    source = random.Random(seed)  # noqa: S311
    pool = [one[:longest] for one in seeds] or [b""]
    yield from pool
    pool.append(b"")
    while True:
        data = bytearray(source.choice(pool))
        for _ in range(source.randint(1, _MOST_AT_ONCE)):
            source.choice(_MUTATIONS)(data, source, pool)
        result = bytes(data[:longest])
        if source.random() < 0.001:
            if len(pool) < _KEPT:
                pool.append(result)
            else:
                pool[source.randrange(len(seeds), _KEPT)] = result
        yield result


def _flip(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    if data:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def _byte(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    if data:
        data[source.randrange(len(data))] = source.randrange(256)


def _number(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    size = source.choice((2, 4, 8))
    if len(data) >= size:
        at = source.randrange(len(data) - size + 1)
        value = source.choice((*_NUMBERS, len(data))) & ((1 << 8 * size) - 1)
        data[at : at + size] = value.to_bytes(size, "little")


def _cut(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    if data:
        at = source.randrange(len(data))
        del data[at : at + source.randint(1, 16)]


def _truncate(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    if data and source.random() < 0.3:
        del data[source.randrange(len(data)) :]


def _insert(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    at = source.randint(0, len(data))
    data[at:at] = source.randbytes(source.randint(1, 16))


def _repeat(data: bytearray, source: random.Random, _: list[bytes]) -> None:
    if data:
        at = source.randrange(len(data))
        data[at:at] = data[at : at + source.randint(1, 64)] * source.randint(1, 4)


def _splice(data: bytearray, source: random.Random, pool: list[bytes]) -> None:
    other = source.choice(pool)
    if other:
        start = source.randrange(len(other))
        at = source.randint(0, len(data))
        data[at : at + source.randint(0, 64)] = other[start : start + source.randint(1, 64)]


_MUTATIONS = (_flip, _byte, _number, _cut, _truncate, _insert, _repeat, _splice)
