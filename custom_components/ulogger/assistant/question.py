"""What a tool is asked, and by whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import ServiceValidationError

from ..const import DOMAIN
from ..coordinator import DeviceCoordinator
from ..gateway.gateway import Gateway

LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Question:
    """One call of a tool; ``arguments`` went through its schema."""

    hass: HomeAssistant
    gateway: Gateway
    arguments: Mapping[str, Any]
    context: Context | None

    @property
    def devices(self) -> list[DeviceCoordinator]:
        """All devices of the account, or the one that is asked for.

        Raises ServiceValidationError, which names those there are, when there is no such one.
        """
        everyone = list(self.gateway.devices.values())
        serial = self.arguments.get("device")
        if serial is None:
            return everyone
        named = [each for each in everyone if each.identity.serial == serial]
        if not named:
            known = ", ".join(sorted(each.identity.serial for each in everyone)[:50])
            if not known:
                raise mistake("no_devices_yet", device=serial)
            raise mistake("no_such_device", device=serial, known=known)
        return named


def mistake(key: str, **placeholders: str) -> ServiceValidationError:
    """Return the error for a question that can't be answered as it was asked."""
    shown = {name: value[: LONGEST_NAME * 50] for name, value in placeholders.items()}
    return ServiceValidationError(
        translation_domain=DOMAIN, translation_key=key, translation_placeholders=shown
    )
