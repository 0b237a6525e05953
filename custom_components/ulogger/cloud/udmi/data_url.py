"""URLs that bring their content along."""

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

from .block import BlobFailed

FETCH: Final = "blobset.blob.fetch"
SCHEME: Final = "data:"


def is_data_url(url: str) -> bool:
    """Return whether a URL brings its content along."""
    return url[: len(SCHEME)].lower() == SCHEME


def read_data_url(url: str, most: int) -> bytes:
    """Return the content of a data URL; raises BlobFailed for more than *most* bytes."""
    head, comma, body = url[len(SCHEME) :].partition(",")
    if not comma:
        raise BlobFailed("The data URL has no comma", FETCH)
    if len(body) > 4 * most:
        raise BlobFailed(f"The content has more than {most} bytes", FETCH)
    content = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            content = base64.b64decode(bytes(content).translate(None, b" \t\r\n"), validate=True)
        except binascii.Error as err:
            raise BlobFailed(f"The data URL is no base64: {err}", FETCH) from err
    if len(content) > most:
        raise BlobFailed(f"The content has more than {most} bytes", FETCH)
    return content
