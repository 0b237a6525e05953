"""What Pepeunit asks of a unit on its base topics."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .errors import InvalidCommand

LARGEST: Final = 65_536
LONGEST_LINK: Final = 2048
LONGEST_VERSION: Final = 128


class CommandKind(StrEnum):
    """The commands; the values are those of the field ``COMMAND``."""

    UPDATE = "Update"
    ENV_UPDATE = "EnvUpdate"
    SCHEMA_UPDATE = "SchemaUpdate"
    LOG_SYNC = "LogSync"


_BY_TOPIC: Final = {
    "update/pepeunit": CommandKind.UPDATE,
    "env_update/pepeunit": CommandKind.ENV_UPDATE,
    "schema_update/pepeunit": CommandKind.SCHEMA_UPDATE,
    "log_sync/pepeunit": CommandKind.LOG_SYNC,
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command; ``commit`` and ``link`` come with `UPDATE`, if at all."""

    kind: CommandKind
    commit: str | None = None
    link: str | None = None

    @classmethod
    def parse(cls, topic_name: str, payload: bytes) -> Command:
        """Read a message on the base topic of a name; raises InvalidCommand.

        The topic says what is meant; a message that says something else is refused.
        """
        if (kind := _BY_TOPIC.get(topic_name)) is None:
            raise InvalidCommand(f"nothing is known of {topic_name[:64]}")
        if len(payload) > LARGEST:
            raise InvalidCommand("too long")
        try:
            values = json.loads(payload) if payload.strip() else {}
        except (ValueError, RecursionError) as err:
            raise InvalidCommand("not JSON") from err
        if not isinstance(values, dict):
            raise InvalidCommand("not an object")
        if values.get("COMMAND", kind.value) != kind.value:
            raise InvalidCommand("another command than that of its topic")
        return cls(
            kind,
            _line(values.get("PU_COMMIT_VERSION"), LONGEST_VERSION),
            _line(values.get("COMPILED_FIRMWARE_LINK"), LONGEST_LINK),
        )


def _line(value: object, longest: int) -> str | None:
    if not isinstance(value, str) or not value or len(value) > longest:
        return None
    return value if value.isprintable() else None
