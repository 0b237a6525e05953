"""Requests to a collector over HTTP: bounded in time and size, never to where it points."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import aiohttp

from ..errors import CannotConnect, ConnectTimeout, NotAcknowledged, UnknownHost, Untrusted
from .answers import LARGEST_ANSWER, Rejected, check_status, read_answer
from .endpoint import Endpoint, Signal
from .requests import NO_LOGS, NO_METRICS

TIMEOUT: Final = 30.0
"""Seconds for a request with its answer, however slowly a collector gives it."""
CONNECT_TIMEOUT: Final = 10.0

_REJECTED: Final = {
    Signal.LOGS: "rejectedLogRecords",
    Signal.METRICS: "rejectedDataPoints",
}


class OtlpClient:
    """Posts to one endpoint. What its headers say shows in no error and no log."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        *,
        timeout: float = TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        self._now = now
        self._headers = {
            **endpoint.headers,
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            # An answer of a few bytes needs no packing, and a packed one may be a bomb.
            "Accept-Encoding": "identity",
            "User-Agent": "OTel-OTLP-Exporter-uLogger",
        }

    async def probe(self, *, metrics: bool = True) -> None:
        """Ask whether the collector is there and takes what we send; raises CloudError."""
        await self.post(Signal.LOGS, NO_LOGS)
        if metrics:
            await self.post(Signal.METRICS, NO_METRICS)

    async def post(self, signal: Signal, body: bytes) -> Rejected:
        """Return what of a packed request was rejected, once it is answered; raises CloudError."""
        try:
            async with self._session.post(
                self._endpoint.of(signal),
                data=body,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,
                ssl=True if self._endpoint.tls is None else self._endpoint.tls,
            ) as response:
                answer = await _read(response)
                check_status(response.status, response.headers, answer, self._now())
                content_type = response.headers.get("Content-Type", "")
                return read_answer(content_type, answer, _REJECTED[signal])
        except aiohttp.ConnectionTimeoutError as err:
            raise ConnectTimeout("the collector can't be reached in time") from err
        except TimeoutError as err:
            raise NotAcknowledged("the collector did not answer in time") from err
        except aiohttp.ClientConnectorDNSError as err:
            raise UnknownHost("the collector's name has no address") from err
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as err:
            raise Untrusted(f"TLS: {_without_address(err)}") from err
        except aiohttp.ClientConnectorError as err:
            raise CannotConnect("nothing answers at the collector's address") from err
        except (aiohttp.ClientError, ValueError) as err:
            # The request may have left: whether it was taken nobody knows.
            raise NotAcknowledged(f"no answer can be read ({type(err).__name__})") from err


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer, no more of it than a good one has."""
    try:
        return await response.content.readexactly(LARGEST_ANSWER)
    except asyncio.IncompleteReadError as err:
        return err.partial


def _without_address(err: aiohttp.ClientConnectorError) -> str:
    """Return what TLS says, without the collector's address."""
    inner = getattr(err, "certificate_error", None) or getattr(err, "os_error", None) or err
    return getattr(inner, "verify_message", None) or getattr(inner, "reason", None) or "refused"
