"""Everything that comes from a collector, and what a person types to reach one."""

from custom_components.ulogger.cloud.errors import CloudError
from custom_components.ulogger.cloud.otlp.answers import (
    LONGEST_WAIT,
    check_status,
    read_answer,
    retry_after,
)
from custom_components.ulogger.cloud.otlp.endpoint import (
    InvalidEndpoint,
    InvalidHeaders,
    is_encrypted,
    read_headers,
    read_url,
)

from .target import Target

_NOW = 1_792_567_680.0


def _answer(data: bytes) -> object:
    """Read a status, a content type and a body."""
    status = 100 + int.from_bytes(data[:2]) % 500
    kind, _, body = data[2:].partition(b"\n")
    headers = {"Content-Type": kind.decode("latin-1"), "Retry-After": kind.decode("latin-1")}
    check_status(status, headers, body, _NOW)
    rejected = read_answer(headers["Content-Type"], body, "rejectedLogRecords")
    if rejected.items < 0 or not rejected.message.isprintable():
        raise AssertionError(f"{rejected} is shown to a person")
    return rejected


def _answers() -> list[bytes]:
    good = (100).to_bytes(2)
    partial = b'{"partialSuccess": {"rejectedLogRecords": "7", "errorMessage": "too old"}}'
    return [
        good + b"application/json\n{}",
        good + b"application/json; charset=utf-8\n" + partial,
        good + b"application/x-protobuf\n\x0a\x00",
        (329).to_bytes(2) + b"17\n",
        (300).to_bytes(2) + b'application/json\n{"message": "bad"}',
        good + b"application/json\n" + b"[" * 2000,
    ]


def _retry_after(data: bytes) -> object:
    seconds = retry_after(data.decode("latin-1"), _NOW)
    if not 0.0 <= seconds <= LONGEST_WAIT:
        raise AssertionError(f"{seconds} seconds are waited")
    return seconds


def _retries() -> list[bytes]:
    return [b"120", b"Wed, 21 Oct 2026 07:28:10 GMT", b"Wed, 21-Oct-26 07:28:10 GMT", b"-1", b"1e9"]


def _url(data: bytes) -> object:
    url = read_url(data.decode(errors="replace"))
    if read_url(url) != url or not url.startswith(("http://", "https://")):
        raise AssertionError(f"{url!r} is another one when it is kept")
    return is_encrypted(url)


def _headers(data: bytes) -> object:
    headers = read_headers(data.decode(errors="replace"))
    if any(char in part for pair in headers.items() for part in pair for char in "\r\n\0"):
        raise AssertionError(f"{headers} end a header early")
    return headers


TARGETS = (
    Target("otlp_answer", _answer, (CloudError,), _answers),
    Target("otlp_retry_after", _retry_after, (), _retries, 128),
    Target(
        "otlp_url",
        _url,
        (InvalidEndpoint,),
        lambda: [b"https://collector.example:4318/v1/logs", b"http://[::1]:4318", b"https://a/b/"],
        512,
    ),
    Target(
        "otlp_headers",
        _headers,
        (InvalidHeaders,),
        lambda: [b"Authorization: Bearer abc\nX-Scope-OrgID: 1", b"A:b"],
        1024,
    ),
)
