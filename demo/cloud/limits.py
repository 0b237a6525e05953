"""What a broker like AWS IoT Core allows one client, and how it says no."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Self

WILDCARDS = ("*+*", "*#*")
"""Patterns of all filters that are more than one topic."""


class Answer(Enum):
    """What becomes of a client's packet."""

    TAKEN = "taken"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Limits:
    """A policy and its limits, AWS IoT Core's by default.

    ``refused`` are patterns of filters that may not be subscribed to, ``denied`` patterns of
    topics that may not be published to (``*`` stands for anything). ``closes`` is AWS's way
    to say no, by closing the connection; otherwise a subscription is answered with 0x80 and a
    message is acknowledged and thrown away. Topics over ``longest_topic`` bytes, more than
    ``subscriptions`` filters and messages over ``largest_message`` bytes always close.
    """

    refused: Sequence[str] = ()
    denied: Sequence[str] = ()
    closes: bool = True
    longest_topic: int = 256
    subscriptions: int = 50
    largest_message: int = 131_072

    def as_dict(self) -> dict[str, Any]:
        """Return the limits as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read limits back."""
        return cls(**data)

    @property
    def no(self) -> Answer:
        """How this broker refuses."""
        return Answer.CLOSED if self.closes else Answer.REFUSED


class Client:
    """One connection under limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.filters: set[str] = set()
        self.most_filters = 0

    def subscribe(self, topic_filter: str) -> Answer:
        """Say what becomes of a SUBSCRIBE."""
        limits = self.limits
        if len(topic_filter.encode()) > limits.longest_topic:
            return Answer.CLOSED
        if any(fnmatchcase(topic_filter, pattern) for pattern in limits.refused):
            return limits.no
        if len(self.filters | {topic_filter}) > limits.subscriptions:
            return Answer.CLOSED
        self.filters.add(topic_filter)
        self.most_filters = max(self.most_filters, len(self.filters))
        return Answer.TAKEN

    def unsubscribe(self, topic_filter: str) -> None:
        """Note an UNSUBSCRIBE."""
        self.filters.discard(topic_filter)

    def publish(self, topic: str, size: int) -> Answer:
        """Say what becomes of a PUBLISH."""
        limits = self.limits
        if len(topic.encode()) > limits.longest_topic or size > limits.largest_message:
            return Answer.CLOSED
        if any(fnmatchcase(topic, pattern) for pattern in limits.denied):
            return limits.no
        return Answer.TAKEN
