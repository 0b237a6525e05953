"""Crash groups: counted once each, and back when a newer version crashes again."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight import crash_groups
from custom_components.ulogger.insight.crash_groups import (
    MOST_GROUPS,
    MOST_OCCURRENCES,
    Added,
    CaptureKey,
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


def at_address(
    function: str = "",
    version: str = "1.4.0",
    at: float = 100.0,
    *,
    address: str = "a1",
    capture: str = "",
    git_hash: str = "bc53443",
) -> Occurrence:
    """A crash as it is read without an image, or with one that knows the function."""
    number = capture or f"c{next(_numbers)}"
    return Occurrence(
        function or address, "A", version, at, number, "it broke", 42, git_hash, address
    )


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


# What an image tells later


def test_an_image_takes_what_is_gone_along_and_the_state_with_it() -> None:
    groups = CrashGroups()
    gone, kept = at_address(at=2.0), at_address(at=1.0)
    groups.add(gone)
    groups.add(kept)
    groups.set_state("a1", CrashState.IGNORED)
    told = replace(kept, fingerprint="open_valve", reason="in open_valve")
    assert groups.add(told) == AGAIN
    assert [group.fingerprint for group in groups] == ["open_valve"]
    group = groups.group_of(gone.key)
    assert (group.count, group.state, group.reason) == (2, CrashState.IGNORED, "in open_valve")
    assert (group.first_seen, group.last_seen, group.application_id) == (1.0, 2.0, 42)


def test_a_new_crash_with_an_image_brings_those_that_were_there_before_it() -> None:
    """Of the old ones no core dump is left, yet it is the same address of the same firmware."""
    groups = CrashGroups()
    groups.add(at_address(at=1.0))
    groups.set_state("a1", CrashState.RESOLVED)
    added = groups.add(at_address("open_valve", at=2.0))
    assert added.counted
    assert [(group.fingerprint, group.count, group.state) for group in groups] == [
        ("open_valve", 2, CrashState.RESOLVED)
    ]


@pytest.mark.parametrize(("version", "git_hash"), [("1.5.0", "bc53443"), ("1.4.0", "other")])
def test_the_same_address_of_another_firmware_stays_where_it_is(
    version: str, git_hash: str
) -> None:
    groups = CrashGroups()
    groups.add(at_address(version=version, git_hash=git_hash))
    groups.add(at_address("open_valve"))
    assert {group.fingerprint: group.count for group in groups} == {"a1": 1, "open_valve": 1}


def test_what_is_read_without_the_image_again_stays_where_it_was() -> None:
    groups = CrashGroups()
    named = at_address("open_valve")
    groups.add(named)
    assert groups.add(replace(named, fingerprint="a1")) == AGAIN
    assert groups.add(at_address()) == KNOWN
    assert [(group.fingerprint, group.count) for group in groups] == [("open_valve", 2)]
    stored = CrashGroups.from_dict(groups.as_dict())
    assert stored.add(at_address()) == KNOWN


def test_what_its_own_reading_told_is_surer_than_what_anothers_did() -> None:
    """Where a stack is all that names a crash, one address may be two functions."""
    groups = CrashGroups()
    first = at_address("open_valve")
    groups.add(first)
    groups.add(at_address("close_valve"))
    assert groups.add(replace(first, fingerprint="a1")) == AGAIN
    assert groups.group_of(first.key).fingerprint == "open_valve"
    assert groups.get("open_valve").count == 1


def test_an_image_that_takes_anothers_place_moves_what_it_tells_otherwise() -> None:
    groups = CrashGroups()
    named = at_address("open_valve")
    groups.add(named)
    groups.set_state("open_valve", CrashState.IGNORED)
    assert groups.add(replace(named, fingerprint="close_valve", reason="better")) == AGAIN
    assert groups.add(replace(named, fingerprint="close_valve", reason="best")) == AGAIN
    (group,) = groups
    assert (group.fingerprint, group.state) == ("close_valve", CrashState.IGNORED)
    assert group.reason == "best"


def test_one_address_can_be_two_functions_and_both_keep_the_state() -> None:
    groups = CrashGroups()
    first, second = at_address(version="1.4.0"), at_address(version="1.5.0")
    groups.add(first)
    groups.add(second)
    groups.set_state("a1", CrashState.RESOLVED)
    groups.add(replace(first, fingerprint="open_valve"))
    groups.add(replace(second, fingerprint="close_valve"))
    assert {group.fingerprint: str(group.state) for group in groups} == {
        "open_valve": "resolved",
        "close_valve": "resolved",
    }


@pytest.mark.parametrize("earlier", [False, True])
def test_of_two_decisions_the_later_one_holds(earlier: bool) -> None:
    groups = CrashGroups()
    unnamed = at_address()
    groups.add(unnamed)
    groups.add(crash(fingerprint="open_valve"))
    first, second = ("a1", "open_valve") if earlier else ("open_valve", "a1")
    groups.set_state(first, CrashState.RESOLVED)
    groups.set_state(second, CrashState.IGNORED)
    groups.add(replace(unnamed, fingerprint="open_valve"))
    (group,) = groups
    assert (group.state, group.count) == (CrashState.IGNORED, 2)


def test_what_nobody_decided_takes_the_state_that_somebody_did() -> None:
    groups = CrashGroups()
    groups.add(at_address("open_valve", "1.4.0", address="a2"))
    unnamed = at_address(version="1.4.0")
    groups.add(unnamed)
    groups.set_state("a1", CrashState.RESOLVED)
    groups.add(replace(unnamed, fingerprint="open_valve"))
    assert groups.get("open_valve").state is CrashState.RESOLVED


def test_a_resolved_one_that_turns_out_to_be_in_a_newer_version_is_back() -> None:
    groups = CrashGroups()
    groups.add(at_address("open_valve", "1.5.0", address="a2"))
    unnamed = at_address(version="1.4.0")
    groups.add(unnamed)
    groups.set_state("a1", CrashState.RESOLVED)
    groups.add(replace(unnamed, fingerprint="open_valve"))
    assert groups.get("open_valve").state is CrashState.REGRESSED


def test_a_version_that_a_person_named_does_not_bring_back_what_was_known_then() -> None:
    groups = CrashGroups()
    every = [at_address(version="main", at=float(n), git_hash=f"abcdef{n}") for n in range(2)]
    for each in every:
        groups.add(each)
    groups.set_state("a1", CrashState.RESOLVED, "1.6.0")
    for each in every:
        groups.add(replace(each, fingerprint="open_valve"))
    (group,) = groups
    assert (group.state, group.count) == (CrashState.RESOLVED, 2)


def test_what_came_back_stays_so_under_its_new_name() -> None:
    groups = CrashGroups()
    first, other, back = (at_address(version=each) for each in ("1.4.0", "1.3.0", "1.5.0"))
    groups.add(first)
    groups.add(other)
    groups.set_state("a1", CrashState.RESOLVED)
    groups.add(replace(first, fingerprint="open_valve"))
    assert groups.add(back) == REGRESSED
    groups.add(replace(other, fingerprint="open_valve"))
    assert groups.get("open_valve").state is CrashState.RESOLVED
    groups.add(replace(back, fingerprint="open_valve"))
    assert groups.get("open_valve").state is CrashState.REGRESSED


def test_what_is_only_counted_goes_with_the_last_that_is_kept() -> None:
    groups = CrashGroups()
    every = [at_address(at=float(n)) for n in range(MOST_OCCURRENCES + 20)]
    for each in every:
        groups.add(each)
    groups.add(replace(every[-1], fingerprint="open_valve"))
    (group,) = groups
    assert (group.fingerprint, group.count) == ("open_valve", MOST_OCCURRENCES + 20)
    assert (group.first_seen, group.last_seen) == (0, MOST_OCCURRENCES + 19)


def test_a_capture_of_an_outbox_that_began_anew_is_another_one() -> None:
    groups = CrashGroups()
    groups.add(crash(capture="1", at=100.0))
    assert groups.add(crash(capture="1", at=200.0)) == KNOWN
    assert CaptureKey("1", 200.0) in groups
    assert groups.get("f1").count == 2


def test_all_groups_together_keep_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_groups, "MOST_KEPT", 10)
    groups = CrashGroups()
    for number in range(20):
        groups.add(crash(fingerprint="f1" if number > 3 else f"f{number + 2}", at=float(number)))
    assert {group.fingerprint: group.count for group in groups}["f1"] == 16
    assert sorted(len(group.occurrences) for group in groups) == [1, 1, 1, 1, 6]


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
    lambda number, fingerprint, device, version, address, reason: Occurrence(
        fingerprint, device, version, number % 7.0, f"c{number}", reason, 42, "bc53443", address
    ),
    st.integers(0, 11),
    st.sampled_from(["f1", "f2", "f3"]),
    st.sampled_from("ABC"),
    st.sampled_from(["1.0", "1.1", "2.0-rc1", "main", ""]),
    st.sampled_from(["", "f1", "f3", "f4"]),
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
    latest = {change.key for change in changes if isinstance(change, Occurrence)}
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
