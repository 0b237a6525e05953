"""Sections of forms: what was filled in there stands open when something is wrong."""

from collections.abc import Mapping
from typing import Any

import probatio
from homeassistant.data_entry_flow import section


def opened(form: probatio.Schema, typed: Mapping[str, Any] | None) -> probatio.Schema:
    """Return a form with those of its sections open in which something was typed."""
    return probatio.Schema(
        {
            marker: section(field.schema, {"collapsed": False})
            if isinstance(field, section) and _filled_in(field, typed or {}, marker.schema)
            else field
            for marker, field in form.schema.items()
        }
    )


def _filled_in(field: section, typed: Mapping[str, Any], name: str) -> bool:
    said = {key: value for key, value in typed.get(name, {}).items() if value != ""}
    return bool(said) and said != field.schema({})
