"""A site wants another key: the command ``rotate_key``.

The present key stays on disk, as the one in use, until a connection was made with the next one. So
whatever happens meanwhile, a restart goes on with a key that the site knows. Afterwards it is kept
as the backup.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Protocol

from ..errors import CloudError, CloudUnavailable
from .auth import Kind, kind_of
from .keys import KeyPair, KeyUnusable, algorithm_of, generate, public_pem, read_key
from .link import Target, UdmiLink
from .status import Severity

STARTED: Final = "system.auth.login"
PAUSES: Final = (2.0, 60.0)
"""Seconds that a site has to register the key, before each attempt to connect with it."""


class NotKept(Exception):
    """The disk did not take a key."""


class KeyKeeper(Protocol):
    """Puts keys on disk, all or nothing; raises NotKept."""

    async def begin(self, following: KeyPair) -> None:
        """Keep the next key beside the one in use."""

    async def finish(self, present: KeyPair, before: KeyPair) -> None:
        """Have the next key be the one in use, and keep the one before."""

    async def drop(self) -> None:
        """Forget the next key."""


class Rotation:
    """Rotates the key of the gateway.

    ``report`` puts something into the state, ``announce`` tells the site of the new public key,
    with the present one still in use, and returns once that is acknowledged.
    """

    def __init__(
        self,
        link: UdmiLink,
        keeper: KeyKeeper,
        *,
        report: Callable[[str, str, int], None],
        announce: Callable[[str], Awaitable[None]],
        run: Callable[..., Awaitable[Any]],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self.running = False
        self._link = link
        self._keeper = keeper
        self._report = report
        self._announce = announce
        self._run = run
        self._now = now
        self._sleep = sleep
        self._pauses = pauses

    async def rotate(self) -> bool:
        """Get another key, and return whether it is the one in use now."""
        if self.running:
            return False
        self.running = True
        try:
            return await self._rotate()
        finally:
            self.running = False

    async def _rotate(self) -> bool:
        present = self._link.target
        if present.keys is None or kind_of(present.endpoint, present.keys) is Kind.NONE:
            self._report("There is no key that could be rotated", STARTED, Severity.ERROR)
            return False
        self._report("The key is being rotated", STARTED, Severity.INFO)
        try:
            following = await self._run(_following, present.keys, self._link.device_id, self._now())
            await self._keeper.begin(following)
        except (KeyUnusable, NotKept) as err:
            self._report(f"The key was not rotated: {err}", STARTED, Severity.ERROR)
            return False
        try:
            await self._tell(await self._run(public_pem, following.private_key))
            await self._switch(Target(present.endpoint, following))
            await self._keeper.finish(following, present.keys)
        except (CloudError, NotKept) as err:
            await self._restore(present, err)
            return False
        self._report("The key was rotated", STARTED, Severity.INFO)
        return True

    async def _tell(self, pem: str) -> None:
        """Announce the next key; raises CloudError where the site can't know of it."""
        try:
            await self._announce(pem)
        except CloudUnavailable as err:
            # Without its acknowledgement it may have arrived, and the present key be gone by now.
            if not err.sent:
                raise

    async def _switch(self, target: Target) -> None:
        """Connect with the next key, once the site may know it; raises CloudError."""
        for number, pause in enumerate(self._pauses, 1):
            await self._sleep(pause)
            try:
                await self._link.switch(target)
            except CloudError:
                if number == len(self._pauses):
                    raise
            else:
                return

    async def _restore(self, present: Target, why: Exception) -> None:
        """Go on with the key that there was."""
        said = f"The key was not rotated, the one before stays: {why}"
        try:
            if self._link.target is not present:
                await self._link.switch(present)
            await self._keeper.drop()
        except (CloudError, NotKept) as err:
            said = f"{said}; {err}"
        self._report(said, STARTED, Severity.ERROR)


def _following(present: KeyPair, name: str, now: datetime) -> KeyPair:
    made = generate(algorithm_of(read_key(present.private_key)), name, now)
    return made if present.certificate else KeyPair(made.private_key)
