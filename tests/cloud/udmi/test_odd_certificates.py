"""A certificate with a key that nobody can read is refused as one that can't be used."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from custom_components.ulogger.cloud.udmi.keys import KeyUnusable, checked_pair, generate


def test_a_certificate_whose_key_is_no_point_of_its_curve_is_refused() -> None:
    pair = generate("ES256", "GAT-1", datetime(2026, 11, 21, tzinfo=UTC))
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    point = certificate.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    odd = der.replace(point, point[:1] + bytes(64))
    pem = "-----BEGIN CERTIFICATE-----\n" + _lines(odd) + "-----END CERTIFICATE-----\n"
    with pytest.raises(KeyUnusable) as error:
        checked_pair(pair.private_key, pem)
    assert error.value.reason == "certificate_invalid"


def _lines(der: bytes) -> str:
    text = base64.b64encode(der).decode()
    return "".join(f"{text[at : at + 64]}\n" for at in range(0, len(text), 64))
