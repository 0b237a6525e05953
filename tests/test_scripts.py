"""What the scripts for other releases of Home Assistant and for coverage go by."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import homeassistant
import pytest

SCRIPTS = Path(__file__).parent.parent / "script"


def loaded(name: str) -> ModuleType:
    """Import a script."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environments = loaded("home_assistant")
limits = loaded("coverage_limits")


# Another release of Home Assistant


def test_what_the_release_pins_goes_before_what_this_one_asks_for() -> None:
    wanted = ["Pillow==12.3.0", "home_assistant.frontend==1", "ruff==0.17.5", "sqlalchemy"]
    pins = {"pillow": "13.0.0", "home-assistant-frontend": "2"}
    assert environments.adapted(wanted, pins) == [
        "pillow==13.0.0",
        "home-assistant-frontend==2",
        "ruff==0.17.5",
        "sqlalchemy",
    ]


def test_the_harness_and_the_release_it_belongs_to_are_left_out() -> None:
    wanted = [f"{environments.HARNESS}==0.13.375", "homeassistant==2026.10.4", "mypy==2.4.1"]
    assert environments.adapted(wanted, {}) == ["mypy==2.4.1"]


def test_constraints_go_before_manifests_and_comments_are_none(tmp_path: Path) -> None:
    (tmp_path / "components/radio").mkdir(parents=True)
    asked = {"requirements": ["serialx[esphome]==1.0", "Bleak_Tools==3", "loose>=1"]}
    (tmp_path / "components/radio/manifest.json").write_text(json.dumps(asked))
    (tmp_path / "package_constraints.txt").write_text("# a==1\nserialx==2.0 # why\nfree>=3\n")
    assert environments.core_pins(tmp_path) == {"serialx": "2.0", "bleak-tools": "3"}


def test_the_installed_release_pins_what_the_tests_of_this_one_ask_for() -> None:
    pins = environments.core_pins(Path(homeassistant.__file__).parent)
    assert {"paho-mqtt", "bleak", "habluetooth", "home-assistant-frontend"} <= pins.keys()


# Coverage


def report(module: str = "model/level.py", covered: float = 100.0) -> dict[str, Any]:
    """Return a report with one module in it; the whole is covered."""
    file = {
        "summary": {"percent_covered": covered},
        "missing_lines": [7],
        "missing_branches": [[8, 9], [8, -1]],
    }
    return {"files": {limits.PACKAGE + module: file}, "totals": {"percent_covered": 97.0}}


def test_the_whole_is_held_to_its_limit() -> None:
    assert list(limits.failures(report())) == []
    little = report() | {"totals": {"percent_covered": 96.989}}
    assert list(limits.failures(little)) == ["all: 96.99 %, less than 97 %"]


def test_a_module_that_nearly_nothing_tests_is_named_with_what_is_missing() -> None:
    assert list(limits.failures(report(covered=92.0))) == []
    (failure,) = limits.failures(report(covered=91.5))
    assert failure == "model/level.py: 91.50 %, less than 92 %: 7 8->9 8->-1"


@pytest.mark.parametrize("module", ["flows/folder_flow.py", "config_flow.py", "repairs.py"])
def test_flows_are_covered_whole(module: str) -> None:
    (failure,) = limits.failures(report(module, covered=99.5))
    assert failure.startswith(f"{module}: 99.50 %, less than 100 %")


def test_the_verdict_is_what_the_script_ends_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    totals = {"percent_statements_covered": 98.0, "percent_branches_covered": 93.0}
    for covered, verdict in ((99.0, 0), (50.0, 1)):
        found = report(covered=covered)
        found["totals"] |= totals
        (tmp_path / "coverage.json").write_text(json.dumps(found))
        assert limits.main(str(tmp_path / "coverage.json")) == verdict
        said = capsys.readouterr().out
        assert "97.00 % (98.00 % of the lines, 93.00 % of the branches)" in said
        assert ("level.py" in said) is bool(verdict)
