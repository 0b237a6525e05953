"""Killed at every step: what was acknowledged is there, and nothing is half there."""

import asyncio
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


async def _kills(directory: Path, scenario: str, part: int, parts: int) -> int:
    """Run the killer; it fails when any of the killed processes left something wrong."""
    command = [sys.executable, "-m", "tests.support.outbox_killer", directory / str(part), scenario]
    process = await asyncio.create_subprocess_exec(
        *command,
        str(part),
        str(parts),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return int(output)


@pytest.mark.parametrize(
    ("scenario", "at_least"),
    [("life", 150), ("recovery", 150), ("suspect", 150), ("migration", 40)],
)
async def test_killed_at_every_step_nothing_acknowledged_is_lost(
    memory: Path, scenario: str, at_least: int
) -> None:
    both = await asyncio.gather(*(_kills(memory, scenario, part, 2) for part in (1, 2)))
    assert sum(both) > at_least
