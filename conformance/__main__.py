"""The command line of script/conformance: which cloud."""

import importlib
import sys
from typing import Final

CLOUDS: Final = {
    "clesyde": "conformance.clesyde",
    "otlp": "conformance.otlp",
    "pepeunit": "conformance.pepeunit",
    "udmi": "conformance.udmi",
}
"""Modules with ``main(arguments) -> int`` by the names of their clouds."""


def main(arguments: list[str]) -> int:
    """Run the scenarios of a cloud; the last line is the report in JSON."""
    if not arguments or arguments[0] not in CLOUDS:
        print(f"usage: script/conformance NAME, one of: {', '.join(CLOUDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(CLOUDS[arguments[0]])
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
