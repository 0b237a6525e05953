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


class ImageTooLarge(InvalidImage):
    """The image, or what it unpacks to, is beyond what is read."""

    reason = "image_too_large"


class DamagedImage(InvalidImage):
    """The file begins like an image but is not whole."""

    reason = "image_damaged"


class UnsupportedImage(InvalidImage):
    """An image for another processor."""

    reason = "image_unsupported"


class PackedImage(InvalidImage):
    """An image whose debug information is compressed in a way that can't be read here."""

    reason = "image_packed"


class EmptyImage(InvalidImage):
    """An image without code, strings and symbols explains nothing."""

    reason = "image_without_symbols"
