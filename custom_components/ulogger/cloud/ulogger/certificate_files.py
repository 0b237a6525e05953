"""Certificates and keys out of the files that people have them in: PEM or DER.

Only what was parsed comes back. What stands around it stays behind: byte order marks, bag
attributes, comments, and above all a private key beside a certificate.
"""

import codecs
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

_BEGIN = b"-----BEGIN "
_DASHES = b"-----"
_CERTIFICATES = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_PRIVATE_KEY = b"PRIVATE KEY"
_SEQUENCE = b"\x30"
"""How every certificate, key and PKCS#12 file in DER begins."""
_PKCS12_VERSION = b"\x02\x01\x03\x30"
"""The version that a PKCS#12 file begins with, and the beginning of what follows it."""


class NothingReadable(Exception):
    """There is nothing of the wanted kind in the file."""


class PasswordNeeded(Exception):
    """The private key is encrypted."""


class IsPkcs12(Exception):
    """The file is a PKCS#12 store (``.p12``, ``.pfx``)."""


def is_certificate_or_key(raw: bytes) -> bool:
    """Return whether a file looks like one in PEM or DER, whatever it holds; raises IsPkcs12."""
    if raw.startswith(_SEQUENCE):
        return bool(_der(raw))
    return next(_pem_blocks(raw), None) is not None


def read_certificates(raw: bytes) -> list[x509.Certificate]:
    """Return all certificates of a file in their order.

    Raises NothingReadable and IsPkcs12.
    """
    try:
        if blocks := list(_pem_blocks(raw)):
            found = [
                x509.load_pem_x509_certificate(text)
                for label, text in blocks
                if label in _CERTIFICATES
            ]
        else:
            found = [x509.load_der_x509_certificate(_der(raw))]
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as err:
        raise NothingReadable("the certificate can't be read") from err
    if not found:
        raise NothingReadable("there is no certificate in the file")
    return found


def read_private_key(raw: bytes) -> tuple[PrivateKeyTypes, str]:
    """Return the first private key of a file and its PEM text.

    Raises NothingReadable, PasswordNeeded and IsPkcs12.
    """
    blocks = list(_pem_blocks(raw))
    text = next((text for label, text in blocks if label.endswith(_PRIVATE_KEY)), None)
    try:
        if text is not None:
            return load_pem_private_key(text, password=None), text.decode("ascii")
        if blocks:
            raise NothingReadable("there is no private key in the file")
        key = load_der_private_key(_der(raw), password=None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    except TypeError as err:
        raise PasswordNeeded("the private key is encrypted") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise NothingReadable("the private key can't be read") from err
    return key, pem.decode("ascii")


def as_pem(certificates: Iterable[x509.Certificate]) -> str:
    """Write certificates one after the other, and nothing else."""
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in certificates)


def without_keys(text: str) -> str:
    """Return the certificates of a PEM text that may hold more than these.

    A text that can't be read as certificates is left as it is, unless there is a key in it.
    """
    try:
        return as_pem(read_certificates(text.encode(errors="replace")))
    except NothingReadable, IsPkcs12:
        return "" if "PRIVATE KEY" in text else text


def _pem_blocks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the label and the text of each complete PEM block, in one pass."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raw = raw.decode("utf-16", errors="replace").encode()
    unix = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for begun in unix.split(_BEGIN)[1:]:
        label, _, rest = begun.partition(_DASHES)
        end = _DASHES + b"END " + label + _DASHES
        body, found, _ = rest.partition(end)
        if found:
            yield label, _BEGIN + label + _DASHES + body + end + b"\n"


def _der(raw: bytes) -> bytes:
    """Return the file if it may be a certificate or key in DER."""
    if not raw.startswith(_SEQUENCE):
        raise NothingReadable("this is neither PEM nor DER")
    if raw.find(_PKCS12_VERSION, 2, 10) > 0:
        raise IsPkcs12("this is a PKCS#12 file")
    return raw
