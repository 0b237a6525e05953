"""Scans by their schedule, what is told of what they find, and what a device says of itself."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.discovery import Discovery, Inventory
from custom_components.ulogger.cloud.udmi.family_scan import Found, ScanFailed
from custom_components.ulogger.cloud.udmi.status import read_stamp, stamp

from .device_world import START, World

THERE = ("aa:bb:cc:00:00:01", "AA:BB:CC:00:00:02")


class Air(World):
    """Devices that are heard by whoever listens, and a gateway that may."""

    def __init__(self, *there: str) -> None:
        super().__init__()
        self.there = [Found(each, system={"name": each}) for each in there]
        self.listeners: list[Callable[[Found], None]] = []
        self.deaf = ""
        self.proxies: list[str] = []
        self.make()

    def make(self) -> None:
        self.discovery = Discovery(
            {"ble": self.listen},
            Inventory(
                families=lambda: {"ipv4": "10.0.0.2", "Bad": "1"},
                features=lambda: {"discovery.scan": {"stage": "stable"}},
                points=lambda: {"battery": {"units": "V", "writable": False}},
                proxies=lambda: self.proxies,
            ),
            changed=self.changed,
            publish=self.publish,
            clock=self.clock,
            now=self.now,
        )

    def listen(self, found: Callable[[Found], None]) -> Callable[[], None]:
        if self.deaf:
            raise ScanFailed(self.deaf)
        self.listeners.append(found)
        for each in self.there:
            found(each)
        return lambda: self.listeners.remove(found)

    def hear(self, place: str, **more: Any) -> None:
        for each in list(self.listeners):
            each(Found(place, **more))

    def configure(self, **ble: Any) -> None:
        self.discovery.configure({"families": {"ble": ble}}, self.now())

    @property
    def ble(self) -> dict[str, Any]:
        state = self.discovery.state()
        assert state is not None
        found: dict[str, Any] = state["families"]["ble"]
        return found

    async def pass_(self, seconds: float) -> None:
        await self.run(self.discovery, seconds)

    @property
    def told(self) -> list[tuple[str | None, int, str | None]]:
        """Generation, number and address of all that was told."""
        return [
            (event.get("generation"), event["event_no"], event.get("addr"))
            for _at, _subfolder, event in self.events
        ]


@pytest.fixture
def air() -> Air:
    return Air(*THERE)


async def test_a_scan_tells_of_every_address_once(air: Air) -> None:
    generation = air.stamp()
    air.configure(generation=generation, scan_duration_sec=10)
    assert air.ble == {"phase": "active", "generation": generation, "active_count": 2}
    await air.pass_(5)
    air.hear(THERE[0])
    air.hear("AA:BB:CC:00:00:03")
    await air.pass_(6)
    air.hear("AA:BB:CC:00:00:04")
    assert air.ble == {"phase": "stopped", "generation": generation, "active_count": 3}
    assert air.told == [
        (generation, 0, None),
        (generation, 1, "AA:BB:CC:00:00:01"),
        (generation, 2, "AA:BB:CC:00:00:02"),
        (generation, 3, "AA:BB:CC:00:00:03"),
        (generation, -4, None),
    ]
    assert air.events[1][2]["families"] == {"ble": {"addr": "AA:BB:CC:00:00:01"}}
    assert air.listeners == []


async def test_a_scan_to_come_is_pending_until_its_moment(air: Air) -> None:
    generation = air.stamp(200)
    air.configure(generation=generation, scan_duration_sec=10)
    assert air.ble == {"phase": "pending", "generation": generation}
    await air.pass_(199)
    assert air.events == []
    await air.pass_(2)
    assert air.ble["phase"] == "active"
    assert air.events[0][0] == 200


async def test_a_scan_of_before_the_gateway_began_never_is(air: Air) -> None:
    air.configure(generation=air.stamp(-3600), scan_duration_sec=10)
    await air.pass_(100)
    assert air.events == []
    assert air.ble == {"phase": "stopped", "generation": air.stamp(-3700)}


async def test_a_generation_is_scanned_once(air: Air) -> None:
    generation = air.stamp()
    for config in ({"generation": generation}, {}, {"generation": generation}):
        air.configure(**config)
        await air.pass_(100)
    air.configure(generation=generation, scan_duration_sec=5, depth="refs")
    await air.pass_(100)
    assert [number for _generation, number, _place in air.told] == [0, 1, 2, -3]
    air.make()
    air.configure(generation=generation)
    await air.pass_(100)
    assert len(air.told) == 4


async def test_scans_repeat_without_drift(air: Air) -> None:
    air.configure(generation=air.stamp(7), scan_interval_sec=600, scan_duration_sec=33)
    await air.pass_(2000)
    begun = [at for at, _subfolder, event in air.events if event["event_no"] == 0]
    assert begun == [7, 607, 1207, 1807]
    generations = {event["generation"] for _at, _subfolder, event in air.events}
    assert generations == {stamp(START + timedelta(seconds=at)) for at in begun}
    assert air.ble == {
        "phase": "pending",
        "generation": stamp(START + timedelta(seconds=2407)),
        "active_count": 2,
    }


async def test_a_scan_as_long_as_its_interval_goes_over_into_the_next(air: Air) -> None:
    air.configure(generation=air.stamp(), scan_interval_sec=20, scan_duration_sec=20)
    for _ in range(10):
        await air.pass_(4)
        assert air.ble["phase"] == "active"
    assert air.ble["generation"] == stamp(START + timedelta(seconds=40))


async def test_the_next_scan_counts_where_the_last_one_is_long_past(air: Air) -> None:
    air.configure(generation=air.stamp(-1000), scan_interval_sec=600, scan_duration_sec=10)
    assert air.ble["phase"] == "pending"
    assert air.ble["generation"] == air.stamp(200)
    await air.pass_(201)
    assert air.ble["phase"] == "active"


async def test_an_interval_of_a_second_does_not_flood(air: Air) -> None:
    air.configure(generation=air.stamp(), scan_interval_sec=1)
    await air.pass_(100)
    assert len(air.events) < 50


async def test_a_config_without_a_generation_ends_the_scan(air: Air) -> None:
    air.configure(generation=air.stamp(), scan_duration_sec=100)
    await air.pass_(10)
    air.configure()
    assert air.told[-1][1] == -3
    assert air.ble == {"phase": "stopped"}
    assert air.listeners == []


async def test_what_is_heard_is_told_as_it_comes_and_then_held(air: Air) -> None:
    air.configure(passive_sec=60)
    assert air.ble == {"phase": "active", "passive_count": 2}
    await air.pass_(59)
    air.hear(THERE[0])
    assert len(air.events) == 2
    await air.pass_(2)
    air.hear(THERE[0])
    assert air.told[-1] == (None, 3, "AA:BB:CC:00:00:01")
    assert air.ble["passive_count"] == 1
    air.configure()
    assert air.listeners == []


async def test_a_scan_and_listening_go_together(air: Air) -> None:
    generation = air.stamp(100)
    air.configure(passive_sec=600, generation=generation, scan_duration_sec=10)
    assert "generation" not in air.ble
    await air.pass_(101)
    assert air.ble["generation"] == generation
    assert [number for _generation, number, _place in air.told] == [1, 2, 0, 1, 2]
    await air.pass_(10)
    assert "generation" not in air.ble
    air.hear("AA:BB:CC:00:00:09")
    assert air.told[-1] == (None, 3, "AA:BB:CC:00:00:09")


async def test_only_addresses_that_are_asked_for_are_told(air: Air) -> None:
    air.there.append(Found("AA:BB:CC:00:00:03", refs={"battery": {"units": "V"}}))
    air.configure(generation=air.stamp(), addrs=["aa:bb:cc:00:00:03"])
    await air.pass_(100)
    assert [place for _generation, _number, place in air.told] == [None, "AA:BB:CC:00:00:03", None]
    assert air.events[1][2]["refs"] == {"battery": {"units": "V"}}


async def test_references_are_told_where_they_are_wanted(air: Air) -> None:
    air.configure(generation=air.stamp(), depth="system")
    assert "refs" not in air.events[1][2]
    await air.pass_(1)
    air.configure(generation=air.stamp(), depth="entries")
    assert air.events[-1][2]["refs"] == {}


async def test_an_address_that_cannot_be_written_is_left_out(air: Air) -> None:
    air.there = [Found("not an address"), Found("")]
    air.configure(generation=air.stamp())
    assert [number for _generation, number, _place in air.told] == [0]


async def test_who_cannot_listen_says_so(air: Air) -> None:
    air.deaf = "there is no Bluetooth adapter"
    air.configure(generation=air.stamp())
    assert "no Bluetooth adapter" in air.ble["status"]["message"]
    assert air.ble["phase"] == "stopped"
    assert [number for _generation, number, _place in air.told] == [0, -1]


async def test_a_family_that_cannot_be_scanned_says_so(air: Air) -> None:
    air.discovery.configure({"families": {"bacnet": {}, "Not One": {}}}, air.now())
    state = air.discovery.state()
    assert state is not None
    assert set(state["families"]) == {"bacnet"}
    assert state["families"]["bacnet"]["status"]["level"] == 500
    changes = air.changes
    air.discovery.state()
    assert air.changes == changes
    air.discovery.configure({"families": {}}, air.now())
    assert air.discovery.state() == {"families": {}}
    air.discovery.configure(None, air.now())
    assert air.discovery.state() is None


@pytest.mark.parametrize(
    "config",
    [
        {"generation": "now"},
        {"generation": 5},
        {"scan_interval_sec": -1},
        {"scan_duration_sec": "long"},
        {"passive_sec": True},
        {"addrs": "all"},
        {"depth": "ocean"},
        {"depth": {}},
    ],
)
async def test_a_config_that_cannot_be_used_is_reported(air: Air, config: dict[str, Any]) -> None:
    air.configure(**{"generation": air.stamp(), **config})
    await air.pass_(100)
    assert air.ble["phase"] == "stopped"
    assert air.ble["status"]["category"] == "discovery.family.scan"
    assert air.events == []


async def test_a_crowd_is_cut_and_that_is_said(air: Air) -> None:
    air.there = [Found(f"AA:{number}") for number in range(1200)]
    air.configure(generation=air.stamp())
    await air.pass_(100)
    assert air.ble["active_count"] == 1000
    assert air.ble["status"]["level"] == 400


async def test_a_device_says_once_what_it_is(air: Air) -> None:
    generation = air.stamp()
    config = {
        "generation": generation,
        "enumerations": {"families": "entries", "points": "details"},
    }
    for _ in range(2):
        air.discovery.configure(config, air.now())
    assert [event for _at, _subfolder, event in air.events] == [
        {
            "generation": generation,
            "families": {"ipv4": {"addr": "10.0.0.2"}},
            "points": {"battery": {"units": "V", "writable": False}},
        }
    ]
    assert air.discovery.state() == {"generation": generation}
    air.discovery.configure({}, air.now())
    assert air.discovery.state() is None
    air.discovery.configure({"generation": air.stamp(-100)}, air.now())
    assert len(air.events) == 1


async def test_a_gateway_lists_those_it_speaks_for_when_it_is_asked(air: Air) -> None:
    air.proxies = ["BLE-1", "BLE-2"]
    generation = air.stamp()
    config = {"generation": generation, "enumerations": {"devices": "entries"}}
    air.discovery.configure(config, air.now())
    [(_at, _subfolder, event)] = air.events
    proxied = {"resource_type": "PROXIED"}
    assert event == {"generation": generation, "devices": {"BLE-1": proxied, "BLE-2": proxied}}


ODD = st.none() | st.booleans() | st.integers(-5, 10**13) | st.text(max_size=5) | st.just([])
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "generation": st.integers(-2000, 2000) | ODD,
        "scan_interval_sec": st.integers(0, 700) | ODD,
        "scan_duration_sec": st.integers(0, 700) | ODD,
        "passive_sec": st.integers(0, 100) | ODD,
        "addrs": st.just([THERE[0]]) | ODD,
        "depth": st.just("entries") | ODD,
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CONFIG, st.integers(0, 900)), min_size=1, max_size=6))
def test_any_schedule_scans_each_generation_once(steps: list[tuple[dict[str, Any], int]]) -> None:
    async def scenario() -> None:
        air = Air(*THERE)
        for config, seconds in steps:
            moment = config.get("generation")
            if isinstance(moment, int):
                text = stamp(START + timedelta(seconds=min(moment, 10**9)))
                air.configure(**{**config, "generation": text})
            else:
                air.configure(**config)
            await air.pass_(seconds)
            state = air.ble
            assert state["phase"] in ("stopped", "pending", "active")
            assert (state["phase"] != "pending") or read_stamp(state["generation"]) > air.now()
        numbers: dict[str, list[int]] = {}
        for generation, number, _place in air.told:
            if generation is not None:
                numbers.setdefault(generation, []).append(number)
                assert read_stamp(generation) <= air.now()
                assert read_stamp(generation) >= START
        for each in numbers.values():
            found = max(each)
            assert each[: found + 1] == list(range(found + 1))
            assert each[found + 1 :] in ([], [-(found + 1)])
        assert len(air.listeners) <= 2

    asyncio.run(scenario())
