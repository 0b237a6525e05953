"""The action that adds a firmware image: from allowed places, by administrators, with an answer."""

from pathlib import Path
from typing import Any

import pytest
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError, Unauthorized
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockUser

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.coordinator import DeviceCoordinator
from tests.support.account import SENSOR
from tests.support.fixtures import AGENT

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()


@pytest.fixture
def file(hass: HomeAssistant, tmp_path: Path) -> Path:
    """An image where Home Assistant may read it."""
    found = tmp_path / "pump.elf"
    found.write_bytes(IMAGE)
    hass.config.allowlist_external_dirs = {str(tmp_path.resolve())}
    return found


async def add(hass: HomeAssistant, path: Path, context: Context | None = None, **data: Any) -> Any:
    return await hass.services.async_call(
        DOMAIN,
        "add_firmware",
        {"path": str(path), **data},
        blocking=True,
        context=context,
        return_response=True,
    )


async def test_the_answer_says_what_was_read(
    hass: HomeAssistant, device: DeviceCoordinator, file: Path
) -> None:
    answer = await add(hass, file)
    assert answer == {
        "title": "42: 4.24.2 (bc53443)",
        "version": "4.24.2",
        "git_hash": "bc53443",
        "application_id": 42,
        "replaced": False,
        "bytes": len(IMAGE),
        "kept_bytes": answer["kept_bytes"],
        "functions": 14,
        "source_lines": answer["source_lines"],
        "modules": ["MAIN", "SYSTEM", "COMM", "SENSOR", "POWER"],
        "damaged_units": 0,
        "devices": [SENSOR.serial],
    }
    assert (await add(hass, file))["replaced"]


async def test_what_the_caller_says_goes_first(
    hass: HomeAssistant, account: MockConfigEntry, file: Path
) -> None:
    answer = await add(
        hass,
        file,
        version=" 5.0.0 ",
        git_hash="abcdef0",
        application_id=7,
        config_entry_id=account.entry_id,
    )
    assert answer["title"] == "7: 5.0.0 (abcdef0)"
    assert answer["devices"] == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no image", "invalid_image"), (IMAGE[:4000], "image_damaged"), (None, "file_unreadable")],
)
async def test_a_bad_file_is_an_error_that_says_why(
    hass: HomeAssistant, account: MockConfigEntry, file: Path, content: bytes | None, reason: str
) -> None:
    if content is None:
        file = file.with_name("other.elf")
    else:
        file.write_bytes(content)
    with pytest.raises(ServiceValidationError) as error:
        await add(hass, file)
    assert error.value.translation_key == reason
    assert error.value.translation_placeholders["file"] == str(file)
    assert not account.subentries


async def test_a_file_elsewhere_is_not_read(
    hass: HomeAssistant, account: MockConfigEntry, file: Path
) -> None:
    hass.config.allowlist_external_dirs = set()
    with pytest.raises(ServiceValidationError) as error:
        await add(hass, file)
    assert error.value.translation_key == "path_not_allowed"


async def test_only_administrators_add_firmware(
    hass: HomeAssistant,
    account: MockConfigEntry,
    file: Path,
    hass_read_only_user: MockUser,
    hass_admin_user: MockUser,
) -> None:
    with pytest.raises(Unauthorized):
        await add(hass, file, Context(user_id=hass_read_only_user.id))
    assert not account.subentries
    assert await add(hass, file, Context(user_id=hass_admin_user.id))
