"""From what an automation hands over to metrics and events; all of it is checked first."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import probatio
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.util import dt as dt_util

from ..const import DOMAIN
from ..model.telemetry import Event, Metric

ATTR_DEVICE = "device"
ATTR_NAME = "name"
ATTR_TIMESTAMP = "timestamp"
ATTR_TYPE = "type"
ATTR_VALUE = "value"
LONGEST_NAME = 64
LARGEST_NUMBER = sys.float_info.max
LATEST = 32_503_680_000
"""The year 3000 (Unix seconds): what lies behind it is no time, or one in milliseconds."""

TIME = probatio.Any(cv.datetime, int, float)
"""Unix seconds, or a date and time."""
METRIC_SCHEMA = probatio.Schema(
    {
        probatio.Required(ATTR_NAME): object,
        probatio.Required(ATTR_VALUE): object,
        probatio.Optional(ATTR_TIMESTAMP): TIME,
        probatio.Optional(ATTR_DEVICE): cv.string,
    }
)
EVENT_SCHEMA = probatio.Schema(
    {
        probatio.Required(ATTR_TYPE): object,
        probatio.Optional(ATTR_TIMESTAMP): TIME,
        probatio.Optional(ATTR_DEVICE): cv.string,
    },
    extra=probatio.ALLOW_EXTRA,
)


def as_samples(given: object) -> object:
    """Return one sample as a list of it; a metric that is called "name" has a number."""
    if isinstance(given, dict) and isinstance(given.get(ATTR_NAME), str):
        return [given]
    return given


METRICS_SCHEMA = probatio.All(as_samples, probatio.Any(dict, [METRIC_SCHEMA]))
"""Names with their values, one sample, or a list of samples."""

type Addressed[SampleT] = list[tuple[str | None, SampleT]]
"""Samples with the device that each is from; None for those of the action's targets."""


def mistake(key: str, **placeholders: object) -> ServiceValidationError:
    """Return what explains a caller's mistake."""
    shown = {name: str(value)[:LONGEST_NAME] for name, value in placeholders.items()}
    return ServiceValidationError(
        translation_domain=DOMAIN, translation_key=key, translation_placeholders=shown
    )


def parse_metrics(
    given: Mapping[Any, Any] | Sequence[Mapping[str, Any]], at: float | None
) -> Addressed[Metric]:
    """Read names with their values, or a list of samples; ``at`` is the time of those without."""
    if isinstance(given, Mapping):
        given = [{ATTR_NAME: name, ATTR_VALUE: value} for name, value in given.items()]
    if not given:
        raise mistake("no_metrics")
    return [
        (
            each.get(ATTR_DEVICE),
            Metric(
                parse_name(each[ATTR_NAME]),
                _number(each[ATTR_NAME], each[ATTR_VALUE]),
                parse_time(each.get(ATTR_TIMESTAMP, at)),
            ),
        )
        for each in given
    ]


def parse_events(given: Sequence[Mapping[str, Any]], at: float | None) -> Addressed[Event]:
    """Read a list of events; what else stands in one goes up with it."""
    if not given:
        raise mistake("no_metrics")
    return [
        (
            each.get(ATTR_DEVICE),
            Event(
                parse_name(each[ATTR_TYPE]),
                parse_time(each.get(ATTR_TIMESTAMP, at)),
                _extras(each),
            ),
        )
        for each in given
    ]


def parse_name(name: object) -> str:
    """Check a metric's name or an event's type."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise mistake("invalid_name", name=name)
    if not name.isprintable() or any(char.isspace() or char == "=" for char in name):
        raise mistake("invalid_name", name=name)
    return name


def parse_time(when: datetime | float | None) -> float | None:
    """Return the time in Unix seconds, if there is one; the cloud takes its own otherwise.

    A time without a zone is one of Home Assistant's own zone.
    """
    if when is None:
        return None
    try:
        seconds = dt_util.as_utc(when).timestamp() if isinstance(when, datetime) else when
    except OverflowError as err:
        raise mistake("invalid_timestamp", timestamp=when) from err
    if isinstance(when, bool) or not 0 <= seconds < LATEST:
        raise mistake("invalid_timestamp", timestamp=when)
    # A date and time to the second goes up as the whole number that it is.
    return int(seconds) if isinstance(when, datetime) and seconds.is_integer() else seconds


def _number(name: object, value: object) -> int | float:
    """Check a metric's value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mistake("invalid_value", name=name, value=value)
    if not abs(value) <= LARGEST_NUMBER:
        raise mistake("invalid_value", name=name, value=value)
    return value


def _extras(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event carries beside its type and time: whatever JSON knows."""
    extras = {
        name: value
        for name, value in given.items()
        if name not in {ATTR_TYPE, ATTR_TIMESTAMP, ATTR_DEVICE}
    }
    for name, value in extras.items():
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise mistake("invalid_extra", name=name, type=given[ATTR_TYPE])
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as err:
            raise mistake("invalid_extra", name=name, type=given[ATTR_TYPE]) from err
    return extras
