"""Hold what tests cover to its limits: ``.venv/bin/python script/coverage_limits.py REPORT``.

REPORT is coverage.py's JSON with branches, as ``script/test --coverage`` writes it. Lines and
branches count alike: all of the integration together, every module by itself, and the flows.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "custom_components/ulogger/"
OVERALL = 97.0
MODULE = 92.0
FLOWS = 100.0


def is_flow(module: str) -> bool:
    """Whether a module is one of the forms and their checks."""
    return module.startswith("flows/") or module in {"config_flow.py", "repairs.py"}


def share(found: dict[str, Any], what: str) -> float:
    """Return how many of a hundred lines or branches are covered; of none, all are."""
    name = {"lines": "statements", "branches": "branches"}[what]
    everything = found[f"num_{name}"]
    return 100.0 * found[f"covered_{what}"] / everything if everything else 100.0


def missing(found: dict[str, Any]) -> str:
    """Name the lines that nothing runs, and the jumps that nothing takes (from->to)."""
    jumps = [f"{start}->{end}" for start, end in found.get("missing_branches", [])]
    return " ".join([*map(str, found["missing_lines"]), *jumps])


def failures(report: dict[str, Any]) -> Iterator[str]:
    """Say which limits do not hold."""
    for what in ("lines", "branches"):
        if (percent := share(report["totals"], what)) < OVERALL:
            yield f"all: {percent:.2f} % of the {what}, less than {OVERALL:.0f} %"
    for path, found in sorted(report["files"].items()):
        module = path.removeprefix(PACKAGE)
        limit = FLOWS if is_flow(module) else MODULE
        if (percent := found["summary"]["percent_covered"]) < limit:
            yield f"{module}: {percent:.2f} %, less than {limit:.0f} %: {missing(found)}"


def main(path: str) -> int:
    """Print what is covered and what does not hold; return 1 if anything does not."""
    report = json.loads(Path(path).read_text())
    parts = (
        f"{share(report['totals'], what):.2f} % of the {what}" for what in ("lines", "branches")
    )
    print(f"coverage: {', '.join(parts)}, {len(report['files'])} modules")
    print(*(found := list(failures(report))), sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
