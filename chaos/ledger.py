"""What arrived somewhere, capture by capture and frame by frame, in the order it came."""

from collections import defaultdict
from dataclasses import dataclass, field

from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.frames import iter_raw_frames
from custom_components.ulogger.model.capture import CaptureKind
from demo.cloud.service import LocalCloud, Received
from demo.device.log_memory import LogMemory

from .device import TracedDevice, mark_of
from .joined import parts

KINDS = {"binlog": CaptureKind.LOG, "core-dump": CaptureKind.CORE_DUMP}

MARK = 4
"""Bytes of a log's content that are its mark."""

type Data = bytes
type Content = tuple[str, CaptureKind, bytes]
"""A capture as everybody knows it: serial, kind, and the dump or the log's mark and frames."""


def content_of(serial: str, kind: CaptureKind, data: bytes) -> Content:
    """Name a capture by what makes it this one: a log's token and time are the gateway's."""
    if kind is CaptureKind.CORE_DUMP:
        return serial, kind, data
    return serial, kind, mark_of(data).to_bytes(MARK, "little") + LogMemory.frames_of(data)


def pieces(kind: CaptureKind, data: bytes) -> list[bytes]:
    """Return the payloads of the frames of a whole log, or the dump as one piece."""
    if kind is CaptureKind.CORE_DUMP:
        return [data]
    return [frame.payload for frame in iter_raw_frames(data)]


@dataclass(slots=True)
class Ledger:
    """Arrivals of every capture (Unix seconds), and the pieces it brought.

    ``joined`` counts captures that came as a part of one message.
    """

    cloud: LocalCloud
    devices: dict[str, TracedDevice]
    arrivals: dict[Content, list[float]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[Content, list[int]] = field(default_factory=dict)
    frames: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    repeated: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    bytes: int = 0
    joined: int = 0
    last_arrival: float = 0.0
    without_token: int = 0
    foreign: list[str] = field(default_factory=list)

    def take(self, message: Received) -> None:
        """Note a message of the cloud."""
        if (kind := KINDS.get(message.kind)) is None:
            return
        serial = self._sender(kind, message)
        if serial is None:
            self.foreign.append(f"{message.kind} of {len(message.payload)} bytes from nobody")
            return
        for data in self._parts(serial, kind, message.payload):
            self.note(serial, kind, data, message.at)

    def note(self, serial: str, kind: CaptureKind, data: Data, at: float) -> None:
        """Note that a capture came."""
        self.last_arrival = at
        try:
            content = content_of(serial, kind, data)
            came = pieces(kind, data)
        except CaptureError as error:
            self.foreign.append(f"{serial}: {error}")
            return
        self.arrivals[content].append(at)
        if len(self.arrivals[content]) > 1:
            return
        self.bytes += len(data)
        device = self.devices[serial]
        written = device.frames if kind is CaptureKind.LOG else device.dumps
        self.foreign += [f"{serial}: a piece it never wrote" for p in came if p not in written]
        if kind is CaptureKind.CORE_DUMP:
            if data in device.dumps:
                self.numbers[content] = [device.dumps[data]]
            return
        numbers = device.frames_in(data)
        if numbers is None:
            self.foreign.append(f"{serial}: a log it never made")
            return
        self.numbers[content] = list(numbers)
        self.repeated[serial] += len(self.frames[serial].intersection(numbers))
        self.frames[serial].update(numbers)

    def _parts(self, serial: str, kind: CaptureKind, data: Data) -> list[Data]:
        """Take a message apart that was made of several captures."""
        device = self.devices[serial]
        try:
            if kind is CaptureKind.LOG and device.frames_in(data) is None:
                marks = {
                    int.from_bytes(content[:MARK], "little")
                    for of, of_kind, content in self.arrivals
                    if of == serial and of_kind is kind
                }
                if (found := parts(device, data, marks)) is not None:
                    self.joined += len(found)
                    return found
        except CaptureError:
            pass
        return [data]

    def _sender(self, kind: CaptureKind, message: Received) -> str | None:
        if kind is CaptureKind.CORE_DUMP:
            owners = (s for s, device in self.devices.items() if message.payload in device.dumps)
            return next(owners, None)
        self.without_token += message.token == 0
        registration = self.cloud.device_of(message)
        return registration.serial if registration else None
