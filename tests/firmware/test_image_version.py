"""Which version an image is of: by its own strings, by devices that are known, by its name."""

import pytest

from custom_components.ulogger.firmware.elf import ElfFile
from custom_components.ulogger.firmware.image_version import key_of_name, key_steps
from custom_components.ulogger.firmware.matching import ImageKey
from custom_components.ulogger.firmware.steps import finished
from custom_components.ulogger.model.identity import DeviceIdentity
from tests.support.fixtures import AGENT

IMAGE = (AGENT / "v4-crash" / "firmware.elf").read_bytes()
SENSOR = DeviceIdentity(42, "A87DE76F0011", "DoorSenseV2", "4.24.2", "bc53443")


def told(image: bytes, *known: DeviceIdentity) -> ImageKey:
    return finished(key_steps(ElfFile.parse(image), known))


def test_the_only_strings_of_their_kind_are_version_and_hash() -> None:
    assert told(IMAGE) == ImageKey("4.24.2", "bc53443")


def test_a_device_that_runs_it_tells_the_application_as_well() -> None:
    assert told(IMAGE, SENSOR) == ImageKey("4.24.2", "bc53443", 42)


def test_a_device_with_another_hash_settles_nothing() -> None:
    other = DeviceIdentity(9, "B", "", "4.24.2", "fedcba9")
    assert told(IMAGE, other) == ImageKey("4.24.2", "bc53443")


def test_devices_of_two_applications_with_one_firmware_leave_the_application_open() -> None:
    twin = DeviceIdentity(43, "C", "", "4.24.2", "bc53443")
    assert told(IMAGE, SENSOR, twin) == ImageKey("4.24.2", "bc53443")


def test_two_strings_that_look_like_versions_leave_it_open() -> None:
    image = IMAGE.replace(b"net.cfg\0", b"1.2.11\0\0", 1)
    assert image != IMAGE
    assert told(image) == ImageKey("", "bc53443")
    assert told(image, SENSOR) == ImageKey("4.24.2", "bc53443", 42)


def test_a_string_counts_only_as_a_whole() -> None:
    image = IMAGE.replace(b"4.24.2\0", b"!.24.2\0", 1)
    assert told(image).version == ""


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("pump-1.4.0-bc53443.elf", ImageKey("1.4.0", "bc53443")),
        ("pump_v2.0.1.axf", ImageKey("2.0.1")),
        ("pump 1.4.0-rc1 gabc1234f.elf", ImageKey("1.4.0-rc1", "abc1234f")),
        ("zephyr.elf", ImageKey()),
        ("20261121-build.elf", ImageKey()),
        ("x" * 5000 + "1.2.3.elf", ImageKey()),
    ],
)
def test_a_name_tells_version_and_hash(name: str, key: ImageKey) -> None:
    assert key_of_name(name) == key
