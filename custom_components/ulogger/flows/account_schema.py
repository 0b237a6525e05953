"""The forms that an account is set up and changed with."""

from collections.abc import Sequence

import probatio
from homeassistant.config_entries import ConfigEntry
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    FileSelector,
    FileSelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)

from ..const import (
    CONF_API_BASE_URL,
    CONF_API_TOKEN,
    CONF_BROKER,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_CUSTOMER_ID,
    CONF_GROUP_ID,
    CONF_PACE,
    CONF_PORT,
    CONF_PRIVATE_KEY,
    CONF_TOPIC_PREFIX,
    DEFAULT_BROKER,
    DEFAULT_PORT,
    PACE_ALWAYS,
    PACE_AUTO,
    PACE_NEVER,
)
from .numbers import whole_number

CONF_ARCHIVE = "archive"
CONF_REMOVE_CA = "remove_ca"
CONF_ACCOUNT = "account"
SECTION_ADVANCED = "advanced"

LAST_PORT = 65535

ID_SELECTOR = NumberSelector(NumberSelectorConfig(mode=NumberSelectorMode.BOX))
PORT_SELECTOR = whole_number(1, LAST_PORT)
PACE_SELECTOR = SelectSelector(
    SelectSelectorConfig(
        options=[PACE_AUTO, PACE_ALWAYS, PACE_NEVER],
        translation_key="pace",
        mode=SelectSelectorMode.DROPDOWN,
    )
)
URL_SELECTOR = TextSelector(TextSelectorConfig(type=TextSelectorType.URL))
TOKEN_SELECTOR = TextSelector(
    TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off")
)
ARCHIVE_SELECTOR = FileSelector(FileSelectorConfig(accept=".zip,application/zip"))
CERTIFICATE_SELECTOR = FileSelector(
    FileSelectorConfig(accept=".crt,.pem,.cer,.der,application/x-x509-user-cert")
)
PRIVATE_KEY_SELECTOR = FileSelector(FileSelectorConfig(accept=".key,.pem,.der,application/pkcs8"))
CA_SELECTOR = FileSelector(
    FileSelectorConfig(accept=".crt,.pem,.cer,.der,application/x-x509-ca-cert")
)

UPLOADS = {
    probatio.Optional(CONF_ARCHIVE): ARCHIVE_SELECTOR,
    probatio.Optional(CONF_CERTIFICATE): CERTIFICATE_SELECTOR,
    probatio.Optional(CONF_PRIVATE_KEY): PRIVATE_KEY_SELECTOR,
}
UPLOADS_SCHEMA = probatio.Schema(UPLOADS)
TOKEN_SCHEMA = probatio.Schema({probatio.Required(CONF_API_TOKEN): TOKEN_SELECTOR})


def certificate_schema(*, new: bool, has_ca: bool, broker_failed: bool = False) -> probatio.Schema:
    """Return the form of an own connection; the customer of an account never changes.

    The broker's section is open when something is wrong there.
    """
    advanced = {
        probatio.Required(CONF_BROKER, default=DEFAULT_BROKER): TextSelector(),
        probatio.Required(CONF_PORT, default=DEFAULT_PORT): PORT_SELECTOR,
        probatio.Optional(CONF_PACE): PACE_SELECTOR,
        probatio.Optional(CONF_CA): CA_SELECTOR,
        probatio.Optional(CONF_API_BASE_URL): URL_SELECTOR,
    }
    if has_ca:
        advanced[probatio.Optional(CONF_REMOVE_CA, default=False)] = BooleanSelector()
    return probatio.Schema(
        {
            **_account(new=new),
            **UPLOADS,
            probatio.Required(SECTION_ADVANCED): section(
                probatio.Schema(advanced), {"collapsed": not broker_failed}
            ),
        }
    )


def token_schema(*, new: bool) -> probatio.Schema:
    """Return the form of an account with an API token alone; left empty, the present one stays."""
    token = probatio.Required if new else probatio.Optional
    advanced = {probatio.Optional(CONF_API_BASE_URL): URL_SELECTOR}
    return probatio.Schema(
        {
            **_account(new=new),
            token(CONF_API_TOKEN): TOKEN_SELECTOR,
            probatio.Required(SECTION_ADVANCED): section(
                probatio.Schema(advanced), {"collapsed": True}
            ),
        }
    )


def bridge_schema(*, new: bool) -> probatio.Schema:
    """Return the form of an account that goes through Home Assistant's own MQTT."""
    return probatio.Schema(
        {**_account(new=new), probatio.Optional(CONF_TOPIC_PREFIX): TextSelector()}
    )


def accounts_schema(accounts: Sequence[ConfigEntry]) -> probatio.Schema:
    """Ask which account an application belongs to, unless there is only one."""
    if len(accounts) == 1:
        return probatio.Schema({})
    options = [
        SelectOptionDict(value=account.entry_id, label=account.title) for account in accounts
    ]
    selector = SelectSelector(SelectSelectorConfig(options=options, mode=SelectSelectorMode.LIST))
    return probatio.Schema({probatio.Required(CONF_ACCOUNT): selector})


def _account(*, new: bool) -> dict[probatio.Marker, NumberSelector]:
    customer: dict[probatio.Marker, NumberSelector] = {
        # A number that must be given is filled in with 0 by Home Assistant's forms.
        probatio.Optional(CONF_CUSTOMER_ID): ID_SELECTOR
    }
    group: dict[probatio.Marker, NumberSelector] = {
        probatio.Required(CONF_GROUP_ID, default=0): ID_SELECTOR
    }
    return customer | group if new else group
