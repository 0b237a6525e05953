"""An account gets a new certificate, broker, group or connection and stays the same account."""

from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.key_store import async_keep_key, async_load_key
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway.ulogger import keeps_pace
from demo.cloud.broker import LocalBroker
from demo.cloud.certificates import Issued
from tests.support.flows import Upload, expect_abort, expect_form, expect_menu, suggestions

pytestmark = pytest.mark.usefixtures("socket_enabled", "set_up")

OPTIONS = {"applications": {"1001": {"device_types": ["thermostat"]}}}


@pytest.fixture
async def account(hass: HomeAssistant, broker: LocalBroker, set_up: AsyncMock) -> MockConfigEntry:
    """Return an account at the local broker, with the first certificate."""
    data = {
        "connection": "mqtt",
        "customer_id": 42,
        "group_id": 0,
        "certificate": broker.customer.certificate,
        "private_key": broker.customer.private_key,
        "broker": broker.host,
        "port": broker.port,
        "ca": broker.ca,
        "topic_prefix": "",
        "client_suffix": "5eed5eed",
    }
    entry = MockConfigEntry(
        domain=DOMAIN,
        unique_id="42-0",
        title="uLogger 42",
        data=await async_keep_key(hass, "5eed5eed", data),
        options=OPTIONS,
    )
    entry.add_to_hass(hass)
    await hass.config_entries.async_setup(entry.entry_id)
    set_up.reset_mock()
    return entry


@pytest.fixture
def second(broker: LocalBroker) -> Issued:
    """Return a new certificate for the same customer."""
    return Issued.by(broker.authority.issuer, "second.invalid", common_name="customer-42")


async def change(
    hass: HomeAssistant, account: MockConfigEntry, connection: str = "certificate"
) -> Any:
    """Begin to change the account; return the form."""
    menu = await account.start_reconfigure_flow(hass)
    expect_menu(menu, "reconfigure")
    form = await submit(hass, menu, next_step_id=connection)
    expect_form(form, connection)
    return form


async def submit(hass: HomeAssistant, form: Any, **typed: Any) -> Any:
    """Submit a form."""
    result = await hass.config_entries.flow.async_configure(form["flow_id"], typed)
    await hass.async_block_till_done()
    return result


# A new certificate


async def test_a_new_certificate_takes_the_place_of_the_refused_one(
    hass: HomeAssistant,
    broker: LocalBroker,
    account: MockConfigEntry,
    upload: Upload,
    second: Issued,
    set_up: AsyncMock,
) -> None:
    await broker.arefuse_customer()
    before = dict(account.data)
    form = await account.start_reauth_flow(hass)
    expect_form(form, "reauth_confirm")
    assert form["description_placeholders"]["name"] == "uLogger 42"

    end = await submit(hass, form, archive=await upload(second.download()))

    expect_abort(end, "reauth_successful", own=False)
    assert account.data == {**before, "certificate": second.certificate}
    assert await async_load_key(hass, account) == second.private_key
    assert account.unique_id == "42-0"
    assert account.options == OPTIONS
    set_up.assert_awaited_once()


async def test_the_refused_certificate_is_not_taken_again(
    hass: HomeAssistant,
    broker: LocalBroker,
    account: MockConfigEntry,
    upload: Upload,
    second: Issued,
    set_up: AsyncMock,
) -> None:
    await broker.arefuse_customer()
    before = dict(account.data)
    form = await account.start_reauth_flow(hass)

    form = await submit(hass, form, archive=await upload(broker.download))

    expect_form(form, "reauth_confirm", {"archive": "certificate_refused"})
    assert account.data == before
    set_up.assert_not_called()
    end = await submit(
        hass,
        form,
        certificate=await upload(second.certificate),
        private_key=await upload(second.private_key),
    )
    expect_abort(end, "reauth_successful", own=False)


async def test_a_new_key_that_the_disk_does_not_take_leaves_the_account_as_it_was(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, second: Issued
) -> None:
    before, key = dict(account.data), await async_load_key(hass, account)
    form = await account.start_reauth_flow(hass)
    archive = await upload(second.download())

    with patch.object(Store, "async_save"):
        form = await submit(hass, form, archive=archive)

    expect_form(form, "reauth_confirm", {"base": "secrets_not_kept"})
    assert account.data == before
    assert await async_load_key(hass, account) == key
    expect_abort(await submit(hass, form, archive=archive), "reauth_successful", own=False)
    assert await async_load_key(hass, account) == second.private_key


async def test_a_renewal_needs_a_certificate(hass: HomeAssistant, account: MockConfigEntry) -> None:
    form = await account.start_reauth_flow(hass)

    form = await submit(hass, form)

    expect_form(form, "reauth_confirm", {"archive": "missing_archive"})


async def test_a_renewal_says_when_the_broker_is_away(
    hass: HomeAssistant, broker: LocalBroker, account: MockConfigEntry, upload: Upload
) -> None:
    form = await account.start_reauth_flow(hass)
    archive = await upload(broker.download)
    await broker.astop()

    form = await submit(hass, form, archive=archive)

    expect_form(form, "reauth_confirm", {"base": "cannot_connect"})
    assert suggestions(form) == {"archive": archive}
    await broker.astart()
    expect_abort(await submit(hass, form, archive=archive), "reauth_successful", own=False)


# Another broker, group or connection


async def test_a_change_shows_what_is_there_but_never_a_key(
    hass: HomeAssistant, broker: LocalBroker, account: MockConfigEntry
) -> None:
    form = await change(hass, account)

    assert suggestions(form) == {
        "group_id": 0,
        "advanced": {"broker": broker.host, "port": broker.port},
    }
    assert "customer_id" not in form["data_schema"].schema


async def test_another_group_keeps_the_certificate_and_the_entry(
    hass: HomeAssistant, account: MockConfigEntry, set_up: AsyncMock
) -> None:
    before, entry_id = dict(account.data), account.entry_id
    form = await change(hass, account)

    end = await submit(hass, form, **(suggestions(form) | {"group_id": 7}))

    expect_abort(end, "reconfigure_successful", own=False)
    assert hass.config_entries.async_entries(DOMAIN) == [account]
    assert account.entry_id == entry_id
    assert account.data == {**before, "group_id": 7}
    assert account.unique_id == "42-7"
    assert account.title == "uLogger 42 (group 7)"
    assert account.options == OPTIONS
    set_up.assert_awaited_once()


async def test_an_account_that_was_given_a_name_keeps_it(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    hass.config_entries.async_update_entry(account, title="Workshop")
    form = await change(hass, account)

    await submit(hass, form, **(suggestions(form) | {"group_id": 7}))

    assert account.title == "Workshop"


async def test_the_group_of_another_account_is_not_taken(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    MockConfigEntry(domain=DOMAIN, unique_id="42-7").add_to_hass(hass)
    before = dict(account.data)
    form = await change(hass, account)

    form = await submit(hass, form, **(suggestions(form) | {"group_id": 7}))

    expect_form(form, "certificate", {"group_id": "account_exists"})
    assert account.data == before
    assert account.unique_id == "42-0"


async def test_a_change_can_bring_a_new_certificate(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, second: Issued
) -> None:
    form = await change(hass, account)

    await submit(hass, form, **suggestions(form), archive=await upload(second.download()))

    assert account.data["certificate"] == second.certificate
    assert "private_key" not in account.data
    assert await async_load_key(hass, account) == second.private_key
    assert account.data["client_suffix"] == "5eed5eed"


async def test_another_broker_is_tried_first(
    hass: HomeAssistant, broker: LocalBroker, account: MockConfigEntry
) -> None:
    before = dict(account.data)
    form = await change(hass, account)
    await broker.astop()

    form = await submit(hass, form, **suggestions(form))
    expect_form(form, "certificate", {"advanced": "cannot_connect"})
    assert account.data == before

    await broker.astart()
    end = await submit(
        hass, form, group_id=0, advanced={"broker": "localhost", "port": broker.port}
    )
    expect_abort(end, "reconfigure_successful", own=False)
    assert account.data == {**before, "broker": "localhost"}


async def test_the_pace_can_be_chosen_and_left_to_the_address_again(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    before = dict(account.data)
    for chosen in ("always", "never", "auto"):
        form = await change(hass, account)
        filled = suggestions(form)
        filled["advanced"]["pace"] = chosen
        await submit(hass, form, **filled)
        kept = {} if chosen == "auto" else {"pace": chosen}
        assert account.data == {**before, **kept}
        assert suggestions(await change(hass, account))["advanced"].get("pace") == kept.get("pace")


@pytest.mark.parametrize(
    ("host", "chosen", "keeps"),
    [
        ("mqtt.ulogger.ai", None, True),
        ("MQTT.uLogger.ai.", None, True),
        ("a1b2-ats.iot.eu-central-1.amazonaws.com", None, True),
        ("a1b2-ats.iot.cn-north-1.amazonaws.com.cn", None, True),
        ("192.168.1.2", None, False),
        ("amazonaws.com.example.org", None, False),
        ("notamazonaws.com", None, False),
        ("mqtt.ulogger.ai", "never", False),
        ("192.168.1.2", "always", True),
    ],
)
def test_by_default_the_pace_is_kept_where_aws_iot_answers(
    host: str, chosen: str | None, keeps: bool
) -> None:
    assert keeps_pace({"broker": host, **({"pace": chosen} if chosen else {})}) is keeps


async def test_the_present_certificate_is_blamed_where_a_new_one_would_be_uploaded(
    hass: HomeAssistant, broker: LocalBroker, account: MockConfigEntry
) -> None:
    await broker.arefuse_customer()
    form = await change(hass, account)

    form = await submit(hass, form, **suggestions(form))

    expect_form(form, "certificate", {"archive": "certificate_refused"})


async def test_an_own_authority_can_be_forgotten(
    hass: HomeAssistant, account: MockConfigEntry
) -> None:
    form = await change(hass, account)
    shown = suggestions(form)
    shown["advanced"]["remove_ca"] = True

    form = await submit(hass, form, **shown)

    expect_form(form, "certificate", {"advanced": "tls_untrusted"})
    assert account.data["ca"] is not None


async def test_an_account_can_move_to_home_assistants_mqtt_and_back(
    hass: HomeAssistant,
    broker: LocalBroker,
    account: MockConfigEntry,
    upload: Upload,
    home_assistants_mqtt: Any,
) -> None:
    before = dict(account.data)
    form = await change(hass, account, "home_assistant")
    assert suggestions(form) == {"group_id": 0, "topic_prefix": "ulogger/"}

    end = await submit(hass, form, **suggestions(form))

    expect_abort(end, "reconfigure_successful", own=False)
    assert account.data == {
        "connection": "home_assistant",
        "customer_id": 42,
        "group_id": 0,
        "topic_prefix": "ulogger/",
        "client_suffix": "5eed5eed",
    }

    form = await change(hass, account)
    assert suggestions(form) == {"group_id": 0, "advanced": {}}
    advanced = {"broker": broker.host, "port": broker.port, "ca": await upload(broker.ca)}
    form = await submit(hass, form, group_id=0, advanced=advanced)
    expect_form(form, "certificate", {"archive": "missing_archive"})
    await submit(hass, form, group_id=0, advanced=advanced, archive=await upload(broker.download))
    assert account.data == before
