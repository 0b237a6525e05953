"""Pepeunit's REST API, as far as a unit may use it."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import aiohttp

from ..tls import verifying_context
from .archive import LARGEST_PACKED
from .env import LARGEST as LARGEST_ENV
from .env import Env
from .errors import RestError, RestFailure
from .schema import LARGEST as LARGEST_SCHEMA
from .schema import Schema

TIMEOUT: Final = 30.0
FIRMWARE_TIMEOUT: Final = 300.0
LARGEST_ANSWER: Final = 2 * 1024 * 1024
LARGEST_STATE: Final = 1_000_000
"""Characters that a unit's state storage takes."""
MOST_ROWS: Final = 500
LONGEST_DETAIL: Final = 300
_FAILURES: Final[Mapping[int, RestFailure]] = {
    401: RestFailure.FORBIDDEN,
    403: RestFailure.FORBIDDEN,
    404: RestFailure.NOT_FOUND,
    413: RestFailure.TOO_LARGE,
    422: RestFailure.INVALID,
}


class TargetVersion(NamedTuple):
    """Which version of its program a unit should have; many have no ``tag``."""

    commit: str
    tag: str | None


class RestClient:
    """The API of one unit. Its token goes into a header, and into no error and no log.

    ``tls`` says whom to trust, without it those whom the session trusts. All methods raise
    RestError; what comes back from the API is checked by who parses it.
    """

    def __init__(
        self, session: aiohttp.ClientSession, env: Env, tls: ssl.SSLContext | None = None
    ) -> None:
        self._session = session
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._api = env.api
        self._unit = env.unit
        self._headers = {"x-auth-token": env.token, "accept": "application/json"}

    # The unit's own files

    async def env(self) -> Env:
        """Fetch ``env.json``; raises InvalidFile for one that is not good."""
        return Env.parse(await self._get(f"/units/env/{self._unit}", largest=LARGEST_ENV))

    async def schema(self) -> Schema:
        """Fetch ``schema.json``; raises InvalidFile for one that is not good."""
        path = f"/units/get_current_schema/{self._unit}"
        return Schema.parse(await self._get(path, largest=LARGEST_SCHEMA))

    async def target_version(self) -> TargetVersion:
        """Ask which version the unit should have."""
        return answered_version(await self._get(f"/units/get_target_version/{self._unit}"))

    async def firmware(self) -> bytes:
        """Fetch the archive of the target version, compressed; nothing of it is read here."""
        return await self._request(
            "GET",
            f"/units/firmware/tgz/{self._unit}",
            params=[("wbits", "15"), ("level", "9")],
            largest=LARGEST_PACKED,
            seconds=FIRMWARE_TIMEOUT,
        )

    # What the unit keeps there

    async def set_state_storage(self, state: str) -> None:
        """Keep a text for this unit, in place of what was kept before."""
        if len(state) > LARGEST_STATE:
            raise RestError(RestFailure.TOO_LARGE, f"{len(state)} > {LARGEST_STATE}")
        await self._request("POST", f"/units/set_state_storage/{self._unit}", {"state": state})

    async def state_storage(self) -> str:
        """Return the text that is kept; the API sends it as a JSON string."""
        # A character may take six bytes there.
        largest = 6 * LARGEST_STATE + 2
        answer = _json(await self._get(f"/units/get_state_storage/{self._unit}", largest=largest))
        if answer is None:
            return ""
        if not isinstance(answer, str):
            raise RestError(RestFailure.FAILED, "the stored state is no text")
        return answer

    # Other units

    async def inputs_of_output(
        self, output: str, limit: int = 100, offset: int = 0
    ) -> dict[str, Any]:
        """Find the inputs that are connected to an output node."""
        params = [
            ("order_by_create_date", "desc"),
            ("output_uuid", checked_uuid(output)),
            *_page(limit, offset),
        ]
        return answered_object(await self._get("/unit_nodes", params))

    async def units_of_nodes(
        self, nodes: Sequence[str], limit: int = 100, offset: int = 0
    ) -> dict[str, Any]:
        """Find the units that nodes belong to, with their outputs."""
        if not nodes:
            return {"count": 0, "units": []}
        params = [
            ("is_include_output_unit_nodes", "true"),
            ("order_by_unit_name", "asc"),
            ("order_by_create_date", "desc"),
            ("order_by_last_update", "desc"),
            *_page(limit, offset),
            *(("unit_node_uuids", checked_uuid(node)) for node in nodes),
        ]
        return answered_object(await self._get("/units", params))

    async def set_input(self, node: str, state: str) -> dict[str, Any]:
        """Have an input node of any unit get a value."""
        path = f"/unit_nodes/set_state_input/{checked_uuid(node)}"
        return answered_object(await self._request("PATCH", path, {"state": state}))

    # How it is asked

    async def _get(
        self,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        largest: int = LARGEST_ANSWER,
    ) -> bytes:
        return await self._request("GET", path, params=params, largest=largest)

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Sequence[tuple[str, str]] = (),
        largest: int = LARGEST_ANSWER,
        seconds: float = TIMEOUT,
    ) -> bytes:
        """Ask once; a redirect would take the token elsewhere and is not followed."""
        try:
            async with self._session.request(
                method,
                f"{self._api}{path}",
                params=list(params),
                json=body,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
                ssl=self._tls,
            ) as response:
                if response.status >= 300:
                    raise await _refusal(response)
                return await _read(response, largest)
        except TimeoutError as err:
            raise RestError(RestFailure.UNREACHABLE, "no answer in time") from err
        except aiohttp.ClientConnectorCertificateError as err:
            detail = getattr(err.certificate_error, "verify_message", "")
            raise RestError(RestFailure.UNTRUSTED, detail) from err
        except (aiohttp.ClientError, ValueError, OSError) as err:
            raise RestError(RestFailure.UNREACHABLE, type(err).__name__) from err


def api_context(ca: str | None, new_context: Callable[[], ssl.SSLContext]) -> ssl.SSLContext | None:
    """Return whom to trust as the API beside the public authorities, None for nobody. Blocks.

    An authority that a person gives may be the broker's alone.
    """
    return None if ca is None else verifying_context(ca, new_context, beside=True)


def checked_uuid(text: str) -> str:
    """Return a UUID as it is written; raises RestError for another text."""
    try:
        return str(UUID(text.strip()))
    except (ValueError, AttributeError) as err:
        raise RestError(RestFailure.NOT_A_UUID, repr(str(text)[:64])) from err


def _page(limit: int, offset: int) -> list[tuple[str, str]]:
    return [("limit", str(min(max(limit, 1), MOST_ROWS))), ("offset", str(max(offset, 0)))]


async def _refusal(response: aiohttp.ClientResponse) -> RestError:
    failure = _FAILURES.get(response.status, RestFailure.FAILED)
    if response.status >= 500:
        failure = RestFailure.UNREACHABLE
    detail = f"status {response.status}"
    try:
        answer = json.loads(await _read(response, LARGEST_ANSWER))
        said = answer.get("detail") if isinstance(answer, dict) else None
    except ValueError, RecursionError, RestError, aiohttp.ClientError:
        said = None
    if said:
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        detail = " ".join(text.split())[:LONGEST_DETAIL]
    return RestError(failure, detail)


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """Return an answer, and no more of it than there may be."""
    try:
        answer = await response.content.readexactly(largest + 1)
    except asyncio.IncompleteReadError as err:
        return err.partial
    raise RestError(RestFailure.TOO_LARGE, f"more than {len(answer) - 1} bytes")


def _json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError) as err:
        raise RestError(RestFailure.FAILED, "the answer can't be read") from err


def answered_version(answer: bytes) -> TargetVersion:
    """Return the version in an answer; raises RestError."""
    value = answered_object(answer)
    commit, tag = value.get("commit"), value.get("tag")
    if not isinstance(commit, str) or not (tag is None or isinstance(tag, str)):
        raise RestError(RestFailure.FAILED, "the version can't be read")
    return TargetVersion(commit[:128], tag and tag[:128])


def answered_object(answer: bytes) -> dict[str, Any]:
    """Return the object in an answer; raises RestError."""
    value = _json(answer)
    if not isinstance(value, dict):
        raise RestError(RestFailure.FAILED, "the answer can't be read")
    return value
