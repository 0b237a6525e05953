"""Every fault of a certificate, key or download is its own error on its own field."""

import contextlib
import datetime as dt
import io
import itertools
import logging
import os
import ssl
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_components.ulogger.cloud.ulogger import credentials as c
from demo.cloud.certificates import CERTIFICATE, PRIVATE_KEY, Issued

AUTHORITY = trustme.CA()
GOOD = Issued.by(AUTHORITY, "customer.invalid", common_name="customer")
OTHER = Issued.by(AUTHORITY, "other.invalid", common_name="other")
CA = AUTHORITY.cert_pem.bytes().decode()
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def archive(files: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return data.getvalue()


def encrypted(key: str) -> str:
    loaded = serialization.load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()


def issued(not_before: dt.datetime, not_after: dt.datetime) -> Issued:
    return Issued.by(
        AUTHORITY, "c.invalid", common_name="c", not_before=not_before, not_after=not_after
    )


def test_the_download_is_read_and_checked() -> None:
    read = c.read_certificate_zip(GOOD.download())
    assert (read.certificate, read.private_key) == (GOOD.certificate, GOOD.private_key)
    assert read.expires_at > NOW


def test_files_beside_the_two_and_a_folder_do_no_harm() -> None:
    files = {
        "readme.txt": "hello",
        f"download/{CERTIFICATE}": GOOD.certificate,
        f"download/{PRIVATE_KEY}": GOOD.private_key,
        "AmazonRootCA1.pem": CA,
    }
    assert c.read_certificate_zip(archive(files)).certificate == GOOD.certificate


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", c.ArchiveDamaged),
        (b"just text", c.ArchiveDamaged),
        (GOOD.download()[:-200], c.ArchiveDamaged),
        (GOOD.download()[:200], c.ArchiveDamaged),
        (archive({"other.txt": "x"}), c.ArchiveIncomplete),
        (archive({CERTIFICATE: GOOD.certificate}), c.ArchiveIncomplete),
        (archive({PRIVATE_KEY: GOOD.private_key}), c.ArchiveIncomplete),
        (
            archive(
                {
                    f"a/{CERTIFICATE}": GOOD.certificate,
                    f"b/{CERTIFICATE}": OTHER.certificate,
                    PRIVATE_KEY: GOOD.private_key,
                }
            ),
            c.ArchiveIncomplete,
        ),
        (archive({f"{n}.txt": "" for n in range(100)}), c.ArchiveIncomplete),
        (archive({CERTIFICATE: "text", PRIVATE_KEY: GOOD.private_key}), c.NotPem),
        (archive({CERTIFICATE: GOOD.certificate, PRIVATE_KEY: OTHER.private_key}), c.KeyMismatch),
    ],
    ids=itertools.count(),
)
def test_a_bad_download_is_blamed_on_the_archive(data: bytes, error: type) -> None:
    with pytest.raises(error) as caught:
        c.read_certificate_zip(data)
    assert caught.value.field == "archive"
    assert not caught.value.retryable


def test_a_damaged_byte_within_the_archive_is_noticed() -> None:
    data = bytearray(archive({CERTIFICATE: GOOD.certificate, PRIVATE_KEY: GOOD.private_key}))
    data[120] ^= 0xFF
    with pytest.raises(c.CredentialsError):
        c.read_certificate_zip(bytes(data))


def test_a_zip_bomb_is_never_unpacked() -> None:
    bomb = archive({CERTIFICATE: b"0" * 200_000_000, PRIVATE_KEY: GOOD.private_key})
    tracemalloc.start()
    try:
        with pytest.raises(c.ArchiveIncomplete):
            c.read_certificate_zip(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("certificate", "key", "error", "field"),
    [
        (GOOD.certificate, OTHER.private_key, c.KeyMismatch, "private_key"),
        (GOOD.certificate, encrypted(GOOD.private_key), c.KeyEncrypted, "private_key"),
        (GOOD.certificate, "a text file", c.NotPem, "private_key"),
        (GOOD.certificate, GOOD.certificate, c.NotPem, "private_key"),
        ("a text file", GOOD.private_key, c.NotPem, "certificate"),
        (b"\xff\xfe\x00", GOOD.private_key, c.NotPem, "certificate"),
        (GOOD.private_key, GOOD.private_key, c.NotPem, "certificate"),
        ("", "", c.NotPem, "certificate"),
    ],
    ids=itertools.count(),
)
def test_each_file_is_blamed_for_its_own_fault(certificate, key, error, field) -> None:
    with pytest.raises(error) as caught:
        c.Credentials.checked(certificate, key)
    assert caught.value.field == field


def test_an_old_style_encrypted_key_is_told_too() -> None:
    key = serialization.load_pem_private_key(GOOD.private_key.encode(), None)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(c.KeyEncrypted):
        c.Credentials.checked(GOOD.certificate, text)


def test_an_expired_and_a_future_certificate_are_told_apart() -> None:
    old, future = issued(NOW - 9 * DAY, NOW - DAY), issued(NOW + DAY, NOW + 9 * DAY)
    with pytest.raises(c.CertificateExpired):
        c.Credentials.checked(old.certificate, old.private_key)
    with pytest.raises(c.CertificateNotYetValid):
        c.Credentials.checked(future.certificate, future.private_key)
    assert c.Credentials.checked(old.certificate, old.private_key, now=NOW - 2 * DAY)


@pytest.mark.parametrize("ca", ["no pem", b"\xff", GOOD.private_key], ids=itertools.count())
def test_an_own_authority_must_be_a_certificate(ca) -> None:
    with pytest.raises(c.CaInvalid) as caught:
        c.read_ca(ca)
    assert caught.value.field == "ca"
    with pytest.raises(c.CaInvalid) as caught:
        c.read_certificate_zip(GOOD.download(), ca)
    assert caught.value.field == "ca"


def test_the_key_is_in_no_error_and_no_representation() -> None:
    secret = GOOD.private_key.splitlines()[1]
    assert secret not in repr(c.Credentials.checked(GOOD.certificate, GOOD.private_key))
    for certificate, key in (
        (OTHER.certificate, GOOD.private_key),
        (GOOD.private_key, GOOD.private_key),
        (GOOD.certificate, GOOD.private_key[:-200]),
    ):
        with pytest.raises(c.CredentialsError) as caught:
            c.Credentials.checked(certificate, key)
        error: BaseException | None = caught.value
        while error is not None:
            assert secret not in str(error)
            error = error.__cause__


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_context_verifies_and_leaves_no_file_behind(
    tmp_path: Path, monkeypatch, *, in_memory: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    modes: list[int] = []
    on_disk: list[bool] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self, certificate, key, password=None):
        modes.extend(Path(file).stat().st_mode & 0o777 for file in (certificate, key))
        on_disk.append(any(tmp_path.iterdir()))
        return load(self, certificate, key, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    context = c.build_tls_context(c.Credentials.checked(GOOD.certificate, GOOD.private_key))
    assert modes == [0o600, 0o600]
    assert on_disk == [not in_memory]
    assert list(tmp_path.iterdir()) == []
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_verification_can_not_be_switched_off_by_the_context_it_starts_from() -> None:
    good = c.Credentials.checked(GOOD.certificate, GOOD.private_key)
    context = c.build_tls_context(good, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_an_own_authority_is_trusted_in_place_of_the_public_ones() -> None:
    own = c.Credentials.checked(GOOD.certificate, GOOD.private_key, CA)
    context = c.build_tls_context(own)
    assert [ca["subject"] for ca in context.get_ca_certs()] == [
        ca["subject"] for ca in ssl.create_default_context(cadata=CA).get_ca_certs()
    ]


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        c.build_tls_context(c.read_certificate_zip(GOOD.download()))
    assert "PRIVATE KEY" not in caplog.text


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 5), st.integers(0, 3000))
def test_hostile_archives_raise_only_credentials_errors(junk, shape, position) -> None:
    good = GOOD.download()
    data = {
        0: junk,
        1: good[:position] + junk + good[position:],
        2: good[: position % len(good)],
        3: archive({CERTIFICATE: junk, PRIVATE_KEY: GOOD.private_key}),
        4: archive({CERTIFICATE: GOOD.certificate, PRIVATE_KEY: b"-----BEGIN " + junk}),
        5: archive({CERTIFICATE: b"-----BEGIN CERTIFICATE-----\n" + junk, PRIVATE_KEY: junk}),
    }[shape]
    with contextlib.suppress(c.CredentialsError):
        c.read_certificate_zip(data)
