"""Ports of the loopback interface for servers that are yet to start."""

import errno
import socket
from random import SystemRandom
from typing import Final

PORTS: Final = range(10_000, 32_000)
"""Below those that Linux gives to outgoing connections, one of which may come in between."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    chance = SystemRandom()
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as err:
                if err.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
