"""Keeps a connection subscribed to the topics that are wanted, and to no others."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from ..errors import CloudUnavailable
from ..mqtt.transport import MessageCallback, Transport, Unsubscribe

type OnAnswer = Callable[[str, bool], None]
"""Called with a topic and whether the broker lets it be heard."""


class Followed:
    """The subscriptions of one transport, kept equal to what is wanted until it is replaced."""

    def __init__(
        self, transport: Transport, on_message: MessageCallback, on_answer: OnAnswer
    ) -> None:
        self._transport = transport
        self._on_message = on_message
        self._on_answer = on_answer
        self._wanted: Mapping[str, None] = {}
        self._ends: dict[str, Unsubscribe] = {}
        self._changed = asyncio.Event()
        self.settled = asyncio.Event()

    def want(self, topics: Mapping[str, None]) -> None:
        """Listen to these topics from now on, the first ones first."""
        self._wanted = topics
        self.settled.clear()
        self._changed.set()

    def lost(self) -> None:
        """Note that the connection is another one, on which nothing is known yet."""
        self.settled.clear()
        self._changed.set()

    async def run(self) -> None:
        """Follow what is wanted until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._follow()
            except CloudUnavailable:
                # Whoever connects anew calls `lost`.
                continue

    async def _follow(self) -> None:
        for topic in self._ends.keys() - self._wanted.keys():
            await self._ends.pop(topic)()
        for topic in self._wanted:
            if topic not in self._ends:
                self._ends[topic] = await self._transport.subscribe(
                    topic,
                    self._on_message,
                    partial(self._on_answer, topic, False),
                    on_allowed=partial(self._on_answer, topic, True),
                )
        if not self._changed.is_set() and self._transport.connected:
            await self._await_answers()

    async def _await_answers(self) -> None:
        for topic in list(self._wanted):
            if not self._transport.connected or self._changed.is_set():
                return
            await self._transport.subscribed(topic)
        self.settled.set()
