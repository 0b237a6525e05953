"""Format strings with arguments, as C would have printed them."""

import ctypes
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.frames import Argument, ArgumentKind
from custom_components.ulogger.firmware.format_strings import WIDEST, render

INT, UINT = ArgumentKind.INT, ArgumentKind.UINT
DOUBLE, STRING, CHAR = ArgumentKind.DOUBLE, ArgumentKind.STRING, ArgumentKind.CHAR

flags = st.text("-+ #0", max_size=3)
width = st.sampled_from(["", "1", "5", "12", "40"])
precision = st.sampled_from(["", ".", ".0", ".1", ".3", ".9", ".30"])
INT64, UINT64, POINTER = ArgumentKind.INT64, ArgumentKind.UINT64, ArgumentKind.POINTER

type Value = tuple[Argument, object]
"""An argument as the agent stores it, and the same as C takes it."""


def c_printf(format_string: str, *values: object) -> str:
    """What the C library of this machine prints."""
    buffer = ctypes.create_string_buffer(8192)
    ctypes.CDLL(None).snprintf(buffer, 8192, format_string.encode(), *values)
    return buffer.value.decode("latin-1")


def of(kind: ArgumentKind, c_type: type) -> Callable[[object], Value]:
    def made(value: object) -> Value:
        return Argument(kind, value), c_type(value)  # type: ignore[arg-type]

    return made


SIGNED = st.integers(-(2**31), 2**31 - 1).map(of(INT, ctypes.c_int))
UNSIGNED = st.integers(0, 2**32 - 1).map(of(UINT, ctypes.c_uint))
LONG_SIGNED = st.integers(-(2**63), 2**63 - 1).map(of(INT64, ctypes.c_longlong))
LONG_UNSIGNED = st.integers(0, 2**64 - 1).map(of(UINT64, ctypes.c_ulonglong))
REAL = st.floats(allow_nan=False).map(of(DOUBLE, ctypes.c_double))
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(
    lambda text: (Argument(STRING, text), ctypes.c_char_p(text.encode()))
)
CHARACTER = st.characters(min_codepoint=1, max_codepoint=255).map(
    lambda char: (Argument(CHAR, char), ctypes.c_int(ord(char)))
)
# The C library of this machine says (nil) for 0; the firmware's says 0x0.
ADDRESS = st.integers(1, 2**32 - 1).map(of(POINTER, ctypes.c_void_p))


@st.composite
def conversions(draw: st.DrawFn) -> tuple[str, Argument, object]:
    """A conversion that the agent captures, with a value for it; what C leaves open is left out."""
    lengths, kinds, values, allowed, precise = draw(
        st.sampled_from(
            [
                ([""], "di", SIGNED, "-+ 0", True),
                (["l", "ll"], "di", LONG_SIGNED, "-+ 0", True),
                ([""], "u", UNSIGNED, "-+ 0", True),
                ([""], "xXo", UNSIGNED, "-+ #0", True),
                (["l", "ll"], "u", LONG_UNSIGNED, "-+ 0", True),
                (["l", "ll"], "xXo", LONG_UNSIGNED, "-+ #0", True),
                (["", "l"], "fFeEgGaA", REAL, "-+ #0", True),
                ([""], "s", TEXT, "-", True),
                ([""], "c", CHARACTER, "-", False),
                ([""], "p", ADDRESS, "-", False),
            ]
        )
    )
    argument, c_value = draw(values)
    of_flags = draw(st.text(allowed, max_size=3))
    digits = draw(precision) if precise else ""
    length, kind = draw(st.sampled_from(lengths)), draw(st.sampled_from(kinds))
    return f"%{of_flags}{draw(width)}{digits}{length}{kind}", argument, c_value


@given(conversions())
def test_every_conversion_prints_as_in_c(one: tuple[str, Argument, object]) -> None:
    text, argument, c_value = one
    assert render(text, [argument]) == c_printf(text, c_value)


@given(
    st.lists(conversions(), max_size=8),
    st.lists(
        st.text("abc %", max_size=5).map(lambda text: text.replace("%", "%%")),
        min_size=9,
        max_size=9,
    ),
)
def test_a_line_of_several_conversions_prints_as_in_c(
    several: list[tuple[str, Argument, object]], between: list[str]
) -> None:
    text = between[0] + "".join(
        conversion + after for (conversion, _, _), after in zip(several, between[1:], strict=False)
    )
    arguments = [argument for _, argument, _ in several]
    assert render(text, arguments) == c_printf(text, *[value for _, _, value in several])


@given(st.sampled_from("di"), flags, width, precision, SIGNED)
def test_signed_numbers_print_as_in_c_with_any_flags(
    kind: str, f: str, w: str, p: str, value: Value
) -> None:
    text = f"%{f}{w}{p}{kind}"
    assert render(text, [value[0]]) == c_printf(text, value[1])


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.5, 2.5, 0.1, 1e308, math.inf, -math.inf])
@pytest.mark.parametrize("kind", "fFeEgGaA")
@pytest.mark.parametrize("spec", ["", "0", "08", "-12", "+", " ", "#", "#.0", ".0", ".1", "+020.3"])
def test_remarkable_numbers_print_as_in_c(value: float, kind: str, spec: str) -> None:
    text = f"%{spec}{kind}"
    assert render(text, [Argument(DOUBLE, value)]) == c_printf(text, ctypes.c_double(value))


@pytest.mark.parametrize("kind", "fFeEgGaA")
def test_what_is_not_a_number_prints_as_in_c(kind: str) -> None:
    text = f"%08{kind}"
    assert render(text, [Argument(DOUBLE, math.nan)]) == c_printf(text, ctypes.c_double(math.nan))


@pytest.mark.parametrize(
    ("text", "argument", "expected"),
    [
        ("%x", Argument(INT, -1), "ffffffff"),
        ("%llx", Argument(ArgumentKind.INT64, -1), "f" * 16),
        ("%p", Argument(ArgumentKind.POINTER, 0x20001234), "0x20001234"),
        ("%p", Argument(ArgumentKind.POINTER, 0), "0x0"),
        ("%12p", Argument(ArgumentKind.POINTER, 0x1234), "      0x1234"),
        ("%-3c|", Argument(CHAR, "A"), "A  |"),
        ("%d", Argument(CHAR, "A"), "65"),
        ("%c", Argument(INT, 65), "A"),
        ("%a", Argument(DOUBLE, 0.5), "0x1p-1"),
        ("%A", Argument(DOUBLE, 0.5), "0X1P-1"),
        ("%f", Argument(DOUBLE, math.inf), "inf"),
        ("%f", Argument(INT, 3), "3.000000"),
        ("%d", Argument(STRING, "not a number"), "not a number"),
        ("%d", Argument(STRING, "x"), "x"),
        ("%d", Argument(DOUBLE, 1.5), "1.5"),
        ("%s", Argument(INT, 7), "7"),
    ],
)
def test_an_argument_is_shown_even_where_it_does_not_fit(
    text: str, argument: Argument, expected: str
) -> None:
    assert render(text, [argument]) == expected


@pytest.mark.parametrize("text", ["%hd", "%hhd", "%zu", "%*d", "%", "%y", "%5", "%-%"])
def test_what_the_agent_does_not_capture_stays_as_it_is_written(text: str) -> None:
    assert render(text, [Argument(INT, 1)]) == text


def test_conversions_without_an_argument_left_stay_too() -> None:
    assert render("%d %d%% %s", [Argument(INT, 1)]) == "1 %d% %s"


def test_a_width_of_millions_is_not_honoured() -> None:
    for text in ("%999999999d", "%.999999999d", "%.999999999f", "%999999999s", "%0999999999o"):
        assert len(render(text, [Argument(INT, 1)])) <= WIDEST + 2
    assert len(render("%#0999999999o", [Argument(UINT, 1)])) == WIDEST


@given(st.text("%diuxsfc0123456789.-+# l*hz", max_size=30), st.data())
def test_no_format_string_fails(text: str, data: st.DataObject) -> None:
    value = st.one_of(
        st.builds(Argument, st.sampled_from([INT, UINT]), st.integers(-(2**63), 2**64 - 1)),
        st.builds(Argument, st.just(DOUBLE), st.floats()),
        st.builds(Argument, st.just(STRING), st.text(max_size=5)),
        st.builds(Argument, st.just(CHAR), st.characters(max_codepoint=255)),
    )
    render(text, data.draw(st.lists(value, max_size=8)))
