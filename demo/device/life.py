"""What a device logs while nobody looks: a few measured values every now and then."""

import asyncio
import math
from struct import Struct

from .firmware import Firmware

EVERY_SECONDS = 20.0
TICKS_PER_SECOND = 1000
METRIC = 5
STRING, DOUBLE = 0x80, 0x78
FRAME = Struct("<HI")
PAYLOAD = Struct("<BIBBB")
TEXT = Struct("<HHH")


def metric_frame(name: str, value: float, ticks: int) -> bytes:
    """Return the frame of a metric as the agent's macro writes it, ``ticks`` after the last."""
    text = name.encode()
    payload = (
        PAYLOAD.pack(METRIC << 5, 0x1000, 2, STRING, DOUBLE)
        + Struct("<d").pack(value)
        + TEXT.pack(1, 2 + len(text), len(text))
        + text
    )
    return FRAME.pack(len(payload), ticks) + payload


async def live(firmware: Firmware) -> None:
    """Log a temperature and a battery voltage for ever."""
    seconds = 0.0
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        seconds += EVERY_SECONDS
        ticks = round(EVERY_SECONDS * TICKS_PER_SECOND)
        temperature = 21.0 + 2.5 * math.sin(seconds / 600.0)
        battery = 3.05 - seconds / 3.6e6
        firmware.append_log(metric_frame("temperature", round(temperature, 2), ticks))
        firmware.append_log(metric_frame("battery_v", round(battery, 4), 0))
