"""What the panel asks about logs: a search that streams, what comes live, and one frame."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.components.websocket_api import async_register_command
from homeassistant.components.websocket_api.connection import ActiveConnection
from homeassistant.components.websocket_api.decorators import (
    async_response,
    require_admin,
    websocket_command,
)
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback

from ..const import ULOGGER_TITLE
from ..coordinator import DeviceCoordinator
from ..firmware.compact_image import CompactImage
from ..gateway.gateway import Gateway
from ..gateway.log_search import AT_A_TIME, LogSearch
from ..insight.reading import LogFrame, Reading
from ..insight.search import Query, wants
from ..model.capture import Capture
from ..model.level import Level
from ..outbox.errors import NoSuchCapture, OutboxError
from .downloads import LINK_VALID, capture_path
from .frames import arguments, around, as_message, parse_key
from .gateways import Names, devices_of, follow, of_account
from .messages import Frame, FrameDetails, LogPlace, SearchEvent
from .refusals import failure, send_failure, send_not_found

MOST_FRAMES: Final = 100_000
"""Frames that one search answers with at most."""
FIRST: Final = 100
"""Frames of a first answer, which is to be seen at once."""
AT_ONCE: Final = 200
"""Frames of a later answer; with more, Python would look through all of Home Assistant's memory for
garbage ever again, and hold everything up meanwhile."""
FIRST_SECONDS: Final = 0.04
"""How long is searched for a first answer, which may be a short one."""
NEIGHBOURS: Final = 8
LONGEST_TEXT: Final = 256
LEVELS: Final = tuple(level.name.lower() for level in Level if level <= Level.METRIC)

_TEXT = probatio.All(str, probatio.Length(min=1, max=LONGEST_TEXT))
_MOMENT = probatio.All(probatio.Any(int, float), probatio.Range(min=0, max=1e11))
FILTER: Final = probatio.Schema(
    {
        probatio.Optional("devices"): probatio.All(
            [probatio.All(str, probatio.Length(max=64))], probatio.Length(max=10_000)
        ),
        probatio.Optional("level"): probatio.In(LEVELS),
        probatio.Optional("module"): _TEXT,
        probatio.Optional("contains"): _TEXT,
        probatio.Optional("since"): _MOMENT,
        probatio.Optional("until"): _MOMENT,
    }
)


@callback
def async_register_log_commands(hass: HomeAssistant) -> None:
    """Offer the commands."""
    for command in (search, subscribe, get_frame):
        async_register_command(hass, command)


def query_of(filter_: Mapping[str, Any]) -> Query:
    """Return what a filter looks for."""
    level = filter_.get("level")
    return Query(
        filter_.get("since"),
        filter_.get("until"),
        Level[level.upper()] if level else None,
        filter_.get("module"),
        filter_.get("contains"),
    )


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/logs/search",
        probatio.Required("filter"): FILTER,
        probatio.Optional("limit", default=MOST_FRAMES): probatio.All(
            int, probatio.Range(min=1, max=MOST_FRAMES)
        ),
    }
)
@callback
def search(hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]) -> None:
    """Answer with frames in pieces, the newest first, until all are found or that is ended."""
    connection.send_result(message["id"])
    task = hass.async_create_background_task(
        _search(hass, connection, message), "Search logs for the panel"
    )
    connection.subscriptions[message["id"]] = task.cancel


async def _search(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    names = Names(hass)
    left, most, seconds = message["limit"], FIRST, FIRST_SECONDS
    devices = devices_of(hass, message["filter"].get("devices", ()))
    try:
        found = await LogSearch.async_begin(hass, devices, query_of(message["filter"]))
        while True:
            lines = await found.async_more(min(left, most), seconds)
            left -= len(lines)
            sources = [
                (
                    line.frame,
                    line.device.account.entry_id,
                    line.capture_id,
                    line.captured_at,
                    names.id_of(line.device),
                    line.version,
                )
                for line in lines
            ]
            frames = await hass.async_add_executor_job(_messages, sources)
            done = found.done or left == 0
            event: SearchEvent = {
                "frames": frames,
                "opened": found.opened,
                "captures": found.captures,
                "done": done,
                "more": left == 0 and not found.done,
                "failure": None,
            }
            connection.send_event(message["id"], event)
            if done:
                return
            if lines:
                most, seconds = AT_ONCE, AT_A_TIME
    except OutboxError as err:
        of = names.name_of(devices[0]) if len(devices) == 1 else ULOGGER_TITLE
        # The search was begun, and an answer to that is no error any more: it ends with one.
        ended: SearchEvent = {
            "frames": [],
            "opened": 0,
            "captures": 0,
            "done": True,
            "more": False,
            "failure": failure(err, of),
        }
        connection.send_event(message["id"], ended)


def _messages(sources: list[tuple[LogFrame, str, int, float, str, str]]) -> list[Frame]:
    return [
        as_message(
            frame,
            account=account,
            capture_id=capture_id,
            captured_at=captured_at,
            device=device,
            firmware=firmware,
        )
        for frame, account, capture_id, captured_at, device, firmware in sources
    ]


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/logs/subscribe",
        probatio.Required("filter"): FILTER,
    }
)
@callback
def subscribe(hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]) -> None:
    """Send the frames of each capture that comes from now on, as soon as it was read."""
    query = query_of(message["filter"])
    wanted = frozenset(message["filter"].get("devices", ()))
    names = Names(hass)

    @callback
    def attach(gateway: Gateway) -> CALLBACK_TYPE:
        @callback
        def came(
            device: DeviceCoordinator | None, capture_id: int, capture: Capture, reading: Reading
        ) -> None:
            if device is None or (wanted and names.id_of(device) not in wanted):
                return
            hass.async_create_background_task(
                tell(gateway, names.id_of(device), capture_id, capture, reading),
                "Show a log in the panel",
            )

        return gateway.readings.read.add(came)

    async def tell(
        gateway: Gateway, device: str, capture_id: int, capture: Capture, reading: Reading
    ) -> None:
        said = partial(
            as_message,
            account=gateway.account.entry_id,
            capture_id=capture_id,
            captured_at=capture.captured_at,
            device=device,
            firmware=capture.device.git_version,
        )
        job = partial(_live, query, gateway, capture, reading, said)
        if frames := await hass.async_add_executor_job(job):
            connection.send_event(message["id"], {"frames": frames})

    connection.subscriptions[message["id"]] = follow(hass, attach)
    connection.send_result(message["id"])


def _live(
    query: Query,
    gateway: Gateway,
    capture: Capture,
    reading: Reading,
    said: Callable[[LogFrame], Frame],
) -> list[Frame]:
    """Return the frames of a capture that are looked for, the newest first; blocks."""
    matches = wants(query, gateway.images.image_of(capture.device))
    return [
        said(frame)
        for frame in reversed(reading.frames[-MOST_FRAMES:])
        if matches(frame)
        and query.wants_time(capture.captured_at if frame.at is None else frame.at)
    ]


@require_admin
@websocket_command(
    {
        probatio.Required("type"): "ulogger/logs/frame",
        probatio.Required("key"): probatio.All(str, probatio.Length(max=128)),
    }
)
@async_response
async def get_frame(
    hass: HomeAssistant, connection: ActiveConnection, message: dict[str, Any]
) -> None:
    """Return all that is known of one frame, and those beside it."""
    try:
        details = await _details(hass, *parse_key(message["key"]))
    except ValueError, NoSuchCapture:
        send_not_found(connection, message["id"], "line_gone")
        return
    except OutboxError as err:
        send_failure(connection, message["id"], err, ULOGGER_TITLE)
        return
    connection.send_result(message["id"], details)


async def _details(hass: HomeAssistant, account: str, capture_id: int, number: int) -> FrameDetails:
    """Read a frame's capture again; raises ValueError where it is not, OutboxError."""
    if (gateway := of_account(hass, account)) is None:
        raise ValueError("the account is not loaded")
    reading, capture = await asyncio.gather(
        gateway.readings.async_reading(capture_id), gateway.account.outbox.read(capture_id)
    )
    if not 0 <= number < len(reading.frames):
        raise ValueError("the capture has no such line")
    coordinator = gateway.devices.get(capture.device.key)
    said = partial(
        as_message,
        account=account,
        capture_id=capture_id,
        captured_at=capture.captured_at,
        device=Names(hass).id_of(coordinator) if coordinator else capture.device.serial,
        firmware=capture.device.git_version,
    )
    frame = reading.frames[number]
    image = await hass.async_add_executor_job(gateway.images.image_of, capture.device)
    places = await hass.async_add_executor_job(_places, image, frame)
    before, after = around(reading.frames, number, NEIGHBOURS)
    return {
        "frame": said(frame),
        "address": frame.address,
        "arguments": arguments(frame),
        "format": image.format_string(frame.address) if image and not frame.metric else None,
        "places": places,
        "download": signed(hass, capture_path(account, capture_id)),
        "before": [said(each) for each in before],
        "after": [said(each) for each in after],
    }


def _places(image: CompactImage | None, frame: LogFrame) -> list[LogPlace]:
    """Return where a frame is logged; a metric has a name instead of a format string; blocks."""
    if image is None or frame.metric:
        return []
    return [
        {"function": place.function, "location": place.location}
        for place in image.log_places(frame.address)
    ]


def signed(hass: HomeAssistant, path: str, valid: timedelta = LINK_VALID) -> str:
    """Return a path that a browser can open, for the user who asks."""
    return async_sign_path(hass, path, valid)
