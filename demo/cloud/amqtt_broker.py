"""A broker in Python for machines without mosquitto: amqtt, in a process of its own.

It demands a client's certificate as mosquitto does here, but keeps nothing over a restart.
"""

import asyncio
import json
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, override

from .broker import HOST, START_TIMEOUT, BrokerError, LocalBroker
from .certificates import CERTIFICATE, PRIVATE_KEY


class AmqttBroker(LocalBroker):
    """A `LocalBroker` whose process runs amqtt; it knows none of mosquitto's ``settings``."""

    @override
    def start(self) -> None:
        """Start and wait until connections are accepted."""
        if self.running:
            return
        configuration = self.directory / "amqtt.json"
        server = self.authority.directory / "server"
        listener = {
            "type": "tcp",
            "bind": f"{HOST}:{self.port}",
            "ssl": True,
            "cafile": str(self.ca_file),
            "certfile": str(server / CERTIFICATE),
            "keyfile": str(server / PRIVATE_KEY),
        }
        configuration.write_text(
            json.dumps(
                {
                    "listeners": {"default": listener},
                    "plugins": {
                        "amqtt.plugins.authentication.AnonymousAuthPlugin": {
                            "allow_anonymous": True
                        }
                    },
                }
            )
        )
        with (self.directory / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.cloud.amqtt_broker", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )
        self._frozen = False
        deadline = time.monotonic() + START_TIMEOUT
        while not self._accepts():
            if self.pid is None or time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"amqtt did not start: {self.log[-500:]}")
            time.sleep(0.05)


async def serve(configuration: dict[str, Any]) -> None:
    """Run the broker until SIGTERM."""
    from amqtt.broker import Broker  # type: ignore[import-untyped]  # noqa: PLC0415

    class StrictBroker(Broker):  # type: ignore[misc]
        """Refuses clients without a certificate, which amqtt would let in."""

        @staticmethod
        @override
        def _create_ssl_context(listener: Any) -> ssl.SSLContext:
            context: ssl.SSLContext = Broker._create_ssl_context(listener)
            context.verify_mode = ssl.CERT_REQUIRED
            return context

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    broker = StrictBroker(configuration)
    await broker.start()
    await stopped.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
