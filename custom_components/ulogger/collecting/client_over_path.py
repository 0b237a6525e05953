"""A Bluetooth client that connects over a chosen scanner.

Home Assistant's client chooses the scanner itself, also one whose last slot is left to other
integrations. There is no public way to name another one, so its choice is overridden where that
method is there; where it is not, the choice stays Home Assistant's, and is counted as it is.
"""

from functools import cache
from typing import Any, Final, override

import bleak_retry_connector
from bleak.backends.device import BLEDevice
from bleak_retry_connector import BleakClientWithServiceCache

_CHOICE: Final = "_async_get_best_available_backend_and_device"
_BACKEND: Final = "_async_get_backend_for_ble_device"


def client_over(source: str | None) -> tuple[type[BleakClientWithServiceCache], dict[str, Any]]:
    """Return the class to connect with, and what to hand it besides."""
    # Home Assistant replaces the class when Bluetooth is set up: look it up late.
    usual = bleak_retry_connector.BleakClientWithServiceCache
    if source is None or not (hasattr(usual, _CHOICE) and hasattr(usual, _BACKEND)):
        return usual, {}
    return _over_path(usual), {"source": source}


@cache
def _over_path(usual: type[Any]) -> type[Any]:
    class ClientOverPath(usual):  # type: ignore[misc]
        """Tries the chosen scanner first; a second attempt may take another."""

        def __init__(self, device: BLEDevice, *args: Any, source: str, **kwargs: Any) -> None:
            super().__init__(device, *args, **kwargs)
            self._chosen: str | None = source
            self._chosen_for = device.address

        @override
        def _async_get_best_available_backend_and_device(self, manager: Any) -> Any:
            chosen, self._chosen = self._chosen, None
            for each in manager.async_scanner_devices_by_address(self._chosen_for, True):
                if each.scanner.source == chosen:
                    backend = self._async_get_backend_for_ble_device(
                        manager, each.scanner, each.ble_device
                    )
                    if backend is not None:
                        return backend
            return super()._async_get_best_available_backend_and_device(manager)

    return ClientOverPath
