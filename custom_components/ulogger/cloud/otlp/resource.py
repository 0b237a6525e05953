"""Who says something: a device, seen by a gateway."""

from dataclasses import dataclass
from typing import Any, Final

from ...model.identity import DeviceIdentity
from .values import attributes

SCOPE: Final = "ulogger"


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """Who sees the devices: this gateway's name, its version, and Home Assistant's."""

    name: str
    version: str
    home_assistant: str

    @property
    def scope(self) -> dict[str, Any]:
        """The instrumentation scope: what made records of captures."""
        return {"name": SCOPE, "version": self.version}

    def resource_of(self, device: DeviceIdentity) -> dict[str, Any]:
        """Return the resource of a device with the firmware that it runs."""
        return {
            "attributes": attributes(
                {
                    "service.name": device.device_type or "unknown_service",
                    "service.instance.id": device.serial,
                    "service.version": device.git_version,
                    "vcs.ref.head.revision": device.git_hash,
                    "ulogger.application_id": device.application_id,
                    "ulogger.gateway.name": self.name,
                    "ulogger.gateway.version": self.version,
                    "home_assistant.version": self.home_assistant,
                }
            )
        }
