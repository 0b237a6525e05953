"""Long work in short steps, so that it can be stopped and a stranger's bytes can't hold it up.

A step is what lies between two ``yield``. It takes some milliseconds and a few megabytes; what
a limit on the whole is for, stands with the work.
"""

from array import array
from collections.abc import Generator, Iterator
from heapq import merge
from itertools import islice
from typing import Final

type Steps[T] = Generator[None, None, T]
"""Work that is done when it returns; each ``next`` is one step of it."""

OPERATIONS: Final = 20_000
"""Rows, entries or opcodes of one step."""


def finished[T](steps: Steps[T]) -> T:
    """Do all the work at once."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


def ordered(keys: array[int]) -> Steps[Iterator[int]]:
    """Sort numbers in steps; what is returned is merged while it is read."""
    parts: list[list[int]] = []
    source = iter(keys)
    while part := sorted(islice(source, OPERATIONS)):
        parts.append(part)
        yield
    return merge(*parts)
