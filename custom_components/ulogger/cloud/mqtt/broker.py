"""Everything that a connection to a broker is made with."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from paho.mqtt.enums import MQTTProtocolVersion

KEEPALIVE: Final = 25
"""Seconds of silence before a ping; without an answer the link is dead after as many again."""
CONNECT_TIMEOUT: Final = 15.0


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker says in our name, with QoS 1, when the connection breaks."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker and how to connect to it.

    ``tls`` is the context of the connection; without one `unencrypted` must say that everything,
    the password too, travels readable. ``password`` is asked anew for each connection: it can be
    a token that expires. Times are in seconds. Raises ValueError for a connection that is
    neither one nor the other.
    """

    host: str
    port: int
    client_id: str
    tls: ssl.SSLContext | None = None
    unencrypted: bool = False
    version_5: bool = False
    username: str | None = None
    password: Callable[[], str | None] | None = None
    last_will: LastWill | None = None
    keepalive: int = KEEPALIVE
    connect_timeout: float = CONNECT_TIMEOUT

    def __post_init__(self) -> None:
        """Refuse to leave out TLS by mistake."""
        if (self.tls is None) is not self.unencrypted:
            raise ValueError("a broker is reached with TLS, or is said to be unencrypted")

    @property
    def protocol(self) -> MQTTProtocolVersion:
        """The protocol's version as paho names it."""
        return MQTTProtocolVersion.MQTTv5 if self.version_5 else MQTTProtocolVersion.MQTTv311
