"""Rotation of the remote certificate: fetched, checked, swapped, and the old one kept meanwhile.

| step | what is stored | what serves |
|---|---|---|
| the shadow names another serial number | old | old |
| the answer came, fits, is newer, and served a handshake | new, old beside it | old |
| the tunnel came up with it, or is off | new | new |

Whatever fails before the last step leaves the old one in use.
"""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ...model.backoff import Backoff
from ..errors import CloudError, InvalidMessage
from .certificates import Pair
from .errors import ThingError
from .shadow import encoded

_LOGGER = logging.getLogger(__name__)

ACTION: Final = "remotecr"
LARGEST_ANSWER: Final = 128 * 1024
ANSWER_WITHIN: Final = 60.0
MOST_TRIES: Final = 5
"""Requests for one serial number; the shadow, read on each connection, begins anew."""


def parse_answer(payload: bytes) -> Pair:
    """Return the pair of a ``remotecr`` answer, not checked yet; raises InvalidMessage."""
    if len(payload) > LARGEST_ANSWER:
        raise InvalidMessage("the answer with the certificate is far too long")
    try:
        answer = json.loads(payload.decode())
    except (ValueError, RecursionError) as err:
        raise InvalidMessage("the answer with the certificate is not JSON") from err
    certificate = answer.get("cert") if isinstance(answer, dict) else None
    key = answer.get("pkey") if isinstance(answer, dict) else None
    if not isinstance(certificate, str) or not isinstance(key, str):
        raise InvalidMessage("the answer has no certificate and key")
    return Pair(certificate, key)


def checked_successor(pair: Pair, present: Pair, wanted: str | None) -> Pair:
    """Return *pair* if it can take the present one's place; raises ThingError. Blocks."""
    now = dt.datetime.now(dt.UTC)
    successor = Pair.checked(pair.certificate, pair.key, field="remote_cert", now=now)
    about, before = successor.about, present.about
    if wanted is not None and about.serial != wanted:
        raise ThingError("serial_differs", f"serial {about.serial}, {wanted} was asked for")
    if about.serial == before.serial or not about.newer_than(before):
        raise ThingError("certificate_older", "it is not newer than the present one")
    return successor


class Rotation:
    """Asks for a certificate until it is there, and hands on what passes all checks."""

    def __init__(
        self,
        request: Callable[[str, bytes], Awaitable[None]],
        present: Callable[[], Pair],
        take: Callable[[Pair], Awaitable[None]],
        *,
        run: Callable[..., Awaitable[Any]],
        backoff: Backoff | None = None,
    ) -> None:
        self.wanted: str | None = None
        self.failure: str | None = None
        self._request = request
        self._present = present
        self._take = take
        self._run = run
        self._backoff = backoff or Backoff(first=ANSWER_WITHIN, longest=3600.0)
        self._tries = 0
        self._cancel: Callable[[], None] | None = None
        self.on_ask: Callable[[], None] = lambda: None

    def desired(self, serial: str, present: str) -> None:
        """Note which serial number there should be, and ask for it if it is another one."""
        if serial == present:
            self.stop()
        elif serial != self.wanted or self._cancel is None:
            self.stop()
            self.wanted = serial
            self.on_ask()

    async def ask(self) -> None:
        """Send the request once, and plan the next one for when nothing comes."""
        if self.wanted is None:
            return
        self._tries += 1
        if self._tries < MOST_TRIES:
            loop = asyncio.get_running_loop()
            self._cancel = loop.call_later(self._backoff.delay(self._tries), self._again).cancel
        else:
            self._cancel = None
            self.failure = self.failure or "unanswered"
        try:
            await self._request(ACTION, encoded({"remoteCertSn": self.wanted}))
        except CloudError as err:
            _LOGGER.debug("A certificate could not be asked for: %s", err)

    async def received(self, payload: bytes) -> None:
        """Take an answer; raises InvalidMessage for one that is none."""
        if self.wanted is None:
            raise InvalidMessage("a certificate that nobody asked for")
        pair = parse_answer(payload)
        try:
            successor = await self._run(checked_successor, pair, self._present(), self.wanted)
            await self._take(successor)
        except ThingError as err:
            self.failure = err.reason
            _LOGGER.warning("A remote certificate was refused, the present one stays: %s", err)
            return
        self.stop()

    def stop(self) -> None:
        """Ask for nothing any longer."""
        if self._cancel is not None:
            self._cancel()
        self._cancel = None
        self.wanted = self.failure = None
        self._tries = 0

    def _again(self) -> None:
        self._cancel = None
        self.on_ask()
