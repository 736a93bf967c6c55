"""Intermodulation: what a device makes between two tones, against level.

A single tone's harmonics hide where the ear hears them least, on its overtones, or behind a
loudspeaker that ends at 5 kHz. Two tones at once make sums and differences that belong to neither.
The steps of a twin tone hold whole periods of both, so that every product stands in a line of its
own, and between the lines stands the noise.

Conventions
-----------
The order of a product a f1 + b f2 is |a| + |b|. Two ways of reading are usual, both of IEC 60268-3:

* *modulation*, of tones far apart (SMPTE RP 120: 60 Hz and 7 kHz, 4 to 1): the sidebands
  f2 -+ (n - 1) f1 of order n, re the higher tone;
* *difference*, of tones close together (CCIF: 19 and 20 kHz, 1 to 1): f2 - f1, 2 f1 - f2,
  2 f2 - f1, and so on, re the sum of both tones' amplitudes.

Of an order, the amplitudes of its products are added, as the standard has it. `imd` is the root
of the summed power of all products of the orders 2 to 5, re the same. A product that is not clear
of the noise counts for nothing.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft

from profiler.analysis.response import TOLD_ABOVE_FLOOR_DB, rounded, rounded_or_null
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import TWIN_TONE_GRID_HZ, TwinTone
from profiler.stimulus.tones import tone_steps
from profiler.units import amplitude_to_db, db_to_amplitude

HIGHEST_ORDER = 5
FAR_APART_RATIO = 4.0  # of the frequencies: from there on the lower tone modulates the higher
BAND_RATIO = 0.48  # of the sample rate, up to which lines are looked for
SETTLED_SECONDS = 0.1  # of a step: the device follows the change of level
TAIL_SECONDS = 0.002  # of its end: a delay not quite taken out
CLEAR_BINS = 2  # from a line of a Hann window on, nothing of it is left
NOISE_LINES = 24  # about a product, of which noise is the median

Method = Literal["modulation", "difference"]


class Product(Record):
    """A line that the device made."""

    order: int
    frequency_hz: float
    level_dbfs: float | None  # peak; null where it is not clear of the noise
    floor_dbfs: float  # RMS of what noise adds to it


class TwinToneStep(Record):
    """Both tones at one level."""

    level_dbfs: float  # peak of their sum that was played
    first_dbfs: float  # peaks that came back
    second_dbfs: float
    products: tuple[Product, ...]
    second_order_percent: float | None  # null where no product of it is clear of the noise
    third_order_percent: float | None
    imd_percent: float | None
    imd_floor_percent: float  # what noise alone would make


class TwinToneIntermodulation(Record):
    """The steps of one twin tone, soft to loud."""

    name: str
    method: Method
    first_hz: float
    second_hz: float
    ratio: float  # of the amplitudes played
    steps: tuple[TwinToneStep, ...]


class Intermodulation(Record):
    """What the twin tones of a capture say."""

    twin_tones: tuple[TwinToneIntermodulation, ...]


@dataclass(frozen=True)
class Intermodulated:
    """Two steady tones and what came with them; amplitudes are peaks, k products."""

    method: Method
    first: float
    second: float
    orders: np.ndarray  # (k,)
    frequencies: np.ndarray  # (k,)
    products: np.ndarray  # (k,)
    noise: np.ndarray  # (k,) RMS of what noise adds to each

    @property
    def told(self) -> np.ndarray:
        """Which products are clear of the noise."""
        return self.products > db_to_amplitude(TOLD_ABOVE_FLOOR_DB) * self.noise

    @property
    def reference(self) -> float:
        """The amplitude that the method refers to."""
        played = self.second if self.method == "modulation" else self.first + self.second
        return max(played, float(np.finfo(float).tiny))

    def order(self, order: int) -> float | None:
        """Summed amplitudes of the products of an order, a ratio; None for none that is clear."""
        of_it = self.told & (self.orders == order)
        return float(np.sum(self.products[of_it])) / self.reference if of_it.any() else None

    @property
    def imd(self) -> float | None:
        """Root of the summed power of all products, a ratio; None for none that is clear."""
        clean = (self.products**2 - self.noise**2)[self.told]
        return math.sqrt(float(np.sum(clean))) / self.reference if clean.size else None

    @property
    def floor(self) -> float:
        """What noise alone would make of `imd`."""
        return math.sqrt(float(np.sum(self.noise**2))) / self.reference


def intermodulation(capture: AlignedCapture) -> Intermodulation:
    """The products of every step of every twin tone.

    Raises
    ------
    CaptureError
        The capture's stimulus has no twin tone, or its steps are too short.
    """
    rate = capture.sample_rate
    found = []
    for placed in capture.plan.placed():
        segment = placed.segment
        if not isinstance(segment, TwinTone):
            continue
        heard = capture.response[placed.slice]
        steps = []
        for step in tone_steps(segment, rate):
            steady = _steady(heard, step, segment, rate)
            measured = measure_twin_tone(steady, segment.first_hz, segment.second_hz, rate)
            steps.append(_recorded(measured, step.level_dbfs + capture.plan.gain_db))
        found.append(
            TwinToneIntermodulation(
                name=segment.name,
                method=method_of(segment.first_hz, segment.second_hz),
                first_hz=segment.first_hz,
                second_hz=segment.second_hz,
                ratio=segment.ratio,
                steps=tuple(steps),
            )
        )
    if not found:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no twin tone to measure intermodulation by: "
            "capture distortion"
        )
    return Intermodulation(twin_tones=tuple(found))


def method_of(first_hz: float, second_hz: float) -> Method:
    """How two tones are read: the lower modulates the higher, or they differ."""
    return "modulation" if second_hz >= FAR_APART_RATIO * first_hz else "difference"


def measure_twin_tone(
    steady: np.ndarray, first_hz: float, second_hz: float, sample_rate: int
) -> Intermodulated:
    """The lines that a device makes between two steady tones.

    Parameters
    ----------
    steady : (n,) float array
        The response to both tones, settled, in whole periods of both.
    first_hz, second_hz : float
        The lower and the higher, in Hz.

    Raises
    ------
    ValueError
        No whole periods, or so few that no noise can be seen between the lines.
    """
    n = len(steady)
    bin_hz = sample_rate / n
    common = math.gcd(round(first_hz), round(second_hz))
    lines = np.array([first_hz, second_hz]) / bin_hz
    if np.max(np.abs(lines - np.round(lines))) > 1e-6:
        raise ValueError(
            f"got {n} samples, in which {first_hz:g} and {second_hz:g} Hz are not whole"
        )
    spacing = round(common / bin_hz)
    if spacing < 2 * CLEAR_BINS:
        raise ValueError(
            f"got {n / sample_rate:g} s, expected at least {2 * CLEAR_BINS / common:g} s: lines of "
            f"products stand {common:g} Hz apart"
        )
    window = 1.0 - np.cos(2 * np.pi * np.arange(n) / n)  # periodic, of mean 1
    magnitude = np.abs(scipy.fft.rfft(window * np.asarray(steady, np.float64))) * 2.0 / n
    first, second = (float(magnitude[round(line)]) for line in lines)

    orders, frequencies = _products(first_hz, second_hz, BAND_RATIO * sample_rate)
    places = np.round(frequencies / bin_hz).astype(int)
    apart = np.arange(len(magnitude)) % spacing
    empty = np.flatnonzero(np.minimum(apart, spacing - apart) >= CLEAR_BINS)
    noise = []
    for place in places:
        middle = np.clip(np.searchsorted(empty, place), NOISE_LINES // 2, len(empty))
        near = magnitude[empty[middle - NOISE_LINES // 2 : middle + NOISE_LINES // 2]]
        # the power of a line of noise has a median of ln 2 times its mean
        noise.append(math.sqrt(float(np.median(near**2)) / math.log(2.0)))
    return Intermodulated(
        method=method_of(first_hz, second_hz),
        first=first,
        second=second,
        orders=orders,
        frequencies=frequencies,
        products=magnitude[places],
        noise=np.array(noise),
    )


def _products(first_hz, second_hz, highest_hz):
    """Orders and frequencies of the products that are looked at."""
    found = []
    for order in range(2, HIGHEST_ORDER + 1):
        if method_of(first_hz, second_hz) == "modulation":
            at = [second_hz + side * (order - 1) * first_hz for side in (-1, 1)]
        else:
            # k of one tone less k or k - 1 of the other: they fall near the tones, or near 0 Hz
            more, less = (order + 1) // 2, order // 2
            at = [more * second_hz - less * first_hz]
            at += [more * first_hz - less * second_hz] if order % 2 else []
        found += [(order, f) for f in at if 0.0 < f < highest_hz]
    orders, frequencies = zip(*found, strict=True)
    return np.array(orders), np.array(frequencies)


def _steady(heard, step, segment, rate):
    """The settled end of a step, in whole tenths of a second."""
    grid = round(rate / TWIN_TONE_GRID_HZ)
    # the level changes where a tenth of a second begins, and the last step ends with one
    first = math.ceil(step.start / grid) * grid + round(SETTLED_SECONDS * rate)
    last = min(math.ceil(step.stop / grid), len(heard) // grid) * grid - round(TAIL_SECONDS * rate)
    common = math.gcd(round(segment.first_hz), round(segment.second_hz))
    frames = (last - first) // grid * grid
    if frames * common < 2 * CLEAR_BINS * rate:
        needed = math.ceil(2 * CLEAR_BINS / common * TWIN_TONE_GRID_HZ) / TWIN_TONE_GRID_HZ + 0.2
        raise CaptureError(
            f"twin tone {segment.name!r}: its steps last {segment.seconds / segment.steps:.2f} s, "
            f"expected at least {needed:g} s to tell its products apart: lengthen it"
        )
    return heard[last - frames : last]


def _recorded(measured, level_dbfs):
    level = np.where(measured.told, amplitude_to_db(measured.products), np.nan)
    played = amplitude_to_db([measured.first, measured.second])
    return TwinToneStep(
        level_dbfs=round(level_dbfs, 3),
        first_dbfs=rounded(played, 3)[0],
        second_dbfs=rounded(played, 3)[1],
        products=tuple(
            Product(order=int(order), frequency_hz=float(f), level_dbfs=line, floor_dbfs=floor)
            for order, f, line, floor in zip(
                measured.orders,
                measured.frequencies,
                rounded_or_null(level, 3),
                rounded(amplitude_to_db(measured.noise), 1),
                strict=True,
            )
        ),
        second_order_percent=_percent(measured.order(2)),
        third_order_percent=_percent(measured.order(3)),
        imd_percent=_percent(measured.imd),
        imd_floor_percent=100.0 * measured.floor,
    )


def _percent(ratio):
    return None if ratio is None else 100.0 * ratio
