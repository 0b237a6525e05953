"""The topics of a gateway and its proxies."""

from typing import Final, NamedTuple

CONFIG: Final = "config"
COMMANDS: Final = "commands"
ERRORS: Final = "errors"
STATE: Final = "state"


class Heard(NamedTuple):
    """What a topic is: of which device, which kind, and the rest, such as a command's name."""

    device_id: str
    kind: str
    rest: str


class Topics:
    """The topics below one prefix, which begins with a slash and ends without one."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def filters(self, device_id: str) -> tuple[str, str, str]:
        """Return what a device listens to: its config first."""
        of_device = f"{self._prefix}/{device_id}"
        return f"{of_device}/{CONFIG}", f"{of_device}/{COMMANDS}/#", f"{of_device}/{ERRORS}"

    def state(self, device_id: str) -> str:
        """Return where a device publishes its state."""
        return f"{self._prefix}/{device_id}/{STATE}"

    def events(self, device_id: str, subfolder: str) -> str:
        """Return where a device publishes events of a kind."""
        return f"{self._prefix}/{device_id}/events/{subfolder}"

    def attach(self, device_id: str) -> str:
        """Return where the gateway says that it speaks for a device."""
        return f"{self._prefix}/{device_id}/attach"

    def detach(self, device_id: str) -> str:
        """Return where the gateway says that it does so no longer."""
        return f"{self._prefix}/{device_id}/detach"

    def heard(self, topic: str) -> Heard | None:
        """Say what a message came on, None for a topic of somebody else's."""
        if not topic.startswith(f"{self._prefix}/"):
            return None
        device_id, _, rest = topic[len(self._prefix) + 1 :].partition("/")
        kind, _, rest = rest.partition("/")
        if not device_id or kind not in (CONFIG, COMMANDS, ERRORS):
            return None
        return Heard(device_id, kind, rest)
