"""Opening a disk with the project's own code, as Home Assistant would after the power is back."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeassistant.core import HomeAssistant

from chaos.ledger import pieces
from custom_components.ulogger.account.key_store import async_load_key
from custom_components.ulogger.account.store import AccountStore, outbox_path
from custom_components.ulogger.const import CONF_CLIENT_SUFFIX
from custom_components.ulogger.outbox.model import CaptureState
from custom_components.ulogger.outbox.outbox import Outbox

from . import filesystem
from .filesystem import Disk
from .life import ENTRY, KEY
from .promises import Found, piece


@dataclass(frozen=True, slots=True)
class _Entry:
    """As much of a config entry as the key store asks for."""

    data: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


async def _inline(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


class Opener:
    """Lays disks out in one place, one after another, and tells what is on them."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._hass = HomeAssistant(str(place))

    async def open(self, disk: Disk) -> Found:
        """Open the outbox and the stores; whatever that raises is what was found."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        filesystem.write(disk, self._place)
        try:
            return await self._look()
        except Exception as error:  # noqa: BLE001 - any failure to open is what is looked for
            return Found(error=f"{type(error).__name__}: {error}")

    async def _look(self) -> Found:
        stores = {ENTRY: await self._account(), KEY: await self._key()}
        outbox = await Outbox.open(outbox_path(self._hass, ENTRY), _inline)
        kept: set[str] = set()
        delivered: set[str] = set()
        waiting: set[int] = set()
        try:
            for row in await outbox.listing():
                data = (await outbox.read(row.capture_id)).data
                into = delivered if row.state is CaptureState.DELIVERED else kept
                if into is kept:
                    waiting.add(row.capture_id)
                into.update(piece(row.kind, each) for each in pieces(row.kind, data))
            recovered = outbox.recovered
            repair = None if recovered is None else (recovered.quarantined, recovered.lost)
        finally:
            await outbox.close()
        return Found(frozenset(kept), frozenset(delivered), frozenset(waiting), repair, stores)

    async def _account(self) -> int | None:
        """Tell which save the account's file holds."""
        store = AccountStore(self._hass, ENTRY)
        await store.async_load()
        numbers = {round(record.last_seen) for record in store.devices.values()}
        return max(numbers, default=None)

    async def _key(self) -> int | None:
        key = await async_load_key(self._hass, _Entry({CONF_CLIENT_SUFFIX: ENTRY}))  # type: ignore[arg-type]
        return None if key is None else int(key.rstrip("="))
