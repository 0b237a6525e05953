"""A log configuration as every wire carries it."""

import pytest

from custom_components.ulogger.model.log_config import (
    ALL_MODULES,
    LONGEST,
    LogConfig,
    one_name_a_bit,
)


def test_a_log_configuration_has_nine_bytes() -> None:
    config = LogConfig(1, 0x80000001, 60)
    assert config.pack() == bytes.fromhex("01010000803c000000")
    assert LogConfig.unpack(config.pack()) == config


@pytest.mark.parametrize(
    "values", [(5, 0, 60), (-1, 0, 60), (0, 2**32, 60), (0, -1, 60), (0, 0, -1), (0, 0, 2**32)]
)
def test_what_no_wire_can_carry_is_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not"):
        LogConfig(*values)


@pytest.mark.parametrize(("seconds", "fits"), [(0, 0), (1, 1), (LONGEST, 1), (LONGEST + 1, 0)])
def test_a_device_can_not_count_every_timeout(seconds: int, fits: int) -> None:
    assert LogConfig(0, 0, seconds).fits_device is bool(fits)


@pytest.mark.parametrize("size", [0, 8, 10])
def test_a_log_configuration_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="9 bytes"):
        LogConfig.unpack(bytes(size))


def test_each_bit_has_one_name_and_each_name_one_bit() -> None:
    assert one_name_a_bit({"A": 3, "B": 5}, {"C": 3}) == {"C": 3, "B": 5}
    assert one_name_a_bit({"A": 3, "B": 5}, {"A": 7}) == {"B": 5, "A": 7}
    bloated = {f"name {number}": number % 32 for number in range(1500)}
    assert len(one_name_a_bit(bloated)) == 32
    assert one_name_a_bit({"far": 32, "below": -1}) == {}


def test_names_stand_for_the_bits_in_rising_order_or_for_none() -> None:
    assert LogConfig(0, 0b100101, 60, ("A", "B", "C")).named_bits() == {"A": 0, "B": 2, "C": 5}
    assert LogConfig(0, 0b100101, 60, ("A",)).named_bits() == {}
    assert LogConfig(0, ALL_MODULES, 60).named_bits() == {}
