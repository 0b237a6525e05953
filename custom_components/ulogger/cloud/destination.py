"""What every destination of captures must offer."""

from enum import StrEnum
from typing import Protocol

from ..model.capture import Capture
from ..model.identity import DeviceKey


class ConnectionState(StrEnum):
    """How a transport stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CREDENTIALS_REFUSED = "credentials_refused"
    CLIENT_ID_CONFLICT = "client_id_conflict"


class Cloud(Protocol):
    """A cloud that takes captures."""

    @property
    def connected(self) -> bool:
        """Whether a capture could be delivered now."""

    def ready(self, capture: Capture) -> bool:
        """Whether the capture could go at once; `prepare` makes it so."""
        return True

    async def prepare(self, capture: Capture) -> None:
        """Get what the capture needs before it can go; may take long; raises CloudError."""

    async def deliver(self, capture: Capture) -> None:
        """Return once the cloud has acknowledged the capture; raises CloudError."""

    async def forget(self, key: DeviceKey) -> None:
        """Forget what is known of a device."""
