"""What is kept of Pepeunit's units: ``env.json`` among the secrets, the rest in a private file.

A unit's ``env.json`` holds its permanent token, so all of it is a secret.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypedDict

from homeassistant.config_entries import ConfigEntry, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.singleton import singleton
from homeassistant.helpers.storage import STORAGE_DIR, Store

from ..cloud.pepeunit.env import Env
from ..cloud.pepeunit.errors import InvalidFile
from ..cloud.pepeunit.records import LogRecord
from ..cloud.pepeunit.schema import Schema
from ..const import CONF_UNIT, DOMAIN, SUBENTRY_PEPEUNIT
from .key_store import async_keep_secret, async_load_secrets

STORAGE_VERSION: Final = 1
SAVE_AFTER: Final = 30.0
_PREFIX: Final = "pepeunit_"


class _Stored(TypedDict):
    schema: str
    commit: str | None
    records: list[Sequence[Any]]


@dataclass
class UnitFiles:
    """The files of one unit, as they were last good.

    ``commit`` is the version that a person has fetched, None when it is still that of
    ``env.json``; ``records`` are those of the log that were kept.
    """

    hass: HomeAssistant
    entry: ConfigEntry[Any]
    env: Env
    schema: Schema
    commit: str | None = None
    records: list[LogRecord] = field(default_factory=list)

    @classmethod
    async def async_load(
        cls, hass: HomeAssistant, entry: ConfigEntry[Any], unit: str
    ) -> UnitFiles | None:
        """Read the files of a unit, None where they are gone or not what they were."""
        env = (await async_load_secrets(hass, entry)).get(_PREFIX + unit)
        stored = await _store(hass, unit).async_load()
        if env is None or stored is None:
            return None
        try:
            return cls(
                hass,
                entry,
                Env.parse(env),
                Schema.parse(stored["schema"]),
                stored.get("commit"),
                [LogRecord(int(n), str(text), float(at)) for n, text, at in stored["records"]],
            )
        except InvalidFile, KeyError, TypeError, ValueError:
            return None

    async def async_keep_env(self, env: Env) -> None:
        """Put another ``env.json`` in place of this one; raises SecretsNotKept."""
        await async_keep_secret(self.hass, self.entry, _PREFIX + env.unit, env.text)
        self.env = env

    async def async_keep(self, schema: Schema | None = None) -> None:
        """Put the other files on disk, and another ``schema.json`` in place of this one."""
        self.schema = schema or self.schema
        await _store(self.hass, self.env.unit).async_save(self._stored())

    def store(self) -> Store[Any]:
        """Return the private file, to be saved with a delay."""
        return _store(self.hass, self.env.unit)

    def stored(self) -> dict[str, Any]:
        """Return what is in the private file."""
        return dict(self._stored())

    @property
    def archive(self) -> Path:
        """Where the archive is that a person has fetched."""
        return archive_path(self.hass, self.env.unit)

    def _stored(self) -> _Stored:
        return {
            "schema": self.schema.text,
            "commit": self.commit,
            "records": [list(record) for record in self.records],
        }


def archive_path(hass: HomeAssistant, unit: str) -> Path:
    """Where the archive of a unit is."""
    return Path(hass.config.path(STORAGE_DIR, DOMAIN, f"pepeunit.{unit}.zip"))


def units(entry: ConfigEntry[Any]) -> list[ConfigSubentry]:
    """Return the subentries that are units."""
    return [each for each in entry.subentries.values() if each.subentry_type == SUBENTRY_PEPEUNIT]


def unit_secrets(secrets: Mapping[str, str]) -> set[str]:
    """Return what nobody may see of all units, from the secrets of their account."""
    found: set[str] = set()
    for name, text in secrets.items():
        if name.startswith(_PREFIX):
            with suppress(InvalidFile):
                env = Env.parse(text)
                found.update((env.unit, *env.secrets))
    return found


async def async_sweep_units(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Forget the units whose subentries are gone, but none that is just being added."""
    there = {each.data[CONF_UNIT] for each in units(entry)}
    being_added = units_being_added(hass)
    being_added -= there
    kept = there | being_added
    for name in await async_load_secrets(hass, entry):
        if name.startswith(_PREFIX) and (unit := name.removeprefix(_PREFIX)) not in kept:
            await async_keep_secret(hass, entry, name, None)
            await async_forget_unit(hass, unit)


async def async_remove_units(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Delete the files of all units of an account that is removed; its secrets go with it."""
    for each in units(entry):
        await async_forget_unit(hass, each.data[CONF_UNIT])


async def async_forget_unit(hass: HomeAssistant, unit: str) -> None:
    """Delete what is kept of a unit beside its secrets."""
    await _store(hass, unit).async_remove()
    path = archive_path(hass, unit)
    await hass.async_add_executor_job(lambda: path.unlink(missing_ok=True))


def _store(hass: HomeAssistant, unit: str) -> Store[Any]:
    return Store(
        hass, STORAGE_VERSION, f"{DOMAIN}.pepeunit.{unit}", private=True, atomic_writes=True
    )


@singleton(f"{DOMAIN}.units_being_added")
def units_being_added(hass: HomeAssistant) -> set[str]:
    """Return the units whose files are kept and whose subentries are about to come.

    Another destination may have the account loaded anew in just that moment.
    """
    return set()
