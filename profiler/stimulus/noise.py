"""Noise: pink-like, of changing colour, under a random level envelope.

A network that heard guitar alone is at a loss on anything else. Noise puts every
frequency beside every other at every level, which is what makes a model hold on
instruments and techniques that the stimulus has not got.
"""

import numpy as np

from profiler.stimulus.plan import Noise
from profiler.stimulus.shaping import (
    MATERIAL_RATE,
    finished,
    level_envelope,
    material_frames,
    with_changing_colour,
)

FLAT_BELOW_HZ = 40.0  # pink noise has no lowest frequency; speakers and converters have
COLOUR_SECONDS = 1.0
CORNER_HZ = (400.0, 16_000.0)
LEVEL_SECONDS = (0.02, 0.5)


def noise(segment: Noise, sample_rate: int, rng: np.random.Generator):
    """Noise for a segment, `(n,)` float64; its largest sample is `level_dbfs`.

    Levels are uniform in dB from `lowest_db` to 0 and change, gliding or at once, after
    20 to 500 ms; the colour changes about every second.
    """
    n = material_frames(segment)
    coloured = with_changing_colour(
        _pink(n, rng), rng, mean_seconds=COLOUR_SECONDS, corner_hz=CORNER_HZ
    )
    envelope = level_envelope(
        n, rng, lowest_db=segment.lowest_db, seconds=LEVEL_SECONDS, gliding=0.5
    )
    return finished(coloured * envelope, segment, sample_rate)


def _pink(n, rng):
    """Gaussian noise with equal power in every octave above 40 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / MATERIAL_RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, FLAT_BELOW_HZ)), n)
