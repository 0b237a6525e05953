"""What the transfer must reach, measured by the benchmark itself."""

import json

import pytest

from bench.transfer import arguments, main, rows
from bench.visits import RESUMED, busy, resumed
from demo.device.virtual_time import run_virtually


def measured(*argv):
    windowed, waiting = rows(arguments(argv))
    assert windowed["early_erases"] == waiting["early_erases"] == 0
    return windowed


def test_16_kib_at_30_ms_without_loss():
    row = measured("--interval", "30", "--size", "16384", "--loss", "0", "--proxy", "0")
    assert row["ratio"] >= 6
    assert row["bytes_per_s"] >= 0.75 * row["bound_bytes_per_s"]


@pytest.mark.parametrize(
    ("interval", "least", "most"), [("7.5", 2, 4), ("15", 4, 8), ("30", 6, 12)]
)
def test_what_pipelining_brings_with_and_without_what_a_chunk_costs_the_device(
    interval, least, most
):
    row = measured("--interval", interval, "--size", "16384", "--loss", "0", "--proxy", "0")
    assert least <= row["ratio"] <= most
    assert row["ratio_free"] > 10


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_16_kib_at_30_ms_with_5_per_cent_loss(seed):
    argv = ("--interval", "30", "--size", "16384", "--loss", "5", "--proxy", "0", "--seed", seed)
    assert measured(*argv)["ratio"] >= 3


@pytest.mark.parametrize("interval", ["7.5", "15", "30", "50"])
def test_over_a_proxy(interval):
    row = measured("--interval", interval, "--size", "16384", "--loss", "0", "--proxy", "20")
    assert row["ratio"] >= 5


@pytest.mark.parametrize("packets", ["2", "4", "8"])
def test_other_radios_are_used_up_too(packets):
    argv = ("--interval", "30", "--size", "16384", "--loss", "0", "--proxy", "0")
    row = measured(*argv, "--packets", packets)
    assert row["bytes_per_s"] >= 0.75 * row["bound_bytes_per_s"]


def test_json_is_one_object_a_line(capsys):
    main(["--json", "--interval", "15", "--size", "1024", "--loss", "0", "--proxy", "0", "20"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["host"] for line in lines] == ["windowed", "stop_and_wait"] * 2
    assert {"bench": "transfer", "interval_ms": 15, "size": 1024, "loss": 0}.items() <= lines[
        0
    ].items()
    assert "ratio" in lines[0]
    assert "ratio" not in lines[1]
    assert lines[2]["proxy_ms"] == 20


def test_the_table_has_a_row_for_each(capsys):
    main(["--interval", "30", "--size", "1024", "--loss", "0", "1", "--proxy", "0"])
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("every", [1.0, 5.0, 30.0])
def test_all_of_sixty_visits_to_a_device_that_logs_on_are_whole(every):
    row = run_virtually(busy(every))
    assert (row["whole"], row["failed"], row["stale"], row["quarantined"]) == (60, 0, 0, 0)
    assert row["frames_intact"]
    assert row["early_erases"] == 0
    assert row["median_s"] < 3


@pytest.mark.parametrize(("link", "most"), zip(RESUMED, (3, 2, 14, 7, 5), strict=True))
def test_short_links_bring_everything_once(link, most):
    row = run_virtually(resumed(*link))
    assert row["arrived"]
    assert row["sessions"] <= most
    assert row["chunks"] <= 1.06 * row["least_chunks"]
    assert row["log_commits"] == 1
    assert row["early_erases"] == 0


def test_the_cases_are_json_too(capsys):
    main(["--case", "visits", "--visits", "2", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["line_every_s"] for line in lines] == [1.0, 5.0, 30.0]
    assert {line["case"] for line in lines} == {"visits"}


def test_a_case_can_be_read_by_people(capsys):
    main(["--case", "resume"])
    assert len(capsys.readouterr().out.splitlines()) == len(RESUMED)
