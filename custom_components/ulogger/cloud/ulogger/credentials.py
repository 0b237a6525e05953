"""The customer's certificate: out of the download, checked, and into a TLS context.

Everything here parses, reads files or derives keys: call it in the executor.
"""

import datetime as dt
import io
import ssl
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ..tls import UnusableFiles, client_context
from .certificate_files import (
    IsPkcs12,
    NothingReadable,
    PasswordNeeded,
    as_pem,
    is_certificate_or_key,
    read_certificates,
    read_private_key,
)

CERTIFICATE_NAME = "certificate.pem.crt"
PRIVATE_KEY_NAME = "private.pem.key"
LARGEST_FILE = 64 * 1024
LARGEST_CA = 256 * 1024
"""Bytes; a bundle of all public authorities is about as long."""
MOST_FILES = 64
_ZIP = b"PK"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
"""The flag of a file in a zip that needs a password."""


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


class ArchiveMistaken(CredentialsError):
    """The file is no zip but a certificate or key."""

    reason = "archive_mistaken"
    field = "archive"


class ArchiveEncrypted(CredentialsError):
    """The zip needs a password."""

    reason = "archive_encrypted"
    field = "archive"


class ArchiveUnsupported(CredentialsError):
    """The zip is packed by a method other than the usual one."""

    reason = "archive_unsupported"
    field = "archive"


class NotPem(CredentialsError):
    """The file holds no certificate or key, neither as PEM nor as DER."""

    reason = "not_pem"


class Pkcs12(CredentialsError):
    """The file is a PKCS#12 store, which has to be turned into PEM first."""

    reason = "pkcs12"


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


class CaTooLarge(CaInvalid):
    """There are far too many authorities."""

    reason = "ca_too_large"


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM texts: the client's certificate and key, and the authority of an own broker.

    No text but the key's holds a key. ``expires_at`` is when the certificate ends. The key is
    in no representation.
    """

    certificate: str
    private_key: str = field(repr=False)
    ca: str | None = None

    @property
    def expires_at(self) -> dt.datetime:
        """When the certificate ends (UTC)."""
        return _certificates(self.certificate.encode(), NotPem)[0].not_valid_after_utc

    @classmethod
    def checked(
        cls,
        certificate: str | bytes,
        private_key: str | bytes,
        ca: str | bytes | None = None,
        *,
        now: dt.datetime | None = None,
    ) -> Self:
        """Return credentials that belong together and are valid now; raises CredentialsError.

        Both may come from one file. The certificate that belongs to the key is put first.
        """
        certificates = _certificates(_bytes(certificate), NotPem)
        key, key_text = _private_key(_bytes(private_key))
        leaf = _belonging(certificates, key)
        now = now or dt.datetime.now(dt.UTC)
        if now >= leaf.not_valid_after_utc:
            raise CertificateExpired(f"the certificate expired {leaf.not_valid_after_utc}")
        if now < leaf.not_valid_before_utc:
            raise CertificateNotYetValid(f"it is valid from {leaf.not_valid_before_utc}")
        chain = [leaf, *(each for each in certificates if each is not leaf)]
        return cls(as_pem(chain), key_text, None if ca is None else read_ca(ca))


def read_certificate_zip(
    data: bytes, ca: str | bytes | None = None, *, now: dt.datetime | None = None
) -> Credentials:
    """Return the checked credentials in a certificate download; raises CredentialsError.

    Other files beside the two are left alone; the two may lie in a folder. Faults of the
    files within are faults of the archive: it is what was uploaded.
    """
    if not data.startswith(_ZIP):
        _check_mistaken(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            certificate = _member(archive, CERTIFICATE_NAME)
            private_key = _member(archive, PRIVATE_KEY_NAME)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as err:
        raise ArchiveDamaged("the zip file is damaged") from err
    except (NotImplementedError, RuntimeError) as err:
        raise ArchiveUnsupported("the zip file can't be unpacked") from err
    try:
        return Credentials.checked(certificate, private_key, ca, now=now)
    except CaInvalid:
        raise
    except CredentialsError as err:
        err.field = "archive"
        raise


def read_ca(data: str | bytes) -> str:
    """Return the PEM text of one or more authorities, each once; raises CaInvalid."""
    raw = _bytes(data)
    if len(raw) > LARGEST_CA:
        raise CaTooLarge(f"more than {LARGEST_CA} bytes of certificate authorities")
    try:
        certificates = read_certificates(raw)
    except (NothingReadable, IsPkcs12) as err:
        raise CaInvalid(str(err)) from err
    return as_pem(dict.fromkeys(certificates))


def build_tls_context(
    credentials: Credentials,
    new_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> ssl.SSLContext:
    """Return a TLS context that verifies the broker and presents the certificate.

    ``new_context`` makes a verifying context that nobody else uses. Raises KeyMismatch.
    """
    pair = (credentials.certificate, credentials.private_key)
    try:
        return client_context(credentials.ca, *pair, new_context)
    except UnusableFiles as err:
        raise KeyMismatch("OpenSSL refuses certificate and key") from err


def _check_mistaken(data: bytes) -> None:
    """Raise what a file is that was uploaded in place of the zip, if it is one of ours."""
    try:
        if is_certificate_or_key(data):
            raise ArchiveMistaken("this is a certificate or key, not a zip file")
    except IsPkcs12 as err:
        raise Pkcs12(str(err), field="archive") from err


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return one file of the archive, never more of it than a certificate can have."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise ArchiveIncomplete("there are far too many files in the zip file")
    found = [
        entry for entry in entries if entry.filename.replace("\\", "/").rsplit("/", 1)[-1] == name
    ]
    if len(found) != 1:
        raise ArchiveIncomplete(f"the zip file has {len(found)} files {name}")
    if found[0].flag_bits & _ENCRYPTED:
        raise ArchiveEncrypted("the zip file needs a password")
    if found[0].compress_type not in _METHODS:
        raise ArchiveUnsupported(f"the zip file is packed by method {found[0].compress_type}")
    with archive.open(found[0]) as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ArchiveIncomplete(f"{name} is too large for a certificate or key")
    return content


def _certificates(raw: bytes, error: type[CredentialsError]) -> list[x509.Certificate]:
    if len(raw) > LARGEST_FILE:
        raise error("the file is too large for a certificate")
    try:
        return read_certificates(raw)
    except NothingReadable as err:
        raise error(str(err)) from err
    except IsPkcs12 as err:
        raise Pkcs12(str(err)) from err


def _private_key(raw: bytes) -> tuple[PrivateKeyTypes, str]:
    if len(raw) > LARGEST_FILE:
        raise NotPem("the file is too large for a private key", field="private_key")
    try:
        return read_private_key(raw)
    except PasswordNeeded as err:
        raise KeyEncrypted(str(err)) from err
    except NothingReadable as err:
        raise NotPem(str(err), field="private_key") from err
    except IsPkcs12 as err:
        raise Pkcs12(str(err), field="private_key") from err


def _belonging(certificates: list[x509.Certificate], key: PrivateKeyTypes) -> x509.Certificate:
    """Return the certificate that is the key's."""
    public = key.public_key()
    try:
        own = next((each for each in certificates if each.public_key() == public), None)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise NotPem("the certificate's public key can't be read") from err
    if own is None:
        raise KeyMismatch("the private key does not belong to the certificate")
    return own


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="replace") if isinstance(text, str) else text
