"""Devices that are attached and detached, and where a site believes them to be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.localnet import Localnet, address
from custom_components.ulogger.cloud.udmi.proxies import Proxies, Target

from .device_world import World

KNOWN = ("BLE-1", "BLE-2", "BLE-3")


class Gateway(World):
    """A gateway whose attachments are written down."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.entries: list[Any] = []
        self.proxies = Proxies(
            KNOWN,
            on_attach=lambda name: self.done.append(f"+{name}"),
            on_detach=lambda name: self.done.append(f"-{name}"),
            changed=self.changed,
            clock=self.clock,
            now=self.now,
            tell=self.entries.append,
        )

    def list(self, *names: Any) -> None:
        self.proxies.configure({"proxy_ids": list(names)}, self.now())

    @property
    def problem(self) -> str:
        status = self.proxies.state().get("status")
        assert status is None or status["category"] == "gateway.setup.attach"
        return "" if status is None else status["message"]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def test_who_is_listed_is_attached_and_the_rest_detached(gateway: Gateway) -> None:
    gateway.list("BLE-1", "BLE-2", "BLE-2")
    gateway.list("BLE-2", "BLE-3")
    assert gateway.done == ["+BLE-1", "+BLE-2", "-BLE-1", "+BLE-3"]
    assert gateway.proxies.attached == ["BLE-2", "BLE-3"]
    gateway.list()
    assert gateway.done[4:] == ["-BLE-2", "-BLE-3"]


@pytest.mark.parametrize("config", [None, {}, {"target": {}}])
def test_without_a_list_all_are_attached(gateway: Gateway, config: dict[str, Any] | None) -> None:
    gateway.proxies.configure(config, gateway.now())
    assert gateway.proxies.attached == list(KNOWN)


def test_who_is_unknown_is_reported_until_nobody_lists_it(gateway: Gateway) -> None:
    gateway.list("BLE-1", "AHU-9", "991", 5)
    assert gateway.proxies.attached == ["BLE-1"]
    assert "no device of this gateway is AHU-9" in gateway.problem
    assert "'991'" in gateway.problem
    gateway.list("BLE-1", "AHU-9", "991", 5)
    assert len(gateway.entries) == 1
    gateway.list("BLE-1")
    assert gateway.problem == ""


def test_a_list_that_is_none_changes_nothing(gateway: Gateway) -> None:
    gateway.list("BLE-1")
    gateway.proxies.configure({"proxy_ids": "BLE-2"}, gateway.now())
    assert gateway.proxies.attached == ["BLE-1"]
    assert gateway.problem


async def test_what_the_broker_refuses_is_tried_again_ever_more_seldom(gateway: Gateway) -> None:
    gateway.list("BLE-1")
    gateway.proxies.failed("BLE-1", "not bound")
    gateway.proxies.failed("BLE-2", "not attached at all")
    assert "BLE-1 could not be attached: not bound" in gateway.problem
    assert "BLE-2" not in gateway.problem
    await gateway.run(gateway.proxies, 20)
    assert gateway.done == ["+BLE-1"] * 2
    gateway.proxies.failed("BLE-1", "not bound")
    await gateway.run(gateway.proxies, 20)
    assert gateway.done == ["+BLE-1"] * 2
    await gateway.run(gateway.proxies, 20)
    assert gateway.done == ["+BLE-1"] * 3
    gateway.proxies.worked("BLE-1")
    assert gateway.problem == ""
    await gateway.run(gateway.proxies, 2000)
    assert gateway.done == ["+BLE-1"] * 3


def test_a_failure_outlives_the_next_config_and_not_the_detachment(gateway: Gateway) -> None:
    gateway.list("BLE-1")
    gateway.proxies.failed("BLE-1", "not bound")
    gateway.list("BLE-1", "BLE-2")
    assert "not bound" in gateway.problem
    gateway.list("BLE-2")
    assert gateway.problem == ""
    assert gateway.proxies.wake_at() is None


@given(st.lists(st.lists(st.sampled_from([*KNOWN, "AHU-1", "x", None]), max_size=5), max_size=8))
def test_attached_is_always_what_was_attached_and_not_detached(lists: list[list[Any]]) -> None:
    gateway = Gateway()
    for each in lists:
        gateway.list(*each)
        held: list[str] = []
        for step in gateway.done:
            assert (step[1:] in held) == (step[0] == "-")
            held = [name for name in held if name != step[1:]] + [step[1:]] * (step[0] == "+")
        assert sorted(held) == sorted(gateway.proxies.attached)
        assert set(held) == set(each) & set(KNOWN)
        assert bool(gateway.problem) == bool(set(each) - set(KNOWN))


# Where a device is


def target(wanted: Any) -> tuple[str | None, str]:
    world = World()
    block = Target(lambda: {"ble": "aa:bb:cc:00:00:01"}, changed=world.changed, now=world.now)
    block.configure({"target": wanted}, world.now())
    status = block.state().get("status")
    return (None, "") if status is None else (status["category"], status["message"])


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        {},
        {"family": "ble"},
        {"family": "ble", "addr": "AA:BB:CC:00:00:01"},
        {"addr": "aa:bb:cc:00:00:01"},
    ],
)
def test_a_target_that_fits_is_fine(wanted: Any) -> None:
    assert target(wanted) == (None, "")


@pytest.mark.parametrize(
    "wanted",
    [
        "here",
        {"family": "bacnet"},
        {"family": []},
        {"family": "ble", "addr": "AA:BB:CC:00:00:02"},
        {"addr": 5},
        {"addr": ""},
    ],
)
def test_a_target_that_does_not_fit_is_reported(wanted: Any) -> None:
    assert target(wanted)[0] == "gateway.proxy.target"


def test_a_device_out_of_reach_is_said_to_be() -> None:
    world = World()
    block = Target(lambda: {"ble": "AA"}, changed=world.changed, now=world.now)
    block.unreachable("It was not heard for an hour")
    block.unreachable("It was not heard for an hour")
    assert block.state()["status"]["category"] == "gateway.proxy.connect"
    assert world.changes == 1
    block.configure({"target": {"family": "bacnet"}}, world.now())
    assert block.state()["status"]["category"] == "gateway.proxy.target"
    block.configure({}, world.now())
    block.unreachable("")
    assert block.state() == {}


def test_addresses_stand_in_capitals_and_odd_ones_nowhere() -> None:
    assert address("fe80::d05c%eth0") == "FE80::D05C"
    assert address("a b") == ""
    local = Localnet(lambda: {"ble": "aa:bb", "ipv4": "10.0.0.1", "NO": "1", "host": "ü"})
    assert local.state() == {"families": {"ble": {"addr": "AA:BB"}, "ipv4": {"addr": "10.0.0.1"}}}
    assert Localnet(dict).state() is None
