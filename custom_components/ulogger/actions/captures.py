"""The action that shows what captures carry, as far as that can be read without an image."""

from datetime import UTC, datetime
from itertools import islice

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import Unauthorized, UnknownUser
from homeassistant.helpers import config_validation as cv
from homeassistant.util.json import JsonValueType

from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..errors import user_errors
from ..insight.text import core_dump_lines, log_lines
from ..model.capture import Capture, CaptureKind
from ..outbox.errors import NoSuchCapture
from ..outbox.model import Row
from ..panel.downloads import LINK_VALID, capture_path
from .targets import async_targets

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
        await _check_administrator(call)
    answer: dict[str, JsonValueType] = {}
    for device in async_targets(call.hass, call).devices:
        with user_errors(device.identity.serial):
            rows = await device.account.outbox.listing(
                device.identity.key, limit=call.data[ATTR_LIMIT]
            )
            answer[device.identity.serial] = [
                await _describe(call.hass, device, row, text=call.data[ATTR_TEXT]) for row in rows
            ]
    return {"devices": answer}


async def _check_administrator(call: ServiceCall) -> None:
    """Raise Unauthorized for any other user; what automations call has no user."""
    if call.context.user_id is None:
        return
    if (user := await call.hass.auth.async_get_user(call.context.user_id)) is None:
        raise UnknownUser(context=call.context)
    if not user.is_admin:
        raise Unauthorized(context=call.context)


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
    if text:
        try:
            capture = await device.account.outbox.read(row.capture_id)
        except NoSuchCapture:
            return described
        described["lines"] = list(await hass.async_add_executor_job(_lines, capture))
    return described


def _lines(capture: Capture) -> list[str]:
    """Read a capture as text; what can't be read says so."""
    try:
        if capture.kind is CaptureKind.CORE_DUMP:
            return core_dump_lines(CoreDump.parse(capture.data))[:MOST_LINES]
        return [str(line) for line in islice(log_lines(capture.data), MOST_LINES)]
    except CaptureError as err:
        return [f"can't be read: {err}"]


def _link(hass: HomeAssistant, path: str) -> str:
    """Sign *path* for whoever asks, so that a browser opens it; it is an administrator's still."""
    return async_sign_path(hass, path, LINK_VALID)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
