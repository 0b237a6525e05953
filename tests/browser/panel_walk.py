"""A firmware engineer's way through the panel *Device logs*, view by view."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import ConsoleMessage, FilePayload, Locator, Page

from demo.api import PASSWORD, USER
from demo.harness import Harness
from demo.hass import REPOSITORY
from demo.living import LivingDevice, make_living_fleet, make_ready

from ..support.chromium import open_page

DEVICES = 6
CRASHES = 4
PATIENCE = 60.0
AXE = REPOSITORY / "frontend/node_modules/axe-core/axe.min.js"
PANEL = "/ulogger"
SERIOUS = frozenset({"serious", "critical"})

# What axe says of our elements; Home Assistant's own frame around them is not ours to mend.
LOOK = """async () => {
  const found = await axe.run(document);
  return found.violations.flatMap(({ id, impact, nodes }) => nodes
    .filter(({ target }) => JSON.stringify(target).includes('ulogger-'))
    .map(({ target }) => ({ id, impact, target: JSON.stringify(target) })));
}"""


class PanelWalk:
    """The panel in a browser, and what can be done there."""

    def __init__(self, page: Page, demo: Harness, living: list[LivingDevice], entry: str) -> None:
        self.page = page
        self.demo = demo
        self.living = living
        self.entry = entry
        self.complaints: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location}")

    # Ways

    async def sign_in(self) -> None:
        """Sign in, and arrive at the panel."""
        await self.go()
        await self.page.locator("input[name=username]").fill(USER)
        await self.page.locator("input[name=password]").fill(PASSWORD)
        await self.page.get_by_role("button", name="Log in", exact=True).first.click()
        await self.rows.first.wait_for()

    async def go(self, path: str = "") -> None:
        """Open a path of the panel as from a link, until Home Assistant's cover has faded."""
        await self.page.goto(f"{self.demo.hass.url}{PANEL}/{path}")
        await self.page.locator("#ha-launch-screen").wait_for(state="detached")

    async def open_view(self, name: str) -> None:
        """Open a view by its name in the header."""
        await self.page.locator("ulogger-panel nav").get_by_text(name, exact=True).click()

    def path(self) -> str:
        """Return where in the panel the browser is."""
        return self.page.url.removeprefix(f"{self.demo.hass.url}{PANEL}")

    # What is seen

    @property
    def rows(self) -> Locator:
        """The lines that are drawn."""
        return self.page.locator("ulogger-log-table .body [role=row]")

    @property
    def status(self) -> Locator:
        """How many lines were found."""
        return self.page.locator("ulogger-logs-view [role=status]")

    def field(self, name: str) -> Locator:
        """Return one field of the filters."""
        return self.page.locator(f'[data-field="{name}"]')

    def action(self, name: str) -> Locator:
        """Return a button or a list of things to do."""
        return self.page.locator(f'[data-action="{name}"]')

    async def count(self) -> int:
        """Wait until a search has come to its end, and return how many lines it found."""
        await self.page.wait_for_function(
            """text => /^\\d+ lines$/.test(text().trim())""".replace("text()", _STATUS)
        )
        return int((await self.status.inner_text()).split()[0])

    async def until_count(self, wanted: str) -> int:
        """Wait until the number of lines is as wanted: ``> 5``; returns it."""
        await self.page.wait_for_function(
            f"""() => {{
              const found = /^(\\d+) lines$/.exec({_STATUS}.trim());
              return found !== null && Number(found[1]) {wanted};
            }}"""
        )
        return await self.count()

    async def column(self, name: str) -> list[str]:
        """Return what is drawn in a column of the table."""
        return [text.strip() for text in await self.rows.locator(f".{name}").all_inner_texts()]

    async def devices(self) -> list[str]:
        """Return the devices to choose from."""
        options = await self.field("device").locator("option").all_inner_texts()
        return [text.strip() for text in options[1:]]

    # What is done

    async def choose_range(self) -> None:
        """Drag over a part of the lines over time."""
        over = self.page.locator("ulogger-level-histogram .u-over")
        box = await over.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        await self.page.mouse.move(box["x"] + box["width"] * 0.25, middle)
        await self.page.mouse.down()
        await self.page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=5)
        await self.page.mouse.up()

    async def export(self, kind: str) -> list[str]:
        """Download what is shown; returns the file's lines."""
        async with self.page.expect_download() as download:
            await self.action("export").select_option(kind)
        file = await (await download.value).path()
        text: str = await asyncio.to_thread(file.read_text, encoding="utf-8")
        return text.splitlines()

    async def collect(self, number: int) -> None:
        """Have a device log something, and be collected, as an automation would."""
        self.living[number].log()
        registry = await self.demo.api.command("config/device_registry/list")
        serial = self.living[number].device.identity.serial
        [device] = [each["id"] for each in registry if each["serial_number"] == serial]
        await self.demo.api.call("ulogger", "upload", device_id=[device])

    async def add_image(self, name: str, content: bytes) -> None:
        """Hand over a firmware image where one is missing."""
        file: FilePayload = {
            "name": name,
            "mimeType": "application/octet-stream",
            "buffer": content,
        }
        await self.action("image").set_input_files(file)

    async def findings(self) -> list[Any]:
        """Return what is seriously wrong for who can't see or use a mouse."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(await asyncio.to_thread(AXE.read_text, encoding="utf-8"))
        found = await self.page.evaluate(LOOK)
        return [each for each in found if each["impact"] in SERIOUS]


_STATUS = """(() => {
  let place = document;
  for (const name of ['home-assistant', 'home-assistant-main', 'ulogger-panel', 'ulogger-logs-view',
                      '[role=status]']) {
    place = (place.shadowRoot ?? place).querySelector(name);
    if (!place) return '';
  }
  return place.textContent;
})()"""


@asynccontextmanager
async def open_panel(directory: Path) -> AsyncGenerator[PanelWalk]:
    """Start the demo's living devices and wait until each of them was collected once."""
    living = make_living_fleet(DEVICES)
    async with Harness(directory, [each.device for each in living]) as demo:
        entry = await demo.set_up_account()
        await make_ready(demo, entry)
        await asyncio.gather(*(each.device.emptied.wait() for each in living))
        await _until_read(demo)
        async with open_page() as page:
            yield PanelWalk(page, demo, living, entry["entry_id"])


async def _until_read(demo: Harness) -> None:
    """Wait until Home Assistant has read the core dumps, which come last."""
    [entry] = await demo.api.entries("ulogger")
    end = time.monotonic() + PATIENCE
    while True:
        answer = await demo.api.call(
            "ulogger", "get_crashes", answer=True, config_entry_id=entry["entry_id"]
        )
        groups = answer["service_response"]["crashes"]
        if sum(group["count"] for group in groups) >= CRASHES:
            return
        assert time.monotonic() < end, (groups, demo.hass.tail(40))
        await asyncio.sleep(0.3)


_TEXT = """element => {
  const parts = node => [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes];
  const walk = node => node.nodeType === Node.TEXT_NODE ? node.data
    : node.nodeName === 'STYLE' ? '' : parts(node).map(walk).join('');
  return walk(element).replace(/\\s+/g, ' ');
}"""


async def text_of(element: Locator) -> str:
    """Return the text of an element with all that its components show."""
    found: str = await element.evaluate(_TEXT)
    return found


def serials(text: str) -> set[str]:
    """Return the serial numbers in a text."""
    return set(re.findall(r"[0-9A-F]{12}", text))


def as_json(lines: list[str]) -> list[dict[str, Any]]:
    """Read NDJSON."""
    return [json.loads(line) for line in lines]


async def take_pictures(walk: PanelWalk, picture: Callable[[str], Awaitable[None]]) -> None:
    """Show each view as a picture."""
    page = walk.page
    await walk.sign_in()
    for number in (0, 3, 4):
        await walk.collect(number)
    await walk.count()
    await picture("panel-logs")
    await walk.open_view("Crashes")
    await page.get_by_text("read_register (session.c:3)").first.click()
    await page.get_by_text("CFSR.PRECISERR (9)").wait_for()
    await picture("panel-crash")
    await walk.open_view("Devices")
    charts = page.locator("ulogger-devices-view ulogger-chart")
    await charts.nth(DEVICES - 1).wait_for()
    await picture("panel-devices")
    await page.locator("ulogger-devices-view tbody tr").first.get_by_role("link").click()
    await page.locator("ulogger-device-timeline").get_by_text("battery_mv").wait_for()
    await picture("panel-timeline")
    await page.emulate_media(color_scheme="dark")
    await walk.go("logs?level=warning")
    await walk.count()
    await picture("panel-dark")
