"""Clesyde as a destination: captures up, the shadow kept, remote access where it is wanted."""

import asyncio
import logging
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, override

from ...insight.crash_report import CrashReport
from ...insight.reading import Reading
from ...model.capture import Capture, CaptureKind
from ...model.identity import DeviceKey
from ...model.log_config import SHORTEST, LogConfig
from ..destination import ConnectionState, Destination
from ..errors import CloudError, InvalidMessage
from ..mqtt.transport import Transport
from . import remote, rotation
from .captures import RAW_BYTES, Choice, messages
from .certificates import Pair
from .errors import ThingError
from .keys import ThingKeys
from .remote import RemoteAccess
from .rotation import Rotation
from .shadow_sync import ShadowSync
from .topics import PLATFORM, Topics

_LOGGER = logging.getLogger(__name__)

ONLINE: Final = b'{"state":"ONLINE"}'
OFFLINE: Final = b'{"state":"OFFLINE"}'
GOODBYE_WITHIN: Final = 2.0
WINDOW: Final = 20
"""Captures of one device that wait for their acknowledgement at once, where each is one message."""
SMALL: Final = min(16 * 1024, RAW_BYTES)
MOST_UNFINISHED: Final = 8
MOST_ANSWERS: Final = 16
"""Answers with certificates that wait to be looked at."""

type Job = Callable[[], Awaitable[None]]


class _Wish(NamedTuple):
    """What a device shall log, and until when (Unix seconds)."""

    config: LogConfig
    ends_at: float

    def same_as(self, other: _Wish) -> bool:
        """Whether both wish for the same; moments are rounded to seconds."""
        mine, theirs = self.config, other.config
        return (mine.level, mine.module_flags) == (theirs.level, theirs.module_flags) and abs(
            self.ends_at - other.ends_at
        ) <= 2


class ClesydeDestination(Destination):
    """One thing at Clesyde. Every method that sends raises CloudError.

    ``reading_of`` reads a capture by its ID and ``report_of`` a core dump; both raise CloudError.
    ``run_in_executor`` runs what blocks. The transport's last will must be `OFFLINE`. A message
    that can't be understood is counted, and changes nothing. ``visits`` counts requests through the
    tunnel by what became of them.
    """

    def __init__(
        self,
        destination_id: str,
        keys: ThingKeys,
        transport: Transport,
        choice: Choice,
        *,
        reading_of: Callable[[int], Awaitable[Reading]],
        report_of: Callable[[Capture], Awaitable[CrashReport | None]],
        run_in_executor: Callable[..., Awaitable[Any]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.id = destination_id
        self.keys = keys
        self.topics = Topics(keys.thing.serial)
        self.transport = transport
        self.choice = choice
        self.counters: Counter[str] = Counter()
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.on_log_config: Callable[[DeviceKey, LogConfig, bool], None] | None = None
        self.shadow: ShadowSync | None = None
        self.remote: RemoteAccess | None = None
        self.visits: Counter[str] = Counter()
        self.on_change: Callable[[], None] = lambda: None
        self.rotation = Rotation(
            self.request, lambda: keys.thing.remote, self._rotated, run=run_in_executor
        )
        self.rotation.on_ask = lambda: self.do(self.rotation.ask)
        self._reading_of = reading_of
        self._report_of = report_of
        self._run_in_executor = run_in_executor
        self._now = now
        self._unheard: dict[str, None] = {}
        self._levels: dict[DeviceKey, _Wish] = {}
        self._unfinished: OrderedDict[int, deque[tuple[str, bytes]]] = OrderedDict()
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        transport.on_state = self._state_changed

    # The connection

    @property
    def on_denied(self) -> Callable[[], None] | None:
        """Called when the topics that the broker denies have changed."""
        return self.transport.on_denied

    @on_denied.setter
    def on_denied(self, listener: Callable[[], None] | None) -> None:
        self.transport.on_denied = listener

    @property
    @override
    def state(self) -> ConnectionState:
        """How the connection stands."""
        return self.transport.state

    @property
    @override
    def connected(self) -> bool:
        """Whether a capture could be delivered now."""
        return self.transport.connected

    @override
    async def run(self) -> None:
        """Keep the connection, the shadow and the tunnel; say good-bye in the end."""
        connection = asyncio.create_task(self.transport.run())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_as_long_as(connection))
                tasks.create_task(self._work())
                tasks.create_task(self._listen())
                for part in (self.shadow, self.remote):
                    if part is not None:
                        tasks.create_task(part.run())
        finally:
            self.rotation.stop()
            await self._say_goodbye()
            connection.cancel()
            with suppress(asyncio.CancelledError):
                await connection

    @property
    @override
    def denied_topics(self) -> Sequence[str]:
        """Topics on which nothing may be said, and filters that may not be listened to."""
        return [*self.transport.denied_topics, *self._unheard]

    @override
    def forgive(self) -> None:
        """Try at once what the broker denied: its policy may have been changed."""
        self.transport.forgive()
        for each in self._unheard:
            self.transport.ask_again(each)

    def _state_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            self.do(self._announce)
        else:
            if self.shadow is not None:
                self.shadow.lost()
            if self.remote is not None:
                self.remote.reachable(reachable=False)
        if self.on_state is not None:
            self.on_state(state)

    async def _announce(self) -> None:
        """Say that we are here once answers can be heard, and begin to ask."""
        for each in self.topics.filters:
            await self.transport.subscribed(each)
        try:
            await self.transport.publish(self.topics.status, ONLINE)
        except CloudError:
            if not self.transport.connected:
                raise
            # Whoever may not say so may still be asked, and visited.
            self.counters["status_denied"] += 1
        if self.shadow is not None:
            self.shadow.connected()
        if self.remote is not None:
            self.remote.reachable(reachable=True)

    async def _say_goodbye(self) -> None:
        """Say that we go: the broker says it for us only where the connection breaks."""
        if not self.transport.connected:
            return
        with suppress(CloudError, TimeoutError):
            async with asyncio.timeout(GOODBYE_WITHIN):
                await self.transport.publish(self.topics.status, OFFLINE)

    # What comes

    async def _listen(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in self.topics.filters:
                tasks.create_task(self._listen_to(each))

    async def _listen_to(self, topic_filter: str) -> None:
        with suppress(CloudError):
            await self.transport.subscribe(
                topic_filter,
                self._received,
                partial(self._answered, topic_filter, allowed=False),
                on_allowed=partial(self._answered, topic_filter, allowed=True),
            )

    def _answered(self, topic_filter: str, *, allowed: bool) -> None:
        """Note whether the broker lets a filter be listened to."""
        if allowed is (topic_filter not in self._unheard):
            return
        if allowed:
            del self._unheard[topic_filter]
        else:
            self._unheard[topic_filter] = None
            self.counters["filters_refused"] += 1
        if self.on_denied is not None:
            self.on_denied()

    def _received(self, topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001
        try:
            self._take(topic, payload)
        except InvalidMessage as err:
            self.counters["bad_messages"] += 1
            _LOGGER.debug("A message on %s was left alone: %s", topic, err)

    def _take(self, topic: str, payload: bytes) -> None:
        if (action := self.topics.response_to(topic)) is not None:
            if action == remote.ACTION and self.remote is not None:
                self.remote.received(payload)
            elif action == rotation.ACTION:
                if self._jobs.qsize() >= MOST_ANSWERS:
                    raise InvalidMessage("more answers than anybody could have asked for")
                self.do(lambda: self.rotation.received(payload))
            else:
                raise InvalidMessage(f"nobody asked for {action}")
        elif (of_shadow := self.topics.of_shadow(topic)) is not None and self.shadow is not None:
            self.shadow.received(*of_shadow, payload)
        elif topic == PLATFORM:
            self.counters["platform_messages"] += 1
        else:
            raise InvalidMessage("an unknown topic")

    def do(self, job: Job) -> None:
        """Have something done beside everything else, in its turn."""
        self._jobs.put_nowait(job)

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                await job()
            except InvalidMessage as err:
                self.counters["bad_messages"] += 1
                _LOGGER.debug("An answer was left alone: %s", err)
            except (CloudError, ThingError) as err:
                self.counters["jobs_failed"] += 1
                _LOGGER.debug("Something was not done: %s", err)

    async def request(self, action: str, payload: bytes) -> None:
        """Ask for something; what is answered comes on the topic of responses."""
        await self.transport.publish(self.topics.request(action), payload)

    # Remote access

    def offer_remote(self, remote_access: RemoteAccess) -> None:
        """Have remote access, up or not."""
        self.remote = remote_access
        remote_access.want(wanted=self.keys.wanted)
        remote_access.on_change = self._remote_changed
        remote_access.on_served = lambda: self.do(self.keys.worked)

    def _remote_changed(self) -> None:
        self.on_change()

    @property
    def remote_wanted(self) -> bool:
        """Whether a person wants remote access."""
        return self.keys.wanted

    @property
    def remote_connected(self) -> bool:
        """Whether the tunnel is up."""
        return self.remote is not None and self.remote.state is remote.RemoteState.CONNECTED

    @property
    def remote_url(self) -> str:
        """Where a browser finds this Home Assistant while the tunnel is up."""
        return self.keys.thing.url

    @property
    def remote_failure(self) -> tuple[str, float] | None:
        """Why the tunnel is not up though it is wanted, and since when (Unix seconds)."""
        if self.remote is None or self.remote.failure is None or self.remote.failed_since is None:
            return None
        return self.remote.failure, self.remote.failed_since

    @property
    def remote_token_expires_at(self) -> float | None:
        """Until when the tunnel's token is valid (Unix seconds)."""
        token = self.remote.token if self.remote is not None else None
        return None if token is None else token.valid

    @property
    def remote_certificate_expires_at(self) -> float:
        """Until when the tunnel's certificate is valid (Unix seconds)."""
        return self.keys.remote.until.timestamp()

    @property
    def certificate_expires_at(self) -> float:
        """Until when the thing's certificate is valid (Unix seconds)."""
        return self.keys.iot.until.timestamp()

    async def want_remote(self, *, wanted: bool) -> None:
        """Have the tunnel up from now on, or down, over restarts too; raises ThingError."""
        await self.keys.want(wanted=wanted)
        if self.remote is not None:
            self.remote.want(wanted=wanted)
        self.on_change()

    async def _rotated(self, pair: Pair) -> None:
        """Have a new remote certificate served, and tell the shadow."""
        await self.keys.take(pair)
        if self.remote is not None:
            self.remote.renew()
        if self.shadow is not None:
            self.shadow.report_soon()
        self.on_change()

    # Log levels

    def wish_levels(self, levels: Mapping[DeviceKey, LogConfig]) -> None:
        """Pass on what devices shall log, each wish once."""
        now = self._now()
        for key, config in levels.items():
            wish = _Wish(config, now + config.timeout_seconds)
            # What is left of the same wish is not another one.
            if (before := self._levels.get(key)) is not None and before.same_as(wish):
                continue
            self._levels[key] = wish
            if self.on_log_config is not None:
                self.on_log_config(key, config, False)
        for key in self._levels.keys() - levels.keys():
            del self._levels[key]

    async def follow_log_config(self, key: DeviceKey, identified_at: float = 0.0) -> None:
        """Pass on what is left of a wish for a device that is there from now on."""
        wish = self._levels.get(key)
        if wish is None or self.on_log_config is None:
            return
        if (left := math.ceil(wish.ends_at - self._now())) >= SHORTEST:
            self.on_log_config(key, replace(wish.config, timeout_seconds=left), True)

    def device_identified(self, key: DeviceKey, at: float) -> None:
        """Do nothing: one shadow speaks of all devices."""

    async def unfollow_log_config(self, key: DeviceKey) -> None:
        """Do nothing: the shadow goes on speaking of all devices."""

    # Captures

    @override
    def window(self, capture: Capture) -> int:
        """Return how many captures of a device may be under way: the connection keeps their order.

        Only one where it takes several messages or reading, or may be what the broker closes on.
        """
        topic = self.choice.logs if capture.kind is CaptureKind.LOG else self.choice.crashes
        simple = self.choice.raw and not self.choice.needs_reading(capture.kind)
        suspected = bool(topic) and self.transport.suspects(self.topics.capture(topic))
        return WINDOW if simple and len(capture.data) <= SMALL and not suspected else 1

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        """Return once the broker has acknowledged all that was chosen of the capture.

        What was acknowledged before a failure is not sent again as long as this runs.
        """
        if not self.choice.wants(capture.kind):
            self.counters["not_chosen"] += 1
            return
        parts = self._unfinished.pop(capture_id, None)
        if parts is None:
            parts = deque(await self._messages(capture, capture_id))
        try:
            while parts:
                topic, payload = parts[0]
                await self.transport.publish(self.topics.capture(topic), payload)
                parts.popleft()
                self.counters["messages"] += 1
        finally:
            if parts:
                self._unfinished[capture_id] = parts
                while len(self._unfinished) > MOST_UNFINISHED:
                    self._unfinished.popitem(last=False)
        self.counters["captures_delivered"] += 1

    async def _messages(self, capture: Capture, capture_id: int) -> list[tuple[str, bytes]]:
        reading = report = None
        if self.choice.needs_reading(capture.kind):
            reading = await self._reading_of(capture_id)
        elif capture.kind is CaptureKind.CORE_DUMP and not self.choice.raw:
            report = await self._report_of(capture)
        if reading is None and len(capture.data) <= SMALL:
            return messages(self.choice, capture_id, capture, reading, report)
        found: list[tuple[str, bytes]] = await self._run_in_executor(
            messages, self.choice, capture_id, capture, reading, report
        )
        return found

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        """Return what helps to find out why something is not there; nothing in it is secret."""
        found: dict[str, Any] = {
            "transport": self.transport.diagnostics(),
            "counters": dict(self.counters),
            "captures": {
                "raw": self.choice.raw,
                "logs": bool(self.choice.logs),
                "metrics": bool(self.choice.metrics),
                "crashes": bool(self.choice.crashes),
            },
        }
        if self.shadow is not None:
            found["shadow"] = {
                "version": self.shadow.version,
                "refused": dict(self.shadow.refused),
                "last_rejection": self.shadow.last_rejection,
                "counters": dict(self.shadow.counters),
            }
        if self.remote is not None:
            token = self.remote.token
            found["remote"] = {
                "wanted": self.remote.wanted,
                "state": self.remote.state.value,
                "failure": self.remote.failure,
                "valid_until": None if token is None else token.valid,
                "requests": dict(self.visits),
            }
        found["rotation"] = {"wanted": self.rotation.wanted, "failure": self.rotation.failure}
        return found


async def _as_long_as(task: asyncio.Task[None]) -> None:
    """Fail when a task does; it is ended by somebody else."""
    await asyncio.shield(task)
