"""Blobs of a site: what is fetched from where, and firmware images that explain logs."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_socket
from aiohttp import ClientTimeout, web
from aiohttp.test_utils import TestServer
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account import firmware_images
from custom_components.ulogger.cloud.udmi.blobs import Blobset, Kind
from custom_components.ulogger.cloud.udmi.block import BlobFailed
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway import udmi_blobs
from custom_components.ulogger.gateway.images import Images
from custom_components.ulogger.gateway.udmi_blobs import IMAGE, async_fetch, make_blobset
from tests.support.account import SENSOR
from tests.support.fixtures import AGENT

FIRMWARE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
CONTENT = b"x" * 1000


class Web:
    """A server on loopback; ``pieces`` come without a length in front."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = asyncio.Event()
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        self.server = TestServer(app)

    def url(self, name: str) -> str:
        return str(self.server.make_url(f"/{name}"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked.append(name)
        match name:
            case "firmware.elf":
                return web.Response(body=FIRMWARE)
            case "content":
                return web.Response(body=CONTENT)
            case "pieces":
                response = web.StreamResponse()
                await response.prepare(request)
                for _ in range(10):
                    await response.write(bytes(100))
                return response
            case "further":
                return web.Response(status=302, headers={"Location": "/content"})
            case "round":
                return web.Response(status=302, headers={"Location": "/round"})
            case "file":
                return web.Response(status=302, headers={"Location": "file:///etc/passwd"})
            case "slow":
                await self.released.wait()
        return web.Response(status=404)


@pytest.fixture
async def served(socket_enabled: None) -> AsyncGenerator[Web]:
    """A web server."""
    pytest_socket.enable_socket()
    served = Web()
    await served.server.start_server()
    yield served
    served.released.set()
    await served.server.close()


@pytest.mark.parametrize(
    ("name", "most", "size"),
    [("content", 1000, 1000), ("pieces", 1000, 1000), ("further", 1000, 1000)],
)
async def test_what_stands_at_a_url_is_fetched(
    hass: HomeAssistant, served: Web, name: str, most: int, size: int
) -> None:
    assert len(await async_fetch(hass, served.url(name), most)) == size


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("content", "more than 999 bytes"),
        ("pieces", "more than 999 bytes"),
        ("nothing", "answers 404"),
        ("round", "from one place to the next"),
        ("file", "Only http, https and data"),
    ],
)
async def test_what_cannot_be_fetched_says_why(
    hass: HomeAssistant, served: Web, name: str, says: str
) -> None:
    with pytest.raises(BlobFailed, match=says) as caught:
        await async_fetch(hass, served.url(name), 999)
    assert caught.value.category == "blobset.blob.fetch"
    assert len(served.asked) <= 6


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "/local", "http://", "http://[", "", "http://:80"],
)
async def test_only_the_web_is_asked(hass: HomeAssistant, url: str) -> None:
    with pytest.raises(BlobFailed) as caught:
        await async_fetch(hass, url, 999)
    if "://[" not in url and "://:" not in url:
        assert str(caught.value) == "Only http, https and data URLs are fetched"


async def test_a_server_that_is_away_or_too_slow_is_said_to_be(
    hass: HomeAssistant, served: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udmi_blobs, "PATIENCE", ClientTimeout(total=0.05))
    with pytest.raises(BlobFailed, match="too long"):
        await async_fetch(hass, served.url("slow"), 999)
    gone = served.url("content")
    await served.server.close()
    with pytest.raises(BlobFailed, match="can't be fetched"):
        await async_fetch(hass, gone, 999)


# Firmware images


class Gateway:
    """A gateway that knows firmware images, with a disk of its own."""

    def __init__(self, hass: HomeAssistant, images: Images) -> None:
        self.disk: dict[str, Any] = {}
        self.others: list[bytes] = []
        self.flushed: list[dict[str, Any]] = []
        self._hass = hass
        self._images = images
        self.blobs = self.make()

    def make(self) -> Blobset:
        return make_blobset(
            self._hass,
            lambda: self._images,
            {"other": Kind(self._other)},
            changed=lambda: None,
            keep=self._keep,
            flush=self._flush,
            tell=lambda _entry: None,
            memory=self.disk,
        )

    async def _keep(self, memory: Any) -> None:
        self.disk = dict(memory)

    async def _flush(self) -> None:
        self.flushed.append(dict(self.blobs.state() or {}))

    async def _other(self, content: bytes, _generation: str) -> None:
        self.others.append(content)

    async def take(
        self, url: str, content: bytes, key: str = IMAGE, number: int = 1
    ) -> dict[str, Any]:
        blob = {
            "phase": "final",
            "url": url,
            "sha256": hashlib.sha256(content).hexdigest(),
            "generation": f"2026-01-01T00:00:0{number}Z",
        }
        self.blobs.configure({"blobs": {key: blob}}, dt_util.utcnow())
        await self.blobs.async_wait()
        await self._hass.async_block_till_done()
        state = self.blobs.state()
        assert state is not None
        found: dict[str, Any] = state["blobs"][key]
        return found


@pytest.fixture
def gateway(hass: HomeAssistant, account: MockConfigEntry) -> Gateway:
    return Gateway(hass, account.runtime_data.images)


async def test_a_firmware_image_of_a_site_decodes_logs(
    hass: HomeAssistant,
    account: MockConfigEntry,
    device: DeviceCoordinator,
    gateway: Gateway,
    served: Web,
) -> None:
    state = await gateway.take(served.url("firmware.elf"), FIRMWARE)
    assert state == {"phase": "final", "generation": "2026-01-01T00:00:01Z"}
    images: Images = account.runtime_data.images
    assert await hass.async_add_executor_job(images.image_of, SENSOR) is not None
    (subentry,) = account.subentries.values()
    assert subentry.data["source"] == "UDMI 2026-01-01T00:00:01Z"


async def test_an_image_is_not_fetched_again_after_a_restart(
    account: MockConfigEntry, gateway: Gateway, served: Web
) -> None:
    url = served.url("firmware.elf")
    await gateway.take(url, FIRMWARE)
    gateway.blobs = gateway.make()
    assert (await gateway.take(url, FIRMWARE))["phase"] == "final"
    assert served.asked == ["firmware.elf"]
    await gateway.take(url, FIRMWARE, number=2)
    assert len(served.asked) == 2
    assert len(account.subentries) == 1


async def test_what_is_no_image_is_refused(
    account: MockConfigEntry, gateway: Gateway, served: Web
) -> None:
    state = await gateway.take(served.url("content"), CONTENT)
    assert state["phase"] == "final"
    assert state["status"]["category"] == "blobset.blob.parse"
    assert not account.subentries


async def test_a_full_disk_is_our_own_fault(
    gateway: Gateway, served: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(firmware_images, "_prepare", full)
    state = await gateway.take(served.url("firmware.elf"), FIRMWARE)
    assert state["status"]["category"] == "blobset.blob.apply"
    assert "No space left" in state["status"]["message"]


async def test_others_take_what_is_theirs_and_unknown_ones_are_refused(gateway: Gateway) -> None:
    assert "status" not in await gateway.take("data:,abc", b"abc", "other")
    assert gateway.others == [b"abc"]
    state = await gateway.take("data:,abc", b"abc", "system")
    assert state["status"]["level"] == 500
