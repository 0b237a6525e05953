"""The action that adds a firmware image, for build pipelines."""

from functools import partial
from pathlib import Path

import probatio
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.service import async_get_config_entry, async_register_admin_service

from ..account.firmware_images import FirmwareRefused, image_title
from ..const import CONF_APPLICATION_ID, CONF_GIT_HASH, CONF_PATH, CONF_VERSION, DOMAIN
from ..firmware.image_version import key_of_name
from ..firmware.matching import ImageKey
from ..gateway.firmware_folder import read_allowed_image
from ..gateway.gateway import Gateway

ATTR_CONFIG_ENTRY_ID = "config_entry_id"
LONGEST_VERSION = 64

_TEXT = probatio.All(cv.string, str.strip, probatio.Length(max=LONGEST_VERSION))

ADD_FIRMWARE_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY_ID): cv.string,
        probatio.Required(CONF_PATH): cv.string,
        probatio.Optional(CONF_VERSION, default=""): _TEXT,
        probatio.Optional(CONF_GIT_HASH, default=""): _TEXT,
        probatio.Optional(CONF_APPLICATION_ID, default=0): probatio.All(
            probatio.Coerce(int), probatio.Range(min=0, max=0xFFFFFFFF)
        ),
    }
)


@callback
def async_register_firmware_actions(hass: HomeAssistant) -> None:
    """Register the action."""
    async_register_admin_service(
        hass,
        DOMAIN,
        "add_firmware",
        _add_firmware,
        ADD_FIRMWARE_SCHEMA,
        supports_response=SupportsResponse.OPTIONAL,
    )


async def _add_firmware(call: ServiceCall) -> ServiceResponse:
    """Import an image and return what was read of it."""
    hass = call.hass
    entry = async_get_config_entry(hass, DOMAIN, call.data.get(ATTR_CONFIG_ENTRY_ID))
    gateway: Gateway = entry.runtime_data
    path = Path(call.data[CONF_PATH])
    key = ImageKey(
        call.data[CONF_VERSION], call.data[CONF_GIT_HASH], call.data[CONF_APPLICATION_ID]
    )
    read = partial(read_allowed_image, hass, path)
    try:
        added = await gateway.images.async_add(read, key, path.name, key_of_name(path.name))
    except FirmwareRefused as err:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"file": str(path), "detail": str(err)},
        ) from err
    imported = added.imported
    return {
        "title": image_title(added.key),
        "version": added.key.version,
        "git_hash": added.key.git_hash,
        "application_id": added.key.application_id or None,
        "replaced": added.replaced,
        "bytes": imported.size,
        "kept_bytes": imported.kept,
        "functions": imported.functions,
        "source_lines": imported.lines,
        "modules": list(imported.modules),
        "damaged_units": imported.damaged_units,
        "devices": [each.serial for each in gateway.images.devices_of(added.key)],
    }
