"""The impulse responses that a sweep gives: the linear one at 0, the harmonics' before it.

The response to the sweep, multiplied by the sweep's analytic inverse, is a row of impulse
responses; that of the m-th harmonic stands L ln m before the linear one (Novak, Lotton, Simon,
JAES 63(10), 2015), or as far behind it where the sweep went down.
"""

import numpy as np
import scipy.fft

from profiler.capture.alignment import AlignedCapture
from profiler.stimulus.plan import Sweep
from profiler.stimulus.sweep import inverse_spectrum
from profiler.units import amplitude_to_db, db_to_amplitude

LOWER_EDGE_RATIO = 0.35  # of a sweep's first frequency: twice there, nothing is lost
BEFORE_SECONDS = 0.003  # of a linear response: it rings ahead in the converters


def impulse_responses(
    response: np.ndarray, segment: Sweep, sample_rate: int, *, harmonics: bool = False
) -> np.ndarray:
    """All impulse responses of a sweep of peak 1 in one circle.

    Parameters
    ----------
    response : (n,) float array
        The response to the segment, from its first sample to its last.
    harmonics : bool
        Whether they are wanted for themselves: then the band goes on to half the sample rate, and
        rises softly at its lower end.

    Returns
    -------
    (m,) float64 array
        At least twice as long. Sample 0 is the linear response's zero; what stands before it is at
        the end. It holds the band that is swept only: elsewhere the inverse would raise the noise.
    """
    frames = scipy.fft.next_fast_len(2 * len(response), real=True)
    bins = scipy.fft.rfftfreq(frames, 1 / sample_rate)
    if harmonics:
        # the sweep's own spectrum has not vanished there: a hard edge would ring
        band = np.clip(bins / (LOWER_EDGE_RATIO * segment.start_hz) - 1.0, 0.0, 1.0)
    else:
        band = (bins >= segment.start_hz / 2) & (bins < min(1.2 * segment.stop_hz, sample_rate / 2))
    spectrum = scipy.fft.rfft(np.asarray(response, np.float64), frames) / sample_rate
    return scipy.fft.irfft(band * spectrum * inverse_spectrum(segment, bins), frames)


def swept(capture: AlignedCapture) -> np.ndarray | None:
    """The impulse responses of a capture's first sweep that goes up; None where there is none."""
    for placed in capture.plan.of_kind("sweep"):
        # of one that goes down, harmonics stand where an echo would
        if isinstance(placed.segment, Sweep) and placed.segment.direction == "up":
            played = float(db_to_amplitude(placed.segment.level_dbfs + capture.plan.gain_db))
            answer = capture.response[placed.slice] / played
            return impulse_responses(answer, placed.segment, capture.sample_rate)
    return None


def magnitude_db(
    impulses: np.ndarray, sample_rate: int, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and magnitude in dB of the linear response's first `seconds`.

    They stand 4 times as close as the response's length tells apart.
    """
    before, after = round(BEFORE_SECONDS * sample_rate), round(seconds * sample_rate)
    linear = np.roll(impulses, before)[: before + after].copy()
    linear[-before:] *= np.cos(0.5 * np.pi * np.arange(before) / before) ** 2
    frames = scipy.fft.next_fast_len(4 * len(linear), real=True)
    spectrum = np.abs(scipy.fft.rfft(linear, frames))
    return scipy.fft.rfftfreq(frames, 1 / sample_rate), np.asarray(amplitude_to_db(spectrum))
