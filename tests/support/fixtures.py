"""The real captures and what they hold, decoded independently."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

AGENT = Path(__file__).parents[1] / "fixtures" / "agent"
SETS = sorted(path.name for path in AGENT.iterdir())


@dataclass(frozen=True)
class RealCapture:
    """One buffer of one set, and its part of expected.json."""

    set_name: str
    name: str
    data: bytes
    expected: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.set_name}/{self.name}"

    @property
    def image(self) -> bytes:
        return (AGENT / self.set_name / "firmware.elf").read_bytes()


@cache
def real_captures() -> tuple[RealCapture, ...]:
    """Every buffer of every set."""
    found = []
    for name in SETS:
        expected = json.loads((AGENT / name / "expected.json").read_text())
        found += [
            RealCapture(name, file, (AGENT / name / file).read_bytes(), content)
            for file, content in expected.items()
        ]
    return tuple(found)


def real_logs() -> list[RealCapture]:
    return [capture for capture in real_captures() if capture.name != "core_dump.bin"]


def real_core_dumps() -> list[RealCapture]:
    return [capture for capture in real_captures() if capture.name == "core_dump.bin"]


def real_log(set_name: str, name: str = "log.bin") -> RealCapture:
    return next(c for c in real_logs() if (c.set_name, c.name) == (set_name, name))
