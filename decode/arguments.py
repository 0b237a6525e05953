"""The command line of script/decode."""

import argparse
from pathlib import Path

from custom_components.ulogger.model.level import Level

EPILOG = """\
FILE is a log buffer or a core dump as it came off a device, a folder with such files, or - for
standard input. Beside a file that the folder destination wrote stands a .json that tells whose it
is and when it came; it is found by itself. Exit status: 0 everything was read, 1 something is
damaged or could not be read, 2 the command line or the firmware image is wrong.
"""
LEVELS = [level.name.lower() for level in Level if level <= Level.METRIC]


def parser() -> argparse.ArgumentParser:
    """Return the parser; its values have the names of the options, and ``files``."""
    made = argparse.ArgumentParser(
        prog="script/decode",
        description="Show what log buffers and core dumps of uLogger devices say.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="logs and core dumps, any mixture")
    made.add_argument(
        "--symbols",
        type=Path,
        metavar="ELF",
        help="the firmware's image: texts, names of modules, functions and source lines",
    )
    made.add_argument("--json", action="store_true", help="one JSON object: file name to contents")
    made.add_argument(
        "--level",
        type=_level,
        metavar="L",
        help=f"only frames of this severity and above ({', '.join(LEVELS)}; metric: only metrics)",
    )
    made.add_argument(
        "--core",
        type=Path,
        metavar="FILE.core",
        help="write the one core dump that is named for a debugger: gdb firmware.elf -c FILE.core",
    )
    made.add_argument(
        "--module", metavar="M", help="only frames of this module: its number, or its name"
    )
    return made


def _level(text: str) -> Level:
    """Return the level of a name or a number."""
    name = LEVELS[int(text)] if text.isdecimal() and int(text) < len(LEVELS) else text.lower()
    if name not in LEVELS:
        raise argparse.ArgumentTypeError(
            f"there is no level {text!r}; there are {', '.join(LEVELS)}"
        )
    return Level[name.upper()]
