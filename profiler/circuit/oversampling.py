"""Oversampling: distortion makes harmonics far above the band, and they must not fold back.

A circuit runs at the internal rate that its distortion needs, or a little above. Both filters are
linear-phase (Kaiser windows, 100 dB, flat to 0.45 of the sample rate), so all they add is a
delay, a whole number of samples, which a device states and the simulated interface takes off
again.
"""

import numpy as np
from numba import njit
from scipy import signal

INTERNAL_RATE = 352_800  # Hz: 8 x 44.1 kHz
LATENCY_SAMPLES = 64  # of both filters together, at the outer rate
STOPBAND_DB = 100.0


def factor(sample_rate: int, internal_rate: int = INTERNAL_RATE) -> int:
    """Oversampling factor that leads to an internal rate at least: a power of two, at least 2."""
    times = 2
    while times * sample_rate < internal_rate:
        times *= 2
    return times


class Oversampled:
    """Interpolation and decimation of a stream, block by block."""

    def __init__(self, sample_rate: int, internal_rate: int = INTERNAL_RATE):
        self.factor = factor(sample_rate, internal_rate)
        self.rate = self.factor * sample_rate
        taps = LATENCY_SAMPLES * self.factor + 1
        self._lowpass = signal.firwin(
            taps, 1.0 / self.factor, window=("kaiser", signal.kaiser_beta(STOPBAND_DB))
        )
        padded = np.zeros((LATENCY_SAMPLES + 1) * self.factor)
        padded[:taps] = self._lowpass * self.factor
        phases = padded.reshape(LATENCY_SAMPLES + 1, self.factor).T  # (factor, taps a phase)
        self._phases = np.ascontiguousarray(phases[:, ::-1])
        self._outer = np.zeros(LATENCY_SAMPLES)
        self._inner = np.zeros(taps - 1)

    def up(self, block: np.ndarray) -> np.ndarray:
        """(n,) at the outer rate to (n * factor,) at the internal rate."""
        joined = np.concatenate((self._outer, block))
        self._outer = joined[len(block) :]
        return _interpolate(joined, self._phases)

    def down(self, block: np.ndarray) -> np.ndarray:
        """(n * factor,) at the internal rate to (n,) at the outer rate."""
        joined = np.concatenate((self._inner, block))
        self._inner = joined[len(block) :]
        return _decimate(joined, self._lowpass, self.factor)


# Each output is one sum of a fixed length, so how a stream is cut into blocks changes no bit.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _interpolate(joined, phases):
    factor, taps = phases.shape
    frames = len(joined) - taps + 1
    out = np.empty(frames * factor)
    for n in range(frames):
        for phase in range(factor):
            total = 0.0
            for k in range(taps):
                total += joined[n + k] * phases[phase, k]
            out[n * factor + phase] = total
    return out


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _decimate(joined, lowpass, factor):
    taps = len(lowpass)
    frames = (len(joined) - taps + 1) // factor
    out = np.empty(frames)
    for n in range(frames):
        start = n * factor
        total = 0.0
        for k in range(taps):
            total += joined[start + k] * lowpass[k]
        out[n] = total
    return out
