"""From what sockets and TLS raise to why there is no connection."""

import socket
import ssl

from ..errors import (
    CannotConnect,
    CloudError,
    ConnectTimeout,
    CredentialsRefused,
    NotAuthorised,
    UnknownHost,
    Untrusted,
)

_REFUSALS = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
"""TLS alerts by which a broker refuses a client's certificate.

With TLS 1.3 they come after the handshake, with the first read.
"""
_CONNACK_REFUSALS = frozenset({4, 5})
"""MQTT 3.1.1: bad user name or password; not authorised."""


def why_not_connected(err: BaseException | None) -> CloudError:
    """Name the failure to connect that ``err`` stands for."""
    match err:
        case CloudError():
            return err
        case socket.gaierror() | UnicodeError():
            return UnknownHost("the broker's name has no address")
        case ssl.SSLCertVerificationError():
            return Untrusted(f"the broker's certificate is not trusted: {err.verify_message}")
        case ssl.SSLError() if err.reason in _REFUSALS:
            return CredentialsRefused(f"the broker refused the certificate: {err.reason}")
        case ssl.SSLEOFError():
            return CannotConnect("the broker closed the connection")
        case ssl.SSLError():
            return CannotConnect(f"TLS failed: {err.reason}")
        case TimeoutError():
            return ConnectTimeout("the broker did not answer in time")
        case OSError():
            return CannotConnect(err.strerror or type(err).__name__)
    return CannotConnect("the connection failed")


def why_refused(return_code: int) -> CloudError:
    """Name what a CONNACK's return code other than 0 stands for."""
    if return_code in _CONNACK_REFUSALS:
        return NotAuthorised(f"the broker does not let this client in (code {return_code})")
    return CannotConnect(f"the broker refused the connection (code {return_code})")
