"""What Pepeunit asks of a unit: other files, its log, and a version of its program.

One command after another. A file that can't be fetched, or is not good, or leads nowhere,
leaves the old one in place; nothing that was fetched is ever executed.
"""

import asyncio
import logging
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from homeassistant.core import callback
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from ..account.key_store import SecretsNotKept
from ..account.unit_files import SAVE_AFTER, UnitFiles
from ..cloud.errors import CloudError
from ..cloud.pepeunit.archive import Archive
from ..cloud.pepeunit.commands import Command, CommandKind
from ..cloud.pepeunit.env import Env
from ..cloud.pepeunit.errors import ArchiveRefused, InvalidFile, RestError, RestFailure
from ..cloud.pepeunit.records import LogRecord
from ..cloud.pepeunit.rest import RestClient, TargetVersion
from ..cloud.pepeunit.schema import Schema
from ..cloud.pepeunit.unit import PepeunitDestination
from ..model.level import Level

_LOGGER = logging.getLogger(__name__)

type TryConnection = Callable[[Env], Awaitable[None]]
"""Raises CloudError when a unit could not connect with such an ``env.json``."""

KEPT = (CloudError, InvalidFile, SecretsNotKept)
"""Why an old file stays in place."""
MOST_WAITING = 32


class UnitUpdates:
    """The files, the log and the version of one unit, kept as Pepeunit wants them.

    ``tls`` says whom to trust as the API. ``failures`` says for ``env`` and ``schema`` why the
    last one could not be taken, ``forbidden`` whether the API refuses the unit; ``changed`` is
    called when something is other than before. ``env_taken`` is set with each ``env.json``.
    """

    def __init__(
        self,
        files: UnitFiles,
        destination: PepeunitDestination,
        try_connection: TryConnection,
        changed: Callable[[], None],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.files = files
        self.tls = tls
        self.target: TargetVersion | None = None
        self.link: str | None = None
        self.failures: dict[str, Exception] = {}
        self.images: list[str] = []
        self.fetched = False
        self.forbidden = False
        self.env_taken = asyncio.Event()
        self._destination = destination
        self._try_connection = try_connection
        self._changed = changed
        self._ring: deque[LogRecord] = deque(files.records, maxlen=files.env.log_length)
        self._commands: asyncio.Queue[Command] = asyncio.Queue(MOST_WAITING)
        destination.on_command = self._received
        destination.on_records = self._sent

    @property
    def api(self) -> RestClient:
        """The REST API of the unit."""
        return RestClient(async_get_clientsession(self.files.hass), self.files.env, self.tls)

    @property
    def commit(self) -> str:
        """The version that the unit has."""
        return self.files.commit or self.files.env.commit

    async def run(self) -> None:
        """Do what is commanded until cancelled."""
        do: dict[CommandKind, Callable[[], Awaitable[object]]] = {
            CommandKind.ENV_UPDATE: self.async_update_env,
            CommandKind.SCHEMA_UPDATE: self.async_update_schema,
            CommandKind.LOG_SYNC: self.async_sync_log,
            CommandKind.UPDATE: self.async_look_for_update,
        }
        while True:
            command = await self._commands.get()
            if command.kind is CommandKind.UPDATE:
                self.link = command.link
            try:
                await do[command.kind]()
            except KEPT as err:
                _LOGGER.debug("%s of Pepeunit was not done: %s", command.kind, err)
                if command.kind is CommandKind.UPDATE and command.commit is not None:
                    # The API does not say which version is meant, but the command does.
                    self.target = TargetVersion(command.commit, None)
                    self._changed()

    # Files

    async def async_update_env(self) -> Env:
        """Fetch ``env.json``, and go by it; raises CloudError, InvalidFile, SecretsNotKept."""
        try:
            env = await self.api.env()
            if env.unit != self.files.env.unit:
                raise InvalidFile("another_unit", "PU_AUTH_TOKEN")
            if env != self.files.env:
                await self._try_connection(env)
                await self.files.async_keep_env(env)
        except KEPT as err:
            self._failed("env", err)
            raise
        self._ring = deque(self._ring, maxlen=env.log_length)
        self._destination.apply_env(env)
        self.env_taken.set()
        self._succeeded("env")
        return env

    async def async_update_schema(self) -> Schema:
        """Fetch ``schema.json``, and go by it; raises CloudError, InvalidFile."""
        try:
            schema = await self.api.schema()
        except KEPT as err:
            self._failed("schema", err)
            raise
        await self.files.async_keep(schema)
        self._destination.apply_schema(schema)
        self._succeeded("schema")
        return schema

    def _failed(self, which: str, err: Exception) -> None:
        self.failures[which] = err
        self._note(Level.WARNING, f"{which}.json stays as it is: {err}")
        self._changed()

    def _succeeded(self, which: str) -> None:
        self.failures.pop(which, None)
        self._note(Level.INFO, f"{which}.json is up to date")
        self._changed()

    # Its log

    async def async_sync_log(self) -> None:
        """Send the whole ring of records once more, in pieces that the broker takes."""
        await self._destination.publish_records(list(self._ring), again=True)

    @callback
    def _sent(self, records: Sequence[LogRecord]) -> None:
        self._ring.extend(records)
        self.files.records = list(self._ring)
        self.files.store().async_delay_save(self.files.stored, SAVE_AFTER)

    def _note(self, level: int, text: str) -> None:
        if level >= self.files.env.min_level:
            self._sent([LogRecord(level, text, time.time())])

    # Its program

    async def async_look_for_update(self) -> None:
        """Ask which version the unit should have; raises CloudError."""
        try:
            self.target = await self.api.target_version()
            self.forbidden = False
        except RestError as err:
            self.forbidden = err.failure is RestFailure.FORBIDDEN
            raise
        finally:
            self._changed()

    async def async_fetch(self) -> Archive:
        """Fetch the archive of the target version and check it; it is data for a person.

        Raises CloudError, ArchiveRefused.
        """
        target = await self.api.target_version()
        packed = await self.api.firmware()
        run = self.files.hass.async_add_executor_job
        archive = await run(Archive.parse, packed)
        await run(_keep, self.files.archive, archive)
        self.target, self.files.commit = target, target.commit
        self.images, self.fetched = archive.images, True
        await self.files.async_keep()
        self._note(Level.INFO, f"version {target.commit} was fetched: {len(archive.files)} files")
        self._changed()
        return archive

    async def async_fetched(self) -> Archive:
        """Return the archive that was fetched last; raises ArchiveRefused without one."""
        return await self.files.hass.async_add_executor_job(_kept, self.files.archive)

    async def async_look_for_fetched(self) -> None:
        """Find out whether an archive waits for somebody."""
        try:
            self.images, self.fetched = (await self.async_fetched()).images, True
        except ArchiveRefused:
            self.images, self.fetched = [], False

    async def async_put_away(self) -> None:
        """Delete the archive that was fetched."""
        path = self.files.archive
        await self.files.hass.async_add_executor_job(lambda: path.unlink(missing_ok=True))
        self.images, self.fetched = [], False
        self._changed()

    @callback
    def _received(self, command: Command) -> None:
        try:
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            self._destination.counters["commands_dropped"] += 1


def _keep(path: Path, archive: Archive) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        temporary.touch(mode=0o600)
        temporary.write_bytes(archive.as_zip())
        temporary.replace(path)
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise ArchiveRefused("archive_not_kept", err.strerror or type(err).__name__) from err


def _kept(path: Path) -> Archive:
    try:
        return Archive.parse(path.read_bytes())
    except OSError as err:
        raise ArchiveRefused("archive_empty") from err
