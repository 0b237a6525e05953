"""A disk is held against what was promised by the moment of the cut, no more and no less."""

import json
from dataclasses import replace
from typing import Any

import pytest

from powercut.promises import Found, Mark, Promises, Verdict

WHOLE = Found(
    kept=frozenset({"a", "b"}), waiting=frozenset({2}), stores={"account": 3, "key": None}
)

SUSPECTED = {"mark": Mark.SUSPECTED}
DISMISSED = {"mark": Mark.DISMISSED}


def promised(*marks: dict[str, Any]) -> Promises:
    promises = Promises()
    for mark in marks:
        promises.take(json.dumps(mark).encode())
    return promises


def erased(*pieces: str) -> dict[str, Any]:
    return {"mark": Mark.ERASED, "pieces": pieces}


def in_cloud(*pieces: str) -> dict[str, Any]:
    return {"mark": Mark.IN_CLOUD, "pieces": pieces}


def saving(number: int) -> dict[str, Any]:
    return {"mark": Mark.SAVING, "store": "account", "number": number}


def saved(number: int) -> dict[str, Any]:
    return {"mark": Mark.SAVED, "store": "account", "number": number}


def test_what_keeps_every_promise_is_good():
    promises = promised(erased("a"), saving(3), saved(3))
    assert not promises.hold_against(WHOLE)


@pytest.mark.parametrize(
    ("marks", "found", "verdict"),
    [
        ([erased("a", "c", "d")], WHOLE, Verdict(lost=2)),
        ([erased("a", "c"), in_cloud("c")], WHOLE, Verdict()),
        ([], replace(WHOLE, delivered=frozenset({"c"})), Verdict(unfounded=1)),
        ([in_cloud("c")], replace(WHOLE, delivered=frozenset({"c"})), Verdict()),
        ([erased("c")], replace(WHOLE, delivered=frozenset({"c"})), Verdict(lost=1, unfounded=1)),
        ([{"mark": Mark.NOTED, "capture": 2}], WHOLE, Verdict(sent_again=1)),
        ([{"mark": Mark.NOTED, "capture": 1}], WHOLE, Verdict()),
        ([], replace(WHOLE, repair=(0, 0)), Verdict(repaired=1)),
        ([SUSPECTED], replace(WHOLE, repair=(0, 0)), Verdict()),
        ([SUSPECTED], replace(WHOLE, repair=(1, 0)), Verdict(repaired=1)),
        ([SUSPECTED], replace(WHOLE, repair=(0, None)), Verdict(repaired=1)),
        ([SUSPECTED, DISMISSED], replace(WHOLE, repair=(0, 0)), Verdict(repaired=1)),
        ([saving(4), saved(4)], WHOLE, Verdict(stores_behind=1)),
        ([saving(4)], WHOLE, Verdict()),
        ([saving(4), saved(4)], replace(WHOLE, stores={"account": 4}), Verdict()),
        ([saving(4), saved(4)], replace(WHOLE, stores={"account": None}), Verdict(stores_behind=1)),
        ([], replace(WHOLE, stores={"account": 9}), Verdict(stores_behind=1)),
        ([erased("c")], Found(error="OutboxDamaged"), Verdict(failed_to_open=1)),
    ],
)
def test_what_was_promised_counts(marks, found, verdict):
    assert promised(saving(3), saved(3), *marks).hold_against(found) == verdict
