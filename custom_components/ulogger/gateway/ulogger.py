"""From a config entry to uLogger: credentials, the way there, tokens."""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeassistant.components import mqtt
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ConfigEntryAuthFailed, ConfigEntryNotReady
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util.ssl import create_client_context

from .. import const as c
from ..account.key_store import async_load_secrets
from ..account.store import AccountStore
from ..cloud.mqtt.broker import Broker
from ..cloud.mqtt.client import MqttTransport
from ..cloud.mqtt.rate_limit import RateLimit
from ..cloud.mqtt.transport import Transport
from ..cloud.ulogger.cloud import UloggerCloud
from ..cloud.ulogger.credentials import Credentials, CredentialsError, build_tls_context
from ..cloud.ulogger.http import HttpTelemetry
from ..cloud.ulogger.over_http import UloggerOverHttp
from ..cloud.ulogger.tokens import TokenCache
from ..cloud.ulogger.topics import LONGEST, LONGEST_AT_AWS
from .home_assistant_mqtt import HomeAssistantTransport

_LOGGER = logging.getLogger(__name__)

AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True)
class Ulogger:
    """An account's uLogger, and when its certificate ends."""

    cloud: UloggerCloud
    certificate_expiry: datetime | None = None

    @property
    def transport(self) -> Transport:
        """What carries its messages."""
        return self.cloud.transport


def client_id(entry: ConfigEntry[Any]) -> str:
    """Name this gateway to the broker: the same always, and nobody else's."""
    return f"cust-{entry.data[c.CONF_CUSTOMER_ID]}-ha-{entry.data[c.CONF_CLIENT_SUFFIX]}"


def keeps_pace(data: Mapping[str, Any]) -> bool:
    """Whether an account keeps to AWS IoT's limits: by default where AWS IoT answers."""
    if (pace := data.get(c.CONF_PACE, c.PACE_AUTO)) != c.PACE_AUTO:
        return bool(pace == c.PACE_ALWAYS)
    return _is_aws(data[c.CONF_BROKER])


def _is_aws(host: str) -> bool:
    """Whether AWS IoT answers at a broker's name."""
    host = host.lower().rstrip(".")
    return host == c.DEFAULT_BROKER or host.endswith(AMAZON)


async def async_set_up_ulogger(
    hass: HomeAssistant, entry: ConfigEntry[Any], store: AccountStore
) -> Ulogger | None:
    """Make the account's uLogger; nothing connects yet. None where no captures go there.

    Raises ConfigEntryAuthFailed when the certificate can't be used at all, and
    ConfigEntryNotReady when Home Assistant's MQTT integration, if chosen, is not there.
    """
    if entry.data[c.CONF_CONNECTION] in c.WITHOUT_CAPTURES:
        return None
    secrets = await async_load_secrets(hass, entry)
    expiry: datetime | None = None
    # At the other end of a bridge is uLogger's own broker.
    longest_topic = LONGEST_AT_AWS
    transport: Transport
    if entry.data[c.CONF_CONNECTION] == c.CONNECTION_HOME_ASSISTANT:
        if not await mqtt.async_wait_for_mqtt_client(hass):
            raise ConfigEntryNotReady(
                translation_domain=c.DOMAIN, translation_key="mqtt_not_available"
            )
        transport = HomeAssistantTransport(hass)
    else:
        key = secrets.get(c.CONF_PRIVATE_KEY, "")
        try:
            context, expiry = await hass.async_add_executor_job(_tls, entry, key)
        except CredentialsError as err:
            _LOGGER.info("The certificate of %s can't be used: %s", entry.title, err)
            raise ConfigEntryAuthFailed(
                translation_domain=c.DOMAIN,
                translation_key="credentials_unusable",
            ) from err
        host = entry.data[c.CONF_BROKER]
        if not _is_aws(host):
            longest_topic = LONGEST
        transport = MqttTransport(
            Broker(
                host=host,
                port=entry.data[c.CONF_PORT],
                client_id=client_id(entry),
                tls=context,
            ),
            pace=RateLimit() if keeps_pace(entry.data) else None,
        )
    cloud = UloggerCloud(
        transport,
        customer_id=entry.data[c.CONF_CUSTOMER_ID],
        group_id=entry.data[c.CONF_GROUP_ID],
        topic_prefix=entry.data.get(c.CONF_TOPIC_PREFIX, ""),
        longest_topic=longest_topic,
        tokens=TokenCache(store.tokens, store.async_save_tokens, save_soon=store.save_tokens_soon),
        http=_http(hass, entry, secrets.get(c.CONF_API_TOKEN)),
    )
    return Ulogger(cloud, expiry)


async def async_set_up_over_http(
    hass: HomeAssistant, entry: ConfigEntry[Any]
) -> UloggerOverHttp | None:
    """Make the way that metrics and events go of an account with an API token alone.

    None for any other account. Raises ConfigEntryAuthFailed when there is no token.
    """
    if entry.data[c.CONF_CONNECTION] != c.CONNECTION_HTTP:
        return None
    secrets = await async_load_secrets(hass, entry)
    if (http := _http(hass, entry, secrets.get(c.CONF_API_TOKEN))) is None:
        raise ConfigEntryAuthFailed(
            translation_domain=c.DOMAIN,
            translation_key="api_token_refused",
            translation_placeholders={"device": entry.title, "detail": ""},
        )
    return UloggerOverHttp(http)


def _http(hass: HomeAssistant, entry: ConfigEntry[Any], token: str | None) -> HttpTelemetry | None:
    """Make the way that metrics and events go while there is no MQTT, if there is a token."""
    if not token:
        return None
    session = async_get_clientsession(hass)
    url = entry.data.get(c.CONF_API_BASE_URL, c.DEFAULT_API_BASE_URL)
    return HttpTelemetry(session, token, group_id=entry.data[c.CONF_GROUP_ID], url=url)


def _tls(entry: ConfigEntry[Any], key: str) -> tuple[ssl.SSLContext, datetime]:
    """Read the credentials; blocks. An expired certificate is the broker's to refuse."""
    credentials = Credentials(entry.data[c.CONF_CERTIFICATE], key, entry.data.get(c.CONF_CA))
    return build_tls_context(credentials, create_client_context), credentials.expires_at
