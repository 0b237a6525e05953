"""The firmware images of an account at work: which belongs to a device, read when it is needed.

What is kept of an image is read in an executor, by whoever decodes captures; some of those that
were used last stay in memory.
"""

import logging
import threading
from collections import OrderedDict
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from homeassistant.config_entries import (
    SIGNAL_CONFIG_ENTRY_CHANGED,
    ConfigEntry,
    ConfigEntryChange,
    ConfigSubentry,
)
from homeassistant.core import callback
from homeassistant.helpers.dispatcher import async_dispatcher_connect

from ..account.account import Account
from ..account.firmware_images import (
    FirmwareRefused,
    ImportedImage,
    ReadImage,
    async_import_image,
    async_release,
    async_sweep_images,
    image_data,
    image_directory,
    image_key,
    image_title,
    image_unique_id,
    load_image,
)
from ..capture.errors import InvalidImage
from ..const import CONF_ADDED_AT, CONF_FILE, SUBENTRY_FIRMWARE
from ..firmware.compact_image import CompactImage
from ..firmware.matching import ImageKey, best_match, match
from ..model.identity import DeviceIdentity
from ..model.signal import Signal

_LOGGER = logging.getLogger(__name__)

MOST_LOADED: Final = 64 * 1024 * 1024
"""Bytes of images that stay in memory; the one that is being used stays in any case."""


class StoredImage(NamedTuple):
    """An image of the account: what it is of, and the file in which it is kept."""

    key: ImageKey
    file: str
    added_at: float = 0.0
    """Unix seconds; the same image can be added again when its file was lost."""


class AddedImage(NamedTuple):
    """An image that was added, and whether it took another one's place."""

    key: ImageKey
    imported: ImportedImage
    replaced: bool


class Images:
    """The images of an account.

    ``changed`` notifies with what was added, replaced or removed; ``lost`` names the subentries
    whose file can't be read.
    """

    def __init__(self, account: Account) -> None:
        self.hass = account.hass
        self.changed = Signal[ImageKey]()
        self.lost: frozenset[str] = frozenset()
        self._account = account
        self._entry = account.entry
        self._directory = image_directory(account.hass, account.entry_id)
        self._stored: dict[str, StoredImage] = self._read_subentries()
        self._loaded: OrderedDict[str, CompactImage] = OrderedDict()
        self._sizes: dict[str, int] = {}
        # Whoever decodes does so in threads of Home Assistant's executor.
        self._loading = threading.Lock()

    async def async_start(self) -> None:
        """Delete what nobody needs any more, and follow the subentries until unloaded."""
        await async_sweep_images(self.hass, self._entry)
        self._entry.async_on_unload(
            async_dispatcher_connect(self.hass, SIGNAL_CONFIG_ENTRY_CHANGED, self._entry_changed)
        )

    # What there is

    @property
    def all(self) -> list[StoredImage]:
        """All images, in the order in which they were added."""
        return list(self._stored.values())

    def title_of(self, device: DeviceIdentity) -> str | None:
        """Name the image of what a device runs; None when there is none."""
        found = self._of(device)
        return None if found is None else image_title(found.key)

    def name_of(self, device: DeviceIdentity) -> str:
        """Name the image of what a device runs as no other one is named; empty without one."""
        found = self._of(device)
        return "" if found is None else f"{found.file} {found.added_at}"

    def image_of(self, device: DeviceIdentity) -> CompactImage | None:
        """Return the image of what a device runs; None when there is none. Blocks."""
        found = self._of(device)
        return None if found is None else self._load(found)

    def _of(self, device: DeviceIdentity) -> StoredImage | None:
        # The images are replaced as a whole, never changed: threads may look while they are.
        return best_match([(each.key, each) for each in self._stored.values()], device)

    def devices_of(self, key: ImageKey) -> list[DeviceIdentity]:
        """Return the devices of the account that run what an image is of."""
        known = (record.identity for record in self._account.store.devices.values())
        return [identity for identity in known if match(key, identity)]

    def missing(self) -> dict[ImageKey, list[DeviceIdentity]]:
        """Return what no image is of and devices of the account run, with these devices."""
        found: dict[ImageKey, list[DeviceIdentity]] = {}
        for record in self._account.store.devices.values():
            device = record.identity
            if self._of(device) is None:
                key = ImageKey(device.git_version, device.git_hash, device.application_id)
                found.setdefault(key, []).append(device)
        return found

    # What comes and goes

    async def async_add(
        self, read: ReadImage, key: ImageKey, source: str = "", told_by_name: ImageKey | None = None
    ) -> AddedImage:
        """Add an image, in the place of one of the same version; raises FirmwareRefused.

        What ``key`` leaves open is taken from the image, or from the file's name.
        """
        known = [record.identity for record in self._account.store.devices.values()]
        imported = await async_import_image(self.hass, self._entry.entry_id, read, known)
        try:
            key = completed(key, imported.told, told_by_name or ImageKey())
            replaced = self._keep(key, imported.file, source)
        finally:
            await async_release(self.hass, self._entry, imported.file)
        return AddedImage(key, imported, replaced)

    @callback
    def _keep(self, key: ImageKey, file: str, source: str) -> bool:
        """Keep an image as a subentry; returns whether there was one of the same version."""
        data = image_data(key, file, source)
        unique_id, title = image_unique_id(key), image_title(key)
        entries = self.hass.config_entries
        for subentry in self._entry.subentries.values():
            if subentry.unique_id == unique_id:
                entries.async_update_subentry(self._entry, subentry, data=data, title=title)
                return True
        entries.async_add_subentry(
            self._entry,
            ConfigSubentry(
                data=MappingProxyType(data),
                subentry_type=SUBENTRY_FIRMWARE,
                title=title,
                unique_id=unique_id,
            ),
        )
        return False

    @callback
    def _entry_changed(self, change: ConfigEntryChange, entry: ConfigEntry[Any]) -> None:
        """Take notice of images that were added, replaced or removed."""
        if entry is not self._entry or change is not ConfigEntryChange.UPDATED:
            return
        before, self._stored = self._stored, self._read_subentries()
        if before == self._stored:
            return
        after = self._stored
        others = {
            each
            for subentry_id in before.keys() | after.keys()
            if before.get(subentry_id) != after.get(subentry_id)
            for each in (before.get(subentry_id), after.get(subentry_id))
            if each is not None
        }
        self.lost -= {each for each in self.lost if before.get(each) != after.get(each)}
        for file in {each.file for each in others} - {each.file for each in after.values()}:
            self._entry.async_create_task(
                self.hass, async_release(self.hass, entry, file), f"delete {file}"
            )
        for key in dict.fromkeys(each.key for each in others):
            self.changed.notify(key)
        self._account.changed.notify()

    def _read_subentries(self) -> dict[str, StoredImage]:
        return {
            each.subentry_id: StoredImage(
                image_key(each.data), each.data[CONF_FILE], each.data.get(CONF_ADDED_AT, 0.0)
            )
            for each in self._entry.subentries.values()
            if each.subentry_type == SUBENTRY_FIRMWARE
        }

    # What is in memory

    def _load(self, stored: StoredImage) -> CompactImage | None:
        """Return an image, from memory if it was used lately. Blocks."""
        with self._loading:
            if (image := self._loaded.get(stored.file)) is not None:
                self._loaded.move_to_end(stored.file)
                return image
            path = self._directory / stored.file
            try:
                image = load_image(path)
                size = path.stat().st_size
            except (OSError, InvalidImage) as err:
                self.hass.loop.call_soon_threadsafe(self._set_lost, stored, str(err))
                return None
            self._loaded[stored.file] = image
            self._sizes[stored.file] = size
            self._make_room()
            return image

    def _make_room(self) -> None:
        """Let go of what was not used for longest, and of what is no image of ours any more."""
        wanted = {each.file for each in self._stored.values()}
        for file in list(self._loaded):
            total = sum(self._sizes[each] for each in self._loaded)
            if file not in wanted or (total > MOST_LOADED and len(self._loaded) > 1):
                del self._loaded[file]

    @callback
    def _set_lost(self, stored: StoredImage, detail: str) -> None:
        """Note, and log once, that an image can't be read: its file is needed again."""
        lost = {id_ for id_, each in self._stored.items() if each == stored} - self.lost
        if lost:
            self.lost |= lost
            title = image_title(stored.key)
            _LOGGER.warning(
                "%s: the firmware image %s is lost: %s", self._entry.title, title, detail
            )
            self._account.changed.notify()


def completed(key: ImageKey, told: ImageKey, told_by_name: ImageKey) -> ImageKey:
    """Return what an image is of, by what a person said, its file's name, and what stands in it.

    A device that runs it is surer than a name. Raises FirmwareRefused when nobody knows.
    """
    if told.version and told.git_hash and told.application_id:
        told_by_name = ImageKey()
    said = key.version or key.git_hash
    named = told_by_name.version or told_by_name.git_hash
    rest = ImageKey() if said else (told_by_name if named else told)
    found = ImageKey(
        key.version or rest.version,
        key.git_hash or rest.git_hash,
        key.application_id or rest.application_id,
    )
    if not found.version and not found.git_hash:
        raise FirmwareRefused("image_of_unknown_version")
    return found
