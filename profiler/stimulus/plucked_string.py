"""One plucked string, as the pickup of an electric guitar hears it.

The extended Karplus-Strong string (Jaffe and Smith, Computer Music Journal 7(2), 1983):
the pluck runs round a loop that is one period long and loses a little, the treble more
than the bass, each time round.

* The pick draws the string aside into a triangle; when it lets go, the velocity of the
  string is a rectangular pulse as wide as the way from the bridge to the pick. Its
  spectrum misses the harmonics that have a node under the pick.
* The loop's filter is a symmetric three-point average, so it delays every harmonic by one
  sample, and a third-order Lagrange interpolator supplies the fraction of a sample: the
  string is in tune over the whole neck, and stays so while it is bent.
* The pickup hears the wave and, inverted, its reflection from the bridge, always after
  the same time on one string: frets do not move the pickup.

Conventions
-----------
Times are in samples of 48 kHz. Places along the string are measured from the bridge, as a
part of the open string's length.
"""

import numpy as np
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view

LAGRANGE_ORDER = 3
FILTER_DELAY = 2  # samples: one of the average, one at least of the interpolator
LARGEST_SIDE_TAP = 0.25  # of the average: at Nyquist its gain is then just zero


def plucked_string(period, pulse, *, decay_seconds, treble_decay_seconds, sample_rate):
    """The travelling wave in a string of changing pitch.

    Parameters
    ----------
    period : (n,) float array
        One period of the note at every sample, in samples, at least 8.
    pulse : (m,) float array
        What the pluck puts into the string, from sample 0 on.
    decay_seconds, treble_decay_seconds : float
        Times in which a steady note falls by 60 dB at DC and (no faster than the average
        can) at 4 kHz.

    Returns
    -------
    (n,) float64 array
    """
    n = len(period)
    gain, side = _loop_losses(np.mean(period), decay_seconds, treble_decay_seconds, sample_rate)
    steady = bool(np.all(period == period[0]))  # as most notes are: one filter does for all of it
    pitch = period[:1] if steady else period
    whole = np.floor(pitch).astype(int) - FILTER_DELAY
    taps = gain * _loop_filter(pitch - np.floor(pitch), side)  # (6, n)
    taps = np.broadcast_to(taps, (len(taps), n))

    # The loop reads no nearer than its shortest delay: so many samples at once need none
    # of one another.
    block = int(whole.min())
    history = int(whole.max()) + len(taps)
    wave = np.zeros(history + n)
    wave[history : history + len(pulse)] = pulse[:n]
    before = sliding_window_view(wave, len(taps))[1 : n + 1, ::-1].T  # where every delay is one
    read = None if steady else history + np.arange(n) - whole - np.arange(len(taps))[:, None]
    for start in range(block, n, block):
        now = slice(start, start + block)
        heard = before[:, now] if read is None else wave[read[:, now]]
        returned = np.einsum("kn,kn->n", taps[:, now], heard)
        wave[history + start : history + start + len(returned)] += returned
    return wave[history:]


def picked(period: float, place: float, corner_hz: float, grain, sample_rate: int):
    """One period of velocity as the pick leaves it in the string.

    Parameters
    ----------
    period : float
        Of the note, in samples.
    place : float
        Of the pick, as a part of the *sounding* length, above 0 and at most 0.5.
    corner_hz : float
        Softness of pick and string: a first-order low-pass.
    grain : (round(period),) float array
        Irregularity of the pluck, added to a pulse of unit height.
    """
    n = round(period)
    pulse = np.where(np.arange(n) < place * n, 1.0, 0.0) + grain
    b, a = scipy.signal.butter(1, corner_hz, fs=sample_rate)
    # Twice round and the second turn kept: a pulse in the loop has no beginning.
    return scipy.signal.lfilter(b, a, np.tile(pulse - pulse.mean(), 2))[n:]


def at_pickup(wave, delay: float):
    """The wave less its reflection from the bridge, `delay` samples later."""
    whole = int(delay)
    fraction = delay - whole
    reflected = np.zeros(len(wave))
    reflected[whole:] += (1.0 - fraction) * wave[: len(wave) - whole]
    reflected[whole + 1 :] += fraction * wave[: len(wave) - whole - 1]
    return wave - reflected


def _loop_losses(period, decay_seconds, treble_decay_seconds, sample_rate):
    """Gain of the loop and side taps of its average, from the wanted decays."""
    gain = 10.0 ** (-3.0 * period / (sample_rate * decay_seconds))
    treble_gain = 10.0 ** (-3.0 * period / (sample_rate * treble_decay_seconds))
    cosine = np.cos(2 * np.pi * 4000.0 / sample_rate)
    side = (1.0 - treble_gain / gain) / (2.0 * (1.0 - cosine))
    return gain, float(np.clip(side, 0.0, LARGEST_SIDE_TAP))


def _loop_filter(fraction, side):
    """Average and interpolator in one: `(6, n)` taps whose delay is 2 + fraction."""
    delay = 1.0 + fraction
    interpolator = np.ones((LAGRANGE_ORDER + 1, len(fraction)))
    for k in range(LAGRANGE_ORDER + 1):
        for other in range(LAGRANGE_ORDER + 1):
            if other != k:
                interpolator[k] *= (delay - other) / (k - other)
    taps = np.zeros((LAGRANGE_ORDER + 3, len(fraction)))
    for lag, weight in enumerate((side, 1.0 - 2.0 * side, side)):
        taps[lag : lag + LAGRANGE_ORDER + 1] += weight * interpolator
    return taps
