"""The linear parts: what resistors, capacitors and a transformer do to the spectrum.

Each is a transfer function in s, made digital by the bilinear transform at the internal
rate, where its warping stays below 0.1 dB in the audible band.
"""

import numpy as np
from numba import njit
from scipy import signal

_TWO_PI = 2.0 * np.pi


def digital(analogue, rate):
    """Coefficients (b0, b1, b2, a1, a2) of (numerator, denominator) in s, to second order."""
    b, a = signal.bilinear(*analogue, fs=rate)
    b = np.concatenate((b, np.zeros(3 - len(b))))
    a = np.concatenate((a, np.zeros(3 - len(a))))
    return np.array([*b, *a[1:]])


@njit(cache=True, nogil=True, error_model="numpy")
def biquad(coefficients, state, x):
    """One sample through a second-order filter, transposed direct form 2."""
    y = coefficients[0] * x + state[0]
    state[0] = coefficients[1] * x - coefficients[3] * y + state[1]
    state[1] = coefficients[2] * x - coefficients[4] * y
    return y


def lowpass(frequency):
    """Numerator and denominator of a first-order low-pass."""
    return [1.0], [1.0 / (_TWO_PI * frequency), 1.0]


def highpass(frequency):
    """Numerator and denominator of a first-order high-pass."""
    return [1.0 / (_TWO_PI * frequency), 0.0], [1.0 / (_TWO_PI * frequency), 1.0]


def treble_cut(source_ohms, pot_ohms, farads):
    """A tone control: capacitor and pot in series from the signal to ground."""
    return [pot_ohms * farads, 1.0], [(pot_ohms + source_ohms) * farads, 1.0]


def leakage(load_ohms, henries, farads):
    """A transformer's treble: leakage inductance in series, winding capacitance across."""
    return [1.0], [henries * farads, henries / load_ohms, 1.0]


def audio_taper(position):
    """Share of a pot's track at a knob position of 0 to 10: a tenth at 5, as it is sold."""
    return (81.0 ** (position / 10.0) - 1.0) / 80.0
