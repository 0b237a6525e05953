"""How a gateway proves who it is: recognised from what its endpoint and its keys give."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .endpoint import Endpoint
from .keys import KeyPair, KeyUnusable, PrivateKey, algorithm_of, derived_password, read_key

TOKEN_LASTS: Final = 3600.0
"""Seconds: the longest that UDMI's brokers take."""
REFRESH_AFTER: Final = 0.8
"""Part of a token's life after which a new one is shown."""
CLOCKS_DIFFER: Final = 30.0
"""Seconds that a token was issued before now, for a broker whose clock is slow."""
TOKEN_USER: Final = "unused"  # noqa: S105 - nobody reads it
P256_BYTES: Final = 32


class Kind(StrEnum):
    """How a gateway proves who it is."""

    TOKEN = "jwt"  # noqa: S105 - its name
    PASSWORD = "basic"  # noqa: S105 - its name
    CERTIFICATE = "mutual_tls"
    NONE = "none"


def kind_of(endpoint: Endpoint, keys: KeyPair | None) -> Kind:
    """Recognise it; a certificate may go beside a password or a token, and is not what counts."""
    if endpoint.audience:
        return Kind.TOKEN
    if endpoint.username:
        return Kind.PASSWORD
    if keys is not None and keys.certificate:
        return Kind.CERTIFICATE
    return Kind.NONE


@dataclass(slots=True)
class Authentication:
    """What a connection is made with.

    ``password`` is asked for each connection; ``refresh_at`` is the moment (Unix seconds) until
    when the present one should have been replaced, None where it lasts.
    """

    kind: Kind
    username: str | None = None
    password: Callable[[], str | None] | None = None
    refresh_at: float | None = None


def authentication(
    endpoint: Endpoint,
    keys: KeyPair | None,
    now: Callable[[], float],
    *,
    lasts: float = TOKEN_LASTS,
) -> Authentication:
    """Return how to connect; raises KeyUnusable where the key is missing. Blocks."""
    kind = kind_of(endpoint, keys)
    match kind:
        case Kind.TOKEN:
            if keys is None:
                raise KeyUnusable("key_missing", "a token needs a key")
            return _with_tokens(endpoint.audience, read_key(keys.private_key), now, lasts)
        case Kind.PASSWORD:
            password = endpoint.password
            if not password:
                if keys is None:
                    raise KeyUnusable("password_missing", "there is neither password nor key")
                password = derived_password(keys.private_key)
            return Authentication(kind, endpoint.username, lambda: password)
    return Authentication(kind)


def _with_tokens(
    audience: str, key: PrivateKey, now: Callable[[], float], lasts: float
) -> Authentication:
    made = Authentication(Kind.TOKEN, TOKEN_USER)

    def password() -> str:
        at = now()
        made.refresh_at = at + lasts * REFRESH_AFTER
        return token(audience, key, at, lasts)

    made.password = password
    return made


def token(audience: str, key: PrivateKey, at: float, lasts: float) -> str:
    """Return a JSON Web Token for an audience, issued at a moment (Unix seconds)."""
    issued = int(at - CLOCKS_DIFFER)
    claims = {"iat": issued, "exp": int(issued + lasts), "aud": audience}
    head = {"alg": algorithm_of(key), "typ": "JWT"}
    signed = f"{_part(head)}.{_part(claims)}"
    return f"{signed}.{_base64(_signature(key, signed.encode()))}"


def _signature(key: PrivateKey, signed: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    # Tokens have the two numbers of a signature as they are, not as OpenSSL wraps them.
    numbers = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(P256_BYTES) for number in numbers)


def _part(said: dict[str, Any]) -> str:
    return _base64(json.dumps(said, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
