"""Text that a device or a broker chose, before it is shown: it can be anything.

Home Assistant renders repairs and the texts of flows as Markdown, and titles as they are. So
what could be Markdown is not escaped, which titles would show, but taken out.
"""

import re

LONGEST = 64
LONGEST_LINE = 500

_MARKDOWN = re.compile(
    r"""
      [\\`*\[\]<>|#~@]             # emphasis, code, links, images, HTML, tables, headings, mail
    | (?<![^\W_])_+ | _+(?![^\W_]) # emphasis; within a word it is none
    | (?<=:)//                     # a URL becomes a link by itself
    | (?<=www)\.                   # so does a name in the web
    | &(?=\#?\w+;)                 # a character by its name
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BULLETS = re.compile(r"^(?:[-+=]+(?: |$))+")
_NUMBERED = re.compile(r"^(\d+)[.)](?= |$)")


def one_line(text: object, longest: int = LONGEST_LINE) -> str:
    """Return a text that stays on its line of a log, without what can't be printed."""
    printable = "".join(char if char.isprintable() else " " for char in str(text))
    return " ".join(printable.split())[:longest]


def plain_text(text: object, longest: int = LONGEST) -> str:
    """Return a text that is the same as Markdown and without it: bounded, on one line.

    What is left of a text that was nothing but Markdown is a question mark.
    """
    plain = " ".join(_MARKDOWN.sub(" ", one_line(text)).split())
    plain = _NUMBERED.sub(r"\1", _BULLETS.sub("", plain))
    return plain[:longest].strip() or "?"
