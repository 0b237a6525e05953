"""UDMI, points: what they show goes up as the site asks, and what the site sets comes down."""

import asyncio
import datetime as dt
import itertools
import time
from collections.abc import Mapping
from typing import Any, Final

from demo.api import Json
from demo.udmi.site import Device, as_text

from .udmi_stage import (
    AWAY,
    LAMP,
    PROGRAM,
    SETPOINT,
    SLOW,
    NotSo,
    Scenario,
    Stage,
    expect,
)

RARELY: Final = 3600
SETTLED: Final = 5.0


def in_seconds(seconds: float) -> str:
    """Return a moment so many seconds from now."""
    return as_text(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds))


def points_of(device: Device) -> dict[str, Json]:
    """Return all points of a device's state."""
    found: dict[str, Json] = device.state.get("pointset", {}).get("points", {})
    return found


def point(device: Device, name: str) -> Json:
    """Return what the state says of a point."""
    return points_of(device).get(name, {})


def values(device: Device, since: int = 0) -> list[Json]:
    """Return the events of the points from some on."""
    return device.events("pointset")[since:]


async def until_stands(stage: Stage, name: str, wanted: str | None, seconds: float = 15) -> None:
    """Wait until the state of a point's set value is told."""
    device = stage.second
    try:
        await stage.until(lambda: point(device, name).get("value_state") == wanted, "", seconds)
    except NotSo as err:
        raise NotSo(f"point {name} is never {wanted}: {point(device, name)}") from err


async def release(stage: Stage) -> None:
    """Take all set values back, and wait until nothing is set any more."""
    device = stage.second
    await stage.configure(device, pointset={"sample_rate_sec": RARELY})
    for name in [name for name, each in points_of(device).items() if "value_state" in each]:
        await until_stands(stage, name, None)


async def pointset_sampled(stage: Stage) -> None:
    """6: points go up at their rate, metrics and entities alike, with their units."""
    before = len(values(stage.proxy))
    began = time.time()
    await stage.configure(
        stage.proxy,
        pointset={"sample_rate_sec": 1, "points": {"slow": {}, "door": {}, "battery": {}}},
    )
    await stage.until(lambda: len(values(stage.proxy, before)) >= 3, "no events at the rate")
    took = time.time() - began
    came = values(stage.proxy, before)
    expect(len(came) <= took + 2, f"{len(came)} events in {took:.1f} s at a rate of one a second")
    latest = came[-1]["points"]
    expect(latest["slow"]["present_value"] == 5, f"slow: {latest['slow']}")
    expect(latest["door"]["present_value"] is False, f"door: {latest['door']}")
    expect(set(latest) <= {"slow", "door", "battery"}, f"other points: {set(latest)}")
    expect(point(stage.proxy, "slow").get("units") == "Cel", "the units are not told")
    await stage.configure(stage.proxy, pointset={"sample_rate_sec": RARELY})
    known = points_of(stage.proxy)
    metrics = [name for name in known if name not in {"slow", "door"}]
    expect({"slow", "door"} <= known.keys(), f"points: {known}")
    expect(len(metrics) >= 3, f"neither metrics nor counters are points: {sorted(known)}")


async def pointset_changes(stage: Stage) -> None:
    """6: a change of the increment goes up at once as a part, a smaller one waits for its turn."""
    await stage.configure(
        stage.proxy,
        pointset={
            "sample_rate_sec": RARELY,
            "points": {"slow": {"cov_increment": 5.0}, "door": {}},
        },
    )
    # What the change of the points themselves has sent up.
    await asyncio.sleep(1.0)
    before = len(values(stage.proxy))
    await stage.set_number(SLOW, 7)
    await asyncio.sleep(1.0)
    expect(not values(stage.proxy, before), "a change below the increment went up")
    await stage.set_number(SLOW, 50)
    await stage.until(lambda: values(stage.proxy, before), "a change did not go up", 5)
    [event] = values(stage.proxy, before)
    expect(event.get("partial_update") is True, "a part is not called one")
    expect(event["points"] == {"slow": {"present_value": 50}}, f"another part: {event['points']}")


async def pointset_limited(stage: Stage) -> None:
    """6: however fast a point changes, the site's limit lies between its events."""
    await stage.configure(
        stage.proxy,
        pointset={
            "sample_rate_sec": RARELY,
            "sample_limit_sec": 2,
            "points": {"slow": {"cov_increment": 1.0}},
        },
    )
    await asyncio.sleep(2.2)
    messages = stage.proxy.messages
    before = len(messages)
    for value in range(100, 125):
        await stage.set_number(SLOW, value)
        await asyncio.sleep(0.1)
    await stage.until(
        lambda: stage.proxy.values("slow")[-1:] == [124], "the latest value does not go up", 6
    )
    times = [each.at for each in messages[before:] if each.rest == "events/pointset"]
    apart = [later - earlier for earlier, later in itertools.pairwise(times)]
    expect(all(each > 1.8 for each in apart), f"events are {apart} s apart")


async def pointset_unknown(stage: Stage) -> None:
    """6: a point that nobody knows is reported, and the others work on."""
    before = len(values(stage.proxy))
    await stage.configure(
        stage.proxy,
        pointset={"sample_rate_sec": RARELY, "points": {"slow": {}, "ghost_point": {}}},
    )
    status = point(stage.proxy, "ghost_point").get("status", {})
    expect(status.get("level", 0) >= 400, f"the unknown point is not reported: {status}")
    expect(status["category"].startswith("pointset.point."), f"category {status['category']}")
    expect("status" not in point(stage.proxy, "slow"), "another point is blamed")
    await stage.until(
        lambda: any("slow" in each["points"] for each in values(stage.proxy, before)),
        "the other points do not go up",
        5,
    )


async def set_points(stage: Stage, wanted: Mapping[str, Any], **other: Any) -> None:
    """Have a site set points; the rest of the pointset as given, None to leave something out."""
    device = stage.second
    block = {
        "sample_rate_sec": RARELY,
        "state_etag": device.state["pointset"]["state_etag"],
        "set_value_expiry": in_seconds(300),
        "points": {name: {"set_value": value} for name, value in wanted.items()},
        **other,
    }
    await stage.configure(
        device, pointset={key: each for key, each in block.items() if each is not None}
    )


async def write(stage: Stage, name: str, value: Any, **other: Any) -> None:
    """Have a site set one point."""
    await set_points(stage, {name: value}, **other)


async def writeback_applied(stage: Stage) -> None:
    """7: a number, a switch and a choice are set, read back, and go back when it is over."""
    wanted: dict[str, tuple[str, Any, str, str]] = {
        "setpoint": (SETPOINT, 24.5, "24.5", "20.0"),
        "lamp": (LAMP, True, "on", "off"),
        "program": (PROGRAM, "day", "day", "eco"),
    }
    etag = stage.second.state["pointset"]["state_etag"]
    await set_points(stage, {name: value for name, (_, value, _, _) in wanted.items()})
    for name, (entity, _, shown, _) in wanted.items():
        await stage.until_value(entity, shown)
        await until_stands(stage, name, "applied")
    expect(stage.second.state["pointset"]["state_etag"] != etag, "the etag is that of before")
    await release(stage)
    for entity, _, _, before in wanted.values():
        await stage.until_value(entity, before)


async def writeback_expires(stage: Stage) -> None:
    """7: a set value ends at its expiry, and the point shows what it showed before."""
    await write(stage, "setpoint", 25.0, set_value_expiry=in_seconds(3))
    await until_stands(stage, "setpoint", "applied", 3)
    await until_stands(stage, "setpoint", None, 8)
    await stage.until_value(SETPOINT, "20.0")
    await release(stage)


async def writeback_invalid(stage: Stage) -> None:
    """7: what must not or can't be set is refused, said why, and nothing is written."""
    one = {"setpoint": 22.0}
    unusable = {"seen": 11.0, "setpoint": 99.0, "program": "weekend", "lamp": "bright"}
    cases: tuple[tuple[str, Mapping[str, Any], Json], ...] = (
        ("not writable, out of range, no such choice, no switch", unusable, {}),
        ("no expiry", one, {"set_value_expiry": None}),
        ("an expiry before the config", one, {"set_value_expiry": in_seconds(-60)}),
        ("another state's etag", one, {"state_etag": "0123456789"}),
    )
    entities = {"setpoint": SETPOINT, "seen": SLOW, "program": PROGRAM, "lamp": LAMP}
    own = {name: entity for name, entity in entities.items() if name != "seen"}
    before = {entity: await stage.value(entity) for entity in own.values()}
    for what, wanted, other in cases:
        await set_points(stage, wanted, **other)
        for name in wanted:
            await until_stands(stage, name, "invalid", SETTLED)
            status = point(stage.second, name).get("status", {})
            expect(status.get("category") == "pointset.point.invalid", f"{what}: {status}")
            expect(status["message"].startswith(f"Point {name}"), f"{what}: {status['message']}")
        for entity, shown in before.items():
            expect(await stage.value(entity) == shown, f"{what}: {entity} was written")
        await release(stage)
    expect(await stage.value(SLOW) != "11.0", "what is not writable was written")


async def writeback_over(stage: Stage) -> None:
    """7: what expired before it came is no request at all."""
    now = dt.datetime.now(dt.UTC)
    config = {
        **stage.second.config,
        "timestamp": as_text(now - dt.timedelta(seconds=30)),
        "pointset": {
            "sample_rate_sec": RARELY,
            "set_value_expiry": as_text(now - dt.timedelta(seconds=10)),
            "points": {"setpoint": {"set_value": 28.0}},
        },
    }
    await stage.site.say(stage.second.id, "config", config)
    await stage.until(
        lambda: stage.second.system()["last_config"] == config["timestamp"],
        "a config that is older is not acknowledged",
        5,
    )
    expect(
        "value_state" not in point(stage.second, "setpoint"),
        f"it is {point(stage.second, 'setpoint')}",
    )
    expect(await stage.value(SETPOINT) == "20.0", "it was written")
    await release(stage)


async def writeback_overridden(stage: Stage) -> None:
    """7: what a person sets meanwhile stays, and the site is told."""
    await write(stage, "setpoint", 23.0)
    await until_stands(stage, "setpoint", "applied")
    await stage.set_number(SETPOINT, 18)
    await until_stands(stage, "setpoint", "overridden")
    status = point(stage.second, "setpoint").get("status", {})
    expect(status.get("category") == "pointset.point.overridden", f"status {status}")
    await release(stage)
    expect(await stage.value(SETPOINT) == "18.0", "the person's value was taken back")
    await stage.set_number(SETPOINT, 20)


async def writeback_fails(stage: Stage) -> None:
    """7: an entity that is away is a failure of the device, not of the site."""
    await write(stage, "away", 7)
    await until_stands(stage, "away", "failure")
    status = point(stage.second, "away").get("status", {})
    expect(status.get("category") == "pointset.point.failure", f"status {status}")
    expect(await stage.value(AWAY) == "unavailable", "it is there")
    await release(stage)


SAMPLING: Final[dict[str, Scenario]] = {
    "pointset_sampled": pointset_sampled,
    "pointset_changes": pointset_changes,
    "pointset_limited": pointset_limited,
    "pointset_unknown": pointset_unknown,
}
WRITEBACK: Final[dict[str, Scenario]] = {
    "writeback_applied": writeback_applied,
    "writeback_invalid": writeback_invalid,
    "writeback_over": writeback_over,
    "writeback_overridden": writeback_overridden,
    "writeback_expires": writeback_expires,
    "writeback_fails": writeback_fails,
}
