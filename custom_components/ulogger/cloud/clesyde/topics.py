"""The topics of one thing."""

import re
from dataclasses import dataclass
from typing import Final

PLATFORM: Final = "c/platform"
SHADOW: Final = "config"
VERBS: Final = ("accepted", "rejected", "delta", "documents")

_PART = re.compile(r"[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64}){0,2}")
RESERVED: Final = frozenset({"status", "remotetoken", "remotecr"})
"""First parts of topics that are Clesyde's own."""


@dataclass(frozen=True, slots=True)
class Topics:
    """What a thing of a serial publishes on and listens to."""

    serial: str

    @property
    def status(self) -> str:
        """Where it says whether it is there."""
        return f"c/d/{self.serial}/status"

    @property
    def responses(self) -> str:
        """The filter of all answers."""
        return f"c/d/{self.serial}/+/res"

    def request(self, action: str) -> str:
        """Where something is asked for."""
        return f"c/d/{self.serial}/{action}/req"

    def capture(self, topic: str) -> str:
        """Where captures go for which *topic* was chosen."""
        return f"c/d/{self.serial}/{topic}"

    def shadow(self, operation: str) -> str:
        """Where the shadow is asked for (``get``) or changed (``update``)."""
        return f"$aws/things/{self.serial}/shadow/name/{SHADOW}/{operation}"

    @property
    def filters(self) -> tuple[str, ...]:
        """Everything that is listened to."""
        return (PLATFORM, self.responses, *(self.shadow(f"+/{verb}") for verb in VERBS))

    def response_to(self, topic: str) -> str | None:
        """Name the action that a topic answers, None for another topic."""
        prefix, suffix = f"c/d/{self.serial}/", "/res"
        if not topic.startswith(prefix) or not topic.endswith(suffix):
            return None
        action = topic[len(prefix) : -len(suffix)]
        return action if action and "/" not in action else None

    def of_shadow(self, topic: str) -> tuple[str, str] | None:
        """Return operation and verb of a shadow's topic, None for another topic."""
        prefix = self.shadow("")
        operation, _, verb = topic.removeprefix(prefix).partition("/")
        if not topic.startswith(prefix) or verb not in VERBS:
            return None
        return operation, verb


def usable_topic(topic: str) -> bool:
    """Whether captures may go to a topic: up to three plain parts, none of them Clesyde's own."""
    return bool(_PART.fullmatch(topic)) and topic.partition("/")[0] not in RESERVED
