"""A firmware image that a person hands the panel, where one was missing."""

from typing import Any

import probatio
from homeassistant.components.file_upload import process_uploaded_file
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import (
    async_response,
    require_admin,
    websocket_command,
)
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import ServiceValidationError

from ..account.firmware_images import FirmwareRefused, image_title, read_image_file
from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..const import DOMAIN
from ..firmware.image_version import key_of_name
from ..firmware.matching import ImageKey
from ..gateway.gateway import Gateway
from ..gateway.images import AddedImage as Added
from ..model.capture import CaptureKind
from ..outbox.errors import OutboxError
from .gateways import of_account
from .messages import AddedImage
from .refusals import send_not_found


@callback
def async_register_image_command(hass: HomeAssistant) -> None:
    """Offer the command."""
    async_register_command(hass, add_image)


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/images/add",
        probatio.Required("account"): probatio.All(str, probatio.Length(max=64)),
        probatio.Required("file_id"): probatio.All(str, probatio.Length(max=64)),
        probatio.Optional("capture"): int,
    }
)
@async_response
async def add_image(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Take an uploaded ELF file into an account; the upload is gone then.

    Where neither the image nor its name tells what it is of, it is of what crashed.
    """
    if (gateway := of_account(hass, message["account"])) is None:
        send_not_found(connection, message["id"], "account_not_loaded")
        return
    name = ""
    try:
        name, image = await hass.async_add_executor_job(_take, hass, message["file_id"])
        try:
            added = await _add(gateway, name, image, key_of_name(name))
        except FirmwareRefused as err:
            crashed = await _key_of(hass, gateway, message.get("capture"))
            if err.reason != "image_of_unknown_version" or crashed is None:
                raise
            added = await _add(gateway, name, image, crashed)
    except FirmwareRefused as err:
        raise ServiceValidationError(
            translation_domain=DOMAIN,
            translation_key=err.reason,
            translation_placeholders={"file": name, "path": name, "detail": str(err)},
        ) from err
    answer: AddedImage = {"title": image_title(added.key), "replaced": added.replaced}
    connection.send_result(message["id"], answer)


async def _add(gateway: Gateway, name: str, image: bytes, told: ImageKey) -> Added:
    return await gateway.images.async_add(lambda: image, ImageKey(), name, told)


def _take(hass: HomeAssistant, file_id: str) -> tuple[str, bytes]:
    """Read an upload and have it deleted; blocks, raises FirmwareRefused."""
    try:
        with process_uploaded_file(hass, file_id) as path:
            return path.name, read_image_file(path)
    except ValueError as err:
        raise FirmwareRefused("upload_gone") from err
    except OSError as err:
        raise FirmwareRefused("file_unreadable", err.strerror or type(err).__name__) from err


async def _key_of(hass: HomeAssistant, gateway: Gateway, capture_id: int | None) -> ImageKey | None:
    """Return which firmware a core dump is of, None where that can't be told."""
    if capture_id is None:
        return None
    try:
        capture = await gateway.account.outbox.read(capture_id)
        if capture.kind is not CaptureKind.CORE_DUMP:
            return None
        dump = await hass.async_add_executor_job(CoreDump.parse, capture.data)
    except OutboxError, CaptureError:
        return None
    ran = dump.header.device
    return ImageKey(ran.git_version, ran.git_hash, ran.application_id)
