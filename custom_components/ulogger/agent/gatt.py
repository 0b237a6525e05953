"""The agent's GATT table, and what a session asks of a Bluetooth client."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

SERVICE: Final = "691fe31f-1a06-4c7c-88c7-0993ec53f40c"
LOG_DATA: Final = "1828e769-1420-4363-ab28-04037d9ff755"
CORE_DUMP_DATA: Final = "15b0fba5-59f9-4f25-bbd4-dd70ba04c6da"
LOG_ACK: Final = "3828e769-1420-4363-ab28-04037d9ff755"
CONFIG: Final = "3ad8119d-8f9d-4297-9302-aa56f2283a72"
LOG_CONFIG: Final = "5828e769-1420-4363-ab28-04037d9ff755"
RSSI: Final = "7828e769-1420-4363-ab28-04037d9ff755"

NAMES: Final = {
    LOG_DATA: "log_data",
    CORE_DUMP_DATA: "core_dump_data",
    LOG_ACK: "log_ack",
    CONFIG: "config",
    LOG_CONFIG: "log_config",
    RSSI: "rssi",
}
"""What the characteristics are called in messages."""

type NotifyCallback = Callable[[Any, bytearray], None]


class Characteristic(Protocol):
    """The part of a characteristic that a session reads."""

    @property
    def uuid(self) -> str:
        """The 128-bit UUID, lower-case."""
        ...

    @property
    def properties(self) -> Sequence[str]:
        """Names such as ``write`` and ``write-without-response``."""
        ...


class GattClient(Protocol):
    """A connected Bluetooth client; bleak's ``BleakClient`` is one.

    A client may also have ``set_connection_params(min_interval, max_interval, latency,
    timeout)`` (habluetooth's wrapper has): intervals in units of 1.25 ms, timeout in 10 ms.
    """

    @property
    def is_connected(self) -> bool:
        """Whether the link is up."""
        ...

    @property
    def services(self) -> Any:
        """The GATT table: ``get_characteristic(uuid)`` gives a Characteristic or None."""
        ...

    @property
    def mtu_size(self) -> int:
        """The ATT MTU in bytes."""
        ...

    def start_notify(self, char_specifier: Any, callback: NotifyCallback, /) -> Awaitable[None]:
        """Call back with every notification of a characteristic."""
        ...

    def stop_notify(self, char_specifier: Any, /) -> Awaitable[None]:
        """End the notifications."""
        ...

    def read_gatt_char(self, char_specifier: Any, /) -> Awaitable[bytearray]:
        """Read a value."""
        ...

    def write_gatt_char(
        self, char_specifier: Any, data: bytes, /, *, response: bool | None = None
    ) -> Awaitable[None]:
        """Write a value, as a request (acknowledged) or as a command."""
        ...
