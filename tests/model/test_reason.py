"""Every error of a room says why, with a reason that every language has a text for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import custom_components.ulogger
from custom_components.ulogger.account.disk_space import NoDiskSpace
from custom_components.ulogger.agent.errors import AgentError
from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.collecting.connection import ConnectError
from custom_components.ulogger.model.reason import Reason
from custom_components.ulogger.outbox.errors import OutboxError

TRANSLATIONS = Path(custom_components.ulogger.__file__).parent / "translations"
FAMILIES = (AgentError, ConnectError, OutboxError, NoDiskSpace, CloudError)


def kinds(error: type[Exception]) -> Iterator[type[Exception]]:
    """The family of an error, as far as the integration defines it."""
    yield error
    for kind in error.__subclasses__():
        if kind.__module__.startswith("custom_components."):
            yield from kinds(kind)


def test_the_errors_of_the_rooms_have_the_reasons_there_are_and_no_others() -> None:
    used = {kind.reason for family in FAMILIES for kind in kinds(family)}  # type: ignore[attr-defined]
    assert used == set(Reason)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "zh-Hans"])
def test_every_reason_has_a_text(reason: Reason, language: str) -> None:
    texts = json.loads((TRANSLATIONS / f"{language}.json").read_text())
    assert texts["exceptions"][reason]["message"]
    assert texts["entity"]["sensor"]["last_error"]["state"][reason]


def test_a_reason_is_written_as_its_key() -> None:
    assert f"{Reason.LINK_LOST}" == "link_lost"
    assert json.dumps({Reason.LINK_LOST: Reason.LINK_LOST}) == '{"link_lost": "link_lost"}'
