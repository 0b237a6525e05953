"""Clesyde's wire is as documented, beside its own library as another device."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_feature_of_clesyde_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "clesyde"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert report["messages"] > 40
    assert report["invalid"] == 0
    assert [name.split("_")[0] for name in report["scenarios"]] == [
        f"15.{number}" for number in range(8, 14)
    ]
    assert all(report["scenarios"].values())
