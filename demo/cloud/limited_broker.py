"""A local broker that says no as AWS IoT Core does: by closing the connection."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import override

from .broker import HOST, START_TIMEOUT, STOP_TIMEOUT, BrokerError, LocalBroker, accepts, free_port
from .certificates import CERTIFICATE, PRIVATE_KEY
from .limits import Limits


class LimitedBroker(LocalBroker):
    """A `LocalBroker` with a `front` before it, whose ``limits`` can be changed at any time.

    The service behind the broker is not limited; it uses the ``listener_port``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        customer_id: int = 1,
        port: int = 0,
        settings: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> None:
        super().__init__(directory, customer_id=customer_id, port=port, settings=settings)
        self.listener_port = free_port()
        self._front: subprocess.Popen[bytes] | None = None
        self._limits_file = directory / "limits.json"
        self.limit(limits or Limits())

    def limit(self, limits: Limits) -> None:
        """Hold clients to other limits from now on, connected ones too."""
        written = self._limits_file.with_suffix(".new")
        written.write_text(json.dumps(limits.as_dict()))
        written.replace(self._limits_file)

    @property
    def refusals(self) -> Counter[str]:
        """What was refused or closed so far: ``"closed SUBSCRIBE boot/..."``, and how often."""
        path = self.directory / "front.log"
        return Counter(path.read_text(errors="replace").splitlines() if path.exists() else ())

    @override
    def start(self) -> None:
        """Start the broker, then the front."""
        super().start()
        if self._front is not None and self._front.poll() is None:
            return
        folder = self.authority.directory
        server, service = folder / "server", folder / "service"
        settings = self.directory / "front.json"
        settings.write_text(
            json.dumps(
                {
                    "host": HOST,
                    "port": self.port,
                    "inner_port": self.listener_port,
                    "ca": str(self.ca_file),
                    "revoked": str(self.authority.crl_file),
                    "server": [str(server / CERTIFICATE), str(server / PRIVATE_KEY)],
                    "service": [str(service / CERTIFICATE), str(service / PRIVATE_KEY)],
                    "limits": str(self._limits_file),
                }
            )
        )
        with (self.directory / "front.log").open("ab") as log:
            self._front = subprocess.Popen(
                [sys.executable, "-m", "demo.cloud.front", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not accepts(self.port):
            if self._front.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BrokerError("the front did not start; see front.log")
            time.sleep(0.02)

    @override
    def stop(self) -> None:
        """Stop both."""
        if self._front is not None:
            self._front.terminate()
            try:
                self._front.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._front.kill()
                self._front.wait()
            self._front = None
        super().stop()
