"""Set up an account, change it, renew its certificate; ask before a device is collected."""

from collections.abc import Mapping
from typing import Any, override

import probatio
from bluetooth_data_tools import human_readable_name
from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import BluetoothServiceInfoBleak
from homeassistant.config_entries import (
    SOURCE_BLUETOOTH,
    SOURCE_RECONFIGURE,
    ConfigFlow,
    ConfigFlowContext,
    ConfigFlowResult,
    ConfigSubentryFlow,
)
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.typing import DiscoveryInfoType

from .account.approval import (
    application_unique_id,
    approving_entry,
    room_for_cards,
    with_application,
)
from .const import (
    ATTR_ADDRESS,
    ATTR_APPLICATION_ID,
    ATTR_DEVICE_TYPE,
    ATTR_NAME,
    CONF_CLIENT_SUFFIX,
    CONF_CONFIRMED_ADDRESS,
    CONF_CONNECTION,
    CONNECTION_HTTP,
    CONNECTION_NONE,
    DOMAIN,
    ENTRY_VERSION,
    SUBENTRY_CLESYDE,
    SUBENTRY_FIRMWARE,
    SUBENTRY_FOLDER,
    SUBENTRY_OTLP,
    SUBENTRY_PEPEUNIT,
    SUBENTRY_UDMI,
    SUBENTRY_ULOGGER,
    WITHOUT_CAPTURES,
)
from .flows.account_checks import (
    ONLY_HERE,
    FormError,
    account_unique_id,
    async_account_title,
    async_check_renewal,
    async_check_token,
    new_client_suffix,
)
from .flows.account_schema import CONF_ACCOUNT, TOKEN_SCHEMA, UPLOADS_SCHEMA, accounts_schema
from .flows.account_steps import CONNECTIONS, AccountSteps, async_changed_title, async_without_key
from .flows.clesyde_flow import ClesydeSubentryFlow
from .flows.firmware_flow import FirmwareImageFlow
from .flows.folder_flow import FolderSubentryFlow
from .flows.options_flow import UloggerOptionsFlow
from .flows.otlp_flow import OtlpSubentryFlow
from .flows.pepeunit_flow import PepeunitSubentryFlow
from .flows.udmi_flow import UdmiSubentryFlow
from .flows.ulogger_flow import UloggerSubentryFlow
from .flows.uploaded_files import Uploads
from .gateway.gateway import UloggerConfigEntry
from .model.plain_text import plain_text

FIRST_CONNECTIONS = [*CONNECTIONS, "only_here"]
MOST_WITHOUT_CARD = 256


class UloggerConfigFlow(
    AccountSteps[ConfigFlowContext, ConfigFlowResult, str], ConfigFlow, domain=DOMAIN
):
    """One entry for each customer and group, and one for an account without a cloud."""

    VERSION = ENTRY_VERSION

    def __init__(self) -> None:
        self._uploads = Uploads()
        self._confirmed_address: str | None = None
        self._question: DiscoveryInfoType = {}

    @staticmethod
    @callback
    @override
    def async_get_options_flow(config_entry: UloggerConfigEntry) -> UloggerOptionsFlow:
        """Return the flow that changes the options."""
        return UloggerOptionsFlow()

    @classmethod
    @callback
    @override
    def async_get_supported_subentry_types(
        cls, config_entry: UloggerConfigEntry
    ) -> dict[str, type[ConfigSubentryFlow]]:
        """Return what can be added; an account has one uLogger at most."""
        flows: dict[str, type[ConfigSubentryFlow]] = {
            SUBENTRY_CLESYDE: ClesydeSubentryFlow,
            SUBENTRY_FIRMWARE: FirmwareImageFlow,
            SUBENTRY_FOLDER: FolderSubentryFlow,
            SUBENTRY_OTLP: OtlpSubentryFlow,
            SUBENTRY_PEPEUNIT: PepeunitSubentryFlow,
            SUBENTRY_UDMI: UdmiSubentryFlow,
        }
        # Asked before an entry of an earlier version is migrated, too.
        if config_entry.data.get(CONF_CONNECTION) in WITHOUT_CAPTURES:
            flows[SUBENTRY_ULOGGER] = UloggerSubentryFlow
        return flows

    @override
    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask whether and how captures reach uLogger."""
        return self.async_show_menu(step_id="user", menu_options=FIRST_CONNECTIONS)

    @override
    async def async_step_bluetooth(
        self, discovery_info: BluetoothServiceInfoBleak
    ) -> ConfigFlowResult:
        """Show the card of a device that no account is there for.

        Once there is one, its gateway takes devices in by itself, after asking.
        """
        if self._async_current_entries(include_ignore=False):
            return self.async_abort(reason="already_configured")
        await self.async_set_unique_id(discovery_info.address)
        self._abort_if_unique_id_configured()
        if room_for_cards(self.hass) <= 0:
            if len(waiting := _without_card(self.hass)) < MOST_WITHOUT_CARD:
                waiting[discovery_info.address] = None
            return self.async_abort(reason="too_many_cards")
        self._confirmed_address = discovery_info.address
        name = human_readable_name(None, discovery_info.name, discovery_info.address)
        self.context["title_placeholders"] = {"name": plain_text(name)}
        return await self.async_step_bluetooth_confirm()

    @callback
    @override
    def async_remove(self) -> None:
        """Show the card of a device in range that there was no room for, in place of this one."""
        waiting = _without_card(self.hass)
        while self._confirmed_address is not None and waiting:
            address = next(iter(waiting))
            del waiting[address]
            if bluetooth.async_address_present(self.hass, address, connectable=True):
                bluetooth.async_rediscover_address(self.hass, address)
                return

    async def async_step_bluetooth_confirm(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask whether and how the captures of the discovered device reach uLogger."""
        return self.async_show_menu(
            step_id="bluetooth_confirm",
            menu_options=FIRST_CONNECTIONS,
            description_placeholders=dict(self.context["title_placeholders"]),
        )

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask how captures reach uLogger from now on; nobody leaves it by accident."""
        return self.async_show_menu(step_id="reconfigure", menu_options=CONNECTIONS)

    async def async_step_only_here(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Make the account without a cloud, once it is clear what that means; there is one."""
        if self.hass.config_entries.async_entry_for_domain_unique_id(DOMAIN, ONLY_HERE):
            return self.async_abort(reason="only_here_exists")
        if user_input is None:
            return self.async_show_form(step_id="only_here", data_schema=probatio.Schema({}))
        # Not before: closed now, the card of a device goes on to be that device's.
        await self.async_set_unique_id(ONLY_HERE, raise_on_progress=False)
        return await self._create(
            {CONF_CONNECTION: CONNECTION_NONE, CONF_CLIENT_SUFFIX: new_client_suffix()}
        )

    @override
    def _changed_entry(self) -> UloggerConfigEntry | None:
        """Return the account that is being changed; none while one is set up."""
        return self._get_reconfigure_entry() if self.source == SOURCE_RECONFIGURE else None

    @override
    async def _async_finish(self, data: dict[str, Any]) -> ConfigFlowResult:
        """Change the account, whose outbox stays, or create it; raises FormError."""
        unique_id = account_unique_id(data)
        if (entry := self._changed_entry()) is not None:
            data = await async_without_key(self.hass, data)
            if data[CONF_CONNECTION] not in WITHOUT_CAPTURES:
                # Home Assistant works out once what can be added, and would offer uLogger again.
                entry.supported_subentry_types.pop(SUBENTRY_ULOGGER, None)
            title = await async_changed_title(self.hass, entry, data)
            return self.async_update_reload_and_abort(
                entry, unique_id=unique_id, title=title, data=data
            )
        await self.async_set_unique_id(unique_id, raise_on_progress=False)
        self._abort_if_unique_id_configured()
        return await self._create(await async_without_key(self.hass, data))

    async def _create(self, data: dict[str, Any]) -> ConfigFlowResult:
        """Create the account; the device from whose card it was set up counts as confirmed."""
        self._close_other_cards()
        options = {}
        if self._confirmed_address is not None:
            options[CONF_CONFIRMED_ADDRESS] = self._confirmed_address
        title = await async_account_title(self.hass, data)
        return self.async_create_entry(title=title, data=data, options=options)

    @callback
    def _close_other_cards(self) -> None:
        """Take back the cards of other devices: the new account's gateway takes them in."""
        for card in self._async_in_progress(match_context={"source": SOURCE_BLUETOOTH}):
            self.hass.config_entries.flow.async_abort(card["flow_id"])

    @override
    async def async_step_integration_discovery(
        self, discovery_info: DiscoveryInfoType
    ) -> ConfigFlowResult:
        """Show the card of an application that a gateway met and may not collect yet."""
        application_id = discovery_info[ATTR_APPLICATION_ID]
        await self.async_set_unique_id(application_unique_id(application_id))
        self._abort_if_unique_id_configured()
        # Cards are shown once Home Assistant has started; the answer may be there by then.
        if approving_entry(self.hass, application_id) is not None:
            return self.async_abort(reason="already_configured")
        if room_for_cards(self.hass) <= 0:
            return self.async_abort(reason="too_many_cards")
        self._question = discovery_info
        name = plain_text(discovery_info[ATTR_NAME])
        self.context["title_placeholders"] = {"name": f"{name} ({application_id})"}
        return await self.async_step_application()

    async def async_step_application(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask whether the application's devices may be collected, and by which account."""
        application_id = self._question[ATTR_APPLICATION_ID]
        if approving_entry(self.hass, application_id) is not None:
            return self.async_abort(reason="already_configured")
        accounts = self.hass.config_entries.async_entries(
            DOMAIN, include_ignore=False, include_disabled=False
        )
        if not accounts:
            return self.async_abort(reason="no_account")
        if user_input is not None:
            chosen = user_input.get(CONF_ACCOUNT, accounts[0].entry_id)
            if (entry := self.hass.config_entries.async_get_entry(chosen)) is None:
                return self.async_abort(reason="no_account")
            device_type = self._question[ATTR_DEVICE_TYPE]
            return self.async_update_reload_and_abort(
                entry,
                options=with_application(entry.options, application_id, device_type),
                reason="application_added",
            )
        return self.async_show_form(
            step_id="application",
            data_schema=accounts_schema(accounts),
            description_placeholders={
                "application_id": str(application_id),
                "device_type": plain_text(self._question[ATTR_DEVICE_TYPE]),
                "name": plain_text(self._question[ATTR_NAME]),
                "address": self._question[ATTR_ADDRESS],
                "signal": _signal(self.hass, self._question[ATTR_ADDRESS]),
            },
        )

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Ask for a new certificate, or API token: the present one is refused or has expired."""
        if entry_data[CONF_CONNECTION] == CONNECTION_HTTP:
            return await self.async_step_reauth_token()
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_token(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Take the new API token and try it."""
        entry = self._get_reauth_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                token = await async_check_token(self.hass, user_input, entry.data)
                return self.async_update_reload_and_abort(
                    entry, data=await async_without_key(self.hass, {**entry.data, **token})
                )
            except FormError as err:
                errors = err.errors
        return self.async_show_form(step_id="reauth_token", data_schema=TOKEN_SCHEMA, errors=errors)

    async def async_step_reauth_confirm(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Take the new certificate and try it on the account's broker."""
        entry = self._get_reauth_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                renewed = await async_check_renewal(self.hass, self._uploads, user_input, entry)
                data = await async_without_key(self.hass, {**entry.data, **renewed})
                return self.async_update_reload_and_abort(entry, data=data)
            except FormError as err:
                errors = err.errors
        return self.async_show_form(
            step_id="reauth_confirm",
            data_schema=self.add_suggested_values_to_schema(UPLOADS_SCHEMA, user_input),
            errors=errors,
        )


def _signal(hass: HomeAssistant, address: str) -> str:
    """Return how well a device is heard now, which says whether it is in the house."""
    heard = bluetooth.async_last_service_info(hass, address, connectable=True)
    return "?" if heard is None else f"{heard.rssi} dBm"


@singleton(f"{DOMAIN}.without_card")
def _without_card(hass: HomeAssistant) -> dict[str, None]:
    """Return the addresses of devices that got no card, first come first; one for all flows."""
    return {}
