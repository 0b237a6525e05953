"""The application that serves those who come through a tunnel, in front of Home Assistant's own.

Home Assistant trusts addresses: those at home may use local-only users and local webhooks, trusted
networks log in without a password, proxies may name another address. Its own cloud escapes that by
a mark that only works while the cloud integration is loaded and is not ours to set. So a tunnel
ends in a server of its own. What comes keeps its true address, by which Home Assistant counts
failed logins and bans; and whoever comes with an address that Home Assistant would trust for
anything is not let through at all, since no such address has business in a tunnel.
"""

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import hdrs, web
from aiohttp.web_request import BaseRequest
from homeassistant.components import onboarding
from homeassistant.core import HomeAssistant, callback
from homeassistant.util.network import is_local

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

FORWARDED = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, hdrs.X_FORWARDED_HOST, hdrs.X_FORWARDED_PROTO)
TRUSTED_NETWORKS = "trusted_networks"


class RemoteGuard:
    """Lets requests from a tunnel through to Home Assistant, or refuses them and counts why."""

    def __init__(self, hass: HomeAssistant) -> None:
        self.hass = hass
        self.counters: Counter[str] = Counter()

    @callback
    def make_server(self) -> web.Server | None:
        """Return a server for one tunnel, None while Home Assistant's own is not there."""
        runner = self.hass.http.runner
        if runner is None or (inner := runner.server) is None:
            return None

        async def handle(request: BaseRequest) -> web.StreamResponse:
            if (why := self.refusal(request)) is not None:
                self.counters[why] += 1
                return web.Response(status=HTTPStatus.FORBIDDEN, text=f"Refused: {_WORDS[why]}\n")
            self.counters["passed"] += 1
            return await inner.request_handler(request)

        return web.Server(handle, request_factory=inner.request_factory, handler_cancellation=True)

    @callback
    def refusal(self, request: BaseRequest) -> str | None:
        """Say why a request must not pass, None for one that may."""
        try:
            given = ip_address(request.remote or "")
        except ValueError:
            return "no_address"
        if not onboarding.async_is_onboarded(self.hass):
            return "not_onboarded"
        address = _plain(given)
        if is_local(address) or address.is_unspecified:
            return "local_address"
        if any(address in network or given in network for network in self._trusted()):
            return "trusted_address"
        if any(name in request.headers for name in FORWARDED):
            return "forwarded"
        return None

    def _trusted(self) -> Iterator[Network]:
        """Go through every network whose addresses Home Assistant trusts for something."""
        for provider in self.hass.auth.auth_providers:
            if provider.type == TRUSTED_NETWORKS:
                yield from provider.trusted_networks  # type: ignore[attr-defined]
        yield from self.hass.http.trusted_proxies


def _plain(address: Address) -> Address:
    """Return the IPv4 address that stands in an IPv6 one."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


_WORDS = {
    "no_address": "the tunnel does not say where this request is from.",
    "not_onboarded": "this Home Assistant is not set up yet.",
    "local_address": "this request has an address of a home network. Use the local address there.",
    "trusted_address": "this address is trusted at home, and nobody is trusted through a tunnel.",
    "forwarded": "requests through the tunnel must not name another address.",
}
