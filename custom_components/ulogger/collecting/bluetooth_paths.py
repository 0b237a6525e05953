"""What Home Assistant's Bluetooth says of scanners, of their slots, and of who hears whom."""

from collections.abc import Mapping, Sequence

from habluetooth import BaseHaScanner, BluetoothScannerDevice
from homeassistant.components import bluetooth
from homeassistant.core import HomeAssistant, callback

from ..radio.presence import is_quiet
from ..radio.scheduler import Running
from ..radio.slots import ASSUMED_SLOTS, Path, Scanner


@callback
def scanners(hass: HomeAssistant, running: Mapping[str, Running]) -> list[Scanner]:
    """Return the scanners that can connect, each with its slots as it reports them."""
    return [
        _scanner(each, running)
        for each in bluetooth.async_current_scanners(hass)
        if each.connectable
    ]


def _scanner(scanner: BaseHaScanner, running: Mapping[str, Running]) -> Scanner:
    source = scanner.source
    allocations = scanner.get_allocations()
    if allocations is None or not allocations.slots:
        # No word of slots is not the same as none: most proxies report them on connecting.
        return Scanner(source, ASSUMED_SLOTS)
    taken = set(allocations.allocated)
    unnamed = allocations.slots - allocations.free - len(taken)
    unnamed -= sum(each.source == source for a, each in running.items() if a not in taken)
    taken.update(f"unnamed {number}" for number in range(unnamed))
    return Scanner(source, allocations.slots, taken)


@callback
def paths(hass: HomeAssistant, address: str, *, quiet_too: bool = False) -> Sequence[Path]:
    """Return the scanners that hear a device and can connect to it, with how well they do.

    None for a device that has stopped advertising, unless *quiet_too*: most likely another host
    is connected to it.
    """
    found = bluetooth.async_scanner_devices_by_address(hass, address, connectable=True)
    if not found or (not quiet_too and _is_quiet(hass, address, found)):
        return ()
    signals = sorted((each.advertisement.rssi for each in found), reverse=True)
    # Scored as Home Assistant does it, so that failures and links coming up count as well.
    difference = signals[0] - signals[1] if len(signals) > 1 else 0
    return [
        Path(each.scanner.source, each.score_connection_path(difference) if difference else signal)
        for each, signal in ((each, each.advertisement.rssi) for each in found)
    ]


def _is_quiet(hass: HomeAssistant, address: str, found: Sequence[BluetoothScannerDevice]) -> bool:
    info = bluetooth.async_last_service_info(hass, address, connectable=True)
    if info is None:
        return False
    return is_quiet(
        bluetooth.MONOTONIC_TIME() - info.time,
        bluetooth.async_get_learned_advertising_interval(hass, address),
        min(each.scanner.time_since_last_detection() for each in found),
    )
