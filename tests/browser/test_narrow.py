"""No text of the integration is cut off on a phone, in any language."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.insight.faults import FaultKind
from demo.fleet import Buffers, make_fleet
from demo.harness import Harness
from tests.browser.narrow import LANGUAGES, WIDTH, Phone, texts
from tests.support.chromium import MISSING, find_chromium, open_page

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("home_assistant_process"),
    pytest.mark.skipif(find_chromium() is None, reason=MISSING),
]

ENTITIES = 25
"""A device has at least so many."""
PLACE = "read_register (session.c:3)"
KINDS = "entity.event.device_event.state_attributes.fault_kind.state"
WIDTH_OF_LETTER = 7


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
            cut[f"{language} device"] = await page.clipped()

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


@pytest.mark.usefixtures("socket_enabled")
async def test_the_last_crash_leaves_room_for_its_name(tmp_path: Path) -> None:
    """English shows all of its name, no language less than half, whatever the fault."""
    async with phone(tmp_path) as (page, device_id):
        await page.sign_in()
        states = await page.demo.api.request("GET", "/api/states")
        (last,) = (each for each in states if each["entity_id"].endswith("_last_crash"))
        cut: dict[str, list[tuple[str, int]]] = {}
        for language in LANGUAGES:
            await page.speak(language)
            kinds = [page.text(f"{KINDS}.{kind}") for kind in FaultKind]
            line = page.text("common.crash_in").format(fault=max(kinds, key=len), place=PLACE)
            await page.go(f"/config/devices/device/{device_id}")
            await page.shown("entity.sensor.captures_waiting.name").wait_for()
            changed = {**last, "state": line}
            await page.demo.api.request("POST", f"/api/states/{last['entity_id']}", changed)
            await page.page.get_by_text(line).first.wait_for()
            await page.settle()
            cut[language] = await page.clipped()
        assert cut["en"] == []
        assert all(
            name == name_of_last_crash(language) and pixels < len(name) * WIDTH_OF_LETTER / 2
            for language, each in cut.items()
            for name, pixels in each
        ), cut


def name_of_last_crash(language: str) -> str:
    return str(texts(language)["entity"]["sensor"]["last_crash"]["name"])
