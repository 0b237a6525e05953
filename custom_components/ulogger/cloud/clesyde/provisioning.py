"""Registers this gateway at Clesyde's API. Nothing is stored here, so a failure leaves nothing."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from yarl import URL

from .errors import (
    ANSWER_INVALID,
    API_FAILED,
    API_NOT_THERE,
    API_TIMEOUT,
    API_UNREACHABLE,
    API_UNTRUSTED,
    TOKEN_REFUSED,
    ThingError,
)
from .thing import LARGEST_ANSWER, Thing, checked_serial, thing_from_registration

PATH: Final = "device/register"
SECONDS: Final = 30.0

type Run = Callable[..., Awaitable[Any]]
"""Runs a blocking callable with its arguments elsewhere: ``hass.async_add_executor_job``."""


def api_url(typed: str) -> URL:
    """Return the address of the API's call; raises ThingError.

    The answer holds private keys: only this machine itself may be asked without TLS.
    """
    try:
        url = URL(typed.strip())
    except ValueError as err:
        raise ThingError("url_invalid", "no address", field="api") from err
    if url.scheme not in {"https", "http"} or not url.host or url.user or url.query_string:
        raise ThingError("url_invalid", "no address of an API", field="api")
    if url.scheme == "http" and not _is_here(url.host):
        raise ThingError("url_unencrypted", "keys must not travel readable", field="api")
    return url.with_fragment(None) / PATH


async def register(
    session: aiohttp.ClientSession,
    api: str,
    serial: str,
    token: str,
    run: Run,
    *,
    seconds: float = SECONDS,
) -> Thing:
    """Return the thing that the API makes of this gateway; raises ThingError."""
    url = api_url(api)
    body = {"sn": checked_serial(serial), "token": token}
    try:
        async with (
            asyncio.timeout(seconds),
            session.post(url, json=body, allow_redirects=False) as response,
        ):
            status = response.status
            answer = await response.content.read(LARGEST_ANSWER + 1)
            while len(answer) <= LARGEST_ANSWER and (more := await response.content.read(65_536)):
                answer += more
    except TimeoutError as err:
        raise ThingError(API_TIMEOUT, "the API did not answer in time", field="api") from err
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLError) as err:
        raise ThingError(API_UNTRUSTED, "the API's certificate", field="api") from err
    except aiohttp.ClientSSLError as err:
        raise ThingError(API_UNTRUSTED, "TLS with the API fails", field="api") from err
    except (aiohttp.ClientError, OSError) as err:
        raise ThingError(API_UNREACHABLE, "the API can't be reached", field="api") from err
    if status in {401, 403}:
        raise ThingError(TOKEN_REFUSED, f"HTTP {status}", field="token")
    if status == 404:
        raise ThingError(API_NOT_THERE, f"HTTP {status}", field="api")
    if status != 200:
        raise ThingError(API_FAILED, f"HTTP {status}", detail=str(status))
    if len(answer) > LARGEST_ANSWER:
        raise ThingError(ANSWER_INVALID, "the answer is far too long")
    thing: Thing = await run(thing_from_registration, serial, answer)
    return thing


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
