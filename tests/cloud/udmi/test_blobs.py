"""Blobs: fetched, compared, applied once, and what is said of them."""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.udmi.blobs import Blobset, Kind
from custom_components.ulogger.cloud.udmi.block import BlobFailed
from custom_components.ulogger.cloud.udmi.data_url import read_data_url

from .device_world import World, settle

CONTENT = b"what stands in an image"
MOST = 100


class Site(World):
    """Blobs behind URLs, and a gateway that knows one kind of them."""

    def __init__(self) -> None:
        super().__init__()
        self.web: dict[str, bytes] = {"https://example.test/image": CONTENT}
        self.fetched: list[str] = []
        self.applied: list[tuple[bytes, str]] = []
        self.entries: list[tuple[str, int]] = []
        self.on_disk: Mapping[str, Any] = {}
        self.fails: Exception | None = None
        self.disk_fails = False
        self.slow_web: asyncio.Event | None = None
        self.slow_handler: asyncio.Event | None = None
        self.person: asyncio.Future[None] | None = None
        self.asked: list[str] = []
        self.phases: list[str] = []
        self.blobs = self.make()

    def make(self) -> Blobset:
        return Blobset(
            {"image": Kind(self.handle, MOST, self.admit)},
            changed=self.changed_,
            now=self.now,
            fetch=self.fetch,
            run=run_here,
            keep=self.keep_,
            tell=lambda entry: self.entries.append((entry["category"], entry["level"])),
            memory=self.on_disk,
        )

    def changed_(self) -> None:
        if state := self.state:
            self.phases.append(state["phase"])

    async def keep_(self) -> None:
        if self.disk_fails:
            raise OSError("the disk is full")
        self.on_disk = self.blobs.memory

    async def fetch(self, url: str, most: int) -> bytes:
        self.fetched.append(url)
        if self.slow_web is not None:
            await self.slow_web.wait()
        if url not in self.web:
            raise BlobFailed("The server answers 404", "blobset.blob.fetch")
        return self.web[url]

    async def admit(self, content: bytes, generation: str) -> None:
        assert content == CONTENT
        self.asked.append(generation)
        if self.person is not None:
            await self.person

    async def handle(self, content: bytes, generation: str) -> None:
        assert generation in self.on_disk["image"]["done"], "it was not remembered before"
        self.applied.append((content, generation))
        if self.slow_handler is not None:
            await self.slow_handler.wait()
        if self.fails is not None:
            raise self.fails

    def configure(self, **blobs: Any) -> None:
        self.blobs.configure({"blobs": blobs}, self.now())

    async def image(self, number: int = 1, **more: Any) -> None:
        self.configure(image={**blob(number), **more})
        await settle()

    @property
    def state(self) -> dict[str, Any]:
        state = self.blobs.state()
        return {} if state is None else state["blobs"].get("image", {})

    @property
    def problem(self) -> str | None:
        status = self.state.get("status")
        assert status is None or status["level"] == 500
        return status and status["category"]


async def run_here(function: Any, *args: Any) -> Any:
    return function(*args)


def blob(number: int = 1) -> dict[str, Any]:
    return {
        "phase": "final",
        "url": "https://example.test/image",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "generation": generation(number),
    }


def generation(number: int) -> str:
    return f"2026-01-01T00:00:{number:02}Z"


def data_url(content: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"


@pytest.fixture
def site() -> Site:
    return Site()


async def test_a_blob_is_applied_in_two_stages(site: Site) -> None:
    await site.image()
    assert site.applied == [(CONTENT, generation(1))]
    assert site.state == {"phase": "final", "generation": generation(1)}
    assert list(dict.fromkeys(site.phases)) == ["apply", "final"]
    assert site.entries == [
        ("blobset.blob.receive", 100),
        ("blobset.blob.fetch", 100),
        ("blobset.blob.parse", 100),
        ("blobset.blob.apply", 300),
    ]


async def test_a_generation_is_applied_once_over_restarts_too(site: Site) -> None:
    await site.image()
    await site.image()
    site.configure()
    assert site.blobs.state() is None
    await site.image()
    site.blobs = site.make()
    await site.image()
    assert len(site.applied) == len(site.fetched) == 1
    assert site.state == {"phase": "final", "generation": generation(1)}
    await site.image(2)
    await site.image(1)
    assert [number for _content, number in site.applied] == [generation(1), generation(2)]


@pytest.mark.parametrize(
    "url", [data_url(CONTENT), f"data:,{quote(CONTENT)}", f"DATA:text/plain,{quote(CONTENT)}"]
)
async def test_content_may_come_with_the_url(site: Site, url: str) -> None:
    await site.image(url=url)
    assert site.problem is None
    assert site.fetched == []
    assert site.applied[0][0] == CONTENT


@pytest.mark.parametrize(
    ("change", "category"),
    [
        ({"url": "https://example.test/nothing"}, "blobset.blob.fetch"),
        ({"url": "data:;base64,###"}, "blobset.blob.fetch"),
        ({"url": "data:nothing"}, "blobset.blob.fetch"),
        ({"url": data_url(bytes(MOST + 1))}, "blobset.blob.fetch"),
        ({"url": "data:," + "a" * 1000}, "blobset.blob.fetch"),
        ({"sha256": "0" * 64}, "blobset.blob.parse"),
        ({"sha256": "F" * 64}, "blobset.blob.parse"),
        ({"sha256": None}, "blobset.blob.parse"),
        ({"url": 5}, "blobset.blob.parse"),
        ({"phase": "apply"}, "blobset.blob.parse"),
        ({"generation": "new"}, "blobset.blob.parse"),
    ],
)
async def test_what_cannot_be_had_is_final_and_says_why(
    site: Site, change: dict[str, Any], category: str
) -> None:
    await site.image(**change)
    assert site.problem == category
    assert site.state["phase"] == "final"
    assert site.applied == []


async def test_more_than_was_asked_for_is_refused(site: Site) -> None:
    site.web["https://example.test/image"] = bytes(MOST + 1)
    await site.image(sha256=hashlib.sha256(bytes(MOST + 1)).hexdigest())
    assert site.problem == "blobset.blob.fetch"


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (BlobFailed("it is no ELF file", "blobset.blob.parse"), "blobset.blob.parse"),
        (BlobFailed("there is no room"), "blobset.blob.apply"),
        (RuntimeError(), "blobset.blob.apply"),
    ],
)
async def test_a_handler_that_fails_is_not_called_again(
    site: Site, error: Exception, category: str
) -> None:
    site.fails = error
    await site.image()
    assert site.problem == category
    site.blobs = site.make()
    await site.image()
    assert site.problem == category
    assert len(site.applied) == 1


async def test_an_unknown_blob_is_refused(site: Site) -> None:
    site.configure(firmware=blob(), **{"Not A Key": blob()})
    state = site.blobs.state()
    assert state is not None
    assert set(state["blobs"]) == {"firmware"}
    assert state["blobs"]["firmware"]["status"]["level"] == 500
    assert site.fetched == []


async def test_another_generation_takes_the_place_of_one_that_is_fetched(site: Site) -> None:
    site.slow_web = asyncio.Event()
    await site.image(1)
    await site.image(2)
    site.slow_web.set()
    await site.blobs.async_wait()
    assert [number for _content, number in site.applied] == [generation(2)]
    assert ("blobset.blob.abort", 300) in site.entries


async def test_another_generation_waits_for_one_that_is_applied(site: Site) -> None:
    site.slow_handler = asyncio.Event()
    await site.image(1)
    await site.image(2)
    await site.image(3)
    assert site.state["phase"] == "apply"
    assert len(site.applied) == 1
    site.slow_handler.set()
    await site.blobs.async_wait()
    assert [number for _content, number in site.applied] == [generation(1), generation(3)]
    assert site.state == {"phase": "final", "generation": generation(3)}


async def test_what_is_not_wanted_any_more_is_not_fetched(site: Site) -> None:
    site.slow_web = asyncio.Event()
    await site.image(1)
    site.configure()
    await settle()
    site.slow_web.set()
    await site.blobs.async_wait()
    assert site.applied == []
    await site.image(1)
    assert len(site.applied) == 1


async def test_what_a_restart_interrupts_is_not_applied_again(site: Site) -> None:
    site.slow_handler = asyncio.Event()
    await site.image(1)
    site.blobs.close()
    await settle()
    site.blobs = site.make()
    await site.image(1)
    assert site.problem == "blobset.blob.abort"
    assert len(site.applied) == 1


async def test_what_cannot_be_remembered_is_not_applied(site: Site) -> None:
    site.disk_fails = True
    await site.image()
    assert site.applied == []
    assert site.problem == "blobset.blob.apply"


@pytest.mark.parametrize(
    "memory", [{"image": 1}, {"image": {"done": 5}}, {"image": {"done": [5]}}, {"image": {}}]
)
async def test_a_memory_that_makes_no_sense_is_left_out(site: Site, memory: Any) -> None:
    site.on_disk = memory
    site.blobs = site.make()
    await site.image()
    assert len(site.applied) == 1


STEPS = st.one_of(
    st.tuples(st.just("image"), st.integers(1, 4)),
    st.tuples(st.just("bad"), st.integers(1, 4)),
    st.tuples(st.just("clear"), st.none()),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("hold_web"), st.none()),
    st.tuples(st.just("hold_handler"), st.none()),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("fail"), st.booleans()),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=15))
def test_whatever_happens_no_generation_is_applied_twice(steps: list[tuple[str, Any]]) -> None:
    async def scenario() -> None:
        site = Site()
        for step, value in steps:
            match step:
                case "image":
                    await site.image(value)
                case "bad":
                    await site.image(value, sha256="0" * 64)
                case "clear":
                    site.configure()
                case "restart":
                    site.blobs.close()
                    await settle()
                    site.blobs = site.make()
                case "hold_web":
                    site.slow_web = site.slow_web or asyncio.Event()
                case "hold_handler":
                    site.slow_handler = site.slow_handler or asyncio.Event()
                case "release":
                    release(site)
                case _:
                    site.fails = RuntimeError("broken") if value else None
            await settle()
            assert site.state.get("phase") in (None, "apply", "final")
        release(site)
        await site.blobs.async_wait()
        numbers = [number for _content, number in site.applied]
        assert len(numbers) == len(set(numbers))
        assert site.state.get("phase") in (None, "final")

    def release(site: Site) -> None:
        for each in (site.slow_web, site.slow_handler):
            if each is not None:
                each.set()
        site.slow_web = site.slow_handler = None

    asyncio.run(scenario())


@given(st.binary(max_size=200), st.booleans())
def test_any_content_comes_out_as_it_went_in(content: bytes, base: bool) -> None:
    url = data_url(content) if base else f"data:;charset=utf-8,{quote(content)}"
    assert read_data_url(url, 200) == content


@given(st.text())
def test_any_text_is_content_or_refused(text: str) -> None:
    with suppress(BlobFailed):
        assert len(read_data_url(f"data:{text}", 50)) <= 50


# A person who is asked first


async def test_what_waits_for_a_person_is_not_being_applied(site: Site) -> None:
    site.person = asyncio.get_running_loop().create_future()
    await site.image()
    assert (site.asked, site.applied, site.phases) == ([generation(1)], [], [])
    site.person.set_result(None)
    await settle()
    assert site.applied == [(CONTENT, generation(1))]
    assert site.state["phase"] == "final"


async def test_a_later_generation_takes_the_place_of_one_that_waits_for_a_person(
    site: Site,
) -> None:
    site.person = asyncio.get_running_loop().create_future()
    await site.image()
    site.person = None
    await site.image(2)
    assert site.applied == [(CONTENT, generation(2))]
    assert site.state == {"phase": "final", "generation": generation(2)}


async def test_who_waits_for_a_person_at_a_restart_is_asked_again(site: Site) -> None:
    site.person = asyncio.get_running_loop().create_future()
    await site.image()
    site.blobs.close()
    await settle()
    site.person = None
    site.blobs = site.make()
    await site.image()
    assert site.asked == [generation(1)] * 2
    assert site.applied == [(CONTENT, generation(1))]


async def test_what_a_person_declines_is_final_and_not_asked_again(site: Site) -> None:
    site.person = asyncio.get_running_loop().create_future()
    site.person.set_exception(BlobFailed("nobody wants it"))
    await site.image()
    assert (site.problem, site.applied) == ("blobset.blob.apply", [])
    site.blobs = site.make()
    await site.image()
    assert site.asked == [generation(1)]
