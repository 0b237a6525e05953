"""script/decode.

The integration's own package begins by importing Home Assistant, which takes seconds and may not
even be there. Its pure rooms need nothing of that: here they stand in an empty package.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

NAME = "custom_components.ulogger"


def main() -> int:
    """Run the command."""
    package = ModuleType(NAME)
    package.__path__ = [str(Path(__file__).parents[1].joinpath(*NAME.split(".")))]
    sys.modules[NAME] = package
    status: int = import_module("decode.command").run()
    return status


if __name__ == "__main__":
    sys.exit(main())
