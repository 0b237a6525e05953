"""A link that stands and carries nothing for a while, as one through a busy proxy does."""

import asyncio

from demo.device.radio import Radio


def stall(radio: Radio, seconds: float) -> None:
    """Have nothing cross the link for so long; what waits then crosses in its order."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    really = radio._connection_event

    def event() -> None:
        if loop.time() < ends:
            radio._event = loop.call_at(ends, event)
        else:
            really()

    radio._connection_event = event  # type: ignore[method-assign]
