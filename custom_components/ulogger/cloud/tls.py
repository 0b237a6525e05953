"""How a cloud is trusted over TLS, and how it knows who connects. Everything here blocks."""

import ssl
from collections.abc import Callable

from .private_files import as_file


class UnusableFiles(ValueError):
    """OpenSSL does not take the authority, or not certificate and key."""


def verifying_context(
    ca: str | None = None,
    new_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    *,
    beside: bool = False,
) -> ssl.SSLContext:
    """Return a TLS context that verifies whom it connects to; raises UnusableFiles.

    An authority of one's own *replaces* the public ones: a server at home is not to be taken over
    by any public certificate. It stands ``beside`` them only where it is given for another server,
    too. ``new_context`` makes a verifying context that nobody else uses.
    """
    if ca is None:
        context = new_context()
    else:
        try:
            if beside:
                context = new_context()
                context.load_verify_locations(cadata=ca)
            else:
                context = ssl.create_default_context(cadata=ca)
        except (ssl.SSLError, ValueError) as err:
            raise UnusableFiles("OpenSSL does not take the authority") from err
        # Authorities made by hand have no key usage, which a strict check asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context


def load_pair(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    """Have a context present a certificate; raises UnusableFiles.

    OpenSSL reads certificate and key from files only: they are given to it in memory where the
    system can do that, so that not even a kill leaves a key behind.
    """
    with as_file(certificate) as chain, as_file(private_key) as key:
        try:
            context.load_cert_chain(chain, key, _no_password)
        except (ssl.SSLError, ValueError) as err:
            raise UnusableFiles("OpenSSL does not take certificate and key") from err


def client_context(
    ca: str | None = None,
    certificate: str | None = None,
    private_key: str | None = None,
    new_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> ssl.SSLContext:
    """Return a verifying context that presents a certificate if there is one; see above."""
    context = verifying_context(ca, new_context)
    if certificate is not None and private_key is not None:
        load_pair(context, certificate, private_key)
    return context


def _no_password() -> str:
    """Keep OpenSSL from asking for a passphrase on the terminal."""
    raise ValueError("the key is encrypted")
