"""What the proxy hears and how many links it has left, told to Home Assistant's Bluetooth."""

import asyncio
import json
import logging
from typing import Any, override

from habluetooth import (
    Allocations,
    BaseHaRemoteScanner,
    BluetoothScanningMode,
    HaBluetoothConnector,
    get_manager,
)
from homeassistant.components.bluetooth import MONOTONIC_TIME

from .client import RemoteClient

_LOGGER = logging.getLogger(__name__)

SOURCE = "DE:50:00:00:00:01"
RECONNECT_SECONDS = 1.0


class RemoteScanner(BaseHaRemoteScanner):
    """A scanner whose advertisements and links come over a socket, as from an ESPHome proxy."""

    def __init__(self, host: str, port: int, slots: int) -> None:
        """Listen to the proxy at ``host:port``, which holds ``slots`` links at once."""
        self.host = host
        self.port = port
        self.slots = slots
        self.allocated: set[str] = set()
        client = type("ProxiedClient", (RemoteClient,), {"scanner": self})
        super().__init__(
            SOURCE,
            "ulogger-demo-proxy",
            HaBluetoothConnector(client, SOURCE, lambda: len(self.allocated) < self.slots),
            connectable=True,
            requested_mode=BluetoothScanningMode.ACTIVE,
            current_mode=BluetoothScanningMode.ACTIVE,
        )

    @override
    def get_allocations(self) -> Allocations:
        """How many of the proxy's links are taken, and by whom."""
        return Allocations(
            self.source, self.slots, self.slots - len(self.allocated), sorted(self.allocated)
        )

    def allocate(self, address: str) -> None:
        """Note that a link to ``address`` stands."""
        self.allocated.add(address)
        get_manager().async_on_allocation_changed(self.get_allocations())

    def release(self, address: str) -> None:
        """Note that the link to ``address`` is gone."""
        self.allocated.discard(address)
        get_manager().async_on_allocation_changed(self.get_allocations())

    async def listen(self) -> None:
        """Pass on advertisements for ever; a proxy that is away is tried again each second."""
        while True:
            try:
                await self._listen_once()
            except OSError as error:
                _LOGGER.debug("Proxy at port %s is away: %s", self.port, error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(b'{"op": "scan"}\n')
            await writer.drain()
            async for line in reader:
                self._heard(json.loads(line))
        finally:
            writer.close()

    def _heard(self, advertisement: dict[str, Any]) -> None:
        self._async_on_advertisement(
            advertisement["address"],
            advertisement["rssi"],
            advertisement["name"],
            advertisement["service_uuids"],
            {},
            {int(k): bytes.fromhex(v) for k, v in advertisement["manufacturer_data"].items()},
            None,
            {},
            MONOTONIC_TIME(),
        )
