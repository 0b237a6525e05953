"""A directory becomes a destination only where nobody else writes, reads it or would mind."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.folder import writing
from custom_components.ulogger.cloud.folder.errors import FolderFull, FolderMissing
from custom_components.ulogger.cloud.folder.names import MARKER
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import folder_checks
from tests.support.flows import add_destination, answer, expect_abort, expect_form, suggestions

pytestmark = pytest.mark.usefixtures("set_up")

LIMITS = {"keep_days": 30, "keep_mb": 500}


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Path]:
    """A directory that stands for /media."""
    place = tmp_path / "media"
    place.mkdir()
    with patch.object(folder_checks, "SHARED", (str(place), str(tmp_path / "share"))):
        yield place


@pytest.fixture
def account(hass: HomeAssistant) -> MockConfigEntry:
    """An account; what it is connected to is no matter here."""
    return add_account(hass, 42)


def add_account(hass: HomeAssistant, customer_id: int) -> MockConfigEntry:
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id=f"{customer_id}-0",
        data={"connection": "mqtt", "client_suffix": "5eed5eed"},
    )
    entry.add_to_hass(hass)
    return entry


async def add(hass: HomeAssistant, account: MockConfigEntry, path: object, **more: Any) -> Any:
    """Fill in the form; return what is shown then."""
    form = await add_destination(hass, account.entry_id, "folder")
    expect_form(form, "user", destination="folder")
    return await answer(hass, form, **{"path": str(path), "include_kept": True, **LIMITS, **more})


async def change(
    hass: HomeAssistant, account: MockConfigEntry, subentry: ConfigSubentry, **typed: Any
) -> Any:
    """Fill in the form that changes a destination; what is not typed stays as it was."""
    form = await account.start_subentry_reconfigure_flow(hass, subentry.subentry_id)
    expect_form(form, "reconfigure", destination="folder")
    return await answer(hass, form, **{**suggestions(form), **typed})


def only(account: MockConfigEntry) -> ConfigSubentry:
    [subentry] = account.subentries.values()
    return subentry


def everything_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def refused(result: Any, reason: str) -> None:
    expect_form(result, result["step_id"], {"path": reason}, destination="folder")


# Adding


async def test_a_folder_is_made_marked_and_named(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    done = await add(hass, account, f" {media}/usb/../captures/door ")

    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    subentry = only(account)
    path = media / "captures" / "door"
    assert (subentry.subentry_type, subentry.title) == ("folder", "door")
    assert subentry.unique_id == str(path)
    assert subentry.data == {"path": str(path), "since": 0.0, **LIMITS}
    assert [each.name for each in path.iterdir()] == [MARKER]
    assert {type(subentry.data[name]) for name in LIMITS} == {int}


async def test_what_is_kept_already_may_stay_out(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    before = time.time()
    await add(hass, account, media / "captures", include_kept=False)
    assert before <= only(account).data["since"] <= time.time()


async def test_a_form_begins_without_limits_and_with_what_is_kept(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await add_destination(hass, account.entry_id, "folder")
    assert form["data_schema"]({"path": "/media/x"}) == {
        "path": "/media/x",
        "keep_days": 0,
        "keep_mb": 0,
        "include_kept": True,
    }


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"keep_days": -1}, {"keep_days": "keep_days_bounds"}),
        ({"keep_mb": 100_000_001}, {"keep_mb": "keep_size_bounds"}),
    ],
)
async def test_a_limit_that_is_out_of_bounds_is_told_in_words(
    hass: HomeAssistant,
    account: MockConfigEntry,
    media: Path,
    limits: dict[str, int],
    error: dict[str, str],
) -> None:
    form = await add(hass, account, media / "captures", **limits)
    assert form["errors"] == error
    assert not account.subentries


async def test_a_second_folder_of_one_name_is_called_by_its_path(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    await add(hass, account, media / "a" / "captures")
    await add(hass, add_account(hass, 43), media / "b" / "captures")
    titles = [
        each.title
        for entry in hass.config_entries.async_entries(DOMAIN)
        for each in entry.subentries.values()
    ]
    assert titles == ["captures", str(media / "b" / "captures")]


# Where captures may not go


@pytest.mark.parametrize("path", ["", "captures", "./captures", "~/captures"])
async def test_a_path_is_absolute(
    hass: HomeAssistant, account: MockConfigEntry, media: Path, path: str
) -> None:
    refused(await add(hass, account, path), "not_absolute")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("elsewhere/captures", "folder_not_allowed"),
        ("media/../elsewhere", "folder_not_allowed"),
        ("media/link/captures", "folder_not_allowed"),
        ("media-of-others", "folder_not_allowed"),
        ("config", "folder_not_allowed"),
        (".", "folder_not_allowed"),
        ("config/www", "folder_public"),
        ("config/www/captures", "folder_public"),
        ("media/to-www/captures", "folder_public"),
        ("config/.storage", "folder_reserved"),
        ("config/captures/.hidden", "folder_reserved"),
        ("config/custom_components/ulogger", "folder_reserved"),
        ("media/loop/captures", "folder_unwritable"),
        ("media/a\0b", "folder_failed"),
        ("media/a\ud800b", "folder_failed"),
        ("media/" + "x" * 300, "folder_unwritable"),
        ("media/file", "folder_unwritable"),
    ],
)
async def test_captures_go_where_home_assistant_allows_and_nobody_is_harmed(
    hass: HomeAssistant,
    account: MockConfigEntry,
    media: Path,
    tmp_path: Path,
    place: str,
    reason: str,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (media / "link").symlink_to(tmp_path / "elsewhere")
    (media / "to-www").symlink_to(tmp_path / "config" / "www")
    (media / "loop").symlink_to(media / "loop")
    (media / "file").touch()
    before = everything_in(tmp_path)

    refused(await add(hass, account, f"{tmp_path}/{place}"), reason)

    assert not account.subentries
    assert everything_in(tmp_path) == before


async def test_a_directory_can_be_allowed(
    hass: HomeAssistant, account: MockConfigEntry, media: Path, tmp_path: Path
) -> None:
    hass.config.allowlist_external_dirs = {str(tmp_path / "elsewhere")}
    (tmp_path / "elsewhere").mkdir()
    refused(await add(hass, account, tmp_path / "another"), "folder_not_allowed")
    assert (await add(hass, account, tmp_path / "elsewhere" / "a"))["type"] == "create_entry"
    assert (await add(hass, account, tmp_path / "config" / "captures"))["type"] == "create_entry"


@pytest.mark.parametrize("place", ["a", "a/b", "a/b/c", "a/b/c/d", "a/link"])
async def test_two_destinations_do_not_write_into_each_other(
    hass: HomeAssistant, account: MockConfigEntry, media: Path, place: str
) -> None:
    await add(hass, add_account(hass, 43), media / "a" / "b" / "c")
    (media / "a" / "link").symlink_to(media / "a" / "b" / "c")

    refused(await add(hass, account, media / place), "folder_taken")

    assert (await add(hass, account, media / "a" / "b" / "cc"))["type"] == "create_entry"


async def test_of_two_flows_for_one_directory_the_later_is_refused(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    """The other one ends while the directory is made here."""
    other = add_account(hass, 43)

    async def end_other() -> None:
        subentry = ConfigSubentry(
            data=MappingProxyType({"path": str(media / "a"), "since": 0.0, **LIMITS}),
            subentry_type="folder",
            title="a",
            unique_id=str(media / "a"),
        )
        hass.config_entries.async_add_subentry(other, subentry)

    def overtaken(path: Path) -> None:
        writing.prepare(path)
        asyncio.run_coroutine_threadsafe(end_other(), hass.loop).result()

    with patch.object(folder_checks, "prepare", overtaken):
        refused(await add(hass, account, media / "a"), "folder_taken")
    assert not account.subentries


@pytest.mark.parametrize("error", [FolderFull, FolderMissing])
async def test_what_the_disk_says_is_shown_at_the_path(
    hass: HomeAssistant, account: MockConfigEntry, media: Path, error: type[Exception]
) -> None:
    with patch.object(writing, "check", side_effect=error("said so")):
        form = await add(hass, account, media / "a")
    refused(form, error.reason)  # type: ignore[attr-defined]
    assert suggestions(form)["path"] == str(media / "a")
    done = await answer(hass, form, path=str(media / "a"), include_kept=True, **LIMITS)
    assert done["type"] is FlowResultType.CREATE_ENTRY


# Changing


async def test_a_destination_gets_another_directory_and_other_limits(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    await add(hass, account, media / "a")
    before = only(account)
    since = before.data["since"]

    done = await change(hass, account, before, path=str(media / "a" / "b"), keep_days=1)

    expect_abort(done, "reconfigure_successful", own=False, destination="folder")
    after = only(account)
    path = str(media / "a" / "b")
    assert after.subentry_id == before.subentry_id
    assert (after.title, after.unique_id) == ("b", path)
    assert after.data == {"path": path, "keep_days": 1, "keep_mb": 500, "since": since}
    assert (media / "a" / "b" / MARKER).exists()


async def test_a_name_that_a_person_gave_stays(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    await add(hass, account, media / "a")
    hass.config_entries.async_update_subentry(account, only(account), title="The stick")
    await change(hass, account, only(account), path=str(media / "b"))
    assert only(account).title == "The stick"


async def test_a_change_is_checked_like_a_new_destination(
    hass: HomeAssistant, account: MockConfigEntry, media: Path
) -> None:
    await add(hass, account, media / "a")
    data = dict(only(account).data)
    await add(hass, add_account(hass, 43), media / "b")
    refused(await change(hass, account, only(account), path=str(media / "b")), "folder_taken")
    refused(await change(hass, account, only(account), path="b"), "not_absolute")
    assert only(account).data == data


@pytest.mark.parametrize("typed", [float("inf"), float("nan")])
async def test_what_is_no_number_is_none(
    hass: HomeAssistant, account: MockConfigEntry, media: Path, typed: float
) -> None:
    with pytest.raises(InvalidData):
        await add(hass, account, media / "captures", keep_days=typed)
    assert not account.subentries
