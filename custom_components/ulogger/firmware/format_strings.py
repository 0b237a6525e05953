"""C's printf as the firmware would have done it, for the conversions that the agent captures.

A log says the same few things again and again, so a format string is taken apart once. When all
of its conversions mean the same in C and in Python and the arguments are what they ask for,
Python's own ``%`` does the whole line at once; else it is put together piece by piece.
"""

import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ..capture.frames import Argument, ArgumentKind

WIDEST: Final = 256
"""The largest width and precision that is honoured: an image must not make a line of a gigabyte."""
LONGEST_REMEMBERED: Final = 256
"""Format strings up to this length are taken apart only once."""
MOST_REMEMBERED: Final = 256

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\d{0,9})(?P<precision>(?:\.\d{0,9})?)"
    r"(?P<length>(?:ll|l)?)(?P<type>[diuoxXcspfFeEgGaA%])"
)
_SIGNED = "di"
_UNSIGNED = "uoxX"
_INTEGERS = f"{_SIGNED}{_UNSIGNED}"
_FLOATS = "fFeEgG"
_TYPES = dict.fromkeys(_INTEGERS, int) | dict.fromkeys(_FLOATS, float) | dict.fromkeys("sc", str)
_LIMITED = f"{_UNSIGNED}{_FLOATS}c"
"""Conversions that ask for more than a type."""
_OF_NUMBERS = frozenset("diuoxX")
_NOT_OF_NUMBERS = re.compile(r"[^-+ 0-9a-fxlduno%.#hijztqi]+")
"""What neither a number has nor a conversion that stays as it is written for want of a value."""


class _Conversion(NamedTuple):
    """One conversion: as it is written, and what it says. Without a precision that is None."""

    written: str
    kind: str
    flags: frozenset[str]
    width: int
    precision: int | None


class _Format(NamedTuple):
    """A format string taken apart.

    ``template`` is the same for Python's ``%`` when there is such a thing, ``wanted`` the kinds
    of conversion in it.
    """

    pieces: tuple[str | _Conversion, ...]
    template: str | None
    wanted: str


def render(format_string: str, arguments: Sequence[Argument]) -> str:
    """Return the text of a format string with its arguments.

    Conversions that the agent does not capture (``%hd``, ``%zu``, ``%*d``) and those without
    an argument left stay as they are written. An argument that does not fit its conversion
    is shown as it is: a wrong image gives wrong text, never an error.
    """
    short = len(format_string) <= LONGEST_REMEMBERED
    pieces, template, wanted = (_remembered if short else _taken_apart)(format_string)
    if template is not None and len(wanted) <= len(arguments):
        values = []
        for kind, (_, value) in zip(wanted, arguments, strict=False):
            if type(value) is not _TYPES[kind] or (kind in _LIMITED and not _fits(kind, value)):
                break
            values.append(value)
        else:
            return template % tuple(values)
    remaining = iter(arguments)
    return "".join(
        piece if isinstance(piece, str) else _converted(piece, remaining) for piece in pieces
    )


def may_contain(format_string: str, part: str) -> bool:
    """Whether a text of this format string, with numbers, can have a part that is case-folded.

    True when that can't be told, as where a string is put in. Numbers can hold only some
    characters, or be nothing at all (``%.0d``); a run of other characters in the part has to
    stand in the format string itself. A string that stands where a number should, as with a
    wrong image, is not thought of.
    """
    pieces = (_remembered if len(format_string) <= LONGEST_REMEMBERED else _taken_apart)(
        format_string
    ).pieces
    literals = "".join(piece for piece in pieces if isinstance(piece, str)).casefold()
    kinds = {piece.kind for piece in pieces if not isinstance(piece, str)}
    if not kinds <= _OF_NUMBERS:
        return True
    return all(run in literals for run in _NOT_OF_NUMBERS.findall(part))


def _taken_apart(format_string: str) -> _Format:
    pieces: list[str | _Conversion] = []
    template: list[str | None] = []
    wanted = []
    end = 0
    for found in _CONVERSION.finditer(format_string):
        pieces.append(literal := format_string[end : found.start()])
        template.append(literal.replace("%", "%%"))
        end = found.end()
        if found["type"] == "%":
            pieces.append(literal := "%" if found[0] == "%%" else found[0])
            template.append(literal.replace("%", "%%"))
            continue
        pieces.append(conversion := _conversion(found))
        template.append(_in_python(conversion))
        wanted.append(conversion.kind)
    pieces.append(literal := format_string[end:])
    template.append(literal.replace("%", "%%"))
    known = [piece for piece in template if piece is not None]
    joined = "".join(known) if len(known) == len(template) else None
    return _Format(tuple(pieces), joined, "".join(wanted))


_remembered = lru_cache(MOST_REMEMBERED)(_taken_apart)


def _conversion(found: re.Match[str]) -> _Conversion:
    flags, width, precision, _, kind = found.groups()
    digits = min(int(precision[1:] or 0), WIDEST) if precision else None
    return _Conversion(found[0], kind, frozenset(flags), min(int(width or 0), WIDEST), digits)


def _in_python(conversion: _Conversion) -> str | None:
    """Return the conversion that means the same in Python for every argument that fits it."""
    _, kind, flags, width, precision = conversion
    digits = "" if precision is None else f".{precision}"
    if kind in _INTEGERS:
        if precision == 0 or "#" in flags:
            return None
        flags -= {"0"} if precision is not None else set()
        flags -= {"+", " "} if kind in _UNSIGNED else set()
    elif kind == "s" or (kind == "c" and precision is None):
        flags &= {"-"}
    elif kind not in _FLOATS:
        return None
    return f"%{''.join(flags)}{width or ''}{digits}{kind}"


def _fits(kind: str, value: float | str) -> bool:
    """Whether a value of the right type is one that Python shows as C does."""
    if isinstance(value, str):
        return len(value) == 1
    return value >= 0 if isinstance(value, int) else math.isfinite(value)


def _converted(conversion: _Conversion, remaining: Iterator[Argument]) -> str:
    """Return what stands in place of one conversion."""
    argument = next(remaining, None)
    if argument is None:
        return conversion.written
    _, kind, flags, width, precision = conversion
    return _formatted(kind, set(flags), width, precision, argument)


def _formatted(
    kind: str, flags: set[str], width: int, precision: int | None, argument: Argument
) -> str:
    """Return one argument by the rules of C, which differ from Python's in details."""
    value = argument.value
    if kind in _INTEGERS and isinstance(value, str) and argument.kind is ArgumentKind.CHAR:
        value = ord(value)
    digits = "" if precision is None else f".{precision}"
    if kind in _INTEGERS and isinstance(value, int):
        if precision is not None:
            flags = flags - {"0"}
        if kind in _UNSIGNED:
            flags = flags - {"+", " "}
            value = _as_unsigned(value, argument.kind)
        return _integer(kind, flags, width, digits, value)
    if kind in _FLOATS and isinstance(value, (int, float)):
        if not math.isfinite(value):
            flags = flags - {"0"}
        return f"%{''.join(flags)}{width or ''}{digits}{kind}" % value
    if kind in "aA" and isinstance(value, float):
        return _hexadecimal(kind, flags, width, precision, value)
    if kind == "p" and isinstance(value, int):
        return _padded(f"{value:#x}", flags, width)
    if kind == "c" and isinstance(value, int):
        value = chr(value & 0xFF)
    text = value if isinstance(value, str) else str(value)
    return _padded(text[:precision] if kind == "s" else text, flags, width)


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


def _hexadecimal(
    kind: str, flags: set[str], width: int, precision: int | None, value: float
) -> str:
    """Return a number as ``%a`` shows it: as few hexadecimal digits as say it, or so many."""
    if math.isfinite(value):
        sign = "-" if math.copysign(1, value) < 0 else ""
        whole, digits, exponent = _parts(abs(value), precision)
        point = "." if digits or "#" in flags else ""
        prefix, number = "0x", f"{whole:x}{point}{digits}p{exponent:+d}"
    else:
        sign = "-" if value < 0 else ""
        prefix, number = "", "nan" if math.isnan(value) else "inf"
        flags = flags - {"0"}
    sign = sign or ("+" if "+" in flags else " " if " " in flags else "")
    if "0" in flags and "-" not in flags:
        number = number.rjust(width - len(sign + prefix), "0")
    text = _padded(sign + prefix + number, flags, width)
    return text.upper() if kind == "A" else text


def _parts(value: float, precision: int | None) -> tuple[int, str, int]:
    """Return what stands before the point, behind it, and the exponent to base 2."""
    whole_text, _, rest = value.hex()[2:].partition(".")
    digits, _, exponent = rest.partition("p")
    bits = int(whole_text + digits, 16)
    shown = len(digits)
    if precision is None:
        return int(whole_text, 16), digits.rstrip("0"), int(exponent)
    if precision < shown:
        cut = 4 * (shown - precision)
        bits = _rounded(bits, cut)
        shown = precision
    text = f"{bits:0{shown + 1}x}"
    split = len(text) - shown
    return int(text[:split], 16), text[split:].ljust(precision, "0"), int(exponent)


def _rounded(bits: int, cut: int) -> int:
    """Shift right; what is half way goes to the even one, as the processor rounds."""
    half = 1 << (cut - 1)
    left, lost = bits >> cut, bits & ((1 << cut) - 1)
    return left + (lost > half or (lost == half and left & 1 == 1))


def _as_unsigned(value: int, kind: ArgumentKind) -> int:
    """Return a negative number as C's unsigned conversions show its bits."""
    bits = 64 if kind in {ArgumentKind.INT64, ArgumentKind.UINT64} else 32
    return value + (1 << bits) if value < 0 else value


def _padded(text: str, flags: set[str], width: int) -> str:
    return text.ljust(width) if "-" in flags else text.rjust(width)
