"""What a firmware engineer finds in the panel, in a real browser on a real Home Assistant."""

import asyncio
import csv
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from demo.fleet import FIXTURES
from tests.browser.panel_walk import DEVICES, PanelWalk, as_json, open_panel, serials, text_of
from tests.support.chromium import MISSING, find_chromium

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("home_assistant_demo"),
    pytest.mark.skipif(find_chromium() is None, reason=MISSING),
]


@pytest.fixture
async def panel(tmp_path: Path, socket_enabled: None) -> AsyncGenerator[PanelWalk]:
    """Return the panel after somebody signed in; nobody may complain until the end."""
    async with open_panel(tmp_path) as walk:
        await walk.sign_in()
        yield walk
        assert walk.complaints == []
        assert walk.demo.hass.problems() == []


async def test_logs_crashes_and_devices(panel: PanelWalk, tmp_path: Path) -> None:
    """One Home Assistant for all: its start takes longer than the walk."""
    try:
        await filters(panel)
        await a_line_and_its_neighbours(panel)
        await exports(panel)
        await live(panel)
        await crashes(panel)
        await devices(panel)
        await everybody(panel)
    except BaseException:
        await panel.page.screenshot(path=tmp_path / "failure.png")
        print(f"The page as it was: {tmp_path / 'failure.png'}; {panel.complaints}")
        raise


async def filters(panel: PanelWalk) -> None:
    """Every filter, alone and in the URL."""
    everything = await panel.count()
    assert everything > DEVICES * 90
    names = await panel.devices()
    assert len(names) == DEVICES

    await panel.field("device").select_option(label=names[1])
    some = await panel.until_count(f"< {everything}")
    assert set(await panel.column("device")) == {names[1]}
    assert "device=" in panel.path()

    await panel.field("level").select_option("warning")
    fewer = await panel.until_count(f"< {some}")
    assert set(await panel.column("level")) <= {"Warning", "Error", "Critical"}
    shared = panel.path()
    await panel.go()
    assert await panel.until_count(f">= {everything}")
    await panel.page.goto(panel.demo.hass.url + "/ulogger" + shared)
    assert await panel.count() == fewer
    assert set(await panel.column("device")) == {names[1]}

    await panel.go()
    await panel.until_count(f">= {everything}")
    await panel.field("module").fill("comm")
    found = await panel.until_count(f"< {everything}")
    assert set(await panel.column("module")) == {"COMM"}
    await panel.field("text").fill("link DOWN")
    await panel.until_count(f"< {found}")
    assert all("link down" in text for text in await panel.column("message"))

    await panel.field("module").fill("")
    await panel.field("text").fill("^temp 2[0-2]\\.")
    await panel.field("regex").check()
    await panel.page.wait_for_url("**regex=**")
    await panel.until_count("> 0")
    assert all(
        text[:7] in {"temp 20", "temp 21", "temp 22"} for text in await panel.column("message")
    )
    await panel.field("text").fill("temp (")
    await panel.page.get_by_text("This is no regular expression").wait_for()

    await panel.go("logs?last=3600")
    hour = await panel.until_count(f"< {everything}")
    assert hour > 0
    await panel.go()
    await panel.until_count(f">= {everything}")
    await panel.choose_range()
    part = await panel.until_count(f"< {everything}")
    assert part > 0
    assert "since=" in panel.path()
    await panel.field("whole-range").click()
    await panel.until_count(f">= {everything}")


async def a_line_and_its_neighbours(panel: PanelWalk) -> None:
    """The table by keyboard, and what is known of a line."""
    await panel.go("logs?text=temp%20&level=debug")
    await panel.count()
    await panel.rows.first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "End", "Home", "PageDown"):
        await panel.page.keyboard.press(key)
    await panel.page.keyboard.press("Home")
    await panel.page.keyboard.press("Enter")
    dialog = panel.page.locator("ulogger-frame-dialog")
    await dialog.get_by_text("temp %d.%d C at %u").wait_for()
    text = await text_of(dialog)
    assert "0x00000470" in text
    assert "From the same capture" in text
    assert await panel.findings() == []
    async with panel.page.expect_download() as download:
        await dialog.get_by_text("Download capture").click()
    assert (await download.value).suggested_filename.endswith("-log.bin")
    await panel.page.keyboard.press("Escape")
    await dialog.wait_for(state="detached")


async def exports(panel: PanelWalk) -> None:
    """What is filtered, as text, NDJSON and CSV."""
    await panel.go("logs?level=error")
    count = await panel.count()
    text = await panel.export("text")
    assert len(text) == count
    as_objects = as_json(await panel.export("ndjson"))
    assert len(as_objects) == count
    assert {each["level"] for each in as_objects} <= {"error", "critical"}
    table: list[Any] = list(csv.reader(await panel.export("csv")))
    assert len(table) == count + 1


async def live(panel: PanelWalk) -> None:
    """New lines come by themselves, wait while it is paused, and come then."""
    await panel.go()
    before = await panel.count()
    await panel.collect(4)
    after = await panel.until_count(f"> {before}")
    await panel.action("pause").click()
    await panel.collect(5)
    await panel.page.get_by_text("new, paused").wait_for()
    await panel.page.wait_for_function("() => true")
    await panel.action("pause").click()
    await panel.until_count(f"> {after}")


async def crashes(panel: PanelWalk) -> None:
    """Groups, one of them, an image that was missing, and what people decide."""
    await panel.open_view("Crashes")
    view = panel.page.locator("ulogger-crashes-view")
    known = view.locator("tr", has_text="read_register (session.c:3)")
    unknown = view.locator("tr", has_text="in 0x00000066")
    await known.wait_for()
    assert "3" in await text_of(known)
    await unknown.wait_for()
    assert await panel.findings() == []

    await known.get_by_role("link").click()
    await panel.page.get_by_text("CFSR.PRECISERR (9)").wait_for()
    details = panel.page.locator("ulogger-crash-details")
    text = await text_of(details)
    for said in ("read_register (session.c:3)", "main (session.c:22)", "r0 0xFFFF0030", "temp "):
        assert said in text, said
    assert len(serials(await text_of(view))) == 3
    await details.locator("summary").first.click()
    await details.get_by_text("0x203FFFC0").wait_for()
    async with panel.page.expect_download() as download:
        await details.get_by_text("Download for a debugger").click()
    assert (await download.value).suggested_filename.endswith(".core")
    assert await panel.findings() == []
    await view.get_by_role("button", name="Resolve").click()
    await view.get_by_text("Resolved", exact=True).wait_for()

    await view.get_by_role("button", name="Back").click()
    await unknown.get_by_role("link").click()
    await panel.page.get_by_text("There is no firmware image of version 4.25.0").wait_for()
    await panel.add_image("nothing.elf", b"nothing")
    await panel.page.get_by_text("nothing.elf is no firmware image").wait_for()
    other = (FIXTURES.parent / "v3-crash/firmware.elf").read_bytes()
    silent = other.replace(b"4.24.2", b"4.25.0").replace(b"bc53443", b"0ff1ce5")
    await panel.add_image("firmware.elf", silent)
    await details.get_by_role("heading", name="read_register (session.c:3)").wait_for()
    assert await panel.findings() == []


async def devices(panel: PanelWalk) -> None:
    """The table, what can be done with many at once, and one device's timeline."""
    await panel.open_view("Devices")
    view = panel.page.locator("ulogger-devices-view")
    rows = view.locator("tbody tr")
    await rows.nth(DEVICES - 1).wait_for()
    assert len(serials(await text_of(view))) == DEVICES
    await view.locator("ulogger-chart").nth(DEVICES - 1).wait_for()
    assert await panel.findings() == []

    before = [each.device.connections for each in panel.living]
    await view.get_by_label("Select all").check()
    await panel.action("level").select_option("debug")
    await view.get_by_text(f"Asked of {DEVICES} devices.").wait_for()
    await panel.action("collect").click()
    for number, each in enumerate(panel.living):
        async with asyncio.timeout(60):
            while each.device.connections == before[number] or not each.device.firmware.log_config:
                await panel.page.wait_for_timeout(100)
        assert each.device.firmware.log_config.level == 0

    await view.get_by_label("Select all").uncheck()
    await rows.first.get_by_role("checkbox").check()
    await panel.action("live").click()
    await rows.first.get_by_text("Live").wait_for()
    await panel.action("live").click()
    await panel.action("live").get_by_text("Go live").wait_for()

    await rows.first.get_by_role("link").click()
    timeline = panel.page.locator("ulogger-device-timeline")
    await timeline.get_by_text("What happened").wait_for()
    await timeline.get_by_text("battery_mv").wait_for()
    text = await text_of(timeline)
    for said in ("Session", "Log", "Crash"):
        assert said in text, said
    assert await panel.findings() == []
    await timeline.get_by_role("link", name="Logs").click()
    await panel.rows.first.wait_for()
    assert "device=" in panel.path()


async def everybody(panel: PanelWalk) -> None:
    """Every view in the dark and on a phone, and for who can't see it."""
    views = {"logs": "ulogger-log-table", "crashes": "table", "devices": "table"}
    for scheme, width in (("light", 1280), ("dark", 1280), ("dark", 390), ("light", 390)):
        await panel.page.set_viewport_size({"width": width, "height": 844})
        await panel.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for view, shown in views.items():
            await panel.go(view)
            await panel.page.locator(f"ulogger-{view}-view").locator(shown).first.wait_for()
            assert await panel.findings() == [], (scheme, width, view)
            overflow = await panel.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow <= 0, (width, view)
