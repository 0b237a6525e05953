"""How long until a device is asked again: as set, or by what it had."""

LONGEST = 6 * 3600.0
SHORTEST = 60.0
PATIENT_VISITS = 4
"""Visits in a row that brought nothing before a device is asked less often."""
TROUBLED_SHARE = 3.0
"""How many times as often a device with errors is asked."""


def next_interval(usual: float, *, empty_visits: int, troubled: bool, adaptive: bool) -> float:
    """Return the seconds until the next session.

    Without *adaptive* that is *usual*. With it, each visit in vain after the first few doubles
    the interval, up to 6 h; a device that told of an error or crashed is asked three times as
    often, though not within a minute.
    """
    if not adaptive:
        return usual
    if troubled:
        return min(usual, max(SHORTEST, usual / TROUBLED_SHARE))
    doublings = min(max(0, empty_visits - PATIENT_VISITS), 30)
    return max(usual, min(LONGEST, usual * 2.0**doublings))
