"""Format strings with arguments, as C would have printed them."""

import ctypes
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.capture.frames import Argument, ArgumentKind
from custom_components.ulogger.firmware.format_strings import WIDEST, render

INT, UINT = ArgumentKind.INT, ArgumentKind.UINT
DOUBLE, STRING, CHAR = ArgumentKind.DOUBLE, ArgumentKind.STRING, ArgumentKind.CHAR

flags = st.text("-+ #0", max_size=3)
width = st.sampled_from(["", "1", "5", "12"])
precision = st.sampled_from(["", ".", ".0", ".3", ".9"])


def c_printf(format_string: str, *values: object) -> str:
    """What the C library of this machine prints."""
    buffer = ctypes.create_string_buffer(4096)
    ctypes.CDLL(None).snprintf(buffer, 4096, format_string.encode(), *values)
    return buffer.value.decode()


@given(flags, width, precision, st.sampled_from("di"), st.integers(-(2**31), 2**31 - 1))
def test_signed_numbers_print_as_in_c(f: str, w: str, p: str, kind: str, value: int) -> None:
    text = f"%{f}{w}{p}{kind}"
    assert render(text, [Argument(INT, value)]) == c_printf(text, ctypes.c_int(value))


@given(flags, width, precision, st.sampled_from("uxXo"), st.integers(0, 2**32 - 1))
def test_unsigned_numbers_print_as_in_c(f: str, w: str, p: str, kind: str, value: int) -> None:
    text = f"%{f}{w}{p}{kind}"
    assert render(text, [Argument(UINT, value)]) == c_printf(text, ctypes.c_uint(value))


@given(flags, width, precision, st.sampled_from("eEfFgG"), st.floats(-1e30, 1e30))
def test_floating_point_numbers_print_as_in_c(
    f: str, w: str, p: str, kind: str, value: float
) -> None:
    text = f"%{f}{w}{p}{kind}"
    assert render(text, [Argument(DOUBLE, value)]) == c_printf(text, ctypes.c_double(value))


@given(st.text("- ", max_size=2), width, precision, st.text("abcdefgh", max_size=8))
def test_strings_print_as_in_c(f: str, w: str, p: str, value: str) -> None:
    text = f"%{f}{w}{p}s"
    expected = c_printf(text, ctypes.c_char_p(value.encode()))
    assert render(text, [Argument(STRING, value)]) == expected


@pytest.mark.parametrize(
    ("text", "argument", "expected"),
    [
        ("%x", Argument(INT, -1), "ffffffff"),
        ("%llx", Argument(ArgumentKind.INT64, -1), "f" * 16),
        ("%p", Argument(ArgumentKind.POINTER, 0x20001234), "0x20001234"),
        ("%12p", Argument(ArgumentKind.POINTER, 0x1234), "      0x1234"),
        ("%-3c|", Argument(CHAR, "A"), "A  |"),
        ("%d", Argument(CHAR, "A"), "65"),
        ("%c", Argument(INT, 65), "A"),
        ("%a", Argument(DOUBLE, 0.5), "0x1.0000000000000p-1"),
        ("%A", Argument(DOUBLE, 0.5), "0X1.0000000000000P-1"),
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
