"""The action that shows which captures there are, and what they carry."""

from collections.abc import Callable
from datetime import UTC, datetime

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.helpers import config_validation as cv
from homeassistant.util.json import JsonValueType

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..errors import user_errors
from ..firmware.symbols import Symbols
from ..gateway.administrators import async_check_administrator
from ..insight.log_lines import as_lines
from ..insight.text import core_dump_lines
from ..model.capture import Capture, CaptureKind
from ..model.identity import DeviceIdentity
from ..outbox.errors import NoSuchCapture
from ..outbox.model import Row
from ..panel.downloads import LINK_VALID, capture_path, core_path
from .targets import async_targets, gateway_of

ATTR_LIMIT = "limit"
ATTR_TEXT = "text"
MOST_CAPTURES = 100
MOST_LINES = 5000

GET_CAPTURES_SCHEMA = probatio.Schema(
    {
        **cv.TARGET_FIELDS,
        probatio.Optional(ATTR_LIMIT, default=10): probatio.All(
            probatio.Coerce(int), probatio.Range(min=1, max=MOST_CAPTURES)
        ),
        probatio.Optional(ATTR_TEXT, default=False): cv.boolean,
    }
)


@callback
def async_register_capture_actions(hass: HomeAssistant) -> None:
    """Register the action."""
    hass.services.async_register(
        DOMAIN,
        "get_captures",
        _get_captures,
        GET_CAPTURES_SCHEMA,
        supports_response=SupportsResponse.ONLY,
    )


async def _get_captures(call: ServiceCall) -> ServiceResponse:
    """List the newest captures of devices that are still here, with their text if wanted.

    The text is an administrator's to read, as the download is.
    """
    if call.data[ATTR_TEXT]:
        await async_check_administrator(call.hass, call.context)
    answer: dict[str, JsonValueType] = {}
    for device in async_targets(call.hass, call).devices:
        with user_errors(device.called):
            rows = await device.account.outbox.listing(
                device.identity.key, limit=call.data[ATTR_LIMIT]
            )
            answer[device.identity.serial] = [
                await _describe(call.hass, device, row, text=call.data[ATTR_TEXT]) for row in rows
            ]
    return {"devices": answer}


async def _describe(
    hass: HomeAssistant, device: DeviceCoordinator, row: Row, *, text: bool
) -> JsonValueType:
    described: dict[str, JsonValueType] = {
        "id": row.capture_id,
        "kind": row.kind.value,
        "state": row.state.value,
        "bytes": row.size,
        "captured": _moment(row.captured_at),
        "delivered": _moment(row.delivered_at),
        "attempts": row.attempts,
        "last_error": row.last_error,
        "reason": row.reason,
        "may_repeat": row.may_repeat,
        "download": _link(hass, capture_path(device.account.entry_id, row.capture_id)),
    }
    if row.kind is CaptureKind.CORE_DUMP:
        described["core_file"] = _link(hass, core_path(device.account.entry_id, row.capture_id))
    if text:
        try:
            described["lines"] = list(await _lines(hass, device, row))
        except NoSuchCapture:
            return described
    return described


async def _lines(hass: HomeAssistant, device: DeviceCoordinator, row: Row) -> list[str]:
    """Read a capture as text; what can't be read says so."""
    gateway = gateway_of(device)
    if row.kind is CaptureKind.LOG:
        return as_lines(await gateway.readings.async_reading(row.capture_id), MOST_LINES)
    capture = await device.account.outbox.read(row.capture_id)
    return await hass.async_add_executor_job(_core_dump_lines, capture, gateway.images.image_of)


def _core_dump_lines(
    capture: Capture, image_of: Callable[[DeviceIdentity], Symbols | None]
) -> list[str]:
    try:
        lines = core_dump_lines(CoreDump.parse(capture.data), image_of(capture.device))
    except CaptureError as err:
        return [f"can't be read: {err}"]
    return lines[:MOST_LINES]


def _link(hass: HomeAssistant, path: str) -> str:
    """Sign *path* for whoever asks, so that a browser opens it; it is an administrator's still."""
    return async_sign_path(hass, path, LINK_VALID)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
