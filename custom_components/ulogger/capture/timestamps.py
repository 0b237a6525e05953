"""The gateway's clock for devices that have none."""

from ..model.capture import Capture, CaptureKind
from .errors import CaptureError
from .log_buffer import LogHeader, with_epoch

_MICROSECONDS = 1_000_000


def dated(capture: Capture) -> bytes:
    """Return a capture's bytes, a log without a clock dated with the gateway's.

    A version 4 header says what the wall clock was when the device closed the buffer for
    sending, which is the instant of its anchor tick, or 0 when the device has no clock. The
    gateway asked for the buffer and had its first chunk some milliseconds later, so that
    chunk's arrival (``captured_at``) stands in, however much later the capture is delivered.
    A clock of the device's own is never overwritten. Versions 1 to 3 have no place for it
    (``lacks_time`` says so), and a core dump has no time; both come back as they are.
    """
    if capture.kind is not CaptureKind.LOG:
        return capture.data
    try:
        header = LogHeader.parse(capture.data)
    except CaptureError:
        return capture.data
    if header.epoch_us or not header.has_clock_field or capture.captured_at <= 0:
        return capture.data
    return with_epoch(capture.data, round(capture.captured_at * _MICROSECONDS))


def lacks_time(capture: Capture) -> bool:
    """Whether a log can carry no wall clock time, so the cloud dates it by its arrival there.

    True for log buffers of version 1 to 3 only.
    """
    if capture.kind is not CaptureKind.LOG:
        return False
    try:
        return not LogHeader.parse(capture.data).has_clock_field
    except CaptureError:
        return False
