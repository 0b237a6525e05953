"""Certificates and keys as people have them: taken, or refused with what is wrong."""

import datetime as dt
import io
import json
import shutil
import ssl
import subprocess
import zipfile
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

import custom_components.ulogger
from custom_components.ulogger.cloud.errors import Untrusted
from custom_components.ulogger.cloud.mqtt.probe import check_connection
from custom_components.ulogger.cloud.ulogger import credentials as c
from custom_components.ulogger.cloud.ulogger.certificate_files import as_pem, without_keys
from demo.cloud.certificates import CERTIFICATE, PRIVATE_KEY, Issued

from ...support.odd_broker import OddBroker

AUTHORITY = trustme.CA()
CA = AUTHORITY.cert_pem.bytes().decode()
GOOD = Issued.by(AUTHORITY, "customer.invalid", common_name="customer")
LOADED_CERTIFICATE = x509.load_pem_x509_certificate(GOOD.certificate.encode())
LOADED_KEY = serialization.load_pem_private_key(GOOD.private_key.encode(), None)
COMBINED = f"Bag Attributes\n    friendlyName: Müller\n{GOOD.private_key}{GOOD.certificate}"


def key_as(encoding: serialization.Encoding, password: bytes = b"") -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return LOADED_KEY.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption)


def pkcs12_file(password: bytes = b"") -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return pkcs12.serialize_key_and_certificates(
        b"customer",
        LOADED_KEY,  # type: ignore[arg-type]
        LOADED_CERTIFICATE,
        None,
        encryption,
    )


DER = serialization.Encoding.DER


# Taken


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        ("\ufeff" + GOOD.certificate, "\ufeff" + GOOD.private_key),
        (GOOD.certificate.encode("utf-16"), GOOD.private_key.encode("utf-16")),
        (COMBINED, COMBINED),
        (COMBINED.encode("latin-1"), COMBINED.encode("latin-1")),
        (GOOD.certificate.replace("\n", "\r\n"), GOOD.private_key.replace("\n", "\r\n")),
        (GOOD.certificate.replace("\n", "\r"), GOOD.private_key.replace("\n", "\r")),
        (CA + GOOD.certificate, GOOD.private_key),
    ],
    ids=["bom", "utf-16", "umlauts", "latin-1", "windows", "old mac", "authority first"],
)
def test_what_stands_around_certificate_and_key_does_no_harm(certificate, key) -> None:
    read = c.Credentials.checked(certificate, key)
    assert read.certificate.startswith(GOOD.certificate)
    assert read.private_key == GOOD.private_key
    assert "PRIVATE" not in read.certificate
    c.build_tls_context(read)


def test_der_is_taken_for_certificate_key_and_authority() -> None:
    read = c.Credentials.checked(
        LOADED_CERTIFICATE.public_bytes(DER),
        key_as(DER),
        x509.load_pem_x509_certificate(CA.encode()).public_bytes(DER),
    )
    assert (read.certificate, read.ca) == (GOOD.certificate, CA)
    c.build_tls_context(read)


def test_the_parameters_that_openssl_puts_before_a_key_do_no_harm() -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    read = c.Credentials.checked(GOOD.certificate, parameters + GOOD.private_key)
    assert read.private_key == GOOD.private_key


def test_an_authority_is_kept_once_and_without_the_key_beside_it() -> None:
    assert c.read_ca(GOOD.private_key + CA + "# Główny\n" + CA) == CA


def test_a_zip_made_by_windows_is_taken() -> None:
    data = archive(f"download\\{CERTIFICATE}", f"download\\{PRIVATE_KEY}")
    assert b"download\\" in data
    assert c.read_certificate_zip(data).certificate == GOOD.certificate


def test_a_zip_that_is_not_compressed_is_not_taken_for_a_certificate() -> None:
    data = archive(CERTIFICATE, PRIVATE_KEY, zipfile.ZIP_STORED)
    assert b"-----BEGIN CERTIFICATE" in data
    assert c.read_certificate_zip(data).certificate == GOOD.certificate
    with pytest.raises(c.ArchiveDamaged):
        c.read_certificate_zip(data[:-30])


# Refused, by name


@pytest.mark.parametrize(
    ("certificate", "key", "error", "field"),
    [
        (pkcs12_file(), pkcs12_file(), c.Pkcs12, "certificate"),
        (pkcs12_file(b"secret"), GOOD.private_key, c.Pkcs12, "certificate"),
        (GOOD.certificate, pkcs12_file(b"secret"), c.Pkcs12, "private_key"),
        (GOOD.certificate, key_as(DER, b"secret"), c.KeyEncrypted, "private_key"),
        (GOOD.certificate, LOADED_CERTIFICATE.public_bytes(DER), c.NotPem, "private_key"),
        (key_as(DER), GOOD.private_key, c.NotPem, "certificate"),
        (CA, GOOD.private_key, c.KeyMismatch, "private_key"),
        (bytes(c.LARGEST_FILE + 1), GOOD.private_key, c.NotPem, "certificate"),
        (GOOD.certificate, bytes(c.LARGEST_FILE + 1), c.NotPem, "private_key"),
    ],
    ids=[
        "pkcs12 for both",
        "encrypted pkcs12",
        "pkcs12 as key",
        "encrypted key",
        "certificate as key",
        "key as certificate",
        "authority as certificate",
        "large certificate",
        "large key",
    ],
)
def test_a_file_of_another_kind_is_told_at_its_field(certificate, key, error, field) -> None:
    with pytest.raises(error) as caught:
        c.Credentials.checked(certificate, key)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "ca", [pkcs12_file(), key_as(DER), "", "\ufeff"], ids=["pkcs12", "key", "empty", "bom"]
)
def test_an_authority_of_another_kind_is_told(ca) -> None:
    with pytest.raises(c.CaInvalid):
        c.read_ca(ca)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_ZSTANDARD])
def test_an_unusual_zip_is_told_whether_it_is_whole_or_damaged(method: int) -> None:
    data = archive(CERTIFICATE, PRIVATE_KEY, method)
    damaged = bytearray(data)
    damaged[60:120] = bytes(60)
    for each in (data, bytes(damaged)):
        with pytest.raises(c.ArchiveUnsupported):
            c.read_certificate_zip(each)


DEFLATE64, PASSWORD, PATCHED = 9, 0x01, 0x20


@pytest.mark.parametrize(
    ("offset", "value", "error"),
    [
        (10, DEFLATE64, c.ArchiveUnsupported),
        (8, PASSWORD, c.ArchiveEncrypted),
        (8, PATCHED, c.ArchiveUnsupported),
    ],
    ids=["deflate64", "password", "patched"],
)
def test_a_zip_that_needs_more_is_told(offset: int, value: int, error: type) -> None:
    data = bytearray(archive(CERTIFICATE, PRIVATE_KEY))
    entry = data.index(b"PK\1\2")
    while entry >= 0:
        data[entry + offset] = value
        local = int.from_bytes(data[entry + 42 : entry + 46], "little")
        data[local + offset - 2] = value
        entry = data.find(b"PK\1\2", entry + 1)
    with pytest.raises(error) as caught:
        c.read_certificate_zip(bytes(data))
    assert caught.value.field == "archive"


def test_what_is_uploaded_in_place_of_the_zip_is_told() -> None:
    for data in (COMBINED.encode(), GOOD.certificate.encode("utf-16"), key_as(DER)):
        with pytest.raises(c.ArchiveMistaken):
            c.read_certificate_zip(data)
    with pytest.raises(c.Pkcs12) as caught:
        c.read_certificate_zip(pkcs12_file())
    assert caught.value.field == "archive"


def test_each_refusal_has_a_text() -> None:
    texts = Path(custom_components.ulogger.__file__).parent / "translations" / "en.json"
    shown = json.loads(texts.read_text())["config"]["error"]

    def reasons(error: type[c.CredentialsError]) -> set[str]:
        return {error.reason}.union(*map(reasons, error.__subclasses__()))

    assert reasons(c.CredentialsError) - {c.CredentialsError.reason} <= shown.keys()


# The size of a bundle


def test_a_bundle_of_distinct_authorities_up_to_256_kb_is_taken_and_trusted() -> None:
    bundle, texts = "", set()
    while len(bundle) < c.LARGEST_CA - 2048:
        text = own_authority(f"authority {len(texts)}").public_bytes(serialization.Encoding.PEM)
        texts.add(text)
        bundle += text.decode()
    read = c.Credentials.checked(GOOD.certificate, GOOD.private_key, bundle)
    assert len(c.build_tls_context(read).get_ca_certs()) == len(texts) > 300
    with pytest.raises(c.CaTooLarge) as caught:
        c.read_ca(bundle + "#" * 4096)
    assert caught.value.field == "ca"


# Entries of earlier versions


@given(
    st.lists(
        st.sampled_from([GOOD.private_key, GOOD.certificate, CA, "text\n", "-----BEGIN "])
        | st.text()
    )
)
def test_no_text_keeps_a_key_and_each_keeps_its_certificates(parts: list[str]) -> None:
    text = "".join(parts)
    cleaned = without_keys(text)
    assert "PRIVATE KEY" not in cleaned
    assert without_keys(cleaned) == cleaned
    if "-----BEGIN " not in parts and {GOOD.certificate, CA} & set(parts):
        assert cleaned == "".join(each for each in parts if each in (GOOD.certificate, CA))


# Authorities made by hand


AUTHORITY_KEY = ec.generate_private_key(ec.SECP256R1())


def own_authority(name: str) -> x509.Certificate:
    """Make an authority as ``openssl req -x509`` does, which gives it no key usage."""
    key = AUTHORITY_KEY
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(identifier, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(key, hashes.SHA256())


def server_of(authority: x509.Certificate, directory: Path) -> ssl.SSLContext:
    """Return the context of a broker at home, whose certificate has nothing but its name."""
    own = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")]))
        .issuer_name(authority.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(AUTHORITY_KEY, hashes.SHA256())
    )
    file = directory / "server.pem"
    file.write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_a_broker_whose_authority_has_no_key_usage_is_trusted(
    tmp_path: Path, socket_enabled
) -> None:
    authority = own_authority("home")
    read = c.Credentials.checked(GOOD.certificate, GOOD.private_key, as_pem([authority]))
    stranger = c.Credentials.checked(GOOD.certificate, GOOD.private_key, CA)
    async with OddBroker(server_of(authority, tmp_path)) as odd:
        strict = ssl.create_default_context(cadata=read.ca)
        with pytest.raises(Untrusted, match=r"key usage|Key Identifier"):
            await check_connection("localhost", odd.port, strict, client_id="c")
        context = c.build_tls_context(read)
        await check_connection("localhost", odd.port, context, client_id="c")
        with pytest.raises(Untrusted):
            await check_connection("127.0.0.1", odd.port, context, client_id="c")
        with pytest.raises(Untrusted):
            await check_connection(
                "localhost", odd.port, c.build_tls_context(stranger), client_id="c"
            )


def test_public_authorities_are_held_to_the_letter() -> None:
    context = c.build_tls_context(c.Credentials.checked(GOOD.certificate, GOOD.private_key))
    assert context.verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl's own tool")
def test_what_openssl_itself_makes_is_taken(tmp_path: Path) -> None:
    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)

    openssl("req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -utf8 -subj /CN=Müller")
    openssl("pkcs12 -export -inkey k.pem -in c.pem -passout pass: -name Müller -out s.p12")
    openssl("pkcs12 -in s.p12 -nodes -passin pass: -out both.pem")
    both = (tmp_path / "both.pem").read_bytes()
    assert b"Bag Attributes" in both
    read = c.Credentials.checked(both, both, (tmp_path / "c.pem").read_bytes())
    assert isinstance(
        serialization.load_pem_private_key(read.private_key.encode(), None), rsa.RSAPrivateKey
    )
    assert "PRIVATE" not in read.certificate
    c.build_tls_context(read)
    with pytest.raises(c.Pkcs12):
        c.Credentials.checked((tmp_path / "s.p12").read_bytes(), both)


def archive(certificate: str, key: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for name, content in ((certificate, GOOD.certificate), (key, GOOD.private_key)):
            entry = zipfile.ZipInfo(CERTIFICATE)
            entry.filename = name
            entry.compress_type = method
            file.writestr(entry, content)
    return data.getvalue()
