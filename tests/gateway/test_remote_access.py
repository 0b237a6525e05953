"""Remote access with a real SniTun server: what comes through it is served, and never trusted."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncGenerator
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.web import AppRunner
from homeassistant.auth import auth_manager_from_config
from homeassistant.auth.models import User
from homeassistant.components import onboarding
from homeassistant.components.http.ban import KEY_BAN_MANAGER, KEY_LOGIN_THRESHOLD
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.ulogger.cloud.clesyde.remote import RemoteState
from demo.clesyde.platform import Device, LocalClesyde, serial_of
from tests.support.account import load
from tests.support.clesyde import add_thing, clesyde, entity_ids, online, thing_of, until

__all__ = ["clesyde"]

HOME = "192.0.2.0/24"
OFFICE = "198.51.100.9"
STRANGER = "203.0.113.7"
CLIENT = "https://home.example/"


@pytest.fixture
async def web(hass: HomeAssistant, clesyde: LocalClesyde) -> AsyncGenerator[HomeAssistant]:
    """Home Assistant with a web server, a password, and networks that it trusts."""
    providers = [
        {"type": "homeassistant"},
        {
            "type": "trusted_networks",
            "trusted_networks": ["127.0.0.0/8", HOME, f"{OFFICE}/32"],
            "allow_bypass_login": True,
        },
    ]
    hass.auth = await auth_manager_from_config(hass, providers, [])
    hass.http.trusted_proxies.append(ip_network("192.0.2.200/32"))
    hass.http.app[KEY_LOGIN_THRESHOLD] = 2
    assert await async_setup_component(hass, "auth", {})
    assert await async_setup_component(hass, "api", {})
    # As `HomeAssistantHTTP.start` does; nobody comes but through the tunnel, so nothing listens.
    hass.http.app._router.freeze = lambda: None  # type: ignore[method-assign]
    hass.http.runner = AppRunner(hass.http.app, handler_cancellation=True)
    await hass.http.runner.setup()
    yield hass
    await hass.http.runner.cleanup()


@pytest.fixture
async def owner(web: HomeAssistant) -> User:
    """The one user, with a password."""
    provider = web.auth.get_auth_provider("homeassistant", None)
    assert provider is not None
    await provider.async_initialize()
    await web.async_add_executor_job(provider.data.add_auth, "owner", "right")
    credentials = await provider.async_get_or_create_credentials({"username": "owner"})
    user = await web.auth.async_create_user("Owner", group_ids=["system-admin"])
    await web.auth.async_link_user(user, credentials)
    return user


class Remote:
    """A thing with remote access, and who visits it."""

    def __init__(self, platform: LocalClesyde, device: Device, account: MockConfigEntry) -> None:
        self.platform = platform
        self.device = device
        self.account = account

    async def ask(self, path: str, address: str = STRANGER, **more: Any) -> tuple[int, Any]:
        status, body, _ = await self.platform.visit(self.device, path, address=address, **more)
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body.decode(errors="replace")

    async def post(self, path: str, value: object, address: str = STRANGER) -> tuple[int, Any]:
        body = json.dumps(value).encode()
        headers = {"Content-Type": "application/json"}
        return await self.ask(path, address, method="POST", headers=headers, body=body)

    async def log_in(self, handler: str, address: str = STRANGER, **typed: str) -> tuple[int, Any]:
        """Begin to log in; go on with what is typed."""
        begun = {"client_id": CLIENT, "handler": [handler, None], "redirect_uri": CLIENT}
        status, shown = await self.post("/auth/login_flow", begun, address)
        if status != 200 or not typed or shown["type"] != "form":
            return status, shown
        path = f"/auth/login_flow/{shown['flow_id']}"
        return await self.post(path, {"client_id": CLIENT, **typed}, address)


@pytest.fixture
async def remote(web: HomeAssistant, owner: User, clesyde: LocalClesyde) -> Remote:
    """A thing with remote access turned on."""
    account = await load(web, connection="none")
    subentry = await add_thing(web, account, clesyde)
    device = await online(web, clesyde)
    switch = entity_ids(web, account, subentry)["switch.remote_access"]
    await web.services.async_call("switch", "turn_on", {"entity_id": switch}, blocking=True)
    thing = thing_of(account, subentry)
    await until(web, clesyde, lambda: thing.remote_connected)
    return Remote(clesyde, device, account)


async def test_remote_access_is_off_until_a_person_turns_it_on(
    web: HomeAssistant, clesyde: LocalClesyde
) -> None:
    account = await load(web, connection="none")
    subentry = await add_thing(web, account, clesyde)
    device = await online(web, clesyde)
    await asyncio.sleep(0.2)
    assert device.token_requests == 0
    thing = thing_of(account, subentry)
    assert thing.remote is not None
    assert thing.remote.state is RemoteState.OFF


async def test_a_browser_comes_through_and_logs_in_with_a_password(
    web: HomeAssistant, remote: Remote
) -> None:
    status, shown = await remote.log_in("homeassistant", username="owner", password="right")
    assert (status, shown["type"]) == (200, "create_entry")
    form = f"grant_type=authorization_code&code={shown['result']}&client_id={CLIENT}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, tokens = await remote.ask(
        "/auth/token", method="POST", headers=headers, body=form.encode()
    )
    assert status == 200
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert await remote.ask("/api/", headers=bearer) == (200, {"message": "API running."})
    assert (await remote.ask("/api/"))[0] == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.5", "10.0.0.1", "::1", "fe80::1"])
async def test_nobody_with_an_address_of_home_is_let_in(
    web: HomeAssistant, remote: Remote, address: str
) -> None:
    for way in ("trusted_networks", "homeassistant"):
        status, said = await remote.log_in(way, address, username="owner", password="right")
        assert (status, "home network" in str(said)) == (403, True)


@pytest.mark.parametrize("address", [OFFICE, "192.0.2.5"])
async def test_trusted_networks_never_apply(
    web: HomeAssistant, remote: Remote, address: str
) -> None:
    status, said = await remote.log_in("trusted_networks", address)
    assert status == 403
    assert "trusted" in str(said)
    assert (await remote.ask("/auth/providers", address))[0] == 403


async def test_a_stranger_is_not_offered_trusted_networks(
    web: HomeAssistant, remote: Remote
) -> None:
    _, shown = await remote.ask("/auth/providers")
    offered = [each["type"] for each in shown["providers"]]
    assert offered == ["homeassistant"]
    assert shown["preselect_remember_me"] is False
    # 2026.11 answers as if there were none.
    status, said = await remote.log_in("trusted_networks")
    assert status == 404 or (said["type"], said["reason"]) == ("abort", "not_allowed")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Forwarded-Host"])
async def test_nobody_names_another_address(
    web: HomeAssistant, remote: Remote, header: str
) -> None:
    for address in (STRANGER, "192.0.2.200"):
        status, _ = await remote.ask("/auth/providers", address, headers={header: "127.0.0.1"})
        assert status == 403


async def test_bans_count_the_true_address(web: HomeAssistant, remote: Remote) -> None:
    for _ in range(2):
        await remote.log_in("homeassistant", username="owner", password="wrong")
    assert (await remote.ask("/auth/providers"))[0] == 403
    assert (await remote.ask("/auth/providers", "203.0.113.8"))[0] == 200
    [banned] = web.http.app[KEY_BAN_MANAGER].ip_bans_lookup
    assert str(banned) == STRANGER


async def test_a_user_of_home_only_can_not_log_in(
    web: HomeAssistant, owner: User, remote: Remote
) -> None:
    await web.auth.async_update_user(owner, local_only=True)
    status, _ = await remote.log_in("homeassistant", username="owner", password="right")
    assert status == 403


async def test_nobody_sets_up_a_home_assistant_through_a_tunnel(
    web: HomeAssistant, remote: Remote
) -> None:
    web.data[onboarding.DOMAIN] = onboarding.OnboardingData([], False, {"done": []})
    assert (await remote.ask("/auth/providers"))[0] == 403


# The tunnel


async def test_a_tunnel_that_ends_comes_back(web: HomeAssistant, remote: Remote) -> None:
    await remote.platform.stop_snitun()
    thing = _thing(remote)
    await until(web, remote.platform, lambda: not thing.remote_connected)
    await remote.platform.start_snitun()
    await until(web, remote.platform, lambda: thing.remote_connected)
    assert (await remote.ask("/auth/providers"))[0] == 200


async def test_a_token_is_renewed_before_it_ends(
    web: HomeAssistant, owner: User, clesyde: LocalClesyde
) -> None:
    clesyde.token_life = dt.timedelta(seconds=6)
    account = await load(web, connection="none")
    subentry = await add_thing(web, account, clesyde)
    device = await online(web, clesyde)
    await thing_of(account, subentry).want_remote(wanted=True)
    await until(web, clesyde, lambda: device.token_requests >= 2)
    thing = thing_of(account, subentry)
    await until(web, clesyde, lambda: thing.remote_connected)
    ids = entity_ids(web, account, subentry)
    state = web.states.get(ids["sensor.remote_token_expiry"])
    assert state is not None
    now = dt.datetime.now(dt.UTC)
    assert now < dt.datetime.fromisoformat(state.state) < now + 2 * clesyde.token_life


async def test_turned_off_it_is_gone_and_stays_off_over_a_restart(
    web: HomeAssistant, remote: Remote
) -> None:
    thing = _thing(remote)
    await thing.want_remote(wanted=False)
    await until(web, remote.platform, lambda: not thing.remote_connected)
    await web.config_entries.async_reload(remote.account.entry_id)
    await until(web, remote.platform, lambda: remote.device.states.count("ONLINE") >= 2)
    assert not _thing(remote).remote_wanted


async def test_turned_on_it_is_there_again_after_a_restart(
    web: HomeAssistant, remote: Remote
) -> None:
    await web.config_entries.async_reload(remote.account.entry_id)
    await until(web, remote.platform, lambda: _thing(remote).remote_connected)
    assert (await remote.ask("/auth/providers"))[0] == 200


async def test_a_rotated_certificate_is_shown_and_the_old_one_let_go_of(
    web: HomeAssistant, remote: Remote
) -> None:
    _, _, shown = await remote.platform.visit(remote.device, "/auth/providers")
    assert str(int(shown["serialNumber"], 16)) == serial_of(remote.device.remote)
    serial = await remote.platform.rotate(remote.device)
    thing = _thing(remote)
    await until(web, remote.platform, lambda: thing.keys.remote.serial == serial)
    await until(web, remote.platform, lambda: thing.keys.thing.before is None)
    await until(web, remote.platform, lambda: thing.remote_connected)
    _, _, shown = await remote.platform.visit(remote.device, "/auth/providers")
    assert str(int(shown["serialNumber"], 16)) == serial


def _thing(remote: Remote) -> Any:
    [subentry] = remote.account.subentries.values()
    return thing_of(remote.account, subentry)
