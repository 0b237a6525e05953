"""Each cloud's wire is as documented, beside its own library or its own parser."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.__main__ import CLOUDS

ROOT = Path(__file__).parents[2]


def points(first: int, last: int) -> set[str]:
    """Return what the scenarios of an issue's numbered points begin with."""
    return {f"15.{number}" for number in range(first, last + 1)}


EXPECTED = {
    "clesyde": (40, points(8, 13)),
    "otlp": (
        50,
        {"away", "clock", "everything", "hostile", "odd", "partial", "redirects", "refusal"}
        | {"restart", "slow", "throttled", "tls", "too", "unauthorised"},
    ),
    "pepeunit": (50, points(1, 7)),
}
"""For each cloud how many messages there are at least, and what its scenarios begin with."""


def conformance(name: str) -> subprocess.CompletedProcess[str]:
    """Run what ``script/conformance`` runs."""
    return subprocess.run(
        [sys.executable, "-m", "conformance", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_scenario_of_a_cloud_holds(name: str) -> None:
    least, scenarios = EXPECTED[name]
    done = conformance(name)
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert report["messages"] > least
    assert report["invalid"] == 0
    assert {each.split("_")[0] for each in report["scenarios"]} == scenarios
    assert all(report["scenarios"].values())


def test_every_cloud_is_held_to_what_is_expected_of_it() -> None:
    # UDMI has a test of its own: its scenarios have no numbers.
    assert {*EXPECTED, "udmi"} == set(CLOUDS)


def test_an_unknown_cloud_is_said() -> None:
    done = conformance("nowhere")
    assert done.returncode == 2
    assert all(name in done.stderr for name in CLOUDS)
