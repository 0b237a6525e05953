"""The published client of Pepeunit as another unit on the same broker, with its own files."""

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pepeunit_client import PepeunitClient  # type: ignore[import-untyped]
from pepeunit_client.enums import RestartMode  # type: ignore[import-untyped]

from demo.pepeunit.service import LocalPepeunit
from demo.pepeunit.units import Unit


class Peer:
    """Another unit: what it hears on its inputs stands in ``heard``."""

    def __init__(self, pepeunit: LocalPepeunit, unit: Unit) -> None:
        """Write its files, as a person downloads them."""
        self.unit = unit
        self.heard: list[tuple[str, str]] = []
        self._place = tempfile.TemporaryDirectory(prefix="ulogger-peer-")
        place = Path(self._place.name)
        self.env_file, self.schema_file = place / "env.json", place / "schema.json"
        self.env_file.write_text(json.dumps(pepeunit.env(unit)))
        self.schema_file.write_text(json.dumps(unit.schema()))
        self.client: Any = PepeunitClient(
            str(self.env_file),
            str(self.schema_file),
            str(place / "log.json"),
            enable_mqtt=True,
            enable_rest=False,
            restart_mode=RestartMode.NO_RESTART,
            ff_console_log_enable=False,
        )
        self.client.set_mqtt_input_handler(self._take)

    def _take(self, _client: Any, message: Any) -> None:
        self.heard.append((message.topic, message.payload))

    async def __aenter__(self) -> Self:
        """Connect."""
        await asyncio.to_thread(self.client.mqtt_client.connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await asyncio.to_thread(self.client.mqtt_client.disconnect)
        self._place.cleanup()

    def publish(self, name: str, value: str) -> None:
        """Give one of its outputs a value."""
        self.client.publish_to_topics(name, value)

    async def wait_until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        """Wait until a condition holds; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - another thread makes it true
                await asyncio.sleep(0.01)
