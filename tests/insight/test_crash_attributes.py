"""What an automation gets to know of a crash."""

import pytest

from custom_components.ulogger.insight.crash_attributes import crash_attributes
from custom_components.ulogger.model.capture import Capture, CaptureKind
from custom_components.ulogger.model.identity import DeviceIdentity

from ..support import made_captures as made
from ..support.account import CRASH_DUMP


def attributes(data: bytes) -> dict[str, object]:
    return crash_attributes(Capture(CaptureKind.CORE_DUMP, DeviceIdentity(42, "S1"), data, 0.0))


def test_a_crash_says_where_and_why() -> None:
    found = attributes(CRASH_DUMP)
    assert found.keys() == {"summary", "pc", "lr", "firmware_version"}
    assert found["firmware_version"] == "4.24.2"
    assert "cfsr" in str(found["summary"])


@pytest.mark.parametrize(
    "data", [b"", b"\1\0\0\0", CRASH_DUMP[:100], made.core_dump(b"", version=9)]
)
def test_a_dump_that_nobody_can_read_says_nothing(data: bytes) -> None:
    assert attributes(data) == {}
