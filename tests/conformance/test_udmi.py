"""A whole Home Assistant is a UDMI gateway as the documentation has it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.udmi import AT_LAST, SIDE_BY_SIDE, main

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("home_assistant_process")
def test_every_feature_of_udmi_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "udmi"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert report["messages"] > 150
    assert report["invalid"] == 0
    assert all(report["scenarios"].values())
    assert len(report["scenarios"]) == len(played())


def played() -> list[str]:
    return [name for part in (*SIDE_BY_SIDE, *AT_LAST) for name in part]


def test_each_scenario_is_played_once_and_all_points_of_the_issue_have_some() -> None:
    names = played()
    assert len(names) == len(set(names))
    texts = [
        str(scenario.__doc__).split(":")[0]
        for part in (*SIDE_BY_SIDE, *AT_LAST)
        for scenario in part.values()
    ]
    assert set(texts) == {"4", "5", "6", "7", "8", "9", "10", "11"}


def test_another_folder_is_not_taken_for_the_schemas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--schema", str(tmp_path)])
    assert "not the folder of UDMI's schemas" in capsys.readouterr().err
