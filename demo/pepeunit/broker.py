"""The broker of a local Pepeunit: mosquitto without retained messages, behind the gate."""

from pathlib import Path

from ..cloud.broker import HOST, LocalBroker
from ..cloud.certificates import CERTIFICATE, PRIVATE_KEY
from ..ports import free_port

LARGEST_PACKET = 256 * 1024


class PepeunitBroker(LocalBroker):
    """Takes whoever comes from the gate, which knows who may do what.

    ``with_tls`` adds a port with TLS, which the gate does not stand before.
    """

    def __init__(self, directory: Path, *, with_tls: bool = False) -> None:
        """Prepare; nothing runs yet."""
        super().__init__(directory)
        self.tls_port = free_port() if with_tls else None

    def _configuration(self) -> list[str]:
        server = self.authority.directory / "server"
        tls = [
            f"listener {self.tls_port} {HOST}",
            f"cafile {self.authority.ca_file}",
            f"certfile {server / CERTIFICATE}",
            f"keyfile {server / PRIVATE_KEY}",
        ]
        return [
            "user root",
            "allow_anonymous true",
            "retain_available false",
            f"max_packet_size {LARGEST_PACKET}",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "persistence true",
            f"persistence_location {self.directory}/",
            "autosave_interval 0",
            f"listener {self.port} {HOST}",
            *(tls if self.tls_port else ()),
            *self.settings,
        ]
