"""A collector on loopback for tests with a Home Assistant."""

import ssl
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_socket
import trustme
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry

from demo.otlp import LocalCollector
from tests.support.flows import add_destination, answer

FORM: dict[str, Any] = {"unencrypted": True, "metrics": True, "include_kept": True, "tls": {}}


@pytest.fixture
async def collector(socket_enabled: None) -> AsyncGenerator[LocalCollector]:
    """A collector that runs."""
    pytest_socket.enable_socket()
    async with LocalCollector() as local:
        yield local


def server_context(authority: trustme.CA, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """Return what a collector with TLS is served with; it may ask for a client's certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def fill(hass: HomeAssistant, account: MockConfigEntry, url: str, **typed: Any) -> Any:
    """Fill in the form; return what is shown then."""
    form = await add_destination(hass, account.entry_id, "otlp")
    return await answer(hass, form, **{"url": url, **FORM, **typed})


async def add_collector(
    hass: HomeAssistant, account: MockConfigEntry, url: str, **typed: Any
) -> ConfigSubentry:
    """Add a collector the way a person does."""
    done = await fill(hass, account, url, **typed)
    assert done["type"] == "create_entry", done
    return list(account.subentries.values())[-1]
