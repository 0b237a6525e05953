"""A UDMI site as a destination: the gateway and its proxies on one connection.

The gateway's config says which proxies the site knows. Each of those is attached on every
connection, then listens for its own config; a capture goes in the name of its device's proxy, and
waits while the site has not taken that in. States go when `StateTimer` says so, events of blocks
through `EventQueue`, captures acknowledged part by part through `CaptureSender`.
"""

import asyncio
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, override

from ...insight.crash_report import CrashReport
from ...insight.reading import Reading
from ...model.capture import Capture
from ...model.identity import DeviceKey
from ...model.log_config import LogConfig
from ..destination import ConnectionState, Destination
from ..errors import CloudError, CloudUnavailable
from .captures import CaptureSender
from .errors import NotAttached
from .link import UdmiLink
from .outgoing import EventQueue
from .progress import Progress
from .speaker import Speaker
from .status import VERSION, Severity, make_status, stamp
from .topics import COMMANDS, CONFIG, Heard
from .wishes import LevelWishes

_LOGGER = logging.getLogger(__name__)

ATTACH_PATIENCE: Final = 60.0
"""Seconds that a device's captures wait for its proxy before somebody hears of it."""
RENEW_WISHES: Final = 24 * 3600.0
LOOK_EVERY: Final = 1.0
MOST_ERRORS: Final = 10
LARGEST_ERROR: Final = 1024
ROTATE_KEY: Final = "rotate_key"

type Job = Callable[[], Coroutine[Any, Any, None]]


class UdmiDestination(Destination):
    """One gateway at a UDMI site. Every method that sends raises CloudError.

    ``proxy_of`` names the proxy of a device, and ``make_proxy`` makes one that the site wants, None
    where nobody knows it. ``on_not_attached`` is called with a proxy that can't be spoken for and
    why, ``on_heard`` with one that is, and ``on_detached`` with one that is not any longer;
    ``on_attached`` when captures of one can go. ``off`` says why a site has switched the gateway
    off.
    """

    def __init__(
        self,
        destination_id: str,
        link: UdmiLink,
        *,
        progress: Progress,
        proxy_of: Callable[[DeviceKey], str | None],
        device_of: Callable[[str], DeviceKey | None],
        reading_of: Callable[[int], Awaitable[Reading]],
        report_of: Callable[[Capture], Awaitable[CrashReport | None]],
        wishes: LevelWishes,
        run: Callable[..., Awaitable[Any]],
        off: str = "",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.id = destination_id
        self.link = link
        self.off = off
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.on_denied: Callable[[], None] | None = None
        self.on_attached: Callable[[], None] = lambda: None
        self.on_command: dict[str, Callable[[], Awaitable[object]]] = {}
        self.make_proxy: Callable[[str], Speaker | None] = lambda _id: None
        self.on_not_attached: Callable[[str, str], None] = lambda _id, _why: None
        self.on_heard: Callable[[str], None] = lambda _id: None
        self.on_detached: Callable[[str], None] = lambda _id: None
        self.gateway: Speaker
        self.proxies: dict[str, Speaker] = {}
        self.counters: Counter[str] = Counter()
        self.errors: deque[str] = deque(maxlen=MOST_ERRORS)
        self.events = EventQueue(self._send_event, self.counters, attached=self._is_attached)
        self._proxy_of = proxy_of
        self._device_of = device_of
        self._wishes = wishes
        self._clock = clock
        self._now = now
        self._sender = CaptureSender(
            self._send,
            progress,
            self.counters,
            reading_of=reading_of,
            report_of=report_of,
            run=run,
        )
        self._connection = 0
        self._hearing_now: frozenset[str] = frozenset()
        self._wake = asyncio.Event()
        self._attached = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wishes_at = clock() + RENEW_WISHES
        link.on_state = self._state_changed
        link.on_denied = self._denied_changed
        link.on_ready = self._ready
        link.on_lost = self._lost
        link.on_heard = self._heard

    # What a destination is

    @property
    @override
    def state(self) -> ConnectionState:
        return ConnectionState.DISCONNECTED if self.off else self.link.state

    @override
    async def run(self) -> None:
        """Keep the connection, and everything on it; nothing where the site has it off."""
        if self.off:
            await asyncio.Event().wait()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.link.run())
                tasks.create_task(self.events.run())
                tasks.create_task(self._keep_time())
        finally:
            for task in self._tasks:
                task.cancel()

    @override
    def forgive(self) -> None:
        self.link.forgive()

    @override
    def window(self, capture: Capture) -> int:
        """One after the other: what a capture consists of goes side by side already."""
        return 1

    @override
    def ready(self, capture: Capture) -> bool:
        """Whether the site hears the device's proxy."""
        return self._hearing(capture) is not None

    @override
    async def prepare(self, capture: Capture) -> None:
        """Wait until the site has taken the device in; raises NotAttached."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ATTACH_PATIENCE):
                while self._hearing(capture) is None:
                    self._attached.clear()
                    await self._attached.wait()
                return
        proxy = self._proxy_of(capture.device.key)
        said = f"the site's config does not name the proxy {proxy or '-'}"
        raise NotAttached(said, sent=False)

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        if (speaker := self._hearing(capture)) is None:
            raise CloudUnavailable("the device's proxy is not attached", sent=False)
        least = speaker.system.min_loglevel
        await self._sender.send(speaker.id, least, capture, capture_id)

    def _hearing(self, capture: Capture) -> Speaker | None:
        """Return the speaker for a device if its level is known, or was waited for enough."""
        proxy_id = self._proxy_of(capture.device.key)
        speaker = self.proxies.get(proxy_id or "")
        if speaker is None or not speaker.attached or not speaker.timer.open:
            return None
        return speaker

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        target = self.link.target.endpoint
        authentication = self.link.authentication
        return {
            "broker": target.address,
            "encrypted": target.encrypted,
            "authentication": authentication and authentication.kind.value,
            "last_config": self.gateway.device.last_config or None,
            "status": self.gateway.device.status,
            "proxies": {
                each.id: {
                    "attached": each.attached,
                    "last_config": each.device.last_config or None,
                    "min_loglevel": each.system.min_loglevel,
                    "status": each.device.status,
                }
                for each in self.proxies.values()
            },
            "events_waiting": len(self.events),
            "errors": list(self.errors),
            "counters": dict(self.counters),
            "off": self.off or None,
            **self.link.diagnostics(),
        }

    # Log levels

    @property
    def on_log_config(self) -> Callable[[DeviceKey, LogConfig, bool], None] | None:
        """Called with each wish for a device's log level."""
        return self._wishes.on_log_config

    @on_log_config.setter
    def on_log_config(self, told: Callable[[DeviceKey, LogConfig, bool], None] | None) -> None:
        self._wishes.on_log_config = told

    async def follow_log_config(self, key: DeviceKey, identified_at: float = 0.0) -> None:
        """Pass on what is wished for a device that is there from now on."""
        await self._wishes.tell(key)

    def device_identified(self, key: DeviceKey, at: float) -> None:
        """Have a state say who the device is by now."""
        if (speaker := self.proxies.get(self._proxy_of(key) or "")) is not None:
            speaker.changed()

    async def unfollow_log_config(self, key: DeviceKey) -> None:
        """Pass on nothing more for a device."""
        self._wishes.forget(key)

    def _level_changed(self, proxy_id: str) -> None:
        speaker, key = self.proxies.get(proxy_id), self._device_of(proxy_id)
        if speaker is not None and key is not None:
            level = speaker.system.min_loglevel if speaker.system.level_chosen else None
            self.do(partial(self._wishes.wish, key, level))

    # The connection

    def _state_changed(self, state: ConnectionState) -> None:
        if self.on_state is not None and not self.off:
            self.on_state(state)

    def _denied_changed(self) -> None:
        if self.on_denied is not None:
            self.on_denied()

    def _ready(self) -> None:
        self._connection += 1
        self.gateway.attached = True
        self.gateway.timer.connected()
        self.events.connected(connected=True)
        for proxy_id in self.proxies:
            self.do(partial(self._attach, proxy_id, self._connection))
        self.changed()

    def _lost(self) -> None:
        self.events.connected(connected=False)
        self.gateway.attached = False
        for each in self.proxies.values():
            each.attached = False

    def do(self, job: Job) -> None:
        """Have something done beside everything else; a CloudError of it is only noted."""
        task = asyncio.create_task(self._done(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _done(self, job: Job) -> None:
        try:
            await job()
        except CloudError as err:
            self.counters["jobs_failed"] += 1
            _LOGGER.debug("Something was not done: %s", err)

    # Proxies

    def attach(self, proxy_id: str) -> None:
        """Speak for a proxy from now on, on every connection; or try again now."""
        speaker = self.proxies.get(proxy_id)
        if speaker is None:
            if (speaker := self.make_proxy(proxy_id)) is None:
                self.on_not_attached(proxy_id, "there is no such device")
                return
            speaker.system.on_level = partial(self._level_changed, proxy_id)
            self.proxies[proxy_id] = speaker
        if self.link.ready and not speaker.attached:
            self.do(partial(self._attach, proxy_id, self._connection))

    def detach(self, proxy_id: str) -> None:
        """Speak for a proxy no longer."""
        if self.proxies.pop(proxy_id, None) is not None:
            self.events.forget(proxy_id)
            self.on_detached(proxy_id)
            self.do(partial(self.link.detach, proxy_id))

    async def _attach(self, proxy_id: str, connection: int) -> None:
        problem = ""
        if (speaker := self.proxies.get(proxy_id)) is None:
            return
        try:
            if not await self.link.attach(proxy_id):
                problem = "the broker does not let us hear its config"
        except CloudError as err:
            problem = str(err)
        if self.proxies.get(proxy_id) is not speaker or not self._is_on(connection):
            return
        if problem:
            self.on_not_attached(proxy_id, problem)
            return
        speaker.attached = True
        speaker.timer.connected()
        self.events.look()
        self.on_heard(proxy_id)
        self.changed()

    def _is_attached(self, device_id: str) -> bool:
        """Whether a device can be spoken for on this connection."""
        speaker = self.gateway if device_id == self.gateway.id else self.proxies.get(device_id)
        return speaker is not None and speaker.attached

    def _is_on(self, connection: int) -> bool:
        return self.link.ready and self._connection == connection

    # What comes

    def _heard(self, heard: Heard, payload: bytes) -> None:
        own = heard.device_id == self.gateway.id
        speaker = self.gateway if own else self.proxies.get(heard.device_id)
        if speaker is None:
            self.counters["unknown_devices"] += 1
        elif heard.kind == CONFIG:
            if payload:
                good = speaker.device.configure(payload)
                self.counters["configs" if good else "bad_configs"] += 1
                self._tell_attached()
        elif heard.kind == COMMANDS:
            self._command(speaker, heard.rest)
        else:
            self.errors.append(payload[:LARGEST_ERROR].decode(errors="replace"))
            self.counters["errors"] += 1

    def _command(self, speaker: Speaker, name: str) -> None:
        self.counters["commands"] += 1
        command = self.on_command.get(name) if speaker is self.gateway else None
        if command is None:
            message = f"There is no command {name[:64]!r} here"
            category = "device.gateway.command"
            speaker.tell(make_status(message, category, Severity.WARNING, self._now()))
            return

        async def obey() -> None:
            await command()

        self.do(obey)

    # Time

    def changed(self) -> None:
        """Look again at what is due."""
        self._wake.set()

    async def _keep_time(self) -> None:
        while True:
            self._wake.clear()
            for each in (self.gateway, *self.proxies.values()):
                each.wake()
                if (at := each.due_at()) is not None and at <= self._clock():
                    each.sending = True
                    self.do(partial(self._send_state, each))
            self._tell_attached()
            if (now := self._clock()) >= self._wishes_at:
                self._wishes_at = now + RENEW_WISHES
                for proxy_id in self.proxies:
                    if (key := self._device_of(proxy_id)) is not None:
                        self.do(partial(self._wishes.tell, key))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._next_moment()):
                    await self._wake.wait()

    def _next_moment(self) -> float:
        """Return the seconds until something is due; values move without anybody saying so."""
        moments = [self._wishes_at]
        for each in (self.gateway, *self.proxies.values()):
            moments += [at for at in (each.wake_at(), each.due_at()) if at is not None]
        return min(LOOK_EVERY, max(0.01, min(moments) - self._clock()))

    def _tell_attached(self) -> None:
        """Have captures go on that waited for a proxy to be there."""
        before = self._hearing_now
        self._hearing_now = frozenset(
            each.id for each in self.proxies.values() if each.attached and each.timer.open
        )
        if self._hearing_now - before:
            self._attached.set()
            self.on_attached()

    # What goes

    async def _send_state(self, speaker: Speaker) -> None:
        speaker.sending = True
        try:
            speaker.timer.sending()
            state = speaker.device.state()
            payload = json.dumps(state, separators=(",", ":"), allow_nan=False)
            await self.link.publish(self.link.topics.state(speaker.id), payload.encode())
            self.counters["states"] += 1
        except CloudError:
            speaker.timer.failed()
            raise
        finally:
            speaker.sending = False
            self.changed()

    async def flush_state(self, speaker: Speaker) -> None:
        """Publish a state now, as soon as one may follow the one before; raises CloudError."""
        while speaker.sending:
            await speaker.idle.wait()
        speaker.sending = True
        try:
            await asyncio.sleep(max(0.0, speaker.timer.hurry_at() - self._clock()))
        except BaseException:
            speaker.sending = False
            raise
        await self._send_state(speaker)

    def publish(self, device_id: str, subfolder: str, payload: Mapping[str, Any]) -> None:
        """Have an event sent in its turn; it says when it was, and in which version."""
        at = stamp(self._now())
        event = {"timestamp": at, "version": VERSION, **payload}
        self.events.put(device_id, subfolder, event)

    async def send_now(self, subfolder: str, payload: Mapping[str, Any]) -> None:
        """Publish an event of the gateway, and return at its acknowledgement; raises CloudError."""
        event = {"timestamp": stamp(self._now()), "version": VERSION, **payload}
        await self._send_event(self.gateway.id, subfolder, event)

    async def _send_event(self, device_id: str, subfolder: str, payload: Mapping[str, Any]) -> None:
        text = json.dumps(payload, separators=(",", ":"), allow_nan=False)
        await self._send(device_id, subfolder, text.encode())

    async def _send(self, device_id: str, subfolder: str, payload: bytes) -> None:
        if not self._is_attached(device_id):
            raise CloudUnavailable(f"{device_id} is not attached", sent=False)
        await self.link.publish(self.link.topics.events(device_id, subfolder), payload)
