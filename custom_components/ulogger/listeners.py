"""Those who want to be told of something, and telling them."""

import logging
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)


class Listeners[*Ts]:
    """Callables that are called with the same arguments, in the order they were added."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[*Ts], object]] = []

    def add(self, listener: Callable[[*Ts], object]) -> Callable[[], None]:
        """Tell *listener* from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, *values: *Ts) -> None:
        """Tell everyone, also when one of them leaves meanwhile or fails."""
        for listener in list(self._listeners):
            try:
                listener(*values)
            except Exception:
                _LOGGER.exception("A listener failed")
