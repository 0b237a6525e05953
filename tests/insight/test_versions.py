"""Newer or older, for whatever people call their versions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight.versions import is_newer

RISING = [
    "0.9",
    "1.4.0-dev",
    "v1.4.0-alpha.2",
    "1.4.0-beta1",
    "1.4.0-rc1",
    "1.4.0-rc2",
    "1.4.0",
    "1.4.0-3-gabc1234",
    "1.4.0-12-gabc1234-dirty",
    "1.4.1",
    "1.10",
    "release-2.0",
    "fw_v2.0.1+build7",
    "20240101",
]


@pytest.mark.parametrize(("older", "newer"), itertools.combinations(RISING, 2))
def test_versions_are_in_order(older: str, newer: str) -> None:
    assert is_newer(newer, older) is True
    assert is_newer(older, newer) is False


@pytest.mark.parametrize(
    ("one", "same"), [("1.4", "1.4.0"), ("v1.4", "1.4"), ("1.4+a", "1.4+b"), ("", ""), ("x", "x")]
)
def test_names_of_one_version_are_equal(one: str, same: str) -> None:
    assert is_newer(one, same) is is_newer(same, one) is False


@pytest.mark.parametrize("odd", ["", "main", "bc53443", "???", "-", "\0"])
def test_a_name_that_tells_no_order_is_neither(odd: str) -> None:
    assert is_newer(odd, "1.4.0") is None
    assert is_newer("1.4.0", odd) is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_of_any_two_names_not_both_are_newer(one: str, other: str) -> None:
    assert not (is_newer(one, other) and is_newer(other, one))
