"""Pepeunit's wire is as documented, beside the published client as another unit."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_feature_of_pepeunit_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "pepeunit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert report["messages"] > 50
    assert report["invalid"] == 0
    assert [name.split("_")[0] for name in report["scenarios"]] == [
        f"15.{number}" for number in range(1, 8)
    ]
    assert all(report["scenarios"].values())


def test_an_unknown_cloud_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "pepeunit" in done.stderr
