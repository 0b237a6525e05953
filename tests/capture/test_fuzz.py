"""The fuzzing harness: it notices what it is for, and every target bears a short run."""

import time
from itertools import islice

import pytest

from fuzz import (
    agent_targets,
    capture_targets,
    cloud_targets,
    firmware_targets,
    insight_targets,
    otlp_targets,
    pepeunit_targets,
    udmi_targets,
)
from fuzz.mutations import mutated
from fuzz.target import LARGEST, SAMPLED, Broken, Target, Trial

TARGETS = (
    *capture_targets.TARGETS,
    *insight_targets.TARGETS,
    *firmware_targets.TARGETS,
    *agent_targets.TARGETS,
    *cloud_targets.TARGETS,
    *otlp_targets.TARGETS,
    *pepeunit_targets.TARGETS,
    *udmi_targets.TARGETS,
)


def trial(run: object) -> Trial:
    return Trial(Target("test", run, (ValueError,), lambda: [b""]))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_target_bears_its_seeds_and_what_becomes_of_them(target: Target) -> None:
    attempt = Trial(target)
    for data in islice(mutated(target.seeds(), target.longest, 3), 200):
        attempt.one(data)
    assert attempt.inputs == 200
    assert attempt.report()["accepted"]


def test_names_of_targets_are_unique() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_an_expected_error_is_borne_and_another_one_is_not() -> None:
    def fails(error: Exception) -> None:
        raise error

    refused = trial(lambda _: fails(ValueError()))
    refused.one(b"")
    assert (refused.inputs, refused.accepted) == (1, 0)
    with pytest.raises(Broken, match="KeyError"):
        trial(lambda _: fails(KeyError("x"))).one(b"")


def test_an_input_that_takes_too_long_is_not_borne() -> None:
    def busy(_: bytes) -> None:
        start = time.thread_time()
        while time.thread_time() - start < 0.11:
            pass

    with pytest.raises(Broken, match=r"took 0\.\d+ s"):
        trial(busy).one(b"")


def test_an_input_that_takes_too_much_memory_is_not_borne() -> None:
    greedy = trial(lambda _: bytearray(LARGEST + 1))
    greedy.inputs = SAMPLED - 1
    with pytest.raises(Broken, match="bytes"):
        greedy.one(b"")


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, again, other = (list(islice(mutated([b"abc"], 50, s), 300)) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert max(map(len, first)) <= 50
