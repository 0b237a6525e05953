"""The broker of a local site: mosquitto, behind the gate that knows who may come in."""

from ..cloud.broker import HOST, LocalBroker


class SiteBroker(LocalBroker):
    """Takes whoever comes from the gate, and keeps what the site has not heard yet."""

    def _configuration(self) -> list[str]:
        return [
            "user root",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "persistence true",
            f"persistence_location {self.directory}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            f"listener {self.port} {HOST}",
            *self.settings,
        ]
