"""Everything that must hold before this Home Assistant becomes a unit of Pepeunit."""

import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import probatio
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util.ssl import create_client_context

from ..cloud.errors import CloudError, CredentialsRefused, Untrusted
from ..cloud.mqtt.probe import check_connection
from ..cloud.pepeunit.env import Env
from ..cloud.pepeunit.errors import InvalidFile, RestError
from ..cloud.pepeunit.rest import RestClient, api_context
from ..cloud.pepeunit.schema import Schema
from ..cloud.tls import verifying_context
from ..cloud.ulogger.credentials import CredentialsError, read_ca
from ..const import (
    CONF_ACTIONS,
    CONF_CA,
    CONF_ENTITY,
    CONF_INPUTS,
    CONF_METRIC,
    CONF_NODE,
    CONF_OUTPUTS,
    CONF_PORT,
    CONF_READABLE,
    CONF_UNIT,
    DOMAIN,
    SUBENTRY_PEPEUNIT,
)
from .account_checks import FormError
from .uploaded_files import UploadError, Uploads

CONF_ENV = "env"
CONF_ENV_FILE = "env_file"
CONF_SCHEMA = "schema"
CONF_SCHEMA_FILE = "schema_file"
FILES: Final = {CONF_ENV: CONF_ENV_FILE, CONF_SCHEMA: CONF_SCHEMA_FILE}
TLS_PORT: Final = 8883
ANSWER_WITHIN: Final = 10.0


class FileError(FormError):
    """A file of the unit is wrong: which field of it, and what would be right."""

    def __init__(self, place: str, err: InvalidFile) -> None:
        """Keep the form's field, and the file's."""
        super().__init__(**{place: err.problem})
        self.placeholders = {"field": err.field or f"{place}.json", "detail": err.detail}


@dataclass(frozen=True, slots=True)
class CheckedUnit:
    """A unit that has been connected to: its files, and how its token travels."""

    env: Env
    schema: Schema
    readable: bool
    port: int | None
    ca: str | None

    @property
    def data(self) -> dict[str, Any]:
        """What a subentry keeps of it; none of it is secret."""
        return {
            CONF_UNIT: self.env.unit,
            CONF_READABLE: self.readable,
            CONF_PORT: self.port,
            CONF_CA: self.ca,
        }


async def async_check_unit(
    hass: HomeAssistant,
    uploads: Uploads,
    typed: Mapping[str, Any],
    present: ConfigSubentry | None,
    kept: tuple[str, str] | None = None,
) -> CheckedUnit:
    """Return a unit whose broker and API have answered; raises FormError.

    ``kept`` are the files that there are already, for those that are not given anew.
    """
    before = dict(zip(FILES, kept or (None, None), strict=True))
    texts = {name: await _async_text(hass, uploads, typed, name, before[name]) for name in FILES}
    env, schema = (
        _parsed(CONF_ENV, Env.parse, texts[CONF_ENV]),
        _parsed(CONF_SCHEMA, Schema.parse, texts[CONF_SCHEMA]),
    )
    _check_free(hass, env.unit, present)
    ca = None if present is None else present.data.get(CONF_CA)
    if CONF_CA in typed:
        ca = await _async_ca(hass, uploads, typed[CONF_CA])
    consent: bool = typed[CONF_READABLE]
    if env.api.startswith("http://") and not consent:
        raise FormError(**{CONF_READABLE: "api_readable"})
    port = await _async_find_tls(hass, env, ca)
    if port is None:
        if not consent:
            raise FormError(**{CONF_READABLE: "broker_readable"})
        await _async_connect(env, env.port, None)
    try:
        tls = await hass.async_add_executor_job(api_context, ca, create_client_context)
        await RestClient(async_get_clientsession(hass), env, tls).schema()
    except RestError as err:
        raise FormError(base=str(err.failure)) from err
    except InvalidFile as err:
        raise FileError(CONF_SCHEMA, err) from err
    return CheckedUnit(env, schema, port is None, None if port == env.port else port, ca)


async def _async_find_tls(hass: HomeAssistant, env: Env, ca: str | None) -> int | None:
    """Return the port at which the broker takes the token within TLS, None where there is none.

    A broker with a certificate that is not trusted is never spoken to readably instead.
    """
    context = await hass.async_add_executor_job(verifying_context, ca, create_client_context)
    for port in dict.fromkeys((env.port, TLS_PORT)):
        try:
            await _async_probe(env, port, context)
        except Untrusted as err:
            raise FormError(base=err.reason) from err
        except CredentialsRefused as err:
            raise FormError(**{CONF_ENV: "unit_refused"}) from err
        except CloudError:
            continue
        return port
    return None


async def _async_connect(env: Env, port: int, context: ssl.SSLContext | None) -> None:
    try:
        await _async_probe(env, port, context)
    except CredentialsRefused as err:
        raise FormError(**{CONF_ENV: "unit_refused"}) from err
    except CloudError as err:
        raise FormError(base=err.reason) from err


async def _async_probe(env: Env, port: int, context: ssl.SSLContext | None) -> None:
    """Connect under a name that ends nobody's connection; the broker takes 36 characters."""
    await check_connection(
        env.host.strip("[]"),
        port,
        context,
        client_id=f"{env.unit[:27]}-{secrets.token_hex(4)}",
        username=env.token,
        seconds=ANSWER_WITHIN,
    )


async def _async_text(
    hass: HomeAssistant,
    uploads: Uploads,
    typed: Mapping[str, Any],
    name: str,
    kept: str | None,
) -> str | bytes:
    """Return a file: pasted, uploaded, or the one there is."""
    pasted, uploaded = typed.get(name, "").strip(), typed.get(FILES[name])
    if pasted and uploaded:
        raise FormError(**{name: "pasted_and_uploaded"})
    if uploaded:
        try:
            return await uploads.async_read(hass, uploaded)
        except UploadError as err:
            raise FormError(**{FILES[name]: err.reason}) from err
    if pasted:
        return str(pasted)
    if kept is None:
        raise FormError(**{name: "no_file"})
    return kept


def _parsed[T](place: str, parse: Any, text: str | bytes) -> Any:
    try:
        return parse(text)
    except InvalidFile as err:
        raise FileError(place, err) from err


async def _async_ca(hass: HomeAssistant, uploads: Uploads, file_id: str) -> str:
    try:
        content = await uploads.async_read(hass, file_id)
        return await hass.async_add_executor_job(read_ca, content)
    except UploadError as err:
        raise FormError(**{CONF_CA: err.reason}) from err
    except CredentialsError as err:
        raise FormError(**{CONF_CA: "invalid_ca"}) from err


@callback
def _check_free(hass: HomeAssistant, unit: str, present: ConfigSubentry | None) -> None:
    """Raise FormError if the unit is another destination, or not the one that is changed."""
    if present is not None and present.data[CONF_UNIT] != unit:
        raise FormError(**{CONF_ENV: "another_unit"})
    for other in _units(hass):
        if other.data[CONF_UNIT] == unit and (
            present is None or other.subentry_id != present.subentry_id
        ):
            raise FormError(**{CONF_ENV: "unit_taken"})


def _units(hass: HomeAssistant) -> Iterator[ConfigSubentry]:
    for entry in hass.config_entries.async_entries(DOMAIN):
        yield from entry.get_subentries_of_type(SUBENTRY_PEPEUNIT)


def check_nodes(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes that are mapped; raises FormError for one that can't work.

    That they are of the schema, and templates sound, the form has made sure of.
    """
    outputs, inputs = list(typed[CONF_OUTPUTS]), list(typed[CONF_INPUTS])
    if len({node[CONF_NODE] for node in inputs}) < len(inputs):
        raise FormError(**{CONF_INPUTS: "node_twice"})
    if any(bool(node.get(CONF_ENTITY)) is bool(node.get(CONF_METRIC)) for node in outputs):
        raise FormError(**{CONF_OUTPUTS: "entity_or_metric"})
    for node in inputs:
        _check_actions(node.get(CONF_ACTIONS) or ())
    return {CONF_OUTPUTS: outputs, CONF_INPUTS: inputs}


def _check_actions(actions: Sequence[Any]) -> None:
    try:
        cv.SCRIPT_SCHEMA(list(actions))
    except probatio.Invalid as err:
        raise FormError(**{CONF_INPUTS: "invalid_actions"}) from err
