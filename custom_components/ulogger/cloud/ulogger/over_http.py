"""uLogger by HTTP alone, for a customer without a certificate: metrics and events, no captures."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from ...model.identity import DeviceKey
from ...model.telemetry import Event, Metric
from ..errors import ApiTokenRefused, MessageRefused
from .http import HttpTelemetry
from .route import TelemetryRoute
from .samples import Kind, Message


class UloggerOverHttp:
    """Takes metrics and events of any devices; ``on_refused`` is called when its token is refused.

    Every method that publishes raises CloudError.
    """

    def __init__(self, http: HttpTelemetry) -> None:
        self.on_refused: Callable[[], None] | None = None
        self._route = TelemetryRoute(http, lambda: True)

    @property
    def takes_telemetry_now(self) -> bool:
        """Whether there is a way that could be tried now: there is no connection to wait for."""
        return True

    async def publish_metrics(self, metrics: Mapping[DeviceKey, Sequence[Metric]]) -> None:
        """Publish metrics of any devices."""
        await self._told(self._route.publish_metrics(metrics))

    async def publish_events(self, events: Mapping[DeviceKey, Sequence[Event]]) -> None:
        """Publish events of any devices."""
        await self._told(self._route.publish_events(events))

    async def _told(self, published: Awaitable[None]) -> None:
        try:
            await published
        except ApiTokenRefused:
            if self.on_refused is not None:
                self.on_refused()
            raise


async def check_token(http: HttpTelemetry) -> None:
    """Return if the API lets the token in; raises CloudError.

    It is asked with a message that holds nothing: a server that reads it refuses it.
    """
    with suppress(MessageRefused):
        await http.send(Kind.METRICS, 0, Message(b"{}"))
