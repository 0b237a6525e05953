"""Every repair of a thing at Clesyde: raised when something is wrong, said right, and gone then."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from threading import Event
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
import pytest_socket
import trustme
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.account.destination_keys import async_keep_keys
from custom_components.ulogger.cloud.clesyde.clesyde import ClesydeDestination
from custom_components.ulogger.cloud.clesyde.errors import ThingError
from custom_components.ulogger.cloud.clesyde.keys import ThingKeys, stored
from custom_components.ulogger.cloud.clesyde.thing import Thing
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.gateway.remote_guard import RemoteGuard
from custom_components.ulogger.repairs import async_create_fix_flow
from tests.support.account import ToldTransport, load, log
from tests.support.clesyde import SERIAL, issued
from tests.support.flows import ENGLISH
from tests.support.issues import Pass, shown, time_passes

__all__ = ["time_passes"]

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
AUTHORITY = trustme.CA()
TITLE = "Clesyde HA-0001"
TOKEN = json.dumps({"valid": 4e9, "token": "t", "throttling": None}).encode()


def text(issue: ir.IssueEntry) -> str:
    """Return what a person reads."""
    texts = ENGLISH["issues"][issue.translation_key]
    placeholders = issue.translation_placeholders or {}
    return " ".join(texts[name].format(**placeholders) for name in ("title", "description"))


class ThingWorld:
    """An account that is a thing; its connection stands as the test says."""

    def __init__(self, hass: HomeAssistant, transport: ToldTransport) -> None:
        self.hass = hass
        self.transport = transport
        self.account: MockConfigEntry
        self.subentry: ConfigSubentry

    async def begin(self, *, wanted: bool = False, iot: int = 400, remote: int = 400) -> None:
        """Set the account up, with certificates that are valid for so many days."""
        self.account = await load(self.hass, connection="none")
        thing = Thing(
            SERIAL,
            "thing",
            "broker.invalid",
            "127.0.0.1:1",
            "remote.invalid",
            AUTHORITY.cert_pem.bytes().decode(),
            issued(AUTHORITY, iot),
            issued(AUTHORITY, remote),
        )
        await async_keep_keys(self.hass, self.account, "k", stored(thing, remote_wanted=wanted))
        topics = {"logs_topic": "logs", "metrics_topic": "", "crashes_topic": ""}
        self.subentry = ConfigSubentry(
            data=MappingProxyType(
                {**topics, "format": "raw", "since": 0.0, "keys": "k", "serial": SERIAL}
            ),
            subentry_type="clesyde",
            title=TITLE,
            unique_id="thing",
        )
        self.hass.config_entries.async_add_subentry(self.account, self.subentry)
        await self.hass.config_entries.async_reload(self.account.entry_id)
        await self.hass.async_block_till_done()

    @property
    def destination(self) -> ClesydeDestination:
        """Return the thing at work."""
        active = self.account.runtime_data.destinations[self.subentry.subentry_id]
        assert isinstance(active.destination, ClesydeDestination)
        return active.destination

    async def until_failed(self, why: str) -> None:
        """Wait until remote access has failed for a reason."""

        def failed() -> bool:
            if self.asks_for_token:
                self.transport.receive(f"c/d/{SERIAL}/remotetoken/res", TOKEN)
            return (self.destination.remote_failure or ("",))[0] == why

        await until(failed)

    @property
    def asks_for_token(self) -> bool:
        """Whether a token was asked for, and not given yet."""
        remote = self.destination.remote
        return remote is not None and remote._answer is not None and not remote._answer.done()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; time stands still, but not for threads."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.to_thread(Event().wait, 0.01)
    raise TimeoutError


@pytest.fixture
async def thing(hass: HomeAssistant) -> AsyncGenerator[ThingWorld]:
    told = ToldTransport()
    with patch("custom_components.ulogger.gateway.clesyde.MqttTransport", return_value=told):
        yield ThingWorld(hass, told)


async def test_a_thing_that_is_well_has_no_issues(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    await thing.begin()
    await time_passes(30 * DAY)
    assert shown(hass) == {}


@pytest.mark.parametrize(
    ("state", "key", "severity"),
    [
        (
            ConnectionState.CREDENTIALS_REFUSED,
            "clesyde_refused",
            ir.IssueSeverity.ERROR,
        ),
        (
            ConnectionState.CLIENT_ID_CONFLICT,
            "clesyde_name_conflict",
            ir.IssueSeverity.WARNING,
        ),
    ],
)
async def test_a_connection_that_ends_for_a_reason_says_so_until_it_is_back(
    hass: HomeAssistant,
    thing: ThingWorld,
    time_passes: Pass,
    state: ConnectionState,
    key: str,
    severity: ir.IssueSeverity,
) -> None:
    await thing.begin()
    thing.transport.tell(state)
    await thing.account.runtime_data.account.outbox.add(log())
    await thing.account.runtime_data.account.async_refresh_counters()
    await time_passes(MINUTE)
    assert list(shown(hass)) == [key]
    assert shown(hass)[key].severity is severity
    said = text(shown(hass)[key])
    assert TITLE in said
    assert re.search(r"Captures wait( for it)? \(1\)", said)
    thing.transport.tell(ConnectionState.CONNECTED)
    await time_passes(MINUTE)
    assert shown(hass) == {}


async def test_a_topic_that_is_denied_is_told_until_it_is_tried_again(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    await thing.begin()
    thing.transport.tell(ConnectionState.CONNECTED)
    topic = f"c/d/{SERIAL}/logs"
    thing.transport.deny(topic)
    await hass.async_block_till_done()
    issue = shown(hass)["clesyde_denied"]
    placeholders = issue.translation_placeholders
    assert placeholders is not None
    assert (placeholders["destination"], placeholders["topic"]) == (TITLE, topic)
    flow = await async_create_fix_flow(hass, issue.issue_id, issue.data)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, issue.issue_id
    await flow.async_step_confirm({})
    await hass.async_block_till_done()
    assert thing.transport.forgiven == 1
    assert shown(hass) == {}


async def test_an_hour_without_clesyde_is_told_until_it_is_back(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    await thing.begin()
    thing.transport.tell(ConnectionState.DISCONNECTED)
    await time_passes(59 * MINUTE)
    assert shown(hass) == {}
    await time_passes(2 * MINUTE)
    issue = shown(hass)["clesyde_unreachable"]
    assert "has had no connection for more than an hour" in text(issue)
    assert TITLE in text(issue)
    thing.transport.tell(ConnectionState.CONNECTED)
    await time_passes(MINUTE)
    assert shown(hass) == {}


async def test_a_certificate_that_ends_is_told_until_it_is_registered_anew(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    await thing.begin(iot=32)
    assert shown(hass) == {}
    await time_passes(3 * DAY)
    ends = thing.destination.keys.iot.until.date().isoformat()
    assert f"ends on {ends}" in text(shown(hass)["clesyde_certificate_expires"])
    anew = Thing(**{**vars_of(thing.destination.keys.thing), "iot": issued(AUTHORITY, 400)})
    await async_keep_keys(hass, thing.account, "k", stored(anew))
    await hass.config_entries.async_reload(thing.account.entry_id)
    await hass.async_block_till_done()
    assert shown(hass) == {}


async def test_a_remote_certificate_that_ends_is_told_until_it_was_rotated(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    await thing.begin(wanted=True, remote=9)
    thing.transport.tell(ConnectionState.CONNECTED)
    await time_passes(MINUTE)
    assert "remote_certificate_expires" not in shown(hass)
    await time_passes(3 * DAY)
    ends = thing.destination.keys.remote.until.date().isoformat()
    assert f"ends on {ends}" in text(shown(hass)["remote_certificate_expires"])
    # Whoever does not want remote access needs no certificate for it.
    await thing.destination.want_remote(wanted=False)
    await time_passes(MINUTE)
    assert shown(hass) == {}
    await thing.destination.want_remote(wanted=True)
    await time_passes(MINUTE)
    assert "remote_certificate_expires" in shown(hass)
    successor = issued(AUTHORITY, 90, since=0)
    thing.destination.rotation.desired(successor.about.serial, "another")
    answer = {"cert": successor.certificate, "pkey": successor.key}
    thing.transport.receive(f"c/d/{SERIAL}/remotecr/res", json.dumps(answer).encode())
    await until(lambda: thing.destination.keys.thing.remote == successor)
    await time_passes(MINUTE)
    assert "remote_certificate_expires" not in shown(hass)


async def test_remote_access_without_a_token_is_told_until_it_is_not_wanted(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    await thing.begin(wanted=True)
    thing.transport.tell(ConnectionState.CONNECTED)
    await until(lambda: thing.asks_for_token)
    await time_passes(MINUTE)
    await until(lambda: (thing.destination.remote_failure or ("",))[0] == "no_token")
    await time_passes(9 * MINUTE)
    assert shown(hass) == {}
    await time_passes(2 * MINUTE)
    assert f"Clesyde gives {TITLE}" in text(shown(hass)["remote_no_token"])
    await thing.destination.want_remote(wanted=False)
    await time_passes(MINUTE)
    assert shown(hass) == {}


async def test_a_remote_certificate_that_can_not_be_served_is_told_until_it_can(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    useless = ThingError("certificate_useless", "told so")
    with (
        patch.object(ThingKeys, "context", side_effect=useless),
        patch.object(RemoteGuard, "make_server", return_value=object()),
    ):
        await thing.begin(wanted=True)
        thing.transport.tell(ConnectionState.CONNECTED)
        await thing.until_failed("certificate")
        await time_passes(11 * MINUTE)
        said = text(shown(hass)["remote_certificate_unusable"])
        assert f"{TITLE} of the account" in said
        assert "no certificate that can be shown" in said
        await thing.destination.want_remote(wanted=False)
        await time_passes(MINUTE)
        assert shown(hass) == {}


async def test_a_web_server_that_has_not_started_is_no_fault_of_a_certificate(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass
) -> None:
    with patch.object(RemoteGuard, "make_server", return_value=None):
        await thing.begin(wanted=True)
        thing.transport.tell(ConnectionState.CONNECTED)
        await thing.until_failed("starting")
        await time_passes(11 * MINUTE)
        assert shown(hass) == {}


async def test_a_tunnel_that_is_not_let_in_is_told_until_it_is_not_wanted(
    hass: HomeAssistant, thing: ThingWorld, time_passes: Pass, socket_enabled: Any
) -> None:
    pytest_socket.enable_socket()
    with patch.object(RemoteGuard, "make_server", return_value=object()):
        await thing.begin(wanted=True)
        thing.transport.tell(ConnectionState.CONNECTED)
        await thing.until_failed("no_tunnel")
        await time_passes(11 * MINUTE)
        said = text(shown(hass)["remote_no_tunnel"])
        assert f"The remote access server of {TITLE}" in said
        await thing.destination.want_remote(wanted=False)
        await time_passes(MINUTE)
        assert shown(hass) == {}


def vars_of(thing: Thing) -> dict[str, Any]:
    """Return the parts of a thing."""
    return {name: getattr(thing, name) for name in Thing.__dataclass_fields__}
