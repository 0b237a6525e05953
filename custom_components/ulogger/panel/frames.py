"""Frames as the panel shows them."""

import math
from collections.abc import Sequence
from typing import cast

from ..insight.reading import LogFrame
from ..model.level import Level
from .messages import Argument, Frame, LevelName, Value


def level_name(level: Level) -> LevelName:
    """Return a level as the panel names it."""
    return cast("LevelName", level.name.lower())


def frame_key(account: str, capture_id: int, number: int) -> str:
    """Return what a frame is found again by."""
    return f"{account}:{capture_id}:{number}"


def parse_key(key: str) -> tuple[str, int, int]:
    """Return account, capture and number; raises ValueError for what is no key."""
    account, capture_id, number = key.split(":")
    if len(capture_id) > 18 or len(number) > 9:
        raise ValueError("there are no such numbers")
    return account, int(capture_id), int(number)


def as_message(
    frame: LogFrame,
    *,
    account: str,
    capture_id: int,
    captured_at: float,
    device: str,
    firmware: str,
) -> Frame:
    """Return a frame for the panel; what can't be dated is dated by its arrival."""
    return {
        "key": frame_key(account, capture_id, frame.number),
        "account": account,
        "capture": capture_id,
        "number": frame.number,
        "device": device,
        "at": captured_at if frame.at is None else frame.at,
        "uncertainty": None if frame.at is None else frame.uncertainty or 0.0,
        "level": level_name(frame.level),
        "module": frame.module,
        "module_name": frame.module_name,
        "message": frame.message,
        "firmware": firmware,
    }


def arguments(frame: LogFrame) -> list[Argument]:
    """Return a frame's values; what is no number in JSON (infinity) is written out."""
    return [{"type": str(kind), "value": _json(value)} for kind, value in frame.arguments]


def around[T](items: Sequence[T], place: int, most: int) -> tuple[list[T], list[T]]:
    """Return up to ``most`` items before and after a place."""
    return list(items[max(0, place - most) : place]), list(items[place + 1 : place + 1 + most])


def _json(value: float | str) -> Value:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
