"""One quantity in two units: a limit that a standard writes in mg/m3 serves a sensor in ppm. Values are never touched.

Shares of volume and mass concentrations are the same quantity only for a known gas: mg/m3 = ppm x M / 24.04 at 20 degC
and 101.3 kPa, %LEL = 100 x (share in %) / LEL. Everything else is a factor, and temperature an offset beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

MOLAR_VOLUME = 24.04  # L/mol at 20 degC, 101.3 kPa

SPELLINGS = {
    "°C": "degC",
    "℃": "degC",
    "C": "degC",
    "°": "deg",
    "mg/m³": "mg/m3",
    "mg/m^3": "mg/m3",
    "ug/m³": "ug/m3",
    "µg/m3": "ug/m3",
    "µg/m³": "ug/m3",
    "m³/h": "m3/h",
    "m³/min": "m3/min",
    "m³/s": "m3/s",
    "l/s": "L/s",
    "%vol": "%",
    "vol%": "%",
    "%VOL": "%",
    "LEL%": "%LEL",
    "µε": "ue",
    "‰": "permille",
}

# dimension -> unit -> factor to the first of it
SCALES: Mapping[str, Mapping[str, float]] = {
    "length": {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "km": 1e3},
    "pressure": {"Pa": 1.0, "hPa": 1e2, "kPa": 1e3, "MPa": 1e6, "mbar": 1e2, "bar": 1e5},
    "flow": {"m3/h": 1.0, "m3/min": 60.0, "m3/s": 3600.0, "m3/d": 1 / 24, "L/s": 3.6, "L/min": 0.06},
    "speed": {"m/s": 1.0, "m/min": 1 / 60, "km/h": 1 / 3.6},
    "creep": {"mm/d": 1.0, "cm/d": 10.0, "m/d": 1e3, "mm/h": 24.0},
    "mass": {"t": 1.0, "kg": 1e-3},
    "conductivity": {"uS/cm": 1.0, "mS/cm": 1e3, "S/m": 1e4},
    "share of volume": {"%": 1e4, "ppm": 1.0, "ppb": 1e-3},  # in ppm
    "concentration": {"mg/m3": 1.0, "ug/m3": 1e-3, "g/m3": 1e3},
}
GASEOUS = ("share of volume", "concentration")
KELVIN = 273.15


class Gas(Struct, frozen=True, forbid_unknown_fields=True):
    """What conversion must know of a gas."""

    molar: float  # g/mol
    lel: float | None = None  # lower explosive limit, % of volume


def same(unit: str) -> str:
    """The unit as it is written here.

    >>> same("mg/m³")
    'mg/m3'
    """
    return SPELLINGS.get(unit, unit)


def convert(value: float, unit: str, to: str, gas: Gas | None = None, difference: bool = False) -> float:
    """`value` in the unit `to`. `difference`: it is a change, which knows no offset. Raises `ValueError` in words.

    >>> round(convert(10, "mg/m3", "ppm", Gas(34.08, 4.0)), 2)
    7.05
    >>> convert(25, "%LEL", "%", Gas(16.04, 5.0))
    1.25
    >>> convert(86, "degF", "degC")
    30.0
    """
    unit, to = same(unit), same(to)
    if unit == to:
        return value
    if {unit, to} <= {"degC", "K", "degF"}:
        return _temperature(value, unit, to, difference)
    lel = gas.lel if gas is not None else None
    if "%LEL" in (unit, to):
        if lel is None:
            raise ValueError(f"{unit} is {to} only for a gas whose lower explosive limit is known")
        if unit == "%LEL":
            return convert(value * lel / 100, "%", to, gas)
        return convert(value, unit, "%", gas) * 100 / lel
    mine, other = _dimension(unit), _dimension(to)
    if mine is None or other is None or (mine != other and not {mine, other} <= set(GASEOUS)):
        raise ValueError(f"{unit or 'no unit'} cannot be told in {to or 'no unit'}")
    if mine in GASEOUS and gas is None:
        raise ValueError(f"{unit} is {to} only for a known gas")
    value *= SCALES[mine][unit]
    if mine != other:
        assert gas is not None
        value *= gas.molar / MOLAR_VOLUME if mine == "share of volume" else MOLAR_VOLUME / gas.molar
    return value / SCALES[other][to]


def _dimension(unit: str) -> str | None:
    return next((name for name, scale in SCALES.items() if unit in scale), None)


def _temperature(value: float, unit: str, to: str, difference: bool) -> float:
    offset = 0.0 if difference else KELVIN
    kelvin = {"degC": value + offset, "K": value, "degF": (value - (0.0 if difference else 32.0)) / 1.8 + offset}[unit]
    return {"degC": kelvin - offset, "K": kelvin, "degF": (kelvin - offset) * 1.8 + (0.0 if difference else 32.0)}[to]
