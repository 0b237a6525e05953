"""The devices of a demo and what they hold: real captures, or the buffers that were asked for."""

from dataclasses import dataclass
from pathlib import Path

from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.model.identity import DeviceIdentity

from .device.virtual import VirtualDevice

FIXTURES = Path(__file__).parent.parent / "tests/fixtures/agent/v4-crash"
LONGEST = 0xFFFF
SERIAL_FIELD = slice(128, 196)
"""Where a core dump's header keeps the serial; its checksum begins behind the header."""

EXAMPLE = DeviceIdentity(
    application_id=42,
    serial="A87DE76F0011",
    device_type="DoorSenseV2",
    git_version="4.24.2",
    git_hash="bc53443",
)


class UnusableBufferError(Exception):
    """A buffer that no agent could offer."""


@dataclass(frozen=True, slots=True)
class Buffers:
    """What every device of a fleet holds. ``own`` buffers go into the devices as they are."""

    log: bytes
    core_dump: bytes
    own_core_dump: bool = False

    @classmethod
    def load(cls, log: Path | None = None, core_dump: Path | None = None) -> Buffers:
        """Read the files, the example's captures where none is named; or UnusableBufferError."""
        buffers = cls(
            (log or FIXTURES / "log.bin").read_bytes(),
            (core_dump or FIXTURES / "core_dump.bin").read_bytes(),
            core_dump is not None,
        )
        try:
            header = LogHeader.parse(buffers.log)
        except CaptureError as error:
            raise UnusableBufferError(f"{log}: not a log buffer: {error}") from error
        if header.total > len(buffers.log):
            raise UnusableBufferError(
                f"{log}: the header tells of {header.total} bytes, the file has {len(buffers.log)}"
            )
        for path, data in ((log, buffers.log), (core_dump, buffers.core_dump)):
            if len(data) > LONGEST:
                raise UnusableBufferError(
                    f"{path}: {len(data)} bytes; lengths travel as u16, {LONGEST} at most"
                )
        return buffers


def make_fleet(count: int, buffers: Buffers) -> list[VirtualDevice]:
    """Make devices of one application, the first of them the example's."""
    return [_device(number, buffers) for number in range(count)]


def _device(number: int, buffers: Buffers) -> VirtualDevice:
    serial = EXAMPLE.serial if number == 0 else f"A87DE76F{0x11 + number:04X}"
    identity = DeviceIdentity(
        application_id=EXAMPLE.application_id,
        serial=serial,
        device_type=EXAMPLE.device_type,
        git_version=EXAMPLE.git_version,
        git_hash=EXAMPLE.git_hash,
    )
    core_dump = buffers.core_dump
    if not buffers.own_core_dump:
        core_dump = with_serial(core_dump, serial)
    return VirtualDevice(
        f"C0:DE:00:00:{number >> 8:02X}:{number & 255:02X}",
        identity,
        buffers.log,
        core_dump,
        name="uLogger Example" if number == 0 else f"uLogger Example {number + 1}",
        rssi=-50 - number % 40,
    )


def with_serial(core_dump: bytes, serial: str) -> bytes:
    """Return the dump as if another device had written it."""
    field = serial.encode().ljust(SERIAL_FIELD.stop - SERIAL_FIELD.start, b"\0")
    return core_dump[: SERIAL_FIELD.start] + field + core_dump[SERIAL_FIELD.stop :]
