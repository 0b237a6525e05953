"""Keys of a gateway: generated here, or read from files. Everything here blocks."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from .endpoint import ES256, RS256

RSA_BITS: Final = 2048
VALID_FOR: Final = timedelta(days=3650)
CLOCKS_DIFFER: Final = timedelta(days=1)
LONGEST_NAME: Final = 64
"""Characters that a certificate's common name takes."""
LARGEST: Final = 64 * 1024

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class KeyUnusable(ValueError):
    """A key or a certificate can't be used; ``reason`` names the case. No error shows a key."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key in PEM, and the certificate that goes with it; empty where there is none."""

    private_key: str
    certificate: str = ""


def generate(algorithm: str, name: str, now: datetime) -> KeyPair:
    """Return a new key with a certificate that it signed itself, for whoever registers it."""
    key: PrivateKey
    if algorithm == ES256:
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:LONGEST_NAME])])
    start = now.astimezone(UTC) - CLOCKS_DIFFER
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_pem(key), certificate.public_bytes(serialization.Encoding.PEM).decode())


def read_key(text: str | bytes) -> PrivateKey:
    """Return a private key from PEM; raises KeyUnusable for one that signs neither way."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > LARGEST:
        raise KeyUnusable("key_invalid", f"more than {LARGEST} bytes")
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError as err:
        raise KeyUnusable("key_encrypted", "the key needs a passphrase") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise KeyUnusable("key_invalid", "no private key in PEM") from err
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise KeyUnusable("key_kind", "neither RSA with 2048 bits nor EC on P-256")


def algorithm_of(key: PrivateKey) -> str:
    """Return what a key signs tokens with."""
    return RS256 if isinstance(key, rsa.RSAPrivateKey) else ES256


def checked_pair(private_key: str | bytes, certificate: str | bytes) -> KeyPair:
    """Return a key and its certificate in PEM; raises KeyUnusable where they do not match."""
    key = read_key(private_key)
    if not certificate:
        return KeyPair(_pem(key))
    data = certificate.encode() if isinstance(certificate, str) else certificate
    try:
        chain = x509.load_pem_x509_certificates(data[:LARGEST])
        its_key = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as err:
        raise KeyUnusable("certificate_invalid", "no certificate in PEM") from err
    if its_key != key.public_key():
        raise KeyUnusable("key_mismatch", "the key is not the certificate's")
    pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    return KeyPair(_pem(key), pem.decode())


def public_pem(private_key: str) -> str:
    """Return the public part of a key, for whoever registers it; raises KeyUnusable."""
    public = read_key(private_key).public_key()
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def derived_password(private_key: str) -> str:
    """Return the password that UDMI's own sites take from a key; raises KeyUnusable."""
    der = read_key(private_key).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return hashlib.sha256(der).hexdigest()[:8]


def _pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
