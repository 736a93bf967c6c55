"""The linear response and the harmonics of a device, from a synchronised sweep.

The sweep gives a row of impulse responses (`profiler.capture.impulse`): the linear one, and one
of each harmonic before it. Each is cut out and transformed.

Conventions
-----------
A harmonic's magnitude stands at the frequency that it comes *from*: H2 at 1 kHz is the
2 kHz that a tone of 1 kHz makes, re a sweep of full scale, like H1.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from profiler.capture.alignment import AlignedCapture
from profiler.capture.impulse import impulse_responses
from profiler.errors import CaptureError
from profiler.stimulus.plan import Sweep
from profiler.units import amplitude_to_db, db_to_amplitude

POINTS_AN_OCTAVE = 48
LONGEST_RESPONSE_SECONDS = 0.5
BEFORE_SECONDS = 0.005  # of a response that is kept: it rings ahead in the converters
FADE_PART = 0.1  # of a cut response, at its end


@dataclass(frozen=True)
class SweepResponse:
    """Response of a device to a sweep of one level; arrays are `(m,)`."""

    level_dbfs: float
    frequencies: np.ndarray  # Hz, equally spaced in octaves
    magnitude_db: np.ndarray
    phase: np.ndarray  # radians, unwrapped
    second_db: np.ndarray  # H2; NaN where it lies above half the sample rate
    third_db: np.ndarray  # H3


def sweep_response(capture: AlignedCapture) -> SweepResponse:
    """Magnitude, phase and the first harmonics over frequency.

    Raises
    ------
    CaptureError
        The capture's stimulus has no sweep.
    """
    placed = next(capture.plan.of_kind("sweep"), None)
    if placed is None or not isinstance(placed.segment, Sweep):
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no sweep: capture sweep or standard"
        )
    segment, rate = placed.segment, capture.sample_rate
    level = segment.level_dbfs + capture.plan.gain_db
    played = capture.response[placed.slice] / db_to_amplitude(level)
    impulses = impulse_responses(played, segment, rate)

    octaves = math.log2(min(segment.stop_hz, 0.45 * rate) / segment.start_hz)
    points = round(octaves * POINTS_AN_OCTAVE) + 1
    frequencies = segment.start_hz * 2 ** np.linspace(0, octaves, points)
    first, second, third = (
        _harmonic(impulses, order, segment.rate_constant, frequencies, rate) for order in (1, 2, 3)
    )
    return SweepResponse(
        level_dbfs=level,
        frequencies=frequencies,
        magnitude_db=amplitude_to_db(first),
        phase=np.unwrap(np.angle(first)),
        second_db=amplitude_to_db(second),
        third_db=amplitude_to_db(third),
    )


def _harmonic(impulses, order, rate_constant, frequencies, rate):
    """The transfer function of a harmonic at the frequencies that it comes from."""
    here = rate_constant * math.log(order)
    # the next order's response begins at -L ln(m+1); the one before ends at -L ln(m-1)
    room = rate_constant * (math.log(order) - math.log(order - 1)) if order > 1 else np.inf
    length = min(LONGEST_RESPONSE_SECONDS, room - BEFORE_SECONDS)
    before, after = round(BEFORE_SECONDS * rate), round(length * rate)
    centre = round(-here * rate)
    cut = np.take(impulses, np.arange(centre - before, centre + after), mode="wrap")
    fade = round(FADE_PART * after)
    cut[-fade:] *= np.cos(0.5 * np.pi * np.arange(fade) / fade) ** 2
    frames = scipy.fft.next_fast_len(8 * len(cut), real=True)
    bins = scipy.fft.rfftfreq(frames, 1 / rate)
    place = (centre - before) / rate + here  # of the first sample, re the harmonic's own
    spectrum = scipy.fft.rfft(cut, frames) * np.exp(-2j * np.pi * bins * place)
    at = order * frequencies
    value = np.interp(at, bins, spectrum.real) + 1j * np.interp(at, bins, spectrum.imag)
    return np.where(at < 0.45 * rate, value, np.nan)
