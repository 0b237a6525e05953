"""UDMI, the devices behind the gateway: their logs, who is near, what they are sent."""

import asyncio
import datetime as dt
import time
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from custom_components.ulogger import const as c
from demo.api import Json
from demo.cloud.broker import HOST
from demo.ports import free_port
from demo.udmi.checking import ADDRESS, moment
from demo.udmi.comparing import compare_entries
from demo.udmi.site import LocalSite, as_text, blob

from .udmi_stage import NotSo, Scenario, Stage, expect

IMAGE: Final = "ulogger_image"
FIRMWARE: Final = Path(__file__).parent.parent / "tests/fixtures/agent/v4-crash/firmware.elf"
ERROR: Final = 3
"""What a device calls it."""
QUIET: Final = 2.5
"""Seconds in which something that must not happen would have happened."""


def now() -> str:
    """Return the present moment."""
    return as_text(dt.datetime.now(dt.UTC))


# 8


async def captures_told(stage: Stage) -> None:
    """8: each frame at or above the level is an entry, each metric a point, each crash an entry."""
    devices = stage.demo.devices

    def there() -> bool:
        found = compare_entries(devices, stage.site, None)
        return not found.missing

    try:
        await stage.until(there, "", 30)
    except NotSo as err:
        missing = compare_entries(devices, stage.site, None).missing
        raise NotSo(f"missing: {missing}") from err
    found = compare_entries(devices, stage.site, None)
    expect(found.identical == found.expected, f"{found.different}")
    entry = stage.proxy.entries()[0]
    at = moment(entry["timestamp"])
    expect(at is not None and abs(at.timestamp() - time.time()) < 10 * 365 * 86400, "no time")


async def records_told(stage: Stage) -> None:
    """8: records of the integration are entries of the gateway, from its level on."""
    await stage.configure(stage.gateway, system={"metrics_rate_sec": 0, "min_loglevel": 100})
    before = len(stage.gateway.entries())
    await stage.configure(stage.gateway)
    await stage.until(
        lambda: stage.gateway.entries()[before:], "the gateway says nothing of itself"
    )
    categories = {each["category"] for each in stage.gateway.entries()}
    expect(any(each.startswith("system.") for each in categories), f"categories {categories}")
    await stage.configure(stage.gateway, system={"metrics_rate_sec": 0, "min_loglevel": 500})
    await asyncio.sleep(0.5)
    before = len(stage.gateway.entries())
    await stage.configure(stage.gateway)
    await asyncio.sleep(1.0)
    levels = {each["level"] for each in stage.gateway.entries()[before:]}
    expect(all(each >= 500 for each in levels), f"entries of level {levels}")


async def log_level_wished(stage: Stage) -> None:
    """8: the level that a site wants of a device becomes a wish for that device's own level."""
    await stage.configure(stage.second, system={"min_loglevel": 500})
    serial = stage.second.system()["serial_no"]
    end = time.monotonic() + 10
    while ERROR not in (levels := await wished_levels(stage, serial)):
        if time.monotonic() > end:
            raise NotSo(f"{serial}: only {levels} are wished for")
        await asyncio.sleep(0.2)
    await stage.configure(stage.second, system={"min_loglevel": 100})


async def wished_levels(stage: Stage, serial: str) -> list[int]:
    """Return the log levels that somebody wishes of a device."""
    path = f"/api/diagnostics/config_entry/{stage.entry_id}"
    told = await stage.api.request("GET", path)
    [device] = [each for each in told["data"]["devices"] if each["identity"]["serial"] == serial]
    return [wish["level"] for wish in device["log_levels"]["wishes"].values()]


async def metrics_told(stage: Stage) -> None:
    """8: memory, disk and load at the rate that the site wants, and never at a rate of zero."""

    def measured() -> list[Json]:
        return [each for each in stage.gateway.events("system") if "metrics" in each]

    before = len(measured())
    began = time.time()
    await stage.configure(stage.gateway, system={"metrics_rate_sec": 1})
    await stage.until(lambda: len(measured()) >= before + 3, "no metrics")
    took = time.time() - began
    expect(len(measured()) - before <= took + 2, f"{len(measured())} in {took:.1f} s")
    latest = measured()[-1]["metrics"]
    expect(latest["mem_total_mb"] > latest["mem_free_mb"] > 0, f"metrics {latest}")
    await stage.configure(stage.gateway, system={"metrics_rate_sec": 0})
    await asyncio.sleep(0.5)
    before = len(measured())
    await asyncio.sleep(QUIET)
    expect(len(measured()) == before, "metrics at a rate of zero")


# 9


async def proxies_attached(stage: Stage) -> None:
    """9: devices are attached, released and attached again as the site lists them."""
    first, second = stage.proxy, stage.second
    expect(first.attached and second.attached, "a device is not attached")
    serials = {each.system()["serial_no"] for each in (first, second)}
    expect(serials == {each.identity.serial for each in stage.demo.devices}, f"{serials}")
    await stage.configure(stage.gateway, gateway={"proxy_ids": [first.id]})
    await stage.until(lambda: not second.attached, "it is not released")
    before = len(second.messages)
    await stage.site.configure(second.id)
    await asyncio.sleep(QUIET)
    expect(len(second.messages) == before, "it is spoken for after it was released")
    await stage.configure(stage.gateway, gateway={"proxy_ids": [first.id, second.id]})
    await stage.until(lambda: second.attached, "it is not attached again")
    await stage.configure(second)


async def proxies_unknown(stage: Stage) -> None:
    """9: an ID that is no device of this gateway's is reported, and harms no other."""
    own = [stage.proxy.id, stage.second.id]
    await stage.configure(stage.gateway, gateway={"proxy_ids": [*own, "AHU-99"]})
    await stage.until(
        lambda: stage.gateway.state.get("gateway", {}).get("status"), "nothing is reported"
    )
    status = stage.gateway.state["gateway"]["status"]
    expect(status["level"] >= 400, f"status {status}")
    expect(status["category"] == "gateway.setup.attach", f"category {status['category']}")
    await stage.configure(stage.proxy)
    await stage.configure(stage.gateway, gateway={"proxy_ids": own})
    await stage.until(
        lambda: "status" not in stage.gateway.state.get("gateway", {}), "the status stays"
    )


async def localnet_told(stage: Stage) -> None:
    """9: a device tells its address in its family, as UDMI spells addresses."""
    await stage.configure(stage.proxy, localnet={"families": {"ble": {}}})
    families = stage.proxy.state.get("localnet", {}).get("families", {})
    address = str(families.get("ble", {}).get("addr", ""))
    expect(ADDRESS.fullmatch(address), f"families {families}")
    expect(address in {each.address.upper() for each in stage.demo.devices}, f"address {address}")
    expect(stage.gateway.state.get("localnet", {}).get("families"), "the gateway has no address")


def found_near(stage: Stage, since: int) -> list[Json]:
    """Return what was found by scans, from some event on."""
    events = stage.gateway.events("discovery")[since:]
    return [each for each in events if each.get("family") == "ble" and "addr" in each]


async def discovery_scanned(stage: Stage) -> None:
    """9: a scan of its generation tells each device near by once, with what is known of it."""
    before = len(stage.gateway.events("discovery"))
    generation = now()
    family = {"generation": generation, "scan_duration_sec": 3}
    phases: list[str] = []

    def scan() -> Json:
        families = stage.gateway.state.get("discovery", {}).get("families", {})
        found: Json = families.get("ble", {})
        if (phase := found.get("phase")) and phases[-1:] != [phase]:
            phases.append(phase)
        return found

    await stage.configure(stage.gateway, discovery={"families": {"ble": family}})
    await stage.until(lambda: scan().get("phase") == "active", f"it does not begin: {scan()}")
    expect(moment(scan().get("generation")) == moment(generation), f"generation {scan()}")
    await stage.until(lambda: scan().get("phase") == "stopped", f"it does not end: {scan()}")
    found = found_near(stage, before)
    addresses = [each["addr"] for each in found]
    wanted = {each.address.upper() for each in stage.demo.devices}
    expect(wanted <= set(addresses), f"found {addresses}")
    expect(len(addresses) == len(set(addresses)), "a device was told twice")
    expect(all(moment(e["generation"]) == moment(generation) for e in found), "a generation")
    serials = {each.get("system", {}).get("serial_no") for each in found}
    expect(
        {each.identity.serial for each in stage.demo.devices} <= serials,
        f"who they are is not told: {serials}",
    )
    models = {each.get("system", {}).get("hardware", {}).get("model") for each in found}
    expect(stage.demo.devices[0].identity.device_type in models, f"models {models}")
    # A generation that is done is not done again.
    before = len(stage.gateway.events("discovery"))
    await stage.configure(stage.gateway)
    await asyncio.sleep(QUIET)
    expect(not found_near(stage, before), "the same generation was scanned again")


async def discovery_repeated(stage: Stage) -> None:
    """9: scans repeat at whole intervals since their generation."""
    before = len(stage.gateway.events("discovery"))
    began = dt.datetime.now(dt.UTC)
    family = {"generation": as_text(began), "scan_interval_sec": 10, "scan_duration_sec": 1}
    await stage.configure(stage.gateway, discovery={"families": {"ble": family}})

    def generations() -> set[dt.datetime]:
        times = (moment(each["generation"]) for each in found_near(stage, before))
        return {each for each in times if each is not None}

    await stage.until(lambda: len(generations()) >= 2, "it is not scanned again", 15)
    for each in generations():
        since = (each - began).total_seconds()
        expect(
            abs(since - 10 * round(since / 10)) < 0.01, f"a generation {since} s after the first"
        )
    await stage.configure(stage.gateway, discovery=None)
    before = len(stage.gateway.events("discovery"))
    await asyncio.sleep(QUIET)
    expect(not found_near(stage, before), "it scans on")


# 10


def keeper(stage: Stage) -> LocalSite:
    """Return the site that hands out blobs."""
    return stage.places["sealed"]


def blob_state(stage: Stage, key: str) -> Json:
    """Return what the state says of a blob."""
    found: Json = keeper(stage).gateway.state.get("blobset", {}).get("blobs", {}).get(key, {})
    return found


async def until_final(stage: Stage, key: str, described: Json) -> Json:
    """Have a blob applied; returns its last state."""
    before = len(keeper(stage).gateway.states)
    site = keeper(stage)
    await stage.configure(site.gateway, site=site, blobset={"blobs": {key: described}})

    def done() -> bool:
        found = blob_state(stage, key)
        same = moment(found.get("generation")) == moment(described["generation"])
        return found.get("phase") == "final" and same

    try:
        await stage.until(done, "", 20, site=site)
    except NotSo as err:
        raise NotSo(f"{key} is never final: {blob_state(stage, key)}") from err
    expect(len(keeper(stage).gateway.states) > before, "no state")
    return blob_state(stage, key)


async def blob_refused(stage: Stage) -> None:
    """10: what is unknown, too large, away or another content is refused at its step."""
    good = blob(b"nothing")
    refused: tuple[tuple[str, str, Json], ...] = (
        ("an unknown key", "coffee_machine", good),
        ("another content", IMAGE, {**good, "sha256": "0" * 64}),
        ("nobody there", IMAGE, {**good, "url": f"http://{HOST}:{free_port()}/image"}),
        ("a file", IMAGE, {**good, "url": "file:///etc/hostname"}),
        ("no image", IMAGE, good),
    )
    for number, (what, key, described) in enumerate(refused):
        later = dt.datetime.now(dt.UTC) + dt.timedelta(milliseconds=number)
        state = await until_final(stage, key, {**described, "generation": as_text(later)})
        status = state.get("status", {})
        expect(status.get("level") == 500, f"{what}: status {status}")
        expect(status["category"].startswith("blobset.blob."), f"{what}: {status['category']}")


async def blob_applied(stage: Stage) -> None:
    """10: a firmware image is fetched, verified, imported, and never twice in one generation."""
    site = keeper(stage)
    image = await asyncio.to_thread(FIRMWARE.read_bytes)
    asked: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=image)

    app = web.Application()
    app.router.add_get("/image", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, HOST, port).start()
    try:
        described = blob(image, url=f"http://{HOST}:{port}/image")
        state = await until_final(stage, IMAGE, described)
        status = state.get("status", {})
        expect(status.get("level", 0) < 400, f"status {status}")
        phases = [
            each["blobset"]["blobs"][IMAGE]["phase"]
            for each in site.gateway.states
            if IMAGE in each.get("blobset", {}).get("blobs", {})
        ]
        expect("apply" in phases, "it goes without being applied")
        expect(asked == ["/image"], f"it was asked for {len(asked)} times")
        images = await firmware_subentries(stage)
        expect(images, "the image is not there")
        await stage.configure(site.gateway, site=site)
        await site.gate.drop()
        await stage.until(
            lambda: blob_state(stage, IMAGE).get("phase") == "final", "forgotten", site=site
        )
        await stage.configure(site.gateway, site=site)
        expect(asked == ["/image"], "the same generation was fetched again")
    finally:
        await runner.cleanup()
    await stage.configure(site.gateway, site=site, blobset=None)


async def firmware_subentries(stage: Stage) -> list[Any]:
    """Return the firmware images of the account."""
    found = await stage.api.command("config_entries/subentries/list", entry_id=stage.entry_id)
    return [each for each in found if each["subentry_type"] == c.SUBENTRY_FIRMWARE]


LOGS: Final[dict[str, Scenario]] = {
    "captures_told": captures_told,
    "records_told": records_told,
    "log_level_wished": log_level_wished,
    "metrics_told": metrics_told,
}
DISCOVERY: Final[dict[str, Scenario]] = {
    "localnet_told": localnet_told,
    "discovery_scanned": discovery_scanned,
    "discovery_repeated": discovery_repeated,
}
BLOBS: Final[dict[str, Scenario]] = {
    "blob_refused": blob_refused,
    "blob_applied": blob_applied,
}
ATTACHING: Final[dict[str, Scenario]] = {
    "proxies_attached": proxies_attached,
    "proxies_unknown": proxies_unknown,
}
