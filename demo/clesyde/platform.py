"""Clesyde's side: registers devices, keeps their shadows, answers them, gets captures.

The broker is mosquitto with MQTT 5 and client certificates, the SniTun server is the library's own.
What the platform can do that a gateway must bear (refuse, fall silent, send rubbish) is a method or
an attribute.
"""

import asyncio
import base64
import datetime as dt
import hashlib
import json
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiomqtt
from aiohttp import web
from cryptography import x509
from cryptography.fernet import Fernet
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from snitun.server.run import SniTunServerSingle  # type: ignore[import-untyped]

from custom_components.ulogger.model.capture import CaptureKind

from ..cloud.broker import HOST, LocalBroker
from ..cloud.certificates import Issued
from ..ports import free_port
from .shadows import Shadow

TOKEN: Final = "provisioning-token"
PATH: Final = "/device/register"
LARGEST_MESSAGE: Final = 128 * 1024
VISIT_WITHIN: Final = 10.0
_FILTERS: Final = (
    "c/d/#",
    "$aws/things/+/shadow/name/config/get",
    "$aws/things/+/shadow/name/config/update",
)

type Whole = tuple[str, CaptureKind, bytes]
"""Serial, kind and bytes of a capture that came in raw parts."""
type Arrival = tuple[int, str, CaptureKind, bytes, float]
"""Number, serial, kind and bytes of a capture, and when its last part came (Unix seconds)."""


@dataclass(slots=True)
class Device:
    """One registered device and all that came of it."""

    serial: str
    name: str
    iot: Issued
    remote: Issued
    access_point: str
    shadow: Shadow = field(default_factory=Shadow)
    states: list[str] = field(default_factory=list)
    messages: list[tuple[str, bytes, float]] = field(default_factory=list)
    token_requests: int = 0
    certificate_requests: list[str] = field(default_factory=list)
    visits: int = 0


class LocalClesyde:
    """The platform, in a directory of its own."""

    def __init__(self, directory: Path, *, proxy_protocol: bool = True) -> None:
        """Prepare. ``proxy_protocol`` lets those who come say which address they come from."""
        self.directory = directory
        self.broker = LocalBroker(directory / "broker")
        self.devices: dict[str, Device] = {}
        self.faulty: list[str] = []
        self.refuse: str | None = None
        self.status = 200
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        self.silent = False
        self.token_life = dt.timedelta(hours=1)
        self.http_port = free_port()
        self.snitun_port = free_port()
        self._fernet = Fernet.generate_key().decode()
        self._proxy_protocol = proxy_protocol
        self._snitun: SniTunServerSingle | None = None
        self._runner: web.AppRunner | None = None
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._changed = asyncio.Condition()

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"http://{HOST}:{self.http_port}"

    # Life

    async def __aenter__(self) -> Self:
        """Start everything."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    async def start(self) -> None:
        """Start broker, platform, API and SniTun server."""
        await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
        await self.broker.astart()
        self._task = asyncio.create_task(self._run(), name="local clesyde")
        async with asyncio.timeout(30):
            await self._ready.wait()
        app = web.Application()
        app.router.add_post(PATH, self._register)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.http_port).start()
        await self.start_snitun()

    async def stop(self) -> None:
        """Stop everything."""
        await self.stop_snitun()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.broker.astop()

    async def start_snitun(self) -> None:
        """Start the SniTun server."""
        self._snitun = SniTunServerSingle(
            [self._fernet], host=HOST, port=self.snitun_port, proxy_protocol=self._proxy_protocol
        )
        await self._snitun.start()

    async def stop_snitun(self) -> None:
        """Stop the SniTun server, and end the tunnels that there are."""
        server, self._snitun = self._snitun, None
        if server is None:
            return
        for peer in list(server.peers.iter_peers()):
            if peer.multiplexer is not None:
                peer.multiplexer.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.stop()

    async def wait_until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Return once a condition holds; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            while not condition():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await self._changed.wait()

    # Devices

    def provision(self, serial: str, *, name: str | None = None) -> Device:
        """Make a device, or make one anew."""
        access_point = f"{serial.lower()}.clesyde.invalid"
        authority = self.broker.authority.issuer
        thing = name or f"thing-{serial}"
        device = Device(
            serial,
            thing,
            Issued.by(authority, f"{serial.lower()}.things.invalid", common_name=thing),
            Issued.by(authority, access_point),
            access_point,
        )
        self.devices[serial] = device
        return device

    def registration(self, device: Device) -> dict[str, Any]:
        """Return what the API answers for a device."""
        return {
            "registration": {
                "error": None,
                "thing": {
                    "iot": {
                        "endpoint": f"localhost:{self.broker.port}",
                        "thing_name": device.name,
                        "certificates": {
                            "device_certificate": device.iot.certificate,
                            "root_ca": self.broker.ca,
                        },
                        "keyPair": {"privateKey": device.iot.private_key},
                    },
                    "remote": {
                        "endpoint": f"localhost:{self.snitun_port}",
                        "access_point": f"{device.access_point}:{self.snitun_port}",
                        "cert": device.remote.certificate,
                        "pkey": device.remote.private_key,
                    },
                },
            }
        }

    def files(self, device: Device) -> dict[str, str]:
        """Return the files of a provisioned folder."""
        thing = self.registration(device)["registration"]["thing"]
        iot, remote = thing["iot"], thing["remote"]
        config = {
            "iot_thing_name": iot["thing_name"],
            "iot_endpoint": iot["endpoint"],
            "remote_endpoint": remote["endpoint"],
            "access_point": remote["access_point"],
        }
        return {
            "cloud_config.json": json.dumps(config),
            "iot_ca.pem": iot["certificates"]["root_ca"],
            "iot_cert.pem": iot["certificates"]["device_certificate"],
            "iot_key.pem": iot["keyPair"]["privateKey"],
            "remote_cert.pem": remote["cert"],
            "remote_key.pem": remote["pkey"],
        }

    async def _register(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if self.status != 200:
            return web.Response(status=self.status)
        if asked.get("token") != TOKEN:
            return web.json_response({"message": "Forbidden"}, status=403)
        if self.refuse is not None:
            return web.json_response({"registration": {"error": self.refuse, "thing": None}})
        device = self.provision(asked["sn"])
        return web.json_response(self.answer(self.registration(device)))

    # Over MQTT

    async def _run(self) -> None:
        """Serve the devices, over restarts of the broker."""
        while True:
            try:
                async with aiomqtt.Client(
                    self.broker.host,
                    self.broker.port,
                    identifier="platform",
                    protocol=aiomqtt.ProtocolVersion.V5,
                    tls_context=self.broker.client_context(),
                    properties=_lasting(),
                    clean_start=False,
                    max_queued_incoming_messages=0,
                ) as client:
                    self._client = client
                    for each in _FILTERS:
                        await client.subscribe(each, qos=1)
                    self._ready.set()
                    async for message in client.messages:
                        await self._take(str(message.topic), bytes(message.payload))
            except aiomqtt.MqttError:
                self._client = None
                await asyncio.sleep(0.1)

    async def _take(self, topic: str, payload: bytes) -> None:
        if topic.startswith("$aws/"):
            serial, operation = topic.split("/")[2], topic.rsplit("/", 1)[1]
            await self._shadow(serial, operation, payload)
        else:
            _, _, serial, rest = topic.split("/", 3)
            if (device := self.devices.get(serial)) is None:
                self.faulty.append(f"{topic}: nobody is called so")
            elif rest == "status":
                self._status(device, payload)
            elif rest == "remotetoken/req":
                await self._token(device, payload)
            elif rest == "remotecr/req":
                await self._certificate(device, payload)
            elif not rest.endswith("/res"):
                if len(payload) > LARGEST_MESSAGE:
                    self.faulty.append(f"{topic}: {len(payload)} bytes")
                device.messages.append((rest, payload, time.time()))
        async with self._changed:
            self._changed.notify_all()

    def _status(self, device: Device, payload: bytes) -> None:
        try:
            device.states.append(json.loads(payload)["state"])
        except ValueError, KeyError, TypeError:
            self.faulty.append(f"status of {device.serial}: {payload!r}")

    async def _shadow(self, serial: str, operation: str, payload: bytes) -> None:
        if (device := self.devices.get(serial)) is None:
            self.faulty.append(f"the shadow of {serial}: nobody is called so")
            return
        if self.silent:
            return
        shadow = device.shadow
        answers = [shadow.get()] if operation == "get" else shadow.update(payload)
        for verb, message in answers:
            await self.say(f"$aws/things/{serial}/shadow/name/config/{verb}", message)

    async def _token(self, device: Device, payload: bytes) -> None:
        device.token_requests += 1
        asked = json.loads(payload)
        key, vector = bytes.fromhex(asked["aesKey"]), bytes.fromhex(asked["aesIv"])
        if (len(key), len(vector)) != (32, 16):
            self.faulty.append(f"keys of {device.serial}: {len(key)} and {len(vector)} bytes")
        if self.silent:
            return
        valid = int((dt.datetime.now(dt.UTC) + self.token_life).timestamp())
        # As Clesyde's release of the library writes it: no word of the tunnel's version.
        about = {
            "valid": valid,
            "hostname": device.access_point,
            "aes_key": asked["aesKey"],
            "aes_iv": asked["aesIv"],
        }
        token = Fernet(self._fernet).encrypt(json.dumps(about).encode())
        answer = {"valid": valid, "throttling": 100_000, "token": token.decode()}
        await self.say(f"c/d/{device.serial}/remotetoken/res", answer)

    async def _certificate(self, device: Device, payload: bytes) -> None:
        device.certificate_requests.append(str(json.loads(payload)["remoteCertSn"]))
        if self.silent:
            return
        await self.say(
            f"c/d/{device.serial}/remotecr/res",
            {"cert": device.remote.certificate, "pkey": device.remote.private_key},
        )

    async def say(self, topic: str, message: object) -> None:
        """Publish something; bytes go as they are."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        if self._client is None:
            raise aiomqtt.MqttError("the platform is not connected")
        await self._client.publish(topic, payload, qos=1)

    async def desire(self, device: Device, state: dict[str, Any]) -> None:
        """Desire something of a device, as an operator does."""
        message = json.dumps({"state": {"desired": state}}).encode()
        for verb, answer in device.shadow.update(message):
            await self.say(f"$aws/things/{device.serial}/shadow/name/config/{verb}", answer)

    async def rotate(self, device: Device) -> str:
        """Issue a newer remote certificate, desire it, and return its serial number."""
        now = dt.datetime.now(dt.UTC)
        device.remote = Issued.by(
            self.broker.authority.issuer,
            device.access_point,
            not_before=now - dt.timedelta(seconds=30),
            not_after=now + dt.timedelta(days=90),
        )
        serial = serial_of(device.remote)
        await self.desire(device, {"remoteCertSn": serial})
        return serial

    # What came

    def said(self, device: Device, topic: str) -> list[dict[str, Any]]:
        """Return the messages of a device on one of its topics."""
        return [json.loads(payload) for name, payload, _ in device.messages if name == topic]

    def whole(self, device: Device, *topics: str) -> list[Whole]:
        """Put raw captures together, each once."""
        found: dict[int, Whole] = {}
        for number, serial, kind, data, _ in self.arrivals(device, *topics):
            found.setdefault(number, (serial, kind, data))
        return list(found.values())

    def arrivals(self, device: Device, *topics: str) -> list[Arrival]:
        """Put raw captures together, as often as all parts of each came."""
        parts: dict[int, dict[int, list[tuple[float, bytes]]]] = {}
        heads: dict[int, dict[str, Any]] = {}
        for topic, payload, at in list(device.messages):
            if topic not in topics:
                continue
            message = json.loads(payload)
            heads[message["capture"]] = message
            mine = parts.setdefault(message["capture"], {})
            mine.setdefault(message["part"], []).append((at, base64.b64decode(message["data"])))
        found: list[Arrival] = []
        for number, head in heads.items():
            mine = parts[number]
            if len(mine) < head["parts"]:
                continue
            for time_ in range(min(len(each) for each in mine.values())):
                pieces = [mine[part][time_] for part in sorted(mine)]
                data = b"".join(piece for _, piece in pieces)
                if hashlib.sha256(data).hexdigest() != head["sha256"]:
                    self.faulty.append(f"capture {number} is damaged")
                kind, at = CaptureKind(head["kind"]), max(at for at, _ in pieces)
                found.append((number, head["serial"], kind, data, at))
        return sorted(found, key=lambda each: each[4])

    # A browser

    async def visit(
        self,
        device: Device,
        path: str = "/",
        *,
        address: str | None = "203.0.113.7",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[int, bytes, dict[str, Any]]:
        """Ask a device's Home Assistant through the tunnel, from an *address*.

        Returns status, body, and the certificate that was shown.
        """
        async with asyncio.timeout(VISIT_WITHIN):
            return await self._visit(device, path, address, method, headers or {}, body)

    async def _visit(
        self,
        device: Device,
        path: str,
        address: str | None,
        method: str,
        headers: dict[str, str],
        body: bytes,
    ) -> tuple[int, bytes, dict[str, Any]]:
        reader, writer = await asyncio.open_connection(HOST, self.snitun_port)
        try:
            if address is not None:
                family = "TCP6" if ":" in address else "TCP4"
                here = "::1" if ":" in address else HOST
                line = f"PROXY {family} {address} {here} 40000 {self.snitun_port}\r\n"
                writer.write(line.encode())
            context = ssl.create_default_context(cadata=self.broker.ca)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            await writer.start_tls(context, server_hostname=device.access_point)
            shown = writer.get_extra_info("ssl_object").getpeercert()
            lines = {
                "Host": f"{device.access_point}:{self.snitun_port}",
                "Connection": "close",
                "Content-Length": str(len(body)),
                **headers,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer = await reader.read(-1)
        finally:
            writer.close()
        start, _, rest = answer.partition(b"\r\n\r\n")
        if b"chunked" in start.lower():
            rest = _unchunked(rest)
        return int(start.split()[1]), rest, shown


def serial_of(issued: Issued) -> str:
    """Return a certificate's serial number in decimal digits."""
    return str(x509.load_pem_x509_certificate(issued.certificate.encode()).serial_number)


def _lasting() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    return properties


def _unchunked(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if not length:
            break
        found, body = found + body[:length], body[length + 2 :]
    return found
