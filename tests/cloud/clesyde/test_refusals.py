"""What can't be used is refused for a reason that a person can act on, and nothing breaks by it."""

import asyncio
import base64
import datetime as dt
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_socket
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization

from custom_components.ulogger.cloud.clesyde.captures import LARGEST_PAYLOAD, Choice, messages
from custom_components.ulogger.cloud.clesyde.certificates import (
    LARGEST,
    Pair,
    client_context,
    server_context,
)
from custom_components.ulogger.cloud.clesyde.errors import ThingError
from custom_components.ulogger.cloud.clesyde.provisioning import api_url, register
from custom_components.ulogger.cloud.clesyde.rotation import (
    LARGEST_ANSWER,
    MOST_TRIES,
    Rotation,
    parse_answer,
)
from custom_components.ulogger.cloud.clesyde.thing import (
    CONFIG_FILE,
    PEM_FILES,
    Thing,
    make_thing,
    thing_from_files,
    thing_from_registration,
)
from custom_components.ulogger.cloud.clesyde.unprovisioned import Unprovisioned
from custom_components.ulogger.cloud.clesyde.wishes import LONGEST_KEY, Settable, read_wishes
from custom_components.ulogger.cloud.destination import ConnectionState
from custom_components.ulogger.cloud.errors import (
    CloudUnavailable,
    CredentialsRefused,
    InvalidMessage,
)
from custom_components.ulogger.insight.crash_report import CrashReport
from custom_components.ulogger.model.backoff import Backoff, never
from tests.support.account import core_dump, log
from tests.support.clesyde import SERIAL, issued

AUTHORITY = trustme.CA()
CA = AUTHORITY.cert_pem.bytes().decode()
NOW = 1_795_225_292.0
ALL_DEVICES = {"level": "info", "until": NOW + 600}


def reason(call: Callable[..., object], *values: Any, **named: Any) -> str:
    """Return why something is refused."""
    with pytest.raises(ThingError) as caught:
        call(*values, **named)
    return caught.value.reason


# Certificates and keys


def changed(pair: Pair, old: bytes, new: bytes) -> str:
    """Return a certificate with other bytes in it, which nobody has signed."""
    der = ssl.PEM_cert_to_DER_cert(pair.certificate)
    assert old in der
    return ssl.DER_cert_to_PEM_cert(der.replace(old, new))


def test_a_pair_that_can_not_be_is_refused_for_what_is_wrong_with_it() -> None:
    pair, now = issued(AUTHORITY, 10), dt.datetime.now(dt.UTC)

    def check(certificate: str | bytes, key: str | bytes) -> str:
        return reason(Pair.checked, certificate, key, field="iot_cert", now=now)

    # The object identifier of EC keys, and one that nobody knows.
    unknown = changed(
        pair, bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f")
    )
    locked = serialization.load_pem_private_key(pair.key.encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    assert check(unknown, pair.key) == "not_pem"
    assert check(pair.certificate, locked) == "key_encrypted"
    assert check(pair.certificate, "no key") == "not_pem"
    assert check("no certificate", pair.key) == "not_pem"
    assert check(pair.certificate.encode() + b"\xff", pair.key) == "not_pem"
    assert check(pair.certificate + "\n" * LARGEST, pair.key) == "not_pem"
    assert check(pair.certificate, issued(AUTHORITY, 10).key) == "key_mismatch"
    tomorrow = issued(AUTHORITY, 10, since=-1)
    assert check(tomorrow.certificate, tomorrow.key) == "certificate_not_yet_valid"
    yesterday = issued(AUTHORITY, -1, since=3)
    assert check(yesterday.certificate, yesterday.key) == "certificate_expired"
    # Without a clock only what belongs together counts.
    assert Pair.checked(tomorrow.certificate, tomorrow.key, field="x", now=None) == tomorrow


def test_an_authority_that_openssl_does_not_take_is_named() -> None:
    with pytest.raises(ThingError) as caught:
        client_context("no certificate", issued(AUTHORITY, 10))
    assert (caught.value.reason, caught.value.field) == ("not_pem", "iot_ca")


def test_a_certificate_that_the_server_can_not_show_is_of_no_use() -> None:
    def narrow() -> ssl.SSLContext:
        """Return a context whose ciphers want another kind of key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        return context

    def another() -> ssl.SSLContext:
        """Return a context that shows everybody another certificate."""
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("other.invalid").configure_cert(shown)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(end: ssl.SSLObject, *_: object) -> None:
            end.context = shown

        context.sni_callback = choose
        return context

    pair = issued(AUTHORITY, 10)
    assert reason(server_context, pair, narrow) == "certificate_useless"
    assert reason(server_context, pair, another) == "certificate_useless"


# Things


def folder(**changes: bytes) -> dict[str, bytes]:
    """Return the files of a provisioned folder, by their names."""
    iot, remote = issued(AUTHORITY, 10), issued(AUTHORITY, 10)
    config = {
        "iot_endpoint": "broker.invalid",
        "remote_endpoint": "snitun.invalid:1443",
        "access_point": "home.invalid",
        "iot_thing_name": "thing",
    }
    pems = (CA, iot.certificate, iot.key, remote.certificate, remote.key)
    files = {f"{name}.pem": pem.encode() for name, pem in zip(PEM_FILES, pems, strict=True)}
    return {**files, CONFIG_FILE: json.dumps(config).encode(), **changes}


def test_a_folder_that_is_whole_is_a_thing() -> None:
    thing = thing_from_files(SERIAL, folder())
    assert thing.broker == ("broker.invalid", 8883)
    assert thing.snitun == ("snitun.invalid", 1443)
    assert thing.url == "https://home.invalid:8443"


@pytest.mark.parametrize(
    "config", [b"\xff", b"[" * 100_000, b"[]", b"{}", b"{" + b" " * 300_000 + b"}"]
)
def test_a_folder_whose_settings_can_not_be_read_says_which_file(config: bytes) -> None:
    with pytest.raises(ThingError) as caught:
        thing_from_files(SERIAL, folder(**{CONFIG_FILE: config}))
    assert (caught.value.reason, caught.value.detail) == ("config_invalid", CONFIG_FILE)


@pytest.mark.parametrize("host", ["", "a b", "host:0", "host:70000", "-host", "https://host"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    thing = thing_from_files(SERIAL, folder())
    hosts = (host, thing.remote_endpoint, thing.access_point)
    assert reason(make_thing, SERIAL, "thing", hosts, {}, None) == "host_invalid"


@pytest.mark.parametrize("name", ["", "ä" * 65, "a\nb"])
def test_a_name_that_can_be_no_client_id_is_refused(name: str) -> None:
    assert reason(make_thing, SERIAL, name, ("a", "b", "c"), {}, None) == "answer_invalid"


@pytest.mark.parametrize("stored", [{}, {"serial": SERIAL}, None])
def test_a_thing_that_was_stored_otherwise_has_lost_its_keys(stored: Any) -> None:
    assert reason(Thing.from_dict, stored) == "keys_missing"
    kept = thing_from_files(SERIAL, folder()).as_dict()
    assert reason(Thing.from_dict, {**kept, "iot": stored or "text"}) == "keys_missing"


@pytest.mark.parametrize("error", ["no such device", {"code": 7}])
def test_what_the_api_says_against_a_device_is_passed_on(error: object) -> None:
    answer = json.dumps({"registration": {"error": error}}).encode()
    with pytest.raises(ThingError) as caught:
        thing_from_registration(SERIAL, answer)
    assert caught.value.reason == "registration_refused"
    assert caught.value.detail == (error if isinstance(error, str) else '{"code": 7}')


@pytest.mark.parametrize("answer", [b"no JSON", b"7", b"{}", b'{"registration": {"thing": {}}}'])
def test_an_answer_that_is_no_registration_is_refused(answer: bytes) -> None:
    assert reason(thing_from_registration, SERIAL, answer) == "answer_invalid"


# The API


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("https://[", "url_invalid"),
        ("ftp://api.invalid", "url_invalid"),
        ("https://", "url_invalid"),
        ("https://me@api.invalid", "url_invalid"),
        ("https://api.invalid?token=1", "url_invalid"),
        ("http://api.invalid", "url_unencrypted"),
        ("http://192.0.2.1", "url_unencrypted"),
    ],
)
def test_no_key_travels_readable_or_to_no_address(typed: str, why: str) -> None:
    assert reason(api_url, typed) == why


@pytest.mark.parametrize("host", ["127.0.0.1:1", "[::1]:1", "localhost:1"])
def test_this_machine_may_be_asked_without_tls(host: str) -> None:
    assert str(api_url(f" http://{host}/v1#top ")) == f"http://{host}/v1/device/register"


class Api:
    """Clesyde's API, which answers as the test says."""

    def __init__(self) -> None:
        self.status, self.answer = 200, b"{}"
        self.hangs = False
        self.port = 0
        self.gone = asyncio.Event()
        application = web.Application()
        application.router.add_post("/device/register", self._register)
        self.server = TestServer(application)

    async def _register(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        # In two pieces, as a long answer comes.
        await response.write(self.answer[:1])
        if self.hangs:
            await self.gone.wait()
        await response.write(self.answer[1:])
        return response

    async def failure(self, scheme: str = "http", seconds: float = 20.0) -> str:
        """Return why nothing is registered."""

        async def run(work: Any, *values: Any) -> Any:
            return work(*values)

        url = f"{scheme}://127.0.0.1:{self.port}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(ThingError) as caught:
                await register(session, url, SERIAL, "token", run, seconds=seconds)
        return caught.value.reason


@pytest.fixture
async def api(socket_enabled: None) -> AsyncGenerator[Api]:
    """An API that runs."""
    pytest_socket.enable_socket()
    api = Api()
    await api.server.start_server()
    assert api.server.port is not None
    api.port = api.server.port
    yield api
    api.gone.set()
    await api.server.close()


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "token_refused"),
        (403, "token_refused"),
        (404, "api_not_there"),
        (302, "api_failed"),
        (500, "api_failed"),
        (200, "answer_invalid"),
    ],
)
async def test_a_status_of_the_api_is_said_in_words(api: Api, status: int, why: str) -> None:
    api.status = status
    assert await api.failure() == why


async def test_an_api_that_says_far_too_much_or_nothing_is_not_waited_for(api: Api) -> None:
    api.answer = b" " * 1_000_000
    assert await api.failure() == "answer_invalid"
    api.hangs = True
    assert await api.failure(seconds=0.2) == "api_timeout"


async def test_an_api_that_speaks_no_tls_or_has_gone_gives_nothing(api: Api) -> None:
    assert await api.failure("https") == "api_untrusted"
    await api.server.close()
    assert await api.failure() == "api_unreachable"


# What is desired


@pytest.mark.parametrize(
    ("desired", "name", "why"),
    [
        ({"remoteCertSn": "12x"}, "remoteCertSn", "a certificate's serial number"),
        ({"remoteCertSn": True}, "remoteCertSn", "a certificate's serial number"),
        ({"remoteCertSn": "1" * 65}, "remoteCertSn", "a certificate's serial number"),
        ({"logLevels": 7}, "logLevels", "an object, by device"),
        ({"logLevels": {"x-A": ALL_DEVICES}}, "logLevels.x-A", "named APPLICATION-SERIAL"),
        ({"logLevels": {"42": ALL_DEVICES}}, "logLevels.42", "named APPLICATION-SERIAL"),
        ({"logLevels": {"42-A": 3}}, "logLevels.42-A", "an object with level and until"),
        (
            {"logLevels": {f"{2**32}-A": ALL_DEVICES}},
            f"logLevels.{2**32}-A",
            "an object with level and until",
        ),
        ({"logLevels": {"42-A": {**ALL_DEVICES, "level": "loud"}}}, "logLevels.42-A", "level: "),
        ({"logLevels": {"42-A": {**ALL_DEVICES, "until": True}}}, "logLevels.42-A", "until: "),
        ({"logLevels": {"42-A": {**ALL_DEVICES, "until": 1e300}}}, "logLevels.42-A", "until: "),
        (
            {"logLevels": {"42-A": {**ALL_DEVICES, "moduleFlags": 2**32}}},
            "logLevels.42-A",
            "moduleFlags: ",
        ),
    ],
)
def test_what_is_desired_wrong_is_refused_by_its_name(
    desired: dict[str, Any], name: str, why: str
) -> None:
    wishes = read_wishes(desired, {}, NOW)
    assert list(wishes.refused) == [name]
    assert wishes.refused[name].startswith(why)
    assert (wishes.log_levels, wishes.certificate) == ({}, None)


def test_more_refusals_than_can_be_reported_are_counted() -> None:
    desired = {f"name {number}": 1 for number in range(20)}
    wishes = read_wishes(
        {**desired, "n" * 500: 1, "interval": 7.0}, {"interval": Settable(1, 9)}, 0
    )
    assert wishes.options == {"interval": 7}
    assert len(wishes.refused) == 17
    assert wishes.refused["..."] == "5 more"
    long = read_wishes({"n" * 500: 1}, {}, NOW)
    assert [len(name) <= LONGEST_KEY for name in long.refused] == [True]


# Rotation


@pytest.mark.parametrize(
    "payload",
    [
        b" " * (LARGEST_ANSWER + 1),
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"cert": 1, "pkey": ""}',
        b'{"cert": ""}',
    ],
)
def test_an_answer_without_certificate_and_key_is_none(payload: bytes) -> None:
    with pytest.raises(InvalidMessage):
        parse_answer(payload)


class Asking:
    """A rotation, what it asks for, and what it takes."""

    def __init__(self, present: Pair, backoff: Backoff) -> None:
        self.due = asyncio.Event()
        self.asked: list[bytes] = []
        self.taken: list[Pair] = []
        self.unavailable = False

        async def request(_action: str, payload: bytes) -> None:
            self.asked.append(payload)
            if self.unavailable:
                raise CloudUnavailable("told so")

        async def take(pair: Pair) -> None:
            self.taken.append(pair)

        async def run(work: Any, *values: Any) -> Any:
            return work(*values)

        self.rotation = Rotation(request, lambda: present, take, run=run, backoff=backoff)
        self.rotation.on_ask = self.due.set


async def test_a_certificate_that_does_not_come_is_asked_for_some_times_and_not_for_ever() -> None:
    asking = Asking(issued(AUTHORITY, 10), Backoff(first=0.0, longest=0.0, chance=never))
    asking.unavailable = True
    await asking.rotation.ask()
    assert not asking.asked, "nobody wants one"
    asking.rotation.desired("5", "4")
    for _ in range(MOST_TRIES):
        await asking.due.wait()
        asking.due.clear()
        await asking.rotation.ask()
    assert asking.asked == [b'{"remoteCertSn":"5"}'] * MOST_TRIES
    assert asking.rotation.failure == "unanswered"
    # The shadow, read on the next connection, begins anew; one that is there ends it.
    asking.rotation.desired("5", "4")
    assert asking.due.is_set()
    assert asking.rotation.failure is None
    asking.rotation.desired("5", "5")
    assert asking.rotation.wanted is None


async def test_an_answer_is_taken_when_it_was_asked_for_and_fits() -> None:
    present, successor = issued(AUTHORITY, 10, since=3), issued(AUTHORITY, 20)
    asking = Asking(present, Backoff(first=1e6, longest=1e6))
    rotation = asking.rotation
    answer = json.dumps({"cert": successor.certificate, "pkey": successor.key}).encode()
    with pytest.raises(InvalidMessage):
        await rotation.received(answer)
    rotation.desired("5", present.about.serial)
    await rotation.ask()
    await rotation.received(answer)
    assert (rotation.failure, rotation.wanted, asking.taken) == ("serial_differs", "5", [])
    rotation.desired(successor.about.serial, present.about.serial)
    await rotation.ask()
    await rotation.received(answer)
    assert (rotation.failure, rotation.wanted, asking.taken) == (None, None, [successor])


# Captures


def test_only_what_was_chosen_goes() -> None:
    assert not Choice().any
    assert Choice(metrics="m").any
    assert messages(Choice(crashes="c"), 7, log(), None, None) == []
    assert messages(Choice(logs="l"), 7, core_dump(), None, None) == []


def test_a_log_that_nobody_could_read_goes_as_it_came() -> None:
    [(topic, payload)] = messages(Choice(logs="l", metrics="m"), 7, log(), None, None)
    said = json.loads(payload)
    assert (topic, said["content"]) == ("l", "raw")
    assert base64.b64decode(said["data"]) == log().data


@pytest.mark.parametrize("size", [10, 2 * LARGEST_PAYLOAD])
def test_a_crash_report_is_cut_where_it_is_too_long_and_says_the_rest(size: int) -> None:
    class Long:
        """A report with much memory."""

        def as_dict(self) -> dict[str, Any]:
            return {"reason": "told", "memory": ["x" * size], "backtrace": ["main"]}

    report: CrashReport = Long()  # type: ignore[assignment]
    [(_, payload)] = messages(Choice(crashes="c"), 7, core_dump(), None, report)
    said = json.loads(payload)["report"]
    assert len(payload) <= LARGEST_PAYLOAD
    assert (said["reason"], said["backtrace"]) == ("told", ["main"])
    assert (said["memory"] is None) is (size > LARGEST_PAYLOAD)
    [(_, unread)] = messages(Choice(crashes="c"), 7, core_dump(), None, None)
    assert json.loads(unread)["report"] is None


# No keys


async def test_a_thing_without_keys_says_that_it_is_refused_and_takes_nothing() -> None:
    thing = Unprovisioned("id", "keys_missing")
    told: list[ConnectionState] = []
    thing.on_state = told.append
    task = asyncio.create_task(thing.run())
    await asyncio.sleep(0)
    assert told == [ConnectionState.CREDENTIALS_REFUSED]
    assert not task.done()
    assert not thing.connected
    with pytest.raises(CredentialsRefused):
        await thing.deliver(log(), 7)
    assert thing.diagnostics() == {"keys": "keys_missing"}
    task.cancel()
