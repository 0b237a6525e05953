"""Whether the cloud answers registrations: silence is backed off from as from one service."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...model.backoff import Backoff, never
from ...model.identity import DeviceKey
from ..errors import RegistrationFailed
from ..mqtt.rate_limit import Clock

SILENT = 3
"""Registrations in a row without an answer that mean that the service is silent."""
BACKOFF = Backoff(5.0, 600.0, never)


class RegistrationService:
    """Lets registrations pass while any are answered, and a few at times while none is.

    A device that was not tried yet may always try, once: the service may be silent about some
    devices only, and those must not keep a new one waiting. ``reply_timeout`` is in seconds.
    """

    def __init__(self, reply_timeout: float, clock: Clock = time.monotonic) -> None:
        self._reply_timeout = reply_timeout
        self._clock = clock
        self._tried: set[DeviceKey] = set()
        self._since = 0.0
        self._until = 0.0
        self._rounds = 0
        self._unanswered = 0
        self._probes = 0

    @contextmanager
    def attempt(self, key: DeviceKey) -> Iterator[None]:
        """Hold while a device registers; raises RegistrationFailed when it must not now."""
        probing = self._rounds > 0 and key in self._tried
        if probing and (left := self._until - self._clock()) > 0:
            raise RegistrationFailed("the cloud answers no registration", left)
        if probing and self._probes >= SILENT:
            raise RegistrationFailed("the cloud answers no registration", self._reply_timeout)
        self._tried.add(key)
        self._probes += probing
        try:
            yield
        finally:
            self._probes -= probing

    def answered(self, key: DeviceKey) -> None:
        """Note an answer: whoever waits for the service may try again."""
        self._tried.discard(key)
        self._since, self._until = self._clock(), 0.0
        self._rounds = self._unanswered = 0

    def unanswered(self, began: float) -> None:
        """Note that a registration that began then had no answer in time."""
        if began < self._since:
            return
        self._unanswered += 1
        if self._unanswered < SILENT:
            return
        self._rounds += 1
        self._since = self._until = self._clock() + BACKOFF.delay(self._rounds)
        self._unanswered = 0
