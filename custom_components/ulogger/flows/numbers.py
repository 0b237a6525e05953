"""Numbers in forms: the form shows how far they go, and says in its own words who is beyond."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, override

import probatio
from homeassistant.helpers.selector import (
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
)


class NumberField(NumberSelector):
    """A number that is taken as typed: `out_of_bounds` tells whether it is too small or large.

    Home Assistant's own would refuse it in words of the schema, in English.
    """

    @override
    def __call__(self, data: Any) -> float:
        value: float = probatio.Coerce(float)(data)
        if not math.isfinite(value):
            raise probatio.Invalid("expected a number")
        return value


def whole_number(low: int, high: int, unit: str | None = None) -> probatio.All[int]:
    """Return the field for a whole number from *low* to *high*."""
    config = NumberSelectorConfig(min=low, max=high, mode=NumberSelectorMode.BOX)
    if unit is not None:
        config |= NumberSelectorConfig(unit_of_measurement=unit, translation_key="unit")
    return probatio.All(NumberField(config), probatio.Coerce(int))


def out_of_bounds(fields: probatio.Schema, typed: Mapping[str, Any]) -> Iterator[str]:
    """Name the fields of a form whose number is too small or too large."""
    for marker, field in fields.schema.items():
        number = field.validators[0] if isinstance(field, probatio.All) else field
        if isinstance(number, NumberField) and marker.schema in typed:
            value, config = typed[marker.schema], number.config
            if not config["min"] <= value <= config["max"]:
                yield marker.schema
