"""Make this Home Assistant a gateway at a UDMI site, or change one."""

import time
from datetime import timedelta
from typing import Any, Final

import probatio
from homeassistant.components.http.auth import async_sign_path
from homeassistant.config_entries import (
    SOURCE_RECONFIGURE,
    ConfigSubentry,
    ConfigSubentryFlow,
    SubentryFlowResult,
)
from homeassistant.data_entry_flow import section
from homeassistant.helpers.selector import (
    BooleanSelector,
    DeviceFilterSelectorConfig,
    DeviceSelector,
    DeviceSelectorConfig,
    EntitySelector,
    FileSelector,
    FileSelectorConfig,
    ObjectSelector,
    ObjectSelectorConfig,
    ObjectSelectorField,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)

from ..account.destination_keys import (
    async_drop_keys,
    async_keep_keys,
    async_load_keys,
    new_keys_id,
)
from ..account.key_store import SecretsNotKept
from ..account.udmi_keys import CONF_PASSWORD, async_registration, registration_path
from ..cloud.udmi.endpoint import ALGORITHMS, Endpoint
from ..cloud.udmi.keys import KeyPair
from ..const import (
    CONF_APPROVED_HOSTS,
    CONF_CA,
    CONF_CERTIFICATE,
    CONF_ENDPOINT,
    CONF_ENTITY,
    CONF_KEYS,
    CONF_POINT,
    CONF_POINTS,
    CONF_PORT,
    CONF_PREFIX,
    CONF_PRIVATE_KEY,
    CONF_PROXIES,
    CONF_PROXY_ID,
    CONF_SINCE,
    CONF_TOPIC_PREFIX,
    CONF_UNENCRYPTED,
    CONF_UNITS,
    CONF_WRITABLE,
    DOMAIN,
)
from .account_checks import FormError
from .account_schema import CA_SELECTOR, CERTIFICATE_SELECTOR, LAST_PORT, PRIVATE_KEY_SELECTOR
from .folder_flow import CONF_INCLUDE_KEPT
from .numbers import whole_number
from .sections import opened
from .udmi_checks import (
    CONF_AUDIENCE,
    CONF_CLIENT_ID,
    CONF_DEVICE,
    CONF_ENDPOINT_FILE,
    CONF_FORGET,
    CONF_GENERATE,
    CONF_HOSTNAME,
    CONF_USERNAME,
    GENERATE_NOTHING,
    SECTION_BROKER,
    SECTION_KEYS,
    CheckedSite,
    FieldError,
    async_check_site,
    async_read_site,
    check_devices,
    site_is_taken,
)
from .uploaded_files import Uploads

DEFAULT_PREFIX: Final = "BLE"
LINK_VALID: Final = timedelta(hours=1)
EXAMPLE: Final = "/r/ZZ-TRI-FECTA/d/GAT-1"

_PASSWORD = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD, autocomplete="off"))
_BROKER = {
    probatio.Optional(CONF_HOSTNAME): TextSelector(),
    probatio.Optional(CONF_PORT): whole_number(1, LAST_PORT),
    probatio.Optional(CONF_CLIENT_ID): TextSelector(),
    probatio.Optional(CONF_TOPIC_PREFIX): TextSelector(),
    probatio.Optional(CONF_AUDIENCE): TextSelector(),
    probatio.Optional(CONF_USERNAME): TextSelector(),
    probatio.Optional(CONF_PASSWORD): _PASSWORD,
}
_KEYS = {
    probatio.Optional(CONF_CA): CA_SELECTOR,
    probatio.Optional(CONF_CERTIFICATE): CERTIFICATE_SELECTOR,
    probatio.Optional(CONF_PRIVATE_KEY): PRIVATE_KEY_SELECTOR,
    probatio.Required(CONF_GENERATE, default=GENERATE_NOTHING): SelectSelector(
        SelectSelectorConfig(
            options=[GENERATE_NOTHING, *(each.lower() for each in ALGORITHMS)],
            translation_key="udmi_key",
            mode=SelectSelectorMode.DROPDOWN,
        )
    ),
}


def _site_schema(keys: dict[Any, Any]) -> probatio.Schema:
    return probatio.Schema(
        {
            probatio.Optional(CONF_ENDPOINT_FILE): FileSelector(
                FileSelectorConfig(accept=".json,application/json")
            ),
            probatio.Optional(CONF_ENDPOINT): TextSelector(TextSelectorConfig(multiline=True)),
            probatio.Required(SECTION_BROKER): section(
                probatio.Schema(_BROKER), {"collapsed": True}
            ),
            probatio.Required(SECTION_KEYS): section(probatio.Schema(keys), {"collapsed": True}),
            probatio.Required(CONF_UNENCRYPTED, default=False): BooleanSelector(),
        }
    )


ADD_SCHEMA = _site_schema(_KEYS).extend(
    {probatio.Required(CONF_INCLUDE_KEPT, default=True): BooleanSelector()}
)
CHANGE_SCHEMA = _site_schema(
    {**_KEYS, probatio.Required(CONF_FORGET, default=False): BooleanSelector()}
)


def _device(*, required: bool) -> ObjectSelectorField:
    config = DeviceSelectorConfig(filter=DeviceFilterSelectorConfig(integration=DOMAIN))
    return {"required": required, "selector": DeviceSelector(config).serialize()["selector"]}


def _text(*, required: bool) -> ObjectSelectorField:
    return {"required": required, "selector": TextSelector().serialize()["selector"]}


DEVICES_SCHEMA = probatio.Schema(
    {
        probatio.Required(CONF_PREFIX, default=DEFAULT_PREFIX): TextSelector(),
        probatio.Optional(CONF_PROXIES, default=list): ObjectSelector(
            ObjectSelectorConfig(
                multiple=True,
                label_field=CONF_PROXY_ID,
                translation_key="udmi_proxy",
                fields={
                    CONF_DEVICE: _device(required=True),
                    CONF_PROXY_ID: _text(required=True),
                },
            )
        ),
        probatio.Optional(CONF_POINTS, default=list): ObjectSelector(
            ObjectSelectorConfig(
                multiple=True,
                label_field=CONF_POINT,
                description_field=CONF_ENTITY,
                translation_key="udmi_point",
                fields={
                    CONF_POINT: _text(required=True),
                    CONF_ENTITY: {
                        "required": True,
                        "selector": EntitySelector().serialize()["selector"],
                    },
                    CONF_DEVICE: _device(required=False),
                    CONF_UNITS: _text(required=False),
                    CONF_WRITABLE: {"selector": BooleanSelector().serialize()["selector"]},
                },
            )
        ),
        probatio.Optional(CONF_APPROVED_HOSTS, default=list): TextSelector(
            TextSelectorConfig(multiple=True)
        ),
    }
)


class UdmiSubentryFlow(ConfigSubentryFlow):
    """Takes the endpoint and the keys, tries them, and then asks which device is which proxy."""

    _site: CheckedSite

    def __init__(self) -> None:
        self._uploads = Uploads()
        self._keys_id = ""
        self._since = 0.0

    # The site

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Take the endpoint of a new gateway."""
        return await self._async_site("user", ADD_SCHEMA, user_input)

    async def async_step_reconfigure(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask what is to be changed."""
        return self.async_show_menu(
            step_id="reconfigure", menu_options=["change_devices", "site", "show_key"]
        )

    async def async_step_site(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Take another endpoint, or other keys; what is not given stays."""
        if user_input is None:
            present = self._get_reconfigure_subentry().data[CONF_ENDPOINT]
            shown = {
                SECTION_BROKER: {
                    CONF_HOSTNAME: present["hostname"],
                    CONF_PORT: present["port"],
                    CONF_CLIENT_ID: present["client_id"],
                    CONF_TOPIC_PREFIX: present["topic_prefix"],
                    CONF_AUDIENCE: present.get("auth_provider", {})
                    .get("jwt", {})
                    .get("audience", ""),
                    CONF_USERNAME: present.get("auth_provider", {})
                    .get("basic", {})
                    .get("username", ""),
                },
                CONF_UNENCRYPTED: present["transport"] == "tcp",
            }
            return self._form("site", CHANGE_SCHEMA, shown, {})
        return await self._async_site("site", CHANGE_SCHEMA, user_input)

    async def _async_site(
        self, step_id: str, schema: probatio.Schema, user_input: dict[str, Any] | None
    ) -> SubentryFlowResult:
        errors: dict[str, str] = {}
        detail = ""
        if user_input is not None:
            present = self._subentry()
            self._since = 0.0 if user_input.get(CONF_INCLUDE_KEPT) else time.time()
            typed = _upper_algorithm(user_input)
            try:
                site = await async_read_site(
                    self.hass, self._uploads, typed, await self._async_present()
                )
                if site_is_taken(self.hass, site, present.subentry_id if present else None):
                    return self.async_abort(reason="already_configured")
                if not site.generated:
                    await async_check_site(self.hass, site)
                await self._async_keep(site)
            except FormError as err:
                errors, detail = err.errors, _detail(err)
            else:
                self._site = site
                if site.generated:
                    return await self.async_step_register()
                return await self._async_go_on()
        return self._form(step_id, schema, user_input, errors, detail)

    async def async_step_register(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Show the public part of a key that was made here, and connect once it is known there."""
        errors: dict[str, str] = {}
        detail = ""
        if user_input is not None:
            try:
                await async_check_site(self.hass, self._site)
            except FormError as err:
                errors, detail = err.errors, _detail(err)
            else:
                return await self._async_go_on()
        return await self._async_key_form("register", self._keys_id, errors, detail)

    async def _async_go_on(self) -> SubentryFlowResult:
        """Ask for the devices of a new gateway; one that is there keeps its own."""
        present = self._subentry()
        if present is None:
            return await self.async_step_devices()
        site = self._site
        kept = {name: said for name, said in present.data.items() if name != CONF_CA}
        title = present.title
        if title == _title(Endpoint.from_dict(present.data[CONF_ENDPOINT])):
            title = _title(site.endpoint)
        return self.async_update_and_abort(
            self._get_entry(),
            present,
            title=title,
            data={**kept, **site.data, CONF_KEYS: self._keys_id},
            unique_id=site.unique_id,
        )

    async def async_step_show_key(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Show the public part of the present key once more."""
        keys_id = self._get_reconfigure_subentry().data[CONF_KEYS]
        if user_input is not None:
            return self.async_abort(reason="key_shown")
        if await async_registration(self.hass, self._get_entry(), keys_id) is None:
            return self.async_abort(reason="no_key")
        return await self._async_key_form("show_key", keys_id, {})

    # The devices

    async def async_step_devices(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Ask which device is which proxy, and make the destination."""
        errors: dict[str, str] = {}
        detail = ""
        site = self._site
        if user_input is not None:
            try:
                devices = check_devices(user_input, site.endpoint.device_id)
            except FormError as err:
                errors, detail = err.errors, _detail(err)
            else:
                return self.async_create_entry(
                    title=_title(site.endpoint),
                    data={
                        **site.data,
                        **devices,
                        CONF_KEYS: self._keys_id,
                        CONF_SINCE: self._since,
                    },
                    unique_id=site.unique_id,
                )
        return self._form("devices", DEVICES_SCHEMA, user_input, errors, detail)

    async def async_step_change_devices(
        self, user_input: dict[str, Any] | None = None
    ) -> SubentryFlowResult:
        """Change which device is which proxy, and which entity which point."""
        present = self._get_reconfigure_subentry()
        errors: dict[str, str] = {}
        detail = ""
        if user_input is not None:
            own_id = Endpoint.from_dict(present.data[CONF_ENDPOINT]).device_id
            try:
                devices = check_devices(user_input, own_id)
            except FormError as err:
                errors, detail = err.errors, _detail(err)
            else:
                return self.async_update_and_abort(self._get_entry(), present, data_updates=devices)
        shown = user_input or dict(present.data)
        return self._form("change_devices", DEVICES_SCHEMA, shown, errors, detail)

    # What is kept

    def _subentry(self) -> ConfigSubentry | None:
        return self._get_reconfigure_subentry() if self.source == SOURCE_RECONFIGURE else None

    async def _async_present(self) -> CheckedSite | None:
        """Return the site as it is now, None for a new one."""
        if (present := self._subentry()) is None:
            return None
        stored = await async_load_keys(self.hass, self._get_entry(), present.data[CONF_KEYS]) or {}
        keys = None
        if key := stored.get(CONF_PRIVATE_KEY):
            keys = KeyPair(key, stored.get(CONF_CERTIFICATE, ""))
        said = {**present.data[CONF_ENDPOINT]}
        if "basic" in said.get("auth_provider", {}):
            basic = {**said["auth_provider"]["basic"], CONF_PASSWORD: stored.get(CONF_PASSWORD, "")}
            said["auth_provider"] = {"basic": basic}
        return CheckedSite(Endpoint.from_dict(said), keys, present.data.get(CONF_CA))

    async def _async_keep(self, site: CheckedSite) -> None:
        """Put the keys on disk under a new name; raises FormError."""
        entry = self._get_entry()
        if self._keys_id:
            await async_drop_keys(self.hass, entry, self._keys_id)
        self._keys_id = new_keys_id(self.hass)
        try:
            await async_keep_keys(self.hass, entry, self._keys_id, site.stored)
        except SecretsNotKept as err:
            await async_drop_keys(self.hass, entry, self._keys_id)
            raise FieldError("base", "secrets_not_kept") from err

    # What is shown

    async def _async_key_form(
        self, step_id: str, keys_id: str, errors: dict[str, str], detail: str = ""
    ) -> SubentryFlowResult:
        entry = self._get_entry()
        path = registration_path(entry.entry_id, keys_id)
        return self.async_show_form(
            step_id=step_id,
            data_schema=probatio.Schema({}),
            errors=errors,
            description_placeholders={
                "public_key": await async_registration(self.hass, entry, keys_id) or "-",
                "link": async_sign_path(self.hass, path, LINK_VALID),
                "detail": detail or "-",
            },
        )

    def _form(
        self,
        step_id: str,
        schema: probatio.Schema,
        shown: dict[str, Any] | None,
        errors: dict[str, str],
        detail: str = "",
    ) -> SubentryFlowResult:
        form = opened(schema, shown) if errors else schema
        return self.async_show_form(
            step_id=step_id,
            data_schema=self.add_suggested_values_to_schema(form, shown),
            errors=errors,
            description_placeholders={"example": EXAMPLE, "detail": detail or "-"},
        )


def _title(endpoint: Endpoint) -> str:
    return f"UDMI {endpoint.device_id}"


def _detail(err: FormError) -> str:
    return err.detail if isinstance(err, FieldError) else ""


def _upper_algorithm(typed: dict[str, Any]) -> dict[str, Any]:
    """Return what was typed with the algorithm as UDMI writes it; options are in lower case."""
    keys = dict(typed.get(SECTION_KEYS, {}))
    if (algorithm := keys.get(CONF_GENERATE, GENERATE_NOTHING)) != GENERATE_NOTHING:
        keys[CONF_GENERATE] = algorithm.upper()
    return {**typed, SECTION_KEYS: keys}
