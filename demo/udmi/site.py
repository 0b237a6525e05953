"""A building's side of UDMI: configs for a gateway and its devices, and all that they say.

The broker is mosquitto behind a gate that asks for what a real one asks for. Whoever subscribes to
the config of a device gets it at once; a config that changes gets a newer timestamp. What the site
can do that a gateway must bear (send rubbish, refuse, fall silent) is a method or an attribute.
"""

import asyncio
import base64
import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ..cloud.broker import HOST
from ..cloud.certificates import Authority
from .broker import SiteBroker
from .checking import VERSION, Message, Schemas, faults
from .door import AUDIENCE, Door, Way
from .gate import SiteGate

REGISTRY: Final = "ZZ-DEMO-SITE"
GATEWAY: Final = "GAT-1"
USER_PASSWORD: Final = "5eed5eed"
ENDPOINT_BLOB: Final = "_iot_endpoint_config"

type Json = dict[str, Any]


@dataclass(slots=True)
class Device:
    """A device of the site, and all that was said of it."""

    id: str
    config: Json
    states: list[Json] = field(default_factory=list)
    state_times: list[float] = field(default_factory=list)
    """When each state came (Unix seconds)."""
    messages: list[Message] = field(default_factory=list)
    attached: bool = False

    @property
    def state(self) -> Json:
        """Its latest state, empty before the first."""
        return self.states[-1] if self.states else {}

    def system(self) -> Json:
        """Return the system block of its latest state."""
        found: Json = self.state.get("system", {})
        return found

    def events(self, kind: str) -> list[Json]:
        """Return its events of a kind, e.g. "pointset", in their order."""
        found = [each.document for each in self.messages if each.rest == f"events/{kind}"]
        return [dict(each) for each in found if each is not None]

    def entries(self) -> list[Json]:
        """Return all log entries that it sent."""
        events = self.events("system")
        return [entry for event in events for entry in event.get("logentries") or ()]

    def values(self, point: str) -> list[Any]:
        """Return all values of a point, in their order."""
        found = [event.get("points") or {} for event in self.events("pointset")]
        return [points[point]["present_value"] for points in found if point in points]


class LocalSite:
    """A site with one gateway, in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        way: Way = Way.BASIC,
        schemas: Schemas | None = None,
        gateway: str = GATEWAY,
        authority: Authority | None = None,
        prefix: str = f"/r/{REGISTRY}/d",
    ) -> None:
        """Prepare; nothing runs yet. An ``authority`` of another site may be this one's too."""
        self.directory = directory
        self.prefix = prefix
        self.gateway_id = gateway
        self.schemas = schemas
        self.broker = SiteBroker(directory / "broker")
        self.authority = authority or self.broker.authority
        self.door = Door(way, f"{prefix}/{gateway}", f"{prefix}/{gateway}", USER_PASSWORD)
        self.gate = SiteGate(self.broker, self.door, self.authority, own_topic=self.split)
        self.gate.on_subscribed = self._subscribed
        self.devices: dict[str, Device] = {}
        self.messages: list[Message] = []
        self.invalid: list[str] = []
        self.answers_configs = True
        self._latest = dt.datetime.fromtimestamp(0, dt.UTC)
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._ready = asyncio.Event()
        self._changed = asyncio.Condition()
        self.add(gateway, {"system": {"metrics_rate_sec": 0}, "gateway": {"proxy_ids": []}})

    @property
    def gateway(self) -> Device:
        """The gateway."""
        return self.devices[self.gateway_id]

    @property
    def ca(self) -> str:
        """PEM of the authority that a gateway must trust."""
        return self.authority.ca

    @property
    def port(self) -> int:
        """Where gateways connect to."""
        return self.gate.port

    def endpoint(self, **other: Any) -> Json:
        """Return the endpoint as a site hands it out, in JSON's terms."""
        endpoint: Json = {
            "protocol": "mqtt",
            "transport": "ssl",
            "hostname": HOST,
            "port": self.port,
            "client_id": self.door.client_id,
            "topic_prefix": self.prefix,
        }
        if self.door.way is Way.BASIC:
            provider = {"username": self.door.user, "password": self.door.password}
            endpoint["auth_provider"] = {"basic": provider}
        elif self.door.way is Way.JWT:
            endpoint["auth_provider"] = {"jwt": {"audience": AUDIENCE}}
        return {**endpoint, **other}

    # Life

    async def __aenter__(self) -> Self:
        """Start everything."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    async def start(self) -> None:
        """Start broker, gate and site."""
        await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
        await self.broker.astart()
        self._task = asyncio.create_task(self._run(), name="local site")
        async with asyncio.timeout(30):
            await self._ready.wait()
        await self.gate.start()

    async def stop(self) -> None:
        """Stop everything."""
        await self.gate.stop()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.broker.astop()

    async def wait_until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Return once a condition holds; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            while not condition():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await self._changed.wait()

    # What the site wants

    def add(self, device: str, config: Mapping[str, Any]) -> Device:
        """Register a device with its config."""
        made = self.devices[device] = Device(device, dict(config))
        self._stamp(made)
        return made

    def expect(self, device: str, config: Mapping[str, Any]) -> Device:
        """Register a device that the gateway is to speak for once it comes."""
        self.gateway.config["gateway"]["proxy_ids"].append(device)
        return self.add(device, config)

    async def proxy(self, device: str, config: Mapping[str, Any]) -> Device:
        """Register a device and have the gateway speak for it."""
        made = self.add(device, config)
        ids = [*self.gateway.config["gateway"]["proxy_ids"], device]
        await self.configure(self.gateway_id, gateway={"proxy_ids": ids})
        return made

    async def configure(self, device: str, **blocks: Any) -> str:
        """Change blocks of a config (None takes one out) and say it; returns its timestamp."""
        found = self.devices[device]
        for name, block in blocks.items():
            if block is None:
                found.config.pop(name, None)
            else:
                found.config[name] = block
        self._stamp(found)
        await self.say(device, "config", found.config)
        return str(found.config["timestamp"])

    def _stamp(self, device: Device) -> None:
        """Give a config its timestamp: later than any before."""
        now = dt.datetime.now(dt.UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._latest = max(now, self._latest + dt.timedelta(milliseconds=1))
        device.config |= {"version": VERSION, "timestamp": as_text(self._latest)}

    @staticmethod
    def encoded(message: object) -> bytes:
        """Return what is said; bytes are as they are."""
        return message if isinstance(message, bytes) else json.dumps(message).encode()

    async def say(self, device: str, rest: str, message: object, *, qos: int = 1) -> None:
        """Publish something for a device."""
        payload = self.encoded(message)
        if self._client is None:
            raise aiomqtt.MqttError("the site is not connected")
        await self._client.publish(f"{self.prefix}/{device}/{rest}", payload, qos=qos)

    async def command(self, device: str, name: str, message: Mapping[str, Any]) -> None:
        """Send a command."""
        stamped = {"version": VERSION, "timestamp": as_text(dt.datetime.now(dt.UTC)), **message}
        await self.say(device, f"commands/{name}", stamped)

    def _subscribed(self, topic_filter: str) -> None:
        """Say the config to whoever has begun to listen for it."""
        found = self.split(topic_filter)
        if found is None or found[1] != "config" or found[0] not in self.devices:
            return
        if self.answers_configs:
            task = asyncio.create_task(self._greet(found[0]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _greet(self, device: str) -> None:
        with suppress(aiomqtt.MqttError):
            await self.say(device, "config", self.devices[device].config)

    # What is said

    def split(self, topic: str) -> tuple[str, str] | None:
        """Return a topic's device and what comes after it, None for another topic."""
        if not topic.startswith(f"{self.prefix}/"):
            return None
        device, _, rest = topic.removeprefix(f"{self.prefix}/").partition("/")
        return (device, rest) if device and rest else None

    async def _run(self) -> None:
        """Listen, over restarts of the broker."""
        while True:
            try:
                async with aiomqtt.Client(
                    HOST,
                    self.broker.port,
                    identifier="site",
                    protocol=aiomqtt.ProtocolVersion.V5,
                    properties=_lasting(),
                    clean_start=False,
                    max_queued_incoming_messages=0,
                ) as client:
                    self._client = client
                    await client.subscribe(f"{self.prefix}/#", qos=1)
                    self._ready.set()
                    async for message in client.messages:
                        await self._take(str(message.topic), bytes(message.payload))
            except aiomqtt.MqttError:
                self._client = None
                await asyncio.sleep(0.1)

    async def _take(self, topic: str, payload: bytes) -> None:
        found = self.split(topic)
        if found is None or found[1] == "config" or found[1].startswith("commands/"):
            return
        device_id, rest = found
        message = Message.read(topic, device_id, rest, payload, time.time())
        self.messages.append(message)
        self.invalid += [f"{topic}: {each}" for each in faults(message, self.schemas)]
        if (device := self.devices.get(device_id)) is None:
            self.invalid.append(f"{topic}: nobody is called so")
        else:
            self._note(device, message)
        async with self._changed:
            self._changed.notify_all()

    def _note(self, device: Device, message: Message) -> None:
        device.messages.append(message)
        if message.rest in {"attach", "detach"}:
            device.attached = message.rest == "attach"
        if message.rest == "state" and message.document is not None:
            device.states.append(dict(message.document))
            device.state_times.append(message.at)


def as_text(moment: dt.datetime) -> str:
    """Write a moment as UDMI has it."""
    text = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def blob(content: bytes, *, kind: str = "application/octet-stream", **other: Any) -> dict[str, Any]:
    """Return a blob of a config with its content in the address."""
    return {
        "phase": "final",
        "url": f"data:{kind};base64,{base64.b64encode(content).decode()}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "generation": as_text(dt.datetime.now(dt.UTC)),
        **other,
    }


def _lasting() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    return properties
