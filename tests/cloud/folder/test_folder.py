"""A directory as a destination: it comes and goes, and says so."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.folder.errors import FolderMissing
from custom_components.ulogger.cloud.folder.folder import DAY, TIDY_EVERY, FolderDestination
from custom_components.ulogger.cloud.folder.names import MARKER
from custom_components.ulogger.cloud.folder.writing import prepare
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

WHO = DeviceIdentity(42, "A87DE76F0011")


async def inline(work: Callable[..., Any], *arguments: Any) -> Any:
    """Do the work here and now."""
    return work(*arguments)


class Directory:
    """A destination that looks at its directory when the test says so."""

    def __init__(self, path: Path, **more: Any) -> None:
        self.now = 1_790_000_000.0
        self.states: list[ConnectionState] = []
        self._asleep = asyncio.Event()
        self._wake = asyncio.Event()
        self.destination = FolderDestination(
            "folder-1", path, inline, now=lambda: self.now, sleep=self._sleep, **more
        )
        self.destination.on_state = self.states.append

    async def _sleep(self, seconds: float) -> None:
        self._asleep.set()
        await self._wake.wait()
        self._wake.clear()
        self.now += seconds

    async def look(self) -> None:
        """Have it look, and wait until it has."""
        self._asleep.clear()
        self._wake.set()
        await self._asleep.wait()

    async def started(self) -> None:
        await self._asleep.wait()


@pytest.fixture
async def chosen(tmp_path: Path) -> AsyncGenerator[Directory]:
    prepare(tmp_path / "captures")
    directory = Directory(tmp_path / "captures", days=3, most_bytes=0)
    running = asyncio.create_task(directory.destination.run())
    await directory.started()
    yield directory
    running.cancel()


def log(moment: float = 1_790_000_000.0) -> Capture:
    return Capture(CaptureKind.LOG, WHO, b"\4log", moment)


async def test_it_is_connected_while_its_directory_is_there(chosen: Directory) -> None:
    assert chosen.states == [ConnectionState.CONNECTED]
    await chosen.destination.deliver(log(), 1)
    assert len(list(chosen.destination.directory.rglob("*.bin"))) == 1
    (chosen.destination.directory / MARKER).unlink()
    with pytest.raises(FolderMissing):
        await chosen.destination.deliver(log(), 2)
    assert not chosen.destination.connected
    assert chosen.destination.diagnostics()["failure"] == "folder_missing"
    await chosen.look()
    assert not chosen.destination.connected
    prepare(chosen.destination.directory)
    await chosen.look()
    assert chosen.states == [
        ConnectionState.CONNECTED,
        ConnectionState.DISCONNECTED,
        ConnectionState.CONNECTED,
    ]
    assert chosen.destination.diagnostics()["failure"] is None


async def test_it_notices_by_itself_that_its_directory_went(chosen: Directory) -> None:
    (chosen.destination.directory / MARKER).unlink()
    await chosen.look()
    assert chosen.states[-1] is ConnectionState.DISCONNECTED


async def test_old_captures_go_hourly(chosen: Directory) -> None:
    await chosen.destination.deliver(log(), 1)
    (data,) = chosen.destination.directory.rglob("*.bin")
    written_at = data.stat().st_mtime
    chosen.now = written_at + 3 * DAY - TIDY_EVERY
    await chosen.look()
    assert data.exists()
    chosen.now = written_at + 3 * DAY + TIDY_EVERY
    await chosen.look()
    assert not data.exists()
    assert chosen.destination.usage is not None
    assert chosen.destination.usage.captures == 0


async def test_its_path_is_in_no_diagnostics(chosen: Directory) -> None:
    assert str(chosen.destination.directory) not in str(chosen.destination.diagnostics())
