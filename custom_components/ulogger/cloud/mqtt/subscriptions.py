"""Who wants to hear which topics."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import topic_matches_sub

from .transport import MessageCallback

_WILDCARDS = frozenset("+#")


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One listener on a topic filter."""

    topic_filter: str
    callback: MessageCallback
    on_refused: Callable[[], None] | None = None
    on_allowed: Callable[[], None] | None = None
    rank: Callable[[], float] | None = None


class Subscriptions:
    """All listeners of one transport. Exact topics are looked up, wildcards are tried."""

    def __init__(self) -> None:
        self._exact: dict[str, list[Subscription]] = {}
        self._wild: dict[str, list[Subscription]] = {}

    @property
    def filters(self) -> list[str]:
        """Every topic filter that somebody wants."""
        return [*self._wild, *self._exact]

    def __contains__(self, topic_filter: str) -> bool:
        """Return whether somebody wants a filter."""
        return topic_filter in self._table(topic_filter)

    def add(self, subscription: Subscription) -> None:
        """Add a listener."""
        table = self._table(subscription.topic_filter)
        table.setdefault(subscription.topic_filter, []).append(subscription)

    def remove(self, subscription: Subscription) -> bool:
        """Remove a listener, once; return whether nobody wants its filter any longer."""
        table = self._table(subscription.topic_filter)
        listeners = table.get(subscription.topic_filter, [])
        if subscription not in listeners:
            return False
        listeners.remove(subscription)
        if listeners:
            return False
        del table[subscription.topic_filter]
        return True

    def rank(self, topic_filter: str) -> float:
        """Return how much a filter is wanted: the highest of its listeners' ranks.

        A listener without a rank comes before all others.
        """
        listeners = self._table(topic_filter).get(topic_filter, ())
        return max((each.rank() if each.rank else math.inf for each in listeners), default=0)

    def dispatch(self, topic: str, payload: bytes, *, retained: bool = False) -> bool:
        """Hand a message to who wants it, once; return whether anybody did."""
        listeners = list(self._exact.get(topic, ()))
        for topic_filter, wild in self._wild.items():
            if topic_matches_sub(topic_filter, topic):
                listeners.extend(wild)
        callbacks = dict.fromkeys(listener.callback for listener in listeners)
        for callback in callbacks:
            callback(topic, payload, retained)
        return bool(callbacks)

    def answered(self, topic_filter: str, *, allowed: bool) -> None:
        """Notify those who want the filter whether the broker allows it."""
        for listener in list(self._table(topic_filter).get(topic_filter, ())):
            tell = listener.on_allowed if allowed else listener.on_refused
            if tell is not None:
                tell()

    def _table(self, topic_filter: str) -> dict[str, list[Subscription]]:
        return self._wild if is_wildcard(topic_filter) else self._exact


def is_wildcard(topic_filter: str) -> bool:
    """Return whether a filter stands for more than one topic."""
    return not _WILDCARDS.isdisjoint(topic_filter)
