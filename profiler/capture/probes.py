"""The probe: a short steady tone that a take repeats, and what one says of the device.

Two probes that read alike were answered by the same device: the knobs stand where they stood
and it is as warm as it was. They are measured in one way wherever they are played.

Conventions
-----------
A level is the peak of the fundamental. THD is the root of the summed power of the harmonics 2 to
`HIGHEST_HARMONIC` re the fundamental, a ratio; what noise adds to it is taken out.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from profiler.stimulus.plan import PROBE_GAP_SECONDS, Probe, SignalPlan
from profiler.units import amplitude_to_db, power_to_db

MEASURED_SECONDS = 0.2  # of the tone's end: what sounded before has settled by then
LEFT_OUT_SECONDS = 0.01  # at the very end: the fade, and a delay not quite taken out
HIGHEST_HARMONIC = 5  # higher ones of an amp add noise to the sum rather than power
CLEAR_OF_HARMONICS = 0.03  # of the fundamental: what is further away is noise or hum,
CLEAR_BINS = 3.0  # and so many bins: the window's skirts
HIGHEST_PART_OF_RATE = 0.45  # where converters end


@dataclass(frozen=True)
class ProbeReading:
    """What the end of a probe's tone says of the device."""

    level_dbfs: float  # peak of the fundamental; -inf for silence
    level_sigma_db: float  # what noise makes of it; inf for silence
    thd: float  # ratio; 0 where noise hides it
    thd_sigma: float
    residual_rms_dbfs: float  # all that is no harmonic: noise and hum


@dataclass(frozen=True)
class PlacedReading:
    """A reading and where in the stimulus its probe stands."""

    name: str
    at_seconds: float  # first sample of the tone
    reading: ProbeReading


@dataclass(frozen=True)
class HarmonicLines:
    """Amplitudes of a tone and its harmonics."""

    amplitudes: np.ndarray  # (k,) complex, of the orders 1 to k
    variance: float  # that noise has in the real, and in the imaginary part of each
    residual_power: float  # of all that is no harmonic


def measure_probe(tone: np.ndarray, frequency: float, sample_rate: int) -> ProbeReading:
    """Level and THD over 0.2 s at the end of a probe's tone.

    Parameters
    ----------
    tone : (n,) float array
        The response to the tone, from the tone's first sample to its last; a few samples of
        delay do not matter.
    frequency : float
        Of the tone, in Hz.
    sample_rate : int
        In Hz.

    Raises
    ------
    ValueError
        The tone is shorter than 0.21 s.
    """
    n, left_out = (round(s * sample_rate) for s in (MEASURED_SECONDS, LEFT_OUT_SECONDS))
    if len(tone) < n + left_out:
        raise ValueError(
            f"got {len(tone) / sample_rate:.3f} s of tone, expected at least "
            f"{(n + left_out) / sample_rate:g} s"
        )
    steady = tone[len(tone) - n - left_out : len(tone) - left_out]
    lines = harmonic_lines(steady, frequency, sample_rate, HIGHEST_HARMONIC)
    variance, residual_rms_dbfs = lines.variance, float(power_to_db(lines.residual_power))
    fundamental = abs(lines.amplitudes[0])
    if fundamental == 0.0:
        return ProbeReading(-np.inf, np.inf, 0.0, np.inf, residual_rms_dbfs)
    count = len(lines.amplitudes) - 1
    harmonics = float(np.sum(np.abs(lines.amplitudes[1:]) ** 2)) - 2.0 * count * variance
    harmonics = max(harmonics, 0.0)
    resolved = max(harmonics, 2.0 * np.sqrt(count) * variance, np.finfo(float).tiny)
    spread = np.sqrt(4.0 * resolved * variance + 4.0 * count * variance**2)
    return ProbeReading(
        level_dbfs=float(amplitude_to_db(fundamental)),
        level_sigma_db=float(20.0 / np.log(10.0) * np.sqrt(variance) / fundamental),
        thd=float(np.sqrt(harmonics) / fundamental),
        thd_sigma=float(spread / (2.0 * np.sqrt(resolved)) / fundamental),
        residual_rms_dbfs=residual_rms_dbfs,
    )


def harmonic_lines(
    steady: np.ndarray, frequency: float, sample_rate: int, highest: int
) -> HarmonicLines:
    """A steady tone's fundamental and harmonics, and the noise that is in each.

    Parameters
    ----------
    steady : (n,) float array
        The response to the tone, settled; eight periods or more.
    frequency : float
        Of the tone, in Hz.
    highest : int
        Order of the highest harmonic wanted; those near half the sample rate are left out.
    """
    steady = np.asarray(steady, np.float64)
    n = len(steady)
    # a Hann window keeps hum and the neighbouring harmonics out of each other: below -100 dB
    window = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    window /= np.sum(window)
    centred = steady - np.dot(window, steady)
    highest = min(highest, int(HIGHEST_PART_OF_RATE * sample_rate / frequency))
    orders = np.arange(1, max(highest, 1) + 1)
    turning = np.exp(-2j * np.pi * frequency / sample_rate * np.outer(orders, np.arange(n)))
    amplitudes = 2.0 * turning @ (window * centred)

    # what stands away from every harmonic, bin by bin, in the units of `amplitudes`
    power = np.abs(2.0 * scipy.fft.rfft(window * centred)) ** 2
    order = scipy.fft.rfftfreq(n, 1 / sample_rate) / frequency
    clear = max(CLEAR_OF_HARMONICS, CLEAR_BINS * sample_rate / n / frequency)
    away = np.abs(order - np.round(order)) > clear
    away |= order < 0.5
    between = away & (order > 0.5) & (order < len(orders) + 0.5)
    # Of white noise the powers of the bins are distributed exponentially, with a median of ln 2
    # times their mean; the median does not mind a line of hum. Either component has half of it.
    variance = float(np.median(power[between])) / np.log(2.0) / 2.0
    residual = np.sum(power[away]) / (2.0 * n * np.dot(window, window))
    return HarmonicLines(amplitudes, variance, float(residual))


def read_probes(plan: SignalPlan, response: np.ndarray) -> tuple[PlacedReading, ...]:
    """Every probe of a plan, measured on `(n,)` samples aligned to the stimulus, in order."""
    rate = plan.sample_rate
    gap = round(PROBE_GAP_SECONDS * rate)
    return tuple(
        PlacedReading(
            name=placed.segment.name,
            at_seconds=(placed.start + gap) / rate,
            reading=measure_probe(
                response[placed.start + gap : placed.stop - gap], placed.segment.frequency, rate
            ),
        )
        for placed in plan.of_kind("probe")
        if isinstance(placed.segment, Probe)
    )
