"""Who a gateway is follows from what it was given, and a token is what RFC 7519 has."""

import base64
import hashlib
import json
from datetime import UTC, datetime

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from custom_components.ulogger.cloud.udmi.auth import (
    CLOCKS_DIFFER,
    TOKEN_LASTS,
    Kind,
    authentication,
    token,
)
from custom_components.ulogger.cloud.udmi.endpoint import ALGORITHMS, Endpoint
from custom_components.ulogger.cloud.udmi.keys import (
    KeyPair,
    KeyUnusable,
    checked_pair,
    derived_password,
    generate,
    public_pem,
    read_key,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
AT = NOW.timestamp()
PAIRS = {each: generate(each, "GAT-1", NOW) for each in ALGORITHMS}


def endpoint(**provider: dict[str, str]) -> Endpoint:
    said = {"hostname": "b.invalid", "client_id": "/r/Z/d/GAT-1", "auth_provider": provider}
    return Endpoint.from_dict(said)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_is_taken_by_whoever_has_the_public_key(algorithm: str) -> None:
    pair = PAIRS[algorithm]
    made = token("site", read_key(pair.private_key), AT, TOKEN_LASTS)
    said = jwt.decode(
        made,
        public_pem(pair.private_key),
        algorithms=[algorithm],
        audience="site",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert said == {"aud": "site", "iat": AT - CLOCKS_DIFFER, "exp": AT - CLOCKS_DIFFER + 3600}


def test_a_signature_on_a_curve_has_its_two_numbers_as_they_are() -> None:
    key = read_key(PAIRS["ES256"].private_key)
    for second in range(20):
        signature = token("site", key, AT + second, 60.0).split(".")[2]
        assert len(base64.urlsafe_b64decode(signature + "==")) == 64


def test_a_token_is_made_anew_for_each_connection_and_replaced_before_it_expires() -> None:
    now = [AT]
    made = authentication(endpoint(jwt={"audience": "a"}), PAIRS["ES256"], lambda: now[0])
    assert made.kind is Kind.TOKEN
    assert made.username == "unused"
    assert made.refresh_at is None
    assert made.password is not None
    first = made.password()
    now[0] += 100
    assert made.password() != first
    assert made.refresh_at is not None
    assert AT + 100 < made.refresh_at < AT + 100 + TOKEN_LASTS - CLOCKS_DIFFER


def test_how_a_gateway_proves_itself_follows_from_what_it_has() -> None:
    pair = PAIRS["RS256"]
    for given, keys, kind in (
        (endpoint(), None, Kind.NONE),
        (endpoint(), pair, Kind.CERTIFICATE),
        (endpoint(), KeyPair(pair.private_key), Kind.NONE),
        (endpoint(basic={"username": "u", "password": "p"}), pair, Kind.PASSWORD),
    ):
        assert authentication(given, keys, lambda: AT).kind is kind


def test_a_password_that_is_missing_is_taken_from_the_key() -> None:
    pair = PAIRS["RS256"]
    made = authentication(endpoint(basic={"username": "u"}), pair, lambda: AT)
    der = read_key(pair.private_key).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    assert made.password is not None
    assert made.password() == hashlib.sha256(der).hexdigest()[:8]
    assert derived_password(pair.private_key) == made.password()


def test_what_lacks_a_key_is_not_tried() -> None:
    for given in (endpoint(jwt={"audience": "a"}), endpoint(basic={"username": "u"})):
        with pytest.raises(KeyUnusable):
            authentication(given, None, lambda: AT)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_generated_certificate_is_the_keys_own(algorithm: str) -> None:
    pair = PAIRS[algorithm]
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert checked_pair(pair.private_key, pair.certificate) == pair
    assert "PRIVATE" not in public_pem(pair.private_key)


def test_keys_that_cannot_be_used_are_refused() -> None:
    def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
        how: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            how = serialization.BestAvailableEncryption(password)
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)

    good = ec.generate_private_key(ec.SECP256R1())
    for key, reason in (
        (b"", "key_invalid"),
        (b"x" * 100_000, "key_invalid"),
        (pem(good, b"secret"), "key_encrypted"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "key_kind"),
    ):
        with pytest.raises(KeyUnusable) as refused:
            read_key(key)
        assert refused.value.reason == reason
    with pytest.raises(KeyUnusable) as refused:
        checked_pair(pem(good), PAIRS["ES256"].certificate)
    assert refused.value.reason == "key_mismatch"
    with pytest.raises(KeyUnusable) as refused:
        checked_pair(pem(good), b"nothing")
    assert refused.value.reason == "certificate_invalid"


def test_no_error_shows_a_key() -> None:
    text = PAIRS["RS256"].private_key.replace("A", "B", 5)
    with pytest.raises(KeyUnusable) as refused:
        read_key(text)
    assert json.dumps(str(refused.value)).find("MII") == -1
