"""What a device says of itself when it is asked, and of what it finds around it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from .block import Changed, Clock, Now, PublishEvent
from .family_scan import DEPTHS, FamilyScan, Listen
from .generations import read_generation
from .localnet import FAMILY, in_families

MOST_FAMILIES: Final = 20
PROXIED: Final = {"resource_type": "PROXIED"}
STABLE: Final = {"stage": "stable"}
OF_ALL: Final = ("enumeration", "enumeration.families", "enumeration.features")
GATEWAY_FEATURES: Final[Mapping[str, Mapping[str, str]]] = dict.fromkeys(
    (*OF_ALL, "discovery", "discovery.scan", "endpoint.config", "gateway", "system.mode"), STABLE
)
PROXY_FEATURES: Final[Mapping[str, Mapping[str, str]]] = dict.fromkeys(
    (*OF_ALL, "enumeration.pointset", "pointset", "writeback"), STABLE
)
"""What gateways and proxies offer, by the names that UDMI's tests have for it."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a device can say of itself: its addresses, features and points as messages have them.

    ``proxies`` are the IDs of the devices that it speaks for.
    """

    families: Callable[[], Mapping[str, str]] = field(default=dict)
    features: Callable[[], Mapping[str, Any]] = field(default=dict)
    points: Callable[[], Mapping[str, Any]] = field(default=dict)
    proxies: Callable[[], Iterable[str]] = tuple


class Discovery:
    """The block ``discovery`` of one device. ``scanners`` are the families that it can scan."""

    name = "discovery"

    def __init__(
        self,
        scanners: Mapping[str, Listen],
        inventory: Inventory,
        *,
        changed: Changed,
        publish: PublishEvent,
        clock: Clock,
        now: Now,
    ) -> None:
        self._scanners = scanners
        self._inventory = inventory
        self._changed = changed
        self._publish = publish
        self._clock = clock
        self._now = now
        # Generations are often cut to seconds.
        self._began = now().replace(microsecond=0)
        self._families: dict[str, FamilyScan] = {}
        self._listed: list[str] | None = None
        self._generation = ""
        self._told: datetime | None = None

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Take what is to be scanned and told."""
        config = config or {}
        families = config.get("families")
        self._listed = None
        if isinstance(families, Mapping):
            listed = [each for each in families if FAMILY.fullmatch(each)]
            self._listed = listed[:MOST_FAMILIES]
        for name, scan in list(self._families.items()):
            if name not in (self._listed or ()):
                scan.configure({})
                # What was scanned is remembered of families that can be, and of no made-up ones.
                if name not in self._scanners:
                    del self._families[name]
        for name in self._listed or ():
            self._family(name).configure(config["families"][name])
        self._enumerate(config)
        self._changed()

    def _family(self, name: str) -> FamilyScan:
        if (found := self._families.get(name)) is None:
            found = self._families[name] = FamilyScan(
                name,
                self._scanners.get(name),
                changed=self._changed,
                publish=self._publish,
                clock=self._clock,
                now=self._now,
                began=self._began,
            )
        return found

    def _enumerate(self, config: Mapping[str, Any]) -> None:
        """Say once for each generation what the device is."""
        try:
            generation, self._generation = read_generation(config.get("generation"))
        except ValueError:
            self._generation = ""
            return
        if generation < self._began or generation == self._told:
            return
        self._told = generation
        wanted = config.get("enumerations")
        depths = wanted if isinstance(wanted, Mapping) else {}
        event: dict[str, Any] = {"generation": self._generation}
        if _asked(depths, "families"):
            event["families"] = in_families(self._inventory.families())
        if _asked(depths, "features"):
            event["features"] = dict(self._inventory.features())
        if _asked(depths, "points"):
            event["points"] = dict(self._inventory.points())
        if _asked(depths, "devices"):
            event["devices"] = {each: dict(PROXIED) for each in self._inventory.proxies()}
        self._publish(self.name, event)

    def state(self) -> Mapping[str, Any] | None:
        """Return how the families stand that the config lists; None without any."""
        state: dict[str, Any] = {}
        if self._generation:
            state["generation"] = self._generation
        if self._listed is not None:
            state["families"] = {name: self._families[name].state() for name in self._listed}
        return state or None

    def wake_at(self) -> float | None:
        """Return when a scan begins or ends."""
        moments = [at for each in self._families.values() if (at := each.wake_at()) is not None]
        return min(moments, default=None)

    def wake(self) -> None:
        """Begin and end scans."""
        for each in self._families.values():
            each.wake()

    def close(self) -> None:
        """Listen no longer."""
        for each in self._families.values():
            each.close()


def _asked(depths: Mapping[str, Any], what: str) -> bool:
    return isinstance(depths.get(what), str) and depths[what] in DEPTHS
