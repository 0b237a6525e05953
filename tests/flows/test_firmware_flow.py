"""Adding a firmware image by upload: what it tells stands in the form, bad ones say why not."""

from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.account.firmware_images import image_directory
from custom_components.ulogger.const import SUBENTRY_FIRMWARE
from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.firmware.elf import LARGEST_IMAGE
from custom_components.ulogger.flows.firmware_flow import FirmwareImageFlow
from tests.support.fixtures import AGENT
from tests.support.flows import ENGLISH, Upload, make_upload

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
OTHER_IMAGE = (AGENT / "v3-crash" / "firmware.elf").read_bytes()
TEXTS = ENGLISH["config_subentries"][SUBENTRY_FIRMWARE]


@pytest.fixture
async def upload(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Upload:
    """Upload a file as the frontend does."""
    return await make_upload(hass, hass_client)


def expect_form(result: Any, step: str, errors: dict[str, str] | None = None) -> None:
    """Check which form is shown with which errors, and that all of it can be read."""
    assert result["type"] is FlowResultType.FORM, result
    assert (result["step_id"], result["errors"]) == (step, errors or {})
    for field in result["data_schema"].schema:
        assert str(field) in TEXTS["step"][step]["data"]
        assert str(field) in TEXTS["step"][step]["data_description"]
    for reason in (errors or {}).values():
        TEXTS["error"][reason].format(**result["description_placeholders"])


def suggested(result: Any) -> dict[str, Any]:
    return {
        str(field): field.description["suggested_value"]
        for field in result["data_schema"].schema
        if field.description and "suggested_value" in field.description
    }


async def begin(hass: HomeAssistant, account: MockConfigEntry) -> Any:
    return await hass.config_entries.subentries.async_init(
        (account.entry_id, SUBENTRY_FIRMWARE), context={"source": SOURCE_USER}
    )


async def fill(hass: HomeAssistant, result: Any, **typed: Any) -> Any:
    done = await hass.config_entries.subentries.async_configure(result["flow_id"], typed)
    await hass.async_block_till_done()
    return done


def files(hass: HomeAssistant, account: MockConfigEntry) -> int:
    directory = image_directory(hass, account.entry_id)
    return len(list(directory.iterdir())) if directory.exists() else 0


async def test_an_image_is_added_with_what_it_tells_of_itself(
    hass: HomeAssistant, account: MockConfigEntry, device: DeviceCoordinator, upload: Upload
) -> None:
    result = await begin(hass, account)
    expect_form(result, "user")
    result = await fill(hass, result, image=await upload(IMAGE))
    expect_form(result, "about")
    typed = suggested(result)
    assert typed == {"version": "4.24.2", "git_hash": "bc53443", "application_id": "42"}
    assert result["description_placeholders"]["functions"] == "14"
    result = await fill(hass, result, **typed)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    (subentry,) = account.subentries.values()
    assert subentry.title == "42: 4.24.2 (bc53443)"
    assert account.runtime_data.images.title_of(device.identity) == subentry.title
    assert files(hass, account) == 1


async def test_an_image_of_more_than_64_mb_is_refused_and_its_upload_is_gone(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    result = await begin(hass, account)
    large = await upload(bytes(LARGEST_IMAGE + 1))
    result = await fill(hass, result, image=large)
    expect_form(result, "user", {"image": "image_too_large"})
    assert "64 MB" in TEXTS["error"]["image_too_large"]
    assert files(hass, account) == 0
    result = await fill(hass, result, image=large)
    expect_form(result, "user", {"image": "upload_gone"})
    result = await fill(hass, result, image=await upload(IMAGE))
    expect_form(result, "about")


async def test_a_bad_image_is_refused_and_another_one_can_follow(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    result = await begin(hass, account)
    for content, reason in ((b"text", "invalid_image"), (IMAGE[:5000], "image_damaged")):
        result = await fill(hass, result, image=await upload(content))
        expect_form(result, "user", {"image": reason})
    result = await fill(hass, result, image=await upload(IMAGE))
    expect_form(result, "about")


async def test_an_upload_that_is_gone_is_asked_for_again(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    result = await begin(hass, account)
    gone = "01234567890123456789012345678901"
    result = await fill(hass, result, image=gone)
    expect_form(result, "user", {"image": "upload_gone"})


async def test_an_image_needs_a_version_or_a_hash(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    result = await fill(hass, await begin(hass, account), image=await upload(IMAGE))
    for typed, errors in (
        ({"version": " "}, {"version": "no_version"}),
        ({"version": "1" * 65}, {"version": "version_too_long"}),
        ({"version": "1", "git_hash": "a" * 65}, {"git_hash": "version_too_long"}),
        ({"version": "1", "application_id": "x"}, {"application_id": "invalid_application_id"}),
        (
            {"version": "1", "application_id": "4294967296"},
            {"application_id": "invalid_application_id"},
        ),
    ):
        result = await fill(hass, result, **typed)
        expect_form(result, "about", errors)
        assert suggested(result) == typed
    result = await fill(hass, result, git_hash="abcdef0")
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_a_form_that_is_closed_leaves_nothing(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    result = await fill(hass, await begin(hass, account), image=await upload(IMAGE))
    assert files(hass, account) == 1
    hass.config_entries.subentries.async_abort(result["flow_id"])
    await hass.async_block_till_done()
    assert files(hass, account) == 0


async def test_what_an_image_says_is_shown_without_markdown(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    image = IMAGE.replace(b"SENSOR\0", b"[x](y)\0")
    assert image != IMAGE
    result = await fill(hass, await begin(hass, account), image=await upload(image))
    expect_form(result, "about")
    modules = result["description_placeholders"]["modules"]
    assert modules.startswith("MAIN, SYSTEM, COMM, ")
    assert "](" not in modules


async def test_an_image_of_a_version_that_has_one_replaces_it(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    for image in (IMAGE, OTHER_IMAGE):
        result = await fill(hass, await begin(hass, account), image=await upload(image))
        result = await fill(hass, result, version="1.0")
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "firmware_replaced")
    assert "firmware_replaced" in TEXTS["abort"]
    assert len(account.subentries) == files(hass, account) == 1


@pytest.fixture
async def added(hass: HomeAssistant, account: MockConfigEntry, upload: Upload) -> str:
    """Add an image and return the ID of its subentry."""
    result = await fill(hass, await begin(hass, account), image=await upload(IMAGE))
    await fill(hass, result, version="1.0")
    return next(iter(account.subentries))


async def test_what_an_image_is_of_can_be_changed(
    hass: HomeAssistant, account: MockConfigEntry, added: str
) -> None:
    result = await account.start_subentry_reconfigure_flow(hass, added)
    expect_form(result, "reconfigure")
    assert suggested(result) == {"version": "1.0"}
    result = await fill(hass, result, version="1.1", git_hash="abcdef0")
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    assert account.subentries[added].title == "1.1 (abcdef0)"
    assert files(hass, account) == 1


async def test_an_image_can_be_replaced(
    hass: HomeAssistant, account: MockConfigEntry, added: str, upload: Upload
) -> None:
    before = account.subentries[added].data["file"]
    result = await account.start_subentry_reconfigure_flow(hass, added)
    result = await fill(hass, result, version="1.0", image=await upload(b"text"))
    expect_form(result, "reconfigure", {"image": "invalid_image"})
    result = await fill(hass, result, version="1.0", image=await upload(OTHER_IMAGE))
    assert result["type"] is FlowResultType.ABORT
    assert account.subentries[added].data["file"] != before
    assert files(hass, account) == 1


async def test_two_images_can_not_be_of_one_version(
    hass: HomeAssistant, account: MockConfigEntry, added: str, upload: Upload
) -> None:
    result = await fill(hass, await begin(hass, account), image=await upload(OTHER_IMAGE))
    await fill(hass, result, version="2.0")
    result = await account.start_subentry_reconfigure_flow(hass, added)
    result = await fill(hass, result, version="2.0", image=await upload(IMAGE))
    expect_form(result, "reconfigure", {"version": "version_taken"})
    assert suggested(result) == {"version": "2.0"}
    assert account.subentries[added].title == "1.0"


async def test_an_account_that_is_not_loaded_takes_images_as_well(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    await hass.config_entries.async_unload(account.entry_id)
    result = await fill(hass, await begin(hass, account), image=await upload(IMAGE))
    await fill(hass, result, version="1.0")
    await hass.config_entries.async_setup(account.entry_id)
    assert len(account.runtime_data.images.all) == 1


async def test_a_folder_to_watch_needs_to_be_allowed(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await hass.config_entries.options.async_init(account.entry_id)
    typed = {
        "collection": {},
        "said": {},
        "approval": {},
        "cloud": {},
        "storage": {},
        "firmware": {"firmware_folder": " /srv/builds "},
        "forward_logs": {},
    }
    form = await hass.config_entries.options.async_configure(form["flow_id"], typed)
    assert form["errors"] == {"firmware": "path_not_allowed"}
    assert "path_not_allowed" in ENGLISH["options"]["error"]
    with patch.object(hass.config, "is_allowed_path", return_value=True):
        form = await hass.config_entries.options.async_configure(form["flow_id"], typed)
    assert form["type"] is FlowResultType.CREATE_ENTRY
    assert account.options["firmware_folder"] == "/srv/builds"
    form = await hass.config_entries.options.async_init(account.entry_id)
    typed["firmware"] = {}
    await hass.config_entries.options.async_configure(form["flow_id"], typed)
    assert account.options["firmware_folder"] == ""
    await hass.async_block_till_done()


async def test_another_image_in_a_form_that_was_refused_takes_the_place_of_the_first(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload
) -> None:
    result = await fill(hass, await begin(hass, account), image=await upload(IMAGE))
    await fill(hass, result, **suggested(result))
    (subentry,) = account.subentries.values()
    form = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    for image in (OTHER_IMAGE, IMAGE):
        form = await fill(hass, form, version=" ", image=await upload(image))
        expect_form(form, "reconfigure", {"version": "no_version"})
        # The one that is at work, and the one that was uploaded last.
        assert files(hass, account) <= 2


async def test_what_an_image_is_of_is_not_asked_before_there_is_one(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    result = await begin(hass, account)
    flow = hass.config_entries.subentries._progress[result["flow_id"]]
    assert isinstance(flow, FirmwareImageFlow)
    expect_form(await flow.async_step_about({"version": "1"}), "user")
