"""What must hold before captures go to a collector, up to an answer of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util.ssl import create_client_context

from ..account.destination_keys import StoredKeys
from ..cloud.errors import ApiTokenRefused, CloudError
from ..cloud.otlp.client import OtlpClient
from ..cloud.otlp.endpoint import (
    Endpoint,
    InvalidEndpoint,
    InvalidHeaders,
    is_encrypted,
    read_headers,
    read_url,
)
from ..cloud.tls import UnusableFiles, client_context
from ..cloud.ulogger.credentials import Credentials, CredentialsError, read_ca
from ..const import (
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_ENTITIES,
    CONF_HEADERS,
    CONF_METRICS,
    CONF_PRIVATE_KEY,
    CONF_UNENCRYPTED,
    CONF_URL,
)
from ..model.reason import Reason
from .account_checks import FormError
from .uploaded_files import UploadError, Uploads

CONF_FORGET: Final = "forget"
SECTION_TLS: Final = "tls"
ANSWER_WITHIN: Final = 15.0
"""Seconds that a collector has while a person waits."""
SHOWN: Final = frozenset(
    {
        Reason.API_TOKEN_REFUSED,
        Reason.CANNOT_CONNECT,
        Reason.COLLECTOR_OVERLOADED,
        Reason.MESSAGE_REFUSED,
        Reason.NOT_ACKNOWLEDGED,
        Reason.NOT_A_COLLECTOR,
        Reason.REDIRECTED,
        Reason.TIMEOUT,
        Reason.TLS_UNTRUSTED,
        Reason.UNKNOWN_HOST,
    }
)
"""Reasons that have a text of their own in the form."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A collector that answered: what the config subentry holds, and what its private file does."""

    data: dict[str, Any]
    keys: StoredKeys


async def async_check_collector(
    hass: HomeAssistant,
    uploads: Uploads,
    typed: Mapping[str, Any],
    present: Mapping[str, Any],
    kept: StoredKeys,
) -> Checked:
    """Return what was typed, tried at the collector; what is not typed stays. Raises FormError."""
    url = _url(typed)
    files = typed.get(SECTION_TLS, {})
    if files.get(CONF_FORGET):
        present, kept = {}, {}
    headers = _headers(typed) or kept.get(CONF_HEADERS, {})
    ca = await _ca(hass, uploads, files) or present.get(CONF_CA)
    certificate, key = present.get(CONF_CERTIFICATE), kept.get(CONF_PRIVATE_KEY)
    if CONF_CERTIFICATE in files or CONF_PRIVATE_KEY in files:
        certificate, key = await _certificate(hass, uploads, files)
    endpoint = Endpoint(url, headers)
    if is_encrypted(url):
        try:
            tls = await hass.async_add_executor_job(
                client_context, ca, certificate, key, create_client_context
            )
        except UnusableFiles as err:
            raise FormError(**{SECTION_TLS: "unusable_files"}) from err
        endpoint = Endpoint(url, headers, tls)
    client = OtlpClient(async_get_clientsession(hass), endpoint, timeout=ANSWER_WITHIN)
    try:
        await client.probe(metrics=typed[CONF_METRICS])
    except ApiTokenRefused as err:
        raise FormError(**{CONF_HEADERS: err.reason}) from err
    except CloudError as err:
        reason = err.reason if err.reason in SHOWN else Reason.CANNOT_CONNECT
        raise FormError(**{CONF_URL: reason}) from err
    data = {
        CONF_URL: url,
        CONF_METRICS: typed[CONF_METRICS],
        CONF_ENTITIES: list(typed.get(CONF_ENTITIES, [])),
    }
    data |= {name: text for name, text in ((CONF_CA, ca), (CONF_CERTIFICATE, certificate)) if text}
    keys: StoredKeys = {CONF_HEADERS: headers}
    if key:
        keys[CONF_PRIVATE_KEY] = key
    return Checked(data, keys)


def _url(typed: Mapping[str, Any]) -> str:
    try:
        url = read_url(typed[CONF_URL])
    except InvalidEndpoint as err:
        raise FormError(**{CONF_URL: err.reason}) from err
    if not is_encrypted(url) and not typed.get(CONF_UNENCRYPTED):
        raise FormError(**{CONF_URL: "unencrypted"})
    return url


def _headers(typed: Mapping[str, Any]) -> dict[str, str]:
    try:
        return read_headers(typed.get(CONF_HEADERS, ""))
    except InvalidHeaders as err:
        raise FormError(**{CONF_HEADERS: "invalid_headers"}) from err


async def _ca(hass: HomeAssistant, uploads: Uploads, files: Mapping[str, Any]) -> str | None:
    if CONF_CA not in files:
        return None
    try:
        content = await uploads.async_read(hass, files[CONF_CA])
        return await hass.async_add_executor_job(read_ca, content)
    except UploadError as err:
        raise FormError(**{SECTION_TLS: err.reason}) from err
    except CredentialsError as err:
        raise FormError(**{SECTION_TLS: "unusable_files"}) from err


async def _certificate(
    hass: HomeAssistant, uploads: Uploads, files: Mapping[str, Any]
) -> tuple[str, str]:
    if CONF_CERTIFICATE not in files or CONF_PRIVATE_KEY not in files:
        raise FormError(**{SECTION_TLS: "both_files"})
    try:
        certificate = await uploads.async_read(hass, files[CONF_CERTIFICATE])
        key = await uploads.async_read(hass, files[CONF_PRIVATE_KEY])
        checked = await hass.async_add_executor_job(Credentials.checked, certificate, key)
    except UploadError as err:
        raise FormError(**{SECTION_TLS: err.reason}) from err
    except CredentialsError as err:
        raise FormError(**{SECTION_TLS: "unusable_files"}) from err
    return checked.certificate, checked.private_key
