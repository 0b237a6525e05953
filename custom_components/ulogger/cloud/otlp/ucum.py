"""Units as OpenTelemetry writes them: the case-sensitive codes of UCUM."""

from typing import Final

_UCUM: Final = {
    "%": "%",
    "°": "deg",
    "°C": "Cel",
    "°F": "[degF]",
    "μA": "uA",
    "μV": "uV",
    "μs": "us",
    "μg/m³": "ug/m3",
    "µg/m³": "ug/m3",
    "mg/m³": "mg/m3",
    "g/m³": "g/m3",
    "B": "By",
    "kB": "kBy",
    "KB": "kBy",
    "MB": "MBy",
    "GB": "GBy",
    "TB": "TBy",
    "KiB": "KiBy",
    "MiB": "MiBy",
    "GiB": "GiBy",
    "TiB": "TiBy",
    "B/s": "By/s",
    "kB/s": "kBy/s",
    "MB/s": "MBy/s",
    "kbit/s": "kbit/s",
    "Mbit/s": "Mbit/s",
    "dB": "dB",
    "dBA": "dB{A}",
    "dBm": "dB[mW]",
    "ppm": "[ppm]",
    "ppb": "[ppb]",
    "psi": "[psi]",
    "inHg": "[in_i'Hg]",
    "mmHg": "mm[Hg]",
    "cbar": "cbar",
    "mbar": "mbar",
    "rpm": "{revolution}/min",
    "lx": "lx",
    "m²": "m2",
    "cm²": "cm2",
    "ha": "har",
    "m³": "m3",
    "m³/h": "m3/h",
    "m³/s": "m3/s",
    "m³/min": "m3/min",
    "m/s": "m/s",
    "m/s²": "m/s2",
    "W/m²": "W/m2",
    "in": "[in_i]",
    "ft": "[ft_i]",
    "yd": "[yd_i]",
    "mi": "[mi_i]",
    "mi/h": "[mi_i]/h",
    "mph": "[mi_i]/h",
    "ft/s": "[ft_i]/s",
    "in/h": "[in_i]/h",
    "in/d": "[in_i]/d",
    "mm/h": "mm/h",
    "mm/d": "mm/d",
    "kn": "[kn_i]",
    "oz": "[oz_av]",
    "lb": "[lb_av]",
    "st": "[stone_av]",
    "gal": "[gal_us]",
    "gal/min": "[gal_us]/min",
    "fl. oz.": "[foz_us]",
    "ft³": "[cft_i]",
    "ft³/min": "[cft_i]/min",
    "Wh": "W.h",
    "mWh": "mW.h",
    "kWh": "kW.h",
    "MWh": "MW.h",
    "GWh": "GW.h",
    "cal": "cal",
    "kcal": "kcal",
    "VA": "V.A",
    "kVA": "kV.A",
    "var": "V.A{reactive}",
    "S/cm": "S/cm",
    "μS/cm": "uS/cm",
    "mS/cm": "mS/cm",
    "UV index": "{UV_index}",
    "Bq/m³": "Bq/m3",
    "w": "wk",
    "weeks": "wk",
    "months": "mo",
    "y": "a",
    "€": "{EUR}",
    "$": "{USD}",
}
_THE_SAME: Final = frozenset(
    (
        *("A", "mA", "V", "mV", "kV", "MV", "W", "mW", "kW", "MW", "GW", "TW", "J", "kJ", "MJ"),
        *("GJ", "s", "ms", "us", "ns", "min", "h", "d", "Hz", "kHz", "MHz", "GHz", "Pa", "hPa"),
        *("kPa", "mPa", "bar", "K", "mm", "cm", "dm", "m", "km", "km/h", "g", "kg", "mg", "ug"),
        *("t", "L", "mL", "L/min", "L/h", "mL/s", "L/s", "bit", "bit/s", "Gbit/s"),
    )
)
_MICRO = str.maketrans("µ", "μ")


def ucum(unit: str | None) -> str:
    """Return the code of a unit of Home Assistant; one that UCUM lacks becomes an annotation.

    Empty where there is no unit.
    """
    if not unit:
        return ""
    if unit in _THE_SAME:
        return unit
    if (code := _UCUM.get(unit) or _UCUM.get(unit.translate(_MICRO))) is not None:
        return code
    inside = "".join(each for each in unit if 32 < ord(each) < 127 and each not in "{}")
    return f"{{{inside}}}" if inside else ""
