"""What a collector may answer: as its specification has it, and as none would."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

type Answer = Callable[[web.Request, int], Awaitable[web.StreamResponse | None]]


def first(number: int, answer: Answer) -> Answer:
    """Answer so many requests that carry something, and leave all others to the collector."""
    left = [number]

    async def answered(request: web.Request, count: int) -> web.StreamResponse | None:
        # An empty request asks only whether it is there.
        if left[0] and len(await request.read()) > 200:
            left[0] -= 1
            return await answer(request, count)
        return None

    return answered


def status(code: int, **headers: str) -> Answer:
    """Answer with a status."""

    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        return web.json_response({"message": "told so"}, status=code, headers=headers)

    return answer


def hostile_answers() -> list[Answer]:
    """Answers that no collector gives."""

    def whole(body: bytes, kind: str = "application/json", **headers: str) -> Answer:
        async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
            return web.Response(body=body, content_type=kind, headers=headers)

        return answer

    async def cut_off(request: web.Request, _number: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        if request.transport is not None:
            request.transport.abort()
        return response

    async def hung_up(request: web.Request, _number: int) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def not_http(request: web.Request, _number: int) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.write(b"SSH-2.0-OpenSSH_9\r\n" + b"\x00\xff" * 500)
            request.transport.close()
        return web.Response()

    return [
        whole(b"<html>log in</html>", "text/html"),
        whole(b"[" * 60_000),
        whole(b"\xff\xfe{}"),
        whole(b'"partialSuccess"'),
        whole(gzip.compress(b" " * 50_000_000), **{"Content-Encoding": "gzip"}),
        cut_off,
        hung_up,
        not_http,
    ]


async def drip(request: web.Request, _number: int) -> web.StreamResponse:
    """Never come to an end."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)
    return response


def silent(seconds: float) -> Answer:
    """Say nothing for so long."""

    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response(status=200)

    return answer
