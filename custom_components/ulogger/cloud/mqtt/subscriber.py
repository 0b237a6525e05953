"""Subscribes to what is wanted, one filter after another, without ever harming the connection.

A broker may answer a SUBSCRIBE that it does not allow, or close the connection, as AWS IoT
does. So a filter is *wanted*, then *asked for*, then *active* or *refused*:

* One filter is asked for at a time, beside everything else that the connection is used for.
* A filter is *risky* until it was allowed once, or others of its kind (same topic but for the
  last level) were and none was refused. A risky one is asked for alone, with no message in
  flight: when the connection closes then, the filter is to blame and no message is lost. It
  counts as refused, as it does when no answer comes.
* What is refused is asked for again ever less often. Closings by filters of a kind of which
  none was ever allowed come ever less often, too: the connection is there for messages.
* At most ``most`` are active. Where more are wanted, those of the highest rank stay,
  and the others are heard by turns.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from ...model.backoff import Backoff, never
from ..errors import CloudUnavailable
from .connection import ConnectionEnded, MqttConnection
from .rate_limit import Clock
from .subscriptions import Subscription, Subscriptions, is_wildcard

MOST_FILTERS = 40
"""AWS IoT closes a connection with more than 50; the rest is for filters that change places."""
BY_TURNS = 10
TURN = 30.0
ANSWER_TIMEOUT = 5.0
"""Seconds for the answer to a filter that is asked for alone, while messages wait."""
GRACE = 0.5
"""Seconds that a new connection serves waiting messages before a filter may end it."""
GRACE_AFTER_REFUSAL = 30.0
"""As much for one that was refused before."""
RETRY = Backoff(60.0, 86_400.0, never)
WILDCARD_RETRY = Backoff(3600.0, 86_400.0, never)
HOLD = Backoff(5.0, 600.0, never)
"""How long filters of a kind are left that have closed the connection."""
MOST_REMEMBERED = 10_000
"""Filters of which it is known what became of them, refused ones apart from allowed ones."""
_SHORTEST_PAUSE = 0.01


@dataclass(slots=True)
class _Refusal:
    times: int = 0
    until: float = 0.0


@dataclass(slots=True)
class _Kind:
    """Filters that differ in their last level only: what became of those asked for so far."""

    allowed: bool = False
    closings: int = 0
    held_until: float = -math.inf


class Subscriber:
    """All that one transport subscribes to, over all its connections.

    ``alone`` holds back everything else while a filter is asked for. ``blamed`` says whether
    the last connection was closed because of a filter.
    """

    def __init__(
        self,
        counters: Counter[str],
        alone: Callable[[], AbstractAsyncContextManager[None]],
        *,
        answer_timeout: float,
        most: int = MOST_FILTERS,
        clock: Clock = time.monotonic,
    ) -> None:
        self.blamed = False
        self._most = most
        self._counters = counters
        self._alone = alone
        self._answer_timeout = answer_timeout
        self._clock = clock
        self._table = Subscriptions()
        self._connection: MqttConnection | None = None
        self._since = 0.0
        self._active: set[str] = set()
        self._refusals: dict[str, _Refusal] = {}
        self._allowed: dict[str, None] = {}
        self._suspects: dict[str, None] = {}
        self._kinds: dict[str, _Kind] = {}
        self._waiting: dict[str, list[asyncio.Future[bool]]] = {}
        self._had_turn: dict[str, float] = {}
        self._turn: list[str] = []
        self._turn_ends = -math.inf
        self._changed = asyncio.Event()

    # What is wanted

    def add(self, subscription: Subscription) -> None:
        """Listen from now on."""
        self._table.add(subscription)
        self._changed.set()

    def remove(self, subscription: Subscription) -> None:
        """Don't listen any longer."""
        if self._table.remove(subscription):
            self._had_turn.pop(subscription.topic_filter, None)
            self._changed.set()

    def ask_again(self, topic_filter: str) -> None:
        """Don't wait any longer before a refused filter is asked for again."""
        if (refusal := self._refusals.get(topic_filter)) is not None:
            refusal.until = -math.inf
            self._changed.set()

    def dispatch(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Hand a message to who wants it; return whether anybody did."""
        return self._table.dispatch(topic, payload, retained=retained)

    async def answered(self, topic_filter: str) -> bool:
        """Wait until it is known whether a wanted filter is active, and return that.

        A filter that is refused, or waits for its turn, is not; it may be later. Raises
        CloudUnavailable without a connection, and when it is lost for another reason than a
        filter.
        """
        if self._connection is None and not self.blamed:
            raise CloudUnavailable("there is no connection to the broker", sent=False)
        if topic_filter in self._active:
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic_filter, []).append(answer)
        self._changed.set()
        return await answer

    # On a connection

    def begin(self, connection: MqttConnection) -> None:
        """Take a new connection, on which nothing is subscribed to."""
        self._connection, self._since, self.blamed = connection, self._clock(), False
        self._active.clear()
        self._turn_ends = -math.inf

    async def serve(self, connection: MqttConnection) -> None:
        """Subscribe on the connection that was begun, until it ends."""
        try:
            while self._connection is connection:
                self._changed.clear()
                now = self._clock()
                plan = self._plan(now)
                self._drop(connection, plan)
                self._answer(plan, now)
                ready = [each for each in plan if each not in self._active]
                if askable := [each for each in ready if self._ready_at(each) <= now]:
                    await self._ask(connection, min(askable, key=self._times_refused))
                else:
                    await self._pause(min([*map(self._ready_at, ready), self._next(now)]) - now)
        except CloudUnavailable:
            pass
        finally:
            self.lost()
            # A connection that only a filter ended is back soon: the others go on waiting.
            if not self.blamed:
                self.give_up()

    def lost(self) -> None:
        """Take note that there is no connection any longer."""
        self._connection = None
        self._changed.set()

    def give_up(self) -> None:
        """Notify those who wait that there will be no connection soon."""
        self.blamed = False
        waiting, self._waiting = self._waiting, {}
        for answers in waiting.values():
            for answer in answers:
                if not answer.done():
                    answer.set_exception(CloudUnavailable("the connection was lost", sent=False))

    def _plan(self, now: float) -> list[str]:
        """Return what shall be active, the most wanted first."""
        wanted = [each for each in self._table.filters if self._refused_until(each) <= now]
        ranks = {each: self._table.rank(each) for each in wanted}
        wanted.sort(key=lambda each: (not is_wildcard(each), -ranks[each]))
        if len(wanted) <= self._most:
            self._turn, self._turn_ends = [], math.inf
            return wanted
        urgent = sum(rank == math.inf for rank in ranks.values())
        lasting = max(self._most - BY_TURNS, min(urgent, self._most))
        places = self._most - lasting
        others = wanted[lasting:]
        ended = now >= self._turn_ends or self._turn_ends == math.inf
        among = set(others)
        staying = [] if ended else [each for each in self._turn if each in among][:places]
        if len(staying) < places:
            coming = [each for each in others if each not in staying]
            coming.sort(key=lambda each: self._had_turn.get(each, -math.inf))
            coming = coming[: places - len(staying)]
            self._had_turn.update(dict.fromkeys(coming, now))
            staying += coming
        self._turn = staying
        if ended:
            self._turn_ends = now + TURN
        return wanted[:lasting] + staying

    def _next(self, now: float) -> float:
        """Return when the plan changes by itself: a turn ends, or a refusal."""
        ends = [each.until for name, each in self._refusals.items() if name in self._table]
        return min([self._turn_ends, *(each for each in ends if each > now)])

    def _drop(self, connection: MqttConnection, plan: list[str]) -> None:
        for topic_filter in self._active.difference(plan):
            self._active.discard(topic_filter)
            connection.drop(topic_filter)

    def _answer(self, plan: list[str], now: float) -> None:
        """Notify those who wait of what is settled."""
        planned = set(plan)
        for topic_filter in list(self._waiting):
            active = topic_filter in self._active
            later = self._ready_at(topic_filter) > now + GRACE
            if active or later or topic_filter not in planned:
                self._tell(topic_filter, active=active)

    def _tell(self, topic_filter: str, *, active: bool) -> None:
        for answer in self._waiting.pop(topic_filter, ()):
            if not answer.done():
                answer.set_result(active)

    def _ready_at(self, topic_filter: str) -> float:
        """Return when a filter may be asked for on this connection."""
        if not self._risky(topic_filter):
            return self._since
        kind = self._kind(topic_filter)
        held_until = -math.inf if kind.allowed else kind.held_until
        if topic_filter in self._refusals:
            return max(held_until, self._since + GRACE_AFTER_REFUSAL)
        urgent = self._table.rank(topic_filter) == math.inf and not is_wildcard(topic_filter)
        if kind.closings or not urgent:
            return max(held_until, self._since + GRACE)
        return max(held_until, self._since)

    async def _ask(self, connection: MqttConnection, topic_filter: str) -> None:
        risky = self._risky(topic_filter)
        async with self._alone() if risky else nullcontext():
            seconds = min(self._answer_timeout, ANSWER_TIMEOUT if risky else math.inf)
            try:
                async with asyncio.timeout(seconds):
                    allowed = await connection.allow(topic_filter)
            except TimeoutError:
                self._counters["subscription_unanswered"] += 1
                self._refuse(topic_filter, closing=True)
                return
            except ConnectionEnded as err:
                self._counters["subscription_interrupted"] += 1
                if err.closed_by_broker and err.in_flight == 1:
                    self.blamed = True
                    self._refuse(topic_filter, closing=True)
                elif err.closed_by_broker:
                    self._remember(self._suspects, topic_filter)
                raise
        if allowed:
            self._allow(topic_filter)
        else:
            self._refuse(topic_filter, closing=False)

    def _allow(self, topic_filter: str) -> None:
        self._refusals.pop(topic_filter, None)
        self._suspects.pop(topic_filter, None)
        self._remember(self._allowed, topic_filter)
        self._kind(topic_filter).allowed = True
        self._active.add(topic_filter)
        self._table.answered(topic_filter, allowed=True)

    def _refuse(self, topic_filter: str, *, closing: bool) -> None:
        """Leave a filter for a while, each time for longer."""
        self._counters["subscription_refused"] += 1
        now = self._clock()
        refusal = self._refusals.pop(topic_filter, None) or _Refusal()
        refusal.times += 1
        retry = WILDCARD_RETRY if is_wildcard(topic_filter) else RETRY
        refusal.until = now + retry.delay(refusal.times)
        self._refusals[topic_filter] = refusal
        while len(self._refusals) > MOST_REMEMBERED:
            del self._refusals[next(iter(self._refusals))]
        self._allowed.pop(topic_filter, None)
        if closing:
            self._remember(self._suspects, topic_filter)
            kind = self._kind(topic_filter)
            kind.closings += 1
            kind.held_until = now + HOLD.delay(kind.closings)
        self._tell(topic_filter, active=False)
        self._table.answered(topic_filter, allowed=False)

    def _risky(self, topic_filter: str) -> bool:
        """Whether the broker might close the connection on a filter."""
        if topic_filter in self._suspects:
            return True
        kind = self._kind(topic_filter)
        return topic_filter not in self._allowed and (not kind.allowed or kind.closings > 0)

    def _times_refused(self, topic_filter: str) -> int:
        refusal = self._refusals.get(topic_filter)
        return 0 if refusal is None else refusal.times

    @staticmethod
    def _remember(known: dict[str, None], topic_filter: str) -> None:
        known[topic_filter] = None
        while len(known) > MOST_REMEMBERED:
            del known[next(iter(known))]

    def _refused_until(self, topic_filter: str) -> float:
        refusal = self._refusals.get(topic_filter)
        return -math.inf if refusal is None else refusal.until

    def _kind(self, topic_filter: str) -> _Kind:
        return self._kinds.setdefault(topic_filter.rpartition("/")[0], _Kind())

    async def _pause(self, seconds: float) -> None:
        """Wait until something changes, for so long at most."""
        limit = None if seconds == math.inf else max(seconds, _SHORTEST_PAUSE)
        try:
            async with asyncio.timeout(limit):
                await self._changed.wait()
        except TimeoutError:
            pass
