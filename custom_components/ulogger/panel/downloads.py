"""Captures for people: one as a file, a crash for a debugger, all of the quarantine as a zip."""

import logging
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

from ..account.udmi_keys import async_registration
from ..capture.core_dump import CoreDump
from ..capture.errors import CaptureError
from ..cloud.pepeunit.errors import ArchiveRefused
from ..const import DOMAIN
from ..gateway.own_texts import own_reason, own_text
from ..gateway.pepeunit import ActivePepeunit
from ..insight.core_file import core_file
from ..model.capture import Capture, CaptureKind
from ..model.plain_text import one_line
from ..outbox.errors import NoSuchCapture, OutboxError
from ..outbox.model import CaptureState
from ..outbox.outbox import Outbox

_LOGGER = logging.getLogger(__name__)

LINK_VALID = timedelta(hours=1)


def capture_path(entry_id: str, capture_id: int) -> str:
    """Where one capture can be downloaded."""
    return f"/api/ulogger/{entry_id}/captures/{capture_id}"


def core_path(entry_id: str, capture_id: int) -> str:
    """Where a core dump can be downloaded as a debugger reads it."""
    return f"{capture_path(entry_id, capture_id)}/core"


def quarantine_path(entry_id: str) -> str:
    """Where all of the quarantine can be downloaded."""
    return f"/api/ulogger/{entry_id}/quarantine"


def unit_archive_path(entry_id: str, destination_id: str) -> str:
    """Where the archive that was fetched for a Pepeunit unit can be downloaded."""
    return f"/api/ulogger/{entry_id}/units/{destination_id}"


@callback
def async_register_downloads(hass: HomeAssistant) -> None:
    """Offer the downloads."""
    hass.http.register_view(CaptureView())
    hass.http.register_view(CoreView())
    hass.http.register_view(QuarantineView())
    hass.http.register_view(UnitArchiveView())
    hass.http.register_view(UdmiKeyView())


def file_name(capture: Capture, capture_id: int, suffix: str = "bin") -> str:
    """Name a capture's file; what a device calls itself can't change the path."""
    when = datetime.fromtimestamp(capture.captured_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    serial = re.sub(r"[^A-Za-z0-9_-]", "_", capture.device.serial)[:64]
    return f"{serial}-{when}-{capture_id}-{capture.kind.value}.{suffix}"


def _outbox(request: web.Request, entry_id: str) -> Outbox:
    entry = request.app[KEY_HASS].config_entries.async_get_entry(entry_id)
    if entry is None or entry.domain != DOMAIN or entry.state is not ConfigEntryState.LOADED:
        raise web.HTTPNotFound
    outbox: Outbox = entry.runtime_data.account.outbox
    return outbox


async def _capture(request: web.Request, entry_id: str, capture_id: str) -> Capture:
    """Read a capture; what is asked for comes from a browser, whatever it is."""
    if not capture_id.isdecimal() or len(capture_id) > 18:
        raise web.HTTPNotFound
    try:
        return await _outbox(request, entry_id).read(int(capture_id))
    except NoSuchCapture as err:
        raise web.HTTPNotFound from err
    except OutboxError as err:
        raise _unavailable(request, err) from err


def _unavailable(request: web.Request, err: OutboxError) -> web.HTTPServiceUnavailable:
    """Return the answer where the disk or the outbox fails; how is for the log."""
    _LOGGER.info("A download failed: %s", one_line(err))
    return web.HTTPServiceUnavailable(text=own_reason(request.app[KEY_HASS], err.reason))


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
        capture = await _capture(request, entry_id, capture_id)
        return _attachment(
            capture.data, file_name(capture, int(capture_id)), "application/octet-stream"
        )


class CoreView(HomeAssistantView):
    """One core dump as an ELF core file: ``gdb-multiarch firmware.elf -c FILE.core``."""

    url = "/api/ulogger/{entry_id}/captures/{capture_id}/core"
    name = "api:ulogger:core"

    @require_admin
    async def get(self, request: web.Request, entry_id: str, capture_id: str) -> web.Response:
        """Send the file; a log has none, nor has a dump without registers."""
        capture = await _capture(request, entry_id, capture_id)
        if capture.kind is not CaptureKind.CORE_DUMP:
            raise web.HTTPNotFound
        try:
            core = await request.app[KEY_HASS].async_add_executor_job(_core, capture)
        except CaptureError as err:
            _LOGGER.info("Capture %s makes no core file: %s", capture_id, one_line(err))
            said = own_text(request.app[KEY_HASS], "common.no_core_file")
            raise web.HTTPUnprocessableEntity(text=said) from err
        name = file_name(capture, int(capture_id), "core")
        return _attachment(core, name, "application/octet-stream")


def _core(capture: Capture) -> bytes:
    return core_file(CoreDump.parse(capture.data))


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
            raise _unavailable(request, err) from err
        archive = await request.app[KEY_HASS].async_add_executor_job(_zip, captures)
        return _attachment(archive, "ulogger-quarantine.zip", "application/zip")


class UnitArchiveView(HomeAssistantView):
    """The program of a Pepeunit unit, as it was fetched and checked."""

    url = "/api/ulogger/{entry_id}/units/{destination_id}"
    name = "api:ulogger:unit_archive"

    @require_admin
    async def get(self, request: web.Request, entry_id: str, destination_id: str) -> web.Response:
        """Send a zip of its files."""
        hass = request.app[KEY_HASS]
        entry = hass.config_entries.async_get_entry(entry_id)
        if entry is None or entry.domain != DOMAIN or entry.state is not ConfigEntryState.LOADED:
            raise web.HTTPNotFound
        unit = entry.runtime_data.destinations.get(destination_id)
        if not isinstance(unit, ActivePepeunit):
            raise web.HTTPNotFound
        try:
            archive = await unit.updates.async_fetched()
        except ArchiveRefused as err:
            raise web.HTTPNotFound from err
        body = await hass.async_add_executor_job(archive.as_zip)
        return _attachment(body, f"pepeunit-{unit.unit}.zip", "application/zip")


def _zip(captures: dict[int, Capture]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for capture_id, capture in captures.items():
            file.writestr(file_name(capture, capture_id), capture.data)
    return archive.getvalue()


class UdmiKeyView(HomeAssistantView):
    """What a UDMI site has to know of a gateway's key: public key and certificate."""

    url = "/api/ulogger/{entry_id}/udmi_keys/{keys_id}"
    name = "api:ulogger:udmi_key"

    @require_admin
    async def get(self, request: web.Request, entry_id: str, keys_id: str) -> web.Response:
        """Send the file; the private part never leaves."""
        hass = request.app[KEY_HASS]
        entry = hass.config_entries.async_get_entry(entry_id)
        if entry is None or entry.domain != DOMAIN:
            raise web.HTTPNotFound
        if (text := await async_registration(hass, entry, keys_id)) is None:
            raise web.HTTPNotFound
        return _attachment(text.encode(), "udmi-gateway.pem", "application/x-pem-file")
