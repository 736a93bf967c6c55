"""Levels and times as people say them, and the decibel in one place.

Conventions
-----------
`dBFS` is a *peak* level here: 20 log10 max|x|, 0 dBFS at full scale. `dBu`, `dBV` and
`V` are RMS. The two meet in a sine: one number, *dBu at full scale*, is the RMS level of the
sine whose peak is 0 dBFS. Where an RMS level relative to full scale is meant, the name says
so (`noise_rms_dbfs`).
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

DBU_REFERENCE_VOLTS = 0.7745966692414834  # sqrt(0.6): 1 mW into 600 ohm
DBV_IN_DBU = 2.2184875  # 0 dBV, 1 V, in dBu

LevelUnit = Literal["dBFS", "dBu", "dBV", "Vrms"]


def amplitude_to_db(amplitude):
    """20 log10 of an amplitude ratio; -inf for zero."""
    with np.errstate(divide="ignore"):
        return 20.0 * np.log10(np.abs(amplitude))


def power_to_db(power):
    """10 log10 of a power ratio; -inf for zero."""
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(power)


def db_to_amplitude(level_db):
    """The amplitude ratio of a level in dB."""
    return 10.0 ** (np.asarray(level_db) / 20.0)[()]


def peak_dbfs(signal):
    """Peak level of a signal; -inf for silence or an empty one."""
    return float(amplitude_to_db(np.max(np.abs(signal), initial=0.0)))


def rms_dbfs(signal):
    """RMS level re an RMS of 1.0 (a full-scale square reads 0); -inf for silence."""
    power = np.mean(np.square(signal, dtype=np.float64)) if np.size(signal) else 0.0
    return float(power_to_db(power))


def volts_to_dbu(volts_rms):
    """RMS volts as dBu; -inf for none."""
    return amplitude_to_db(np.asarray(volts_rms) / DBU_REFERENCE_VOLTS)[()]


def dbu_to_volts(level_dbu):
    """dBu as RMS volts."""
    return DBU_REFERENCE_VOLTS * db_to_amplitude(level_dbu)


@dataclass(frozen=True)
class Level:
    """A level as it was typed: `-12dBFS`, `4dBu`, `-6dBV`, `1.2Vrms`."""

    value: float
    unit: LevelUnit

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    @property
    def dbu(self) -> float:
        """The level in dBu.

        Raises
        ------
        ValueError
            A level in dBFS is no voltage.
        """
        match self.unit:
            case "dBu":
                return self.value
            case "dBV":
                return self.value + DBV_IN_DBU
            case "Vrms":
                return float(volts_to_dbu(self.value))
        raise ValueError(f"{self} is a level re full scale, not a voltage: expected V, dBu or dBV")


@dataclass(frozen=True)
class Duration:
    """A time as it was typed: `250ms`, `10s`, `512smp`."""

    value: float
    unit: Literal["s", "smp"]

    def samples(self, sample_rate: int) -> float:
        return self.value if self.unit == "smp" else self.value * sample_rate


_NUMBER = r"\s*([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*"
_LEVEL_UNITS: dict[str, tuple[LevelUnit, float]] = {
    "dbfs": ("dBFS", 1.0),
    "dbu": ("dBu", 1.0),
    "dbv": ("dBV", 1.0),
    "vrms": ("Vrms", 1.0),
    "v": ("Vrms", 1.0),
    "mv": ("Vrms", 1e-3),
}
_TIME_UNITS: dict[str, tuple[Literal["s", "smp"], float]] = {
    "ms": ("s", 1e-3),
    "s": ("s", 1.0),
    "min": ("s", 60.0),
    "smp": ("smp", 1.0),
    "samples": ("smp", 1.0),
}


def parse_level(text: str) -> Level:
    """Read a level with its unit.

    Raises
    ------
    ValueError
        No number, or no unit that is known: a bare number is refused, because
        -12 dBu and -12 dBFS are different volts.
    """
    number, unit = _split(text, _LEVEL_UNITS, "a level such as -12dBFS, 4dBu or 1.2Vrms")
    name, factor = _LEVEL_UNITS[unit]
    if name == "Vrms" and number <= 0:
        raise ValueError(f"a voltage must be above zero, got {text!r}")
    if name == "dBFS" and number > 0:
        raise ValueError(f"full scale is 0 dBFS and nothing is above it, got {text!r}")
    return Level(number * factor, name)


def parse_time(text: str) -> Duration:
    """Read a time with its unit: s, ms, min or smp.

    Raises
    ------
    ValueError
        No number, no unit, or a negative time.
    """
    number, unit = _split(text, _TIME_UNITS, "a time such as 250ms, 10s or 512smp")
    if number < 0:
        raise ValueError(f"a time cannot be negative, got {text!r}")
    name, factor = _TIME_UNITS[unit]
    return Duration(number * factor, name)


def spoken_time(seconds: float) -> str:
    """A time as a person says it: `40 s`, `2 min`, `3 min 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def spoken_percent(ratio: float) -> str:
    """A ratio, such as a THD, as a person reads it: `2.61 %`, and no number where it is nothing."""
    return f"{100.0 * ratio:.3g} %" if ratio >= 1e-5 else "below 0.001 %"


def _split(text, units, expected):
    match = re.fullmatch(_NUMBER + r"([a-zA-Z]+)\s*", text)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"expected {expected}, got {text!r}")
    return float(match[1]), match[2].lower()


_PREFIXES = ((1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def with_prefix(value: float, unit: str) -> str:
    """A value to four digits, as on a part: `22 nF`, `1.5 kohm`."""
    if value == 0.0:
        return f"0 {unit}"
    size, prefix = next((p for p in _PREFIXES if abs(value) >= 0.99995 * p[0]), _PREFIXES[-1])
    return f"{value / size:.4g} {prefix}{unit}"
