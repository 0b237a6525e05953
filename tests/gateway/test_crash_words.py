"""A crash in a line: short, and in the language of Home Assistant."""

from typing import NamedTuple

import pytest
from homeassistant.core import HomeAssistant
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.coordinator import DeviceCoordinator
from custom_components.ulogger.gateway.crash_words import (
    LONGEST_PLACE,
    UNREADABLE,
    _cut,
    crash_line,
)
from custom_components.ulogger.gateway.gateway import Gateway
from custom_components.ulogger.insight.crash_groups import CrashGroups
from custom_components.ulogger.insight.faults import FaultKind
from tests.support.language import speak
from tests.support.said import stored

from .test_crashes import crash, shown

LANGUAGES = ("en", "de", "es", "fr", "zh-Hans")
WIDEST = {"zh-Hans": 17}
"""Characters around a place; a Chinese one is as wide as two others."""


@pytest.fixture
def gateway(device: DeviceCoordinator) -> Gateway:
    """The account at work, with a device."""
    found: Gateway = device.account.entry.runtime_data
    return found


class Told(NamedTuple):
    fault_kind: str
    place: str = "read_register (session.c:3)"
    reason: str = "in English"


@pytest.mark.parametrize(
    ("language", "line", "unreadable"),
    [
        ("en", "Bus error in read_register (session.c:3)", "Unreadable core dump"),
        ("de", "Busfehler in read_register (session.c:3)", "Unlesbarer Core-Dump"),
        ("es", "Error de bus en read_register (session.c:3)", "Volcado de memoria ilegible"),
        ("fr", "Erreur de bus : read_register (session.c:3)", "Vidage mémoire illisible"),
        ("zh-Hans", "总线错误，位于 read_register (session.c:3)", "核心转储不可读"),
    ],
)
async def test_a_crash_is_told_in_the_language_of_home_assistant(
    hass: HomeAssistant, language: str, line: str, unreadable: str
) -> None:
    await speak(hass, language)
    assert crash_line(hass, Told(FaultKind.DATA_BUS)) == line
    assert crash_line(hass, Told(UNREADABLE, "")) == unreadable


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_kind_of_fault_has_words_that_leave_room(
    hass: HomeAssistant, language: str
) -> None:
    await speak(hass, language)
    for kind in FaultKind:
        line = crash_line(hass, Told(kind, "0x0000007A"))
        assert line != "in English"
        assert "0x0000007A" in line
        words = line.replace("0x0000007A", "")
        assert len(words) <= WIDEST.get(language, 34), words


async def test_english_serves_until_a_language_is_read(hass: HomeAssistant) -> None:
    await speak(hass, "en")
    hass.config.language = "pt-BR"
    assert crash_line(hass, Told(FaultKind.STACK_OVERFLOW, "main")) == "Stack overflow in main"


async def test_what_was_stored_without_a_kind_is_told_as_it_was(hass: HomeAssistant) -> None:
    await speak(hass, "de")
    assert crash_line(hass, Told("", "")) == "in English"
    assert crash_line(hass, Told("of a newer version", "main")) == "in English"


async def test_groups_that_an_earlier_version_stored_keep_their_line(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    data = gateway.crashes.groups.as_dict()
    (group,) = data["groups"]
    del group["fault_kind"], group["place"]
    group["occurrences"] = [kept[:7] for kept in group["occurrences"]]
    (again,) = CrashGroups.from_dict(data)
    assert (again.fault_kind, again.place, again.reason) == ("", "", group["reason"])
    (occurrence,) = again.occurrences.values()
    assert (occurrence.fault_kind, occurrence.reason) == ("", group["reason"])


async def test_the_words_of_a_group_are_stored_with_it(
    gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    (again,) = CrashGroups.from_dict(gateway.crashes.groups.as_dict())
    (occurrence,) = again.occurrences.values()
    for each in (again, occurrence):
        assert (each.fault_kind, each.place) == ("data_bus_error", "0x0000007A")


async def test_the_sensor_changes_its_language(
    hass: HomeAssistant, gateway: Gateway, device: DeviceCoordinator
) -> None:
    await stored(device, crash())
    entry_id = gateway.entry.entry_id
    await speak(hass, "fr")
    device.async_update_listeners()
    state = shown(hass, entry_id, "last_crash", device.identity).state
    assert state == "Erreur de bus : 0x0000007A"


@pytest.mark.parametrize(
    ("place", "cut"),
    [
        ("read_register (session.c:3)", "read_register (session.c:3)"),
        ("read_register_of_sensor (session.c:311)", "read_register_of_sensor"),
        ("ns::" + "v" * 60 + " (a.c:1)", "ns::" + "v" * 23 + "…"),
        ("operator ()(int) (a.cpp:1)" + "1" * 30, "operator ()(int)"),
    ],
)
def test_a_long_place_loses_its_line_before_its_name(place: str, cut: str) -> None:
    assert _cut(place, LONGEST_PLACE) == cut


@given(st.text(), st.integers(1, 60))
def test_a_place_is_never_longer_than_there_is_room(place: str, most: int) -> None:
    assert len(_cut(place, most)) <= most
