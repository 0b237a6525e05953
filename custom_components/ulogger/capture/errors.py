"""What can be wrong with bytes that came off a device, or with an image that explains them."""


class CaptureError(Exception):
    """The bytes are not what they should be; fetching them again may help."""

    retryable = True
    reason = "malformed_capture"


class TruncatedCapture(CaptureError):
    """Fewer bytes than the header promises."""

    reason = "truncated_capture"


class ChecksumMismatch(CaptureError):
    """All bytes are there, but they do not add up to the header's checksum."""

    reason = "checksum_mismatch"


class NoClockField(CaptureError):
    """A log buffer of version 1 to 3 has no place for a wall clock time."""

    retryable = False
    reason = "no_clock_field"


class InvalidImage(CaptureError):
    """The file is not a firmware image that can explain logs and core dumps."""

    retryable = False
    reason = "invalid_image"
