"""A thing whose keys are gone: it is there, says so, and takes nothing."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, override

from ...model.capture import Capture
from ..destination import ConnectionState, Destination
from ..errors import CredentialsRefused


class Unprovisioned(Destination):
    """Stands where a thing would be until its keys are given again; captures wait meanwhile."""

    def __init__(self, destination_id: str, reason: str) -> None:
        self.id = destination_id
        self.reason = reason
        self.on_state: Callable[[ConnectionState], None] | None = None

    @property
    @override
    def state(self) -> ConnectionState:
        """Refused, as without credentials."""
        return ConnectionState.CREDENTIALS_REFUSED

    @override
    async def run(self) -> None:
        """Say how it stands, and wait."""
        if self.on_state is not None:
            self.on_state(self.state)
        await asyncio.get_running_loop().create_future()

    @override
    async def deliver(self, capture: Capture, capture_id: int) -> None:
        """Take nothing."""
        raise CredentialsRefused("the keys of this destination are gone")

    @override
    def diagnostics(self) -> Mapping[str, Any]:
        """Say why."""
        return {"keys": self.reason}
