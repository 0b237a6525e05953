"""The REST API: what is asked, what comes back, and what is made of a refusal."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from custom_components.ulogger.cloud.pepeunit import rest
from custom_components.ulogger.cloud.pepeunit.archive import Archive
from custom_components.ulogger.cloud.pepeunit.env import Env
from custom_components.ulogger.cloud.pepeunit.errors import InvalidFile, RestError, RestFailure
from custom_components.ulogger.cloud.pepeunit.rest import RestClient, answered_version, api_context
from custom_components.ulogger.cloud.pepeunit.schema import Schema
from custom_components.ulogger.model.reason import Reason
from demo.pepeunit.service import API, LocalPepeunit
from demo.pepeunit.units import Unit


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def api(session: aiohttp.ClientSession, pepeunit: LocalPepeunit, unit: Unit) -> RestClient:
    return RestClient(session, Env.parse(pepeunit.env(unit)))


async def test_the_units_own_files(api: RestClient, pepeunit: LocalPepeunit, unit: Unit) -> None:
    assert await api.env() == Env.parse(pepeunit.env(unit))
    assert await api.schema() == Schema.parse(unit.schema())
    assert await api.target_version() == (unit.commit, unit.tag)
    pepeunit.archive = {"main.py": b"print()"}
    archive = Archive.parse(await api.firmware())
    assert set(archive.files) == {"env.json", "main.py", "schema.json"}


@pytest.mark.parametrize(
    "text", ["", "plain", 'a "quoted" ü\n', "x" * 1_000_000], ids=("empty", "plain", "odd", "long")
)
async def test_the_state_storage_comes_back_as_it_was(api: RestClient, text: str) -> None:
    await api.set_state_storage(text)
    assert await api.state_storage() == text


async def test_a_state_that_is_too_long_is_not_sent(
    api: RestClient, pepeunit: LocalPepeunit
) -> None:
    with pytest.raises(RestError) as caught:
        await api.set_state_storage("x" * 1_000_001)
    assert caught.value.failure is RestFailure.TOO_LARGE
    assert pepeunit.requests == []


async def test_nodes_and_units_are_found_and_an_input_is_set(
    api: RestClient, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    other = Unit.make(inputs=["fan"], outputs=["speed"])
    other.links[other.inputs["fan"]] = unit.outputs["temperature"]
    pepeunit.units.append(other)
    pepeunit.allow()

    found = await api.inputs_of_output(unit.outputs["temperature"], limit=5000)
    assert [node["uuid"] for node in found["unit_nodes"]] == [other.inputs["fan"]]
    units = await api.units_of_nodes([other.inputs["fan"]])
    assert [each["uuid"] for each in units["units"]] == [other.uuid]
    assert await api.units_of_nodes([]) == {"count": 0, "units": []}
    node = await api.set_input(other.inputs["fan"], "3")
    assert node["state"] == "3"
    await pepeunit.wait_until(lambda: pepeunit.of(other.topic("fan")) == [b"3"])


async def test_only_a_uuid_is_asked_for(api: RestClient, pepeunit: LocalPepeunit) -> None:
    for ask in (api.inputs_of_output, lambda bad: api.units_of_nodes([bad])):
        with pytest.raises(RestError) as caught:
            await ask("../../units")
        assert caught.value.failure is RestFailure.NOT_A_UUID
    with pytest.raises(RestError):
        await api.set_input("", "1")
    assert pepeunit.requests == []


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (403, RestFailure.FORBIDDEN),
        (404, RestFailure.NOT_FOUND),
        (422, RestFailure.INVALID),
        (413, RestFailure.TOO_LARGE),
        (302, RestFailure.FAILED),
        (503, RestFailure.UNREACHABLE),
    ],
)
async def test_a_refusal_says_why(
    api: RestClient, pepeunit: LocalPepeunit, unit: Unit, status: int, failure: RestFailure
) -> None:
    pepeunit.refusing = (status, "403: 1: No Access:\n because " + "x" * 1000)
    asks: list[Callable[[], Awaitable[object]]] = [
        api.env,
        api.schema,
        api.target_version,
        api.firmware,
        api.state_storage,
        lambda: api.set_state_storage("x"),
        lambda: api.inputs_of_output(unit.uuid),
        lambda: api.units_of_nodes([unit.uuid]),
        lambda: api.set_input(unit.uuid, "x"),
    ]
    for ask in asks:
        with pytest.raises(RestError) as caught:
            await ask()
        assert caught.value.failure is failure
        assert caught.value.detail.startswith("403: 1: No Access: because")
        assert len(caught.value.detail) <= 300
        assert unit.token not in str(caught.value)


async def test_an_api_that_does_not_answer_is_not_waited_for(
    session: aiohttp.ClientSession,
    pepeunit: LocalPepeunit,
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = RestClient._request.__kwdefaults__
    assert 0 < defaults["seconds"] <= 60
    monkeypatch.setitem(defaults, "seconds", 0.2)

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        env = Env.parse({**pepeunit.env(unit), "PU_DOMAIN": f"127.0.0.1:{port}"})
        with pytest.raises(RestError, match="no answer in time") as caught:
            async with asyncio.timeout(3):
                await RestClient(session, env).target_version()
        assert caught.value.failure is RestFailure.UNREACHABLE


async def test_the_token_goes_nowhere_that_a_redirect_leads_to(
    session: aiohttp.ClientSession, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{pepeunit.http_port}{API}/units")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", elsewhere)
    async with TestServer(app) as server:
        env = Env.parse({**pepeunit.env(unit), "PU_DOMAIN": f"127.0.0.1:{server.port}"})
        with pytest.raises(RestError) as caught:
            await RestClient(session, env).target_version()
    assert caught.value.failure is RestFailure.FAILED
    assert pepeunit.requests == []


async def test_a_list_of_faults_is_shown_too(api: RestClient, pepeunit: LocalPepeunit) -> None:
    pepeunit.refusing = (422, [{"loc": ["body", "state"], "msg": "required"}])  # type: ignore[assignment]
    with pytest.raises(RestError, match="required"):
        await api.target_version()


async def test_an_answer_without_an_end_or_without_sense_is_refused(
    api: RestClient, pepeunit: LocalPepeunit, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    pepeunit.archive = b"x" * 100_000
    monkeypatch.setattr(rest, "LARGEST_PACKED", 99_999)
    with pytest.raises(RestError) as caught:
        await api.firmware()
    assert caught.value.failure is RestFailure.TOO_LARGE
    unit.env_override = {"PU_MQTT_PORT": "none"}
    with pytest.raises(InvalidFile):
        await api.env()


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{", b'{"commit": 7}', b'{"commit": "a", "tag": 1}', b"[" * 100_000],
    ids=range(6),
)
def test_an_answer_that_makes_no_sense_is_an_error(answer: bytes) -> None:
    with pytest.raises(RestError) as caught:
        answered_version(answer)
    assert caught.value.failure is RestFailure.FAILED


async def test_a_storage_without_text_is_empty_and_one_with_another_thing_is_an_error(
    api: RestClient, unit: Unit
) -> None:
    unit.storage = None  # type: ignore[assignment]
    assert await api.state_storage() == ""
    unit.storage = 7  # type: ignore[assignment]
    with pytest.raises(RestError):
        await api.state_storage()


async def test_an_authority_of_ones_own_stands_beside_the_public_ones(
    session: aiohttp.ClientSession, tmp_path: Path, unit: Unit, socket_enabled: None
) -> None:
    public = trustme.CA(organization_unit_name="public")
    contexts: list[ssl.SSLContext] = []

    def new_context() -> ssl.SSLContext:
        contexts.append(ssl.create_default_context(cadata=public.cert_pem.bytes().decode()))
        return contexts[-1]

    assert api_context(None, new_context) is None
    async with LocalPepeunit(tmp_path / "private", with_https=True, units=[unit]) as private:
        env = Env.parse(private.env(unit))
        context = api_context(private.broker.ca, new_context)
        assert context is not None
        assert len(context.get_ca_certs()) == 2
        assert await RestClient(session, env, context).env() == env
        for other in (None, new_context()):
            with pytest.raises(RestError) as caught:
                await RestClient(session, env, other).env()
            assert caught.value.failure is RestFailure.UNTRUSTED
            assert caught.value.reason is Reason.TLS_UNTRUSTED
        assert len(private.requests) == 1


async def test_nobody_at_home_is_said_without_the_token(
    session: aiohttp.ClientSession, pepeunit: LocalPepeunit, unit: Unit
) -> None:
    env = json.loads(json.dumps(pepeunit.env(unit)))
    nobody = RestClient(session, Env.parse({**env, "PU_DOMAIN": "127.0.0.1:1"}))
    with pytest.raises(RestError) as caught:
        await nobody.env()
    assert caught.value.failure is RestFailure.UNREACHABLE
    assert unit.token not in str(caught.value)
