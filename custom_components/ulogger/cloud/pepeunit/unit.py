"""Pepeunit as a destination: what devices logged becomes records in the log of one unit.

A capture is delivered when all of its records are acknowledged, in its order. What was taken of
it before a connection was lost is not sent again.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, override

from ...insight.reading import Reading
from ...model.capture import Capture
from ...model.identity import DeviceIdentity
from ...model.telemetry import TextLine
from ..destination import ConnectionState, Destination
from ..errors import CloudError, CloudUnavailable
from .cipher import decrypt, encrypt
from .commands import Command
from .device_records import capture_records, line_records
from .env import Env
from .errors import CipherError, InvalidCommand, NoLogTopic
from .link import Link, MakeTransport, Security
from .records import LARGEST_MESSAGE, LogRecord, in_messages
from .schema import STATE, Schema

_LOGGER = logging.getLogger(__name__)

type Run = Callable[..., Awaitable[Any]]
"""Runs a blocking callable with its arguments elsewhere: ``hass.async_add_executor_job``."""

MOST_WAITING: Final = 1_000
"""Values of outputs that wait for a connection; the oldest are dropped first."""
MOST_REMEMBERED: Final = 1_000
"""Captures of which it is known how much was taken."""
RETRY: Final = 5.0


@dataclass(frozen=True, slots=True)
class Mapped:
    """The names of inputs and outputs that are in use, and which of them are encrypted."""

    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    encrypted: frozenset[str] = frozenset()


class PepeunitDestination(Destination):
    """One unit: its log takes captures, its outputs values; its inputs and commands come in.

    ``reading_of`` returns what a capture says, by its ID in the outbox. ``on_command`` and
    ``on_input`` (name and value) are called on the event loop and must not block, ``on_records``
    with the records that were sent.
    """

    def __init__(
        self,
        destination_id: str,
        env: Env,
        schema: Schema,
        security: Security,
        *,
        reading_of: Callable[[int], Awaitable[Reading]],
        run: Run,
        mapped: Mapped | None = None,
        make: MakeTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = destination_id
        self.env = env
        self.schema = schema
        self.mapped = mapped or Mapped()
        self.on_state: Callable[[ConnectionState], None] | None = None
        self.on_denied: Callable[[], None] | None = None
        self.on_command: Callable[[Command], None] = lambda _: None
        self.on_input: Callable[[str, str], None] = lambda _name, _value: None
        self.on_records: Callable[[Sequence[LogRecord]], None] = lambda _: None
        self.counters: Counter[str] = Counter()
        self.link = Link(env, security, self._received, make=make, clock=clock)
        self.link.on_state = self._state_changed
        self.link.echoes.on_denied = self._denied_changed
        self._reading_of = reading_of
        self._run = run
        self._sleep = sleep
        self._taken: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._has_waiting = asyncio.Event()
        self._follow()

    # As a destination

    @property
    @override
    def state(self) -> ConnectionState:
        """How the connection to the broker stands."""
        return self.link.state

    @property
    @override
    def connected(self) -> bool:
        return self.link.connected

    @override
    async def run(self) -> None:
        """Keep the connection, and send what waits, until cancelled."""
        async with asyncio.TaskGroup() as work:
            work.create_task(self.link.run())
            work.create_task(self._send_waiting())

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        """Return once all records of the capture are acknowledged; raises CloudError."""
        reading = await self._reading_of(capture_id)
        records = await self._run(capture_records, capture, capture_id, reading, self.env.min_level)
        messages: list[tuple[bytes, int]] = await self._run(_packed, records)
        mark = hashlib.sha256(b"\0".join(payload for payload, _ in messages)).digest()
        before, taken = self._taken.pop(capture_id, (mark, 0))
        first = taken if before == mark else 0
        done = sum(count for _, count in messages[:first])
        for number in range(first, len(messages)):
            payload, count = messages[number]
            await self._log(payload)
            self.on_records(records[done : done + count])
            done += count
            self._remember(capture_id, mark, number + 1)
        self._taken.pop(capture_id, None)
        self.counters["captures"] += 1

    @override
    def forgive(self) -> None:
        self.link.forgive()
        self._has_waiting.set()

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        """Say how the unit is; its token, its keys and what its nodes are called are left out."""
        return {
            **self.link.diagnostics(),
            "unit_counters": dict(self.counters),
            "values_waiting": len(self._waiting),
            "inputs": len(self.mapped.inputs),
            "outputs": len(self.mapped.outputs),
            "min_level": self.env.min_level,
            "state_interval": self.env.state_interval,
        }

    # What else it takes

    async def publish_text_log(self, device: DeviceIdentity, lines: Sequence[TextLine]) -> None:
        """Return once all lines that are important enough are acknowledged; raises CloudError."""
        await self.publish_records(line_records(device.serial, lines, self.env.min_level))

    async def publish_records(self, records: Sequence[LogRecord], *, again: bool = False) -> None:
        """Send records of the log; ``again`` says that they were sent before."""
        done = 0
        for payload, count in await self._run(_packed, records):
            await self._log(payload)
            if not again:
                self.on_records(records[done : done + count])
            done += count

    async def publish_state(self, state: Mapping[str, Any]) -> bool:
        """Send the state of this machine; says whether the schema has a topic for it.

        Raises CloudError.
        """
        topics = self.schema.reports.get(STATE, ())
        for topic in topics[:1]:
            await self.link.send(topic, json.dumps(state).encode())
        return bool(topics)

    def put_output(self, name: str, value: str) -> None:
        """Have an output get a value, as soon as there is a connection.

        One that fits no message is counted, and left out. Raises CipherError where the output is
        encrypted and the unit has no key.
        """
        if name in self.mapped.encrypted:
            value = encrypt(value, self.env.encrypt_key)
        payload = value.encode(errors="replace")
        if len(payload) > LARGEST_MESSAGE:
            self.counters["values_too_long"] += 1
            _LOGGER.warning("A value of the output %s is too long: %d bytes", name, len(payload))
            return
        for topic in self.schema.outputs.get(name, ()):
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.counters["values_dropped"] += 1
            self._waiting.append((topic, payload))
        self._has_waiting.set()

    # What changes it

    def apply_env(self, env: Env) -> None:
        """Take another ``env.json``; the connection is made anew where it says another one."""
        before, self.env = self.env, env
        if _connection(before) != _connection(env):
            self.link.renew(env)

    def apply_schema(self, schema: Schema) -> None:
        """Take another ``schema.json``: listen to its topics, and to no others."""
        self.schema = schema
        self._follow()

    def apply_mapping(self, mapped: Mapped) -> None:
        """Use other inputs and outputs."""
        self.mapped = mapped
        self._follow()

    @property
    def missing(self) -> list[str]:
        """The names that are mapped and that the schema does not have."""
        return [
            *sorted(self.mapped.inputs - self.schema.inputs.keys()),
            *sorted(self.mapped.outputs - self.schema.outputs.keys()),
        ]

    # Within

    def _follow(self) -> None:
        schema = self.schema
        heard = [
            *_topics(schema.commands, schema.commands),
            *_topics(schema.inputs, self.mapped.inputs),
        ]
        sent_on = {
            *filter(None, (schema.log_topic, schema.state_topic)),
            *_topics(schema.outputs, self.mapped.outputs),
        }
        self.link.follow(dict.fromkeys(heard), sent_on)

    async def _log(self, payload: bytes) -> None:
        if (topic := self.schema.log_topic) is None:
            raise NoLogTopic("the unit's schema has no topic for logs")
        await self.link.send(topic, payload)

    async def _send_waiting(self) -> None:
        """Send the values of outputs one after another; one that fails for now stays first."""
        while True:
            self._has_waiting.clear()
            while self._waiting and self.link.connected:
                topic, payload = sent = self._waiting[0]
                try:
                    await self.link.send(topic, payload)
                except CloudUnavailable as err:
                    if not err.retry_after:
                        await self._sleep(RETRY)
                        continue
                    self.counters["values_denied"] += 1
                except CloudError:
                    self.counters["values_refused"] += 1
                else:
                    self.counters["values"] += 1
                # A full line may have dropped it meanwhile.
                if self._waiting and self._waiting[0] is sent:
                    self._waiting.popleft()
            await self._has_waiting.wait()

    def _remember(self, capture_id: int, mark: bytes, taken: int) -> None:
        self._taken[capture_id] = (mark, taken)
        while len(self._taken) > MOST_REMEMBERED:
            self._taken.popitem(last=False)

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        if retained:
            # Pepeunit's broker retains nothing; an old command must not count again.
            self.counters["retained"] += 1
            return
        if (command := self.schema.command_of(topic)) is not None:
            self._command(command, payload)
        elif (name := self.schema.input_of(topic)) in self.mapped.inputs:
            self._input(str(name), payload)

    def _command(self, name: str, payload: bytes) -> None:
        try:
            command = Command.parse(name, payload)
        except InvalidCommand as err:
            self.counters["commands_refused"] += 1
            _LOGGER.debug("A message is no command: %s", err)
            return
        self.counters[f"command_{command.kind}"] += 1
        self.on_command(command)

    def _input(self, name: str, payload: bytes) -> None:
        if len(payload) > LARGEST_MESSAGE:
            self.counters["inputs_too_long"] += 1
            return
        value = payload.decode(errors="replace")
        if name in self.mapped.encrypted:
            try:
                value = decrypt(value, self.env.encrypt_key)
            except CipherError as err:
                self.counters[err.problem] += 1
                return
        self.counters["inputs"] += 1
        self.on_input(name, value)

    def _state_changed(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            self._has_waiting.set()
        if self.on_state is not None:
            self.on_state(state)

    def _denied_changed(self) -> None:
        if self.on_denied is not None:
            self.on_denied()


def _packed(records: Sequence[LogRecord]) -> list[tuple[bytes, int]]:
    return list(in_messages(records))


def _topics(section: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> list[str]:
    return [topic for name in sorted(names) for topic in section.get(name, ())]


def _connection(env: Env) -> tuple[object, ...]:
    return (env.host, env.port, env.token, env.keepalive)
