"""The broker of a local Pepeunit: mosquitto without retained messages, behind the gate."""

from ..cloud.broker import HOST, LocalBroker

LARGEST_PACKET = 256 * 1024


class PepeunitBroker(LocalBroker):
    """Takes whoever comes, from the gate, which knows who may do what."""

    def _configuration(self) -> list[str]:
        return [
            "user root",
            "allow_anonymous true",
            "retain_available false",
            f"max_packet_size {LARGEST_PACKET}",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            f"listener {self.port} {HOST}",
            *self.settings,
        ]
