"""C's printf as the firmware would have done it, for the conversions that the agent captures."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..capture.frames import Argument, ArgumentKind

WIDEST: Final = 256
"""The largest width and precision that is honoured: an image must not make a line of a gigabyte."""

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\d{0,9})(?P<precision>(?:\.\d{0,9})?)"
    r"(?P<length>(?:ll|l)?)(?P<type>[diuoxXcspfFeEgGaA%])"
)
_UNSIGNED = "uoxX"
_INTEGERS = f"di{_UNSIGNED}"


def render(format_string: str, arguments: Sequence[Argument]) -> str:
    """Return the text of a format string with its arguments.

    Conversions that the agent does not capture (``%hd``, ``%zu``, ``%*d``) and those without
    an argument left stay as they are written. An argument that does not fit its conversion
    is shown as it is: a wrong image gives wrong text, never an error.
    """
    remaining = iter(arguments)
    return _CONVERSION.sub(lambda found: _converted(found, remaining), format_string)


def _converted(found: re.Match[str], remaining: Iterator[Argument]) -> str:
    """Return what stands in place of one conversion."""
    kind = found["type"]
    if kind == "%":
        return "%" if found[0] == "%%" else found[0]
    argument = next(remaining, None)
    if argument is None:
        return found[0]
    width = min(int(found["width"] or 0), WIDEST)
    precision = found["precision"] and min(int(found["precision"][1:] or 0), WIDEST)
    return _formatted(kind, set(found["flags"]), width, precision, argument)


def _formatted(
    kind: str, flags: set[str], width: int, precision: int | str, argument: Argument
) -> str:
    """Return one argument by the rules of C, which differ from Python's in details."""
    value = argument.value
    if kind in _INTEGERS and isinstance(value, str) and argument.kind is ArgumentKind.CHAR:
        value = ord(value)
    digits = f".{precision}" if precision != "" else ""
    if kind in _INTEGERS and isinstance(value, int):
        if precision != "":
            flags = flags - {"0"}
        if kind in _UNSIGNED:
            flags = flags - {"+", " "}
            value = _as_unsigned(value, argument.kind)
        return _integer(kind, flags, width, digits, value)
    if kind in "fFeEgG" and isinstance(value, (int, float)):
        return f"%{''.join(flags)}{width or ''}{digits}{kind}" % value
    if kind in "aA" and isinstance(value, float):
        return _padded(value.hex() if kind == "a" else value.hex().upper(), flags, width)
    if kind == "p" and isinstance(value, int):
        return _padded(f"{value:#x}", flags, width)
    if kind == "c" and isinstance(value, int):
        value = chr(value & 0xFF)
    text = value if isinstance(value, str) else str(value)
    return _padded(text[: int(precision)] if kind == "s" and digits else text, flags, width)


def _integer(kind: str, flags: set[str], width: int, digits: str, value: int) -> str:
    """Return an integer; C and Python differ in prefixes of zero and octal, and in "%.0d"."""
    if value == 0 and digits == ".0":
        octal = "0" if kind == "o" and "#" in flags else ""
        sign = f"%{''.join(flags & {'+', ' '})}d" % 0
        return _padded(sign[:-1] + octal, flags, width)
    if "#" in flags and kind in "oxX" and (value == 0 or kind == "o"):
        flags = flags - {"#"}
        text = f"%{digits}{kind}" % value
        if kind == "o" and not text.startswith("0"):
            text = f"0{text}"
        zeros = "0" in flags and "-" not in flags
        return text.zfill(width) if zeros else _padded(text, flags, width)
    return f"%{''.join(flags)}{width or ''}{digits}{kind}" % value


def _as_unsigned(value: int, kind: ArgumentKind) -> int:
    """Return a negative number as C's unsigned conversions show its bits."""
    bits = 64 if kind in {ArgumentKind.INT64, ArgumentKind.UINT64} else 32
    return value + (1 << bits) if value < 0 else value


def _padded(text: str, flags: set[str], width: int) -> str:
    return text.ljust(width) if "-" in flags else text.rjust(width)
