"""What grows is noticed, what only goes up and down is not; and the soak itself can be run."""

import asyncio
import json
import subprocess
import sys
from random import Random

import pytest

from bench.growth import Limit, judge
from bench.soak import LIMITS
from demo.hass import REPOSITORY

LIMIT = {"tasks": Limit(besides=2), "rss_mb": Limit(0.01, 1.0)}


def samples(
    count: int, leak: float, *, noise: float = 1.0, seed: int = 1
) -> list[dict[str, float]]:
    random = Random(seed)
    return [
        {
            "tasks": 10 + random.uniform(0, noise) + leak * number,
            "rss_mb": 200 + 50 * min(1.0, number / (0.3 * count)),
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_what_goes_up_and_down_and_warms_up_does_not_grow(seed: int) -> None:
    verdicts = judge(samples(100, 0.0, seed=seed), LIMIT)
    assert not any(each.grows for each in verdicts.values())


def test_a_task_left_behind_now_and_then_is_noticed() -> None:
    verdicts = judge(samples(100, 0.1), LIMIT)
    assert verdicts["tasks"].grows
    assert not verdicts["rss_mb"].grows


@pytest.mark.timeout(240)
@pytest.mark.xdist_group("home_assistant_process")
async def test_half_a_minute_of_it() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.soak", "--minutes", "0.5", "--json"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    report = json.loads(output.decode().splitlines()[-1])
    assert process.returncode == (1 if report["grows"] else 0)
    assert report["measures"].keys() == LIMITS.keys()
    assert report["sessions"] > 20
    # Half a minute is all warm-up for memory; what is counted must be flat even so.
    assert not {"file_descriptors", "callbacks", "slots_taken", "tasks"} & set(report["grows"])
