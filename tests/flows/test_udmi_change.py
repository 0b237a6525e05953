"""Changes of a gateway keep what is not given, and what is wrong is told before any is kept."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from demo.udmi.door import Way
from demo.udmi.gateways import register
from demo.udmi.site import LocalSite
from tests.support.flows import Upload, answer, expect_abort, expect_form, suggestions
from tests.support.udmi import DEVICES, site, typed_site

from .test_udmi_flow import account, add, begin, change, kept, upload

__all__ = ["account", "site", "upload"]

pytestmark = pytest.mark.usefixtures("set_up")


def typed_change(local: LocalSite, **keys: Any) -> dict[str, Any]:
    """Return what a person fills in for the same site; a password is not typed again."""
    endpoint = local.endpoint(config_sync_sec=7)
    if "basic" in endpoint.get("auth_provider", {}):
        endpoint["auth_provider"] = {"basic": {"username": local.door.user}}
    return {
        "endpoint": json.dumps(endpoint),
        "broker": {},
        "keys": {"generate": "none", "forget": False, **keys},
        "unencrypted": False,
    }


@contextmanager
def full_disk() -> Iterator[None]:
    """Have no store reach the disk."""
    with patch.object(Store, "async_save"):
        yield


async def add_with_password(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, local: LocalSite
) -> dict[str, Any]:
    local.door.way = Way.BASIC
    form = await begin(hass, account, **await typed_site(upload, local))
    done = await answer(hass, form, **DEVICES)
    assert done["type"] is FlowResultType.CREATE_ENTRY
    return dict(done["data"])


async def test_a_password_that_is_not_typed_again_stays(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    await add_with_password(hass, account, upload, site)
    form = await change(hass, account, "site")
    done = await answer(hass, form, **typed_change(site))
    expect_abort(done, "reconfigure_successful", own=False, destination="udmi")
    [subentry] = account.subentries.values()
    assert subentry.data["endpoint"]["config_sync_sec"] == 7
    assert kept(hass_storage)[subentry.data["keys"]] == {"password": site.door.password}


async def test_a_gateway_with_a_password_has_no_key_to_show(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    await add_with_password(hass, account, upload, site)
    expect_abort(await change(hass, account, "show_key"), "no_key", destination="udmi")


async def test_a_key_that_is_forgotten_is_replaced_by_another(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    before = await add(hass, account, upload, site)
    key = kept(hass_storage)[before["keys"]]["private_key"]
    form = await change(hass, account, "site")
    typed = typed_change(site, forget=True, ca=await upload(site.ca))
    form = await answer(hass, form, **typed)
    expect_form(form, "register", destination="udmi")
    site.door.keys.clear()
    register(site, form["description_placeholders"]["public_key"])
    expect_abort(await answer(hass, form), "reconfigure_successful", own=False, destination="udmi")
    [subentry] = account.subentries.values()
    assert kept(hass_storage)[subentry.data["keys"]]["private_key"] != key


async def test_a_key_that_is_damaged_on_disk_is_told(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    before = await add(hass, account, upload, site)
    kept(hass_storage)[before["keys"]]["private_key"] = "damaged"
    form = await change(hass, account, "site")
    form = await answer(hass, form, **typed_change(site))
    expect_form(form, "site", {"base": "unusable_files"}, destination="udmi")
    [subentry] = account.subentries.values()
    assert dict(subentry.data) == before


async def test_a_gateway_is_not_added_before_its_key_is_on_disk(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    hass_storage: dict[str, Any],
) -> None:
    typed = await typed_site(upload, site)
    with full_disk():
        form = await begin(hass, account, **typed)
    expect_form(form, "user", {"base": "secrets_not_kept"}, destination="udmi")
    assert not kept(hass_storage)
    form = await answer(hass, form, **typed)
    expect_form(form, "register", destination="udmi")
    register(site, form["description_placeholders"]["public_key"])
    done = await answer(hass, await answer(hass, form), **DEVICES)
    assert list(kept(hass_storage)) == [done["data"]["keys"]]


async def test_a_mistake_in_changed_devices_is_told_and_what_was_typed_stays_in_the_form(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    before = await add_with_password(hass, account, upload, site)
    form = await change(hass, account, "change_devices")
    typed = {**DEVICES, "proxies": [{"device": "a", "proxy_id": "GAT-1"}]}
    form = await answer(hass, form, **typed)
    expect_form(form, "change_devices", {"proxies": "proxy_twice"}, destination="udmi")
    assert form["description_placeholders"]["detail"] == "GAT-1"
    assert suggestions(form)["proxies"] == typed["proxies"]
    [subentry] = account.subentries.values()
    assert dict(subentry.data) == before


async def test_a_name_that_a_person_gave_stays(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> None:
    await add_with_password(hass, account, upload, site)
    [subentry] = account.subentries.values()
    hass.config_entries.async_update_subentry(account, subentry, title="Roof")
    form = await change(hass, account, "site")
    done = await answer(hass, form, **typed_change(site))
    expect_abort(done, "reconfigure_successful", own=False, destination="udmi")
    [subentry] = account.subentries.values()
    assert subentry.title == "Roof"
    assert subentry.data["endpoint"]["config_sync_sec"] == 7
