"""The actions of a Pepeunit unit: what its REST API offers, and its cipher; all of them answer."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import (
    HomeAssistant,
    ServiceCall,
    ServiceResponse,
    SupportsResponse,
    callback,
)
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.service import async_register_admin_service
from homeassistant.helpers.target import TargetSelection, async_extract_referenced_entity_ids

from ..cloud.pepeunit.cipher import decrypt, encrypt
from ..cloud.pepeunit.rest import LARGEST_STATE, MOST_ROWS
from ..const import DOMAIN
from ..errors import unit_errors
from ..gateway.pepeunit import ActivePepeunit
from ..panel.downloads import LINK_VALID, unit_archive_path

ATTR_STATE: Final = "state"
ATTR_NODE: Final = "node"
ATTR_NODES: Final = "nodes"
ATTR_VALUE: Final = "value"
ATTR_TEXT: Final = "text"
ATTR_KEY: Final = "key"
ATTR_LIMIT: Final = "limit"
ATTR_OFFSET: Final = "offset"

type Do = Callable[[ActivePepeunit, Mapping[str, Any]], Awaitable[dict[str, Any]]]

_UNIT: Final[dict[Any, Any]] = {**cv.TARGET_FIELDS}
_PAGE: Final[dict[Any, Any]] = {
    probatio.Optional(ATTR_LIMIT, default=100): probatio.All(
        probatio.Coerce(int), probatio.Range(min=1, max=MOST_ROWS)
    ),
    probatio.Optional(ATTR_OFFSET, default=0): probatio.All(
        probatio.Coerce(int), probatio.Range(min=0)
    ),
}
_CIPHER: Final[dict[Any, Any]] = {
    **_UNIT,
    probatio.Required(ATTR_TEXT): cv.string,
    probatio.Optional(ATTR_KEY): cv.string,
}
UNIT_SCHEMA = probatio.Schema(_UNIT)
SET_STATE_SCHEMA = probatio.Schema(
    {
        **_UNIT,
        probatio.Required(ATTR_STATE): probatio.All(cv.string, probatio.Length(max=LARGEST_STATE)),
    }
)
FIND_INPUTS_SCHEMA = probatio.Schema({**_UNIT, probatio.Required(ATTR_NODE): cv.string, **_PAGE})
FIND_UNITS_SCHEMA = probatio.Schema(
    {**_UNIT, probatio.Required(ATTR_NODES): probatio.All(cv.ensure_list, [cv.string]), **_PAGE}
)
SET_INPUT_SCHEMA = probatio.Schema(
    {**_UNIT, probatio.Required(ATTR_NODE): cv.string, probatio.Required(ATTR_VALUE): cv.string}
)
CIPHER_SCHEMA = probatio.Schema(_CIPHER)


async def _update_env(unit: ActivePepeunit, _data: Mapping[str, Any]) -> dict[str, Any]:
    env = await unit.updates.async_update_env()
    return {"env": env.public}


async def _update_schema(unit: ActivePepeunit, _data: Mapping[str, Any]) -> dict[str, Any]:
    schema = await unit.updates.async_update_schema()
    names = ("input_base_topic", "output_base_topic", "input_topic", "output_topic")
    return {
        "schema": {
            name: {each: list(topics) for each, topics in section.items()}
            for name, section in zip(names, schema.sections, strict=True)
        }
    }


async def _get_target_version(unit: ActivePepeunit, _data: Mapping[str, Any]) -> dict[str, Any]:
    await unit.updates.async_look_for_update()
    target = unit.updates.target
    return {
        "commit": target and target.commit,
        "tag": target and target.tag,
        "current": unit.updates.commit,
    }


async def _get_firmware(unit: ActivePepeunit, _data: Mapping[str, Any]) -> dict[str, Any]:
    archive = await unit.updates.async_fetch()
    path = unit_archive_path(unit.account.entry_id, unit.id)
    return {
        "commit": unit.updates.commit,
        "files": {name: len(content) for name, content in archive.files.items()},
        "images": archive.images,
        "download": async_sign_path(unit.account.hass, path, LINK_VALID),
    }


async def _set_state_storage(unit: ActivePepeunit, data: Mapping[str, Any]) -> dict[str, Any]:
    await unit.updates.api.set_state_storage(data[ATTR_STATE])
    return {"characters": len(data[ATTR_STATE])}


async def _get_state_storage(unit: ActivePepeunit, _data: Mapping[str, Any]) -> dict[str, Any]:
    return {"state": await unit.updates.api.state_storage()}


async def _find_inputs(unit: ActivePepeunit, data: Mapping[str, Any]) -> dict[str, Any]:
    return await unit.updates.api.inputs_of_output(
        data[ATTR_NODE], data[ATTR_LIMIT], data[ATTR_OFFSET]
    )


async def _find_units(unit: ActivePepeunit, data: Mapping[str, Any]) -> dict[str, Any]:
    return await unit.updates.api.units_of_nodes(
        data[ATTR_NODES], data[ATTR_LIMIT], data[ATTR_OFFSET]
    )


async def _set_input(unit: ActivePepeunit, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"node": await unit.updates.api.set_input(data[ATTR_NODE], data[ATTR_VALUE])}


async def _encrypt(unit: ActivePepeunit, data: Mapping[str, Any]) -> dict[str, Any]:
    key = data.get(ATTR_KEY, unit.destination.env.encrypt_key)
    return {"text": encrypt(data[ATTR_TEXT], key)}


async def _decrypt(unit: ActivePepeunit, data: Mapping[str, Any]) -> dict[str, Any]:
    key = data.get(ATTR_KEY, unit.destination.env.encrypt_key)
    return {"text": decrypt(data[ATTR_TEXT], key)}


ACTIONS: Final[Mapping[str, tuple[Do, probatio.Schema]]] = {
    "pepeunit_update_env": (_update_env, UNIT_SCHEMA),
    "pepeunit_update_schema": (_update_schema, UNIT_SCHEMA),
    "pepeunit_get_target_version": (_get_target_version, UNIT_SCHEMA),
    "pepeunit_get_firmware": (_get_firmware, UNIT_SCHEMA),
    "pepeunit_set_state_storage": (_set_state_storage, SET_STATE_SCHEMA),
    "pepeunit_get_state_storage": (_get_state_storage, UNIT_SCHEMA),
    "pepeunit_find_inputs": (_find_inputs, FIND_INPUTS_SCHEMA),
    "pepeunit_find_units": (_find_units, FIND_UNITS_SCHEMA),
    "pepeunit_set_input": (_set_input, SET_INPUT_SCHEMA),
    "pepeunit_encrypt": (_encrypt, CIPHER_SCHEMA),
    "pepeunit_decrypt": (_decrypt, CIPHER_SCHEMA),
}
QUESTIONS: Final = frozenset(
    {
        "pepeunit_get_target_version",
        "pepeunit_get_state_storage",
        "pepeunit_find_inputs",
        "pepeunit_find_units",
        "pepeunit_encrypt",
        "pepeunit_decrypt",
    }
)
"""Actions that are of no use without their answer."""


@callback
def async_register_pepeunit_actions(hass: HomeAssistant) -> None:
    """Register the actions; they go by a unit's token, so they need an administrator."""
    for name, (do, schema) in ACTIONS.items():
        answers = SupportsResponse.ONLY if name in QUESTIONS else SupportsResponse.OPTIONAL
        async_register_admin_service(
            hass, DOMAIN, name, partial(_call, do), schema, supports_response=answers
        )


async def _call(do: Do, call: ServiceCall) -> ServiceResponse:
    unit = _unit(call)
    with unit_errors(call.hass, unit.title):
        return await do(unit, call.data)


@callback
def _unit(call: ServiceCall) -> ActivePepeunit:
    """Return the one unit that a call is aimed at; raises ServiceValidationError."""
    selected = async_extract_referenced_entity_ids(
        call.hass, TargetSelection(call.data), primary_entities_only=False
    )
    entities, devices = er.async_get(call.hass), dr.async_get(call.hass)
    named = selected.referenced_devices | {
        entry.device_id
        for entity_id in selected.referenced
        if (entry := entities.async_get(entity_id)) is not None and entry.device_id
    }
    found = [device for each in named if (device := devices.async_get(each)) is not None]
    identifiers = {identifier for device in found for identifier in device.identifiers}
    units = [
        each
        for entry in call.hass.config_entries.async_entries(DOMAIN)
        if entry.state is ConfigEntryState.LOADED
        for each in entry.runtime_data.destinations.values()
        if isinstance(each, ActivePepeunit)
        and (DOMAIN, f"{entry.entry_id}-{each.id}") in identifiers
    ]
    if len(units) != 1:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="no_unit")
    unit: ActivePepeunit = units[0]
    return unit
