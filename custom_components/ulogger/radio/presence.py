"""Whether a device that was heard lately still takes connections."""

SILENCE = 5.0
"""Seconds without a word after which a device that advertised often is connected elsewhere."""
INTERVALS = 5.0
PATIENCE = 60.0
"""Seconds of silence after which nothing is concluded from it any more."""
SCANNER_HEARS = 2.0


def is_quiet(silence: float, interval: float | None, scanner_silence: float) -> bool:
    """Return whether a device has stopped advertising, most likely since a host is connected.

    *silence* is how long ago (seconds) it was heard, *interval* how often it used to be, if that
    is known. A scanner that heard nobody lately (*scanner_silence*) proves nothing: adapters
    pause scanning while they connect. A device may also be slow, so that silence
    counts for a minute only: after that the device is tried.
    """
    if scanner_silence > SCANNER_HEARS:
        return False
    return max(SILENCE, INTERVALS * (interval or 0.0)) < silence < PATIENCE
