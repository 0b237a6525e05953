"""The benchmark of a new log's commit."""

import json
from pathlib import Path

from bench.store import main


def test_a_new_log_is_stored_with_and_without_earlier_ones(tmp_path: Path, capsys) -> None:
    main(["--json", "--rounds", "2", "--earlier", "3", "--directory", str(tmp_path)])
    without, known = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (without["earlier"], known["earlier"]) == (0, 3)
    assert {"bench": "store", "size": 16_384, "rounds": 2}.items() <= known.items()
    assert min(without["ms"], known["ms"], known["disk_ms"]) > 0
    assert not list(tmp_path.iterdir())
