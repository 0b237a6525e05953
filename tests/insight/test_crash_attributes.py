"""What an automation gets to know of a crash."""

import pytest

from custom_components.ulogger.capture.core_dump import CoreDump
from custom_components.ulogger.capture.errors import CaptureError
from custom_components.ulogger.insight.crash_attributes import crash_attributes
from custom_components.ulogger.insight.crash_report import crash_report

from ..support import made_captures as made
from ..support.account import CRASH_DUMP


def attributes(data: bytes) -> dict[str, object]:
    try:
        report = crash_report(CoreDump.parse(data))
    except CaptureError:
        return {}
    return {} if report is None else crash_attributes(report, report.reason)


def test_a_crash_says_where_and_why() -> None:
    found = attributes(CRASH_DUMP)
    assert found["firmware_version"] == "4.24.2"
    assert found["summary"] == f"{found['fault']} in {found['pc']}"
    assert str(found["fingerprint"]).isalnum()


@pytest.mark.parametrize(
    "data", [b"", b"\1\0\0\0", CRASH_DUMP[:100], made.core_dump(b"", version=9)]
)
def test_a_dump_that_nobody_can_read_says_nothing(data: bytes) -> None:
    assert attributes(data) == {}
