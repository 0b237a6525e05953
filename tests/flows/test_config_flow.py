"""An account is set up only when everything holds, up to a real connection to a real broker."""

import socket
import threading
from typing import Any
from unittest.mock import AsyncMock, patch

import probatio
import pytest
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, section
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.key_store import async_load_key
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import account_checks
from custom_components.ulogger.flows import uploaded_files as uploads
from custom_components.ulogger.flows.account_schema import certificate_schema
from demo.cloud.broker import LocalBroker
from demo.cloud.certificates import Issued
from tests.support.flows import Upload, expect_abort, expect_form, open_form, submit, suggestions

pytestmark = pytest.mark.usefixtures("socket_enabled", "set_up")


async def test_the_certificate_download_makes_an_account(
    hass: HomeAssistant,
    broker: LocalBroker,
    upload: Upload,
    at_broker: dict[str, Any],
    set_up: AsyncMock,
) -> None:
    flow = await open_form(hass)

    done = await submit(
        hass, flow, customer_id=42, archive=await upload(broker.download), advanced=at_broker
    )

    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    assert done["title"] == "uLogger 42"
    entry = done["result"]
    assert entry.unique_id == "42-0"
    data = dict(entry.data)
    assert len(bytes.fromhex(data.pop("client_suffix"))) == 4
    assert data == {
        "connection": "mqtt",
        "customer_id": 42,
        "group_id": 0,
        "certificate": broker.customer.certificate,
        "broker": broker.host,
        "port": broker.port,
        "ca": broker.ca,
        "topic_prefix": "",
    }
    assert await async_load_key(hass, entry) == broker.customer.private_key
    assert type(data["customer_id"]) is type(data["port"]) is int
    assert entry.options == {}
    set_up.assert_awaited_once()


async def test_two_files_make_an_account_of_a_group(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)

    done = await submit(
        hass,
        flow,
        customer_id=42,
        group_id=7,
        certificate=await upload(broker.customer.certificate),
        private_key=await upload(broker.customer.private_key),
        advanced=at_broker,
    )

    assert done["title"] == "uLogger 42 (group 7)"
    assert done["result"].unique_id == "42-7"
    assert done["data"]["group_id"] == 7
    assert await async_load_key(hass, done["result"]) == broker.customer.private_key


async def test_a_key_that_comes_with_a_certificate_stays_out_of_the_public_file(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    customer = broker.customer
    combined = f"Bag Attributes: Müller\n{customer.private_key}{customer.certificate}"
    flow = await open_form(hass)

    done = await submit(
        hass,
        flow,
        customer_id=42,
        certificate=await upload(combined),
        private_key=await upload(combined),
        advanced={**at_broker, "ca": await upload(customer.private_key + broker.ca)},
    )

    entry = done["result"]
    assert "PRIVATE KEY" not in str(entry.as_dict())
    assert entry.data["certificate"] == customer.certificate
    assert entry.data["ca"] == broker.ca
    assert await async_load_key(hass, entry) == customer.private_key


async def test_a_key_that_the_disk_does_not_take_makes_no_account_until_it_does(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    typed = {"customer_id": 42, "archive": await upload(broker.download), "advanced": at_broker}

    with patch.object(Store, "async_save"):
        form = await submit(hass, flow, **typed)
    expect_form(form, "certificate", {"base": "secrets_not_kept"})
    assert not hass.config_entries.async_entries(DOMAIN)

    done = await submit(hass, flow, **typed)
    assert await async_load_key(hass, done["result"]) == broker.customer.private_key


async def test_a_form_starts_with_the_broker_of_ulogger(hass: HomeAssistant) -> None:
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await submit(hass, menu["flow_id"], next_step_id="certificate")

    filled = form["data_schema"]({"customer_id": 1, "advanced": {}})

    assert filled == {
        "customer_id": 1,
        "group_id": 0,
        "advanced": {"broker": "mqtt.ulogger.ai", "port": 8883},
    }


# Numbers, hosts, authorities


@pytest.mark.parametrize("customer_id", [0, -1, 1.5, 2**32])
async def test_a_customer_is_a_positive_whole_number(
    hass: HomeAssistant, at_broker: dict[str, Any], customer_id: float
) -> None:
    flow = await open_form(hass)

    form = await submit(hass, flow, customer_id=customer_id, advanced=at_broker)

    expect_form(form, "certificate", {"customer_id": "not_positive"})
    assert suggestions(form)["customer_id"] == customer_id


async def test_a_customer_is_asked_for_and_not_filled_in(
    hass: HomeAssistant, at_broker: dict[str, Any]
) -> None:
    """Home Assistant's forms fill a number that is required in with 0."""
    form = certificate_schema(new=True, has_ca=False)
    (marker,) = [each for each in form.schema if each == "customer_id"]
    assert isinstance(marker, probatio.Optional)

    flow = await open_form(hass)
    form = await submit(hass, flow, advanced=at_broker)

    expect_form(form, "certificate", {"customer_id": "no_customer_id"})


@pytest.mark.parametrize("port", [0, 65536])
async def test_a_port_is_one_that_there_is(
    hass: HomeAssistant, at_broker: dict[str, Any], port: int
) -> None:
    flow = await open_form(hass)
    form = await submit(hass, flow, customer_id=42, advanced={**at_broker, "port": port})
    expect_form(form, "certificate", {"advanced": "invalid_port"})


async def test_an_account_of_a_group_is_named_in_home_assistants_language(
    hass: HomeAssistant,
    broker: LocalBroker,
    upload: Upload,
    at_broker: dict[str, Any],
    set_up: AsyncMock,
) -> None:
    hass.config.language = "de"
    flow = await open_form(hass)
    download = await upload(broker.download)
    done = await submit(
        hass, flow, customer_id=42, group_id=1, archive=download, advanced=at_broker
    )
    assert done["title"] == "uLogger 42 (Gruppe 1)"


@pytest.mark.parametrize("group_id", [-1, 0.5, 2**32])
async def test_a_group_is_a_whole_number(
    hass: HomeAssistant, at_broker: dict[str, Any], group_id: float
) -> None:
    flow = await open_form(hass)

    form = await submit(hass, flow, customer_id=42, group_id=group_id, advanced=at_broker)

    expect_form(form, "certificate", {"group_id": "negative"})


async def test_both_numbers_can_be_wrong(hass: HomeAssistant, at_broker: dict[str, Any]) -> None:
    flow = await open_form(hass)

    form = await submit(hass, flow, customer_id=0, group_id=-1, advanced=at_broker)

    expect_form(form, "certificate", {"customer_id": "not_positive", "group_id": "negative"})


async def test_there_is_one_account_for_a_customer_and_group(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    MockConfigEntry(domain=DOMAIN, unique_id="42-0").add_to_hass(hass)
    flow = await open_form(hass)
    archive = await upload(broker.download)

    form = await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)
    expect_form(form, "certificate", {"group_id": "account_exists"})

    done = await submit(hass, flow, customer_id=42, group_id=1, archive=archive, advanced=at_broker)
    assert done["result"].unique_id == "42-1"


async def test_of_two_flows_for_one_account_the_later_ends(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    check = account_checks.async_check_certificate

    async def overtaken(*arguments: Any) -> dict[str, Any]:
        checked = await check(*arguments)
        MockConfigEntry(domain=DOMAIN, unique_id="42-0").add_to_hass(hass)
        return checked

    with patch("custom_components.ulogger.flows.account_steps.async_check_certificate", overtaken):
        end = await submit(
            hass, flow, customer_id=42, archive=await upload(broker.download), advanced=at_broker
        )

    expect_abort(end, "already_configured")


def broker_section(form: Any) -> section:
    """Return the section that the broker stands in; nobody reads an error in a closed one."""
    found: section = form["data_schema"].schema["advanced"]
    return found


@pytest.mark.parametrize("host", ["", "mqtts://broker", "broker:8883", "two words", "1.2.3"])
async def test_a_broker_is_a_host(
    hass: HomeAssistant, at_broker: dict[str, Any], host: str
) -> None:
    flow = await open_form(hass)
    shown = await hass.config_entries.flow.async_configure(flow)
    assert broker_section(shown).options == {"collapsed": True}

    form = await submit(hass, flow, customer_id=42, advanced={**at_broker, "broker": host})

    expect_form(form, "certificate", {"advanced": "invalid_broker"})
    assert broker_section(form).options == {"collapsed": False}


async def test_an_authority_is_a_certificate(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    archive = await upload(broker.download)

    form = await submit(
        hass,
        flow,
        customer_id=42,
        archive=archive,
        advanced={**at_broker, "ca": await upload("Hello")},
    )
    expect_form(form, "certificate", {"advanced": "ca_invalid"})

    done = await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)
    assert done["type"] is FlowResultType.CREATE_ENTRY


# The connection


async def test_uploaded_files_need_not_be_uploaded_again(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    archive = await upload(broker.download)
    await broker.astop()

    form = await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)

    expect_form(form, "certificate", {"advanced": "cannot_connect"})
    shown = suggestions(form)
    assert shown == {"customer_id": 42, "group_id": 0, "archive": archive, "advanced": at_broker}
    await broker.astart()
    done = await submit(hass, flow, **shown)
    assert done["type"] is FlowResultType.CREATE_ENTRY


async def test_an_unknown_host_is_said_to_be_unknown(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    archive = await upload(broker.download)

    with patch("socket.getaddrinfo", side_effect=socket.gaierror(socket.EAI_NONAME, "unknown")):
        form = await submit(
            hass,
            flow,
            customer_id=42,
            archive=archive,
            advanced={**at_broker, "broker": "nowhere.invalid"},
        )

    expect_form(form, "certificate", {"advanced": "unknown_host"})


async def test_a_broker_of_an_unknown_authority_is_not_trusted(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    del at_broker["ca"]

    form = await submit(
        hass, flow, customer_id=42, archive=await upload(broker.download), advanced=at_broker
    )

    expect_form(form, "certificate", {"advanced": "tls_untrusted"})


async def test_a_refused_certificate_is_shown_at_the_archive(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    await broker.arefuse_customer()
    flow = await open_form(hass)
    archive = await upload(broker.download)

    form = await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)

    expect_form(form, "certificate", {"archive": "certificate_refused"})


async def test_a_refused_certificate_is_shown_at_its_file(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    await broker.arefuse_customer()
    flow = await open_form(hass)

    form = await submit(
        hass,
        flow,
        customer_id=42,
        certificate=await upload(broker.customer.certificate),
        private_key=await upload(broker.customer.private_key),
        advanced=at_broker,
    )

    expect_form(form, "certificate", {"certificate": "certificate_refused"})


async def test_a_certificate_that_does_not_let_one_in_is_not_authorised(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    nameless = Issued.by(broker.authority.issuer, "nameless.invalid")
    flow = await open_form(hass)

    form = await submit(
        hass, flow, customer_id=42, archive=await upload(nameless.download()), advanced=at_broker
    )

    expect_form(form, "certificate", {"archive": "not_authorised"})


async def test_a_broker_that_does_not_answer_is_not_waited_for_forever(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    archive = await upload(broker.download)
    broker.freeze()

    with patch.object(account_checks, "ANSWER_WITHIN", 0.2):
        form = await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)

    expect_form(form, "certificate", {"advanced": "timeout"})


async def test_the_loop_reads_no_file_and_parses_no_key(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    loop = threading.get_ident()
    seen: dict[str, int] = {}

    def watched(module: Any, name: str) -> Any:
        real = getattr(module, name)

        def called(*arguments: Any, **named: Any) -> Any:
            seen[name] = threading.get_ident()
            return real(*arguments, **named)

        return patch.object(module, name, called)

    flow = await open_form(hass)
    archive = await upload(broker.download)
    with (
        watched(uploads, "process_uploaded_file"),
        watched(account_checks, "read_certificate_zip"),
        watched(account_checks, "read_ca"),
        watched(account_checks, "build_tls_context"),
    ):
        await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)

    assert len(seen) == 4
    assert loop not in seen.values()
