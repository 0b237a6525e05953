"""A collector becomes a destination only after it has answered, and its secrets stay secret."""

import json
from typing import Any
from unittest.mock import patch

import pytest
import pytest_socket
import trustme
from aiohttp import web
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.destination_keys import async_load_keys
from custom_components.ulogger.cloud.tls import UnusableFiles
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import otlp_checks
from demo.otlp import LocalCollector
from tests.support.collector import FORM, collector, fill, server_context
from tests.support.flows import Upload, answer, expect_abort, expect_form, suggestions

__all__ = ["collector"]
pytestmark = pytest.mark.usefixtures("set_up")


@pytest.fixture
def account(hass: HomeAssistant) -> MockConfigEntry:
    """An account; what it is connected to is no matter here."""
    entry = MockConfigEntry(
        domain=DOMAIN, unique_id="42-0", data={"connection": "mqtt", "client_suffix": "5eed5eed"}
    )
    entry.add_to_hass(hass)
    return entry


def only(account: MockConfigEntry) -> ConfigSubentry:
    [subentry] = account.subentries.values()
    return subentry


async def keys(hass: HomeAssistant, account: MockConfigEntry) -> Any:
    return await async_load_keys(hass, account, only(account).data["keys"])


def refused(result: Any, **errors: str) -> None:
    expect_form(result, result["step_id"], errors, destination="otlp")


async def change(hass: HomeAssistant, account: MockConfigEntry, **typed: Any) -> Any:
    form = await account.start_subentry_reconfigure_flow(hass, only(account).subentry_id)
    expect_form(form, "reconfigure", destination="otlp")
    shown = {**suggestions(form), "tls": {"forget": False}}
    return await answer(hass, form, **{**shown, **typed})


async def test_a_collector_that_answers_is_added_and_its_token_stands_in_no_entry(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    done = await fill(
        hass, account, f" {collector.url}/v1/logs/ ", headers="Authorization: Bearer s3cret\n"
    )
    assert done["type"] is FlowResultType.CREATE_ENTRY
    subentry = only(account)
    assert subentry.title == "127.0.0.1"
    assert subentry.data["url"] == subentry.unique_id == collector.url
    assert "s3cret" not in json.dumps(dict(subentry.data))
    assert (await keys(hass, account))["headers"] == {"Authorization": "Bearer s3cret"}
    assert [each["Authorization"] for each in collector.headers] == ["Bearer s3cret"] * 2
    assert collector.received.records == []
    assert collector.received.invalid == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("collector:4318", "invalid_url"),
        ("https://", "invalid_url"),
        ("https://a b", "invalid_url"),
        ("https://host:99999", "invalid_url"),
        ("ftp://host", "invalid_url"),
        ("https://user:pass@host", "secret_in_url"),
        ("https://host?token=1", "query_in_url"),
        ("https://host/#x", "query_in_url"),
    ],
)
async def test_an_address_that_is_none_is_refused(
    hass: HomeAssistant, account: MockConfigEntry, url: str, reason: str
) -> None:
    refused(await fill(hass, account, url), url=reason)


async def test_what_is_not_encrypted_has_to_be_allowed(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    refused(await fill(hass, account, collector.url, unencrypted=False), url="unencrypted")
    assert collector.received.requests == 0


@pytest.mark.parametrize("headers", ["no colon", "Content-Type: x", "A b: c", "A: \x01", "A:"])
async def test_headers_that_are_none_are_refused(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector, headers: str
) -> None:
    refused(await fill(hass, account, collector.url, headers=headers), headers="invalid_headers")


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (401, {"headers": "api_token_refused"}),
        (404, {"url": "not_a_collector"}),
        (307, {"url": "redirected"}),
        (429, {"url": "collector_overloaded"}),
        (400, {"url": "message_refused"}),
    ],
)
async def test_what_the_collector_answers_is_shown_where_it_can_be_mended(
    hass: HomeAssistant,
    account: MockConfigEntry,
    collector: LocalCollector,
    status: int,
    errors: dict[str, str],
) -> None:
    async def told(_request: web.Request, _number: int) -> web.Response:
        return web.Response(status=status, headers={"Location": "http://elsewhere.invalid"})

    collector.answer = told
    refused(await fill(hass, account, collector.url), **errors)


async def test_nothing_there_is_no_collector(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    await collector.stop()
    refused(await fill(hass, account, collector.url), url="cannot_connect")


async def test_only_its_logs_are_asked_for_without_metrics(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    async def no_metrics(request: web.Request, _number: int) -> web.Response | None:
        return web.Response(status=404) if request.path.endswith("metrics") else None

    collector.answer = no_metrics
    refused(await fill(hass, account, collector.url), url="not_a_collector")
    done = await fill(hass, account, collector.url, metrics=False)
    assert done["type"] is FlowResultType.CREATE_ENTRY


async def test_a_collector_is_added_once(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    await fill(hass, account, collector.url)
    refused(await fill(hass, account, f"{collector.url}/"), url="already_configured")
    only(account)


async def test_own_authority_and_client_certificate(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, socket_enabled: None
) -> None:
    pytest_socket.enable_socket()
    # Handshakes that fail are what the server is to see here.
    hass.loop.set_exception_handler(lambda *_: None)
    authority, clients = trustme.CA(), trustme.CA()
    client = clients.issue_cert("gateway.invalid")
    async with LocalCollector(server_context(authority, clients)) as collector:
        refused(await fill(hass, account, collector.url), url="tls_untrusted")
        certificate = client.cert_chain_pems[0].bytes()
        only_one = {"certificate": await upload(certificate)}
        done = await fill(hass, account, collector.url, tls=only_one)
        refused(done, tls="both_files")
        assert not done["data_schema"].schema["tls"].options["collapsed"]
        stranger = trustme.CA().issue_cert("gateway.invalid")
        wrong = {
            "certificate": await upload(certificate),
            "private_key": await upload(stranger.private_key_pem.bytes()),
        }
        refused(await fill(hass, account, collector.url, tls=wrong), tls="unusable_files")
        files = {
            "ca": await upload(authority.cert_pem.bytes()),
            "certificate": await upload(client.cert_chain_pems[0].bytes()),
            "private_key": await upload(client.private_key_pem.bytes()),
        }
        done = await fill(hass, account, collector.url, unencrypted=False, tls=files)
        assert done["type"] is FlowResultType.CREATE_ENTRY
        assert "PRIVATE" not in json.dumps(dict(only(account).data))
        assert "PRIVATE KEY" in (await keys(hass, account))["private_key"]
        # What is not typed stays.
        done = await change(hass, account, headers="X-Scope: a")
        expect_abort(done, "reconfigure_successful", own=False, destination="otlp")
        assert (await keys(hass, account))["headers"] == {"X-Scope": "a"}
        assert "PRIVATE KEY" in (await keys(hass, account))["private_key"]
        refused(await change(hass, account, tls={"forget": True}), url="tls_untrusted")


async def test_headers_stay_until_others_are_typed_or_they_are_forgotten(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    await fill(hass, account, collector.url, headers="A: 1")
    before = only(account).data["keys"]
    await change(hass, account)
    assert only(account).data["keys"] == before
    await change(hass, account, headers="A: 2")
    assert only(account).data["keys"] != before
    assert (await keys(hass, account))["headers"] == {"A": "2"}
    await change(hass, account, tls={"forget": True})
    assert (await keys(hass, account))["headers"] == {}


async def test_a_disk_that_does_not_take_the_headers_is_named(
    hass: HomeAssistant,
    account: MockConfigEntry,
    collector: LocalCollector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr("homeassistant.helpers.storage.Store.async_load", nothing)
    done = await fill(hass, account, collector.url, headers="A: 1")
    refused(done, base="secrets_not_kept")
    assert FORM["include_kept"]
    assert not account.subentries


async def test_files_that_are_gone_or_no_certificates_are_told_at_their_section(
    hass: HomeAssistant, account: MockConfigEntry, upload: Upload, collector: LocalCollector
) -> None:
    gone = "0" * 32
    for files, reason in (
        ({"ca": gone}, "upload_gone"),
        ({"ca": await upload(b"nothing")}, "unusable_files"),
        ({"certificate": await upload(b"nothing"), "private_key": gone}, "upload_gone"),
        (
            {"certificate": await upload(b"nothing"), "private_key": await upload(b"nothing")},
            "unusable_files",
        ),
    ):
        refused(await fill(hass, account, collector.url, tls=files), tls=reason)
    assert not account.subentries


async def test_files_that_make_no_connection_are_told_at_their_section(
    hass: HomeAssistant, account: MockConfigEntry, collector: LocalCollector
) -> None:
    unusable = UnusableFiles("no certificate authority")
    with patch.object(otlp_checks, "client_context", side_effect=unusable):
        done = await fill(hass, account, "https://127.0.0.1:9", unencrypted=False)
    refused(done, tls="unusable_files")
