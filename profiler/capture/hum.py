"""Hum: what the mains adds to a recording, a comb of lines at its frequency's multiples.

A ground loop brings the mains itself and its odd harmonics; a supply whose rectifier ripples
brings the even ones, 100 or 120 Hz and its multiples.

Conventions
-----------
A line's level is the peak of its sine. It is told from noise by the floor of its surroundings.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft

from profiler.units import power_to_db

MAINS_HZ = (50, 60)
HARMONICS = 10
SHORTEST_SECONDS = 0.3  # in which 50 and 60 Hz are two lines
OFF_FREQUENCY = 0.004  # of a line: the mains wanders by 0.2 Hz
PADDING = 4  # of the spectrum: a line between two bins is read 0.1 dB too low at most
FLOOR_HZ = 25.0  # on either side of a line, whose floor is measured there
LINE_DB = 13.0  # of the strongest over its floor; noise reaches it once in 1e8 lines
SECOND_LINE_DB = 10.0  # of another of the comb,
LONE_LINE_DB = 20.0  # or else of the strongest


@dataclass(frozen=True)
class Hum:
    """The comb of lines in a piece of silence."""

    mains_hz: Literal[50, 60]
    origin: Literal["loop", "rectifier"]  # odd or even harmonics of the mains
    strongest_hz: int
    level_dbfs: float  # of the strongest line
    floor_dbfs: float  # level at which noise stands in its surroundings


@dataclass(frozen=True)
class Line:
    """What stands at a multiple of the mains' frequency in a piece of silence."""

    frequency: int  # nominal, in Hz
    power: float  # of its peak, in full scales squared
    floor: float  # power that noise has there

    @property
    def over_db(self) -> float:
        """Level over the floor."""
        return float(power_to_db(self.power / self.floor)) if self.floor > 0.0 else -np.inf


def measure_hum(silence: np.ndarray, sample_rate: int) -> Hum | None:
    """The hum in `(n,)` samples of silence; None where there is none, or too little to tell."""
    lines = mains_lines(silence, sample_rate)
    combs = {hz: [line for line in lines if line.frequency % hz == 0] for hz in MAINS_HZ}
    # 300 Hz and its multiples belong to both combs
    mains = max(combs, key=lambda hz: sum(f.power for f in combs[hz] if f.frequency % 300))
    comb = sorted(combs[mains], key=lambda line: line.power, reverse=True)
    if not comb:
        return None
    strongest, *others = comb
    sure = strongest.over_db > LINE_DB and max(o.over_db for o in others) > SECOND_LINE_DB
    if not (sure or strongest.over_db > LONE_LINE_DB):
        return None
    odd, even = (
        sum(line.power for line in comb if line.frequency // mains % 2 == parity)
        for parity in (1, 0)
    )
    return Hum(
        mains_hz=50 if mains == 50 else 60,
        origin="loop" if odd > even else "rectifier",
        strongest_hz=strongest.frequency,
        level_dbfs=float(power_to_db(strongest.power)),
        floor_dbfs=float(power_to_db(strongest.floor)),
    )


def mains_lines(silence: np.ndarray, sample_rate: int) -> tuple[Line, ...]:
    """What stands at the first multiples of either mains frequency, from the lowest.

    Parameters
    ----------
    silence : (n,) float array
        What was recorded while nothing was played; empty is returned for less than 0.3 s.
    """
    n = len(silence)
    if n < SHORTEST_SECONDS * sample_rate:
        return ()
    window = np.hanning(n)
    window /= np.sum(window)
    centred = silence - np.dot(window, silence)
    highest = HARMONICS * max(MAINS_HZ) + FLOOR_HZ
    resolution = sample_rate / n
    frames = scipy.fft.next_fast_len(PADDING * n, real=True)
    bins = sample_rate / frames * np.arange(int(highest * frames / sample_rate) + 1)
    power = np.abs(2.0 * scipy.fft.rfft(window * centred, frames)[: len(bins)]) ** 2
    lines = []
    for frequency in sorted({hz * order for hz in MAINS_HZ for order in range(1, HARMONICS + 1)}):
        away = np.abs(bins - frequency)
        width = max(OFF_FREQUENCY * frequency, resolution)
        around = (away > width + 2 * resolution) & (away < FLOOR_HZ)
        # the powers of noise are distributed exponentially: their median is ln 2 of the mean
        floor = np.median(power[around]) / np.log(2.0)
        lines.append(Line(frequency, float(np.max(power[away <= width])), float(floor)))
    return tuple(lines)
