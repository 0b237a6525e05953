"""What grows is noticed, what only goes up and down is not; and the soak itself can be run."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from bench.growth import AT, FEWEST, WARM_UP, Limit, Verdict, after_warm_up, judge
from bench.soak import LIMITS
from demo.hass import REPOSITORY

LIMIT = {"tasks": Limit(besides=2), "rss_mb": Limit(0.01, 1.0)}
EVERY = 2.0


def samples(
    count: int, leak: float, *, noise: float = 1.0, seed: int = 1
) -> list[dict[str, float]]:
    """Measure something that warms up and something that leaks, with noise in it."""
    random = Random(seed)
    return [
        {
            AT: number * EVERY,
            "tasks": 10 + random.uniform(0, noise) + leak * number,
            "rss_mb": 200 + 50 * min(1.0, number / (0.3 * count)),
        }
        for number in range(count)
    ]


def of(values: Sequence[float]) -> Verdict:
    """Judge these values, all of them after a warm-up, two of which may be added."""
    warm_up = round(len(values) * WARM_UP / (1 - WARM_UP))
    rows = [{AT: number * EVERY, "tasks": 0.0} for number in range(warm_up)]
    rows += [{AT: number * EVERY, "tasks": value} for number, value in enumerate(values, warm_up)]
    assert len(after_warm_up(rows)) == len(values)
    return judge(rows, {"tasks": Limit(besides=2)})["tasks"]


@pytest.mark.parametrize("seed", range(5))
def test_what_goes_up_and_down_and_warms_up_does_not_grow(seed: int) -> None:
    verdicts = judge(samples(100, 0.0, seed=seed), LIMIT)
    assert not any(each.grows for each in verdicts.values())


def test_a_task_left_behind_now_and_then_is_noticed() -> None:
    verdicts = judge(samples(100, 0.1), LIMIT)
    assert verdicts["tasks"].grows
    assert verdicts["tasks"].rise == pytest.approx(5.9, abs=0.4)
    assert verdicts["tasks"].per_hour == pytest.approx(0.05 * 3600, rel=0.1)
    assert not verdicts["rss_mb"].grows


def test_a_tooth_of_a_saw_and_single_samples_say_nothing() -> None:
    assert not of([20.0 + number % 10 for number in range(60)]).grows
    assert not of([20.0] * 55 + [200.0] * 5).grows
    assert not of([0.0] * 5 + [20.0] * 55).grows


@pytest.mark.parametrize("seed", range(5))
def test_noise_that_is_far_larger_than_what_is_allowed_is_none(seed: int) -> None:
    random = Random(seed)
    assert not of([random.uniform(0, 100) for _ in range(20)]).grows


def test_what_grows_less_than_is_allowed_is_told_and_is_no_growth() -> None:
    verdict = of([20 + number * 0.01 for number in range(60)])
    assert verdict.sure
    assert not verdict.grows
    assert (verdict.rise, verdict.allowed) == (pytest.approx(0.59), 2.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_under_a_saw_is_noticed(seed: int) -> None:
    random = Random(seed)
    values = [20 + number * 0.15 + number % 7 + random.uniform(0, 3) for number in range(60)]
    assert of(values).grows


def test_steps_are_growth_when_they_go_on() -> None:
    assert of([20 + number // 10 for number in range(60)]).grows


def test_a_run_too_short_to_say_anything_says_so() -> None:
    with pytest.raises(ValueError, match="for longer"):
        judge(samples(FEWEST, 0.0), LIMIT)


def test_a_long_run_is_judged_in_moderate_time() -> None:
    began = time.monotonic()
    assert judge(samples(5_000, 0.01), LIMIT)["tasks"].grows
    assert time.monotonic() - began < 10


async def soaked(*arguments: str) -> tuple[int | None, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.soak", "--json"),
        *arguments,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, json.loads(output.decode().splitlines()[-1])


@pytest.mark.timeout(240)
@pytest.mark.xdist_group("home_assistant_process")
async def test_half_a_minute_of_it() -> None:
    code, report = await soaked("--minutes", "0.5")
    assert code == (1 if report["grows"] else 0)
    assert report["measures"].keys() == LIMITS.keys()
    assert report["sessions"] > 20
    assert not report["stalled"]
    # Half a minute is all warm-up for memory; what is counted must be flat even so.
    assert not {"file_descriptors", "callbacks", "slots_taken", "tasks"} & set(report["grows"])


@pytest.mark.timeout(240)
@pytest.mark.xdist_group("home_assistant_process")
async def test_a_leak_of_each_kind_is_found() -> None:
    code, report = await soaked("--minutes", "0.6", "--plant")
    assert code == 1
    assert set(report["grows"]) == LIMITS.keys()
