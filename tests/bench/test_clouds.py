"""What clouds cost beside their own libraries, measured as ``script/bench clouds`` does."""

import json
from pathlib import Path

import pytest

from bench import clouds
from bench.cloud_udmi import missing


async def test_a_unit_logs_sooner_than_the_published_client(
    socket_enabled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = await clouds.run(clouds.arguments(["--json", "--cloud", "pepeunit", "--rounds", "2"]))
    assert [row["case"] for row in rows] == ["log_records", "cipher"]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert rows[0]["ratio"] > 1
    assert "ratio" in clouds.described(rows[1])


async def test_frames_go_to_a_udmi_site_also_where_its_library_is_not_there(
    socket_enabled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = await clouds.run(clouds.arguments(["--json", "--cloud", "udmi", "--rounds", "1"]))
    assert [row["case"] for row in rows] == ["log_entries", "points"]
    assert all(row["ours_messages_s"] > 0 and row["ratio"] is None for row in rows)
    assert "--udmi-library" in capsys.readouterr().err
    assert "library not there" in clouds.described(rows[0])


def test_another_folder_is_not_taken_for_udmis_library(tmp_path: Path) -> None:
    assert "not the repository of UDMI" in str(missing(tmp_path))
    assert "--udmi-library" in str(missing(None))
