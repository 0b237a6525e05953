"""What the documentation says is tested, is: every test and scenario that a table names exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pepeunit_client
import pytest
import ulogger_cloud
from pepeunit_client import (
    cipher,
    logger,
    pepeunit_mqtt_client,
    pepeunit_rest_client,
    schema_manager,
)

ROOT = Path(__file__).parents[1]
TABLES = ("clouds.md", "parity.md")
NO_SENSE = "no sense here"
_SCENARIO = re.compile(r"`(\d+\.\d+_\w+)`")
_NAMED_SCENARIOS = re.compile(r"conformance (`\w+`(?:, `\w+`)*)")


def rows(document: str) -> Iterator[tuple[str, str, str]]:
    """Go through the rows of tables about tests: what the library has, what is here, the test."""
    tested = False
    for line in (ROOT / "docs" / document).read_text().splitlines():
        cells = [each.strip() for each in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            tested = False
        elif len(cells) == 3 and cells[2].startswith("test"):
            tested = True
        elif tested and not set(line) <= set("|-"):
            assert len(cells) == 3, line
            yield cells[0], cells[1], cells[2].strip("| ")


@cache
def functions(file: str) -> frozenset[str]:
    """Return the names of all tests in a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, kinds))


@cache
def scenarios() -> frozenset[str]:
    """Return the names of all scenarios of `script/conformance`."""
    found = set()
    for path in (ROOT / "conformance").rglob("*.py"):
        found.update(re.findall(r'^    "([\w.]+)": \w', path.read_text(), re.MULTILINE))
    return frozenset(found)


def scenarios_in(cell: str) -> list[str]:
    """Return the scenarios of `script/conformance` that a cell names."""
    listed = "".join(_NAMED_SCENARIOS.findall(cell))
    return [*_SCENARIO.findall(cell), *re.findall(r"`([a-z]\w+)`", listed)]


def named(cell: str) -> Iterator[tuple[str, str | None]]:
    """Go through the files and tests in a cell; `::name` is in the file before it."""
    file = ""
    for text in re.findall(r"`([^`]+)`", cell):
        path, _, name = text.partition("::")
        if path.endswith(".py"):
            file = path
        elif path or not name:
            continue
        yield file, name or None


@pytest.mark.parametrize("document", TABLES)
def test_every_test_that_a_table_names_exists(document: str) -> None:
    missing = []
    for _, _, cell in rows(document):
        for file, name in named(cell):
            path = ROOT / "tests" / file
            if not path.is_file() or (name is not None and name not in functions(file)):
                missing.append(f"{file}::{name}")
        missing += [each for each in scenarios_in(cell) if each not in scenarios()]
    assert missing == []


@pytest.mark.parametrize("document", TABLES)
def test_every_feature_that_makes_sense_names_a_test(document: str) -> None:
    found = list(rows(document))
    assert len(found) > 15
    without = [
        library
        for library, here, cell in found
        if not here.startswith(NO_SENSE)
        and cell != "the same"
        and not list(named(cell))
        and not scenarios_in(cell)
    ]
    assert without == []


def test_every_scenario_of_a_numbered_point_stands_in_the_table() -> None:
    told = {each for _, _, cell in rows("clouds.md") for each in scenarios_in(cell)}
    ours = {each for each in scenarios() if each.startswith("15.")}
    assert len(ours) == 13
    assert ours - told == set()


def told(library: str) -> str:
    """Return what the table says that a library has."""
    text = (ROOT / "docs" / "clouds.md").read_text()
    section = text[text.index(f"## {library}:") :].partition("\n## ")[0]
    return "\n".join(line.partition(" | ")[0] for line in section.splitlines() if line[:1] == "|")


def test_no_public_name_of_uloggers_library_is_left_out() -> None:
    names = set(ulogger_cloud.__all__) - {"__version__"}
    assert {each for each in names if f"`{each}" not in told("uLogger")} == set()


def test_no_public_name_of_pepeunits_library_is_left_out() -> None:
    names = set(pepeunit_client.__all__)
    for each in (
        pepeunit_client.PepeunitClient,
        pepeunit_mqtt_client.PepeunitMqttClient,
        pepeunit_rest_client.PepeunitRestClient,
        logger.Logger,
        schema_manager.SchemaManager,
        cipher.AesGcmCipher,
    ):
        names.update(name for name in vars(each) if not name.startswith("_"))
    assert len(names) > 40
    assert {each for each in names if f"`{each}`" not in told("Pepeunit")} == set()
