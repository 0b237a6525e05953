"""Everything that must hold before an account is created or changed, up to a real connection."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import probatio
from homeassistant.components import mqtt
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.translation import async_get_translations
from homeassistant.util.network import is_host_valid
from homeassistant.util.ssl import create_client_context
from yarl import URL

from ..account.key_store import async_load_key, async_load_secrets
from ..cloud.errors import ApiTokenRefused, CloudError, CredentialsRefused
from ..cloud.mqtt.probe import check_connection
from ..cloud.ulogger.credentials import (
    Credentials,
    CredentialsError,
    build_tls_context,
    read_ca,
    read_certificate_zip,
)
from ..cloud.ulogger.http import HttpTelemetry
from ..cloud.ulogger.over_http import check_token
from ..const import (
    CONF_API_BASE_URL,
    CONF_API_TOKEN,
    CONF_BROKER,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CLIENT_SUFFIX,
    CONF_CONNECTION,
    CONF_CUSTOMER_ID,
    CONF_GROUP_ID,
    CONF_PACE,
    CONF_PORT,
    CONF_PRIVATE_KEY,
    CONF_TOPIC_PREFIX,
    CONNECTION_HOME_ASSISTANT,
    CONNECTION_HTTP,
    CONNECTION_MQTT,
    CONNECTION_NONE,
    DEFAULT_API_BASE_URL,
    DOMAIN,
    PACE_AUTO,
    ULOGGER_TITLE,
)
from .account_schema import CONF_ARCHIVE, CONF_REMOVE_CA, LAST_PORT, SECTION_ADVANCED
from .api_token import InvalidOption, parse_api_token
from .uploaded_files import UploadError, Uploads

ONLY_HERE = "only_here"
NAMED = f"{ULOGGER_TITLE} {{customer}}"
OF_GROUP = NAMED + " (group {group})"
LARGEST_ID = 0xFFFFFFFF
ANSWER_WITHIN = 15.0
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
FILES = {CONF_CERTIFICATE: "missing_certificate", CONF_PRIVATE_KEY: "missing_private_key"}
"""The two files that can be uploaded instead of the zip, and what to say when one is missing."""


class FormError(Exception):
    """What was typed or uploaded can't be taken: for each field the key of its message.

    A form shows nothing beside a field within a section: such an error stands at the section.
    """

    def __init__(self, **errors: str) -> None:
        """Keep the errors."""
        super().__init__(errors)
        self.errors = errors


def account_unique_id(data: Mapping[str, Any]) -> str:
    """Name an account at uLogger: one entry for each customer and group."""
    return f"{data[CONF_CUSTOMER_ID]}-{data[CONF_GROUP_ID]}"


def account_title(data: Mapping[str, Any], of_group: str = OF_GROUP) -> str:
    """Return what an account is called until a person renames it."""
    if data.get(CONF_CONNECTION) == CONNECTION_NONE:
        return ULOGGER_TITLE
    customer, group = data[CONF_CUSTOMER_ID], data[CONF_GROUP_ID]
    return (of_group if group else NAMED).format(customer=customer, group=group)


async def async_account_title(hass: HomeAssistant, data: Mapping[str, Any]) -> str:
    """Return what an account is called at first, in Home Assistant's language."""
    texts = await async_get_translations(hass, hass.config.language, "device", {DOMAIN})
    return account_title(data, texts[f"component.{DOMAIN}.device.account_of_group.name"])


def new_client_suffix() -> str:
    """Make up what tells this gateway from others; an account keeps it for good."""
    return secrets.token_hex(4)


async def async_check_certificate(
    hass: HomeAssistant, uploads: Uploads, typed: Mapping[str, Any], entry: ConfigEntry | None
) -> dict[str, Any]:
    """Return the data of an account with a connection of its own, tried on the broker."""
    ids = _check_ids(hass, typed, entry)
    advanced = typed[SECTION_ADVANCED]
    broker = advanced[CONF_BROKER].strip()
    if not is_host_valid(broker):
        raise FormError(**{SECTION_ADVANCED: "invalid_broker"})
    if not 1 <= advanced[CONF_PORT] <= LAST_PORT:
        raise FormError(**{SECTION_ADVANCED: "invalid_port"})
    present = {} if entry is None else entry.data
    ca = None if advanced.get(CONF_REMOVE_CA) else present.get(CONF_CA)
    if CONF_CA in advanced:
        with _blaming(SECTION_ADVANCED):
            content = await uploads.async_read(hass, advanced[CONF_CA])
            ca = await hass.async_add_executor_job(read_ca, content)
    key = None if entry is None else await async_load_key(hass, entry)
    kept = None if key is None else (present[CONF_CERTIFICATE], key)
    credentials = await _async_credentials(hass, uploads, typed, kept, ca)
    data = {
        **ids,
        CONF_CONNECTION: CONNECTION_MQTT,
        CONF_CERTIFICATE: credentials.certificate,
        CONF_PRIVATE_KEY: credentials.private_key,
        CONF_BROKER: broker,
        CONF_PORT: advanced[CONF_PORT],
        CONF_CA: ca,
        CONF_TOPIC_PREFIX: "",
    }
    data |= _api(typed)
    if (pace := advanced.get(CONF_PACE, PACE_AUTO)) != PACE_AUTO:
        data[CONF_PACE] = pace
    await _async_try(hass, credentials, data, typed, broker_field=SECTION_ADVANCED)
    return data


async def async_check_renewal(
    hass: HomeAssistant, uploads: Uploads, typed: Mapping[str, Any], entry: ConfigEntry
) -> dict[str, Any]:
    """Return the new certificate and key of an account, tried on its broker."""
    credentials = await _async_credentials(hass, uploads, typed, None, entry.data[CONF_CA])
    await _async_try(hass, credentials, entry.data, typed, broker_field="base")
    return {
        CONF_CERTIFICATE: credentials.certificate,
        CONF_PRIVATE_KEY: credentials.private_key,
    }


async def async_check_bridge(
    hass: HomeAssistant, typed: Mapping[str, Any], entry: ConfigEntry | None
) -> dict[str, Any]:
    """Return the data of an account that goes through Home Assistant's own MQTT."""
    ids = _check_ids(hass, typed, entry)
    prefix = typed.get(CONF_TOPIC_PREFIX, "").strip()
    if prefix:
        prefix = f"{prefix.rstrip('/')}/"
        try:
            mqtt.valid_publish_topic(prefix)
        except probatio.Invalid as err:
            raise FormError(**{CONF_TOPIC_PREFIX: "invalid_topic_prefix"}) from err
    if not await mqtt.async_wait_for_mqtt_client(hass):
        raise FormError(base="mqtt_not_set_up")
    if not mqtt.is_connected(hass):
        raise FormError(base="mqtt_not_connected")
    return {**ids, CONF_CONNECTION: CONNECTION_HOME_ASSISTANT, CONF_TOPIC_PREFIX: prefix}


async def async_check_http(
    hass: HomeAssistant, typed: Mapping[str, Any], entry: ConfigEntry | None
) -> dict[str, Any]:
    """Return the data of an account with an API token alone, tried on the API."""
    ids = _check_ids(hass, typed, entry)
    data = {**ids, CONF_CONNECTION: CONNECTION_HTTP, CONF_TOPIC_PREFIX: "", **_api(typed)}
    if entry is not None and not typed.get(CONF_API_TOKEN):
        kept = (await async_load_secrets(hass, entry)).get(CONF_API_TOKEN, "")
        typed = {**typed, CONF_API_TOKEN: kept}
    return {**data, **await async_check_token(hass, typed, data)}


async def async_check_token(
    hass: HomeAssistant, typed: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a new API token of an account, tried on its API."""
    try:
        token = parse_api_token(typed.get(CONF_API_TOKEN, ""))
    except InvalidOption as err:
        raise FormError(**{CONF_API_TOKEN: str(err)}) from err
    if not token:
        raise FormError(**{CONF_API_TOKEN: "invalid_api_token"})
    http = HttpTelemetry(
        async_get_clientsession(hass),
        token,
        group_id=data[CONF_GROUP_ID],
        url=data.get(CONF_API_BASE_URL, DEFAULT_API_BASE_URL),
    )
    try:
        await check_token(http)
    except ApiTokenRefused as err:
        raise FormError(**{CONF_API_TOKEN: err.reason}) from err
    except CloudError as err:
        raise FormError(base="api_unreachable") from err
    return {CONF_API_TOKEN: token}


def _api(typed: Mapping[str, Any]) -> dict[str, str]:
    """Return where the API is, unless that is uLogger's own.

    The token goes there, so it is encrypted; within this machine it need not be.
    """
    url = typed[SECTION_ADVANCED].get(CONF_API_BASE_URL, "").strip().rstrip("/")
    if not url or url == DEFAULT_API_BASE_URL:
        return {}
    try:
        parsed = URL(url)
    except ValueError as err:
        raise FormError(**{SECTION_ADVANCED: "invalid_api_url"}) from err
    safe = parsed.scheme == "https" or parsed.host in LOOPBACK
    plain = not (parsed.query_string or parsed.fragment or parsed.user or parsed.password)
    if parsed.scheme not in {"http", "https"} or not (parsed.host and safe and plain):
        raise FormError(**{SECTION_ADVANCED: "invalid_api_url"})
    return {CONF_API_BASE_URL: url}


def _check_ids(
    hass: HomeAssistant, typed: Mapping[str, Any], entry: ConfigEntry | None
) -> dict[str, Any]:
    """Return who the account is: whole numbers, and no other account's."""
    present = {CONF_CLIENT_SUFFIX: new_client_suffix()} if entry is None else entry.data
    customer = typed.get(CONF_CUSTOMER_ID, present.get(CONF_CUSTOMER_ID))
    group = typed[CONF_GROUP_ID]
    errors = {}
    if customer is None:
        errors[CONF_CUSTOMER_ID] = "no_customer_id"
    elif not (0 < customer <= LARGEST_ID and customer == int(customer)):
        errors[CONF_CUSTOMER_ID] = "not_positive"
    if not (0 <= group <= LARGEST_ID and group == int(group)):
        errors[CONF_GROUP_ID] = "negative"
    if errors:
        raise FormError(**errors)
    ids = {CONF_CUSTOMER_ID: int(customer), CONF_GROUP_ID: int(group)}
    other = hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, account_unique_id(ids))
    if other not in (None, entry):
        raise FormError(**{CONF_GROUP_ID: "account_exists"})
    return {**ids, CONF_CLIENT_SUFFIX: present[CONF_CLIENT_SUFFIX]}


async def _async_credentials(
    hass: HomeAssistant,
    uploads: Uploads,
    typed: Mapping[str, Any],
    kept: tuple[str, str] | None,
    ca: str | None,
) -> Credentials:
    """Return checked credentials: from the zip file, from two files, or those there are."""
    files = [field for field in FILES if field in typed]
    if CONF_ARCHIVE in typed:
        if files:
            raise FormError(**{CONF_ARCHIVE: "archive_or_files"})
        with _blaming(CONF_ARCHIVE):
            content = await uploads.async_read(hass, typed[CONF_ARCHIVE])
            return await hass.async_add_executor_job(read_certificate_zip, content, ca)
    if files:
        contents = {}
        for field, missing in FILES.items():
            if field not in typed:
                raise FormError(**{field: missing})
            with _blaming(field):
                contents[field] = await uploads.async_read(hass, typed[field])
        certificate, private_key = contents.values()
        with _blaming():
            return await hass.async_add_executor_job(
                Credentials.checked, certificate, private_key, ca
            )
    if kept is None:
        raise FormError(**{CONF_ARCHIVE: "missing_archive"})
    with _blaming(CONF_ARCHIVE):
        return await hass.async_add_executor_job(Credentials.checked, *kept, ca)


async def _async_try(
    hass: HomeAssistant,
    credentials: Credentials,
    data: Mapping[str, Any],
    typed: Mapping[str, Any],
    *,
    broker_field: str,
) -> None:
    """Connect to the broker and be let in, under a name that ends nobody's connection."""
    certificate_field = CONF_CERTIFICATE if CONF_CERTIFICATE in typed else CONF_ARCHIVE
    with _blaming(certificate_field):
        context = await hass.async_add_executor_job(
            build_tls_context, credentials, create_client_context
        )
    client_id = f"cust-{data[CONF_CUSTOMER_ID]}-ha-{secrets.token_hex(4)}"
    try:
        await check_connection(
            data[CONF_BROKER],
            data[CONF_PORT],
            context,
            client_id=client_id,
            seconds=ANSWER_WITHIN,
        )
    except CredentialsRefused as err:
        raise FormError(**{certificate_field: err.reason}) from err
    except CloudError as err:
        raise FormError(**{broker_field: err.reason}) from err


@contextmanager
def _blaming(field: str = "") -> Iterator[None]:
    """Turn what is wrong with a file into the error of a field; by default the fault's own."""
    try:
        yield
    except UploadError as err:
        raise FormError(**{field: err.reason}) from err
    except CredentialsError as err:
        raise FormError(**{field or err.field: err.reason}) from err
