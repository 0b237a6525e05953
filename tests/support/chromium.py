"""A page of the distribution's Chromium; nothing is downloaded for it."""

import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Page, async_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium: run script/setup as root, or install it (Debian: apt install chromium)"
WIDTH, HEIGHT = 1280, 900
PATIENCE_MS = 45_000
"""Something to come is waited for; how fast it is, benchmarks tell."""
# Without these it asks the internet for updates and hosts of its own at each start.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def find_chromium() -> str | None:
    """Return the browser's path, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@asynccontextmanager
async def open_page() -> AsyncGenerator[Page]:
    """Start the browser with an empty profile and open a page."""
    if (program := find_chromium()) is None:
        raise FileNotFoundError(MISSING)
    # Chromium's sandbox refuses to run as root, where tests in containers do.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*QUIET, *sandbox])
        context = await browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US", timezone_id="UTC"
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        try:
            yield page
        finally:
            await browser.close()
