"""Secrets that must stay where they are, and names that must not reach where they want to."""

import asyncio
import json
import os
import re
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_socket
from homeassistant.components.diagnostics import REDACTED
from homeassistant.core import valid_entity_id
from homeassistant.helpers import entity_registry as er
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.agent.errors import BadIdentification
from custom_components.ulogger.agent.packets import MAX_TEXT, parse_identification
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.mqtt.broker import Broker
from custom_components.ulogger.cloud.mqtt.client import MqttTransport
from custom_components.ulogger.cloud.ulogger.topics import Topics
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.panel.downloads import file_name
from demo import hass as demo_hass
from demo.check import wait_until_delivered
from demo.fleet import Buffers, make_fleet
from demo.harness import CUSTOMER_ID, Harness
from tests.support.account import TOKEN, certificate, load, log, meet

LONGEST_PEM_LINE = 64


def canaries(*pems: str) -> list[str]:
    """Return the lines of PEM texts that nobody could guess."""
    return [line for pem in pems for line in pem.splitlines() if len(line) == LONGEST_PEM_LINE]


def secrets_in(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret in text]


# A whole Home Assistant, at its most talkative


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("home_assistant_process")
@pytest.mark.usefixtures("socket_enabled")
async def test_a_running_home_assistant_keeps_the_secrets_of_its_account(tmp_path, monkeypatch):
    talkative = demo_hass.CONFIGURATION.replace(": warning", ": debug").replace(": info", ": debug")
    monkeypatch.setattr(demo_hass, "CONFIGURATION", f"diagnostics:\n{talkative}")
    devices = make_fleet(1, Buffers.load())
    async with Harness(tmp_path, devices) as demo:
        entry = await demo.set_up_account()
        comparison = await wait_until_delivered(devices, demo.cloud, 120)
        assert comparison.ok, demo.hass.tail()
        customer = demo.broker.customer
        key = canaries(customer.private_key)
        tokens = [str(token) for token in demo.cloud.registrations]
        assert key
        assert tokens
        everything = [*key, *canaries(customer.certificate), *tokens]

        assert secrets_in(shown_by_the_kernel(demo.hass.pid), everything) == []

        path = f"/api/diagnostics/config_entry/{entry['entry_id']}"
        diagnostics = json.dumps(await demo.api.request("GET", path))
        assert secrets_in(diagnostics, [*everything, str(CUSTOMER_ID)]) == []

        talk = demo.hass.log.read_text(errors="replace")
        assert "DEBUG (MainThread) [custom_components.ulogger" in talk
        assert secrets_in(talk, everything) == []

        await demo.hass.stop()
        storage = demo.hass.config / ".storage"
        [key_file] = found_in_files(demo.hass.config, key)
        assert key_file.parent == storage
        modes = {file.name: file.stat().st_mode & 0o777 for file in storage.glob("ulogger*")}
        assert modes == {
            "ulogger": 0o700,
            f"ulogger.{entry['entry_id']}": 0o600,
            key_file.name: 0o600,
        }
        outbox = {file.stat().st_mode & 0o777 for file in (storage / "ulogger").iterdir()}
        assert outbox == {0o600}


def shown_by_the_kernel(pid: int) -> str:
    """Return what others on the machine may see of a process: arguments and environment."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ"))


def found_in_files(directory: Path, secrets: list[str]) -> set[Path]:
    """Return the files under a directory, links not followed, that hold a secret."""
    return {
        Path(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if any(secret.encode() in Path(folder, name).read_bytes() for secret in secrets)
    }


# Diagnostics


async def test_diagnostics_hide_credentials_tokens_and_the_customer(hass, transport):
    entry = await load(hass, customer_id=424_242)
    device = meet(entry)
    await entry.runtime_data.account.outbox.add(log())
    await entry.runtime_data.destinations["ulogger"].delivery.wait_delivered(
        device.identity.key, [1], 5
    )
    assert device.account.entry.runtime_data.is_registered(device.identity)
    shown = await async_get_config_entry_diagnostics(hass, entry)
    text = json.dumps(shown, default=str)
    issued = certificate(1000)
    secrets = canaries(issued.private_key, issued.certificate)
    assert secrets_in(text, [*secrets, str(TOKEN), "424242"]) == []
    assert shown["entry"]["data"]["certificate"] == REDACTED


# TLS


async def test_a_broker_without_tls_gets_a_tls_greeting_and_a_closed_connection(
    socket_enabled,
):
    pytest_socket.enable_socket()
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(65536)
        # What a broker without TLS says to an MQTT client: welcome, and again.
        writer.write(b"\x20\x02\x00\x00" * 4)
        with suppress(ConnectionError):
            data += await reader.read()
        writer.close()
        if not heard.done():
            heard.set_result(data)

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    context = await asyncio.to_thread(ssl.create_default_context)
    transport = MqttTransport(
        Broker(host="127.0.0.1", port=port, client_id="cust-1-canary", tls=context)
    )
    running = asyncio.create_task(transport.run())
    try:
        async with asyncio.timeout(20):
            data = await heard
            with pytest.raises(CloudError):
                await transport.publish("binlog/v0/1/0/42", b"payload")
    finally:
        running.cancel()
        await asyncio.wait([running])
        server.close()
    handshake = b"\x16\x03"
    assert data.startswith(handshake)
    assert b"MQTT" not in data
    assert b"canary" not in data


async def test_an_account_without_usable_credentials_does_not_connect_at_all(hass, transport):
    with pytest.raises(AssertionError):
        await load(hass, private_key="-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----")
    (entry,) = hass.config_entries.async_entries("ulogger")
    assert entry.reason
    assert transport.on_state is None
    assert "BEGIN" not in entry.reason


# What devices call themselves


def identification(serial: bytes, *texts: bytes) -> bytes:
    return (42).to_bytes(4, "little") + b"".join(text + b"\0" for text in (serial, *texts))


@pytest.mark.parametrize(
    "serial", ["a/b", "+", "#", "a\\b", "..", ".", "", " ", "a\nb", "a\x1bb", "x" * (MAX_TEXT + 1)]
)
def test_a_serial_that_would_change_a_topic_or_a_path_is_refused(serial):
    with pytest.raises(BadIdentification, match="serial"):
        parse_identification(identification(serial.encode()))


HOSTILE = st.text(min_size=1, max_size=80) | st.sampled_from(
    [
        "../../etc/passwd",
        "CON",
        "a" * 300,
        "x;rm -rf",
        '"quoted"',
        "%2e%2e",
        "\u202eevil",
        "~",
        "$0",
    ]
)


@given(serial=HOSTILE, device_type=HOSTILE)
def test_whatever_a_device_calls_itself_stays_within_its_place(serial, device_type):
    try:
        identity = parse_identification(
            identification(
                serial.encode(errors="surrogatepass"), device_type.encode(errors="surrogatepass")
            )
        )
    except BadIdentification:
        return
    assert len(identity.serial) <= MAX_TEXT
    assert len(identity.device_type) <= MAX_TEXT
    assert (identity.serial + identity.device_type).isprintable()
    name = file_name(Capture(CaptureKind.LOG, identity, b"", 1_790_000_000.0), 7)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}-\d{8}T\d{6}Z-7-log\.bin", name)
    topics = Topics(customer_id=1, group_id=0)
    assert len(topics.log_config(identity.key).split("/")) == 6
    assert not set("+#") & set(topics.log_config(identity.key))


@pytest.mark.parametrize("serial", ["<script>", "日本語", "Ünï cödé", "a.b.c", "$SYS"])
async def test_entities_of_an_oddly_named_device_have_valid_names(hass, account, serial):
    identity = parse_identification(identification(serial.encode(), b"{{ states }}"))
    meet(account, identity)
    await hass.async_block_till_done()
    entities = er.async_entries_for_config_entry(er.async_get(hass), account.entry_id)
    named = [entity for entity in entities if serial in entity.unique_id]
    assert named
    assert all(valid_entity_id(entity.entity_id) for entity in named)
