"""UDMI, the gateway's life: how it connects, takes configs, moves, changes keys and restarts."""

import asyncio
import itertools
import json
from typing import Any, Final

from demo.api import Json
from demo.ports import free_port
from demo.udmi.checking import moment
from demo.udmi.site import ENDPOINT_BLOB, Device, LocalSite, blob

from .udmi_stage import EPOCH, LATCH, Scenario, Stage, expect

APART: Final = 0.9
"""Seconds between two states: UDMI has one, less what they spend on the way."""
REDIRECTS_WITHIN: Final = 30.0


def block(device: Device, key: str = ENDPOINT_BLOB) -> Json:
    """Return what the state says of a blob."""
    found: Json = device.state.get("blobset", {}).get("blobs", {}).get(key, {})
    return found


def endpoint_blob(site: LocalSite, **other: Any) -> Json:
    """Return the blob that sends a gateway to a site."""
    content = json.dumps(site.endpoint(**other)).encode()
    return {ENDPOINT_BLOB: blob(content, kind="application/json")}


def pace(device: Device) -> float:
    """Return the shortest time between two states of a device."""
    times = device.state_times
    return min((b - a for a, b in itertools.pairwise(times)), default=9.0)


# 4


async def connected(stage: Stage, name: str) -> None:
    """Check that a gateway came in as its endpoint and its keys say, and takes its config."""
    site = stage.places[name]
    await stage.until(lambda: site.gateway.states, f"{name}: no state", site=site)
    await stage.configure(site.gateway, site=site)
    expect(not site.gate.refusals, f"{name}: {site.gate.refusals}")


async def connect_password(stage: Stage) -> None:
    """4: user and password."""
    await connected(stage, "moving")


async def connect_certificate(stage: Stage) -> None:
    """4: a certificate that was generated here and registered there."""
    await connected(stage, "sealed")


async def connect_openly(stage: Stage) -> None:
    """4: a site that asks for nothing."""
    await connected(stage, "open")


async def connect_token(stage: Stage) -> None:
    """4: a token, signed as RFC 7518 has it; the flow generates the key that signs it."""
    for name, algorithm in (("main", "ES256"), ("keyed", "RS256")):
        await connected(stage, name)
        algorithms = stage.places[name].door.algorithms
        expect(set(algorithms) == {algorithm}, f"{name}: {algorithms}")


async def connect_again(stage: Stage) -> None:
    """4: a connection that is lost comes back by itself, and so do the devices."""
    before = stage.site.gate.counters["admitted"]
    states = len(stage.proxy.states)
    await stage.site.gate.drop()
    await stage.until(lambda: stage.site.gate.counters["admitted"] > before, "it stays away")
    await stage.until(lambda: len(stage.proxy.states) > states, "the device stays away")
    await stage.configure(stage.proxy)


# 5


async def config_ack(stage: Stage) -> None:
    """5: a config is acknowledged within five seconds, with its own time."""
    for device in (stage.gateway, stage.proxy):
        for _ in range(2):
            said = await stage.configure(device)
            stands = str(device.system()["last_config"])
            # Somebody else may have configured it meanwhile.
            latest = str(device.config["timestamp"])
            expect(said <= stands <= latest, f"{stands} is no config's time")


async def config_broken(stage: Stage) -> None:
    """5: what is no config changes nothing and is told; the next good one ends that."""
    said = await stage.configure(
        stage.proxy, pointset={"sample_rate_sec": 3600, "points": {"slow": {}}}
    )
    for broken in (b"{", b"[]", b"\xff\xfe", b'{"version": "1.5.7"}', b'{"timestamp": "soon"}'):
        states = len(stage.proxy.states)
        await stage.site.say(stage.proxy.id, "config", broken)
        await stage.until(
            lambda states=states: len(stage.proxy.states) > states,  # type: ignore[misc]
            f"{broken!r} is not told",
            5,
        )
        system = stage.proxy.system()
        status = system.get("status", {})
        expect(status.get("level", 0) >= 500, f"{broken!r}: status {status}")
        expect(status["category"] == "system.config.parse", f"{broken!r}: {status['category']}")
        expect(moment(system["last_config"]) == moment(said), f"{broken!r} is acknowledged")
        points = stage.proxy.state["pointset"]["points"]
        expect(points.keys() == {"slow"}, f"{broken!r}: the old config is not kept")
    await stage.configure(stage.proxy)
    expect("status" not in stage.proxy.system(), "the status stays")


async def config_unknown(stage: Stage) -> None:
    """5: fields that nobody knows are left alone."""
    odd: dict[str, Any] = {
        "x_new": {"a": [1, {"b": 2}]},
        "pointset": {"sample_rate_sec": 3600, "x_more": True},
    }
    await stage.configure(stage.proxy, **odd)
    expect("status" not in stage.proxy.system(), f"status {stage.proxy.system().get('status')}")
    expect("status" not in stage.proxy.state["pointset"], "a status of the pointset")
    await stage.configure(stage.proxy, x_new=None, pointset={"sample_rate_sec": 3600})


async def state_paced(stage: Stage) -> None:
    """5: many configs at once are few states, at least a second apart, the last one last."""
    before = len(stage.proxy.states)
    said = ""
    for _ in range(20):
        said = await stage.site.configure(stage.proxy.id)
        await asyncio.sleep(0.05)
    await stage.acknowledged(stage.proxy, said)
    expect(len(stage.proxy.states) - before <= 5, f"{len(stage.proxy.states) - before} states")
    for device in (stage.gateway, stage.proxy):
        expect(pace(device) > APART, f"states of {device.id} came {pace(device):.2f} s apart")


async def state_latched(stage: Stage) -> None:
    """5: the first state waits for the first config, or for as long as the endpoint says."""
    site = stage.places["open"]
    await stage.until(lambda: site.gateway.states, "no state without a config", site=site)
    waited = site.gateway.state_times[0] - site.gate.admissions[0]
    expect(waited > LATCH - 0.5, f"the state came after {waited:.1f} s")
    expect(moment(site.gateway.system()["last_config"]) == EPOCH, "a config that never came")
    site.answers_configs = True
    await stage.configure(site.gateway, site=site)
    first = next(iter(stage.gateway.states))
    expect(moment(first["system"]["last_config"]) != EPOCH, "a state did not wait for its config")


async def identity(stage: Stage) -> None:
    """5: who made it, what it is, its serial number and its software, of gateway and devices."""
    for device in (stage.gateway, stage.proxy):
        system = device.system()
        hardware = system["hardware"]
        expect(hardware["make"] and hardware["model"], f"{device.id}: hardware {hardware}")
        expect(system["software"], f"{device.id}: no software")
        expect(system["operation"]["operational"] is True, f"{device.id}: not operational")
    expect(stage.gateway.system()["operation"]["restart_count"] >= 0, "no restart count")
    expect(moment(stage.gateway.system()["operation"]["last_start"]), "no last start")
    own = stage.demo.devices[0].identity
    serials = {each.identity.serial for each in stage.demo.devices}
    expect(stage.proxy.system()["serial_no"] in serials, "another serial number")
    expect(stage.proxy.system()["hardware"]["model"] == own.device_type, "another model")
    software = stage.proxy.system()["software"].values()
    expect(own.git_version in software, f"software {list(software)}")


# 11


async def redirected(stage: Stage) -> None:
    """11: a new endpoint is tried, taken and remembered; the old one hears it coming."""
    old, new = stage.places["moving"], stage.places["moved"]
    blobs = {"blobs": endpoint_blob(new)}
    new.gateway.config["blobset"] = blobs
    await old.configure(old.gateway.id, blobset=blobs)
    await stage.until(
        lambda: any(
            each.get("blobset", {}).get("blobs", {}).get(ENDPOINT_BLOB, {}).get("phase") == "apply"
            for each in old.gateway.states
        ),
        "the old endpoint does not hear of it",
        site=old,
    )
    await stage.until(
        lambda: block(new.gateway).get("phase") == "final",
        f"it does not come: {new.gate.refusals}",
        REDIRECTS_WITHIN,
        site=new,
    )
    status = block(new.gateway).get("status", {})
    expect(status.get("level", 0) < 500, f"status {status}")
    # It is remembered, and the one that is done already is not done again.
    admitted = new.gate.counters["admitted"]
    await new.gate.drop()
    await stage.until(lambda: new.gate.counters["admitted"] > admitted, "gone again", site=new)
    await stage.configure(new.gateway, site=new)


async def redirect_fails(stage: Stage) -> None:
    """11: where nobody answers it comes back, says so, and does not try for ever."""
    site = stage.places["moving"]
    blobs = endpoint_blob(site, port=free_port())
    await site.configure(site.gateway.id, blobset={"blobs": blobs})
    await stage.until(
        lambda: block(site.gateway).get("phase") == "final",
        f"it does not come back: {block(site.gateway)}",
        REDIRECTS_WITHIN + 10,
        site=site,
    )
    status = block(site.gateway).get("status", {})
    expect(status.get("level") == 500, f"status {status}")
    expect(status["category"] == "blobset.blob.apply", f"category {status['category']}")
    admitted = site.gate.counters["admitted"]
    await stage.configure(site.gateway, site=site)
    await asyncio.sleep(2)
    expect(site.gate.counters["admitted"] == admitted, "it tries again and again")
    await stage.configure(site.gateway, site=site, blobset=None)


async def redirect_asks(stage: Stage) -> None:
    """11: a host that is not approved waits for a person."""
    site, other = stage.places["moved"], stage.places["moving"]
    admitted, states = other.gate.counters["admitted"], len(other.gateway.states)
    blobs = {"blobs": endpoint_blob(other, hostname="localhost")}
    other.gateway.config["blobset"] = blobs
    await site.configure(site.gateway.id, blobset=blobs)
    issue = await stage.until_issue("udmi_redirect")
    expect(other.gate.counters["admitted"] == admitted, "it went without being allowed to")
    await stage.confirm(issue)
    await stage.until(
        lambda: other.gateway.states[states:] and block(other.gateway).get("phase") == "final",
        "it does not go where a person has let it",
        REDIRECTS_WITHIN,
        site=other,
    )


async def key_rotated(stage: Stage) -> None:
    """11: a new key on command, told to the site; the old one comes back where it is not taken."""
    site = stage.places["keyed"]
    system = {"metrics_rate_sec": 0, "min_loglevel": 100}
    await stage.configure(site.gateway, site=site, system=system)
    [first] = site.door.keys
    # The site takes what the gateway tells it of its new key.
    told = asyncio.create_task(_register_told_keys(stage, site))
    await site.command(site.gateway.id, "rotate_key", {})
    pem = await told
    expect(len(site.door.keys) == 2, f"no new key is told: {pem}")
    site.door.keys.remove(first)
    admitted = site.gate.counters["admitted"]
    await site.gate.drop()
    await stage.until(
        lambda: site.gate.counters["admitted"] > admitted, "the new key is not used", site=site
    )
    await stage.configure(site.gateway, site=site)
    # It tells that it begins, and that it is done.
    await stage.until(
        lambda: [e["category"] for e in site.gateway.entries()].count("system.auth.login") >= 2,
        "it is not told that the key was rotated",
        site=site,
    )
    # A key that nobody registers is no way to be locked out.
    refused, admitted = len(site.gate.refusals), site.gate.counters["admitted"]
    await site.command(site.gateway.id, "rotate_key", {})
    await stage.until(lambda: len(site.gate.refusals) > refused, "no new key", 10, site=site)
    await stage.until(
        lambda: site.gate.counters["admitted"] > admitted,
        f"it is locked out: {site.gate.refusals[-3:]}",
        REDIRECTS_WITHIN + 10,
        site=site,
    )
    await stage.configure(site.gateway, site=site)


async def _register_told_keys(stage: Stage, site: LocalSite) -> str:
    """Wait for a public key in what the gateway says, and register it."""
    found: list[str] = []

    def look() -> bool:
        for message in site.messages:
            text = json.dumps(message.document)
            if "BEGIN PUBLIC KEY" in text or "BEGIN CERTIFICATE" in text:
                found[:] = [_pem_in(message.document)]
        return bool(found)

    await stage.until(look, "no key is told", 20, site=site)
    site.door.register(found[0])
    return found[0]


def _pem_in(value: Any) -> str:
    if isinstance(value, dict):
        return next((pem for each in value.values() if (pem := _pem_in(each))), "")
    if isinstance(value, list):
        return next((pem for each in value if (pem := _pem_in(each))), "")
    text = str(value)
    start, end = text.find("-----BEGIN"), text.rfind("-----")
    return text[start : end + 5] if start >= 0 else ""


async def restart(stage: Stage, site: LocalSite) -> None:
    """Have a site restart its gateway, and wait until that is back."""
    gateway = site.gateway
    await stage.configure(gateway, site=site, system=_mode("active"))
    await stage.until(
        lambda: gateway.system()["operation"].get("mode") == "active", "not active", site=site
    )
    count = gateway.system()["operation"]["restart_count"]
    before = len(gateway.states)
    await site.configure(gateway.id, system=_mode("restart"))
    await stage.until(
        lambda: any(
            each["system"]["operation"].get("mode") == "restart" for each in gateway.states[before:]
        ),
        "it does not say that it restarts",
        site=site,
    )
    await stage.until(
        lambda: gateway.system()["operation"]["restart_count"] > count,
        "it does not come back, or does not count",
        20,
        site=site,
    )
    await stage.configure(gateway, site=site, system=_mode("active"))
    await stage.until(
        lambda: gateway.system()["operation"].get("mode") == "active", "not active", site=site
    )


def _mode(mode: str) -> Json:
    return {"metrics_rate_sec": 0, "operation": {"mode": mode}}


async def restarted(stage: Stage) -> None:
    """11: a restart loads the account anew, is counted, and forgets nothing."""
    old, site = stage.places["moved"], stage.places["moving"]
    before = old.gate.counters["admitted"]
    await restart(stage, site)
    expect(old.gate.counters["admitted"] == before, "the redirection is forgotten")


async def lifecycle(stage: Stage) -> None:
    """11: shutdown ends the gateway and leaves Home Assistant as it is; a person has it back."""
    site = stage.places["open"]
    await stage.configure(site.gateway, site=site, system=_mode("active"))
    await site.configure(site.gateway.id, system=_mode("shutdown"))
    await stage.until(
        lambda: site.gateway.system()["operation"].get("mode") == "shutdown",
        "it does not say that it ends",
        site=site,
    )
    expect(site.gateway.system()["operation"]["operational"] is False, "it says it works on")
    issue = await stage.until_issue("udmi_shut_down")
    expect(await stage.api.answers(), "Home Assistant has ended, too")
    site.gateway.config["system"] = _mode("active")
    admitted = site.gate.counters["admitted"]
    await stage.confirm(issue)
    await stage.until(
        lambda: site.gate.counters["admitted"] > admitted, "a person can't have it on", site=site
    )


CONFIGS: Final[dict[str, Scenario]] = {
    "config_ack": config_ack,
    "config_broken": config_broken,
    "config_unknown": config_unknown,
    "identity": identity,
    "state_paced": state_paced,
}
REDIRECTS: Final[dict[str, Scenario]] = {
    "connect_password": connect_password,
    "redirect_fails": redirect_fails,
    "redirected": redirected,
    "redirect_asks": redirect_asks,
}
KEYS: Final[dict[str, Scenario]] = {
    "connect_token": connect_token,
    "key_rotated": key_rotated,
}
LATCH_ALONE: Final[dict[str, Scenario]] = {
    "state_latched": state_latched,
    "connect_openly": connect_openly,
}
CERTIFICATE: Final[dict[str, Scenario]] = {
    "connect_certificate": connect_certificate,
}
ENDS: Final[dict[str, Scenario]] = {
    "connect_again": connect_again,
    "restarted": restarted,
    "lifecycle": lifecycle,
}
