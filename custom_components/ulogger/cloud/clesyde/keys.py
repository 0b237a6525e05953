"""The keys of one thing while it is in use: what serves, what is kept, whether remote is wanted."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, Self

from .certificates import About, Pair, server_context
from .errors import ThingError
from .thing import Thing

type Save = Callable[[Thing, bool], Awaitable[None]]
"""Puts a thing on disk, and whether remote access is wanted, all or nothing; raises ThingError."""


STORED_THING: Final = "thing"
STORED_WANTED: Final = "remote_access"


def stored(thing: Thing, *, remote_wanted: bool = False) -> dict[str, Any]:
    """Return what is kept of a thing, keys and all, in its private file."""
    return {STORED_THING: thing.as_dict(), STORED_WANTED: remote_wanted}


class ThingKeys:
    """One thing's keys. ``iot`` and ``remote`` say what its two certificates say.

    What is in use is always on disk before it is used.
    """

    def __init__(
        self, thing: Thing, *, wanted: bool, save: Save, abouts: tuple[About, About]
    ) -> None:
        self.thing = thing
        self.wanted = wanted
        self.iot, self.remote = abouts
        self._save = save
        self._run: Callable[..., Awaitable[Any]]
        self._new_context: Callable[[], ssl.SSLContext]

    @classmethod
    async def of(
        cls,
        thing: Thing,
        *,
        wanted: bool,
        save: Save,
        run: Callable[..., Awaitable[Any]],
        new_context: Callable[[], ssl.SSLContext],
    ) -> Self:
        """Read a thing's certificates; raises ThingError. ``new_context`` makes a server's."""
        abouts = await run(lambda: (thing.iot.about, thing.remote.about))
        made = cls(thing, wanted=wanted, save=save, abouts=abouts)
        made._run, made._new_context = run, new_context
        return made

    async def context(self) -> ssl.SSLContext:
        """Return what serves the remote certificate; the one before it where that fails.

        Raises ThingError where neither can be served.
        """
        try:
            context: ssl.SSLContext = await self._run(
                server_context, self.thing.remote, self._new_context
            )
        except ThingError:
            if (before := self.thing.before) is None:
                raise
            context = await self._run(server_context, before, self._new_context)
            await self._keep(replace(self.thing, remote=before, before=None))
        return context

    async def take(self, pair: Pair) -> None:
        """Have a pair served from now on, if it can be; raises ThingError."""
        await self._run(server_context, pair, self._new_context)
        await self._keep(self.thing.with_remote(pair))

    async def worked(self) -> None:
        """Let go of the certificate before: the present one has served; raises ThingError."""
        if self.thing.before is not None:
            await self._keep(replace(self.thing, before=None))

    async def want(self, *, wanted: bool) -> None:
        """Keep whether remote access is wanted; raises ThingError."""
        await self._save(self.thing, wanted)
        self.wanted = wanted

    async def _keep(self, thing: Thing) -> None:
        about: About = await self._run(lambda: thing.remote.about)
        await self._save(thing, self.wanted)
        self.thing, self.remote = thing, about
