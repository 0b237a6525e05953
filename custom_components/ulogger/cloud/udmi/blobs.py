"""Blobs that a site hands to a gateway: fetched, compared with their hash, applied once.

What the state says of a blob:

    apply   its content is here and whole, and its handler is at work
    final   its handler is done; or the status says at which step it failed

Invariants: a generation of a blob is handed to its handler at most once, over restarts too: it is
remembered before it is. One that a restart has interrupted is final, and says so. A blob
is fetched, or applied, one after another; another generation takes the place of one that is
still being fetched, or waits for a person, and waits for one that is being applied. Whoever waits
for a person when Home Assistant stops is asked again.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from .block import BlobFailed, BlobHandler, Changed, Now
from .data_url import FETCH, is_data_url, read_data_url
from .generations import read_generation
from .outcome import outcome
from .status import Severity, make_status

KEY: Final = re.compile(r"_?[a-z][a-z0-9]*(_[a-z0-9]+)*")
HASH: Final = re.compile(r"[0-9a-f]{64}")
RECEIVE: Final = "blobset.blob.receive"
PARSE: Final = "blobset.blob.parse"
APPLY: Final = "blobset.blob.apply"
ABORT: Final = "blobset.blob.abort"
MOST_BLOBS: Final = 20
MOST_REMEMBERED: Final = 100
SMALL: Final = 64 * 1024

type Fetch = Callable[[str, int], Awaitable[bytes]]
"""Returns what stands at a URL, up to so many bytes; raises BlobFailed."""
type RunElsewhere = Callable[..., Awaitable[Any]]
"""Runs a blocking callable with its arguments: ``hass.async_add_executor_job``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of blob: what applies it, and how large it may be in bytes.

    ``admit`` returns once its content may be applied, and raises BlobFailed where it may not.
    """

    handle: BlobHandler
    most: int = SMALL
    admit: BlobHandler | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a config wants of a blob; ``problem`` says what of it can't be used."""

    url: str = ""
    sha256: str = ""
    generation: str = ""
    problem: str = ""

    @classmethod
    def read(cls, config: Any) -> Wanted:
        """Read a config of a blob."""
        if not isinstance(config, Mapping):
            return cls(problem="its config is no object")
        try:
            _moment, generation = read_generation(config.get("generation"))
        except ValueError as err:
            return cls(problem=f"generation: {err}")
        url, sha256, phase = config.get("url"), config.get("sha256"), config.get("phase")
        problem = ""
        if not isinstance(url, str) or not url:
            problem = "it has no url"
        elif not isinstance(sha256, str) or not HASH.fullmatch(sha256):
            problem = "its sha256 is not 64 digits in lower case"
        elif phase != "final":
            problem = "its phase is not final"
        if problem:
            return cls(generation=generation, problem=problem)
        return cls(str(url), str(sha256), generation)


@dataclass(slots=True)
class _Blob:
    """What is known of one blob."""

    generation: str = ""
    phase: str = ""
    status: Mapping[str, Any] | None = None
    done: dict[str, None] = field(default_factory=dict)
    """Generations that were handed on, the last one last."""
    waiting: Wanted | None = None
    applying: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Blobset:
    """The block ``blobset``. ``kinds`` are the blobs that are known here, by their keys.

    ``keep`` is called when `memory` is another one, and returns once that is on disk. ``tell``
    has an entry stand in the device's log. ``fetch`` is called for URLs without content.
    """

    name = "blobset"

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        *,
        changed: Changed,
        now: Now,
        fetch: Fetch,
        run: RunElsewhere,
        keep: Callable[[], Awaitable[None]],
        tell: Callable[[Mapping[str, Any]], None] = lambda _entry: None,
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        self._kinds = kinds
        self._changed = changed
        self._now = now
        self._fetch = fetch
        self._run = run
        self._keep = keep
        self._tell = tell
        self._blobs: dict[str, _Blob] = {}
        self._listed: dict[str, Wanted] = {}
        self._odd: dict[str, Mapping[str, Any]] = {}
        self._restore(memory or {})

    # What a site wants

    def configure(self, config: Mapping[str, Any] | None, timestamp: datetime) -> None:
        """Begin what is new, abort what is not wanted any more."""
        given = (config or {}).get("blobs")
        blobs = given if isinstance(given, Mapping) else {}
        listed = [key for key in blobs if KEY.fullmatch(key)][:MOST_BLOBS]
        before = self._listed
        self._listed = {key: Wanted.read(blobs[key]) for key in listed}
        for key, blob in self._blobs.items():
            if key not in self._listed:
                blob.waiting = None
                self._abort(key, blob)
        for key, wanted in self._listed.items():
            if wanted != before.get(key):
                self._take(key, wanted)
        self._odd = {key: each for key, each in self._odd.items() if key in self._listed}
        self._changed()

    def _take(self, key: str, wanted: Wanted) -> None:
        self._odd.pop(key, None)
        if key not in self._kinds:
            self._refuse(key, "no such blob is known here", APPLY)
        elif wanted.problem:
            self._refuse(key, wanted.problem, PARSE)
        else:
            blob = self._blobs.setdefault(key, _Blob())
            if wanted.generation in blob.done or wanted == blob.waiting:
                return
            self._abort(key, blob)
            blob.waiting = wanted
            if blob.task is None:
                blob.task = asyncio.ensure_future(self._work(key, blob))

    def _refuse(self, key: str, problem: str, category: str) -> None:
        self._odd[key] = self._entry(key, problem, category, Severity.ERROR)
        self._tell(self._odd[key])

    def _abort(self, key: str, blob: _Blob) -> None:
        if blob.task is not None and not blob.applying:
            blob.task.cancel()
            blob.task = None
            self._tell(self._entry(key, "it was given up", ABORT, Severity.NOTICE))

    # How it goes

    async def _work(self, key: str, blob: _Blob) -> None:
        """Fetch and apply what waits, until nothing does."""
        task = blob.task
        try:
            while (wanted := blob.waiting) is not None:
                await self._one(key, blob, wanted)
                if blob.waiting is wanted:
                    blob.waiting = None
        finally:
            if blob.task is task:
                blob.task = None

    async def _one(self, key: str, blob: _Blob, wanted: Wanted) -> None:
        try:
            error = await outcome(self._fetch_and_apply(key, blob, wanted))
        finally:
            blob.applying = False
        problem = "" if error is None else str(error) or type(error).__name__
        category = error.category if isinstance(error, BlobFailed) else APPLY
        self._remember(blob, wanted.generation)
        self._finish(key, blob, wanted.generation, problem, category)
        # If that fails, a restart finds it interrupted, and it still is not applied again.
        await outcome(self._keep())

    async def _fetch_and_apply(self, key: str, blob: _Blob, wanted: Wanted) -> None:
        content = await self._content(key, wanted)
        if (admit := self._kinds[key].admit) is not None:
            await admit(content, wanted.generation)
        # From here on it counts as applied, whatever comes in between.
        blob.applying = True
        blob.generation, blob.phase, blob.status = wanted.generation, "apply", None
        self._remember(blob, wanted.generation)
        await self._keep()
        self._changed()
        self._tell(self._entry(key, "it is applied", APPLY, Severity.NOTICE))
        await self._kinds[key].handle(content, wanted.generation)

    async def _content(self, key: str, wanted: Wanted) -> bytes:
        """Return a blob's content as its hash has it; raises BlobFailed."""
        most = self._kinds[key].most
        self._tell(self._entry(key, "a generation came", RECEIVE, Severity.DEBUG))
        self._tell(self._entry(key, "it is fetched", FETCH, Severity.DEBUG))
        content: bytes
        if is_data_url(wanted.url):
            content = await self._run(read_data_url, wanted.url, most)
        else:
            content = await self._fetch(wanted.url, most)
        self._tell(self._entry(key, "it is compared with its hash", PARSE, Severity.DEBUG))
        if len(content) > most:
            raise BlobFailed(f"The content has more than {most} bytes", FETCH)
        if await self._run(_sha256, content) != wanted.sha256:
            raise BlobFailed("The content is not what its sha256 says", PARSE)
        return content

    def _finish(
        self, key: str, blob: _Blob, generation: str, problem: str, category: str = APPLY
    ) -> None:
        blob.generation, blob.phase, blob.status = generation, "final", None
        if problem:
            blob.status = self._entry(key, problem, category, Severity.ERROR)
            self._tell(blob.status)
        self._changed()

    def _entry(self, key: str, text: str, category: str, level: int) -> Mapping[str, Any]:
        return make_status(f"Blob {key}: {text}", category, level, self._now())

    # State

    def state(self) -> Mapping[str, Any] | None:
        """Return how the blobs stand that the config lists; None without any."""
        blobs = {key: self._state_of(key, wanted) for key, wanted in self._listed.items()}
        shown = {key: each for key, each in blobs.items() if each}
        return {"blobs": shown} if shown else None

    def _state_of(self, key: str, wanted: Wanted) -> dict[str, Any]:
        if (status := self._odd.get(key)) is not None:
            generation = {"generation": wanted.generation} if wanted.generation else {}
            return {"phase": "final", **generation, "status": status}
        blob = self._blobs[key]
        if not blob.phase:
            return {}
        state: dict[str, Any] = {"phase": blob.phase, "generation": blob.generation}
        if blob.status is not None:
            state["status"] = blob.status
        return state

    def wake_at(self) -> float | None:
        """Return None: blobs come by themselves."""
        return None

    def wake(self) -> None:
        """Do nothing."""

    # What outlives a restart

    def _remember(self, blob: _Blob, generation: str) -> None:
        blob.done.pop(generation, None)
        blob.done[generation] = None
        while len(blob.done) > MOST_REMEMBERED:
            del blob.done[next(iter(blob.done))]

    @property
    def memory(self) -> dict[str, Any]:
        """Return what must outlive a restart, as JSON knows it."""
        return {
            key: {"done": list(blob.done), "phase": blob.phase, "status": blob.status}
            for key, blob in self._blobs.items()
            if blob.done
        }

    def _restore(self, memory: Mapping[str, Any]) -> None:
        for key, each in memory.items():
            if not isinstance(each, Mapping) or not isinstance(each.get("done"), list):
                continue
            done = [text for text in each["done"] if isinstance(text, str)]
            if not done:
                continue
            blob = self._blobs[key] = _Blob(done[-1], "final", done=dict.fromkeys(done))
            if isinstance(each.get("status"), Mapping):
                blob.status = dict(each["status"])
            if each.get("phase") == "apply":
                text = "it was interrupted while it was applied"
                blob.status = self._entry(key, text, ABORT, Severity.ERROR)

    async def async_wait(self) -> None:
        """Wait until nothing is fetched or applied."""
        while tasks := [each.task for each in self._blobs.values() if each.task is not None]:
            await asyncio.wait(tasks)

    def close(self) -> None:
        """Stop what is under way; what was being applied counts as applied."""
        for blob in self._blobs.values():
            if blob.task is not None:
                blob.task.cancel()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
