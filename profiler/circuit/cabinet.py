"""A guitar cabinet before a microphone: what a loudspeaker's terminals become as sound.

It is linear and of minimum phase, and nothing of it was recorded: a few resonances and dips of a
twelve-inch cone in an open cabinet, a second-order bass end and a steep treble end, as close
microphones see them. Air and distance are left out, so it adds no pure delay.

Conventions
-----------
Samples in, samples out. `GAIN` lets the loudest transients of an amp end where they do without
its cabinet; the highest resonance, at 2.5 kHz, is then about 1.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from profiler.circuit import filters
from profiler.circuit.filters import biquad

GAIN = 0.4

BASS_HZ, BASS_QUALITY = 85.0, 1.1
TREBLE = ((5.0e3, 1.2), (6.5e3, 0.7))  # Hz and quality of two second-order low-passes


class Bell(NamedTuple):
    """A resonance of the cone, or a dip between two."""

    frequency: float
    quality: float
    gain_db: float


BELLS = (
    Bell(115.0, 2.5, 3.0),  # the cabinet
    Bell(420.0, 1.0, -4.0),  # the open back
    Bell(1250.0, 2.0, 2.0),
    Bell(2450.0, 2.0, 6.0),  # the cone breaks up
    Bell(3500.0, 5.0, -5.0),
    Bell(4300.0, 4.0, 4.0),
)


def sections() -> list[tuple[list[float], list[float]]]:
    """Numerator and denominator in s of each second-order section."""
    radians = 2.0 * np.pi * BASS_HZ
    out = [([1.0 / radians**2, 0.0, 0.0], [1.0 / radians**2, 1.0 / (BASS_QUALITY * radians), 1.0])]
    for bell in BELLS:
        radians = 2.0 * np.pi * bell.frequency
        damping = 1.0 / (bell.quality * radians)
        gain = 10.0 ** (bell.gain_db / 20.0)
        # a boost and the cut of as many decibels undo each other
        above, below = (gain * damping, damping) if gain > 1.0 else (damping, damping / gain)
        out.append(([1.0 / radians**2, above, 1.0], [1.0 / radians**2, below, 1.0]))
    for frequency, quality in TREBLE:
        radians = 2.0 * np.pi * frequency
        out.append(([1.0], [1.0 / radians**2, 1.0 / (quality * radians), 1.0]))
    return out


def transfer(frequency: np.ndarray) -> np.ndarray:
    """Complex gain at `(n,)` frequencies in Hz."""
    s = 2j * np.pi * np.asarray(frequency, dtype=np.float64)
    gain = np.full_like(s, GAIN)
    for numerator, denominator in sections():
        gain = gain * np.polyval(numerator, s) / np.polyval(denominator, s)
    return gain


class Cabinet:
    """The cabinet as a stream at the internal rate, silent when it is made."""

    def __init__(self, rate: float):
        self._coefficients = np.array([filters.digital(each, rate) for each in sections()])
        self._state = np.zeros((len(self._coefficients), 2))

    def run(self, terminals: np.ndarray) -> np.ndarray:
        """What the microphone hears of `(n,)` samples of the loudspeaker's terminals."""
        return GAIN * _run(self._coefficients, self._state, terminals)


def impulse_response(sample_rate: int, seconds: float = 0.1) -> np.ndarray:
    """The cabinet's impulse response, `(round(seconds * sample_rate),)`.

    Its sum times a steady voltage is what that becomes: sampled by the bilinear transform.
    """
    impulse = np.zeros(round(seconds * sample_rate))
    impulse[0] = 1.0
    return Cabinet(sample_rate).run(impulse)


@njit(cache=True, nogil=True, error_model="numpy")
def _run(coefficients, state, volts):
    out = np.empty(len(volts))
    for n in range(len(volts)):
        x = volts[n]
        for k in range(len(coefficients)):
            x = biquad(coefficients[k], state[k], x)
        out[n] = x
    return out
