"""A site sends the gateway to another broker, with the blob ``_iot_endpoint_config``.

The old broker hears that it is being applied before the connection to it is closed; the new one
has to take us in time, else the old one has us back. A host that nobody has approved waits for a
person, and until then nothing is tried, and nothing is said to be applied. Sites that send the
gateway to and fro are not followed for long.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ..errors import CloudError
from .block import BlobFailed, Clock
from .endpoint import Endpoint, InvalidEndpoint
from .link import Target, UdmiLink

KEY: Final = "_iot_endpoint_config"
MOST_SWITCHES: Final = 5
WITHIN: Final = 3600.0
PARSE: Final = "blobset.blob.parse"


class Redirect:
    """Applies endpoints.

    ``approved`` says whether a host may be gone to, ``ask`` waits for a person's answer where it
    may not. ``flush`` publishes the state at once, ``remember`` puts the endpoint on disk and
    raises OSError where that does not take it.
    """

    def __init__(
        self,
        link: UdmiLink,
        *,
        approved: Callable[[str], bool],
        ask: Callable[[Endpoint], Awaitable[bool]],
        flush: Callable[[], Awaitable[None]],
        remember: Callable[[Endpoint], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._link = link
        self._approved = approved
        self._ask = ask
        self._flush = flush
        self._remember = remember
        self._clock = clock
        self._switches: deque[float] = deque()

    async def admit(self, content: bytes, generation: str) -> None:
        """Wait until a person has approved the endpoint; raises BlobFailed where nobody does."""
        present = self._link.target.endpoint
        endpoint = self._read(content, present)
        if endpoint == present or self._approved(endpoint.hostname):
            return
        if not await self._ask(endpoint):
            raise BlobFailed(f"a person did not approve {endpoint.address}")

    async def apply(self, content: bytes, generation: str) -> None:
        """Go to the endpoint that is the blob's content, and may be; raises BlobFailed."""
        present = self._link.target
        endpoint = self._read(content, present.endpoint)
        if endpoint == present.endpoint:
            return
        self._count()
        try:
            # The old broker has to hear that it is being applied, and may not listen.
            await self._flush()
        except CloudError as err:
            raise BlobFailed(f"the state did not reach the present broker: {err}") from err
        try:
            await self._link.switch(Target(endpoint, present.keys))
        except CloudError as err:
            raise BlobFailed(f"{endpoint.address}: {err}") from err
        try:
            await self._remember(endpoint)
        except OSError as err:
            with suppress(CloudError):
                await self._link.switch(present)
            raise BlobFailed(f"the disk did not take the endpoint: {err}") from err

    def _read(self, content: bytes, present: Endpoint) -> Endpoint:
        try:
            endpoint = Endpoint.from_json(content)
        except InvalidEndpoint as err:
            raise BlobFailed(f"the endpoint can't be used: {err}", PARSE) from err
        if present.encrypted and not endpoint.encrypted:
            raise BlobFailed("the endpoint is not encrypted, and the present one is", PARSE)
        return endpoint

    def _count(self) -> None:
        now = self._clock()
        while self._switches and self._switches[0] <= now - WITHIN:
            self._switches.popleft()
        if len(self._switches) >= MOST_SWITCHES:
            raise BlobFailed(f"{MOST_SWITCHES} redirections within an hour are enough")
        self._switches.append(now)
