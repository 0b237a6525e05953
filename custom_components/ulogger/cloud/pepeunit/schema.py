"""The file ``schema.json``: a unit's topics, by their names. No topic is ever built here."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from .env import read_object
from .errors import InvalidFile

LARGEST: Final = 1_000_000
MOST_LEVELS: Final = 5
LONGEST_TOPIC: Final = 512
MOST_TOPICS: Final = 1_000
LOG: Final = "log/pepeunit"
STATE: Final = "state/pepeunit"
SECTIONS: Final = ("input_base_topic", "output_base_topic", "input_topic", "output_topic")

type Topics = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Schema:
    """A checked ``schema.json``: for each name of an input or output its topics."""

    commands: Topics
    reports: Topics
    inputs: Topics
    outputs: Topics

    @classmethod
    def parse(cls, content: str | bytes | Mapping[str, Any]) -> Self:
        """Read a file, section by section; raises InvalidFile."""
        values = read_object(content, LARGEST)
        schema = cls(*(_section(values, name) for name in SECTIONS))
        if sum(len(topics) for each in schema.sections for topics in each.values()) > MOST_TOPICS:
            raise InvalidFile("too_many_topics", "", str(MOST_TOPICS))
        return schema

    @property
    def sections(self) -> tuple[Topics, ...]:
        """All four, in the order of the file."""
        return (self.commands, self.reports, self.inputs, self.outputs)

    @property
    def text(self) -> str:
        """The file, as it is kept."""
        sections = zip(SECTIONS, self.sections, strict=True)
        return json.dumps({name: dict(section) for name, section in sections}, ensure_ascii=False)

    @property
    def log_topic(self) -> str | None:
        """Where log records go."""
        return next(iter(self.reports.get(LOG, ())), None)

    @property
    def state_topic(self) -> str | None:
        """Where the state of this machine goes."""
        return next(iter(self.reports.get(STATE, ())), None)

    def command_of(self, topic: str) -> str | None:
        """Return the name of the command topic that a topic is."""
        return _name_of(self.commands, topic)

    def input_of(self, topic: str) -> str | None:
        """Return the name of the input that a topic is."""
        return _name_of(self.inputs, topic)


def node_of(topic: str) -> str | None:
    """Return the UUID of the node that a topic of inputs or outputs is."""
    parts = topic.split("/")
    return parts[1] if len(parts) in (2, 3) and parts[1] else None


def _name_of(section: Topics, topic: str) -> str | None:
    return next((name for name, topics in section.items() if topic in topics), None)


def _section(values: Mapping[str, Any], name: str) -> Topics:
    section = values.get(name, {})
    if not isinstance(section, dict):
        raise InvalidFile("not_an_object", name)
    return {each: tuple(_topics(name, each, topics)) for each, topics in section.items()}


def _topics(section: str, name: str, topics: Any) -> Iterator[str]:
    field = f"{section}.{name}"[:128]
    if not name or not name.isprintable() or len(name) > LONGEST_TOPIC:
        raise InvalidFile("invalid_field", section)
    if not isinstance(topics, list):
        raise InvalidFile("not_a_list", field)
    for topic in dict.fromkeys(each if isinstance(each, str) else "" for each in topics):
        if not is_topic(topic):
            raise InvalidFile("invalid_topic", field)
        yield topic


def is_topic(topic: str) -> bool:
    """Whether the broker could take messages on a topic: no wildcards, at most five levels."""
    return (
        bool(topic)
        and len(topic.encode(errors="replace")) <= LONGEST_TOPIC
        and topic.isprintable()
        and not set("+#$").intersection(topic)
        and topic.count("/") < MOST_LEVELS
        and all(topic.split("/"))
    )
