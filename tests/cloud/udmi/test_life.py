"""Modes, keys, endpoints and wishes of a gateway, each with what keeps it from going wrong."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custom_components.ulogger.cloud.errors import CannotConnect, CloudUnavailable
from custom_components.ulogger.cloud.udmi.block import BlobFailed
from custom_components.ulogger.cloud.udmi.endpoint import Endpoint
from custom_components.ulogger.cloud.udmi.keys import KeyPair, generate
from custom_components.ulogger.cloud.udmi.lifecycle import Lifecycle, Mode
from custom_components.ulogger.cloud.udmi.link import Target
from custom_components.ulogger.cloud.udmi.redirect import MOST_SWITCHES, WITHIN, Redirect
from custom_components.ulogger.cloud.udmi.rotation import KeyKeeper, NotKept, Rotation
from custom_components.ulogger.cloud.udmi.status import stamp
from custom_components.ulogger.cloud.udmi.system import System, measure
from custom_components.ulogger.cloud.udmi.wishes import RENEW_AFTER, LevelWishes
from custom_components.ulogger.model.identity import DeviceKey
from custom_components.ulogger.model.log_config import LONGEST, SHORTEST, LogConfig

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY: DeviceKey = (42, "S1")

# Modes


class Modes:
    def __init__(self, answered: str = "") -> None:
        self.ended: list[tuple[Mode, str]] = []
        self.life = Lifecycle(
            lambda: None,
            lambda mode, at: self.ended.append((mode, at)),
            last_start=NOW,
            restart_count=3,
            answered=answered,
        )


def test_a_gateway_begins_in_the_beginning_and_becomes_active() -> None:
    modes = Modes()
    assert modes.life.state() == {
        "operational": True,
        "last_start": stamp(NOW),
        "restart_count": 3,
        "mode": "initial",
    }
    modes.life.wish("active", None)
    assert modes.life.mode is Mode.ACTIVE


@pytest.mark.parametrize("mode", [Mode.RESTART, Mode.SHUTDOWN, Mode.TERMINATE])
def test_an_active_gateway_ends_once(mode: Mode) -> None:
    modes = Modes()
    modes.life.wish(mode.value, None)
    assert not modes.ended
    modes.life.wish("active", None)
    for _ in range(3):
        modes.life.wish(mode.value, None)
    assert modes.ended == [(mode, "")]
    assert modes.life.state()["mode"] == mode
    assert modes.life.state()["operational"] is False


def test_a_later_start_that_the_site_knows_of_restarts_the_gateway_once() -> None:
    later = stamp(NOW + timedelta(hours=1))
    modes = Modes()
    modes.life.wish("active", later)
    assert modes.ended == [(Mode.RESTART, later)]
    again = Modes(answered=later)
    again.life.wish("active", later)
    assert not again.ended


@pytest.mark.parametrize(("mode", "start"), [(3, 4), ("odd", "odd"), (None, stamp(NOW)), ([], {})])
def test_what_is_no_mode_and_no_later_start_changes_nothing(mode: Any, start: Any) -> None:
    modes = Modes()
    modes.life.wish("active", None)
    modes.life.wish(mode, start)
    assert modes.life.mode is Mode.ACTIVE
    assert not modes.ended


# The system's part of a config


def test_metrics_are_measured_at_the_sites_rate_and_never_at_a_rate_of_zero() -> None:
    now, measured = [100.0], []
    block = System(lambda: None, lambda: now[0], measure=lambda: measured.append(now[0]))
    assert block.wake_at() is None
    block.configure({"metrics_rate_sec": 5}, NOW)
    assert block.wake_at() == 105.0
    now[0] = 105.0
    block.wake()
    assert (measured, block.wake_at()) == ([105.0], 110.0)
    block.configure({"metrics_rate_sec": 0}, NOW)
    assert block.wake_at() is None


@pytest.mark.parametrize("odd", [True, "300", 99, 801, 1.5, [], {}])
def test_an_odd_level_is_the_usual_one_and_no_wish(odd: Any) -> None:
    block = System(lambda: None, lambda: 0.0)
    block.configure({"min_loglevel": odd}, NOW)
    assert (block.min_loglevel, block.level_chosen, block.problem) == (300, False, "min_loglevel")


def test_what_a_machine_measures_is_left_out_where_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 2048 kB\nMemAvailable: 1024 kB\nodd\n")
    found = measure(str(tmp_path), tmp_path)
    assert (found["mem_total_mb"], found["mem_free_mb"]) == (2.0, 1.0)
    assert found["store_total_mb"] > 0
    assert "mem_total_mb" not in measure(str(tmp_path / "none"), tmp_path / "none")


# Wishes


class Wishes:
    def __init__(self, told_at: Mapping[str, float] | None = None) -> None:
        self.now = 1000.0
        self.told: list[tuple[int, int, bool]] = []
        self.kept: Mapping[str, float] = dict(told_at or {})
        self.wishes = LevelWishes(self.kept, self._keep, lambda: self.now)
        self.wishes.on_log_config = self._tell

    async def _keep(self, told_at: Mapping[str, float]) -> None:
        self.kept = told_at

    def _tell(self, _key: DeviceKey, config: LogConfig, again: bool) -> None:
        self.told.append((config.level, config.timeout_seconds, again))


@pytest.mark.parametrize(
    ("wanted", "level"), [(100, 0), (200, 1), (300, 2), (400, 2), (500, 3), (600, 4), (800, 4)]
)
async def test_a_site_hears_at_least_what_it_wants_to(wanted: int, level: int) -> None:
    world = Wishes()
    await world.wishes.wish(KEY, wanted)
    await world.wishes.wish(KEY, wanted)
    assert world.told == [(level, LONGEST, False)]


async def test_a_wish_that_is_not_there_any_longer_ends_at_once() -> None:
    world = Wishes()
    await world.wishes.wish(KEY, 100)
    await world.wishes.wish(KEY, None)
    await world.wishes.wish(KEY, None)
    assert world.told == [(0, LONGEST, False), (0, SHORTEST, False)]


async def test_after_a_restart_the_same_wish_is_no_new_one_until_it_has_to_be() -> None:
    world = Wishes()
    await world.wishes.wish(KEY, 100)
    later = Wishes(world.kept)
    later.now += RENEW_AFTER - 1
    await later.wishes.wish(KEY, 100)
    assert later.told == [(0, LONGEST, True)]
    later.now += 2
    await later.wishes.tell(KEY)
    assert later.told[-1] == (0, LONGEST, False)


# Another key


class Link:
    """A link that goes where it is told to, unless it is not let in there."""

    def __init__(self, endpoint: Endpoint, keys: KeyPair | None) -> None:
        self.target = Target(endpoint, keys)
        self.device_id = endpoint.device_id
        self.refused: Callable[[Target], bool] = lambda _target: False
        self.tried: list[Target] = []

    async def switch(self, target: Target) -> None:
        self.tried.append(target)
        if self.refused(target):
            raise CannotConnect("not let in")
        self.target = target


class Keeper(KeyKeeper):
    def __init__(self) -> None:
        self.log: list[str] = []
        self.full = ""

    def _note(self, what: str) -> None:
        if self.full == what:
            raise NotKept("full")
        self.log.append(what)

    async def begin(self, following: KeyPair) -> None:
        self._note("begin")

    async def finish(self, present: KeyPair, before: KeyPair) -> None:
        self._note("finish")

    async def drop(self) -> None:
        self._note("drop")


ENDPOINT = Endpoint.from_dict(
    {
        "hostname": "broker.invalid",
        "client_id": "/r/Z/d/GAT-1",
        "auth_provider": {"jwt": {"audience": "a"}},
    }
)
PAIR = generate("ES256", "GAT-1", NOW)


class Rotating:
    def __init__(self, keys: KeyPair | None = PAIR) -> None:
        self.link = Link(ENDPOINT, keys)
        self.keeper = Keeper()
        self.reports: list[int] = []
        self.announced: list[str] = []
        self.unheard = self.acknowledgement_lost = False
        self.slept: list[float] = []
        self.rotation = Rotation(
            self.link,  # type: ignore[arg-type]
            self.keeper,
            report=lambda _message, _category, level: self.reports.append(level),
            announce=self._announce,
            run=self._run,
            now=lambda: NOW,
            sleep=self._sleep,
        )

    async def _announce(self, key: str) -> None:
        if self.unheard:
            raise CloudUnavailable(sent=self.acknowledgement_lost)
        # The site hears of it from whom it knows.
        assert self.link.target.keys is PAIR
        self.announced.append(key)

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_new_key_is_kept_then_announced_then_used() -> None:
    world = Rotating()
    assert await world.rotation.rotate()
    assert world.keeper.log == ["begin", "finish"]
    assert world.link.target.keys is not PAIR
    assert "PUBLIC KEY" in world.announced[0]
    assert "PRIVATE" not in world.announced[0]
    assert world.reports == [200, 200]


async def test_a_key_that_the_site_registers_late_is_tried_again() -> None:
    world = Rotating()
    world.link.refused = lambda _target: len(world.link.tried) < 2
    assert await world.rotation.rotate()
    assert world.slept == [2.0, 60.0]


async def test_where_the_new_key_is_not_taken_the_one_before_stays() -> None:
    world = Rotating()
    world.link.refused = lambda target: target.keys is not PAIR
    assert not await world.rotation.rotate()
    assert world.keeper.log == ["begin", "drop"]
    assert world.link.target.keys is PAIR
    assert world.reports[-1] == 500


async def test_a_key_that_the_disk_or_the_site_did_not_take_is_not_used() -> None:
    for problem in ("begin", "announce"):
        world = Rotating()
        world.keeper.full = problem
        world.unheard = problem == "announce"
        assert not await world.rotation.rotate()
        assert not world.link.tried
        assert world.reports[-1] == 500


async def test_a_key_of_which_the_acknowledgement_was_lost_is_tried() -> None:
    """The site may know it, and let the key before in no more."""
    world = Rotating()
    world.unheard = world.acknowledgement_lost = True
    assert await world.rotation.rotate()
    assert world.link.tried
    assert world.link.target.keys != PAIR


async def test_without_a_key_nothing_is_rotated() -> None:
    world = Rotating(None)
    assert not await world.rotation.rotate()
    assert (world.reports, world.keeper.log) == ([500], [])


# Another endpoint


class Redirecting:
    def __init__(self) -> None:
        self.link = Link(ENDPOINT, PAIR)
        self.now = 0.0
        self.asked: list[Endpoint] = []
        self.says_yes = False
        self.unheard = False
        self.full = False
        self.log: list[str] = []
        self.redirect = Redirect(
            self.link,  # type: ignore[arg-type]
            approved=lambda host: host.endswith("broker.invalid"),
            ask=self._ask,
            flush=self._flush,
            remember=self._remember,
            clock=lambda: self.now,
        )

    async def _ask(self, endpoint: Endpoint) -> bool:
        self.asked.append(endpoint)
        return self.says_yes

    async def _flush(self) -> None:
        assert self.link.target.endpoint.hostname == "broker.invalid"
        if self.unheard:
            raise CloudUnavailable
        self.log.append("flush")

    async def _remember(self, endpoint: Endpoint) -> None:
        if self.full:
            raise OSError("full")
        self.log.append(endpoint.hostname)

    async def go(self, **other: Any) -> None:
        said = {**ENDPOINT.as_dict(), "hostname": "other.broker.invalid", **other}
        content = json.dumps(said).encode()
        await self.redirect.admit(content, "g")
        await self.redirect.apply(content, "g")


async def test_the_old_broker_hears_of_it_before_the_new_one_is_tried() -> None:
    world = Redirecting()
    await world.go()
    assert world.log == ["flush", "other.broker.invalid"]
    assert world.link.target.endpoint.hostname == "other.broker.invalid"
    assert world.link.target.keys is PAIR


async def test_the_present_endpoint_is_no_other_one() -> None:
    world = Redirecting()
    await world.go(hostname="broker.invalid")
    assert not world.link.tried


async def test_an_endpoint_that_does_not_take_us_is_not_remembered() -> None:
    world = Redirecting()
    world.link.refused = lambda _target: True
    with pytest.raises(BlobFailed, match="not let in"):
        await world.go()
    assert world.log == ["flush"]


async def test_a_host_that_nobody_approved_waits_for_a_person() -> None:
    world = Redirecting()
    with pytest.raises(BlobFailed, match="did not approve"):
        await world.go(hostname="evil.invalid")
    assert not world.link.tried
    world.says_yes = True
    await world.go(hostname="evil.invalid")
    assert len(world.asked) == 2
    assert world.link.target.endpoint.hostname == "evil.invalid"


async def test_an_endpoint_without_encryption_is_refused() -> None:
    world = Redirecting()
    with pytest.raises(BlobFailed) as failed:
        await world.go(transport="tcp")
    assert failed.value.category == "blobset.blob.parse"
    with pytest.raises(BlobFailed):
        await world.redirect.admit(b"{", "g")
    assert not world.link.tried


async def test_where_the_disk_does_not_take_it_the_old_broker_has_us_back() -> None:
    world = Redirecting()
    world.full = True
    with pytest.raises(BlobFailed, match="disk"):
        await world.go()
    assert world.link.target.endpoint == ENDPOINT


async def test_a_broker_that_does_not_hear_of_it_is_not_left() -> None:
    world = Redirecting()
    world.unheard = True
    with pytest.raises(BlobFailed, match="did not reach"):
        await world.go()
    assert not world.link.tried


async def test_sites_that_send_us_to_and_fro_are_not_followed_for_long() -> None:
    world = Redirecting()
    world.redirect._flush = _nothing  # type: ignore[method-assign]
    for number in range(MOST_SWITCHES):
        await world.go(hostname=f"b{number}.broker.invalid")
    with pytest.raises(BlobFailed, match="enough"):
        await world.go(hostname="c.broker.invalid")
    world.now += WITHIN
    await world.go(hostname="c.broker.invalid")


async def _nothing() -> None:
    return
