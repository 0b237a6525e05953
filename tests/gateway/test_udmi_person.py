"""What only a person may decide of a gateway, with cards that have been overtaken by events."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.udmi_memory import UdmiMemory
from custom_components.ulogger.gateway.udmi_site import ActiveUdmi
from demo.udmi.site import ENDPOINT_BLOB, LocalSite, blob
from tests.support.flows import Upload
from tests.support.repairs import card, client
from tests.support.udmi import add_gateway, gateway_of, site

from .test_udmi import account, issues, until, upload

__all__ = ["account", "client", "site", "upload"]


@pytest.fixture
async def asked(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, site: LocalSite
) -> ActiveUdmi:
    """A gateway whose site has named another broker."""
    subentry = await add_gateway(hass, account, upload, site)
    active = gateway_of(account, subentry)
    await until(hass, site, lambda: site.gateway.states)
    said = json.dumps(site.endpoint(hostname="localhost", port=1)).encode()
    blobs = {ENDPOINT_BLOB: blob(said, kind="application/json")}
    await site.configure("GAT-1", blobset={"blobs": blobs})
    await until(hass, site, lambda: "udmi_redirect" in issues(hass))
    return active


async def test_a_broker_that_a_person_approves_is_tried(
    hass: HomeAssistant, asked: ActiveUdmi, site: LocalSite, client: Any
) -> None:
    link = asked.destination.link
    link._switch_within = 0.1
    with patch.object(link, "switch", wraps=link.switch) as switch:
        shown = card(hass, client, "udmi_redirect")
        done = await shown.answer(await shown.open(), next_step_id="confirm")
        assert done["type"] == "create_entry"
        await until(hass, site, lambda: switch.await_count)
    [tried] = [call.args[0] for call in switch.await_args_list]
    assert (tried.endpoint.hostname, tried.endpoint.port) == ("localhost", 1)
    assert asked.asked is None
    await until(hass, site, lambda: asked.connected)


async def test_an_answer_to_what_nobody_asks_any_longer_counts_for_nothing(
    hass: HomeAssistant, account: MockConfigEntry, asked: ActiveUdmi, client: Any
) -> None:
    shown = card(hass, client, "udmi_redirect")
    late, later = await shown.open(), await shown.open()
    question, asked.asked = asked.asked, None
    done = await shown.answer(late, next_step_id="confirm")
    assert (done["type"], done["reason"]) == ("abort", "nothing_asked")
    asked.asked = question
    assert await hass.config_entries.async_unload(account.entry_id)
    done = await shown.answer(later, next_step_id="confirm")
    assert (done["type"], done["reason"]) == ("abort", "account_not_loaded")


async def test_who_was_not_answered_asks_again_after_a_restart(
    hass: HomeAssistant, account: MockConfigEntry, asked: ActiveUdmi, site: LocalSite
) -> None:
    assert await hass.config_entries.async_unload(account.entry_id)
    await hass.async_block_till_done()
    assert "udmi_redirect" not in issues(hass)
    assert await hass.config_entries.async_setup(account.entry_id)
    await until(hass, site, lambda: "udmi_redirect" in issues(hass))


async def test_a_later_broker_is_asked_for_in_place_of_an_earlier_one(
    hass: HomeAssistant, asked: ActiveUdmi, site: LocalSite, client: Any
) -> None:
    said = json.dumps(site.endpoint(hostname="later.invalid")).encode()
    later = blob(said, kind="application/json")
    await site.configure("GAT-1", blobset={"blobs": {ENDPOINT_BLOB: later}})
    await until(hass, site, lambda: asked.asked and asked.asked.hostname == "later.invalid")
    shown = card(hass, client, "udmi_redirect")
    assert shown.issue.translation_placeholders["host"].startswith("later.invalid")


async def test_a_gateway_stays_off_where_the_disk_does_not_take_that_it_is_on(
    hass: HomeAssistant,
    account: MockConfigEntry,
    upload: Upload,
    site: LocalSite,
    client: Any,
) -> None:
    subentry = await add_gateway(hass, account, upload, site)
    await gateway_of(account, subentry).async_remember("off", "shutdown")
    assert await hass.config_entries.async_reload(account.entry_id)
    await hass.async_block_till_done()
    shown = card(hass, client, "udmi_shut_down")
    steps = [await shown.open(), await shown.open()]
    with patch.object(UdmiMemory, "async_keep", side_effect=OSError("full")):
        done = await shown.answer(steps[0])
    assert (done["type"], done["reason"]) == ("abort", "not_kept")
    assert gateway_of(account, subentry).destination.off == "shutdown"
    assert await hass.config_entries.async_unload(account.entry_id)
    done = await shown.answer(steps[1])
    assert (done["type"], done["reason"]) == ("abort", "account_not_loaded")
