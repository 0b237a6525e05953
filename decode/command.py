"""Read the command line, decode, print."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import CaptureError, InvalidImage
from custom_components.ulogger.firmware.compact_image import CompactImage
from custom_components.ulogger.firmware.image_import import import_image
from custom_components.ulogger.insight.core_file import core_file
from custom_components.ulogger.insight.reading import LogFrame, Reading, read
from custom_components.ulogger.insight.search import Query, wants
from custom_components.ulogger.model.capture import CaptureKind

from . import as_json, files
from .arguments import parser
from .as_text import Lines
from .files import Input, Unreadable

EXIT_DAMAGED = 1
EXIT_USAGE = 2


@dataclass(frozen=True)
class Decoded:
    """A capture and its reading."""

    given: Input
    reading: Reading

    @property
    def is_dump(self) -> bool:
        """Whether it is a core dump."""
        return self.given.capture.kind is CaptureKind.CORE_DUMP


def main() -> int:
    """Decode what the command line names; returns the exit status."""
    options = parser().parse_args()
    try:
        image = load_image(options.symbols)
    except Unreadable as error:
        print(f"script/decode: {error}", file=sys.stderr)
        return EXIT_USAGE
    status = 0
    dumps: list[Decoded] = []
    everything: dict[str, Any] = {}
    lines = Lines(coloured=coloured())
    names = list(files.find(options.files))
    if not names:
        print("script/decode: there is no .bin file in what was named", file=sys.stderr)
        return EXIT_DAMAGED
    for name, label in zip(names, files.labels(names), strict=True):
        try:
            given = files.read_input(name, label)
        except Unreadable as error:
            print(f"script/decode: {error}", file=sys.stderr)
            status = EXIT_DAMAGED
            continue
        decoded = Decoded(given, read(given.capture, image))
        dumps += [decoded] if decoded.is_dump else []
        status = status or (0 if decoded.reading.damage is None else EXIT_DAMAGED)
        wanted = wants(Query(level=options.level, module=options.module), image)
        if options.json:
            everything[label] = to_json(decoded, image, wanted)
        else:
            for line in to_lines(decoded, image, wanted, lines):
                print(line)
    if options.json:
        print(json.dumps(everything, indent=1))
    if options.core is None:
        return status
    try:
        write_core(options.core, dumps)
    except Unwritten as error:
        print(f"script/decode: {error}", file=sys.stderr)
        return error.status
    return status


class Unwritten(Exception):
    """Why there is no core file; ``status`` is the command's exit status then."""

    def __init__(self, text: str, status: int = EXIT_DAMAGED) -> None:
        super().__init__(text)
        self.status = status


def write_core(path: Path, dumps: list[Decoded]) -> None:
    """Write the one core dump for a debugger; raises Unwritten with the reason."""
    if len(dumps) != 1:
        raise Unwritten(
            f"--core takes one core dump, and there are {len(dumps)} in what was named", EXIT_USAGE
        )
    given = dumps[0].given
    try:
        core = core_file(CoreDump.parse(given.capture.data))
    except CaptureError as error:
        raise Unwritten(f"{given.label} makes no core file: {error}") from error
    try:
        path.write_bytes(core)
    except OSError as error:
        raise Unwritten(f"{path}: {error.strerror or error}") from error


def load_image(path: Path | None) -> CompactImage | None:
    """Read a firmware image; raises Unreadable with the reason and the file's name."""
    if path is None:
        return None
    try:
        return CompactImage.load(import_image(path.read_bytes()))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except InvalidImage as error:
        raise Unreadable(f"{path} is no firmware image: {error}") from error


def coloured() -> bool:
    """Whether a person reads along, and wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def to_json(
    decoded: Decoded, image: CompactImage | None, wanted: Callable[[LogFrame], bool]
) -> dict[str, Any]:
    """Return one capture's part of the output."""
    capture, reading = decoded.given.capture, decoded.reading
    if decoded.is_dump:
        return as_json.as_core_dump(capture, reading, image)
    return as_json.as_log(capture, reading, image, wanted)


def to_lines(
    decoded: Decoded,
    image: CompactImage | None,
    wanted: Callable[[LogFrame], bool],
    lines: Lines,
) -> Iterator[str]:
    """Return one capture's lines."""
    label, capture, reading = decoded.given.label, decoded.given.capture, decoded.reading
    if decoded.is_dump:
        return lines.core_dump(label, capture, reading, image)
    return lines.log(label, capture, reading, wanted)


def run() -> int:
    """Run ``main``; who reads only the beginning, as ``head`` does, is no error."""
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
