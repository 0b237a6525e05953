"""The demo's local site asks for what a real one asks for, and finds what is not UDMI."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from demo.cloud.broker import BrokerError
from demo.cloud.certificates import Issued
from demo.udmi.checking import Message, faults
from demo.udmi.door import AUDIENCE, Connect, Door, NotAdmitted, Way
from demo.udmi.site import GATEWAY, USER_PASSWORD, LocalSite

PREFIX = "/r/ZZ-DEMO-SITE/d"
CLIENT = f"{PREFIX}/{GATEWAY}"
AT = "2026-11-21T20:00:00.000Z"
SYSTEM = {
    "last_config": AT,
    "serial_no": "1",
    "hardware": {"make": "a", "model": "b"},
    "software": {},
    "operation": {"operational": True},
}
STATE = {"timestamp": AT, "version": "1.5.7", "system": SYSTEM}


@asynccontextmanager
async def site(tmp_path: Path, **options: Any) -> AsyncGenerator[LocalSite]:
    made = LocalSite(tmp_path, **options)
    try:
        await made.start()
    except BrokerError as error:
        pytest.skip(str(error))
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def client(
    made: LocalSite, user: str | None = CLIENT, password: str | None = USER_PASSWORD
) -> AsyncGenerator[aiomqtt.Client]:
    async with aiomqtt.Client(
        "127.0.0.1",
        made.port,
        identifier=made.door.client_id,
        username=user,
        password=password,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=ssl.create_default_context(cadata=made.ca),
    ) as found:
        yield found


async def heard(found: aiomqtt.Client) -> Any:
    async with asyncio.timeout(5):
        return json.loads((await anext(found.messages)).payload)


async def test_a_gateway_gets_its_config_and_speaks_for_devices_that_it_attached(
    socket_enabled: None, tmp_path: Path
) -> None:
    async with site(tmp_path) as made:
        await made.proxy("BLE-1", {"pointset": {}})
        async with client(made) as gateway:
            await gateway.subscribe(f"{CLIENT}/config", qos=1)
            assert (await heard(gateway))["gateway"] == {"proxy_ids": ["BLE-1"]}
            await gateway.publish(f"{PREFIX}/BLE-1/attach", b"", qos=1)
            await gateway.subscribe(f"{PREFIX}/BLE-1/config", qos=1)
            assert "pointset" in await heard(gateway)
            await gateway.publish(f"{PREFIX}/BLE-1/state", json.dumps(STATE), qos=1)
            first = await made.configure("BLE-1", pointset={"sample_rate_sec": 5})
            changed = await heard(gateway)
            assert changed["timestamp"] == first
            assert changed["pointset"] == {"sample_rate_sec": 5}
        device = made.devices["BLE-1"]
        await made.wait_until(lambda: device.states, 5)
        assert device.attached
        assert (made.invalid, made.gate.faulty) == ([], [])


async def test_what_a_gateway_must_not_do_is_told(socket_enabled: None, tmp_path: Path) -> None:
    async with site(tmp_path) as made:
        made.add("BLE-1", {})
        async with client(made) as gateway:
            await gateway.publish(f"{PREFIX}/BLE-1/state", json.dumps(STATE), qos=1)
            await gateway.publish(f"{CLIENT}/state", json.dumps(STATE), qos=0)
            await gateway.publish(f"{CLIENT}/state", json.dumps(STATE), qos=1, retain=True)
            await gateway.publish(f"{CLIENT}/state", b'{"system": null}', qos=1)
            await gateway.publish("elsewhere", b"", qos=1)
        await made.wait_until(lambda: len(made.messages) == 4, 5)
        assert [each.rpartition(": ")[2] for each in made.gate.faulty] == [
            "BLE-1 is not attached",
            "quality of service 0",
            "retained",
            "no topic of a device",
        ]
        assert len(made.invalid) == 4


async def test_another_password_stays_outside(socket_enabled: None, tmp_path: Path) -> None:
    async with site(tmp_path) as made:
        with pytest.raises(aiomqtt.MqttError):
            async with client(made, password="other"):
                pass
        assert made.gate.refusals


async def test_a_certificate_is_let_in_once_it_is_registered(
    socket_enabled: None, tmp_path: Path
) -> None:
    async with site(tmp_path, way=Way.MTLS) as made:
        # As a gateway makes it for itself: nobody has signed it.
        own = Issued.by(made.authority.issuer, "gateway.invalid")
        context = ssl.create_default_context(cadata=made.ca)
        context.load_cert_chain(*own.write(tmp_path / "own"))

        async def connect() -> None:
            async with aiomqtt.Client(
                "127.0.0.1",
                made.port,
                identifier=CLIENT,
                protocol=aiomqtt.ProtocolVersion.V311,
                tls_context=context,
            ):
                pass

        with pytest.raises(aiomqtt.MqttError):
            await connect()
        made.gate.trust(own.certificate)
        made.door.register(own.certificate)
        await connect()


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_token_is_signed_by_who_is_registered_and_expires(algorithm: str) -> None:
    key: Any = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(65537, 2048)
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    door = Door(Way.JWT, CLIENT)
    now = int(time.time())

    def admit(**claims: Any) -> float | None:
        own = {"iat": now, "exp": now + 3600, "aud": AUDIENCE, **claims}
        token = jwt.encode(own, key, algorithm=algorithm)
        return door.admit(Connect(4, CLIENT, "unused", token, None))

    with pytest.raises(NotAdmitted, match="nobody"):
        admit()
    door.register(public.decode())
    assert admit() == now + 3600
    assert door.algorithms == [algorithm]
    for wrong in (
        {"aud": "other"},
        {"exp": now - 1},
        {"iat": now + 900, "exp": now + 1800},
        {"exp": now + 3601},
    ):
        with pytest.raises(NotAdmitted):
            admit(**wrong)
    with pytest.raises(NotAdmitted):
        door.admit(Connect(5, CLIENT, "unused", "", None))


def said(rest: str, document: Any) -> list[str]:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(faults(Message.read(f"{CLIENT}/{rest}", GATEWAY, rest, payload, 0.0)))


ENTRY = {"message": "a", "category": "device.a", "timestamp": AT, "level": 200}


@pytest.mark.parametrize(
    ("rest", "document"),
    [
        ("state", STATE),
        ("attach", b""),
        ("events/system", {"timestamp": AT, "version": "1.5.7", "logentries": [ENTRY]}),
        ("events/pointset", {"timestamp": AT, "version": "1.5.7", "points": {"a_b": {}}}),
    ],
)
def test_what_is_right_has_no_fault(rest: str, document: Any) -> None:
    assert said(rest, document) == []


@pytest.mark.parametrize(
    ("rest", "document", "fault"),
    [
        ("state", {**STATE, "system": {}}, "without all of its system"),
        ("state", {**STATE, "version": 1}, "version 1"),
        ("state", {**STATE, "timestamp": "yesterday"}, "is no moment"),
        ("state", {**STATE, "timestamp": "2026-13-01T00:00:00Z"}, "is no moment"),
        ("state", {**STATE, "pointset": {"points": {"Bad": {}}}}, "'Bad' is no name"),
        ("state", {**STATE, "gateway": {"status": {**ENTRY, "level": 7}}}, "level 7"),
        ("state", {**STATE, "gateway": {"status": {**ENTRY, "category": "X"}}}, "category 'X'"),
        ("state", {**STATE, "gateway": None}, "gateway: null"),
        ("state", b"[]", "no object in JSON"),
        ("state", b'{"timestamp": "%s", "version": "1.5.7", "a": NaN}' % AT.encode(), "not a n"),
        ("events/other", {}, "nothing of UDMI's"),
        ("attach", b"{}", "not empty"),
        (
            "events/discovery",
            {"timestamp": AT, "version": "1.5.7", "addr": "ab:cd"},
            "is no address",
        ),
    ],
)
def test_what_is_wrong_is_described(rest: str, document: Any, fault: str) -> None:
    assert any(fault in each for each in said(rest, document))
