"""No text of the integration is cut off on a phone, in any language."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.fleet import Buffers, make_fleet
from demo.harness import Harness
from tests.browser.narrow import LANGUAGES, WIDTH, Phone
from tests.support.chromium import MISSING, find_chromium, open_page

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("home_assistant_process"),
    pytest.mark.skipif(find_chromium() is None, reason=MISSING),
]

ENTITIES = 25
"""A device has at least so many."""
FREE_TEXT = "last_crash"
"""Its value is what a processor and a program say: beside a long one its name is shortened."""


@asynccontextmanager
async def phone(directory: Path) -> AsyncGenerator[tuple[Phone, str]]:
    """Start Home Assistant with an account and all entities of a device, and a narrow browser."""
    devices = make_fleet(1, Buffers.load())
    async with Harness(directory, devices) as demo, open_page() as page:
        entry = await demo.set_up_account()
        ours: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while len(ours) < ENTITIES:
                await asyncio.sleep(0.2)
                listed = await demo.api.command("config/entity_registry/list")
                ours = [each for each in listed if each["platform"] == "ulogger"]
        for each in ours:
            await demo.api.command(
                "config/entity_registry/update", entity_id=each["entity_id"], disabled_by=None
            )
        (device,) = (
            each
            for each in await demo.api.command("config/device_registry/list")
            if each["serial_number"] == devices[0].identity.serial
        )
        yield Phone(page, demo, entry["entry_id"]), device["id"]


@pytest.mark.usefixtures("socket_enabled")
async def test_nothing_is_cut_off_on_a_phone(tmp_path: Path) -> None:
    async with phone(tmp_path) as (page, device_id):
        await page.sign_in()
        cut: dict[str, list[tuple[str, int]]] = {}
        for language in LANGUAGES:
            await page.speak(language)
            await page.go(f"/config/devices/device/{device_id}")
            await page.shown("entity.sensor.captures_waiting.name").wait_for()
            await page.settle()
            free = page.text(f"entity.sensor.{FREE_TEXT}.name")
            cut[f"{language} device"] = [each for each in await page.clipped() if each[0] != free]

            await page.go("/config/integrations/integration/ulogger")
            await page.open_options()
            await page.shown("options.step.init.sections.collection.description").wait_for()
            await page.unfold()
            await page.shown(
                "options.step.init.sections.storage.data_description.undelivered_budget_mb"
            ).wait_for()
            await page.settle()
            cut[f"{language} options"] = await page.clipped()

            await page.add_integration()
            certificate = page.shown("config.step.user.menu_options.certificate")
            await certificate.wait_for()
            await page.settle()
            cut[f"{language} connections"] = await page.clipped()
            await certificate.click()
            await page.shown("config.step.certificate.data_description.customer_id").wait_for()
            await page.unfold()
            await page.settle()
            cut[f"{language} certificate"] = await page.clipped()
        assert {where: each for where, each in cut.items() if each} == {}


@pytest.mark.usefixtures("socket_enabled")
async def test_what_is_cut_off_is_found() -> None:
    """The measure itself: a name as wide as the phone in a row that hides what is too much."""
    async with open_page() as page:
        await page.set_viewport_size({"width": WIDTH, "height": 844})
        name = "Waiting to upload"
        await page.set_content(f'<p style="overflow: hidden; width: 5em"><b>{name}</b></p>')
        found = Phone(page, None, "")  # type: ignore[arg-type]
        assert await found.clipped() == []
        await page.add_style_tag(content="p { white-space: nowrap }")
        ((said, pixels),) = await found.clipped()
        assert (said, pixels > 10) == (name, True)
