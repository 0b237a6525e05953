"""What every destination of captures offers, and what some offer beside that."""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from ..capture.joining import Joined
from ..model.capture import Capture
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.log_config import LogConfig
from ..model.telemetry import Event, Metric, TextLine


class ConnectionState(StrEnum):
    """How a destination, or the transport under it, stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CREDENTIALS_REFUSED = "credentials_refused"
    CLIENT_ID_CONFLICT = "client_id_conflict"


class Destination(Protocol):
    """Somewhere that captures go: a cloud, or a directory.

    ``id`` is the same for as long as the destination exists: what it has of each capture is
    kept under it. ``on_state`` is called with each new state, ``on_denied`` when what it denies
    has changed.
    """

    id: str
    on_state: Callable[[ConnectionState], None] | None
    on_denied: Callable[[], None] | None = None

    @property
    def state(self) -> ConnectionState:
        """How it stands."""

    @property
    def connected(self) -> bool:
        """Whether a capture could be delivered now."""
        return self.state is ConnectionState.CONNECTED

    @property
    def denied_topics(self) -> Sequence[str]:
        """Topics that it denies: what belongs there waits, and is tried ever less often."""
        return ()

    async def run(self) -> None:
        """Keep up what delivering needs, until cancelled."""

    async def deliver(self, capture: Capture, capture_id: int) -> None:
        """Return once the destination has acknowledged the capture; raises CloudError.

        ``capture_id`` is the capture's in the outbox, the same each time it is tried.
        """

    def window(self, capture: Capture) -> int:
        """Return how many captures of a device may be under way at once, this one among them.

        More than one only where those sent first are acknowledged first.
        """
        return 1

    def ready(self, capture: Capture) -> bool:
        """Whether the capture could go at once; `prepare` makes it so."""
        return True

    async def prepare(self, capture: Capture) -> None:
        """Get what the capture needs before it can go; may take long; raises CloudError."""
        return

    def over_quota(self) -> Collection[DeviceKey]:
        """Name the devices whose logs must wait; their core dumps pass."""
        return ()

    async def forget(self, key: DeviceKey) -> None:
        """Forget what is known of a device."""
        return

    def forgive(self) -> None:
        """Try at once what was denied or refused: somebody has changed that."""
        return

    def diagnostics(self) -> Mapping[str, Any]:
        """Return what helps to find out why it fails; nothing in it is secret."""
        return {}


@runtime_checkable
class JoinsCaptures(Protocol):
    """A destination that counts messages and bytes, and takes captures of a device joined."""

    def join(self, before: Capture, captures: Sequence[Capture]) -> Joined | None:
        """Return one capture that says all that the first few of some say, if there is one.

        ``before`` is what the device gave right before them; it is sent right before them.
        """


@runtime_checkable
class RegistersDevices(Protocol):
    """A destination at which a device has to be registered before its logs can go."""

    def registered(self, device: DeviceIdentity) -> bool:
        """Whether this firmware of the device is known there."""

    async def register(self, device: DeviceIdentity) -> object:
        """Have the device registered unless it is; raises CloudError."""

    async def forget(self, key: DeviceKey) -> None:
        """Have a device registered again before its next log."""


@runtime_checkable
class SetsLogLevels(Protocol):
    """A destination that has wishes for the log levels of devices.

    ``on_log_config`` is called with each one, and whether it may have come before.
    """

    on_log_config: Callable[[DeviceKey, LogConfig, bool], None] | None

    async def follow_log_config(self, key: DeviceKey, identified_at: float = 0.0) -> None:
        """Listen for wishes for a device, over all reconnections; raises CloudError.

        Where only some can be listened for, those come first that were identified last.
        """

    def device_identified(self, key: DeviceKey, at: float) -> None:
        """Note when (Unix seconds) a device that is followed was identified."""

    async def unfollow_log_config(self, key: DeviceKey) -> None:
        """Listen for them no longer; raises CloudError."""


@runtime_checkable
class RejectsRecords(Protocol):
    """A destination that may leave out records of a capture and take the others."""

    rejected: int


@runtime_checkable
class TakesTextLogs(Protocol):
    """A destination that takes lines of text as a device's log."""

    async def publish_text_log(self, device: DeviceIdentity, lines: Sequence[TextLine]) -> None:
        """Return once all lines are acknowledged; raises CloudError."""


@runtime_checkable
class OffersRemoteAccess(Protocol):
    """A destination through which browsers reach this Home Assistant while a person wants that.

    Moments are in Unix seconds.
    """

    @property
    def remote_wanted(self) -> bool:
        """Whether a person wants it."""

    @property
    def remote_connected(self) -> bool:
        """Whether it is there."""

    @property
    def remote_url(self) -> str:
        """Where a browser finds it."""

    @property
    def remote_failure(self) -> tuple[str, float] | None:
        """Why it is not there though it is wanted, and since when."""

    @property
    def remote_token_expires_at(self) -> float | None:
        """Until when the tunnel's token is valid."""

    @property
    def remote_certificate_expires_at(self) -> float:
        """Until when the certificate is valid that browsers are shown."""

    @property
    def certificate_expires_at(self) -> float:
        """Until when the destination takes our own certificate."""

    async def want_remote(self, *, wanted: bool) -> None:
        """Have it from now on, or not any longer, over restarts too."""


@runtime_checkable
class TakesTelemetry(Protocol):
    """A destination that takes metrics and events, of any devices at once."""

    @property
    def takes_telemetry_now(self) -> bool:
        """Whether there is a way that could be tried now."""

    async def publish_metrics(self, metrics: Mapping[DeviceKey, Sequence[Metric]]) -> None:
        """Return once all are acknowledged; raises CloudError."""

    async def publish_events(self, events: Mapping[DeviceKey, Sequence[Event]]) -> None:
        """Return once all are acknowledged; raises CloudError."""
