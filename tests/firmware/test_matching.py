"""Which image belongs to a device."""

import pytest

from custom_components.ulogger.firmware.matching import ImageKey, Match, best_match, match
from custom_components.ulogger.model.identity import DeviceIdentity

DEVICE = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (ImageKey("4.24.2", "bc53443"), Match.BOTH),
        (ImageKey("v4.24.2", "BC53443aa00112233445566778899aabbccddeef"), Match.BOTH),
        (ImageKey("4.24.2"), Match.VERSION),
        (ImageKey("", "gbc53443"), Match.HASH),
        (ImageKey("4.24.2", "bc53443", 42), Match.BOTH),
        (ImageKey("4.24.2", "bc53443", 43), Match.NONE),
        (ImageKey("4.24.2", "0000000"), Match.NONE),
        (ImageKey("4.24.3", "bc53443"), Match.NONE),
        (ImageKey("4.24.2", "bc53443-dirty"), Match.NONE),
        (ImageKey("4.24.2", "bc5"), Match.VERSION),
        (ImageKey(), Match.NONE),
    ],
)
def test_an_image_is_matched_by_version_and_hash(key: ImageKey, expected: Match) -> None:
    assert match(key, DEVICE) is expected


def test_nothing_matches_a_device_that_says_nothing_of_its_firmware() -> None:
    assert match(ImageKey("4.24.2", "bc53443"), DeviceIdentity(42, "S")) is Match.NONE


def test_the_surest_image_is_taken_and_of_equal_ones_the_last() -> None:
    by_version, by_both, again = (
        ImageKey("4.24.2"),
        ImageKey("4.24.2", "bc53443"),
        ImageKey("4.24.2", "bc53443"),
    )
    images = [(by_version, "version"), (by_both, "both"), (again, "again"), (ImageKey("1"), "no")]
    assert best_match(images, DEVICE) == "again"
    assert best_match(images[:1], DEVICE) == "version"
    assert best_match(images[3:], DEVICE) is None
