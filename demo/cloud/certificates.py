"""Certificates of a local cloud, made on the fly: an authority, a server and its clients."""

import datetime as dt
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

CERTIFICATE = "certificate.pem.crt"
PRIVATE_KEY = "private.pem.key"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key in PEM."""

    certificate: str
    private_key: str

    @classmethod
    def by(
        cls,
        authority: trustme.CA,
        *names: str,
        common_name: str | None = None,
        not_before: dt.datetime | None = None,
        not_after: dt.datetime | None = None,
    ) -> Issued:
        """Have ``authority`` issue one."""
        leaf = authority.issue_cert(
            *names, common_name=common_name, not_before=not_before, not_after=not_after
        )
        return cls(
            "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems),
            leaf.private_key_pem.bytes().decode(),
        )

    def download(self) -> bytes:
        """Return a zip like the one that uLogger's web site hands out."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(CERTIFICATE, self.certificate)
            file.writestr(PRIVATE_KEY, self.private_key)
        return archive.getvalue()

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Put both files, readable by their owner only, into ``directory``."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = (directory / CERTIFICATE, directory / PRIVATE_KEY)
        for path, text in zip(paths, (self.certificate, self.private_key), strict=True):
            path.touch(mode=0o600)
            path.write_text(text)
        return paths


class Authority:
    """The authority of one local cloud; the same again when its directory is there already."""

    def __init__(self, directory: Path, customer_id: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self.crl_file = directory / "revoked.pem"
        self._ca = self._load_or_make(directory / "ca.key")
        self.server = self._issued("server", "127.0.0.1", "localhost")
        self.service = self._issued("service", common_name="local-cloud")
        self.customer = self._issued("customer", common_name=f"customer-{customer_id}")

    @property
    def ca(self) -> str:
        """The authority's own certificate in PEM."""
        return self.ca_file.read_text()

    @property
    def issuer(self) -> trustme.CA:
        """The authority itself, to issue odd certificates with."""
        return self._ca

    def revoke(self, *certificates: str) -> None:
        """Write the list of certificates that are not accepted any longer."""
        now = dt.datetime.now(dt.UTC)
        issuer = x509.load_pem_x509_certificate(self._ca.cert_pem.bytes())
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(now - dt.timedelta(days=1))
            .next_update(now + dt.timedelta(days=365))
        )
        for certificate in certificates:
            leaf = x509.load_pem_x509_certificate(certificate.encode())
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(leaf.serial_number)
                .revocation_date(now - dt.timedelta(days=1))
                .build()
            )
        key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        self.crl_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def _load_or_make(self, key_file: Path) -> trustme.CA:
        if self.ca_file.exists() and key_file.exists():
            return trustme.CA.from_pem(self.ca_file.read_bytes(), key_file.read_bytes())
        ca = trustme.CA()
        ca.cert_pem.write_to_path(self.ca_file)
        key_file.touch(mode=0o600)
        ca.private_key_pem.write_to_path(key_file)
        return ca

    def _issued(self, name: str, *hosts: str, common_name: str | None = None) -> Issued:
        paths = [self.directory / name / file for file in (CERTIFICATE, PRIVATE_KEY)]
        if all(path.exists() for path in paths):
            return Issued(*(path.read_text() for path in paths))
        # A leaf needs a name besides its common name.
        issued = Issued.by(self._ca, *(hosts or (f"{name}.invalid",)), common_name=common_name)
        issued.write(self.directory / name)
        return issued
