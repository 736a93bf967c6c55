"""Markers: coded wideband bursts by which a take is aligned and known again.

A marker plays its code, pauses, plays the code inverted and pauses: what a device adds to
both alike (offset, even harmonics) cancels in their difference. The code is a multitone of
random phases, drawn from the stimulus's identity and the marker's name: a take of another
stimulus, or a marker in another's place, does not match.

Random phases make the code nearly Gaussian, and for a Gaussian excitation the linear part of
a distorted response is that of the filters around the distortion, times a constant (Bussgang,
1952). That is what lets the delay be told from the phase of the device's own filters.

Conventions
-----------
The code is defined in continuous time, so it is the same waveform at every sample rate. Its
level is set by the highest sample at any of them: none ever lies above `level_dbfs`.
"""

import functools
import hashlib

import numpy as np
import scipy.fft

from profiler.stimulus.plan import MARKER_CODE_SECONDS, MARKER_GAP_SECONDS, Marker
from profiler.units import db_to_amplitude

LOWEST_HZ = 60.0
HIGHEST_HZ = 15_000.0
FADE_SECONDS = 0.001

DRAWS = 24  # of which the one with the lowest crest factor is played
PEAK_RATES = (88_200, 192_000)  # their samples include those of every other rate


def marker(segment: Marker, identity: str, sample_rate: int) -> np.ndarray:
    """A marker: code, gap, inverted code, gap.

    Parameters
    ----------
    segment : Marker
        Its name and level.
    identity : str
        Of the stimulus: `SignalPlan.identity`.
    sample_rate : int
        In Hz.

    Returns
    -------
    (n,) float64 array
        `segment.duration` seconds, its peak at most 1 dB below `segment.level_dbfs`.
    """
    half = half_frames(sample_rate)
    played = np.zeros(round(segment.duration * sample_rate))
    burst = db_to_amplitude(segment.level_dbfs) * code(identity, segment.name, sample_rate)
    played[: len(burst)] = burst
    played[half : half + len(burst)] = -burst
    return played


def code(identity: str, name: str, sample_rate: int) -> np.ndarray:
    """The code of the marker `name` of a stimulus, `(n,)` float64 with a peak of about 1."""
    lines = _lines(identity, name)
    frames = round(MARKER_CODE_SECONDS * sample_rate)
    return _waveform(lines, frames) * _fades(frames, sample_rate)


def half_frames(sample_rate: int) -> int:
    """Samples from the first of the code to the first of its inversion."""
    return round((MARKER_CODE_SECONDS + MARKER_GAP_SECONDS) * sample_rate)


@functools.lru_cache(maxsize=256)
def _lines(identity, name):
    """Complex amplitudes of the multitone at multiples of 1/MARKER_CODE_SECONDS."""
    digest = hashlib.sha256((identity + name).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    lowest = round(LOWEST_HZ * MARKER_CODE_SECONDS)
    highest = round(HIGHEST_HZ * MARKER_CODE_SECONDS)

    lengths = [round(MARKER_CODE_SECONDS * rate) for rate in PEAK_RATES]
    best, best_peak = np.zeros(0), np.inf
    for _ in range(DRAWS):
        lines = np.zeros(highest + 1, dtype=complex)
        lines[lowest:] = np.exp(2j * np.pi * rng.random(highest - lowest + 1))
        peak = max(np.max(np.abs(_waveform(lines, n))) for n in lengths)
        if peak < best_peak:  # every draw has the same power
            best, best_peak = lines, peak
    best /= best_peak
    best.setflags(write=False)
    return best


def _waveform(lines, frames):
    return scipy.fft.irfft(lines, frames) * frames


def _fades(frames, sample_rate):
    """Raised cosines in continuous time: what goes for one rate goes for every other."""
    t = np.arange(frames) / sample_rate
    edge = np.minimum(t, frames / sample_rate - t) / FADE_SECONDS
    return np.sin(0.5 * np.pi * np.minimum(edge, 1.0)) ** 2
