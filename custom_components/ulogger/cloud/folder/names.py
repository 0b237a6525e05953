"""What a capture's files are called; what a device calls itself can't change where they go."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Self

from ...model.capture import Capture

LONGEST_SERIAL: Final = 48
MARKER: Final = ".ulogger-destination"
"""Stands in the directory, and so tells it from the place where it should have been mounted."""
TEMPORARY: Final = ".tmp"

_MOMENT: Final = "%Y%m%dT%H%M%SZ"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_OURS: Final = re.compile(r"(\d{8}T\d{6}Z)-(\d+)-(log|core_dump)\.(bin|json)(\.tmp)?")


@dataclass(frozen=True, slots=True)
class CaptureFiles:
    """Where a capture goes, below the destination's directory.

    ``folder`` is made of the serial: of letters, digits, ``-`` and ``_``. A serial with anything
    else in it, or longer than 48 characters, gets a part of its hash, so that no two serials
    share a folder. ``stem`` is ``<UTC time>-<id>-<kind>``.
    """

    folder: str
    stem: str

    @classmethod
    def of(cls, capture: Capture, capture_id: int) -> Self:
        """Name the files of a capture."""
        moment = datetime.fromtimestamp(capture.captured_at, UTC).strftime(_MOMENT)
        return cls(
            safe_folder(capture.device.serial), f"{moment}-{capture_id}-{capture.kind.value}"
        )

    @property
    def data(self) -> str:
        """The capture as it came."""
        return f"{self.stem}.bin"

    @property
    def description(self) -> str:
        """Who it is from, beside it."""
        return f"{self.stem}.json"


def safe_folder(serial: str) -> str:
    """Return a folder's name for a serial, whatever it is; no command takes it for an option."""
    safe = _UNSAFE.sub("_", serial)[:LONGEST_SERIAL].lstrip("-")
    if safe == serial and safe.strip("_-"):
        return safe
    digest = sha256(serial.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{safe}-{digest}" if safe else digest


def is_ours(name: str) -> bool:
    """Whether a file's name is one that we give; others in the directory are never touched."""
    return _OURS.fullmatch(name) is not None


def stem_of(name: str) -> str:
    """Return the part that a capture's two files share."""
    return name.split(".", 1)[0]
