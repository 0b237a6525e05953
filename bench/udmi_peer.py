"""UDMI's own Python library as a process of its own: sends what it is told to, and its cost.

It imports nothing of this project: it runs with UDMI's library, and what that asks for, on its
path. Each line of standard input names a case; the answer is a line with the processor's seconds,
once all of it is acknowledged.
"""

import argparse
import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

# Found where UDMI's repository is unpacked.
from udmi.core.factory import ClientConfig, create_device, get_default_managers  # type: ignore[import-not-found]
from udmi.core.logging.mqtt_handler import UDMIMqttLogHandler  # type: ignore[import-not-found]
from udmi.core.managers.system_manager import SystemManager  # type: ignore[import-not-found]
from udmi.core.messaging import TlsConfig  # type: ignore[import-not-found]
from udmi.schema import EndpointConfiguration, PointPointsetEvents, PointsetEvents  # type: ignore[import-not-found]


class Peer:
    """A device of the library's, connected."""

    def __init__(self, endpoint: dict[str, Any], ca: str, number: int) -> None:
        known = EndpointConfiguration.__dataclass_fields__
        self._config = EndpointConfiguration(**{k: v for k, v in endpoint.items() if k in known})
        self._number = number
        managers = get_default_managers()
        self.system = next(each for each in managers if isinstance(each, SystemManager))
        self.device = create_device(
            endpoint_config=self._config,
            managers=managers,
            client_config=ClientConfig(tls_config=TlsConfig(ca_certs=ca, enable_tls=True)),
            persistence_path="udmi-peer.json",
        )
        threading.Thread(target=self.device.run, daemon=True).start()
        self._logger = logging.getLogger("bench.door")
        self._logger.propagate = False
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(UDMIMqttLogHandler(self.system))

    @property
    def mqtt(self) -> Any:
        """The library's MQTT client, which knows what is not acknowledged yet."""
        return self.system._dispatcher.client._mqtt_client  # noqa: SLF001

    def wait_until_there(self) -> None:
        """Wait for the connection."""
        while self.system._dispatcher is None or not self.mqtt.is_connected():  # noqa: SLF001
            time.sleep(0.05)

    def send(self, case: str) -> None:
        """Send all, and return when all is acknowledged."""
        made = self._entry if case == "log_entries" else self._point
        for number in range(self._number):
            made(number)
        while self.mqtt._out_messages:  # noqa: SLF001
            time.sleep(0.002)

    def _entry(self, number: int) -> None:
        self._logger.warning("door %d opened after %.1f s by front door", number, number / 10)

    def _point(self, number: int) -> None:
        event = PointsetEvents(
            timestamp=datetime.now(UTC).isoformat(),
            version="1.5.7",
            partial_update=True,
            points={"battery": PointPointsetEvents(present_value=number)},
        )
        self.system.publish_event(event, "pointset")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("ca")
    parser.add_argument("number", type=int)
    options = parser.parse_args()
    peer = Peer(json.loads(options.endpoint), options.ca, options.number)
    peer.wait_until_there()
    time.sleep(1.0)
    print("ready", flush=True)
    for line in sys.stdin:
        if not (case := line.strip()):
            break
        began = time.process_time()
        peer.send(case)
        print(json.dumps(time.process_time() - began), flush=True)


if __name__ == "__main__":
    main()
