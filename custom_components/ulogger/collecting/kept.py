"""What a device's sessions leave behind that outlives a reload of its account, not a restart."""

from collections import deque
from dataclasses import dataclass, field

from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.singleton import singleton

from ..agent.memory import TransferMemory
from ..const import DOMAIN
from ..model.identity import DeviceKey
from .device_state import SessionRecord
from .shown_upload import Shown

TIMELINE_LENGTH = 50


@dataclass(slots=True)
class Kept:
    """The unfinished transfer of one device, its last sessions, and the upload that is shown.

    ``live_until``: until when it is followed once its account is loaded again, on the loop's clock.
    """

    memory: TransferMemory = field(default_factory=TransferMemory)
    timeline: deque[SessionRecord] = field(default_factory=lambda: deque(maxlen=TIMELINE_LENGTH))
    upload: Shown = field(default_factory=Shown)
    live_until: float = 0.0


@callback
def kept(hass: HomeAssistant, entry_id: str, key: DeviceKey) -> Kept:
    """Return what is kept of a device; its outbox may be another one than before."""
    found = _kept(hass).setdefault(entry_id, {}).setdefault(key, Kept())
    found.memory.outbox_opened()
    return found


@callback
def forget_kept(hass: HomeAssistant, entry_id: str, key: DeviceKey | None = None) -> None:
    """Forget what is kept of a device, or of all devices of an account."""
    if key is None:
        _kept(hass).pop(entry_id, None)
    else:
        _kept(hass).get(entry_id, {}).pop(key, None)


@singleton(f"{DOMAIN}.kept")
def _kept(hass: HomeAssistant) -> dict[str, dict[DeviceKey, Kept]]:
    """Return what is kept, by account; there is one for all of Home Assistant."""
    return {}
