"""Fixtures of a local cloud: a real broker with mutual TLS and the service behind it.

Import them into a conftest: ``from tests.local_cloud import broker, cloud_service``.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_socket

from demo.cloud.broker import LocalBroker
from demo.cloud.service import LocalCloud

CUSTOMER_ID = 42


@pytest.fixture
async def broker(tmp_path: Path, socket_enabled: None) -> AsyncGenerator[LocalBroker]:
    """A broker that runs."""
    pytest_socket.enable_socket()
    async with LocalBroker(tmp_path / "broker", customer_id=CUSTOMER_ID) as local:
        yield local


@pytest.fixture
async def cloud_service(broker: LocalBroker) -> AsyncGenerator[LocalCloud]:
    """A cloud service that is connected to the broker."""
    async with LocalCloud(broker) as service:
        yield service
