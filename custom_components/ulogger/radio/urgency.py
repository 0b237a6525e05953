"""How urgent a session is, as a head start before sessions that became due earlier."""

from enum import Enum


class Urgency(Enum):
    """Why somebody wants a session; the value is the head start in seconds.

    A head start puts a session before those that have waited for less than that longer. It is
    what bounds everybody's wait, so it is minutes and never "always first".
    """

    ASKED = 600.0
    TROUBLED = 300.0
    LOG_CONFIG = 240.0
    NEVER_COLLECTED = 180.0
    LIVE = 30.0
    USUAL = 0.0
    IDENTIFY = -300.0


LARGEST_HEAD_START = max(each.value for each in Urgency)
STRONG_SIGNAL = -40.0
WEAK_SIGNAL = -100.0
SIGNAL_HEAD_START = 20.0
"""Seconds at a strong signal: its session is short, and rarely fails."""


def signal_head_start(signal: float) -> float:
    """Return the head start (seconds) for a signal strength in dBm."""
    share = (signal - WEAK_SIGNAL) / (STRONG_SIGNAL - WEAK_SIGNAL)
    return SIGNAL_HEAD_START * min(1.0, max(0.0, share))
