"""The firmware images of an account: config subentries, and a file for what is kept of each.

Of an image only what explains logs and core dumps is kept, in a directory beside the outbox.
A file is named by the content of the image that it was made of, is whole as soon as it has its
name, and goes with the last subentry that names it, or with the account.
"""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers.singleton import singleton

from ..capture.errors import InvalidImage
from ..const import (
    CONF_ADDED_AT,
    CONF_APPLICATION_ID,
    CONF_FILE,
    CONF_GIT_HASH,
    CONF_SOURCE,
    CONF_VERSION,
    DOMAIN,
    SUBENTRY_FIRMWARE,
)
from ..firmware.compact_image import CompactImage
from ..firmware.elf import LARGEST_IMAGE, ElfFile
from ..firmware.image_import import import_steps
from ..firmware.image_version import key_steps
from ..firmware.matching import ImageKey
from ..firmware.steps import Steps
from ..model.durable import sync_directory
from ..model.identity import DeviceIdentity
from .store import outbox_path

_LOGGER = logging.getLogger(__name__)

ENDING: Final = ".image"
_TEMPORARY: Final = ".tmp"
_AT_ONCE: Final = 0.05
"""Seconds that an import holds a thread at a time; then others have their turn."""

type ReadImage = Callable[[], bytes]
"""Returns an image's bytes; blocks, and raises OSError or FirmwareRefused."""


class FirmwareRefused(Exception):
    """A file that can't be used; ``reason`` is the key of the message, the text says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep the reason."""
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """What was made of an image: its file's name, what it is of, and how much is in it."""

    file: str
    told: ImageKey
    size: int
    """Bytes of the image."""
    kept: int
    """Bytes of what is kept of it."""
    functions: int
    lines: int
    modules: tuple[str, ...]
    damaged_units: int


def image_directory(hass: HomeAssistant, entry_id: str) -> Path:
    """Where what is kept of an account's images is."""
    return outbox_path(hass, entry_id).with_suffix(".images")


def image_key(data: Mapping[str, Any]) -> ImageKey:
    """Return what a subentry's image is of."""
    return ImageKey(
        data.get(CONF_VERSION, ""),
        data.get(CONF_GIT_HASH, ""),
        data.get(CONF_APPLICATION_ID, 0),
    )


def image_title(key: ImageKey) -> str:
    """Name an image for people: ``4.24.2 (bc53443)``."""
    name = f"{key.version} ({key.git_hash})" if key.version and key.git_hash else ""
    name = name or key.version or key.git_hash
    return f"{key.application_id}: {name}" if key.application_id else name


def image_unique_id(key: ImageKey) -> str:
    """Name what an image is of, so that there is one image of each."""
    version, git_hash = key.version.strip().lower(), key.git_hash.strip().lower()
    return f"{SUBENTRY_FIRMWARE}-{key.application_id}-{version}-{git_hash}"


def image_data(key: ImageKey, file: str, source: str = "") -> dict[str, Any]:
    """Return what a subentry keeps; ``source`` is the name of the file that it came from."""
    return {
        CONF_VERSION: key.version,
        CONF_GIT_HASH: key.git_hash,
        CONF_APPLICATION_ID: key.application_id,
        CONF_FILE: file,
        CONF_SOURCE: source,
        CONF_ADDED_AT: time.time(),
    }


async def async_import_image(
    hass: HomeAssistant,
    entry_id: str,
    read: ReadImage,
    known: Collection[DeviceIdentity] = (),
) -> ImportedImage:
    """Put on disk what is to be kept of an image; raises FirmwareRefused.

    One at a time in all of Home Assistant, in an executor and in steps, so that it can be
    cancelled. ``known`` are the devices whose versions are looked for in the image. The file
    is in nobody's way until a subentry names it; see ``async_release``.
    """
    async with _importing(hass):
        run = hass.async_add_executor_job
        with _refusals("file_unreadable"):
            image = await run(_read, read)
        importing = await run(_Importing, image, image_directory(hass, entry_id), known)
        # It may be large, and is let go of in there once it was read.
        del image
        # Nobody else may delete it between here and the subentry.
        _unclaimed(hass).append(importing.file)
        try:
            with _refusals("image_not_kept"):
                while (imported := await run(importing.go_on)) is None:
                    pass
        except BaseException:
            _unclaimed(hass).remove(importing.file)
            raise
    return imported


async def async_release(hass: HomeAssistant, entry: ConfigEntry[Any], file: str) -> None:
    """Let go of an imported file: it stays if a subentry names it, and is deleted if none does."""
    with suppress(ValueError):
        _unclaimed(hass).remove(file)
    if file not in kept_files(entry) and file not in _unclaimed(hass):
        path = image_directory(hass, entry.entry_id) / file
        await hass.async_add_executor_job(_delete, path)


async def async_sweep_images(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the files that no subentry names and that no import has just made."""
    wanted = kept_files(entry).union(_unclaimed(hass))
    await hass.async_add_executor_job(_sweep, image_directory(hass, entry.entry_id), wanted)


async def async_remove_images(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete all that is kept of the account's images."""
    directory = image_directory(hass, entry.entry_id)
    await hass.async_add_executor_job(lambda: shutil.rmtree(directory, ignore_errors=True))


def kept_files(entry: ConfigEntry[Any]) -> set[str]:
    """Name the files that the account's subentries need."""
    return {
        str(each.data[CONF_FILE])
        for each in entry.subentries.values()
        if each.subentry_type == SUBENTRY_FIRMWARE
    }


def known_devices(entry: ConfigEntry[Any]) -> list[DeviceIdentity]:
    """Return the devices of an account, none while it is not loaded."""
    if entry.state is not ConfigEntryState.LOADED or not hasattr(entry, "runtime_data"):
        return []
    return [record.identity for record in entry.runtime_data.account.store.devices.values()]


def load_image(path: Path) -> CompactImage:
    """Read what was kept of an image; blocks, raises OSError and DamagedImage."""
    return CompactImage.load(path.read_bytes())


def read_image_file(path: Path) -> bytes:
    """Read an ELF file; blocks, raises OSError, and FirmwareRefused for one that is too large."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > LARGEST_IMAGE:
            raise FirmwareRefused("image_too_large")
        return file.read(LARGEST_IMAGE + 1)


class _Importing:
    """An import under way; every method blocks."""

    def __init__(self, image: bytes, directory: Path, known: Collection[DeviceIdentity]) -> None:
        self.file = f"{sha256(image).hexdigest()[:32]}{ENDING}"
        self._path = directory / self.file
        self._steps = self._import(image, known)

    def go_on(self) -> ImportedImage | None:
        """Work for a moment; returns None until all is done."""
        until = time.monotonic() + _AT_ONCE
        while time.monotonic() < until:
            try:
                next(self._steps)
            except StopIteration as done:
                imported: ImportedImage = done.value
                return imported
        return None

    def _import(self, image: bytes, known: Collection[DeviceIdentity]) -> Steps[ImportedImage]:
        pieces = yield from import_steps(image)
        told = yield from key_steps(ElfFile.parse(image), known)
        _prepare(self._path.parent)
        temporary = self._path.with_name(self._path.name + _TEMPORARY)
        size = len(image)
        try:
            kept = 0
            with temporary.open("wb") as file:
                for piece in pieces:
                    kept += file.write(piece)
                    yield
                file.flush()
                os.fsync(file.fileno())
            # What was written is read again as a whole: there is no need for all of it twice.
            del image, pieces, piece
            made = load_image(temporary)
            temporary.rename(self._path)
            sync_directory(self._path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()
        return ImportedImage(
            self.file,
            told,
            size,
            kept,
            made.function_count,
            made.line_count,
            tuple(made.modules.values()),
            made.damaged_units,
        )


@contextmanager
def _refusals(reason: str) -> Iterator[None]:
    """Turn what is wrong with an image, or with a disk, into what a person is told."""
    try:
        yield
    except InvalidImage as err:
        _LOGGER.info("A firmware image is refused: %s", err)
        raise FirmwareRefused(err.reason, str(err)) from err
    except OSError as err:
        _LOGGER.info("A firmware image is not taken: %s", err)
        raise FirmwareRefused(reason, err.strerror or type(err).__name__) from err


def _read(read: ReadImage) -> bytes:
    image = read()
    if len(image) > LARGEST_IMAGE:
        raise FirmwareRefused("image_too_large")
    return image


def _prepare(directory: Path) -> None:
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
        sync_directory(directory.parent)


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _sweep(directory: Path, wanted: Collection[str]) -> None:
    with suppress(OSError):
        for path in directory.iterdir():
            if path.name.removesuffix(_TEMPORARY) not in wanted:
                _delete(path)


@singleton(f"{DOMAIN}.importing")
def _importing(hass: HomeAssistant) -> asyncio.Lock:
    """Return the lock that lets one import run at a time."""
    return asyncio.Lock()


@singleton(f"{DOMAIN}.unclaimed_images")
def _unclaimed(hass: HomeAssistant) -> list[str]:
    """Name the files that an import made and that no subentry names yet, once for each import."""
    return []
