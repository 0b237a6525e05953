"""Crash groups: counted once each, and back when a newer version crashes again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight import crash_groups
from custom_components.ulogger.insight.crash_groups import (
    MOST_GROUPS,
    MOST_OCCURRENCES,
    Added,
    CrashGroup,
    CrashGroups,
    CrashState,
    Occurrence,
)

NEW, KNOWN, AGAIN = Added(True, False, True), Added(False, False, True), Added(False, False, False)
REGRESSED = Added(False, True, True)
_numbers = iter(range(1 << 30))


def crash(
    version: str = "1.4.0",
    device: str = "A",
    at: float = 100.0,
    fingerprint: str = "f1",
    capture: str = "",
) -> Occurrence:
    return Occurrence(fingerprint, device, version, at, capture or f"c{next(_numbers)}", "it broke")


def resolved(*versions: str) -> CrashGroups:
    groups = CrashGroups()
    for version in versions:
        groups.add(crash(version))
    groups.set_state("f1", CrashState.RESOLVED)
    return groups


def test_crashes_of_one_kind_are_one_group() -> None:
    groups = CrashGroups()
    assert groups.add(crash("1.4.0", "A", 200)) == NEW
    assert groups.add(crash("1.4.1", "B", 100)) == KNOWN
    assert groups.add(crash("1.4.1", "B", 300, "f2")) == NEW
    first = groups.get("f1")
    assert first is not None
    assert (first.count, first.first_seen, first.last_seen) == (2, 100, 200)
    assert (set(first.devices), set(first.versions)) == ({"A", "B"}, {"1.4.0", "1.4.1"})
    assert (len(groups), groups.open_count) == (2, 2)
    assert [group.fingerprint for group in groups] == ["f2", "f1"]


def test_a_capture_that_comes_again_is_counted_once() -> None:
    groups = CrashGroups()
    occurrence = crash()
    assert [groups.add(occurrence), groups.add(occurrence)] == [NEW, AGAIN]
    assert groups.get("f1").count == 1


@pytest.mark.parametrize(
    ("known", "seen", "back"),
    [
        ("1.4.0", "1.4.1", True),
        ("1.4.0", "1.10", True),
        ("1.4.0", "1.4.0", False),
        ("1.4.0", "1.3.9", False),
        ("1.4.0", "1.4", False),
        ("1.4.0", "1.4.0-rc1", False),
        ("main", "bc53443", True),
        ("main", "main", False),
    ],
)
def test_what_was_resolved_is_back_only_in_a_newer_version(
    known: str, seen: str, back: bool
) -> None:
    groups = resolved(known)
    assert groups.open_count == 0
    assert groups.add(crash(seen)) == (REGRESSED if back else KNOWN)
    assert groups.get("f1").state is (CrashState.REGRESSED if back else CrashState.RESOLVED)
    assert groups.open_count == back


def test_a_version_that_mends_the_crash_can_be_named() -> None:
    groups = CrashGroups()
    groups.add(crash("1.4.0"))
    groups.set_state("f1", CrashState.RESOLVED, "1.6.0")
    assert groups.add(crash("1.5.0")) == KNOWN
    assert groups.add(crash("1.6.1")) == REGRESSED
    assert groups.add(crash("1.6.2")) == KNOWN


def test_what_came_back_can_be_resolved_again() -> None:
    groups = resolved("1.4.0")
    groups.add(crash("1.5.0"))
    groups.set_state("f1", CrashState.RESOLVED)
    assert groups.add(crash("1.5.0")) == KNOWN
    assert groups.add(crash("1.5.1")) == REGRESSED


def test_what_is_ignored_stays_so() -> None:
    groups = CrashGroups()
    groups.add(crash("1.4.0"))
    groups.set_state("f1", CrashState.IGNORED)
    assert groups.add(crash("9.0")) == KNOWN
    assert groups.get("f1").state is CrashState.IGNORED


def test_only_states_for_people_can_be_set_and_only_on_known_groups() -> None:
    groups = resolved("1")
    with pytest.raises(ValueError, match="regressed"):
        groups.set_state("f1", CrashState.REGRESSED)
    with pytest.raises(KeyError):
        groups.set_state("f9", CrashState.OPEN)


def test_a_crash_that_an_image_gave_a_name_moves_with_its_groups_state() -> None:
    groups = resolved("1.4.0")
    (only,) = groups.get("f1").occurrences.values()
    named = crash("1.4.0", fingerprint="f2", capture=only.capture_id)
    assert groups.add(named) == AGAIN
    assert groups.get("f1") is None
    assert (groups.get("f2").count, groups.get("f2").state) == (1, CrashState.RESOLVED)
    assert groups.add(named) == AGAIN


def test_many_occurrences_are_counted_and_the_latest_kept() -> None:
    groups = CrashGroups()
    every = [crash(at=float(n), device=f"d{n % 3}") for n in range(MOST_OCCURRENCES + 20)]
    for occurrence in every + every:
        groups.add(occurrence)
    group = groups.get("f1")
    assert group.count == MOST_OCCURRENCES + 20
    assert len(group.occurrences) == MOST_OCCURRENCES
    assert group.first_seen == 0


def test_the_group_unseen_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_GROUPS >= 1000
    monkeypatch.setattr(crash_groups, "MOST_GROUPS", 3)
    groups = CrashGroups()
    for number in range(5):
        groups.add(crash(fingerprint=f"f{number}", at=float(number)))
    assert [group.fingerprint for group in groups] == ["f4", "f3", "f2"]


OCCURRENCES = st.builds(
    Occurrence,
    st.sampled_from(["f1", "f2", "f3"]),
    st.sampled_from("ABC"),
    st.sampled_from(["1.0", "1.1", "2.0-rc1", "main", ""]),
    st.floats(0, 1e9),
    st.sampled_from([f"c{n}" for n in range(12)]),
    st.text(max_size=5),
)
CHANGES = st.lists(
    st.one_of(
        OCCURRENCES, st.tuples(st.sampled_from(["f1", "f2"]), st.sampled_from(sorted(CrashState)))
    ),
    max_size=40,
)


@given(CHANGES)
def test_what_was_stored_is_what_there_was(changes: list[object]) -> None:
    groups = CrashGroups()
    for change in changes:
        if isinstance(change, Occurrence):
            groups.add(change)
        elif groups.get(change[0]) and change[1] is not CrashState.REGRESSED:
            groups.set_state(*change)
    latest = {change.capture_id for change in changes if isinstance(change, Occurrence)}
    assert sum(group.count for group in groups) == len(latest)
    again = CrashGroups.from_dict(json.loads(json.dumps(groups.as_dict())))
    assert again.as_dict() == groups.as_dict()
    assert {group.fingerprint: group for group in again} == {
        group.fingerprint: group for group in groups
    }
    for change in changes:
        if isinstance(change, Occurrence):
            before = again.get(change.fingerprint)
            assert not again.add(change).counted or before is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.data())
def test_damaged_storage_leaves_out_what_makes_no_sense(data: st.DataObject) -> None:
    groups = resolved("1")
    groups.add(crash(fingerprint="f2"))
    stored = groups.as_dict()
    key = data.draw(st.sampled_from(sorted(stored["groups"][0])))
    stored["groups"][0][key] = data.draw(JSON)
    again = CrashGroups.from_dict(stored)
    assert again.get("f2") is not None
    again.add(crash())
    json.dumps(again.as_dict())
    assert CrashGroups.from_dict({"groups": data.draw(JSON)}) is not None


def test_a_group_is_open_until_someone_says_otherwise() -> None:
    assert CrashGroup("f").is_open
