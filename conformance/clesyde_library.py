"""Clesyde's own library as a device: a process of its own, since it needs older releases.

Prints a JSON object a line: when it is connected, and how. ``BURST TOPIC N TEXT`` on standard input
has it publish a text N times, acknowledged. Its ports are fixed; here the hosts bring theirs.
"""

import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from aiohttp import web

PEERS = Path(__file__).parents[1] / "build" / "peers" / "clesyde"


def _split(host: str, port: int) -> tuple[str, int]:
    name, _, number = host.partition(":")
    return name, int(number or port)


async def main(directory: str, api: str, serial: str, token: str) -> None:
    """Provision, connect, and serve until standard input ends."""
    sys.path.insert(0, str(PEERS))
    iot: Any = import_module("clesydecloud.iot")
    remote: Any = import_module("clesydecloud.remote")
    base = import_module("clesydecloud.client").ClesydeCloudClient
    client_class, tunnel_class = iot.Client, remote.SniTunClientAioHttp

    def client(hostname: str, port: int, **more: Any) -> Any:
        host, number = _split(hostname, port)
        return client_class(hostname=host, port=number, **more)

    def tunnel(runner: Any, context: Any, snitun_server: str, snitun_port: int) -> Any:
        host, number = _split(snitun_server, snitun_port)
        return tunnel_class(runner, context, snitun_server=host, snitun_port=number)

    iot.Client, remote.SniTunClientAioHttp = client, tunnel
    app = web.Application()
    app.router.add_get("/", _hello)
    runner = web.AppRunner(app)
    await runner.setup()
    loop = asyncio.get_running_loop()
    given = {
        "device_sn": serial,
        "base_path": Path(directory),
        "loop": loop,
        "api_base_url": api,
        "aiohttp_runner": runner,
    }
    made = type("Client", (base,), given)()
    cloud = import_module("clesydecloud").ClesydeCloud(made)
    await cloud.provisioning.start_provisioning(token)
    cloud.remote.register_on_connect(_said("tunnel"))
    cloud.iot.register_on_connect(_said("mqtt"))
    await cloud.initialize()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        _, topic, count, payload = line
        for _ in range(int(count)):
            cloud.iot.publish(topic, payload, 1, False)


async def _hello(_request: Any) -> Any:
    return web.Response(text="the library")


def _said(what: str) -> Any:
    async def say() -> None:
        print(json.dumps({"connected": what}), flush=True)

    return say


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
