"""What carries messages: an MQTT connection, whoever owns it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from ..destination import ConnectionState

type MessageCallback = Callable[[str, bytes, bool], None]
"""Topic and payload of a message, and whether the broker had retained it, and so may send it
again with each subscription; called on the event loop, must not block."""


type Unsubscribe = Callable[[], Awaitable[None]]


class Transport(Protocol):
    """An MQTT connection, whoever owns it.

    Messages go out with QoS 1 and are never retained.
    """

    on_state: Callable[[ConnectionState], None] | None
    on_denied: Callable[[], None] | None = None
    """Called when `denied_topics` has changed."""

    @property
    def denied_topics(self) -> Sequence[str]:
        """The topics on which the broker closes the connection each time."""
        return ()

    def diagnostics(self) -> Mapping[str, Any]:
        """Return what helps to find out why a connection is bad; nothing in it is secret."""
        return {}

    def suspects(self, topic: str) -> bool:
        """Whether something on a topic may be why the broker closed the connection."""
        return False

    def forgive(self) -> None:
        """Try at once what the broker denied: its policy may have been changed."""
        return

    def ask_again(self, topic_filter: str) -> None:
        """Ask at once for a filter that the broker has refused."""
        return

    @property
    def connected(self) -> bool:
        """Whether a message could be sent now."""

    @property
    def state(self) -> ConnectionState:
        """How the connection stands."""

    async def run(self) -> None:
        """Keep the connection until cancelled."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Return once the broker has acknowledged the message; raises CloudError."""

    async def subscribe(
        self,
        topic_filter: str,
        callback: MessageCallback,
        on_refused: Callable[[], None] | None = None,
        *,
        on_allowed: Callable[[], None] | None = None,
        rank: Callable[[], float] | None = None,
    ) -> Unsubscribe:
        """Have ``callback`` called for each message, over all reconnections.

        Returns once it is known what comes of it, at once without a connection. ``on_refused``
        is called when the broker does not allow the filter, now or later, and ``on_allowed``
        when it does. Where not all can be listened to at once, those of the highest ``rank``
        come first; without one it must be listened to.
        """

    async def subscribed(self, topic_filter: str) -> bool:
        """Wait until the broker has answered for a filter that is subscribed to, and return that.

        False when it refuses, or when the filter waits for its turn. Raises CloudUnavailable
        without a connection.
        """
