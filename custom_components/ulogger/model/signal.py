"""Listeners that want to be notified of something."""

import logging
from collections.abc import Callable
from types import TracebackType

_LOGGER = logging.getLogger(__name__)


class Signal[*Ts]:
    """Callables that are called with the same arguments, in the order they were added."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[*Ts], object]] = []

    def add(self, listener: Callable[[*Ts], object]) -> Callable[[], None]:
        """Notify *listener* from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def notify(self, *values: *Ts) -> None:
        """Notify everyone, also when one of them leaves meanwhile or fails."""
        for listener in list(self._listeners):
            with Notifying("a listener"):
                listener(*values)


class Notifying:
    """A context in which others are notified: whatever they raise is logged, and ends there.

    Nobody knows what a listener may raise, and none may end a session or keep others from
    being notified. Cancellation passes.
    """

    def __init__(self, whom: str) -> None:
        """Name who is notified, for the log."""
        self._whom = whom

    def __enter__(self) -> None:
        """Begin to notify."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Log an error."""
        if isinstance(error, Exception):
            _LOGGER.error("Notifying %s failed", self._whom, exc_info=error)
            return True
        return False
