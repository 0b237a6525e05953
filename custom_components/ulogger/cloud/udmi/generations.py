"""Generations: the times by which a site tells one request from the next."""

import re
from datetime import datetime
from typing import Any, Final

from .status import read_stamp, stamp

_WHOLE: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def read_generation(text: Any) -> tuple[datetime, str]:
    """Return a generation and how it is written back; raises ValueError.

    It is written as it came wherever that is RFC 3339 to the letter.
    """
    moment = read_stamp(text)
    return moment, text if _WHOLE.fullmatch(text) else stamp(moment)
