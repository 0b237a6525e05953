"""script/fuzz: run one target, or all, and report. The exit status says whether all was borne."""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import subprocess
import sys
import types
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NoReturn

from .mutations import mutated
from .target import Broken, Target, Trial

ROOT = Path(__file__).parents[1]
PACKAGE = "custom_components.ulogger"
TABLES = (
    "fuzz.capture_targets",
    "fuzz.insight_targets",
    "fuzz.firmware_targets",
    "fuzz.agent_targets",
    "fuzz.cloud_targets",
    "fuzz.otlp_targets",
    "fuzz.clesyde_targets",
    "fuzz.pepeunit_targets",
    "fuzz.udmi_targets",
)
FOUND = ROOT / "build" / "fuzz"


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="script/fuzz", description=__doc__)
    parser.add_argument("target", help="a target's name, 'all', or 'list'")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--engine",
        choices=("atheris", "random"),
        default="atheris" if find_spec("atheris") else "random",
        help="atheris (guided by coverage) when it is installed, else random mutations",
    )
    parser.add_argument("--input", type=Path, help="run only this file, found by an earlier run")
    arguments = parser.parse_args()
    guided = arguments.engine == "atheris" and arguments.target not in {"all", "list"}
    targets = _load(guided=guided and arguments.input is None)
    if arguments.target == "list":
        print("\n".join(targets))
        return
    if arguments.target == "all":
        sys.exit(_all(list(targets), sys.argv[1:]))
    if arguments.target not in targets:
        parser.error(f"no target {arguments.target}; there are {', '.join(targets)}")
    trial = Trial(targets[arguments.target])
    if arguments.input is not None:
        trial.one(arguments.input.read_bytes())
        _finish(trial, "once", arguments.seed)
    if guided:
        _run_guided(trial, arguments.runs, arguments.seed)
    for data in islice(
        mutated(trial.target.seeds(), trial.target.longest, arguments.seed), arguments.runs
    ):
        _one(trial, data, "random", arguments.seed)
    _finish(trial, "random", arguments.seed)


def _load(*, guided: bool) -> dict[str, Target]:
    """Import the tables of targets, and with them the rooms without Home Assistant's face."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(ROOT / PACKAGE.replace(".", "/"))]
    sys.modules[PACKAGE] = package
    with contextlib.ExitStack() as stack:
        if guided:
            atheris = importlib.import_module("atheris")
            stack.enter_context(atheris.instrument_imports(include=[PACKAGE]))
        tables = [importlib.import_module(name) for name in TABLES]
    return {target.name: target for table in tables for target in table.TARGETS}


def _run_guided(trial: Trial, runs: int, seed: int) -> NoReturn:
    """Let atheris choose inputs by the code that they reach."""
    atheris = importlib.import_module("atheris")
    corpus = FOUND / f"corpus-{trial.target.name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in trial.target.seeds():
        name = hashlib.sha256(data).hexdigest()[:16]
        (corpus / name).write_bytes(data[: trial.target.longest])

    def one(data: bytes) -> None:
        _one(trial, data, "atheris", seed)
        if trial.inputs >= runs:
            _finish(trial, "atheris", seed)

    options = [f"-max_len={trial.target.longest}", f"-seed={seed}", "-verbosity=0", "-timeout=60"]
    atheris.Setup(["fuzz", *options, str(corpus)], one)
    atheris.Fuzz()
    raise SystemExit(1)


def _one(trial: Trial, data: bytes, engine: str, seed: int) -> None:
    """Run one input; keep it and end when it is not borne."""
    try:
        trial.one(data)
    except Broken as error:
        FOUND.mkdir(parents=True, exist_ok=True)
        path = FOUND / f"{trial.target.name}-{hashlib.sha256(data).hexdigest()[:16]}.bin"
        path.write_bytes(data)
        _finish(trial, engine, seed, failure=f"{error} ({path.relative_to(ROOT)})")


def _finish(trial: Trial, engine: str, seed: int, failure: str | None = None) -> NoReturn:
    """Print the report as the last line and leave without returning into a fuzzer's C code."""
    report = trial.report() | {"engine": engine, "seed": seed, "failure": failure}
    print(json.dumps(report), flush=True)
    os._exit(1 if failure else 0)


def _all(names: list[str], arguments: list[str]) -> int:
    """Run every target in a process of its own, since a fuzzer ends its process."""
    status = 0
    for name in names:
        own = [name if argument == "all" else argument for argument in arguments]
        command = [sys.executable, "-m", "fuzz", *own]
        status |= subprocess.run(command, check=False).returncode  # noqa: S603
    return status


if __name__ == "__main__":
    main()
