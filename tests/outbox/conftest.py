"""An outbox whose jobs really run in changing threads."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from custom_components.ulogger.outbox import database
from custom_components.ulogger.outbox.outbox import Outbox

from ..support.outbox_world import Clock, open_outbox, outbox_path

type Opener = Callable[[], Awaitable[Outbox]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Use a disk in memory: a kill asks nothing of the disk, and thousands of syncs do."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as directory:
        yield Path(directory)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return outbox_path(tmp_path)


@pytest.fixture
def run() -> Iterator[Callable[..., Awaitable[Any]]]:
    with ThreadPoolExecutor(3) as executor:
        yield lambda work, *values: asyncio.get_running_loop().run_in_executor(
            executor, work, *values
        )


@pytest.fixture
async def opened(
    path: Path, run: Callable[..., Awaitable[Any]], clock: Clock
) -> AsyncIterator[Opener]:
    """Open the outbox as often as a test likes; all are closed at its end."""
    outboxes: list[Outbox] = []

    async def opener() -> Outbox:
        outboxes.append(await open_outbox(path, run, now=clock))
        return outboxes[-1]

    yield opener
    for outbox in outboxes:
        await outbox.close()


@pytest.fixture
async def outbox(opened: Opener) -> Outbox:
    return await opened()


@pytest.fixture
def abandon() -> Callable[[Outbox], None]:
    """Let go of the file as a killed process does: the log stays where it is."""

    def abandoning(outbox: Outbox) -> None:
        database.abandon(outbox._database._connection)

    return abandoning
