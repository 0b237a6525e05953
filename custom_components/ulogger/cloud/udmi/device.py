"""One device of UDMI: what a config says goes to its blocks, what they say becomes its state.

A config that can't be read changes nothing: the one before stays, ``last_config`` too, and the
state says what was wrong until a good one comes.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from .block import Block, Clock, Now
from .status import VERSION, Severity, make_status, read_stamp, stamp

LARGEST_CONFIG: Final = 512 * 1024
RECEIVE: Final = "system.config.receive"
PARSE: Final = "system.config.parse"
APPLY: Final = "system.config.apply"


class UdmiDevice:
    """A gateway or a proxy.

    ``on_changed`` is called when the state is another one, ``on_config`` with whether a config
    that came was good, ``on_entry`` with what is worth an entry in the device's log.
    """

    def __init__(
        self,
        device_id: str,
        blocks: Sequence[Block] = (),
        *,
        now: Now,
        identity: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.id = device_id
        self.blocks: dict[str, Block] = {each.name: each for each in blocks}
        self.last_config = ""
        self.configured = False
        self.status: Mapping[str, Any] | None = None
        self.on_changed: Callable[[], None] = lambda: None
        self.on_config: Callable[[bool], None] = lambda _good: None
        self.on_entry: Callable[[Mapping[str, Any]], None] = lambda _entry: None
        self._parts: dict[str, tuple[Mapping[str, Any] | None, datetime]] = {}
        self._now = now
        self._identity = identity

    def add(self, block: Block) -> None:
        """Have one more block, before the first config comes."""
        self.blocks[block.name] = block

    def changed(self) -> None:
        """Note that a block's state is another one."""
        self.on_changed()

    # Config

    def configure(self, payload: bytes) -> bool:
        """Take a config as it came; return whether it was one. Never raises."""
        self._tell("A config was received", RECEIVE, Severity.DEBUG)
        try:
            config, timestamp = _read(payload)
        except ValueError as err:
            self.report(f"The config can't be used: {err}", PARSE, Severity.ERROR)
            self.on_config(False)
            return False
        self._tell("The config was read", PARSE, Severity.DEBUG)
        said = config["timestamp"]
        self.last_config = said if _RFC_3339.fullmatch(said) else stamp(timestamp)
        self.configured = True
        self.status = None
        for name, block in self.blocks.items():
            part = config.get(name)
            if part is not None and not isinstance(part, Mapping):
                self.report(f"The config's {name} is no object", PARSE, Severity.ERROR)
                continue
            self._parts[name] = (part, timestamp)
            block.configure(part, timestamp)
        self._tell("The config was applied", APPLY, Severity.NOTICE)
        self.on_config(True)
        self.changed()
        return True

    def again(self, name: str) -> None:
        """Hand a block its part of the last config once more: what it depends on has changed."""
        if name in self._parts:
            self.blocks[name].configure(*self._parts[name])

    def report(self, message: str, category: str, level: int, detail: str | None = None) -> None:
        """Have something stand in the state of the system until the next good config."""
        self.status = make_status(message, category, level, self._now(), detail)
        self.on_entry(self.status)
        self.changed()

    def _tell(self, message: str, category: str, level: int) -> None:
        self.on_entry(make_status(message, category, level, self._now()))

    # State

    def state(self) -> dict[str, Any]:
        """Return the whole state; nothing in it is null."""
        at = stamp(self._now())
        system = dict(self._identity())
        # UDMI demands one also before the first config.
        system["last_config"] = self.last_config or stamp(_EPOCH)
        if self.status is not None:
            system["status"] = self.status
        state: dict[str, Any] = {"timestamp": at, "version": VERSION, "system": system}
        for name, block in self.blocks.items():
            part = block.state()
            if name == "system":
                state["system"] = {**system, **(part or {})}
            elif part is not None:
                state[name] = part
        return state

    # Time

    def wake_at(self) -> float | None:
        """Return when the first of the blocks wants to be woken."""
        moments = [at for each in self.blocks.values() if (at := each.wake_at()) is not None]
        return min(moments, default=None)

    def wake(self, clock: Clock) -> None:
        """Wake the blocks that want it by now."""
        for each in self.blocks.values():
            # What is due at once is due at the moment of asking, which goes on.
            if (at := each.wake_at()) is not None and at <= clock():
                each.wake()


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _read(payload: bytes) -> tuple[dict[str, Any], datetime]:
    """Read a config and its time; raises ValueError that says what is wrong."""
    if len(payload) > LARGEST_CONFIG:
        raise ValueError(f"it has more than {LARGEST_CONFIG} bytes")
    try:
        config = json.loads(payload)
    except RecursionError as err:
        raise ValueError("it is nested too deep") from err
    if not isinstance(config, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - as for all that was sent
    if not config.get("version"):
        raise ValueError("it has no version")
    return config, read_stamp(config.get("timestamp"))
