"""Keeps the shadow and this gateway equal: what is desired is done, what is the case is reported.

A request has at most one update under way, on condition of the version that was seen last. After a
conflict the shadow is read anew and the report is made from that, so a report never rests on a
state that is not there any longer. Everything is read anew on each connection. Whoever refuses for
another reason, or again and again, is asked once a minute.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from ..errors import CloudError, InvalidMessage
from . import shadow
from .wishes import CERTIFICATE, LOG_LEVELS, Settable, Wishes, read_wishes

_LOGGER = logging.getLogger(__name__)

ANSWER_WITHIN: Final = 30.0
REPORT_EVERY: Final = 60.0
"""Seconds between reports of what changes by itself; what was desired is answered at once."""
RETRY: Final = 5.0
MOST_CONFLICTS: Final = 3
"""Conflicts in a row that are resolved at once."""

type Publish = Callable[[str, bytes], Awaitable[None]]
type Devices = Sequence[tuple[str, Mapping[str, Any]]]


class ShadowOwner(Protocol):
    """Whose options the shadow shows, and who does what is desired of it."""

    settable: Mapping[str, Settable]

    def options(self) -> Mapping[str, int]:
        """Return what is set now, by the names of the shadow."""

    def about(self) -> Mapping[str, Any]:
        """Return what else is reported of the gateway."""

    def devices(self) -> Devices:
        """Return what is reported of devices, the most important first."""

    def certificate_serial(self) -> str:
        """Return the serial number of the remote certificate in use."""

    def desired(self, wishes: Wishes) -> None:
        """Do what is desired; what is the case then shows in what is returned by the others."""


class ShadowSync:
    """The named shadow of one thing."""

    def __init__(
        self,
        publish: Publish,
        topic: Callable[[str], str],
        owner: ShadowOwner,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.version: int | None = None
        self.last_rejection: str | None = None
        self.refused: Mapping[str, str] = {}
        self._publish = publish
        self._topic = topic
        self._owner = owner
        self._now = now
        self._sleep = sleep
        self._desired: dict[str, Any] = {}
        self._reported: dict[str, Any] | None = None
        self._wishes = Wishes()
        self._ends_at: float | None = None
        self._conflicts = 0
        self._token: str | None = None
        self._answered = asyncio.Event()
        self._due = asyncio.Event()
        self._urgent = asyncio.Event()
        self._connected = False

    # What it is told

    def connected(self) -> None:
        """Read the shadow anew: anything may have changed meanwhile."""
        self._connected, self._reported, self.version = True, None, None
        self.report_soon()

    def lost(self) -> None:
        """Wait for the next connection."""
        self._connected = False

    def changed(self) -> None:
        """Report, within a minute, what is other than before."""
        self._due.set()

    def report_soon(self) -> None:
        """Report, without waiting for the minute, what is other than before."""
        self._urgent.set()
        self._due.set()

    def received(self, operation: str, verb: str, payload: bytes) -> None:
        """Take a message about the shadow; raises InvalidMessage."""
        match operation, verb:
            case "update", "delta":
                self._delta(shadow.parse_delta(payload))
            case "get", "accepted":
                self._read(shadow.parse_document(payload))
            case "update", "documents":
                self._changed_there(shadow.parse_documents(payload))
            case "update", "accepted":
                self._accepted(shadow.parse_document(payload))
            case _, "rejected":
                self._rejected(operation, shadow.parse_rejection(payload))
            case _:
                raise InvalidMessage(f"nothing is known of {operation}/{verb}")

    # What comes

    def _delta(self, delta: shadow.Delta) -> None:
        if self._is_old(delta.version):
            self.counters["old_deltas"] += 1
            return
        self.counters["deltas"] += 1
        self._desired = shadow.merged(self._desired, delta.state)
        self._do()

    def _read(self, document: shadow.Document) -> None:
        self.version = document.version
        self._desired = dict(document.desired)
        self._reported = dict(document.reported)
        self._answered.set()
        self._do()

    def _changed_there(self, document: shadow.Document) -> None:
        """Follow a change of the whole shadow, ours or somebody else's."""
        if self._reported is None or self._is_old(document.version):
            return
        self.version = document.version
        self._reported = dict(document.reported)
        if document.desired != self._desired:
            self._desired = dict(document.desired)
            self._do()
        elif self._report():
            self._due.set()

    def _accepted(self, document: shadow.Document) -> None:
        if not self._is_old(document.version) and document.version is not None:
            self.version = document.version
        if document.client_token is None or document.client_token != self._token:
            return
        if self._reported is not None:
            self._reported = shadow.merged(self._reported, document.reported)
        self.counters["reports"] += 1
        self._conflicts = 0
        self._token = None
        self._answered.set()

    def _rejected(self, operation: str, rejection: shadow.Rejection) -> None:
        if rejection.client_token is not None and rejection.client_token != self._token:
            return
        if operation == "get" and rejection.code == shadow.NOT_FOUND:
            # There is no shadow yet: the first report makes it.
            self._reported, self._desired, self.version = {}, {}, None
            self._answered.set()
            return
        self.counters["rejected"] += 1
        if rejection.code == shadow.CONFLICT:
            self.counters["conflicts"] += 1
            self._conflicts += 1
        else:
            self.last_rejection = f"{rejection.code} {rejection.message}"
        self._token, self._reported = None, None
        self._answered.set()
        if rejection.code == shadow.CONFLICT and self._conflicts <= MOST_CONFLICTS:
            self.report_soon()
        else:
            self.changed()

    def _do(self) -> None:
        """Have what is desired done, and say what came of it."""
        self._wishes = read_wishes(self._desired, self._owner.settable, self._now())
        self.refused = self._wishes.refused
        ends = [each.timeout_seconds for each in self._wishes.log_levels.values()]
        self._ends_at = self._now() + min(ends) if ends else None
        self._owner.desired(self._wishes)
        self.report_soon()

    def _is_old(self, version: int | None) -> bool:
        return version is not None and self.version is not None and version < self.version

    # What goes

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._until_due()
            self._due.clear()
            self._urgent.clear()
            if self._ends_at is not None and self._now() >= self._ends_at:
                self._do()
            if not self._connected:
                continue
            try:
                await self._once()
            except CloudError as err:
                _LOGGER.debug("The shadow was not reached: %s", err)
                if self._connected:
                    self._due.set()
                    await self._sleep(RETRY)
                continue
            # A minute between reports, unless something was desired.
            await self._until(self._urgent, REPORT_EVERY)

    async def _once(self) -> None:
        """Read the shadow if it is not known, and report what differs."""
        if self._reported is None:
            self._answered.clear()
            await self._publish(self._topic("get"), b"{}")
            if not await self._answer():
                self.report_soon()
                await self._sleep(RETRY)
            if self._reported is None:
                self.changed()
                return
        # Whatever was asked for until now is in this report.
        self._due.clear()
        self._urgent.clear()
        if not (change := self._report()):
            return
        self._token = secrets.token_hex(8)
        self._answered.clear()
        await self._publish(
            self._topic("update"), shadow.update_message(change, self.version, self._token)
        )
        if not await self._answer():
            self.counters["unanswered"] += 1
            self._reported = None
            self.report_soon()
            await self._sleep(RETRY)

    def _report(self) -> dict[str, Any]:
        """Return what has to be reported: what is the case, less what is reported already."""
        owner = self._owner
        state: dict[str, Any] = {
            **owner.options(),
            **owner.about(),
            CERTIFICATE: owner.certificate_serial(),
            LOG_LEVELS: dict(self._wishes.taken_levels),
            "refused": dict(self._wishes.refused),
        }
        full = shadow.bounded(state, owner.devices(), self._desired)
        return shadow.difference(self._reported or {}, full)

    async def _answer(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True

    async def _until_due(self) -> None:
        """Wait until there is something to report; a wish that ends is."""
        if self._ends_at is None:
            await self._due.wait()
        else:
            await self._until(self._due, max(0.0, self._ends_at - self._now()))

    async def _until(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, but no longer than so many seconds."""
        waits = [
            asyncio.ensure_future(event.wait()),
            asyncio.ensure_future(_of(self._sleep, seconds)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


async def _of(sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
    await sleep(seconds)
