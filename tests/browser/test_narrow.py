"""No text of the integration is cut off on a phone, in any language."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.insight.faults import FaultKind
from demo.clesyde.platform import LocalClesyde
from demo.device.virtual import VirtualDevice
from demo.fleet import EXAMPLE, Buffers, make_fleet
from demo.harness import Harness
from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit
from demo.udmi.site import LocalSite
from tests.browser.narrow import LANGUAGES, WIDTH, Phone, is_ours, texts
from tests.support.chromium import MISSING, find_chromium, open_page

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("home_assistant_demo"),
    pytest.mark.skipif(find_chromium() is None, reason=MISSING),
]

type Found = AsyncGenerator[tuple[str, list[tuple[str, int]]]]

ENTITIES = 25
"""A device has at least so many."""
PLACE = "read_register (session.c:3)"
KINDS = "entity.event.device_event.state_attributes.fault_kind.state"
WIDTH_OF_LETTER = 7


STRANGER = "uLogger Stranger"
"""A device of an application that nobody has approved."""
FORMS = {
    "folder": "folder.step.user.data_description.keep_days",
    "otlp": "otlp.step.user.data_description.headers",
    "pepeunit": "pepeunit.step.user.data_description.readable",
    "udmi": "udmi.step.user.data_description.unencrypted",
    "firmware_image": "firmware_image.step.user.data_description.image",
}
"""Config subentries with a form that comes first, and what it shows."""
CLESYDE = {
    "provision": "provision.data_description.token",
    "upload": "upload.data_description.iot_key",
}


CHANGES = (
    ("Pepeunit", "pepeunit", "change_nodes", "data.inputs"),
    ("Pepeunit", "pepeunit", "files", "data_description.readable"),
    ("Clesyde", "clesyde", "captures", "data_description.include_kept"),
    ("Clesyde", "clesyde", "provision", "data_description.token"),
    ("UDMI", "udmi", "change_devices", "data_description.approved_hosts"),
    ("UDMI", "udmi", "site", "data_description.unencrypted"),
)
"""What can be changed of which destination, and what its form shows."""
LISTS = {"change_nodes": ("output", "input"), "change_devices": ("proxy", "point")}
"""The lists in a form, each with a dialog for its items."""


def make_devices() -> list[VirtualDevice]:
    """Make one that is collected, one too many, and one that may be a neighbour's."""
    devices = make_fleet(2, Buffers.load())
    other = replace(EXAMPLE, application_id=77, serial="C4FE00000014", device_type="PumpGuard")
    stranger = VirtualDevice("C0:DE:00:00:01:00", other, b"", None, name=STRANGER, rssi=-70)
    devices.append(stranger)
    for each in devices[1:]:
        each.in_reach = False
    return devices


async def allow_one_device(demo: Harness, entry_id: str) -> None:
    """Have the account take in one device, and let the others come into range."""
    path = "/api/config/config_entries/options/flow"
    form = await demo.api.request("POST", path, {"handler": entry_id})
    sections: dict[str, Any] = {each["name"]: {} for each in form["data_schema"]}
    sections["collection"] = {"device_limit": 1}
    await demo.api.request("POST", f"{path}/{form['flow_id']}", sections)


async def come_into_range(demo: Harness) -> None:
    """Have the others in range: the neighbour's has a card, the one too many a repair."""
    for each in demo.devices:
        each.in_reach = True
    async with asyncio.timeout(60):
        while not await demo.api.discovered("ulogger"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        while not any(  # noqa: ASYNC110
            each["translation_key"] == "device_limit"
            for each in (await demo.api.command("repairs/list_issues"))["issues"]
        ):
            await asyncio.sleep(0.2)


@asynccontextmanager
async def phone(directory: Path) -> AsyncGenerator[tuple[Phone, str]]:
    """Start Home Assistant with an account and all entities of a device, and a narrow browser."""
    devices = make_devices()
    async with Harness(directory, devices) as demo, open_page() as page:
        entry = await demo.set_up_account()
        await allow_one_device(demo, entry["entry_id"])
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


async def see_the_device(page: Phone, device_id: str) -> Found:
    await page.name_entities()
    await page.go(f"/config/devices/device/{device_id}")
    yield "device", await page.measure("entity.sensor.captures_waiting.name")


async def see_the_account(page: Phone) -> Found:
    await page.open_integration()
    for kind, key in FORMS.items():
        await page.press(f"config_subentries.{kind}.initiate_flow.user")
        yield kind, await page.measure(f"config_subentries.{key}")
        await page.close()
    for step, key in CLESYDE.items():
        await page.press("config_subentries.clesyde.initiate_flow.user")
        menu = f"config_subentries.clesyde.step.user.menu_options.{step}"
        yield "Clesyde", await page.measure(menu)
        await page.press(menu)
        yield step, await page.measure(f"config_subentries.clesyde.step.{key}")
        await page.close()
    await page.open_options()
    storage = "options.step.init.sections.storage"
    await page.shown("options.step.init.sections.collection.description").wait_for()
    await page.unfold()
    yield "options", await page.measure(f"{storage}.data_description.undelivered_budget_mb")
    await page.close()


async def see_consent(page: Phone) -> Found:
    await page.answer_card(STRANGER)
    yield "consent", await page.measure("config.step.application.title")
    await page.close()


async def see_a_new_account(page: Phone) -> Found:
    await page.add_integration()
    certificate = "config.step.user.menu_options.certificate"
    yield "connections", await page.measure(certificate)
    await page.press(certificate)
    yield "certificate", await page.measure("config.step.certificate.data_description.customer_id")
    await page.close()


async def see_the_repair(page: Phone) -> Found:
    flow = "issues.device_limit.fix_flow.step"
    await page.go("/config/repairs")
    await page.press("issues.device_limit.title")
    yield "repair", await page.measure(f"{flow}.init.menu_options.raise")
    await page.press(f"{flow}.init.menu_options.raise")
    yield "limit", await page.measure(f"{flow}.raise.data_description.device_limit")
    await page.close()


async def see_the_panel(page: Phone) -> Found:
    for view in ("logs", "crashes", "devices"):
        await page.go(f"/ulogger/{view}")
        yield f"panel {view}", await page.measure(f"panel.{view}")


@pytest.mark.usefixtures("socket_enabled")
async def test_nothing_is_cut_off_on_a_phone(tmp_path: Path) -> None:
    async with phone(tmp_path) as (page, device_id):
        await page.sign_in()
        cut: dict[str, list[tuple[str, int]]] = {}

        async def walk(*places: Found) -> None:
            for each in places:
                async for place, found in each:
                    cut[f"{page.language} {place}"] = found

        for language in LANGUAGES:
            await page.speak(language)
            await walk(see_the_device(page, device_id), see_a_new_account(page))
        await come_into_range(page.demo)
        for language in LANGUAGES:
            await page.speak(language)
            await walk(
                see_the_account(page), see_consent(page), see_the_repair(page), see_the_panel(page)
            )
        assert {where: each for where, each in cut.items() if each} == {}


async def see_the_destinations(page: Phone) -> Found:
    for name, kind, step, key in CHANGES:
        form = f"config_subentries.{kind}.step"
        await page.change_destination(name)
        menu = f"{form}.reconfigure.menu_options.{step}"
        yield f"{name} menu with {step}", await page.measure(menu)
        await page.press(menu)
        yield f"{name} {step}", await page.measure(f"{form}.{step}.{key}")
        for number, item in enumerate(LISTS.get(step, ())):
            await page.add_to_list(number)
            yield f"{name} {item}", await page.measure_item()
            await page.close_item()
        await page.close()


@pytest.mark.usefixtures("socket_enabled")
async def test_nothing_is_cut_off_where_destinations_are_changed(tmp_path: Path) -> None:
    unit = Unit.make(inputs=["lamp"], outputs=["temperature"])
    async with (
        Harness(
            tmp_path,
            make_devices(),
            pepeunit=LocalPepeunit(tmp_path / "pepeunit", units=[unit]),
            clesyde=LocalClesyde(tmp_path / "clesyde"),
            site=LocalSite(tmp_path / "site"),
        ) as demo,
        open_page() as opened,
    ):
        entry = await demo.set_up_account()
        await demo.add_site(entry["entry_id"])
        page = Phone(opened, demo, entry["entry_id"])
        await page.sign_in()
        cut: dict[str, list[tuple[str, int]]] = {}
        for language in LANGUAGES:
            await page.speak(language)
            async for place, found in see_the_destinations(page):
                cut[f"{language} {place}"] = found
    assert {where: each for where, each in cut.items() if each} == {}


def test_ours_are_known_filled_in_or_not() -> None:
    ours = is_ours("de")
    assert ours(texts("de")["config_subentries"]["udmi"]["step"]["user"]["title"])
    assert ours("Das Zertifikat von Werkstatt ist abgelaufen")
    assert not ours("Geräte, die nicht zu einem Untereintrag gehören")
    assert not is_ours("es")("Dispositivos que no pertenecen a una subentrada")


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
        # The time of the last crash has an entity as well, which may be there by now.
        (last, *_) = sorted(
            (each for each in states if each["entity_id"].endswith("_last_crash")),
            key=lambda each: len(each["entity_id"]),
        )
        cut: dict[str, list[tuple[str, int]]] = {}
        for language in LANGUAGES:
            await page.speak(language)
            await page.name_entities()
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
