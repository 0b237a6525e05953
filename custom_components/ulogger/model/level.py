"""How important something is that a device logs."""

from enum import IntEnum
from typing import Final


class Level(IntEnum):
    """The three bits of a log frame: the lower, the more a device that logs from there on says.

    5 marks metrics, 6 and 7 are not in use; a log configuration knows 0 to 4 only.
    """

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4
    METRIC = 5
    RESERVED_6 = 6
    RESERVED_7 = 7


LEVELS: Final = tuple(level.name.lower() for level in Level if level <= Level.CRITICAL)
"""What a person chooses from; a level's place is its number."""
