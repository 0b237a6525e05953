"""The benchmark of a long way to the broker: the way itself, and what arrives over it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random

import pytest

from bench.cloud import arguments
from bench.delay_proxy import DelayProxy
from bench.drain_latency import drain_latency, ours_drains
from bench.road import make_capture
from custom_components.ulogger.capture.log_buffer import LogHeader
from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud

RTT = 0.2
HEADER_SIZE = LogHeader(4, 0, 0, 1, 1_000, 1, 0, 0).size


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


@pytest.fixture
async def far_echo(socket_enabled: None) -> AsyncGenerator[DelayProxy]:
    """A proxy to somebody who says everything again."""
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        with DelayProxy(server.sockets[0].getsockname()[1], RTT) as proxy:
            yield proxy


async def test_bytes_come_back_after_a_round_trip_and_in_order(far_echo: DelayProxy) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", far_echo.port)
    pieces = [bytes([number]) * 1_000 for number in range(20)]
    sent = []
    for piece in pieces:
        sent.append(loop.time())
        writer.write(piece)
        await asyncio.sleep(0.005)
    for piece, at in zip(pieces, sent, strict=True):
        assert await reader.readexactly(len(piece)) == piece
        assert loop.time() - at >= RTT
    # Each piece's own delay, one after another, would take ten round trips and more.
    assert loop.time() - sent[0] < 5 * RTT
    writer.close()


async def test_much_on_its_way_at_once_is_not_held_up(far_echo: DelayProxy) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", far_echo.port)
    data = Random(1).randbytes(8 << 20)
    began = loop.time()
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    # One buffer of 64 KiB for each round trip would take 128 round trips.
    assert loop.time() - began < 30 * RTT
    writer.close()


async def test_the_end_comes_through_behind_the_last_byte(far_echo: DelayProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", far_echo.port)
    writer.write(b"the last word")
    writer.write_eof()
    assert await reader.read() == b"the last word"
    writer.close()


async def test_whoever_is_not_there_closes_the_connection(
    socket_enabled: None, unused_tcp_port: int
) -> None:
    with DelayProxy(unused_tcp_port, RTT) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("devices", [1, 20])
async def test_every_capture_arrives_once_and_in_the_order_of_its_device(
    broker: LocalBroker, cloud_service: LocalCloud, tmp_path: Path, devices: int
) -> None:
    with DelayProxy(broker.port, 0.02) as proxy:
        seconds = await ours_drains(
            broker, proxy.port, tmp_path / "drain", captures=60, devices=devices, pace=None
        )
    assert seconds >= 0.02 * 60 / 20
    chance = Random(6)
    captures = [make_capture(number, chance, devices) for number in range(60)]
    await cloud_service.wait_for("binlog", 60)
    for number in range(devices):
        arrived = [each for each in cloud_service.messages if each.token == number + 1]
        assert [each.payload[HEADER_SIZE:] for each in arrived] == [
            each.data[HEADER_SIZE:] for each in captures[number::devices]
        ]


async def test_a_row_has_both_sides_with_and_without_limits(
    broker: LocalBroker, tmp_path: Path
) -> None:
    argv = ["--captures", "45", "--rtt-ms", "20", "--devices", "2"]
    (row,) = [each async for each in drain_latency(broker, tmp_path, arguments(argv))]
    assert (
        json.loads(json.dumps(row)).items()
        >= {
            "bench": "cloud",
            "case": "drain_latency",
            "devices": 2,
            "rtt_ms": 20,
            "captures": 45,
        }.items()
    )
    # 90 messages a second, after a burst of a tenth of a second.
    assert min(row["seconds"], row["paho_seconds"]) > 0.35
    assert min(row["unpaced_seconds"], row["paho_unpaced_seconds"]) >= 0.02 * 45 / 20
