"""Notices what a broker drops without a word, by listening to what was sent itself.

Pepeunit's broker acknowledges what it denies. But a unit may hear each topic that it may send
on, so what was passed on comes back. Rules:

* Once anything came back on any topic, the broker *tells*: from then on each message has to come
  back within `WITHIN` seconds of its acknowledgement. A topic on which one does not, or which
  may not be listened to, is *denied*: it waits, each time for longer.
* Where nothing came back of the first messages, the broker is *mute*: it does not tell, and an
  acknowledgement has to be enough. Anything that comes back ends that.

Nothing here sends or knows of MQTT.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

from ...model.backoff import Backoff, never
from .errors import SilentlyDenied

WITHIN: Final = 5.0
"""Seconds from the acknowledgement until a message is back."""
PROBATION: Final = 2
"""Messages of which nothing comes back until the broker counts as mute."""
HOLD: Final = Backoff(30.0, 600.0, never)


@dataclass(slots=True)
class _Denial:
    times: int = 0
    until: float = 0.0


class Echoes:
    """What came back on one unit's topics. ``on_denied`` is called when `denied` changes."""

    def __init__(self, clock: Callable[[], float], within: float = WITHIN) -> None:
        self.on_denied: Callable[[], None] = lambda: None
        self.mute = False
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._within = within
        self._listening: set[str] = set()
        self._tells = False
        self._denials: dict[str, _Denial] = {}
        self._awaited: dict[bytes, deque[asyncio.Future[None]]] = defaultdict(deque)
        self._unheard = 0

    @property
    def denied(self) -> list[str]:
        """The topics on which the broker drops what is sent."""
        return list(self._denials)

    def listening(self, topic: str, *, active: bool) -> None:
        """Note whether the topic is subscribed to."""
        (self._listening.add if active else self._listening.discard)(topic)

    def keep_only(self, topics: set[str]) -> None:
        """Forget topics that are not sent on any longer."""
        gone = self._denials.keys() - topics
        for topic in gone:
            del self._denials[topic]
        self._listening &= topics
        if gone:
            self.on_denied()

    def forgive(self) -> None:
        """Try at once what was denied."""
        self._unheard = 0
        self.mute = False
        if self._denials:
            self._denials.clear()
            self.on_denied()

    def waits(self, topic: str) -> bool:
        """Whether a topic is denied and not tried for now."""
        denial = self._denials.get(topic)
        return denial is not None and denial.until > self._clock()

    def check(self, topic: str, *, refused: bool = False) -> None:
        """Raise SilentlyDenied as long as a topic is denied.

        ``refused`` says that the broker does not let it be listened to, which tells enough.
        """
        if self.waits(topic):
            raise SilentlyDenied(topic, self._denials[topic].until - self._clock())
        if (self._tells or refused) and topic not in self._listening:
            self._deny(topic)

    @asynccontextmanager
    async def awaited(self, topic: str, payload: bytes) -> AsyncGenerator[None]:
        """Have a message acknowledged inside; raises SilentlyDenied when it does not come back."""
        mark = _mark(topic, payload)
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[mark].append(heard)
        try:
            yield
            if topic in self._listening and not self.mute:
                await self._hear(topic, heard)
        finally:
            waiting = self._awaited[mark]
            if heard in waiting:
                waiting.remove(heard)
            if not waiting:
                del self._awaited[mark]

    def heard(self, topic: str, payload: bytes) -> None:
        """Note that a message came back."""
        self._unheard = 0
        self.mute = False
        self._tells = True
        if self._denials.pop(topic, None) is not None:
            self.on_denied()
        mark = _mark(topic, payload)
        if waiting := self._awaited.get(mark):
            heard = waiting.popleft()
            if not heard.done():
                heard.set_result(None)

    async def _hear(self, topic: str, heard: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._within):
                await heard
        except TimeoutError:
            self._not_heard(topic)

    def _not_heard(self, topic: str) -> None:
        self.counters["not_heard"] += 1
        if self._tells:
            self._deny(topic)
        self._unheard += 1
        self.mute = self._unheard >= PROBATION

    def _deny(self, topic: str) -> NoReturn:
        denial = self._denials.setdefault(topic, _Denial())
        denial.times += 1
        seconds = HOLD.delay(denial.times)
        denial.until = self._clock() + seconds
        if denial.times == 1:
            self.on_denied()
        raise SilentlyDenied(topic, seconds)


def _mark(topic: str, payload: bytes) -> bytes:
    return hashlib.sha256(topic.encode() + b"\0" + payload).digest()
