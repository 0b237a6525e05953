"""What a metric measures, by its name."""

import pytest
from homeassistant.components.sensor import SensorDeviceClass, SensorStateClass
from homeassistant.components.sensor.const import DEVICE_CLASS_STATE_CLASSES, DEVICE_CLASS_UNITS
from hypothesis import given
from hypothesis import strategies as st

from custom_components.ulogger.insight import units
from custom_components.ulogger.insight.units import Measure, measure


@pytest.mark.parametrize(
    ("name", "unit", "device_class"),
    [
        ("battery_mv", "mV", "voltage"),
        ("batteryMv", "mV", "voltage"),
        ("BATTERY_MV", "mV", "voltage"),
        ("temp_c", "°C", "temperature"),
        ("battery_pct", "%", "battery"),
        ("soil.moisture-pct", "%", "moisture"),
        ("humidity_percent", "%", "humidity"),
        ("cpu_pct", "%", None),
        ("rssi", "dBm", "signal_strength"),
        ("ble_rssi", "dBm", "signal_strength"),
        ("heap_free_bytes", "B", "data_size"),
        ("boot_ms", "ms", "duration"),
        ("HTTPRequestMs", "ms", "duration"),
        ("uptime_s", "s", "duration"),
        ("co2_ppm", "ppm", "carbon_dioxide"),
        ("dust_ppm", "ppm", None),
        ("pump_kwh", "kWh", None),
        ("voltage", "V", "voltage"),
    ],
)
def test_names_tell_what_is_measured(name: str, unit: str, device_class: str | None) -> None:
    assert measure(name) == Measure(unit, device_class)


@pytest.mark.parametrize("name", ["", "_", "count", "c", "m", "ms", "i1", "retries", "x_ms2", "9"])
def test_other_names_tell_nothing(name: str) -> None:
    assert measure(name) == Measure()


@given(st.text(max_size=30))
def test_no_name_fails(name: str) -> None:
    assert isinstance(measure(name), Measure)


def test_home_assistant_takes_every_unit_for_a_measurement() -> None:
    measures = {
        *units._BY_ENDING.values(),
        *(Measure("%", each) for each in units._PERCENT_OF.values()),
        *(Measure("ppm", each) for each in units._PARTS_OF.values()),
    }
    for unit, device_class in measures:
        if device_class is not None:
            kind = SensorDeviceClass(device_class)
            assert unit in DEVICE_CLASS_UNITS[kind]
            assert SensorStateClass.MEASUREMENT in DEVICE_CLASS_STATE_CLASSES[kind]
