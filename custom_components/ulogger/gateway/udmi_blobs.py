"""Blobs of a site: fetched from the web, and firmware images added for decoding."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import ClientError, ClientTimeout, InvalidURL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util import dt as dt_util
from yarl import URL

from ..account.firmware_images import FirmwareRefused, image_title
from ..cloud.udmi.blobs import APPLY, PARSE, Blobset, Kind
from ..cloud.udmi.block import BlobFailed, Changed
from ..cloud.udmi.data_url import FETCH
from ..firmware.elf import LARGEST_IMAGE
from ..firmware.matching import ImageKey
from .images import Images

_LOGGER = logging.getLogger(__name__)

IMAGE: Final = "ulogger_image"
"""The key of the blob that is a firmware image."""
SCHEMES: Final = frozenset({"http", "https"})
MOST_REDIRECTS: Final = 5
PATIENCE: Final = ClientTimeout(total=600.0, sock_connect=30.0, sock_read=30.0)
PIECE: Final = 64 * 1024
_OUR_DISK: Final = frozenset({"file_unreadable", "image_not_kept"})


async def async_fetch(hass: HomeAssistant, url: str, most: int) -> bytes:
    """Return what stands at a URL; raises BlobFailed, also for more than *most* bytes."""
    try:
        address = URL(url)
        # Redirects are followed here, for a session would follow them anywhere.
        for _ in range(MOST_REDIRECTS + 1):
            if address.scheme not in SCHEMES or not address.host:
                raise BlobFailed("Only http, https and data URLs are fetched", FETCH)
            content, further = await _async_get(hass, address, most)
            if further is None:
                return content
            address = further
    except TimeoutError as err:
        raise BlobFailed("The server takes too long", FETCH) from err
    except (ClientError, InvalidURL, OSError, ValueError) as err:
        raise BlobFailed(f"It can't be fetched: {str(err) or type(err).__name__}", FETCH) from err
    raise BlobFailed("The server sends us from one place to the next", FETCH)


async def _async_get(hass: HomeAssistant, url: URL, most: int) -> tuple[bytes, URL | None]:
    """Return the content, or where it is instead."""
    session = async_get_clientsession(hass)
    async with session.get(url, allow_redirects=False, timeout=PATIENCE) as response:
        if response.status in (301, 302, 303, 307, 308) and (
            to := response.headers.get("Location")
        ):
            return b"", url.join(URL(to))
        if response.status != 200:
            raise BlobFailed(f"The server answers {response.status}", FETCH)
        too_large = BlobFailed(f"It has more than {most} bytes", FETCH)
        if (response.content_length or 0) > most:
            raise too_large
        content = bytearray()
        async for piece in response.content.iter_chunked(PIECE):
            content += piece
            if len(content) > most:
                raise too_large
        return bytes(content), None


async def async_add_image(images: Images, content: bytes, generation: str) -> None:
    """Add a firmware image, so that logs and crashes are decoded with it; raises BlobFailed."""
    try:
        added = await images.async_add(lambda: content, ImageKey(), f"UDMI {generation}")
    except FirmwareRefused as err:
        category = APPLY if err.reason in _OUR_DISK else PARSE
        text = "It does not say of which firmware it is"
        if err.reason != "image_of_unknown_version":
            text = f"It is no firmware image that can be used: {err}"
        raise BlobFailed(text, category) from err
    _LOGGER.info("A UDMI site has sent the firmware image %s", image_title(added.key))


def make_blobset(
    hass: HomeAssistant,
    images: Callable[[], Images],
    others: Mapping[str, Kind],
    *,
    changed: Changed,
    keep: Callable[[Mapping[str, Any]], Awaitable[None]],
    flush: Callable[[], Awaitable[None]],
    tell: Callable[[Mapping[str, Any]], None],
    memory: Mapping[str, Any] | None,
) -> Blobset:
    """Return the block ``blobset``, that knows firmware images and *others*.

    ``keep`` puts what it is handed on disk; ``memory`` is what it was handed last. ``flush`` has
    the state published that a blob is being applied, before it is.
    """

    async def add_image(content: bytes, generation: str) -> None:
        await flush()
        await async_add_image(images(), content, generation)

    async def fetch(url: str, most: int) -> bytes:
        return await async_fetch(hass, url, most)

    async def keep_memory() -> None:
        await keep(blobset.memory)

    blobset = Blobset(
        {**others, IMAGE: Kind(add_image, LARGEST_IMAGE)},
        changed=changed,
        now=dt_util.utcnow,
        fetch=fetch,
        run=hass.async_add_executor_job,
        keep=keep_memory,
        tell=tell,
        memory=memory,
    )
    return blobset
