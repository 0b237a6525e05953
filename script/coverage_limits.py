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


def missing(found: dict[str, Any]) -> str:
    """Name the lines that nothing runs, and the jumps that nothing takes (from->to)."""
    jumps = [f"{start}->{end}" for start, end in found.get("missing_branches", [])]
    return " ".join([*map(str, found["missing_lines"]), *jumps])


def failures(report: dict[str, Any]) -> Iterator[str]:
    """Say which limits do not hold."""
    if (percent := report["totals"]["percent_covered"]) < OVERALL:
        yield f"all: {percent:.2f} %, less than {OVERALL:.0f} %"
    for path, found in sorted(report["files"].items()):
        module = path.removeprefix(PACKAGE)
        limit = FLOWS if is_flow(module) else MODULE
        if (percent := found["summary"]["percent_covered"]) < limit:
            yield f"{module}: {percent:.2f} %, less than {limit:.0f} %: {missing(found)}"


def main(path: str) -> int:
    """Print what is covered and what does not hold; return 1 if anything does not."""
    report = json.loads(Path(path).read_text())
    totals = report["totals"]
    print(
        f"coverage: {totals['percent_covered']:.2f} %"
        f" ({totals['percent_statements_covered']:.2f} % of the lines,"
        f" {totals['percent_branches_covered']:.2f} % of the branches)"
    )
    print(*(found := list(failures(report))), sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
