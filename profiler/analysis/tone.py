"""A tone taken apart: its mean, its harmonics, and what is left of the recording.

Conventions
-----------
A harmonic is a complex peak: number k of a tone of angular frequency w is Re(h e^(j k w t)), with
t = 0 at the first sample that is given. The mean is no harmonic.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.linalg

from profiler.capture.alignment import AlignedCapture
from profiler.stimulus.plan import Placed, Staircase

HIGHEST_HZ = 20_000.0  # of a harmonic; nobody hears above it
HIGHEST_PART_OF_RATE = 0.45  # where converters end
LEAST_PERIODS = 4  # of a tone
STEP_PERIODS = 7.5  # in which the noise between the harmonics is told from them
CLEAR_BINS = (
    3.5  # on either side of a harmonic: so wide is a line under the square of Hann's window
)
SETTLING_PART = 0.5  # of a step of a staircase, left out at its beginning
STEP_END_SECONDS = 0.005  # and at its end: a delay that is not quite taken out


@dataclass(frozen=True, eq=False)
class ToneFit:
    """A steady tone, taken apart by least squares."""

    frequency: float
    sample_rate: int
    mean: float
    harmonics: np.ndarray  # (k,) complex, the fundamental first
    sigma: float  # of a harmonic's magnitude, by the noise between the harmonics
    residual: np.ndarray  # (n,) what is neither mean nor harmonic

    @property
    def level(self) -> float:
        """Peak of the fundamental."""
        return float(abs(self.harmonics[0]))

    @property
    def between(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies in Hz and power density of the residual, away from the harmonics.

        `(m,)` each, the density in full scales squared a hertz; none for fewer than 7 periods.
        Beside a harmonic stands how it drifts, and in it nothing is left: neither is noise.
        """
        n = len(self.residual)
        window = np.hanning(n + 2)[1:-1] ** 2  # what drifts is 60 dB down after four bins
        spectrum = scipy.fft.rfft(window * self.residual)
        density = 2.0 * np.abs(spectrum) ** 2 / (np.dot(window, window) * self.sample_rate)
        bins = scipy.fft.rfftfreq(n, 1.0 / self.sample_rate)
        away = np.abs(bins - self.frequency * np.round(bins / self.frequency))
        clear = away > CLEAR_BINS * self.sample_rate / n
        clear &= bins > 0.0
        return bins[clear], density[clear]


def fit_tone(
    samples: np.ndarray, frequency: float, sample_rate: int, *, highest_hz: float = HIGHEST_HZ
) -> ToneFit:
    """Mean and harmonics of a steady tone of any frequency, by least squares.

    The normal equations of complex exponentials are a Toeplitz matrix of Dirichlet kernels, so a
    window need not hold whole periods, nor a period whole samples.

    Parameters
    ----------
    samples : (n,) float array
        The response to the tone while it is steady.
    frequency : float
        In Hz.
    highest_hz : float
        Up to where harmonics are fitted; never above 0.45 of the sample rate.

    Raises
    ------
    ValueError
        Fewer than 4 periods, or a frequency that the sample rate does not hold.
    """
    y = np.asarray(samples, np.float64)
    n, turn = len(y), 2 * np.pi * frequency / sample_rate
    if not 0.0 < frequency < HIGHEST_PART_OF_RATE * sample_rate:
        raise ValueError(f"got a tone of {frequency:g} Hz at {sample_rate} Hz")
    if n * frequency < LEAST_PERIODS * sample_rate:
        raise ValueError(
            f"got {n * frequency / sample_rate:.1f} periods, expected at least {LEAST_PERIODS}"
        )
    count = max(1, int(min(highest_hz, HIGHEST_PART_OF_RATE * sample_rate) / frequency))
    turning = np.exp(1j * turn * np.arange(n))
    exponentials = np.empty((count + 1, n), complex)  # of the mean, then of each harmonic
    exponentials[0] = 1.0
    for k in range(1, count + 1):
        exponentials[k] = exponentials[k - 1] * turning
    half = np.conj(exponentials) @ y
    seen = np.concatenate([np.conj(half[:0:-1]), half])  # of orders -count to count
    column = _dirichlet(turn * np.arange(2 * count + 1), n)
    found = scipy.linalg.solve_toeplitz((np.conj(column), column), seen)[count:]
    mean, harmonics = float(found[0].real), 2.0 * found[1:]
    residual = y - mean - (harmonics @ exponentials[1:]).real
    return ToneFit(
        frequency, sample_rate, mean, harmonics, _sigma(residual, frequency, sample_rate), residual
    )


def fitted_steps(capture: AlignedCapture, placed: Placed) -> list[tuple[float, ToneFit]]:
    """The peak in dBFS that each step of a staircase was played with, and its later half.

    Empty where the steps are too short.
    """
    segment, rate = placed.segment, capture.sample_rate
    if not isinstance(segment, Staircase):
        raise ValueError(f"got a segment of kind {segment.kind!r}, expected a staircase")
    length = segment.step_seconds
    seconds = (1.0 - SETTLING_PART) * length - STEP_END_SECONDS
    if seconds * segment.frequency < STEP_PERIODS:
        return []
    steps = []
    for index, level_dbfs in enumerate(segment.levels_dbfs):
        end = placed.start + round(((index + 1) * length - STEP_END_SECONDS) * rate)
        tone = capture.response[end - round(seconds * rate) : end]
        fit = fit_tone(tone, segment.frequency, rate)
        steps.append((level_dbfs + capture.plan.gain_db, fit))
    return steps


def harmonic_course(
    samples: np.ndarray, frequency: float, sample_rate: int, order: int
) -> tuple[np.ndarray, np.ndarray]:
    """A harmonic in time, over one period of the tone each.

    Returns
    -------
    centres : (m,) float array
        Of each period, in samples from the first.
    harmonic : (m,) complex array
        Its complex peak; for order 0 the mean.
    """
    period = sample_rate / frequency
    at = np.arange(len(samples))
    turning = np.exp(-2j * np.pi * order * frequency / sample_rate * at)
    centres, course = _period_means(samples * turning, period)
    return centres, (2.0 if order else 1.0) * course


def _period_means(values, period):
    """Centres in samples, and means of every stretch of one period, which need not be whole.

    The running sum is read between its samples by a cubic: a sum that ends within a sample would
    else ripple.
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    whole = math.ceil(period - 1e-9)
    part = whole - period
    weights = (
        -part * (part - 1) * (part - 2) / 6,
        (part + 1) * (part - 1) * (part - 2) / 2,
        -(part + 1) * part * (part - 2) / 2,
        (part + 1) * part * (part - 1) / 6,
    )
    ends = np.arange(whole + 1, len(total))
    begins = ends - whole
    before = sum(w * total[begins + k] for w, k in zip(weights, (-1, 0, 1, 2), strict=True))
    return ends - (period + 1.0) / 2.0, (total[ends] - before) / period


def _dirichlet(turns, n):
    """Sums of e^(j turn t) over t = 0 ... n-1, for each of `turns`."""
    half = 0.5 * turns
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = np.sin(n * half) / np.sin(half)
    kernel = np.where(np.abs(np.sin(half)) < 1e-12, n * np.cos(n * half) / np.cos(half), kernel)
    return kernel * np.exp(1j * (n - 1) * half)


def _sigma(residual, frequency, rate):
    """What noise makes of a harmonic's magnitude; a line of hum does not count."""
    n = len(residual)
    fit = ToneFit(frequency, rate, 0.0, np.zeros(1, complex), 0.0, residual)
    bins, density = fit.between
    heard = density[(bins > 0.5 * frequency) & (bins < HIGHEST_PART_OF_RATE * rate)]
    if not len(heard):
        return float(np.sqrt(2.0 / n) * np.std(residual))
    # the powers of noise are distributed exponentially: their median is ln 2 of the mean
    return float(np.sqrt(np.median(heard) / np.log(2.0) * rate / n))
