"""Walk the tour on a Home Assistant of its own; run as a program, it takes the pictures.

``python -m tests.browser.walk DIRECTORY`` writes them.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page

from demo.fleet import Buffers, make_fleet
from demo.harness import Harness

from ..support.chromium import open_page
from .panel_walk import open_panel
from .panel_walk import take_pictures as take_pictures_of_panel
from .tour import TakePicture, Tour

MINUTES = 30
DEVICES = 2


@asynccontextmanager
async def start(directory: Path, picture_of: Path | None = None) -> AsyncGenerator[Tour]:
    """Start Home Assistant without an account, its devices out of range, and a browser.

    With ``picture_of`` each step's picture is written to that directory.
    """
    devices = make_fleet(DEVICES, Buffers.load())
    for device in devices:
        device.in_reach = False
    async with Harness(directory, devices) as demo, open_page() as page:
        yield Tour(page, demo, _camera(page, picture_of))


def _camera(page: Page, directory: Path | None) -> TakePicture:
    async def nothing(name: str) -> None:
        """Take no picture."""

    async def photograph(name: str) -> None:
        # Pages fill in over some frames, dialogs grow into place, icons come last.
        await page.mouse.move(0, 0)
        await page.wait_for_load_state("networkidle")
        await page.evaluate(STILL)
        assert directory is not None
        await page.screenshot(path=directory / f"{name}.png", animations="disabled")

    return nothing if directory is None else photograph


STILL = """async () => {
  await document.fonts.ready;
  const pause = () => new Promise(done => setTimeout(done, 100));
  const look = root => [...root.querySelectorAll('*')].reduce(
    (text, element) => text + (element.shadowRoot ? look(element.shadowRoot) : ''),
    root.textContent + root.querySelectorAll('*').length);
  let before = '', quiet = 0;
  for (let round = 0; round < 60 && quiet < 5; round++) {
    const now = look(document.body);
    quiet = now === before ? quiet + 1 : 0;
    before = now;
    await pause();
  }
}"""


async def walk(tour: Tour) -> None:
    """Take every step."""
    first = tour.demo.devices[0]
    await tour.sign_in()
    await tour.add_integration()
    await tour.try_a_key_of_another_certificate()
    await tour.upload_the_right_certificate()
    await tour.approve(*tour.demo.devices)
    await tour.see_the_entry(DEVICES)
    await tour.see_the_device(first)
    await tour.upload_now(first)
    await tour.change_options(MINUTES)
    await tour.lose_the_certificate()
    await tour.renew_the_certificate()
    await tour.see_that_all_is_well()
    await tour.see_the_forms_of_destinations()


async def take_pictures(pictures: Path) -> None:
    """Walk with a camera."""
    with tempfile.TemporaryDirectory(prefix="ulogger-tour-") as directory:
        async with start(Path(directory), pictures) as tour:
            await walk(tour)
    with tempfile.TemporaryDirectory(prefix="ulogger-panel-") as directory:
        async with open_panel(Path(directory)) as panel:
            await take_pictures_of_panel(panel, _camera(panel.page, pictures))


def main(pictures: Path) -> None:
    """Take the pictures, and tell how large they are."""
    pictures.mkdir(parents=True, exist_ok=True)
    asyncio.run(take_pictures(pictures))
    for picture in sorted(pictures.glob("*.png")):
        print(f"{picture.stat().st_size / 1000:7.1f} kB  {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
