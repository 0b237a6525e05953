"""Files that can't be right are named, each by its fault and at its field."""

import datetime as dt
import io
import zipfile
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType

from custom_components.ulogger.const import DOMAIN
from custom_components.ulogger.flows import uploaded_files as uploads
from demo.cloud.broker import LocalBroker
from demo.cloud.certificates import Issued
from tests.support.flows import Upload, expect_form, open_form, submit

pytestmark = pytest.mark.usefixtures("socket_enabled", "set_up")


def zipped(**files: str | bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return archive.getvalue()


def other_customer(broker: LocalBroker, **dates: dt.datetime) -> Issued:
    return Issued.by(broker.authority.issuer, "other.invalid", common_name="customer-42", **dates)


def encrypted_key(broker: LocalBroker) -> str:
    key = serialization.load_pem_private_key(broker.customer.private_key.encode(), None)
    encryption = serialization.BestAvailableEncryption(b"passphrase")
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def packed(broker: LocalBroker, method: int) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("certificate.pem.crt", broker.customer.certificate)
        file.writestr("private.pem.key", broker.customer.private_key)
    return archive.getvalue()


def pkcs12_of(issued: Issued) -> bytes:
    key = serialization.load_pem_private_key(issued.private_key.encode(), None)
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    encryption = serialization.NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"customer", key, certificate, None, encryption)  # type: ignore[arg-type]


def download(certificate: str, private_key: str) -> bytes:
    return Issued(certificate, private_key).download()


PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
FUTURE = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
ARCHIVES: list[tuple[str, Callable[[LocalBroker], bytes], str]] = [
    ("truncated", lambda broker: broker.download[:-30], "archive_truncated"),
    ("other files", lambda _: zipped(readme="Hello", picture=b"\x89PNG"), "archive_incomplete"),
    (
        "no key",
        lambda b: zipped(**{"certificate.pem.crt": b.customer.certificate}),
        "archive_incomplete",
    ),
    ("text file", lambda _: b"Dear customer, your certificate is ready.", "archive_truncated"),
    ("texts inside", lambda _: download("Hello", "Hello"), "not_pem"),
    (
        "key of another certificate",
        lambda b: download(b.customer.certificate, other_customer(b).private_key),
        "key_mismatch",
    ),
    (
        "encrypted key",
        lambda b: download(b.customer.certificate, encrypted_key(b)),
        "key_encrypted",
    ),
    (
        "expired",
        lambda b: other_customer(b, not_before=PAST, not_after=PAST.replace(year=2021)).download(),
        "certificate_expired",
    ),
    (
        "not yet valid",
        lambda b: other_customer(
            b, not_before=FUTURE, not_after=FUTURE.replace(year=2121)
        ).download(),
        "certificate_not_yet_valid",
    ),
    ("too large", lambda _: bytes(uploads.LARGEST_UPLOAD + 1), "file_too_large"),
    ("certificate", lambda b: b.customer.certificate.encode(), "archive_mistaken"),
    ("PKCS#12", lambda b: pkcs12_of(b.customer), "pkcs12"),
    ("packed by LZMA", lambda b: packed(b, zipfile.ZIP_LZMA), "archive_unsupported"),
]


@pytest.mark.parametrize(("name", "make", "reason"), ARCHIVES, ids=[row[0] for row in ARCHIVES])
async def test_a_bad_archive_is_named_and_a_good_one_is_taken_after_it(
    hass: HomeAssistant,
    broker: LocalBroker,
    upload: Upload,
    at_broker: dict[str, Any],
    set_up: AsyncMock,
    name: str,
    make: Callable[[LocalBroker], bytes],
    reason: str,
) -> None:
    flow = await open_form(hass)

    form = await submit(
        hass, flow, customer_id=42, archive=await upload(make(broker)), advanced=at_broker
    )

    expect_form(form, "certificate", {"archive": reason})
    assert not hass.config_entries.async_entries(DOMAIN)
    set_up.assert_not_called()

    done = await submit(
        hass, flow, customer_id=42, archive=await upload(broker.download), advanced=at_broker
    )
    assert done["type"] is FlowResultType.CREATE_ENTRY


def files_of(certificate: str | None, private_key: str | None) -> dict[str, str]:
    given = {"certificate": certificate, "private_key": private_key}
    return {field: content for field, content in given.items() if content is not None}


FILES: list[tuple[str, Callable[[LocalBroker], dict[str, str]], dict[str, str]]] = [
    ("nothing", lambda _: {}, {"archive": "missing_archive"}),
    (
        "certificate only",
        lambda b: files_of(b.customer.certificate, None),
        {"private_key": "missing_private_key"},
    ),
    (
        "key only",
        lambda b: files_of(None, b.customer.private_key),
        {"certificate": "missing_certificate"},
    ),
    (
        "text as certificate",
        lambda b: files_of("Hello", b.customer.private_key),
        {"certificate": "not_pem"},
    ),
    (
        "text as key",
        lambda b: files_of(b.customer.certificate, "Hello"),
        {"private_key": "not_pem"},
    ),
    (
        "certificate as key",
        lambda b: files_of(b.customer.certificate, b.customer.certificate),
        {"private_key": "not_pem"},
    ),
    (
        "key of another certificate",
        lambda b: files_of(b.customer.certificate, other_customer(b).private_key),
        {"private_key": "key_mismatch"},
    ),
    (
        "encrypted key",
        lambda b: files_of(b.customer.certificate, encrypted_key(b)),
        {"private_key": "key_encrypted"},
    ),
    (
        "expired",
        lambda b: files_of(
            (
                old := other_customer(b, not_before=PAST, not_after=PAST.replace(year=2021))
            ).certificate,
            old.private_key,
        ),
        {"certificate": "certificate_expired"},
    ),
]


@pytest.mark.parametrize(("name", "make", "errors"), FILES, ids=[row[0] for row in FILES])
async def test_bad_files_are_named_each_at_its_field(
    hass: HomeAssistant,
    broker: LocalBroker,
    upload: Upload,
    at_broker: dict[str, Any],
    name: str,
    make: Callable[[LocalBroker], dict[str, str]],
    errors: dict[str, str],
) -> None:
    flow = await open_form(hass)
    given = {field: await upload(content) for field, content in make(broker).items()}

    form = await submit(hass, flow, customer_id=42, **given, advanced=at_broker)

    expect_form(form, "certificate", errors)
    assert not hass.config_entries.async_entries(DOMAIN)


async def test_an_archive_and_files_are_one_too_many(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)

    form = await submit(
        hass,
        flow,
        customer_id=42,
        archive=await upload(broker.download),
        private_key=await upload(broker.customer.private_key),
        advanced=at_broker,
    )

    expect_form(form, "certificate", {"archive": "archive_or_files"})


async def test_an_upload_that_is_gone_is_asked_for_again(
    hass: HomeAssistant, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)

    form = await submit(
        hass,
        flow,
        customer_id=42,
        archive="00000000-0000-0000-0000-000000000000",
        advanced=at_broker,
    )

    expect_form(form, "certificate", {"archive": "upload_gone"})


async def test_a_file_that_can_not_be_read_is_said_to_be_so(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    archive = await upload(broker.download)
    del at_broker["ca"]

    with patch.object(uploads, "process_uploaded_file", side_effect=PermissionError):
        form = await submit(hass, flow, customer_id=42, archive=archive, advanced=at_broker)

    expect_form(form, "certificate", {"archive": "file_unreadable"})


def authorities(size: int) -> str:
    """Return a bundle of authorities of about so many bytes, with names as such bundles have."""
    text = trustme.CA().cert_pem.bytes().decode()
    block = f"# Główny urząd certyfikacji\n{text}"
    return block * (size // len(block.encode()))


async def test_a_bundle_of_authorities_is_taken_up_to_256_kb(
    hass: HomeAssistant, broker: LocalBroker, upload: Upload, at_broker: dict[str, Any]
) -> None:
    flow = await open_form(hass)
    typed = {"customer_id": 42, "archive": await upload(broker.download)}

    at_broker["ca"] = await upload(authorities(260 * 1024) + broker.ca)
    form = await submit(hass, flow, **typed, advanced=at_broker)
    expect_form(form, "certificate", {"advanced": "ca_too_large"})

    at_broker["ca"] = await upload(authorities(250 * 1024) + broker.ca)
    done = await submit(hass, flow, **typed, advanced=at_broker)
    assert done["type"] is FlowResultType.CREATE_ENTRY
    assert "#" not in done["result"].data["ca"]
