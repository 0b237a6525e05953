"""What devices said that is new: counted, shown, and made known as events.

Readings come long after a device was released, and a capture that was counted never counts again,
also when all captures are read anew.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from homeassistant.core import callback

from ..coordinator import DeviceCoordinator
from ..insight.news import News
from ..insight.reading import LogFrame
from ..model.capture import Capture, CaptureKind
from ..model.heard import MetricValue
from ..model.level import Level
from .activity import Activity
from .gateway import UloggerConfigEntry

MORE_LINES: Final = "more"
"""The type of the event for lines that were too many to have one each."""
LOG_EVENTS: Final = (
    *(level.name.lower() for level in Level if level <= Level.CRITICAL),
    MORE_LINES,
)
LONGEST_ARGUMENT: Final = 255
MOST_ARGUMENTS: Final = 32
MOST_NAMED: Final = 50
"""Metrics without a sensor that are remembered by name."""


class DeviceNews:
    """What is new of an account's devices."""

    def __init__(self, entry: UloggerConfigEntry) -> None:
        self._entry = entry
        self._gateway = entry.runtime_data
        self._store = self._gateway.account.store
        self._activity = Activity(entry)

    @callback
    def start(self) -> None:
        """Follow what is read, until the entry is unloaded."""
        self._activity.start()
        self._entry.async_on_unload(self._gateway.readings.news.add(self._heard))

    @callback
    def _heard(
        self, device: DeviceCoordinator | None, capture_id: int, capture: Capture, news: News
    ) -> None:
        """Count what a capture says, and make it known."""
        if device is None or device.heard.counts(capture_id, capture.captured_at):
            return
        heard = device.heard
        heard.capture_id, heard.captured_at = capture_id, capture.captured_at
        if capture.kind is CaptureKind.LOG:
            heard.errors += news.errors
            heard.warnings += news.warnings
            heard.last_errors, heard.last_warnings = news.errors, news.warnings
        self._take_metrics(device, news)
        self._store.save_soon()
        device.async_update_listeners()
        self._make_known(device, capture_id, news)
        self._activity.read(device, capture.kind, news.events)

    @callback
    def _take_metrics(self, device: DeviceCoordinator, news: News) -> None:
        """Have the newest value of each metric shown, and note which are too many."""
        heard = device.heard
        found = [each.name for each in news.metrics if each.name not in heard.metrics]
        for each in news.metrics:
            heard.metrics[each.name] = MetricValue(each.value, each.at)
        for name in dict.fromkeys(found):
            self._gateway.metric_found.notify(device, name)
        others = dict.fromkeys((*heard.more_metrics, *news.left_out))
        heard.more_metrics = [name for name in others if name not in heard.metrics][:MOST_NAMED]
        if news.left_out:
            self._gateway.account.changed.notify()

    @callback
    def _make_known(self, device: DeviceCoordinator, capture_id: int, news: News) -> None:
        """Notify of each line that is worth it, once of those that were too many."""
        picked = news.events
        if not picked.frames:
            return
        for line in picked.frames:
            device.logged.notify(_name(line.level), line_attributes(line, capture_id))
        if more := picked.left_out_total:
            levels = {_name(level): count for level, count in sorted(picked.left_out.items())}
            device.logged.notify(
                MORE_LINES, {"count": more, "levels": levels, "capture": capture_id}
            )


def line_attributes(line: LogFrame, capture_id: int) -> Mapping[str, Any]:
    """Return what an event tells of a line; ``text`` is None without the firmware's image."""
    return {
        "level": _name(line.level),
        "module": line.module,
        "module_name": line.module_name,
        "time": None if line.at is None else datetime.fromtimestamp(line.at, UTC).isoformat(),
        "time_uncertainty": None if line.uncertainty is None else round(line.uncertainty, 3),
        "text": line.text,
        "message": line.message[:LONGEST_ARGUMENT],
        "arguments": [
            each.value[:LONGEST_ARGUMENT] if isinstance(each.value, str) else each.value
            for each in line.arguments[:MOST_ARGUMENTS]
        ],
        "format_address": f"0x{line.address:08X}",
        "capture": capture_id,
    }


def _name(level: Level) -> str:
    return level.name.lower()
