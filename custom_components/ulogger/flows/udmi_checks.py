"""What must hold before this Home Assistant is a gateway at a UDMI site, up to one connection."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from homeassistant.util.ssl import create_client_context

from ..account.destination_keys import StoredKeys
from ..account.udmi_keys import CONF_PASSWORD
from ..cloud.errors import CloudError
from ..cloud.mqtt.broker import Broker
from ..cloud.mqtt.connection import MqttConnection
from ..cloud.tls import UnusableFiles, client_context
from ..cloud.udmi.auth import Authentication, Kind, authentication
from ..cloud.udmi.endpoint import Endpoint, InvalidEndpoint, is_device_id, is_host
from ..cloud.udmi.keys import KeyPair, KeyUnusable, checked_pair, generate
from ..cloud.udmi.points import NAME
from ..cloud.ulogger.credentials import CredentialsError, read_ca
from ..const import (
    CONF_APPROVED_HOSTS,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_ENDPOINT,
    CONF_ENTITY,
    CONF_POINT,
    CONF_POINTS,
    CONF_PORT,
    CONF_PREFIX,
    CONF_PRIVATE_KEY,
    CONF_PROXIES,
    CONF_PROXY_ID,
    CONF_TOPIC_PREFIX,
    CONF_UNENCRYPTED,
    CONF_UNITS,
    CONF_WRITABLE,
    DOMAIN,
    SUBENTRY_UDMI,
)
from ..model.plain_text import one_line
from ..model.reason import Reason
from .account_checks import FormError
from .account_schema import LAST_PORT
from .uploaded_files import UploadError, Uploads

CONF_ENDPOINT_FILE: Final = "endpoint_file"
CONF_HOSTNAME: Final = "hostname"
CONF_CLIENT_ID: Final = "client_id"
CONF_USERNAME: Final = "username"
CONF_AUDIENCE: Final = "audience"
CONF_GENERATE: Final = "generate"
CONF_FORGET: Final = "forget"
CONF_DEVICE: Final = "device"
SECTION_BROKER: Final = "broker"
SECTION_KEYS: Final = "keys"
GENERATE_NOTHING: Final = "none"
SHOWN: Final = frozenset(
    {
        Reason.CANNOT_CONNECT,
        Reason.CERTIFICATE_REFUSED,
        Reason.CLOUD_FAILED,
        Reason.NOT_AUTHORISED,
        Reason.TIMEOUT,
        Reason.TLS_UNTRUSTED,
        Reason.UNKNOWN_HOST,
    }
)
"""Reasons that have a text of their own in the form."""
_LOGGER = logging.getLogger(__name__)
_PREFIX: Final = re.compile(r"[A-Z]{2,6}")


class FieldError(FormError):
    """A form has a mistake; ``detail`` names what it is about, as it was written."""

    def __init__(self, field: str, reason: str, detail: str = "") -> None:
        super().__init__(**{field: reason})
        self.detail = detail


@dataclass(frozen=True, slots=True)
class CheckedSite:
    """Where the gateway connects to, with what it shows there."""

    endpoint: Endpoint
    keys: KeyPair | None
    ca: str | None
    generated: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """What of it stands in the config subentry."""
        data: dict[str, Any] = {CONF_ENDPOINT: self.endpoint.without_secrets().as_dict()}
        return {**data, CONF_CA: self.ca} if self.ca else data

    @property
    def stored(self) -> StoredKeys:
        """What of it stands in the private file."""
        stored: StoredKeys = {}
        if self.keys is not None:
            stored[CONF_PRIVATE_KEY] = self.keys.private_key
            stored[CONF_CERTIFICATE] = self.keys.certificate
        if self.endpoint.password:
            stored[CONF_PASSWORD] = self.endpoint.password
        return stored

    @property
    def unique_id(self) -> str:
        """What no other gateway has: a site lets a name connect once."""
        return f"{self.endpoint.client_id}@{self.endpoint.address}"


async def async_read_site(
    hass: HomeAssistant,
    uploads: Uploads,
    typed: Mapping[str, Any],
    present: CheckedSite | None = None,
) -> CheckedSite:
    """Return what was typed and uploaded; what is not given stays. Raises FormError."""
    files = typed.get(SECTION_KEYS, {})
    if files.get(CONF_FORGET):
        present = None
    endpoint = await _async_endpoint(hass, uploads, typed)
    if not endpoint.encrypted and not typed.get(CONF_UNENCRYPTED):
        raise FieldError("base", "unencrypted")
    if present is not None and endpoint.username == present.endpoint.username:
        endpoint = replace(endpoint, password=endpoint.password or present.endpoint.password)
    ca = await _async_ca(hass, uploads, files)
    keys = await _async_keys(hass, uploads, files)
    if present is not None:
        ca, keys = ca or present.ca, keys or present.keys
    generated = False
    algorithm = files.get(CONF_GENERATE, GENERATE_NOTHING)
    if algorithm != GENERATE_NOTHING:
        if CONF_PRIVATE_KEY in files:
            raise FieldError("base", "key_twice")
        keys, generated = await _async_generated(hass, algorithm, endpoint), True
    elif keys is None and endpoint.audience:
        # A token has to be signed by something: what lacks is made.
        keys, generated = await _async_generated(hass, endpoint.algorithm, endpoint), True
    if endpoint.username and not endpoint.password and keys is None:
        raise FieldError("base", "password_missing")
    return CheckedSite(endpoint, keys, ca, generated)


async def _async_generated(hass: HomeAssistant, algorithm: str, endpoint: Endpoint) -> KeyPair:
    made: KeyPair = await hass.async_add_executor_job(
        generate, algorithm, endpoint.device_id, dt_util.utcnow()
    )
    return made


async def _async_endpoint(
    hass: HomeAssistant, uploads: Uploads, typed: Mapping[str, Any]
) -> Endpoint:
    if not 1 <= typed.get(SECTION_BROKER, {}).get(CONF_PORT, 1) <= LAST_PORT:
        raise FieldError("base", "invalid_port")
    text, file = (typed.get(CONF_ENDPOINT) or "").strip(), typed.get(CONF_ENDPOINT_FILE)
    fields = {name: said for name, said in typed.get(SECTION_BROKER, {}).items() if said}
    if text and file:
        raise FieldError("base", "endpoint_twice")
    try:
        if file:
            return Endpoint.from_json(await uploads.async_read(hass, file))
        if text:
            return Endpoint.from_json(text)
        if CONF_HOSTNAME not in fields:
            raise FieldError("base", "endpoint_missing")
        return Endpoint.from_dict(_said(fields, readable=bool(typed.get(CONF_UNENCRYPTED))))
    except UploadError as err:
        raise FieldError(CONF_ENDPOINT_FILE, err.reason) from err
    except InvalidEndpoint as err:
        reason = err.reason if err.reason in ("not_json", "client_id_invalid") else ""
        raise FieldError("base", reason or "endpoint_invalid", err.field) from err


def _said(fields: Mapping[str, Any], *, readable: bool) -> dict[str, Any]:
    """Return typed fields as UDMI writes them."""
    said: dict[str, Any] = {
        "hostname": fields[CONF_HOSTNAME],
        "client_id": fields.get(CONF_CLIENT_ID),
        "transport": "tcp" if readable else "ssl",
    }
    if (port := fields.get(CONF_PORT)) is not None:
        said["port"] = port
    if prefix := fields.get(CONF_TOPIC_PREFIX):
        said["topic_prefix"] = prefix
    provider: dict[str, Any] = {}
    if audience := fields.get(CONF_AUDIENCE):
        provider["jwt"] = {"audience": audience}
    if username := fields.get(CONF_USERNAME):
        provider["basic"] = {"username": username, "password": fields.get(CONF_PASSWORD, "")}
    return {**said, "auth_provider": provider} if provider else said


async def _async_ca(hass: HomeAssistant, uploads: Uploads, files: Mapping[str, Any]) -> str | None:
    if CONF_CA not in files:
        return None
    try:
        content = await uploads.async_read(hass, files[CONF_CA])
        return await hass.async_add_executor_job(read_ca, content)
    except UploadError as err:
        raise FieldError("base", err.reason) from err
    except CredentialsError as err:
        raise FieldError("base", "unusable_files") from err


async def _async_keys(
    hass: HomeAssistant, uploads: Uploads, files: Mapping[str, Any]
) -> KeyPair | None:
    if CONF_PRIVATE_KEY not in files:
        if CONF_CERTIFICATE in files:
            raise FieldError("base", "both_files")
        return None
    try:
        key = await uploads.async_read(hass, files[CONF_PRIVATE_KEY])
        certificate = b""
        if CONF_CERTIFICATE in files:
            certificate = await uploads.async_read(hass, files[CONF_CERTIFICATE])
        pair: KeyPair = await hass.async_add_executor_job(checked_pair, key, certificate)
    except UploadError as err:
        raise FieldError("base", err.reason) from err
    except KeyUnusable as err:
        _LOGGER.info("A key or certificate can't be used: %s", err)
        raise FieldError("base", "unusable_files") from err
    return pair


async def async_check_site(hass: HomeAssistant, site: CheckedSite) -> None:
    """Connect once as it will be done later; raises FormError that says why not.

    A site lets a name connect once, so a running connection of it is ended.
    """
    run, endpoint = hass.async_add_executor_job, site.endpoint
    try:
        proof: Authentication = await run(authentication, endpoint, site.keys, time.time)
        tls = None
        if endpoint.encrypted:
            shown = site.keys if proof.kind is not Kind.TOKEN else None
            certificate = shown.certificate or None if shown else None
            key = shown.private_key if shown and certificate else None
            tls = await run(client_context, site.ca, certificate, key, create_client_context)
    except (KeyUnusable, UnusableFiles) as err:
        _LOGGER.info("Key and certificate can't be used: %s", err)
        raise FieldError("base", "unusable_files") from err
    broker = Broker(
        host=endpoint.hostname,
        port=endpoint.port,
        client_id=endpoint.client_id,
        tls=tls,
        unencrypted=tls is None,
        username=proof.username,
        password=proof.password,
    )
    connection = MqttConnection(
        broker, on_message=lambda _topic, _payload, _retained: None, on_end=lambda: None
    )
    try:
        await connection.open()
    except CloudError as err:
        reason = err.reason if err.reason in SHOWN else Reason.CANNOT_CONNECT
        _LOGGER.info("%s can't be used: %s", endpoint.address, one_line(err))
        raise FieldError("base", reason) from err
    finally:
        await connection.close()


def site_is_taken(hass: HomeAssistant, site: CheckedSite, but: str | None) -> bool:
    """Whether another destination of any account is this gateway; *but* is a subentry's ID."""
    entries: list[ConfigEntry] = hass.config_entries.async_entries(DOMAIN)
    return any(
        each.unique_id == site.unique_id and each.subentry_id != but
        for entry in entries
        for each in entry.get_subentries_of_type(SUBENTRY_UDMI)
    )


def check_devices(typed: Mapping[str, Any], own_id: str) -> dict[str, Any]:
    """Return which device is which proxy, and which entity which point; raises FormError."""
    prefix = str(typed.get(CONF_PREFIX, "")).strip()
    if not _PREFIX.fullmatch(prefix):
        raise FieldError(CONF_PREFIX, "prefix_invalid")
    proxies = [
        {CONF_DEVICE: each[CONF_DEVICE], CONF_PROXY_ID: str(each[CONF_PROXY_ID]).strip()}
        for each in typed.get(CONF_PROXIES, [])
    ]
    ids = [each[CONF_PROXY_ID] for each in proxies]
    if wrong := [each for each in ids if not is_device_id(each)]:
        raise FieldError(CONF_PROXIES, "proxy_invalid", wrong[0])
    if (twice := _twice([own_id, *ids])) is not None:
        raise FieldError(CONF_PROXIES, "proxy_twice", twice)
    if _twice([each[CONF_DEVICE] for each in proxies]) is not None:
        raise FieldError(CONF_PROXIES, "device_twice")
    points = [_point(each) for each in typed.get(CONF_POINTS, [])]
    if wrong := [each[CONF_POINT] for each in points if not NAME.fullmatch(each[CONF_POINT])]:
        raise FieldError(CONF_POINTS, "point_invalid", wrong[0])
    named = [f"{each.get(CONF_DEVICE, '')} {each[CONF_POINT]}" for each in points]
    if (twice := _twice(named)) is not None:
        raise FieldError(CONF_POINTS, "point_twice", twice.rpartition(" ")[2])
    hosts = [str(each).strip() for each in typed.get(CONF_APPROVED_HOSTS, [])]
    if wrong := [each for each in hosts if not is_host(each)]:
        raise FieldError(CONF_APPROVED_HOSTS, "host_invalid", wrong[0])
    return {
        CONF_PREFIX: prefix,
        CONF_PROXIES: proxies,
        CONF_POINTS: points,
        CONF_APPROVED_HOSTS: hosts,
    }


def _point(typed: Mapping[str, Any]) -> dict[str, Any]:
    point = {
        CONF_POINT: str(typed[CONF_POINT]).strip(),
        CONF_ENTITY: typed[CONF_ENTITY],
        CONF_WRITABLE: bool(typed.get(CONF_WRITABLE)),
    }
    optional = {name: typed.get(name) for name in (CONF_DEVICE, CONF_UNITS)}
    return point | {name: said for name, said in optional.items() if said}


def _twice(names: Sequence[str]) -> str | None:
    """Return what stands there twice."""
    seen: set[str] = set()
    for each in names:
        if each in seen:
            return each
        seen.add(each)
    return None
