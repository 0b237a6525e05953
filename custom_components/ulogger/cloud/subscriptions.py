"""Who wants to hear which topics."""

from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import topic_matches_sub

from .interface import MessageCallback

_WILDCARDS = frozenset("+#")


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One listener on a topic filter."""

    topic_filter: str
    callback: MessageCallback
    on_refused: Callable[[], None] | None


class Subscriptions:
    """All listeners of one transport. Exact topics are looked up, wildcards are tried."""

    def __init__(self) -> None:
        self._exact: dict[str, list[Subscription]] = {}
        self._wild: dict[str, list[Subscription]] = {}

    @property
    def filters(self) -> list[str]:
        """Every topic filter that somebody wants."""
        return [*self._wild, *self._exact]

    def add(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
    ) -> tuple[Subscription, bool]:
        """Add a listener; tell whether the filter is new."""
        subscription = Subscription(topic_filter, callback, on_refused)
        listeners = self._table(topic_filter).setdefault(topic_filter, [])
        listeners.append(subscription)
        return subscription, len(listeners) == 1

    def remove(self, subscription: Subscription) -> bool:
        """Remove a listener, once; tell whether nobody wants its filter any longer."""
        table = self._table(subscription.topic_filter)
        listeners = table.get(subscription.topic_filter, [])
        if subscription not in listeners:
            return False
        listeners.remove(subscription)
        if listeners:
            return False
        del table[subscription.topic_filter]
        return True

    def dispatch(self, topic: str, payload: bytes) -> bool:
        """Hand a message to who wants it; tell whether anybody did."""
        listeners = list(self._exact.get(topic, ()))
        for topic_filter, wild in self._wild.items():
            if topic_matches_sub(topic_filter, topic):
                listeners.extend(wild)
        for listener in listeners:
            listener.callback(topic, payload)
        return bool(listeners)

    def refused(self, topic_filter: str) -> None:
        """Tell those who want the filter that the broker does not allow it."""
        for listener in list(self._table(topic_filter).get(topic_filter, ())):
            if listener.on_refused is not None:
                listener.on_refused()

    def _table(self, topic_filter: str) -> dict[str, list[Subscription]]:
        return self._exact if _WILDCARDS.isdisjoint(topic_filter) else self._wild
