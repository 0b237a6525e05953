"""Compares what a collector received with what the devices' captures say, frame by frame."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.firmware.symbols import FirmwareImage
from custom_components.ulogger.insight.crash_report import crash_report
from custom_components.ulogger.insight.reading import LogFrame, read
from custom_components.ulogger.model.capture import Capture, CaptureKind

from .check import Comparison
from .device.virtual import VirtualDevice
from .otlp import Point, Received, Record

FATAL = 21

type Said = Counter[tuple[object, ...]]
"""What was said, and how often."""


def compare_records(
    devices: Sequence[VirtualDevice], received: Received, image: FirmwareImage | None
) -> Comparison:
    """Look for each frame of each device, with its text, and for each crash."""
    result = Comparison(different=[f"invalid: {each}" for each in received.invalid])
    records: dict[str, list[Record]] = defaultdict(list)
    points: dict[str, list[Point]] = defaultdict(list)
    for record in received.records:
        records[record.resource["service.instance.id"]].append(record)
    for point in received.points:
        points[point.resource["service.instance.id"]].append(point)
    for device in devices:
        serial = device.identity.serial
        of_log = [each for each in records[serial] if "exception.type" not in each.attributes]
        crashes = [each for each in records[serial] if "exception.type" in each.attributes]
        if device.log:
            _compare_log(result, device, of_log, points[serial], image)
        if device.core_dump:
            _compare_crash(result, device.core_dump, serial, crashes, image)
    return result


def _compare_log(
    result: Comparison,
    device: VirtualDevice,
    records: Iterable[Record],
    points: Iterable[Point],
    image: FirmwareImage | None,
) -> None:
    """Hold a log's records and gauges against its frames: none missing, none twice."""
    frames = read(Capture(CaptureKind.LOG, device.identity, device.log, 0.0), image).frames
    wanted: Said = Counter(_said(frame) for frame in frames)
    came: Said = Counter(
        (each.attributes.get("ulogger.frame.number"), each.body) for each in records
    )
    came.update((each.name, round(float(each.value), 6)) for each in points)
    result.expected += 1
    what = f"log of {device.identity.serial}"
    if missing := wanted - came:
        result.missing.append(f"{what}: {missing.total()} of {len(frames)} frames")
    elif twice := came - wanted:
        result.duplicated += twice.total()
        result.different.append(f"{what}: {twice.total()} frames too many")
    else:
        result.identical += 1
        result.bytes += len(device.log)


def _said(frame: LogFrame) -> tuple[object, ...]:
    """Return what a frame becomes: a value of a gauge, or a record with its text."""
    if frame.frame.is_heartbeat:
        return "heartbeat", 1.0
    if (metric := frame.metric) is not None:
        return metric.name, round(float(metric.value), 6)
    return frame.number, frame.message


def _compare_crash(
    result: Comparison,
    core_dump: bytes,
    serial: str,
    crashes: Sequence[Record],
    image: FirmwareImage | None,
) -> None:
    result.expected += 1
    what = f"crash of {serial}"
    report = crash_report(CoreDump.parse(core_dump), image)
    if not crashes:
        result.missing.append(what)
        return
    crash = crashes[0]
    right = crash.record.severity_number == FATAL and (
        report is None or crash.attributes["exception.type"] == str(report.fault.kind)
    )
    if len(crashes) > 1:
        result.duplicated += len(crashes) - 1
    if right and len(crashes) == 1:
        result.identical += 1
        result.bytes += len(core_dump)
    else:
        result.different.append(what)
