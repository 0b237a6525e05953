"""How a collector is trusted, and how it knows who sends. Everything here blocks."""

import ssl
from collections.abc import Callable

from ..private_files import as_file


class UnusableFiles(ValueError):
    """OpenSSL does not take the authority, or not certificate and key."""


def tls_context(
    ca: str | None = None,
    certificate: str | None = None,
    private_key: str | None = None,
    new_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> ssl.SSLContext:
    """Return a TLS context that verifies the collector, and presents a certificate if there is one.

    An authority of one's own *replaces* the public ones. ``new_context`` makes a verifying
    context that nobody else uses. Raises UnusableFiles.
    """
    try:
        if ca is None:
            context = new_context()
        else:
            context = ssl.create_default_context(cadata=ca)
            # Authorities made by hand have no key usage, which a strict check asks for.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = True
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        if certificate is not None and private_key is not None:
            with as_file(certificate) as chain, as_file(private_key) as key:
                context.load_cert_chain(chain, key, _no_password)
    except (ssl.SSLError, ValueError) as err:
        raise UnusableFiles("OpenSSL does not take the certificates") from err
    return context


def _no_password() -> str:
    """Keep OpenSSL from asking for a passphrase on the terminal."""
    raise ValueError("the key is encrypted")
