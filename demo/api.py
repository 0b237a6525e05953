"""Home Assistant's own HTTP and WebSocket interface, as a browser uses it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

USER = "demo"
PASSWORD = "demo"

type Json = dict[str, Any]


class ApiError(Exception):
    """Home Assistant refused a request; the text holds its answer."""


class Api:
    """A signed-in client of one Home Assistant."""

    def __init__(self, url: str) -> None:
        """Talk to the Home Assistant at ``url``."""
        self._url = url
        self._client_id = f"{url}/"
        self._session = aiohttp.ClientSession()
        self._token: str | None = None

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def answers(self) -> bool:
        """Whether the web server is up and serves pages."""
        try:
            async with self._session.get(f"{self._url}/manifest.json") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def request(self, method: str, path: str, body: object = None, **kwargs: Any) -> Any:
        """Make a request and return what it answers, decoded; ApiError on any refusal."""
        if body is not None:
            kwargs["json"] = body
        async with self._answer(method, path, **kwargs) as response:
            return await response.json()

    async def download(self, path: str) -> bytes:
        """Return the bytes behind a path; ApiError on any refusal."""
        async with self._answer("GET", path) as response:
            return await response.read()

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, **kwargs: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            async with self._session.request(
                method, self._url + path, headers=headers, **kwargs
            ) as response:
                if response.status >= 400:
                    raise ApiError(f"{method} {path}: {response.status} {await response.text()}")
                yield response
        except aiohttp.ClientError as error:
            raise ApiError(f"{method} {path}: {error!r}") from error

    async def onboard(self) -> None:
        """Create the first user, as the page of a first start does."""
        who = {"client_id": self._client_id, "language": "en"}
        user = {"name": "Demo", "username": USER, "password": PASSWORD}
        created = await self.request("POST", "/api/onboarding/users", who | user)
        await self._take_token(created["auth_code"])

    async def sign_in(self) -> None:
        """Sign in as the demo's user, after a restart."""
        self._token = None
        flow = {
            "client_id": self._client_id,
            "redirect_uri": self._client_id,
            "handler": ["homeassistant", None],
        }
        step = await self.request("POST", "/auth/login_flow", flow)
        answer = {"client_id": self._client_id, "username": USER, "password": PASSWORD}
        done = await self.request("POST", f"/auth/login_flow/{step['flow_id']}", answer)
        if "result" not in done:
            raise ApiError(f"Signing in as {USER}: {done.get('errors')}")
        await self._take_token(done["result"])

    async def _take_token(self, code: str) -> None:
        form = {"client_id": self._client_id, "grant_type": "authorization_code", "code": code}
        self._token = (await self.request("POST", "/auth/token", data=form))["access_token"]

    async def upload(self, name: str, content: bytes) -> str:
        """Upload a file as the frontend's file selector does; returns its id."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name)
        answer = await self.request("POST", "/api/file_upload", data=form)
        file_id: str = answer["file_id"]
        return file_id

    async def start_flow(self, handler: str) -> Json:
        """Begin a config flow as *Add integration* does."""
        body = {"handler": handler, "show_advanced_options": False}
        step: Json = await self.request("POST", "/api/config/config_entries/flow", body)
        return step

    async def flow(self, flow_id: str, answers: Mapping[str, Any] | None = None) -> Json:
        """See a flow's step again, or answer it; returns the step that comes next."""
        path = f"/api/config/config_entries/flow/{flow_id}"
        method = "GET" if answers is None else "POST"
        step: Json = await self.request(method, path, answers)
        return step

    async def discovered(self, handler: str) -> list[Json]:
        """Return the discovery cards of an integration that wait for an answer."""
        flows = await self.command("config_entries/flow/progress")
        return [flow for flow in flows if flow["handler"] == handler]

    async def entries(self, domain: str) -> list[Json]:
        """Return the config entries of an integration."""
        found: list[Json] = await self.request(
            "GET", f"/api/config/config_entries/entry?domain={domain}"
        )
        return found

    async def states(self) -> dict[str, Json]:
        """Every entity's state."""
        return {state["entity_id"]: state for state in await self.request("GET", "/api/states")}

    async def call(self, domain: str, service: str, *, answer: bool = False, **data: Any) -> Any:
        """Run an action, with its response when ``answer`` is asked for."""
        suffix = "?return_response" if answer else ""
        return await self.request("POST", f"/api/services/{domain}/{service}{suffix}", data)

    async def command(self, kind: str, **fields: Any) -> Any:
        """Send one WebSocket command and return its result."""
        async with self._session.ws_connect(f"{self._url}/api/websocket") as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": self._token})
            if (answer := await socket.receive_json())["type"] != "auth_ok":
                raise ApiError(f"WebSocket: {answer}")
            await socket.send_json({"id": 1, "type": kind, **fields})
            answer = await socket.receive_json()
            if not answer.get("success"):
                raise ApiError(f"{kind}: {answer.get('error')}")
            return answer["result"]
