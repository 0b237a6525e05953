"""Collectors on the loopback interface are real ones."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def sockets(socket_enabled: None) -> None:
    """Let the tests of this room speak to the loopback interface."""
    pytest_socket.enable_socket()
