"""What a capture says as JSON, field by field as ``expected.json`` of the fixtures has it.

``damage`` is there in addition when something is damaged, and only then.
"""

from collections.abc import Callable
from typing import Any

from custom_components.ulogger.capture.core_dump import CoreDump, CoreDumpHeader
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.capture.log_buffer import LogHeader
from custom_components.ulogger.firmware.format_strings import render
from custom_components.ulogger.firmware.symbols import Symbols
from custom_components.ulogger.insight.reading import LogFrame, Reading
from custom_components.ulogger.model.capture import Capture

_HEADER = 264
_SIGNATURE_SIZE = 4


def as_log(
    capture: Capture,
    reading: Reading,
    image: Symbols | None,
    wanted: Callable[[LogFrame], bool],
) -> dict[str, Any]:
    """Return a log's header, its length and the frames that are wanted."""
    header = reading.header if isinstance(reading.header, LogHeader) else None
    return {
        **({} if header is None else {"header": _header(header)}),
        "length": len(capture.data),
        "frames": [_frame(frame, image) for frame in reading.frames if wanted(frame)],
        **_damage(reading),
    }


def as_core_dump(capture: Capture, reading: Reading, image: Symbols | None) -> dict[str, Any]:
    """Return what a core dump has: its header and, as far as its format is known, its state."""
    header = reading.header if isinstance(reading.header, CoreDumpHeader) else None
    if header is None:
        return {"length": len(capture.data), **_damage(reading)}
    said: dict[str, Any] = {
        "length": header.length,
        "checksum": header.checksum,
        "checksum_ok": reading.damage is None,
        "version": header.version,
    }
    if header.known:
        device = header.device
        said |= {
            "application_id": device.application_id,
            "git_hash": device.git_hash,
            "device_type": device.device_type,
            "device_serial": device.serial,
            "git_version": device.git_version,
            "signature": capture.data[_HEADER : _HEADER + _SIGNATURE_SIZE].hex(),
        }
    try:
        dump = CoreDump.parse(capture.data)
    except CaptureError:
        return said | _damage(reading)
    return said | _state(dump, image) | _damage(reading)


def _header(header: LogHeader) -> dict[str, int]:
    """Return the fields that this version has."""
    fields = {"version": header.version, "session_token": header.session_token}
    if header.has_anchor:
        fields |= {"anchor_tick": header.anchor_tick, "tick_rate_hz": header.tick_rate_hz}
    else:
        fields |= {"sequence_number": header.sequence_number}
    if header.has_clock_field:
        fields |= {"epoch_time_us": header.epoch_us}
    return fields | {"used_bytes": header.used_bytes, "checksum": header.checksum}


def _frame(frame: LogFrame, image: Symbols | None) -> dict[str, Any]:
    """Return a frame; its text is as C would have printed it, line ends included."""
    text = None if image is None else image.format_string(frame.address)
    return {
        "tick_delta": frame.frame.ticks,
        "level": frame.level.name,
        "module_bit": frame.module,
        "format_address": frame.address,
        "args": [[kind.value, value] for kind, value in frame.arguments],
        "format": text,
        "text": None if text is None else render(text, frame.arguments),
    }


def _state(dump: CoreDump, image: Symbols | None) -> dict[str, Any]:
    if dump.opaque:
        return {}
    return {
        "flags": dump.flags,
        "registers": dict(dump.registers),
        **({"fp_registers": [*dump.float_registers.values()]} if dump.float_registers else {}),
        "memory": [
            {"start": region.start, "end": region.end, "bytes": region.data.hex()}
            for region in dump.regions
        ],
        "pc_symbol": _symbol(image, dump.registers["pc"], returning=False),
        "lr_symbol": _symbol(image, dump.registers["lr"], returning=True),
    }


def _symbol(
    image: Symbols | None, address: int, *, returning: bool
) -> dict[str, str | None] | None:
    if image is None:
        return None
    place = image.place(address, returning=returning)
    return {"function": place.function, "location": place.location}


def _damage(reading: Reading) -> dict[str, Any]:
    return {} if reading.damage is None else {"damage": reading.damage._asdict()}
