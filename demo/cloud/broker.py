"""A real MQTT broker (mosquitto) with mutual TLS on a loopback port, to be treated badly."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..ports import free_port
from .certificates import CERTIFICATE, PRIVATE_KEY, Authority, Issued

HOST = "127.0.0.1"
START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0


class BrokerError(Exception):
    """The broker can't be started."""


class LocalBroker:
    """A mosquitto process of our own.

    ``directory`` gets certificates, configuration and what the broker keeps; with the same
    directory the same certificates are used again. The port stays the same over restarts.
    Every method blocks for some milliseconds; ``async with`` and the methods whose names
    begin with *a* do the same without blocking the loop. ``settings`` are further lines of
    mosquitto's configuration.
    """

    host = HOST

    def __init__(
        self,
        directory: Path,
        *,
        customer_id: int = 1,
        port: int = 0,
        settings: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.authority = Authority(directory / "certificates", customer_id)
        self.customer_id = customer_id
        self.port = port or free_port()
        self.settings = list(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False

    # What a customer is given

    @property
    def ca(self) -> str:
        """PEM of the authority that a client must trust."""
        return self.authority.ca

    @property
    def ca_file(self) -> Path:
        """Where that PEM stands."""
        return self.authority.ca_file

    @property
    def customer(self) -> Issued:
        """The customer's certificate and key."""
        return self.authority.customer

    @property
    def customer_files(self) -> tuple[Path, Path]:
        """Where the customer's certificate and key stand."""
        folder = self.authority.directory / "customer"
        return folder / CERTIFICATE, folder / PRIVATE_KEY

    @property
    def download(self) -> bytes:
        """The customer's certificate download (a zip)."""
        return self.customer.download()

    def client_context(self, issued: Issued | None = None) -> ssl.SSLContext:
        """Return a TLS context for a client of ours, the service's by default."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        folder = self.authority.directory / "service"
        if issued is not None:
            folder = self.directory / "clients" / str(abs(hash(issued)))
            issued.write(folder)
        context.load_cert_chain(folder / CERTIFICATE, folder / PRIVATE_KEY)
        return context

    # Life

    @property
    def running(self) -> bool:
        """Whether the process lives (frozen or not)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def log(self) -> str:
        """What the broker wrote so far."""
        return (self.directory / "broker.log").read_text(errors="replace")

    def start(self) -> None:
        """Start and wait until connections are accepted."""
        if self.running:
            return
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise BrokerError("mosquitto is not installed (Debian: apt install mosquitto)")
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text("\n".join(self._configuration()) + "\n")
        with (self.directory / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-v", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._frozen = False
        deadline = time.monotonic() + START_TIMEOUT
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"mosquitto did not start: {self.log[-500:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop; what is queued for lasting sessions is kept for the next start."""
        if self._process is None:
            return
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End at once, as a power cut would: what was not saved is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._frozen = False

    def restart(self) -> None:
        """Stop, and start again on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Hold the process: connections stay open and nothing answers."""
        if self._process is not None and not self._frozen:
            self._process.send_signal(signal.SIGSTOP)
            self._frozen = True

    def thaw(self) -> None:
        """Let a frozen process go on."""
        if self._process is not None and self._frozen:
            self._process.send_signal(signal.SIGCONT)
            self._frozen = False

    def refuse_customer(self) -> None:
        """Revoke the customer's certificate from now on (restarts)."""
        self.authority.revoke(self.customer.certificate)
        self.restart()

    def accept_customer(self) -> None:
        """Take the customer's certificate again (restarts)."""
        self.authority.crl_file.unlink(missing_ok=True)
        self.restart()

    async def astart(self) -> None:
        """Start, as `start`."""
        await asyncio.to_thread(self.start)

    async def astop(self) -> None:
        """Stop, as `stop`."""
        await asyncio.to_thread(self.stop)

    async def akill(self) -> None:
        """End at once, as `kill`."""
        await asyncio.to_thread(self.kill)

    async def arestart(self) -> None:
        """Restart, as `restart`."""
        await asyncio.to_thread(self.restart)

    async def arefuse_customer(self) -> None:
        """Refuse the customer, as `refuse_customer`."""
        await asyncio.to_thread(self.refuse_customer)

    async def aaccept_customer(self) -> None:
        """Accept the customer, as `accept_customer`."""
        await asyncio.to_thread(self.accept_customer)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.astart()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.astop()

    def _configuration(self) -> list[str]:
        server = self.authority.directory / "server"
        lines = [
            "user root",  # else it gives up the right to read its own certificates
            f"listener {self.port} {HOST}",
            f"cafile {self.ca_file}",
            f"certfile {server / CERTIFICATE}",
            f"keyfile {server / PRIVATE_KEY}",
            "require_certificate true",
            "use_identity_as_username true",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "persistence true",
            f"persistence_location {self.directory}/",
            "autosave_interval 0",
            *self.settings,
        ]
        if self.authority.crl_file.exists():
            lines.append(f"crlfile {self.authority.crl_file}")
        return lines

    def _accepts(self) -> bool:
        return listens(self.port)


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections on a loopback port.

    While nobody does, a client that is given this very port for its own end meets itself.
    """
    try:
        with socket.create_connection((HOST, port), 0.5) as client:
            met_itself: bool = client.getsockname() == client.getpeername()
            return not met_itself
    except OSError:
        return False
