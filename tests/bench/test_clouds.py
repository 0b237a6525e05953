"""What clouds cost beside their own libraries, measured as ``script/bench clouds`` does."""

import json

import pytest

from bench import clouds


async def test_a_unit_logs_sooner_than_the_published_client(
    socket_enabled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = await clouds.run(clouds.arguments(["--json", "--cloud", "pepeunit", "--rounds", "2"]))
    assert [row["case"] for row in rows] == ["log_records", "cipher"]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert rows[0]["ratio"] > 1
    assert "ratio" in clouds.described(rows[1])
