"""The customer's certificate: out of the download, checked, and into a TLS context.

Everything here parses, reads files or derives keys: call it in the executor.
"""

import datetime as dt
import io
import os
import ssl
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

CERTIFICATE_NAME = "certificate.pem.crt"
PRIVATE_KEY_NAME = "private.pem.key"
LARGEST_FILE = 64 * 1024
MOST_FILES = 64
_DESCRIPTORS = Path("/proc/self/fd")
_PEM_BEGIN = b"-----BEGIN "
_ENCRYPTED = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


class CredentialsError(Exception):
    """The credentials can't be used; ``field`` is where the fault lies.

    No error shows what it read: it may be a private key.
    """

    retryable = False
    reason = "credentials_invalid"
    field = "certificate"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        if field is not None:
            self.field = field


class ArchiveDamaged(CredentialsError):
    """The zip is no zip, damaged, or was not downloaded completely."""

    reason = "archive_truncated"
    field = "archive"


class ArchiveIncomplete(CredentialsError):
    """The zip does not hold a certificate and a key."""

    reason = "archive_incomplete"
    field = "archive"


class NotPem(CredentialsError):
    """The file is not a PEM file of the expected kind."""

    reason = "not_pem"


class KeyEncrypted(CredentialsError):
    """The private key needs a passphrase."""

    reason = "key_encrypted"
    field = "private_key"


class KeyMismatch(CredentialsError):
    """The private key belongs to another certificate."""

    reason = "key_mismatch"
    field = "private_key"


class CertificateExpired(CredentialsError):
    """The certificate is not valid any longer."""

    reason = "certificate_expired"


class CertificateNotYetValid(CredentialsError):
    """The certificate is not valid yet."""

    reason = "certificate_not_yet_valid"


class CaInvalid(CredentialsError):
    """The own certificate authority is not a certificate."""

    reason = "ca_invalid"
    field = "ca"


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM texts: the client's certificate and key, and the authority of an own broker.

    ``expires_at`` is when the certificate ends. The key is in no representation.
    """

    certificate: str
    private_key: str = field(repr=False)
    ca: str | None = None

    @property
    def expires_at(self) -> dt.datetime:
        """When the certificate ends (UTC)."""
        return _certificate(self.certificate.encode(), NotPem).not_valid_after_utc

    @classmethod
    def checked(
        cls,
        certificate: str | bytes,
        private_key: str | bytes,
        ca: str | bytes | None = None,
        *,
        now: dt.datetime | None = None,
    ) -> Self:
        """Return credentials that belong together and are valid now; raises CredentialsError."""
        leaf = _certificate(_bytes(certificate), NotPem)
        key = _private_key(_bytes(private_key))
        try:
            belongs = leaf.public_key() == key.public_key()
        except (ValueError, UnsupportedAlgorithm) as err:
            raise NotPem("the certificate's public key can't be read") from err
        if not belongs:
            raise KeyMismatch("the private key does not belong to the certificate")
        now = now or dt.datetime.now(dt.UTC)
        if now >= leaf.not_valid_after_utc:
            raise CertificateExpired(f"the certificate expired {leaf.not_valid_after_utc}")
        if now < leaf.not_valid_before_utc:
            raise CertificateNotYetValid(f"it is valid from {leaf.not_valid_before_utc}")
        return cls(
            _bytes(certificate).decode("ascii"),
            _bytes(private_key).decode("ascii"),
            None if ca is None else read_ca(ca),
        )


def read_certificate_zip(
    data: bytes, ca: str | bytes | None = None, *, now: dt.datetime | None = None
) -> Credentials:
    """Return the checked credentials in a certificate download; raises CredentialsError.

    Other files beside the two are left alone; the two may lie in a folder. Faults of the
    files within are faults of the archive: it is what was uploaded.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            certificate = _member(archive, CERTIFICATE_NAME)
            private_key = _member(archive, PRIVATE_KEY_NAME)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as err:
        raise ArchiveDamaged("the zip file is damaged") from err
    except (NotImplementedError, RuntimeError) as err:
        # A method of compression that is not built in, or a zip with a password.
        raise ArchiveDamaged("the zip file can't be unpacked") from err
    try:
        return Credentials.checked(certificate, private_key, ca, now=now)
    except CaInvalid:
        raise
    except CredentialsError as err:
        err.field = "archive"
        raise


def read_ca(data: str | bytes) -> str:
    """Return the PEM text of one or more authorities; raises CaInvalid."""
    raw = _bytes(data)
    _certificate(raw, CaInvalid)
    return raw.decode("ascii")


def build_tls_context(
    credentials: Credentials,
    new_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> ssl.SSLContext:
    """Return a TLS context that verifies the broker and presents the certificate.

    ``new_context`` makes a verifying context that nobody else uses. An authority of one's
    own *replaces* the public ones: a broker at home is not to be taken over by any public
    certificate. OpenSSL reads certificate and key from files only: they are given to it in
    memory where the system can do that, so that not even a kill leaves a key behind.
    """
    if credentials.ca is None:
        context = new_context()
    else:
        context = ssl.create_default_context(cadata=credentials.ca)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    with _as_file(credentials.certificate) as certificate, _as_file(credentials.private_key) as key:
        try:
            context.load_cert_chain(certificate, key, _no_password)
        except (ssl.SSLError, ValueError) as err:
            raise KeyMismatch("OpenSSL refuses certificate and key") from err
    return context


@contextmanager
def _as_file(text: str) -> Iterator[Path]:
    """Give a text as a file of this user only; it is in memory, or deleted in the end."""
    if hasattr(os, "memfd_create") and _DESCRIPTORS.is_dir():
        with os.fdopen(os.memfd_create("ulogger"), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            yield _DESCRIPTORS / str(file.fileno())
        return
    with tempfile.NamedTemporaryFile("w", prefix="ulogger-", encoding="ascii") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)


def _no_password() -> str:
    """Keep OpenSSL from asking for a passphrase on the terminal."""
    raise ValueError("the key is encrypted")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return one file of the archive, never more of it than a certificate can have."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise ArchiveIncomplete("there are far too many files in the zip file")
    found = [entry for entry in entries if entry.filename.rsplit("/", 1)[-1] == name]
    if len(found) != 1:
        raise ArchiveIncomplete(f"the zip file has {len(found)} files {name}")
    with archive.open(found[0]) as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ArchiveIncomplete(f"{name} is too large for a certificate or key")
    return content


def _certificate(raw: bytes, error: type[CredentialsError]) -> x509.Certificate:
    if len(raw) > LARGEST_FILE or _PEM_BEGIN not in raw or not raw.isascii():
        raise error("this is not a certificate in PEM")
    try:
        return x509.load_pem_x509_certificates(raw)[0]
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as err:
        raise error("the certificate can't be read") from err


def _private_key(raw: bytes) -> PrivateKeyTypes:
    if any(mark in raw for mark in _ENCRYPTED):
        raise KeyEncrypted("the private key is encrypted")
    if len(raw) > LARGEST_FILE or _PEM_BEGIN not in raw or not raw.isascii():
        raise NotPem("this is not a private key in PEM", field="private_key")
    try:
        return serialization.load_pem_private_key(raw, password=None)
    except TypeError as err:
        raise KeyEncrypted("the private key is encrypted") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise NotPem("the private key can't be read", field="private_key") from err


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="replace") if isinstance(text, str) else text
