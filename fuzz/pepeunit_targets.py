"""Everything that comes from a Pepeunit: its files, commands, archives, values and answers."""

import io
import json
import tarfile
import zipfile
import zlib
from base64 import b64encode, urlsafe_b64encode

from custom_components.ulogger.cloud.pepeunit.archive import Archive, checked_name
from custom_components.ulogger.cloud.pepeunit.cipher import decrypt, encrypt
from custom_components.ulogger.cloud.pepeunit.commands import Command
from custom_components.ulogger.cloud.pepeunit.env import Env, unit_of
from custom_components.ulogger.cloud.pepeunit.errors import (
    ArchiveRefused,
    CipherError,
    InvalidCommand,
    InvalidFile,
    RestError,
)
from custom_components.ulogger.cloud.pepeunit.rest import answered_object, answered_version
from custom_components.ulogger.cloud.pepeunit.schema import Schema, is_topic

from .target import Target


def _part(values: dict[str, str]) -> str:
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


_KEY = b64encode(bytes(range(16))).decode()
_SAMPLE = ".".join(
    (
        _part({"alg": "HS256"}),
        _part({"uuid": "a87de76f-0011-4ccf-a87d-e76f0011a87d", "type": "Unit"}),
        "c2ln",
    )
)
_ENV = {
    "PU_DOMAIN": "pepeunit.example:8080",
    "PU_HTTP_TYPE": "https",
    "PU_APP_PREFIX": "/pepeunit",
    "PU_API_ACTUAL_PREFIX": "/api/v1",
    "PU_MQTT_HOST": "emqx.example",
    "PU_MQTT_PORT": 1883,
    "PU_AUTH_TOKEN": _SAMPLE,
    "PU_ENCRYPT_KEY": _KEY,
    "PU_STATE_SEND_INTERVAL": 60,
    "PU_MIN_LOG_LEVEL": "Info",
    "PU_COMMIT_VERSION": "c0ffee00",
}
_SCHEMA = {
    "input_base_topic": {"update/pepeunit": ["d/input_base_topic/u/update/pepeunit"]},
    "output_base_topic": {"log/pepeunit": ["d/output_base_topic/u/log/pepeunit"]},
    "input_topic": {"lamp": ["d/n1/pepeunit", "d/n2/pepeunit"]},
    "output_topic": {"door": ["d/n3/pepeunit"]},
}


def _env(data: bytes) -> object:
    env = Env.parse(data)
    # It is kept as UTF-8.
    if Env.parse(env.text.encode()) != env:
        raise AssertionError("an env.json is another one when it is kept")
    return env


def _schema(data: bytes) -> object:
    schema = Schema.parse(data)
    if Schema.parse(schema.text.encode()) != schema:
        raise AssertionError("a schema.json is another one when it is kept")
    for section in schema.sections:
        for topics in section.values():
            if not all(map(is_topic, topics)):
                raise AssertionError(f"{topics} are taken as topics")
    return schema


def _token(data: bytes) -> object:
    return unit_of(data.decode(errors="replace"))


def _command(data: bytes) -> object:
    return Command.parse("update/pepeunit", data)


def _archive(data: bytes) -> object:
    archive = Archive.parse(data, largest=1_000_000)
    for name in archive.files:
        if checked_name(name) != name or name.startswith("/") or ".." in name.split("/"):
            raise AssertionError(f"{name!r} would land elsewhere")
    return archive.images


def _sealed(data: bytes) -> object:
    return decrypt(data.decode(errors="replace"), _KEY)


def _answer(data: bytes) -> object:
    return answered_object(data)


def _version(data: bytes) -> object:
    return answered_version(data)


def _archives() -> list[bytes]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as packed:
        for name in ("./main.py", "lib/image.elf"):
            member = tarfile.TarInfo(name)
            member.size = 4
            packed.addfile(member, io.BytesIO(b"\x7fELF"))
    announced = tarfile.TarInfo("announced")
    announced.type, announced.size = tarfile.GNUTYPE_LONGNAME, 5
    chain = (announced.tobuf(tarfile.GNU_FORMAT) + b"name".ljust(512, b"\0")) * 3000
    return [
        tar.getvalue()[:3072],
        zlib.compress(tar.getvalue()),
        zlib.compress(chain + tar.getvalue()),
        *map(_zipped, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)),
    ]


def _zipped(method: int) -> bytes:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", method) as packed:
        packed.writestr("main.py", b"print()" * 9)
    return zipped.getvalue()


TARGETS = (
    Target("pepeunit_env", _env, (InvalidFile,), lambda: [json.dumps(_ENV).encode()]),
    Target("pepeunit_schema", _schema, (InvalidFile,), lambda: [json.dumps(_SCHEMA).encode()]),
    Target("pepeunit_token", _token, (InvalidFile,), lambda: [_SAMPLE.encode()], 1024),
    Target(
        "pepeunit_command",
        _command,
        (InvalidCommand,),
        lambda: [b'{"COMMAND": "Update", "PU_COMMIT_VERSION": "c0ffee"}'],
    ),
    Target("pepeunit_archive", _archive, (ArchiveRefused,), _archives),
    Target("pepeunit_cipher", _sealed, (CipherError,), lambda: [encrypt("text", _KEY).encode()]),
    Target("pepeunit_answer", _answer, (RestError,), lambda: [b'{"count": 1, "unit_nodes": [{}]}']),
    Target("pepeunit_version", _version, (RestError,), lambda: [b'{"commit": "c0", "tag": null}']),
)
