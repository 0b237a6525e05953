"""Captures for people: one as a file, or all of the quarantine as a zip."""

import re
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from io import BytesIO

from aiohttp import web
from homeassistant.components.http.decorators import require_admin
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.http import KEY_HASS, HomeAssistantView

from ..const import DOMAIN
from ..model.capture import Capture
from ..outbox.errors import NoSuchCapture, OutboxError
from ..outbox.model import CaptureState
from ..outbox.outbox import Outbox

LINK_VALID = timedelta(hours=1)


def capture_path(entry_id: str, capture_id: int) -> str:
    """Where one capture can be downloaded."""
    return f"/api/ulogger/{entry_id}/captures/{capture_id}"


def quarantine_path(entry_id: str) -> str:
    """Where all of the quarantine can be downloaded."""
    return f"/api/ulogger/{entry_id}/quarantine"


@callback
def async_register_downloads(hass: HomeAssistant) -> None:
    """Offer the downloads."""
    hass.http.register_view(CaptureView())
    hass.http.register_view(QuarantineView())


def file_name(capture: Capture, capture_id: int) -> str:
    """Name a capture's file; what a device calls itself can't change the path."""
    when = datetime.fromtimestamp(capture.captured_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    serial = re.sub(r"[^A-Za-z0-9_-]", "_", capture.device.serial)[:64]
    return f"{serial}-{when}-{capture_id}-{capture.kind.value}.bin"


def _outbox(request: web.Request, entry_id: str) -> Outbox:
    entry = request.app[KEY_HASS].config_entries.async_get_entry(entry_id)
    if entry is None or entry.domain != DOMAIN or entry.state is not ConfigEntryState.LOADED:
        raise web.HTTPNotFound
    outbox: Outbox = entry.runtime_data.account.outbox
    return outbox


def _attachment(body: bytes, name: str, content_type: str) -> web.Response:
    return web.Response(
        status=HTTPStatus.OK,
        body=body,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


class CaptureView(HomeAssistantView):
    """One capture as it came off the device."""

    url = "/api/ulogger/{entry_id}/captures/{capture_id}"
    name = "api:ulogger:capture"

    @require_admin
    async def get(self, request: web.Request, entry_id: str, capture_id: str) -> web.Response:
        """Send the file."""
        if not capture_id.isdecimal() or len(capture_id) > 18:
            raise web.HTTPNotFound
        try:
            capture = await _outbox(request, entry_id).read(int(capture_id))
        except NoSuchCapture as err:
            raise web.HTTPNotFound from err
        except OutboxError as err:
            raise web.HTTPServiceUnavailable(text=str(err)) from err
        return _attachment(
            capture.data, file_name(capture, int(capture_id)), "application/octet-stream"
        )


class QuarantineView(HomeAssistantView):
    """Everything that can't be delivered."""

    url = "/api/ulogger/{entry_id}/quarantine"
    name = "api:ulogger:quarantine"

    @require_admin
    async def get(self, request: web.Request, entry_id: str) -> web.Response:
        """Send a zip of all captures in quarantine."""
        outbox = _outbox(request, entry_id)
        captures: dict[int, Capture] = {}
        try:
            for row in await outbox.listing(states=(CaptureState.QUARANTINED,)):
                with suppress(NoSuchCapture):
                    captures[row.capture_id] = await outbox.read(row.capture_id)
        except OutboxError as err:
            raise web.HTTPServiceUnavailable(text=str(err)) from err
        archive = await request.app[KEY_HASS].async_add_executor_job(_zip, captures)
        return _attachment(archive, "ulogger-quarantine.zip", "application/zip")


def _zip(captures: dict[int, Capture]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for capture_id, capture in captures.items():
            file.writestr(file_name(capture, capture_id), capture.data)
    return archive.getvalue()
