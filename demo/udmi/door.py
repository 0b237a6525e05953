"""Who may come in at a site: nobody in particular, a password, a token or a certificate."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

AUDIENCE: Final = "site.invalid"
LONGEST_TOKEN: Final = 3600
EARLY: Final = 600
"""Seconds that a token may be made before the door's own clock says so."""
MQTT_3_1_1: Final = 4


class Way(StrEnum):
    """How a site has its gateways say who they are."""

    NONE = "none"
    BASIC = "basic"
    JWT = "jwt"
    MTLS = "mtls"


@dataclass(frozen=True, slots=True)
class Connect:
    """What a client says of itself when it connects."""

    version: int
    client_id: str
    user: str | None
    password: str | None
    certificate: bytes | None
    """Its certificate (DER), where TLS asked for one."""


class NotAdmitted(Exception):
    """Somebody stays outside; the text says why."""


@dataclass(slots=True)
class Door:
    """What one gateway has to show.

    ``keys`` are the public keys that are registered for it; a token has to be signed with one of
    them, a certificate has to hold one. ``now`` is the site's time (Unix seconds), of which
    ``speed`` pass in a second.
    """

    way: Way
    client_id: str
    user: str = ""
    password: str = ""
    keys: list[PublicKeyTypes] = field(default_factory=list)
    algorithms: list[str] = field(default_factory=list)
    """Of the tokens that were shown."""
    now: Callable[[], float] = time.time
    speed: float = 1.0

    def register(self, pem: str) -> None:
        """Register a public key, or that of a certificate."""
        data = pem.encode()
        key: PublicKeyTypes
        if b"CERTIFICATE" in data:
            key = x509.load_pem_x509_certificate(data).public_key()
        else:
            key = serialization.load_pem_public_key(data)
        if key not in self.keys:
            self.keys.append(key)

    def admit(self, connect: Connect) -> float | None:
        """Return when what was shown expires (Unix seconds), None for never; or NotAdmitted."""
        if connect.version != MQTT_3_1_1:
            raise NotAdmitted(f"version {connect.version} of the protocol")
        if connect.client_id != self.client_id:
            raise NotAdmitted(f"client {connect.client_id!r}")
        if self.way is Way.BASIC and (connect.user, connect.password) != (
            self.user,
            self.password,
        ):
            raise NotAdmitted(f"user {connect.user!r}, or the password")
        if self.way is Way.MTLS:
            self._check_certificate(connect.certificate)
        if self.way is Way.JWT:
            return self._check_token(connect)
        return None

    def _check_certificate(self, certificate: bytes | None) -> None:
        if certificate is None:
            raise NotAdmitted("no certificate")
        if x509.load_der_x509_certificate(certificate).public_key() not in self.keys:
            raise NotAdmitted("the certificate of somebody else")

    def _check_token(self, connect: Connect) -> float:
        if connect.user != "unused" or connect.password is None:
            raise NotAdmitted("a token comes as the password of the user 'unused'")
        reason = "nobody is registered"
        for key in self.keys:
            try:
                # Its signature of ES256 is r and s as they are, not their DER encoding.
                claims = jwt.decode(
                    connect.password,
                    key,  # type: ignore[arg-type]
                    algorithms=["RS256", "ES256"],
                    audience=AUDIENCE,
                    options={
                        "require": ["iat", "exp", "aud"],
                        "verify_exp": False,
                        "verify_iat": False,
                    },
                )
            except (jwt.PyJWTError, TypeError, ValueError) as error:
                reason = str(error)
                continue
            if claims["iat"] > self.now() + EARLY:
                raise NotAdmitted("a token of times to come")
            if claims["exp"] <= self.now():
                raise NotAdmitted("a token that has expired")
            if claims["exp"] - claims["iat"] > LONGEST_TOKEN:
                raise NotAdmitted(f"a token for {claims['exp'] - claims['iat']} seconds")
            self.algorithms.append(jwt.get_unverified_header(connect.password)["alg"])
            return float(claims["exp"])
        raise NotAdmitted(f"the token: {reason}")


def password_of(pkcs8: bytes) -> str:
    """Return the password that a site derives from a private key."""
    return hashlib.sha256(pkcs8).hexdigest()[:8]
