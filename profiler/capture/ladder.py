"""The ladder: one tone from very soft to loud, read step by step.

Its soft steps say whether a gate swallows them or the device is driven already by the softest
sound; what stands beside the tone is noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from profiler.capture.alignment import AlignedCapture
from profiler.stimulus.plan import Placed, Staircase
from profiler.units import amplitude_to_db, db_to_amplitude

BURST_BAND_HZ = (200.0, 4000.0)  # in which a burst of noise is told from hum and hiss
STEP_SETTLING_SECONDS = 0.05  # of a step of the ladder, not measured
STEP_END_SECONDS = 0.005
SIGMAS = 4.0  # by which a tone must be missed


@dataclass(frozen=True)
class Step:
    """A step of a ladder as it came back."""

    at_seconds: float
    played: float  # peak of the tone
    amplitude: float  # of it in the response
    sigma: float  # what noise makes of that
    burst_power: float  # of what is no harmonic, in the band of bursts


def ladder_steps(capture: AlignedCapture, placed: Placed) -> list[Step]:
    """Every step of a ladder; none where they are too short."""
    segment, rate = placed.segment, capture.sample_rate
    if not isinstance(segment, Staircase):
        return []
    length = segment.step_seconds
    if length < 2 * (STEP_SETTLING_SECONDS + STEP_END_SECONDS):
        return []
    steps = []
    for index, level_dbfs in enumerate(segment.levels_dbfs):
        begin = placed.start / rate + index * length
        first = round((begin + STEP_SETTLING_SECONDS) * rate)
        tone = capture.response[first : round((begin + length - STEP_END_SECONDS) * rate)]
        amplitude, noise, burst = beside_tone(tone, segment.frequency, rate)
        level = level_dbfs + capture.plan.gain_db
        steps.append(
            Step(begin, float(db_to_amplitude(level)), amplitude, float(np.sqrt(noise)), burst)
        )
    return steps


def swallowed_db(steps: Sequence[Step]) -> list[float]:
    """By how much each step falls short of the gain of any louder one; 0 where noise hides it.

    No step is read softer than noise allows it to be, and the loudest falls short of none.
    """
    sigma = max((step.sigma for step in steps), default=0.0)
    drops = []
    for index, step in enumerate(steps):
        louder = max((s.amplitude / s.played for s in steps[index + 1 :]), default=0.0)
        heard = max(step.amplitude, SIGMAS * sigma)
        ratio = louder * step.played / heard if heard > 0.0 else 0.0
        drops.append(max(float(amplitude_to_db(ratio)), 0.0) if ratio > 0.0 else 0.0)
    return drops


def beside_tone(tone: np.ndarray, frequency: float, rate: int) -> tuple[float, float, float]:
    """Amplitude of a tone, power that noise has in it, and that of all that is no harmonic.

    The last is the sum over the band of bursts; noise is the median between the harmonics, which
    a line of hum does not move.
    """
    n = len(tone)
    window = np.hanning(n)
    window /= np.sum(window)
    centred = tone - np.dot(window, tone)
    turning = np.exp(-2j * np.pi * frequency / rate * np.arange(n))
    amplitude = 2.0 * abs(np.dot(window * centred, turning))
    power = np.abs(2.0 * scipy.fft.rfft(window * centred)) ** 2
    bins = scipy.fft.rfftfreq(n, 1 / rate)
    away = np.abs(bins / frequency - np.round(bins / frequency)) * frequency
    between = (away > min(0.25 * frequency, 4.0 * rate / n)) & (bins > BURST_BAND_HZ[0])
    between &= bins < BURST_BAND_HZ[1]
    return amplitude, float(np.median(power[between]) / np.log(2.0)), float(np.sum(power[between]))
