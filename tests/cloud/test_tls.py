"""How servers are trusted: by an authority of one's own instead of the public ones."""

import ssl
from collections.abc import Callable

import pytest
import trustme

from custom_components.ulogger.cloud.tls import UnusableFiles, client_context, verifying_context


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def subjects(context: ssl.SSLContext) -> set[str]:
    return {
        dict(part[0] for part in known["subject"])["organizationalUnitName"]
        for known in context.get_ca_certs()
    }


def public_authorities(ca: trustme.CA) -> Callable[[], ssl.SSLContext]:
    """Stand for a context that has the system's authorities, whichever these are here."""

    def new_context() -> ssl.SSLContext:
        return ssl.create_default_context(cadata=pem(ca))

    return new_context


def test_an_own_authority_replaces_the_public_ones() -> None:
    public = trustme.CA(organization_unit_name="public")
    own = trustme.CA(organization_unit_name="own")
    assert subjects(verifying_context(None, public_authorities(public))) == {"public"}
    assert subjects(verifying_context(pem(own), public_authorities(public))) == {"own"}


@pytest.mark.parametrize("ca", [None, pem(trustme.CA())], ids=["public", "own"])
def test_whoever_is_connected_to_is_verified_by_name_and_with_a_current_version(
    ca: str | None,
) -> None:
    context = client_context(ca)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_that_are_no_certificates_are_refused() -> None:
    ca = trustme.CA()
    pair = ca.issue_cert("gateway.invalid")
    chain = pair.cert_chain_pems[0].bytes().decode()
    key = pair.private_key_pem.bytes().decode()
    client_context(pem(ca), chain, key)
    with pytest.raises(UnusableFiles, match="authority"):
        client_context("no certificate")
    stranger = ca.issue_cert("other.invalid").private_key_pem.bytes().decode()
    with pytest.raises(UnusableFiles, match="certificate and key"):
        client_context(pem(ca), chain, stranger)
    with pytest.raises(UnusableFiles, match="certificate and key"):
        client_context(pem(ca), chain, "no key")
