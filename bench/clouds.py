"""What each cloud costs, beside its own library.

    script/bench clouds                    as lines for a person
    script/bench clouds --json             one object a line
    script/bench clouds --cloud otlp
    script/bench clouds --cloud udmi --udmi-library DIR

UDMI's library is in no package registry: DIR is its public repository (``faucetsdn/udmi``),
unpacked anywhere. Without it only ours is measured.

Both sides do the same work against the same local cloud; ``ratio`` is the library's time by ours.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

CLOUDS: Final = {
    "clesyde": "bench.cloud_clesyde",
    "otlp": "bench.cloud_otlp",
    "pepeunit": "bench.cloud_pepeunit",
    "udmi": "bench.cloud_udmi",
}
"""Modules with ``async def measure(rounds) -> list[Row]`` by the names of their clouds."""

type Row = dict[str, Any]


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/bench clouds", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--cloud", nargs="+", choices=CLOUDS, default=list(CLOUDS))
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many counts (5)")
    parser.add_argument(
        "--udmi-library", type=Path, metavar="DIR", help="the repository of UDMI and its library"
    )
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> list[Row]:
    """Measure, and print each row."""
    rows: list[Row] = []
    for name in options.cloud:
        more = {"library": options.udmi_library} if name == "udmi" else {}
        for row in await import_module(CLOUDS[name]).measure(options.rounds, **more):
            rows.append({"cloud": name, **row})
            print(json.dumps(rows[-1]) if options.json else described(rows[-1]), flush=True)
    return rows


def described(row: Row) -> str:
    """Return a row as a line for a person."""
    ours = f"{row['cloud']:10} {row['case']:20} ours {row['ours_ms']:9.3f} ms   "
    if row["ratio"] is None:
        return f"{ours}library not there"
    return f"{ours}library {row['library_ms']:9.3f} ms   ratio {row['ratio']:6.1f}"


def main() -> None:
    """Run the benchmark."""
    asyncio.run(run(arguments()))


if __name__ == "__main__":
    main()
