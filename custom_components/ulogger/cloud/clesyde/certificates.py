"""Certificates and keys of a thing: read, matched, compared, and put into TLS contexts.

Everything here parses or derives keys: call it in the executor.
"""

import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ..tls import UnusableFiles, load_pair, verifying_context
from .errors import ThingError

LARGEST: Final = 64 * 1024
"""Bytes of one file."""
_UNREADABLE: Final = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, OverflowError)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (with those that lead to its authority) and its key, as PEM texts."""

    certificate: str
    key: str = field(repr=False)

    @classmethod
    def checked(
        cls, certificate: str | bytes, key: str | bytes, *, field: str, now: dt.datetime | None
    ) -> Self:
        """Return a pair that belongs together and, at *now*, is valid; raises ThingError.

        ``field`` is how errors name it; without ``now`` no clock is asked.
        """
        certificates = read_certificates(certificate, field=field)
        public = _public_key(key, field=field)
        try:
            matches = certificates[0].public_key() == public
        except _UNREADABLE as err:
            raise ThingError("not_pem", "its public key can't be read", field=field) from err
        if not matches:
            raise ThingError("key_mismatch", "the key is another certificate's", field=field)
        if now is not None and now >= certificates[0].not_valid_after_utc:
            raise ThingError("certificate_expired", "the certificate has expired", field=field)
        if now is not None and now < certificates[0].not_valid_before_utc:
            raise ThingError("certificate_not_yet_valid", "it is not valid yet", field=field)
        return cls(_text(certificate, field), _text(key, field))

    @property
    def about(self) -> About:
        """What the certificate says."""
        leaf = read_certificates(self.certificate, field="certificate")[0]
        return About(str(leaf.serial_number), leaf.not_valid_before_utc, leaf.not_valid_after_utc)


@dataclass(frozen=True, slots=True)
class About:
    """What a certificate says: its serial number in decimal digits, and when it is valid."""

    serial: str
    since: dt.datetime
    until: dt.datetime

    def newer_than(self, other: About) -> bool:
        """Whether it was made to take another one's place: it begins later, or lasts longer."""
        return (self.since, self.until) > (other.since, other.until)


def read_certificates(pem: str | bytes, *, field: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text, the leaf first; raises ThingError."""
    raw = _text(pem, field).encode()
    try:
        certificates = x509.load_pem_x509_certificates(raw)
        for each in certificates:
            _ = each.not_valid_after_utc, each.not_valid_before_utc
    except _UNREADABLE as err:
        raise ThingError("not_pem", "no certificate in PEM", field=field) from err
    return certificates


def client_context(authority: str, pair: Pair) -> ssl.SSLContext:
    """Return a context that trusts only *authority* and presents *pair*; raises ThingError."""
    try:
        context = verifying_context(authority)
    except UnusableFiles as err:
        raise ThingError("not_pem", "OpenSSL refuses the authority", field="iot_ca") from err
    _load(context, pair, field="iot_cert")
    return context


def server_context(pair: Pair, new_context: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return a context that serves *pair*, tried by a handshake in memory; raises ThingError."""
    context = new_context()
    _load(context, pair, field="remote_cert")
    _try(context, pair)
    return context


def _load(context: ssl.SSLContext, pair: Pair, *, field: str) -> None:
    try:
        load_pair(context, pair.certificate, pair.key)
    except UnusableFiles as err:
        raise ThingError("key_mismatch", "OpenSSL refuses the pair", field=field) from err


def _try(context: ssl.SSLContext, pair: Pair) -> None:
    """Have a client shake hands with the server's context, and look at what it was shown."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # What is served is compared byte for byte, which is more than an authority would say.
    client.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        context.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting = list(ends)
    try:
        for _ in range(10):
            waiting = [end for end in waiting if not _shaken(end)]
            if not waiting:
                break
    except ssl.SSLError as err:
        message = f"TLS fails with it: {err.reason}"
        raise ThingError("certificate_useless", message, field="remote_cert") from err
    shown = ends[0].getpeercert(binary_form=True)
    leaf = read_certificates(pair.certificate, field="remote_cert")[0]
    if waiting or shown != leaf.public_bytes(serialization.Encoding.DER):
        raise ThingError("certificate_useless", "TLS does not serve it", field="remote_cert")


def _shaken(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _public_key(key: str | bytes, *, field: str) -> object:
    try:
        return serialization.load_pem_private_key(_text(key, field).encode(), None).public_key()
    except TypeError as err:
        raise ThingError("key_encrypted", "the key needs a passphrase", field=field) from err
    except _UNREADABLE as err:
        raise ThingError("not_pem", "no private key in PEM", field=field) from err


def _text(pem: str | bytes, field: str) -> str:
    """Return PEM as text, of which only ASCII means anything; raises ThingError."""
    if len(pem) > LARGEST:
        raise ThingError("not_pem", f"more than {LARGEST} bytes", field=field)
    try:
        text = pem.decode("ascii") if isinstance(pem, bytes) else pem
        text.encode("ascii")
    except UnicodeError as err:
        raise ThingError("not_pem", "no PEM", field=field) from err
    return text
