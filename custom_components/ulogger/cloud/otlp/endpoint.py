"""Where a collector is, and what is sent along with each request."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

LONGEST_URL: Final = 2048
MOST_HEADERS: Final = 16
LONGEST_HEADER: Final = 8192

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_SIGNALS: Final = re.compile(r"(?:/|/v1/(?:logs|metrics))*\Z")
_RESERVED: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)


class Signal(StrEnum):
    """What a request carries: the last part of its path."""

    LOGS = "logs"
    METRICS = "metrics"


class InvalidEndpoint(ValueError):
    """The address can't be a collector's; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class InvalidHeaders(ValueError):
    """The text is no list of headers; ``line`` is the number of the first line that is none."""

    def __init__(self, line: int) -> None:
        """Keep the number; what stands there may be a secret."""
        super().__init__(f"line {line} is no header")
        self.line = line


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A collector: its address without the signal's path, what goes along, and how it is trusted.

    ``tls`` is the context for an address with https; what goes to one with http travels readable.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def of(self, signal: Signal) -> str:
        """Return the address of a signal: ``<url>/v1/logs``."""
        return f"{self.url}/v1/{signal.value}"

    @classmethod
    def checked(cls, typed: str, headers: str = "", tls: ssl.SSLContext | None = None) -> Self:
        """Return the endpoint that was typed; raises InvalidEndpoint or InvalidHeaders."""
        return cls(read_url(typed), read_headers(headers), tls)


def read_url(typed: str) -> str:
    """Return an address without the signal's path, which may stand in it or not.

    Raises InvalidEndpoint.
    """
    text = typed.strip()
    if len(text) > LONGEST_URL or not text.isprintable() or " " in text:
        raise InvalidEndpoint("invalid_url")
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidEndpoint("invalid_url")
    if parts.username is not None or parts.password is not None:
        raise InvalidEndpoint("secret_in_url")
    if parts.query or parts.fragment:
        raise InvalidEndpoint("query_in_url")
    path = _SIGNALS.sub("", parts.path)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def is_encrypted(url: str) -> bool:
    """Whether what is sent to an address travels by TLS."""
    return url.startswith("https://")


def read_headers(typed: str) -> dict[str, str]:
    """Return headers from lines of ``Name: value``; raises InvalidHeaders."""
    found: dict[str, str] = {}
    for number, line in enumerate(typed.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        good = colon and value and _NAME.fullmatch(name) and _is_value(value)
        if not good or name.lower() in _RESERVED or len(found) == MOST_HEADERS:
            raise InvalidHeaders(number)
        found[name] = value
    return found


def _is_value(value: str) -> bool:
    return len(value) <= LONGEST_HEADER and value.isascii() and value.isprintable()


def _split(text: str) -> SplitResult:
    """Take an address apart; a port that is none makes it invalid."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as err:
        raise InvalidEndpoint("invalid_url") from err
    if port == 0:
        raise InvalidEndpoint("invalid_url")
    return parts
