"""What one account must remember across restarts, besides its captures (see `outbox/`).

Session tokens, which devices stand behind which address, whether they are collected, the log
configuration that still has to reach them, and how devices crashed. One private file of Home
Assistant's `Store`.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict, override

from homeassistant.core import HomeAssistant
from homeassistant.helpers.storage import STORAGE_DIR, Store

from ..const import DOMAIN
from ..insight.crash_groups import CrashGroups
from ..model.heard import Heard, MetricValue
from ..model.identity import DeviceIdentity, DeviceKey
from ..model.log_config import one_name_a_bit
from ..model.log_levels import UNKNOWN, LogLevels, Wish, Written

STORAGE_VERSION = 1
STORAGE_MINOR_VERSION = 2
SAVE_DELAY = 10.0


@dataclass(slots=True)
class DeviceRecord:
    """One device as it was last identified.

    ``address`` is empty when another device was identified there since. Moments are Unix seconds.
    ``interrupted`` says that a session was ended before it came to its end. ``modules`` maps the
    module names that the cloud sent for this device to their bit in ``module_flags``, one name a
    bit; ``last_config`` marks the log configuration that came from the cloud last.
    ``quota_days`` counts the UTC days in a row, up to ``quota_day`` (days since 1970), on which
    the daily quota was reached. ``crash_cleared`` is when the last crash came
    of which a person knows, or that other firmware made a thing of the past. ``heard`` is
    what its captures say.
    """

    identity: DeviceIdentity
    address: str
    name: str
    collect: bool = True
    last_seen: float = 0.0
    last_identified: float = 0.0
    last_collected: float = 0.0
    interrupted: bool = False
    last_heartbeat: float = 0.0
    quota_day: int = 0
    quota_days: int = 0
    log_levels: LogLevels = field(default_factory=LogLevels)
    modules: dict[str, int] = field(default_factory=dict)
    last_config: str = ""
    crash_cleared: float = 0.0
    heard: Heard = field(default_factory=Heard)

    @property
    def log_level_due(self) -> bool:
        """Whether the device has to be written a log configuration."""
        return self.log_levels.due(time.time()) is not None

    def as_dict(self) -> dict[str, Any]:
        """Give the record as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DeviceRecord:
        """Read a record back; a later version may have stored more."""
        return cls(
            **{
                **{name: value for name, value in data.items() if name in _FIELDS},
                "identity": _known(DeviceIdentity, data["identity"]),
                "log_levels": _log_levels(data.get("log_levels", {})),
                "modules": one_name_a_bit(data.get("modules", {})),
                "heard": _heard(data.get("heard", {})),
            }
        )


def _known[T](kind: type[T], data: Mapping[str, Any]) -> T:
    """Make a dataclass of what this version knows; a later one may have stored more."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in names})


_FIELDS = frozenset(each.name for each in fields(DeviceRecord))


def _heard(data: Mapping[str, Any]) -> Heard:
    heard = _known(Heard, data)
    heard.metrics = {name: _known(MetricValue, each) for name, each in heard.metrics.items()}  # type: ignore[arg-type]
    return heard


def _log_levels(data: Mapping[str, Any]) -> LogLevels:
    wishes = {source: _known(Wish, wish) for source, wish in data.get("wishes", {}).items()}
    written = data.get("written")
    return LogLevels(wishes, _known(Written, written) if written else None)


def _log_levels_of_one_setting(setting: Mapping[str, Any] | None) -> dict[str, Any]:
    """Give what stood as one log setting, of whomever, as wishes and what was written."""
    if not setting:
        return asdict(LogLevels())
    told, ends = setting.get("told_until", 0.0), setting["expires_at"]
    level, flags = setting["level"], setting["module_flags"]
    if setting.get("revoked"):
        return asdict(LogLevels(written=Written(level, flags, ends)))
    wish = Wish(UNKNOWN, level, flags, ends, setting.get("modules", []))
    if setting.get("written_at") is not None:
        written: Written | None = Written(level, flags, ends)
    else:
        # What the device held before was not stored, only until when.
        written = Written(level, flags, told, certain=False) if told else None
    return asdict(LogLevels({UNKNOWN: wish}, written))


class StoredAccount(TypedDict):
    """The file's content."""

    tokens: dict[str, Any]
    devices: list[dict[str, Any]]
    left_alone: list[list[int | str]]
    crashes: NotRequired[dict[str, Any]]


class _AccountFile(Store[StoredAccount]):
    """The file, whatever version wrote it."""

    @override
    async def _async_migrate_func(
        self, old_major_version: int, old_minor_version: int, old_data: dict[str, Any]
    ) -> dict[str, Any]:
        if old_major_version == STORAGE_VERSION and old_minor_version < 2:
            for device in old_data["devices"]:
                setting = device.pop("log_setting", None)
                device["log_levels"] = _log_levels_of_one_setting(setting)
        return old_data


class AccountStore:
    """The account's file, and what it holds in memory.

    ``crashes_known`` is false until the core dumps of an earlier version are among the groups.
    """

    def __init__(self, hass: HomeAssistant, entry_id: str) -> None:
        self._hass = hass
        key = f"{DOMAIN}.{entry_id}"
        minor = STORAGE_MINOR_VERSION
        self._store = _AccountFile(
            hass, STORAGE_VERSION, key, minor_version=minor, private=True, atomic_writes=True
        )
        self.tokens: dict[str, Any] = {}
        self.devices: dict[DeviceKey, DeviceRecord] = {}
        self._left_alone: set[DeviceKey] = set()
        self.crash_groups = CrashGroups()
        self.crashes_known = False
        self._closed = False
        self._save_planned = False

    async def async_load(self) -> None:
        """Read the file, if there is one."""
        if (stored := await self._store.async_load()) is None:
            return
        self.tokens = stored["tokens"]
        records = [DeviceRecord.from_dict(data) for data in stored["devices"]]
        self.devices = {record.identity.key: record for record in records}
        # An earlier version did not store it.
        self._left_alone = {(int(key[0]), str(key[1])) for key in stored.get("left_alone", [])}
        if (crashes := stored.get("crashes")) is not None:
            # Thousands of occurrences take longer than the event loop has.
            read = partial(CrashGroups.from_dict, crashes)
            self.crash_groups = await self._hass.async_add_executor_job(read)
            self.crashes_known = True

    async def async_save_tokens(self, tokens: dict[str, Any]) -> None:
        """Put *tokens* on disk at once: losing one costs a registration."""
        self.tokens = tokens
        await self.async_save()

    def save_tokens_soon(self, tokens: dict[str, Any]) -> None:
        """Put *tokens* on disk within some seconds."""
        self.tokens = tokens
        self.save_soon()

    async def async_save(self) -> None:
        """Write everything now."""
        await self._store.async_save(self._content())

    def save_soon(self) -> None:
        """Write everything within some seconds, or when Home Assistant stops.

        The first call sets the time: Home Assistant would put it off with each further one.
        """
        if not self._closed and not self._save_planned:
            self._save_planned = True
            self._store.async_delay_save(self._content, SAVE_DELAY)

    async def async_close(self) -> None:
        """Write everything, and nothing any more: another may read or delete the file now."""
        self._closed = True
        await self.async_save()

    async def async_remove(self) -> None:
        """Delete the file."""
        await self._store.async_remove()

    def by_address(self, address: str) -> DeviceRecord | None:
        """Find the device that was last identified at *address*."""
        return next((r for r in self.devices.values() if r.address == address), None)

    def add(self, identity: DeviceIdentity, address: str, name: str) -> DeviceRecord:
        """Remember a device; one that was not to be collected when it was forgotten still is not.

        It is on disk after the next save.
        """
        collect = identity.key not in self._left_alone
        self._left_alone.discard(identity.key)
        record = DeviceRecord(identity, address, name, collect=collect)
        self.devices[identity.key] = record
        return record

    def forget(self, key: DeviceKey) -> DeviceRecord | None:
        """Forget a device but for a person's word not to collect it; returns what was known."""
        record = self.devices.pop(key, None)
        if record is not None and not record.collect:
            self._left_alone.add(key)
        return record

    def hand_over(self, key: DeviceKey) -> bool:
        """Forget a device that another account takes in; returns whether it is to be left alone."""
        self.forget(key)
        left_alone = key in self._left_alone
        self._left_alone.discard(key)
        return left_alone

    def _content(self) -> StoredAccount:
        self._save_planned = False
        content: StoredAccount = {
            "tokens": self.tokens,
            "devices": [record.as_dict() for record in self.devices.values()],
            "left_alone": [list(key) for key in sorted(self._left_alone)],
        }
        if self.crashes_known:
            content["crashes"] = self.crash_groups.as_dict()
        return content


def outbox_path(hass: HomeAssistant, entry_id: str) -> Path:
    """Where an account's captures are."""
    return Path(hass.config.path(STORAGE_DIR, DOMAIN, f"{entry_id}.sqlite"))
