"""The devices that a gateway speaks for, and what a device says of how it is reached."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final

from ...model.backoff import Backoff, never
from .block import Changed, Clock, Now
from .localnet import Addresses, address
from .status import Severity, make_status

ATTACH: Final = "gateway.setup.attach"
TARGET: Final = "gateway.proxy.target"
CONNECT: Final = "gateway.proxy.connect"
DEVICE_ID: Final = re.compile(r"[A-Z]{2,6}-[1-9][0-9]*")
MOST_NAMED: Final = 5
RETRY: Final = Backoff(15.0, 600.0, never)

type Tell = Callable[[Mapping[str, Any]], None]
"""Has an entry stand in the log of a device."""


class Proxies:
    """The block ``gateway`` of the gateway: which of its devices are attached.

    A config that lists devices says which; without a list all that ``known`` names are attached.
    ``on_attach`` and ``on_detach`` are called with a device's ID, the first one again after a
    failure. Whoever keeps the connection attaches all of `attached` anew after each reconnection.
    """

    name = "gateway"

    def __init__(
        self,
        known: Collection[str],
        *,
        on_attach: Callable[[str], None],
        on_detach: Callable[[str], None],
        changed: Changed,
        clock: Clock,
        now: Now,
        tell: Tell = lambda _entry: None,
    ) -> None:
        self.attached: list[str] = []
        self._known = known
        self._on_attach = on_attach
        self._on_detach = on_detach
        self._changed = changed
        self._clock = clock
        self._now = now
        self._tell = tell
        self._refused: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._again: dict[str, float] = {}
        self._status: Mapping[str, Any] | None = None

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Attach what is listed and known, detach the rest, report what nobody knows."""
        listed = None if config is None else config.get("proxy_ids")
        self._refused = {name: why for name, why in self._refused.items() if name in self._failures}
        if listed is None:
            wanted = list(self._known)
        elif isinstance(listed, list):
            wanted = self._of_these(listed)
        else:
            self._refused["proxy_ids"] = "the config's proxy_ids is no list"
            wanted = list(self.attached)
        for name in [each for each in self.attached if each not in wanted]:
            self.attached.remove(name)
            self._forget(name)
            self._on_detach(name)
        for name in wanted:
            if name not in self.attached:
                self.attached.append(name)
                self._on_attach(name)
        self._report()

    def _of_these(self, listed: list[Any]) -> list[str]:
        wanted: list[str] = []
        for each in listed:
            if isinstance(each, str) and each in self._known:
                if each not in wanted:
                    wanted.append(each)
            elif isinstance(each, str) and DEVICE_ID.fullmatch(each):
                self._refused[each] = f"no device of this gateway is {each}"
            else:
                self._refused[str(each)[:64]] = f"{str(each)[:64]!r} is no ID of a device"
        return wanted

    def failed(self, device_id: str, why: str) -> None:
        """Note that the broker did not attach a device; it is tried again later."""
        if device_id not in self.attached:
            return
        count = self._failures[device_id] = self._failures.get(device_id, 0) + 1
        self._again[device_id] = self._clock() + RETRY.delay(count)
        self._refused[device_id] = f"{device_id} could not be attached: {why}"
        self._report()

    def worked(self, device_id: str) -> None:
        """Note that a device is attached: something came for it."""
        if device_id in self._failures:
            self._forget(device_id)
            self._report()

    def _forget(self, device_id: str) -> None:
        for each in (self._failures, self._again, self._refused):
            each.pop(device_id, None)

    def _report(self) -> None:
        before = self._status
        named = list(self._refused.values())[:MOST_NAMED]
        text = "; ".join(named)
        if more := len(self._refused) - len(named):
            text += f"; and {more} more"
        if (before["message"] if before else "") != text:
            self._status = None
            if text:
                self._status = make_status(text, ATTACH, Severity.ERROR, self._now())
                self._tell(self._status)
        self._changed()

    def state(self) -> Mapping[str, Any]:
        """Return what is wrong with attaching devices."""
        return {} if self._status is None else {"status": self._status}

    def wake_at(self) -> float | None:
        """Return when a device that could not be attached is to be tried again."""
        return min(self._again.values(), default=None)

    def wake(self) -> None:
        """Try again what could not be attached."""
        clock = self._clock()
        for name in [name for name, at in self._again.items() if at <= clock]:
            del self._again[name]
            self._on_attach(name)


class Target:
    """The block ``gateway`` of a proxied device: whether the gateway reaches it.

    A site may say where it believes the device to be; what does not fit is reported.
    """

    name = "gateway"

    def __init__(self, addresses: Addresses, *, changed: Changed, now: Now) -> None:
        self._addresses = addresses
        self._changed = changed
        self._now = now
        self._wrong: Mapping[str, Any] | None = None
        self._away: Mapping[str, Any] | None = None

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Compare where the device should be with where it is."""
        problem = self._problem((config or {}).get("target"))
        before = self._wrong
        if not problem:
            self._wrong = None
        elif before is None or before["message"] != problem:
            self._wrong = make_status(problem, TARGET, Severity.ERROR, self._now())
        if self._wrong is not before:
            self._changed()

    def _problem(self, target: Any) -> str:
        if target is None:
            return ""
        if not isinstance(target, Mapping):
            return "The target is no object"
        addresses = self._addresses()
        family, place = target.get("family"), target.get("addr")
        if family is not None and not (isinstance(family, str) and family in addresses):
            return f"The device is not in the family {str(family)[:64]!r}"
        if place is None:
            return ""
        of_family = [addresses[family]] if family is not None else addresses.values()
        ours = {address(each) for each in of_family}
        if not isinstance(place, str) or address(place) not in ours:
            return f"The device is not at {str(place)[:64]!r}"
        return ""

    def unreachable(self, why: str) -> None:
        """Note why the device is out of reach; empty when it is back."""
        if why != (self._away["message"] if self._away else ""):
            at = self._now()
            self._away = make_status(why, CONNECT, Severity.ERROR, at) if why else None
            self._changed()

    def state(self) -> Mapping[str, Any]:
        """Return what is wrong with the target, or why the device is out of reach."""
        status = self._wrong or self._away
        return {} if status is None else {"status": status}

    def wake_at(self) -> float | None:
        """Return None."""
        return None

    def wake(self) -> None:
        """Do nothing."""
