"""Which directories captures may go to."""

import os
from collections.abc import Iterator
from pathlib import Path

from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant, callback

from ..cloud.folder.errors import FolderError
from ..cloud.folder.writing import prepare
from ..const import CONF_PATH, DOMAIN, SUBENTRY_FOLDER
from .account_checks import FormError

SHARED = ("/media", "/share")
"""Where Home Assistant's own installations keep what is for other programs and people."""
PUBLIC = "www"
"""A directory of the configuration that is served to everybody, without a login."""
CODE = "custom_components"


async def async_check_folder(
    hass: HomeAssistant, typed: str, present: ConfigSubentry | None
) -> Path:
    """Return the directory that was typed, resolved, made if need be, and marked.

    ``present`` is the destination that is being changed. Raises FormError.
    """
    directory = await hass.async_add_executor_job(_resolve, hass, typed)
    _check_free(hass, directory, present)
    try:
        await hass.async_add_executor_job(prepare, directory)
    except FolderError as err:
        raise FormError(**{CONF_PATH: err.reason}) from err
    # Another flow may have taken it meanwhile.
    _check_free(hass, directory, present)
    return directory


@callback
def folder_title(hass: HomeAssistant, directory: Path, present: ConfigSubentry | None) -> str:
    """Name a destination: as its directory, or by the whole path if another one is called so."""
    titles = {each.title for each in _others(hass, present)}
    return str(directory) if directory.name in titles else directory.name


def is_named_by_path(present: ConfigSubentry) -> bool:
    """Whether nobody has given the destination a name of their own."""
    path: str = present.data[CONF_PATH]
    return present.title in {path, Path(path).name}


def _resolve(hass: HomeAssistant, typed: str) -> Path:
    """Follow all links, and see that Home Assistant allows where they lead. Blocks."""
    given = Path(typed.strip())
    if not given.is_absolute():
        raise FormError(**{CONF_PATH: "not_absolute"})
    try:
        directory = given.resolve()
        configuration = Path(hass.config.config_dir).resolve()
        if configuration.is_relative_to(directory) or not _is_allowed(
            hass, directory, configuration
        ):
            raise FormError(**{CONF_PATH: "folder_not_allowed"})
    except ValueError as err:
        raise FormError(**{CONF_PATH: "folder_failed"}) from err
    if directory.is_relative_to(configuration):
        _check_inside(directory.relative_to(configuration))
    return directory


def _is_allowed(hass: HomeAssistant, directory: Path, configuration: Path) -> bool:
    shared = (Path(each).resolve() for each in SHARED)
    if any(directory.is_relative_to(each) for each in (configuration, *shared)):
        return True
    return hass.config.is_allowed_path(os.fspath(directory))


def _check_inside(place: Path) -> None:
    """Keep captures away from what Home Assistant serves, runs, or has for itself."""
    if place.parts[0] == PUBLIC:
        raise FormError(**{CONF_PATH: "folder_public"})
    if place.parts[0] == CODE or any(part.startswith(".") for part in place.parts):
        raise FormError(**{CONF_PATH: "folder_reserved"})


@callback
def _check_free(hass: HomeAssistant, directory: Path, present: ConfigSubentry | None) -> None:
    """Raise FormError if another destination writes there, above it or below it."""
    for other in _others(hass, present):
        theirs = Path(other.data[CONF_PATH])
        if directory.is_relative_to(theirs) or theirs.is_relative_to(directory):
            raise FormError(**{CONF_PATH: "folder_taken"})


def _others(hass: HomeAssistant, present: ConfigSubentry | None) -> Iterator[ConfigSubentry]:
    """Go through the directories of all accounts but the one that is being changed."""
    for entry in hass.config_entries.async_entries(DOMAIN):
        for each in entry.get_subentries_of_type(SUBENTRY_FOLDER):
            if present is None or each.subentry_id != present.subentry_id:
                yield each
