"""Metrics and events over HTTP with an API token, where there is no MQTT."""

import asyncio
import json
from collections.abc import Mapping

import aiohttp

from ..errors import (
    ApiTokenRefused,
    CannotConnect,
    CloudError,
    CloudUnavailable,
    ConnectTimeout,
    MessageRefused,
    MessageTooLarge,
)
from .samples import Kind, Message

DEFAULT_URL = "https://api.ulogger.ai"
TIMEOUT = 30.0
LARGEST_ANSWER = 64 * 1024
_REFUSALS: Mapping[int, type[CloudError]] = {
    401: ApiTokenRefused,
    403: ApiTokenRefused,
    404: CannotConnect,
    405: CannotConnect,
    408: CloudUnavailable,
    413: MessageTooLarge,
    429: CloudUnavailable,
}


class HttpTelemetry:
    """The way over HTTP: posts metrics and events of one group with an API token (``ulg_...``).

    The token goes into a header and nowhere else: no error and no log shows it. There is no
    limit on the size of a message here, so nothing is split.
    """

    largest = None

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_token: str,
        *,
        group_id: int = 0,
        url: str = DEFAULT_URL,
    ) -> None:
        self._session = session
        self._authorization = f"Bearer {api_token}"
        self._group_id = group_id
        self._url = url.rstrip("/")

    def fields(self, application_id: int) -> Mapping[str, str]:
        """Return the application and the group: no topic names them here."""
        return {"app_id": str(application_id), "group_id": str(self._group_id)}

    async def send(self, kind: Kind, application_id: int, message: Message) -> None:
        """Post one message; raises CloudError."""
        headers = {"Content-Type": "application/json", "Authorization": self._authorization}
        if message.gzipped:
            headers["Content-Encoding"] = "gzip"
        try:
            async with self._session.post(
                f"{self._url}/publish/{kind.value}",
                data=message.data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                allow_redirects=False,
            ) as response:
                await _check(response)
        except TimeoutError as err:
            raise ConnectTimeout("the API did not answer in time") from err
        except aiohttp.ClientError as err:
            raise CannotConnect("the API can't be reached") from err


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raise CloudError unless the answer is a success: ``{"success": true}``, or 1."""
    status = response.status
    if status >= 500:
        raise CloudUnavailable(f"the API answered with status {status}")
    if status >= 300:
        raise _REFUSALS.get(status, MessageRefused)(f"the API answered with status {status}")
    try:
        answer = json.loads(await _read(response))
    except (ValueError, RecursionError) as err:
        raise CloudUnavailable("the API's answer can't be read") from err
    if not isinstance(answer, dict) or answer.get("success") != 1:
        raise MessageRefused("the API did not take the message")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the answer, no more of it than a good one has."""
    try:
        return await response.content.readexactly(LARGEST_ANSWER)
    except asyncio.IncompleteReadError as err:
        return err.partial
