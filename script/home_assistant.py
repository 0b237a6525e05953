"""Make an environment with a release of Home Assistant of one's choice, and everything for tests.

``.venv/bin/python script/home_assistant.py VERSION`` prints where it is, under build/; .venv stays
as it is. Does nothing, fast, when the environment is in place. VERSION may be ``newest``. With
``--keep-constraints`` what that release pins is kept beside the tests, which check the manifest
against it where there is no network.

What that release pins, in its constraints or in a manifest, is taken as it pins it; everything
else as requirements_test.txt and the test harness ask for. The harness belongs to one release and
would bring that one back, so it is installed alone; `tests/support/harness.py` mends where the two
don't fit.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).parent.parent
UV = ROOT / ".venv/bin/uv"
HARNESS = "pytest-homeassistant-custom-component"
PEERS = ROOT / "requirements_peers.txt"
WANTED = ROOT / "requirements_test.txt"
CONSTRAINTS = ROOT / "tests/fixtures/home_assistant/constraints.txt"
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)")


def normalized(requirement: str) -> str:
    """Return the name in a requirement as package indexes compare it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def lines(text: str) -> list[str]:
    """Return the requirements in a requirements file."""
    bare = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in bare if line]


def core_pins(core: Path) -> dict[str, str]:
    """Return the version of every package that an installed Home Assistant pins."""
    pins: dict[str, str] = {}
    for manifest in sorted((core / "components").glob("*/manifest.json")):
        asked = json.loads(manifest.read_text(encoding="utf-8")).get("requirements", [])
        pins |= {normalized(pin[1]): pin[2] for pin in map(_PIN.fullmatch, asked) if pin}
    constraints = lines((core / "package_constraints.txt").read_text(encoding="utf-8"))
    return pins | {normalized(pin[1]): pin[2] for pin in map(_PIN.fullmatch, constraints) if pin}


def adapted(wanted: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """Return requirements with the versions that the release pins, where it pins one."""
    chosen = {}
    for requirement in wanted:
        name = normalized(requirement)
        if name not in {normalized(HARNESS), "homeassistant"}:
            chosen[name] = f"{name}=={pins[name]}" if name in pins else requirement
    return list(chosen.values())


def install(python: Path, *arguments: str) -> None:
    """Install packages into the environment; what uv says is shown when it fails."""
    call = [UV, "pip", "install", "--quiet", "--python", python, *arguments]
    if subprocess.run(call, check=False, stdout=sys.stderr).returncode:
        # Behind a proxy with an authority of its own only the system's certificates help.
        subprocess.run([*call, "--system-certs"], check=True, stdout=sys.stderr)


def newest() -> str:
    """Return the newest release there is."""
    call = [UV, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "-"]
    call += ["--python", sys.executable]
    done = subprocess.run(call, input="homeassistant", capture_output=True, check=True, text=True)
    return done.stdout.strip().partition("==")[2]


def main(version: str, *, keep_constraints: bool) -> None:
    """Make the environment unless it is there."""
    if version == "newest":
        version = newest()
    place = ROOT / "build/home-assistant" / version
    python, stamp = place / "bin/python", place / ".ready"
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    core = place / "lib" / base.name / "site-packages/homeassistant"
    sources = (Path(__file__), WANTED, PEERS)
    want = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()
    if not stamp.is_file() or stamp.read_text() != want:
        print(f"home_assistant: making {place}", file=sys.stderr)
        make = [UV, "venv", "--quiet", "--no-project", "--clear", "--python", base, place]
        subprocess.run(make, check=True, stdout=sys.stderr)
        install(python, f"homeassistant=={version}")
        asked = lines(WANTED.read_text())
        alone = [each for each in asked if normalized(each) == normalized(HARNESS)]
        install(python, *adapted([*(requires(HARNESS) or ()), *asked], core_pins(core)))
        install(python, "--no-deps", *alone, *lines(PEERS.read_text()))
        stamp.write_text(want)
    if keep_constraints:
        pins = lines((core / "package_constraints.txt").read_text(encoding="utf-8"))
        CONSTRAINTS.write_text("\n".join([f"homeassistant=={version}", *pins, ""]))
    print(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--keep-constraints", action="store_true")
    options = parser.parse_args()
    main(options.version, keep_constraints=options.keep_constraints)
