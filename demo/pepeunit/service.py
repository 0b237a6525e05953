"""A local Pepeunit: its REST API and its backend on the broker, written from their documentation.

Its bad habits are kept: the state storage is quoted on the way out, an archive is compressed
with a small window, and what the broker drops nobody is told.
"""

import asyncio
import contextlib
import hashlib
import io
import json
import ssl
import tarfile
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiomqtt
from aiohttp import web

from ..cloud.broker import HOST
from ..cloud.certificates import CERTIFICATE, PRIVATE_KEY
from ..ports import free_port
from .broker import PepeunitBroker
from .gate import Gate
from .judging import judge
from .units import Unit

API = "/pepeunit/api/v1"
MOST_STATE = 1_000_000
MOST_ROWS = 500
WATCHED_SECOND = 1.0
BACKEND = "backend"
RECONNECT = 0.1
RECENT = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the backend, or anybody with the right, hears."""

    topic: str
    payload: bytes
    at: float


@dataclass
class LocalPepeunit:
    """Broker, REST API and backend; ``units`` may come and change at any time.

    ``messages`` are all that came, in their order; ``invalid`` describes those that the backend
    can't use. ``with_tls`` and ``with_https`` have broker and API speak TLS with a certificate of
    the broker's own authority. ``refusing`` answers every request with a status and what it says.
    """

    directory: Path
    with_tls: bool = False
    with_https: bool = False
    units: list[Unit] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refusing: tuple[int, str] | None = None
    archive: Mapping[str, bytes] | bytes = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare; nothing runs yet."""
        self.broker = PepeunitBroker(self.directory / "broker", with_tls=self.with_tls)
        self.gate = Gate(self.broker)
        self.http_port = free_port()
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Task[None] | None = None
        self._client: aiomqtt.Client | None = None
        self._came = asyncio.Event()
        self._recent: deque[bytes] = deque(maxlen=RECENT)
        self._ready = asyncio.Event()

    # Life

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Start everything."""
        self.allow()
        await self.broker.astart()
        await self.gate.start()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        context = self._https() if self.with_https else None
        await web.TCPSite(self._runner, HOST, self.http_port, ssl_context=context).start()
        self._listening = asyncio.create_task(self._listen())
        async with asyncio.timeout(10):
            await self._ready.wait()

    async def stop(self) -> None:
        """Stop everything."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._runner is not None:
            await self._runner.cleanup()
        await self.gate.stop()
        await self.broker.astop()

    def allow(self, denied: tuple[str, ...] = ()) -> None:
        """Let each unit hear and send on its own topics and those that feed it, but for some."""
        for unit in self.units:
            feeding = {
                topic for topics in unit.schema()["input_topic"].values() for topic in topics
            }
            self.gate.allowed[unit.token] = (unit.own_topics | feeding) - set(denied)

    def env(self, unit: Unit) -> dict[str, Any]:
        """Return the ``env.json`` of a unit."""
        env = unit.env(HOST, self.gate.port, self.http_port)
        return {
            **env,
            **({"PU_HTTP_TYPE": "https"} if self.with_https else {}),
            **unit.env_override,
        }

    def _https(self) -> ssl.SSLContext:
        server = self.broker.authority.directory / "server"
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(server / CERTIFICATE, server / PRIVATE_KEY)
        return context

    # As the backend

    async def publish(self, topic: str, payload: bytes | str) -> None:
        """Send as the backend does."""
        if self._client is None:
            raise RuntimeError("not started")
        await self._client.publish(topic, payload)

    async def command(self, unit: Unit, name: str, **more: str) -> None:
        """Send a command to a unit: one of ``Update``, ``EnvUpdate``, ``SchemaUpdate``..."""
        topics = {
            "Update": "update",
            "EnvUpdate": "env_update",
            "SchemaUpdate": "schema_update",
            "LogSync": "log_sync",
        }
        await self.publish(unit.topic(topics[name]), json.dumps({"COMMAND": name, **more}))

    def of(self, topic: str) -> list[bytes]:
        """Return what came on a topic."""
        return [each.payload for each in self.messages if each.topic == topic]

    def records(self, unit: Unit) -> list[dict[str, str]]:
        """Return the log records of a unit in the order in which they came."""
        found: list[dict[str, str]] = []
        for payload in self.of(unit.topic("log")):
            records = json.loads(payload)
            found += [records] if isinstance(records, dict) else records
        return found

    async def wait_until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        """Wait until a condition holds that a message can make true; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._came.clear()
                await self._came.wait()

    def most_in_a_second(self, unit: Unit) -> int:
        """Return how many messages of a unit came within one second, at the most."""
        times = [each.at for each in self.messages if each.topic in unit.own_topics]
        first = most = 0
        for last, at in enumerate(times):
            while times[first] <= at - WATCHED_SECOND:
                first += 1
            most = max(most, last - first + 1)
        return most

    async def _listen(self) -> None:
        """Hear everything, also what the broker took while nobody was connected to hear it."""
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client(
                    HOST, self.broker.port, identifier=BACKEND, clean_session=False
                ) as client:
                    before = frozenset(self._recent)
                    again = len(before)
                    await client.subscribe("#", qos=1)
                    self._client = client
                    self._ready.set()
                    async for message in client.messages:
                        topic, payload = str(message.topic), bytes(message.payload)
                        mark = hashlib.sha256(f"{message.mid} {topic} ".encode() + payload).digest()
                        self._recent.append(mark)
                        again -= 1
                        if again >= 0 and mark in before:
                            continue  # the broker did not get the acknowledgement
                        self._take(topic, payload)
            self._client = None
            await asyncio.sleep(RECONNECT)

    def _take(self, topic: str, payload: bytes) -> None:
        self.messages.append(Message(topic, payload, time.monotonic()))
        for unit in self.units:
            sends_on = {unit.topic(name) for name in ("log", "state", *unit.outputs)}
            if topic in sends_on:
                if problem := judge(unit, topic, payload):
                    self.invalid.append(f"{topic}: {problem}")
                for name, uuid in unit.outputs.items():
                    if topic == unit.topic(name):
                        unit.states[uuid] = payload.decode(errors="replace")
        self._came.set()

    # As the API

    def _routes(self) -> list[web.RouteDef]:
        def of_unit(do: Callable[[Unit, web.Request], Awaitable[web.Response]]) -> Any:
            async def handle(request: web.Request) -> web.Response:
                caller = self._caller(request)
                unit = next((u for u in self.units if u.uuid == request.match_info["unit"]), None)
                if unit is None:
                    return _refused(404, "404: Unit is invalid")
                if unit is not caller:
                    return _refused(403, "403: 1: No Access: only for the unit itself")
                return self.refused() or await do(unit, request)

            return handle

        return [
            web.get(f"{API}/units/env/{{unit}}", of_unit(self._get_env)),
            web.get(f"{API}/units/get_current_schema/{{unit}}", of_unit(self._get_schema)),
            web.get(f"{API}/units/get_target_version/{{unit}}", of_unit(self._get_target)),
            web.get(f"{API}/units/firmware/{{kind}}/{{unit}}", of_unit(self._get_firmware)),
            web.post(f"{API}/units/set_state_storage/{{unit}}", of_unit(self._set_storage)),
            web.get(f"{API}/units/get_state_storage/{{unit}}", of_unit(self._get_storage)),
            web.get(f"{API}/unit_nodes", self._get_nodes),
            web.get(f"{API}/units", self._get_units),
            web.patch(f"{API}/unit_nodes/set_state_input/{{node}}", self._set_input),
        ]

    def refused(self) -> web.Response | None:
        """Return what is answered to everything, if it is refused."""
        return None if self.refusing is None else _refused(*self.refusing)

    def _caller(self, request: web.Request) -> Unit | None:
        self.requests.append(f"{request.method} {request.path.removeprefix(API)}")
        token = request.headers.get("x-auth-token")
        return next((unit for unit in self.units if unit.token == token), None)

    async def _get_env(self, unit: Unit, _request: web.Request) -> web.Response:
        return web.json_response(self.env(unit))

    async def _get_schema(self, unit: Unit, _request: web.Request) -> web.Response:
        return web.json_response(unit.schema())

    async def _get_target(self, unit: Unit, _request: web.Request) -> web.Response:
        return web.json_response({"commit": unit.commit, "tag": unit.tag})

    async def _get_firmware(self, unit: Unit, request: web.Request) -> web.Response:
        if isinstance(self.archive, bytes):
            return web.Response(body=self.archive)
        files = {"env.json": json.dumps(self.env(unit)).encode(), **self.archive}
        files["schema.json"] = json.dumps(unit.schema()).encode()
        bits = int(request.query.get("wbits", "9"))
        if request.match_info["kind"] == "zip":
            return web.Response(body=_zip(files))
        tar = _tar(files)
        if request.match_info["kind"] == "tgz":
            packer = zlib.compressobj(wbits=bits, level=int(request.query.get("level", "9")))
            tar = packer.compress(tar) + packer.flush()
        return web.Response(body=tar)

    async def _set_storage(self, unit: Unit, request: web.Request) -> web.Response:
        state = (await request.json()).get("state")
        if not isinstance(state, str) or len(state) > MOST_STATE:
            return _refused(422, "422: 2: Validation Error: state is too long")
        unit.storage = state
        return web.Response(status=204)

    async def _get_storage(self, unit: Unit, _request: web.Request) -> web.Response:
        return web.json_response(unit.storage)

    async def _get_nodes(self, request: web.Request) -> web.Response:
        if self._caller(request) is None:
            return _refused(403, "403: 1: No Access: token is invalid")
        if (refused := self._page_refused(request) or self.refused()) is not None:
            return refused
        output = request.query.get("output_uuid", "")
        found = [
            _node(unit, name, uuid, "Input")
            for unit in self.units
            for name, uuid in unit.inputs.items()
            if unit.links.get(uuid) == output
        ]
        return web.json_response({"count": len(found), "unit_nodes": found})

    async def _get_units(self, request: web.Request) -> web.Response:
        if self._caller(request) is None:
            return _refused(403, "403: 1: No Access: token is invalid")
        if (refused := self._page_refused(request) or self.refused()) is not None:
            return refused
        wanted = set(request.query.getall("unit_node_uuids", []))
        found = []
        for unit in self.units:
            if wanted & {*unit.inputs.values(), *unit.outputs.values()}:
                nodes = [_node(unit, *each, "Output") for each in unit.outputs.items()]
                found.append({"uuid": unit.uuid, "name": unit.uuid[:8], "unit_nodes": nodes})
        return web.json_response({"count": len(found), "units": found})

    async def _set_input(self, request: web.Request) -> web.Response:
        if self._caller(request) is None:
            return _refused(403, "403: 1: No Access: token is invalid")
        if (refused := self.refused()) is not None:
            return refused
        node = request.match_info["node"]
        for unit in self.units:
            for name, uuid in unit.inputs.items():
                if uuid == node:
                    state = (await request.json())["state"]
                    unit.states[uuid] = state
                    await self.publish(unit.topic(name), state)
                    return web.json_response(_node(unit, name, uuid, "Input"))
        return _refused(422, "422: 2: Validation Error: UnitNode is not an input")

    @staticmethod
    def _page_refused(request: web.Request) -> web.Response | None:
        limit, offset = (int(request.query.get(name, "100")) for name in ("limit", "offset"))
        if not 0 < limit <= MOST_ROWS or offset < 0:
            return _refused(422, "limit must be between 1 and 500")
        return None


def _refused(status: int, detail: str) -> web.Response:
    return web.json_response({"detail": detail}, status=status)


def _node(unit: Unit, name: str, uuid: str, kind: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "type": kind,
        "topic_name": f"{name}/pepeunit",
        "state": unit.states.get(uuid),
        "unit_uuid": unit.uuid,
    }


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()
