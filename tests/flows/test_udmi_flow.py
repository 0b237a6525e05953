"""A gateway is taken as its site hands it out, registered, tried, and kept without its secrets."""

import json
from typing import Any

import pytest
from homeassistant.config_entries import SOURCE_RECONFIGURE
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import device_registry as dr
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.panel.downloads import async_register_downloads
from demo.ports import free_port
from demo.udmi.door import Way
from demo.udmi.gateways import register
from demo.udmi.site import LocalSite
from tests.support.flows import (
    Upload,
    add_destination,
    answer,
    expect_abort,
    expect_form,
    make_upload,
)
from tests.support.udmi import DEVICES, site, typed_site

__all__ = ["site"]

pytestmark = pytest.mark.usefixtures("set_up")


@pytest.fixture
def account(hass: HomeAssistant) -> MockConfigEntry:
    """An account; what it is connected to is no matter here."""
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-0",
        data={"connection": "mqtt", "client_suffix": "5eed5eed"},
    )
    entry.add_to_hass(hass)
    return entry


@pytest.fixture
async def upload(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Upload:
    return await make_upload(hass, hass_client)


def kept(hass_storage: dict[str, Any]) -> dict[str, Any]:
    """Return the keys on disk by their IDs."""
    file = hass_storage.get("ulogger.key.5eed5eed.destinations")
    return file["data"] if file else {}


async def begin(hass: HomeAssistant, account: MockConfigEntry, **typed: Any) -> Any:
    form = await add_destination(hass, account.entry_id, "udmi")
    expect_form(form, "user", destination="udmi")
    return await answer(hass, form, **typed)


async def change(hass: HomeAssistant, account: MockConfigEntry, option: str) -> Any:
    [subentry] = account.subentries.values()
    menu = await hass.config_entries.subentries.async_init(
        (account.entry_id, "udmi"),
        context={"source": SOURCE_RECONFIGURE, "subentry_id": subentry.subentry_id},
    )
    assert menu["menu_options"] == ["change_devices", "site", "show_key"]
    return await answer(hass, menu, next_step_id=option)


async def add(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> dict[str, Any]:
    form = await begin(hass, account, **await typed_site(upload, site))
    register(site, form["description_placeholders"]["public_key"])
    done = await answer(hass, await answer(hass, form), **DEVICES)
    assert done["type"] is FlowResultType.CREATE_ENTRY
    return dict(done["data"])


async def test_a_key_that_lacks_is_made_shown_and_tried_once_it_is_registered(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
    hass_client: ClientSessionGenerator,
) -> None:
    form = await begin(hass, account, **await typed_site(upload, site))
    expect_form(form, "register", destination="udmi")
    shown = form["description_placeholders"]["public_key"]
    assert "BEGIN PUBLIC KEY" in shown
    assert "BEGIN CERTIFICATE" in shown
    assert "PRIVATE" not in shown
    refused = await answer(hass, form)
    expect_form(refused, "register", {"base": "not_authorised"}, destination="udmi")
    link = form["description_placeholders"]["link"]
    register(site, shown)
    devices = await answer(hass, refused)
    expect_form(devices, "devices", destination="udmi")
    done = await answer(hass, devices, **DEVICES)
    assert done["title"] == "UDMI GAT-1"
    data = done["data"]
    assert data["endpoint"]["auth_provider"] == {"jwt": {"audience": "site.invalid"}}
    assert "PRIVATE" not in json.dumps(dict(data))
    [stored] = kept(hass_storage).values()
    assert "PRIVATE KEY" in stored["private_key"]
    assert site.door.algorithms == ["ES256"]
    assert link.startswith(f"/api/ulogger/{account.entry_id}/udmi_keys/{data['keys']}")


@pytest.mark.parametrize(
    ("other", "errors"),
    [
        ({"endpoint": ""}, {"base": "endpoint_missing"}),
        ({"endpoint": "{"}, {"base": "not_json"}),
        ({"endpoint": '{"hostname": "a", "client_id": "nobody"}'}, {"base": "client_id_invalid"}),
        ({"endpoint": '{"hostname": "a b", "client_id": "GAT-1"}'}, {"base": "endpoint_invalid"}),
        (
            {"endpoint": '{"hostname": "a", "client_id": "GAT-1", "transport": "tcp"}'},
            {"base": "unencrypted"},
        ),
        ({"endpoint": "", "broker": {"hostname": "a"}}, {"base": "client_id_invalid"}),
        (
            {
                "endpoint": "",
                "broker": {"hostname": "a", "client_id": "GAT-1", "username": "u"},
            },
            {"base": "password_missing"},
        ),
    ],
)
async def test_what_cannot_be_used_is_named_and_nothing_is_kept(
    hass: HomeAssistant,
    account: MockConfigEntry,
    hass_storage: dict[str, Any],
    other: dict[str, Any],
    errors: dict[str, str],
) -> None:
    typed = {
        "endpoint": "",
        "broker": {},
        "keys": {"generate": "none"},
        "unencrypted": False,
        "include_kept": True,
        **other,
    }
    reason = errors["base"]
    if reason == "client_id_invalid" and typed["broker"]:
        # Without any at all there is another reason, and the same field.
        errors = {"base": "endpoint_invalid"}
    expect_form(await begin(hass, account, **typed), "user", errors, destination="udmi")
    assert not kept(hass_storage)


async def test_a_certificate_needs_its_key_and_a_key_has_to_be_one(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    typed = await typed_site(upload, site)
    for files, reason in (
        ({"certificate": await upload(site.ca)}, "both_files"),
        ({"private_key": await upload(b"nothing")}, "unusable_files"),
        ({"ca": await upload(b"nothing")}, "unusable_files"),
    ):
        keys = {"generate": "none", **files}
        form = await begin(hass, account, **{**typed, "keys": keys})
        expect_form(form, "user", {"base": reason}, destination="udmi")


async def test_a_broker_that_is_not_there_is_told(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    site.door.way = Way.NONE
    nobody = json.dumps(site.endpoint(port=free_port()))
    form = await begin(hass, account, **await typed_site(upload, site, endpoint=nobody))
    expect_form(form, "user", {"base": "cannot_connect"}, destination="udmi")
    assert "can't be used" in caplog.text


async def test_fields_do_as_well_as_a_file_and_the_password_is_no_part_of_the_entry(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    site.door.way = Way.BASIC
    typed = await typed_site(upload, site)
    said = site.endpoint()
    basic = said["auth_provider"]["basic"]
    fields = {
        "hostname": said["hostname"],
        "port": said["port"],
        "client_id": said["client_id"],
        "username": basic["username"],
        "password": basic["password"],
    }
    devices = await begin(hass, account, **{**typed, "endpoint": "", "broker": fields})
    done = await answer(hass, devices, **DEVICES)
    assert basic["password"] not in json.dumps(dict(done["data"]))
    [stored] = kept(hass_storage).values()
    assert stored == {"password": basic["password"]}


@pytest.mark.parametrize(
    ("typed", "errors"),
    [
        ({"prefix": "ble"}, {"prefix": "prefix_invalid"}),
        ({"proxies": [{"device": "a", "proxy_id": "x"}]}, {"proxies": "proxy_invalid"}),
        ({"proxies": [{"device": "a", "proxy_id": "GAT-1"}]}, {"proxies": "proxy_twice"}),
        (
            {
                "proxies": [
                    {"device": "a", "proxy_id": "BLE-1"},
                    {"device": "a", "proxy_id": "BLE-2"},
                ]
            },
            {"proxies": "device_twice"},
        ),
        ({"points": [{"point": "Room", "entity": "sensor.a"}]}, {"points": "point_invalid"}),
        ({"points": [{"point": "a", "entity": "sensor.a"}] * 2}, {"points": "point_twice"}),
        ({"approved_hosts": ["a b"]}, {"approved_hosts": "host_invalid"}),
    ],
)
async def test_devices_and_points_are_named_as_udmi_names_them(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    typed: dict[str, Any],
    errors: dict[str, str],
) -> None:
    site.door.way = Way.BASIC
    form = await begin(hass, account, **await typed_site(upload, site))
    form = await answer(hass, form, **{**DEVICES, **typed})
    expect_form(form, "devices", errors, destination="udmi")


async def test_a_gateway_is_added_once(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    await add(hass, account, upload, site)
    again = await begin(hass, account, **await typed_site(upload, site))
    expect_abort(again, "already_configured", destination="udmi")


async def test_devices_are_changed_and_the_key_stays(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    device_registry: dr.DeviceRegistry,
) -> None:
    before = await add(hass, account, upload, site)
    device = device_registry.async_get_or_create(
        config_entry_id=account.entry_id, identifiers={(DOMAIN, "42-S1")}
    )
    form = await change(hass, account, "change_devices")
    expect_form(form, "change_devices", destination="udmi")
    given = {
        **DEVICES,
        "prefix": "DEV",
        "proxies": [{"device": device.id, "proxy_id": "BLE-7"}],
        "points": [{"point": "room", "entity": "sensor.a", "writable": True}],
    }
    done = await answer(hass, form, **given)
    expect_abort(done, "reconfigure_successful", own=False, destination="udmi")
    [subentry] = account.subentries.values()
    assert subentry.data["prefix"] == "DEV"
    assert subentry.data["keys"] == before["keys"]
    assert subentry.data["points"] == [{"point": "room", "entity": "sensor.a", "writable": True}]


async def test_another_endpoint_keeps_what_is_not_given(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    before = await add(hass, account, upload, site)
    key = kept(hass_storage)[before["keys"]]["private_key"]
    form = await change(hass, account, "site")
    expect_form(form, "site", destination="udmi")
    typed = {
        "broker": {},
        "endpoint": json.dumps(site.endpoint(config_sync_sec=7)),
        "keys": {"generate": "none", "forget": False},
        "unencrypted": False,
    }
    done = await answer(hass, form, **typed)
    expect_abort(done, "reconfigure_successful", own=False, destination="udmi")
    [subentry] = account.subentries.values()
    assert subentry.data["endpoint"]["config_sync_sec"] == 7
    assert subentry.data["ca"] == before["ca"]
    assert kept(hass_storage)[subentry.data["keys"]]["private_key"] == key


async def test_the_public_key_can_be_seen_again_and_downloaded(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_client: ClientSessionGenerator,
) -> None:
    data = await add(hass, account, upload, site)
    form = await change(hass, account, "show_key")
    expect_form(form, "show_key", destination="udmi")
    shown = form["description_placeholders"]["public_key"]
    expect_abort(await answer(hass, form), "key_shown", destination="udmi")
    async_register_downloads(hass)
    client = await hass_client()
    for keys_id, status in ((data["keys"], 200), ("other", 404)):
        answered = await client.get(f"/api/ulogger/{account.entry_id}/udmi_keys/{keys_id}")
        assert answered.status == status
        if status == 200:
            assert await answered.text() == shown
