"""OTLP is spoken as its specification has it, whatever a collector answers."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_answer_of_a_collector_loses_or_repeats_a_capture() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "otlp"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["messages"] > 50
    assert report["invalid"] == 0
    assert len(report["scenarios"]) >= 14
    assert all(report["scenarios"].values())
