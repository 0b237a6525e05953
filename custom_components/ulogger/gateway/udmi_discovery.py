"""What a gateway finds around it: advertisements, and who stands behind them if that is known."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from homeassistant.components import bluetooth
from homeassistant.components.bluetooth import (
    BluetoothCallbackMatcher,
    BluetoothChange,
    BluetoothScanningMode,
    BluetoothServiceInfoBleak,
)
from homeassistant.components.bluetooth.models import BluetoothCallbackReplay
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.event import async_track_time_interval

from ..account.store import DeviceRecord
from ..cloud.udmi.family_scan import Found, ScanFailed
from ..cloud.udmi.localnet import address
from ..cloud.udmi.points import REFERENCE
from ..const import MANUFACTURER
from ..model.plain_text import one_line

BLE: Final = "ble"
IOT: Final = "iot"
LOOK_EVERY: Final = timedelta(seconds=10)
"""Home Assistant tells of an advertisement that is always the same only once."""
LONGEST_NAME: Final = 64

type Known = Callable[[str], DeviceRecord | None]
"""Returns the device of the account that is at an address."""
type Points = Mapping[str, Mapping[str, Any]]
"""Points as an enumeration has them."""


class BleScanner:
    """Listens to advertisements, and sends nothing.

    ``known`` returns the device at an address, ``proxy_of`` its ID at the site and ``points_of``
    its points.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        known: Known,
        proxy_of: Callable[[DeviceRecord], str],
        points_of: Callable[[str], Points],
    ) -> None:
        self._hass = hass
        self._known = known
        self._proxy_of = proxy_of
        self._points_of = points_of

    @callback
    def listen(self, found: Callable[[Found], None]) -> Callable[[], None]:
        """Tell of what has been heard lately and of what is heard from now on.

        Ends when what is returned is called; raises ScanFailed.
        """
        if not bluetooth.async_scanner_count(self._hass, connectable=False):
            raise ScanFailed("this Home Assistant has no Bluetooth adapter and no proxy of one")
        heard: dict[str, float] = {}

        @callback
        def advertised(info: BluetoothServiceInfoBleak, _change: BluetoothChange) -> None:
            heard[info.address] = info.time
            found(self._found(info))

        @callback
        def look(_now: datetime | None = None) -> None:
            present = list(bluetooth.async_discovered_service_info(self._hass, connectable=False))
            for info in present:
                if heard.get(info.address, -1.0) < info.time:
                    heard[info.address] = info.time
                    found(self._found(info))
            for gone in heard.keys() - {info.address for info in present}:
                del heard[gone]

        look()
        ends = [
            bluetooth.async_register_callback(
                self._hass,
                advertised,
                BluetoothCallbackMatcher(connectable=False),
                BluetoothScanningMode.PASSIVE,
                replay=BluetoothCallbackReplay.DISABLED,
            ),
            async_track_time_interval(self._hass, look, LOOK_EVERY, cancel_on_shutdown=True),
        ]

        @callback
        def stop() -> None:
            while ends:
                ends.pop()()

        return stop

    def _found(self, info: BluetoothServiceInfoBleak) -> Found:
        ancillary: dict[str, Any] = {"rssi": info.rssi}
        system: dict[str, Any] = {"ancillary": ancillary}
        if info.name and info.name != info.address:
            system["name"] = one_line(info.name, LONGEST_NAME)
        if (record := self._known(info.address)) is None:
            return Found(info.address, system=system)
        identity = record.identity
        system["serial_no"] = identity.serial
        if identity.device_type:
            system["hardware"] = {"make": MANUFACTURER, "model": identity.device_type}
        ancillary |= {
            name: said
            for name, said in (
                ("application_id", identity.application_id),
                ("device_type", identity.device_type),
                ("firmware", identity.git_version),
                ("git_hash", identity.git_hash),
            )
            if said
        }
        proxy_id = self._proxy_of(record)
        return Found(
            info.address,
            families={IOT: proxy_id},
            system=system,
            refs=references(self._points_of(proxy_id)),
        )


def references(points: Points) -> dict[str, dict[str, Any]]:
    """Return points by what they are called here, as discovery tells of them."""
    found: dict[str, dict[str, Any]] = {}
    for name, point in points.items():
        reference = point.get("ref") or name
        if REFERENCE.fullmatch(reference):
            told = {key: point[key] for key in ("units", "writable") if key in point}
            found[reference] = {"point": name, **told}
    return found


@callback
def adapter_address(hass: HomeAssistant) -> str:
    """Return the address of a Bluetooth adapter here; empty where there is none."""
    for scanner in bluetooth.async_current_scanners(hass):
        if scanner.source.count(":") == 5 and (found := address(scanner.source)):
            return found
    return ""
