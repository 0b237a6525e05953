"""An account's firmware images: kept compactly, found by version, gone with their subentry."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account import firmware_images
from custom_components.ulogger.account.firmware_images import (
    FirmwareRefused,
    async_import_image,
    image_directory,
    image_key,
    read_image_file,
)
from custom_components.ulogger.const import DOMAIN, SUBENTRY_FIRMWARE
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.diagnostics import async_get_config_entry_diagnostics
from custom_components.ulogger.firmware.elf import LARGEST_IMAGE
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.gateway.images import Images, completed
from custom_components.ulogger.model.identity import DeviceIdentity
from tests.support.account import SENSOR
from tests.support.fixtures import AGENT

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
OTHER_IMAGE = (AGENT / "v3-crash" / "firmware.elf").read_bytes()
NOWHERE = ImageKey()


@pytest.fixture
def images(account: MockConfigEntry) -> Images:
    """The images of an account that is set up."""
    found: Images = account.runtime_data.images
    return found


async def add(images: Images, image: bytes = IMAGE, key: ImageKey = NOWHERE) -> Any:
    """Add an image and let what comes of that come to its end."""
    added = await images.async_add(lambda: image, key, "pump.elf")
    await images.hass.async_block_till_done()
    return added


async def image_of(images: Images, identity: DeviceIdentity = SENSOR) -> Any:
    return await images.hass.async_add_executor_job(images.image_of, identity)


def kept(hass: HomeAssistant, entry: MockConfigEntry) -> list[Path]:
    directory = image_directory(hass, entry.entry_id)
    return sorted(directory.iterdir()) if directory.exists() else []


async def test_an_image_explains_the_firmware_that_it_is_of(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, images: Images
) -> None:
    assert await image_of(images) is None
    added = await add(images)
    assert added.key == ImageKey("4.24.2", "bc53443", 42)
    found = await image_of(images)
    assert found.function_at(found.code[0][0] + 0x1C4).name == "main"
    (subentry,) = account.subentries.values()
    assert (subentry.subentry_type, subentry.title) == (SUBENTRY_FIRMWARE, "42: 4.24.2 (bc53443)")
    assert image_key(subentry.data) == added.key
    assert images.devices_of(added.key) == [SENSOR]
    (file,) = kept(hass, account)
    assert file.stat().st_size == added.imported.kept
    assert file.stat().st_size < len(IMAGE)


async def test_firmware_of_another_version_has_no_image(images: Images) -> None:
    await add(images)
    other = DeviceIdentity(42, "B", "DoorSenseV2", "4.25.0", "0000000")
    assert await image_of(images, other) is None


async def test_the_firmware_version_says_which_image_it_has(
    hass: HomeAssistant, device: DeviceCoordinator, images: Images
) -> None:
    await hass.async_block_till_done()
    unique_id = f"{device.account.entry_id}-42-{SENSOR.serial}-firmware_version"
    entity_id = er.async_get(hass).async_get_entity_id("sensor", DOMAIN, unique_id)
    assert entity_id is not None
    state = hass.states.get(entity_id)
    assert state is not None
    assert state.attributes["image"] is None
    await add(images)
    state = hass.states.get(entity_id)
    assert state is not None
    assert state.attributes["image"] == "42: 4.24.2 (bc53443)"


async def test_the_account_says_which_devices_run_a_version_without_an_image(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, images: Images
) -> None:
    def shown() -> tuple[str, Any]:
        unique_id = f"{account.entry_id}-versions_without_image"
        entity_id = er.async_get(hass).async_get_entity_id("sensor", DOMAIN, unique_id)
        assert entity_id is not None
        state = hass.states.get(entity_id)
        assert state is not None
        return state.state, state.attributes["versions"]

    await hass.async_block_till_done()
    missing = {"firmware": "42: 4.24.2 (bc53443)", "devices": [SENSOR.serial]}
    assert shown() == ("1", [missing])
    diagnostics = await async_get_config_entry_diagnostics(hass, account)
    assert diagnostics["firmware"]["missing"] == {"42: 4.24.2 (bc53443)": 1}
    await add(images)
    assert shown() == ("0", [])
    diagnostics = await async_get_config_entry_diagnostics(hass, account)
    assert diagnostics["firmware"]["missing"] == {}
    assert [each["firmware"] for each in diagnostics["firmware"]["images"]] == [missing["firmware"]]
    device.identified(replace(SENSOR, git_version="4.25.0", git_hash="0000000"))
    assert shown() == ("1", [{**missing, "firmware": "42: 4.25.0 (0000000)"}])


async def test_an_image_goes_with_its_subentry(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    changes: list[ImageKey] = []
    images.changed.add(changes.append)
    await add(images)
    assert await image_of(images) is not None
    hass.config_entries.async_remove_subentry(account, next(iter(account.subentries)))
    await hass.async_block_till_done()
    assert kept(hass, account) == []
    assert await image_of(images) is None
    assert len(changes) == 2


async def test_a_file_stays_while_another_subentry_needs_it(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    await add(images)
    first = next(iter(account.subentries))
    await add(images, key=ImageKey("9.9.9"))
    assert len(kept(hass, account)) == 1
    hass.config_entries.async_remove_subentry(account, first)
    await hass.async_block_till_done()
    assert len(kept(hass, account)) == 1
    assert await image_of(images, DeviceIdentity(1, "X", git_version="9.9.9")) is not None


async def test_an_image_takes_the_place_of_one_of_the_same_version(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    await add(images)
    before = await image_of(images)
    again = await add(images, OTHER_IMAGE)
    assert again.replaced
    assert len(account.subentries) == len(kept(hass, account)) == 1
    assert await image_of(images) is not before


async def test_images_are_there_after_a_restart_and_strangers_are_swept(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    await add(images)
    stray = image_directory(hass, account.entry_id) / "0123.image.tmp"
    stray.write_bytes(b"half")
    assert await hass.config_entries.async_reload(account.entry_id)
    assert not stray.exists()
    assert await image_of(account.runtime_data.images) is not None


async def test_what_is_imported_in_an_open_form_is_not_swept(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    imported = await async_import_image(hass, account.entry_id, lambda: IMAGE)
    assert await hass.config_entries.async_reload(account.entry_id)
    assert [path.name for path in kept(hass, account)] == [imported.file]
    await firmware_images.async_release(hass, account, imported.file)
    assert kept(hass, account) == []


async def test_images_go_with_their_account(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    await add(images)
    directory = image_directory(hass, account.entry_id)
    assert directory.exists()
    await hass.config_entries.async_remove(account.entry_id)
    assert not directory.exists()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "invalid_image"),
        (b"\x7fELF\x01\x01" + bytes(200), "image_unsupported"),
        (IMAGE[: len(IMAGE) // 2], "image_damaged"),
    ],
)
async def test_a_bad_image_is_refused_with_its_reason_and_leaves_nothing(
    hass: HomeAssistant, account: MockConfigEntry, images: Images, image: bytes, reason: str
) -> None:
    with pytest.raises(FirmwareRefused) as refused:
        await add(images, image, ImageKey("1.0"))
    assert refused.value.reason == reason
    assert kept(hass, account) == []
    assert not account.subentries


async def test_an_image_that_nobody_knows_the_version_of_is_refused(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    nameless = IMAGE.replace(b"4.24.2\0", b"nothing", 1).replace(b"bc53443\0", b"nothing\0", 1)
    with pytest.raises(FirmwareRefused) as refused:
        await add(images, nameless)
    assert refused.value.reason == "image_of_unknown_version"
    assert kept(hass, account) == []
    assert (await add(images, nameless, ImageKey("2.0"))).key == ImageKey("2.0")


async def test_a_disk_that_takes_nothing_is_no_bad_image(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    image_directory(hass, account.entry_id).write_bytes(b"a file where the directory should be")
    with pytest.raises(FirmwareRefused) as refused:
        await add(images)
    assert refused.value.reason == "image_not_kept"


async def test_a_lost_image_is_shown_and_can_be_added_again(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    await add(images)
    (file,) = kept(hass, account)
    file.write_bytes(file.read_bytes()[:100])
    assert await image_of(images) is None
    await hass.async_block_till_done()
    (subentry_id,) = account.subentries
    issue_id = f"firmware_lost-{account.entry_id}-{subentry_id}"
    assert ir.async_get(hass).async_get_issue(DOMAIN, issue_id) is not None
    await add(images)
    assert ir.async_get(hass).async_get_issue(DOMAIN, issue_id) is None
    assert await image_of(images) is not None


async def test_only_as_many_images_stay_in_memory_as_there_is_room_for(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custom_components.ulogger.gateway.images.MOST_LOADED", 1)
    await add(images)
    await add(images, OTHER_IMAGE, ImageKey("9.9.9"))
    first = await image_of(images)
    assert await image_of(images) is first
    await image_of(images, DeviceIdentity(1, "X", git_version="9.9.9"))
    assert await image_of(images) is not first


async def test_other_subentries_are_none_of_the_images_business(
    hass: HomeAssistant, account: MockConfigEntry, images: Images
) -> None:
    changes: list[ImageKey] = []
    images.changed.add(changes.append)
    other = ConfigSubentry(
        data=MappingProxyType({}), subentry_type="other", title="Other", unique_id=None
    )
    hass.config_entries.async_add_subentry(account, other)
    await hass.async_block_till_done()
    assert images.all == []
    assert changes == []


TOLD = ImageKey("1.0", "abcdef0")
RUNNING = ImageKey("1.0", "abcdef0", 42)


@pytest.mark.parametrize(
    ("said", "told", "named", "expected"),
    [
        (ImageKey("2.0"), RUNNING, ImageKey("3.0"), ImageKey("2.0")),
        (ImageKey("", "", 7), TOLD, NOWHERE, ImageKey("1.0", "abcdef0", 7)),
        (NOWHERE, TOLD, ImageKey("3.0"), ImageKey("3.0")),
        (NOWHERE, RUNNING, ImageKey("3.0"), RUNNING),
        (NOWHERE, ImageKey(), ImageKey("3.0", "1234567"), ImageKey("3.0", "1234567")),
    ],
)
def test_a_person_is_surer_than_a_device_a_device_than_a_name_a_name_than_strings(
    said: ImageKey, told: ImageKey, named: ImageKey, expected: ImageKey
) -> None:
    assert completed(said, told, named) == expected


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "pump.elf"
    with file.open("wb") as made:
        made.truncate(LARGEST_IMAGE)
    assert len(read_image_file(file)) == LARGEST_IMAGE
    with file.open("r+b") as made:
        made.truncate(LARGEST_IMAGE + 1)
    with pytest.raises(FirmwareRefused) as refused:
        read_image_file(file)
    assert refused.value.reason == "image_too_large"
