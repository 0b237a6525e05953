"""The room of the clouds: what the broker sends, and the files that a person uploads."""

import datetime as dt
import io
import zipfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.ulogger.credentials import (
    CERTIFICATE_NAME,
    PRIVATE_KEY_NAME,
    Credentials,
    CredentialsError,
    read_ca,
    read_certificate_zip,
)
from custom_components.ulogger.cloud.ulogger.messages import (
    log_config_message,
    parse_boot_reply,
    parse_log_config,
)
from custom_components.ulogger.cloud.ulogger.topics import checked_serial, device_of

from .target import Target

_NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _credentials() -> tuple[bytes, bytes]:
    """Return a certificate and its key as PEM, the same in every run."""
    key = ec.derive_private_key(0x756C6F67676572, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fuzz")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(_NOW - dt.timedelta(days=1))
        .not_valid_after(_NOW + dt.timedelta(days=1))
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


_CERTIFICATE, _KEY = _credentials()


def _archive(compression: int) -> bytes:
    """Return a download as it is handed out."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in ((CERTIFICATE_NAME, _CERTIFICATE), (PRIVATE_KEY_NAME, _KEY)):
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return packed.getvalue()


def _archives() -> list[bytes]:
    return [_archive(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


def _certificate(data: bytes) -> object:
    read_ca(data)
    return Credentials.checked(data, _KEY, now=_NOW)


def _private_key(data: bytes) -> object:
    return Credentials.checked(_CERTIFICATE, data, now=_NOW)


def _zip(data: bytes) -> object:
    return read_certificate_zip(data, now=_NOW)


def _log_config(data: bytes) -> object:
    config, _ = parse_log_config(data)
    again, readable = parse_log_config(log_config_message(config))
    if not readable or again != config:
        raise AssertionError(f"{config} does not survive the wire")
    return config.level_name


def _log_configs() -> list[bytes]:
    head = bytes((3, 3, 0, 0, 0, 60, 0, 0, 0))
    return [head, head + b'["MAIN", "COMM"]', head + b"[" * 400]


def _boot_replies() -> list[bytes]:
    return [b'{"token": 4294967295}', b'{"token": 7.5, "a": [null, true]}', b"[" * 4000]


def _topic(data: bytes) -> object:
    text = data.decode(errors="replace")
    serial = checked_serial(text)
    if device_of(f"boot/v0/1/0/42/{serial}") != (42, serial):
        raise AssertionError(f"the serial {serial!r} changes a topic")
    return device_of(text)


def _topics() -> list[bytes]:
    return [b"A87DE76F0011", b"boot/v0/1/0/42/A87DE76F0011", b"a+b#c", "grün".encode()]


_ERRORS = (CredentialsError,)
TARGETS = (
    Target("boot_reply", parse_boot_reply, (CloudError,), _boot_replies),
    Target("cloud_log_config", _log_config, (CloudError,), _log_configs),
    Target("topic", _topic, (CloudError,), _topics, 512),
    Target("certificate", _certificate, _ERRORS, lambda: [_CERTIFICATE]),
    Target("private_key", _private_key, _ERRORS, lambda: [_KEY]),
    Target("zip", _zip, _ERRORS, _archives),
)
