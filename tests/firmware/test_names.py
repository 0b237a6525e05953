"""Names, each kept once."""

import pytest

from custom_components.ulogger.firmware import names
from custom_components.ulogger.firmware.names import LONGEST_NAME, NamePool, name_at


def test_a_name_is_kept_once_and_read_back() -> None:
    pool = NamePool()
    main = pool.add("main")
    assert pool.add(b"main") == main
    assert (pool.add(""), pool.add("größe")) == (0, main + 5)
    view = memoryview(bytes(pool.data))
    assert [name_at(view, at) for at in (0, main, main + 5, 10_000)] == ["", "main", "größe", ""]


def test_a_long_name_is_cut() -> None:
    pool = NamePool()
    at = pool.add("x" * 1000)
    assert name_at(memoryview(bytes(pool.data)), at) == "x" * LONGEST_NAME


def test_a_pool_that_is_full_knows_no_new_names_and_keeps_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "MOST_BYTES", 10)
    pool = NamePool()
    main = pool.add("main")
    assert pool.add("a name too many") == 0
    assert pool.add("main") == main
