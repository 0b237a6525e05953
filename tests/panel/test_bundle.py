"""What Home Assistant loads is what the sources give."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from custom_components.ulogger.insight.faults import NAMES
from frontend.typescript import as_typescript, lines

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "custom_components/ulogger/panel/device-logs.js"
LARGEST = 150_000
NODE = Path(sys.executable).parent / "node"


def test_the_bundle_is_what_the_sources_give(tmp_path: Path) -> None:
    """Whoever changed a source runs script/panel build."""
    built = tmp_path / "panel.js"
    subprocess.run([NODE, "build.mjs", built], cwd=ROOT / "frontend", check=True, timeout=60)
    assert built.read_bytes() == BUNDLE.read_bytes()


def test_the_bundle_is_small() -> None:
    """It is loaded on a phone, too."""
    assert BUNDLE.stat().st_size <= LARGEST


def test_both_sides_are_typed_by_one_description() -> None:
    """The panel's types are made of ours."""
    made = (ROOT / "frontend/src/api/messages.ts").read_text(encoding="utf-8")
    assert made.splitlines() == list(lines())


def test_a_type_without_an_equivalent_is_refused() -> None:
    """Nothing is typed as anything."""
    with pytest.raises(TypeError, match="bytes"):
        as_typescript(bytes)


def test_every_fault_bit_is_explained_in_every_language() -> None:
    """A bit without a text would leave a crash without its page."""
    names = {f"bit_{name}" for register in NAMES.values() for name in register.values()}
    for file in (BUNDLE.parent / "texts").glob("*.json"):
        texts = json.loads(file.read_text(encoding="utf-8"))
        assert {key for key in texts if key.startswith("bit_")} == names, file.name
