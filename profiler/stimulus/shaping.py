"""What the random materials share: one rate, tone colours, level envelopes, fades.

Random material is composed at 48 kHz and resampled, so that one seed is the same music
at every sample rate, and a model trained at 96 kHz heard what one at 48 kHz did.
"""

import numpy as np
import scipy.signal

from profiler.stimulus.plan import Segment
from profiler.units import db_to_amplitude

MATERIAL_RATE = 48_000  # Hz, at which random material is composed

COLOUR_CROSSFADE_SECONDS = 0.01
BASS_SHELF_HZ = 180.0
BASS_SHELF_DB = (-6.0, 10.0)


def frames(segment: Segment, sample_rate: int) -> int:
    """Samples that a segment takes."""
    return round(segment.duration * sample_rate)


def material_frames(segment: Segment) -> int:
    """Samples to compose at 48 kHz for a segment: never fewer than it lasts."""
    return int(np.ceil(segment.duration * MATERIAL_RATE)) + 1


def finished(material, segment: Segment, sample_rate: int):
    """Material composed at 48 kHz as the segment wants it.

    Resampled, cut to length, faded over 5 ms where it was cut, and scaled so that its
    largest sample is `level_dbfs`.
    """
    divisor = np.gcd(sample_rate, MATERIAL_RATE)
    signal = scipy.signal.resample_poly(
        material, sample_rate // divisor, MATERIAL_RATE // divisor, window=("kaiser", 12.0)
    )
    signal = with_fades(signal[: frames(segment, sample_rate)], sample_rate, 0.005)
    return scaled_to_peak(signal, db_to_amplitude(segment.level_dbfs))


def scaled_to_peak(signal, peak):
    """The signal with its largest sample at `peak`; silence stays silence."""
    largest = np.max(np.abs(signal), initial=0.0)
    return signal if largest == 0.0 else signal * (peak / largest)


def with_fades(signal, sample_rate: int, seconds: float):
    """Raised-cosine fades of `seconds` at both ends, at most a quarter of the signal each."""
    return piece_with_fades(signal, 0, len(signal), sample_rate, seconds)


def piece_with_fades(piece, start: int, total: int, sample_rate: int, seconds: float):
    """A piece, from sample `start`, of a signal of `total` samples that is faded so."""
    n = min(round(seconds * sample_rate), total // 4)
    fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / max(n, 1))
    faded = np.array(piece)
    for edge, first in ((fade, 0), (fade[::-1], total - n)):
        begin, end = max(first, start), min(first + n, start + len(piece))
        if begin < end:
            faded[begin - start : end - start] *= edge[begin - first : end - first]
    return faded


def with_changing_colour(material, rng, *, mean_seconds, corner_hz):
    """Another tone colour now and then, as if another guitar were plugged in.

    A low-pass of first or second order with its corner drawn log-uniformly from
    `corner_hz`, and a bass shelf; the peak of each passage is as before.

    Parameters
    ----------
    material : (n,) float array, at 48 kHz
    mean_seconds : float
        Mean length of a passage; passages last 0.6 to 1.4 times as long.
    corner_hz : (lowest, highest)

    Returns
    -------
    (n,) float64 array
    """
    coloured = np.zeros(len(material))
    overlap = round(COLOUR_CROSSFADE_SECONDS * MATERIAL_RATE)
    start = 0
    while start < len(material):
        length = round(mean_seconds * rng.uniform(0.6, 1.4) * MATERIAL_RATE)
        begin, end = max(0, start - overlap), min(len(material), start + length)
        passage = material[begin:end]
        b, a = scipy.signal.butter(
            rng.integers(1, 3), _log_uniform(rng, *corner_hz), fs=MATERIAL_RATE
        )
        duller = scipy.signal.lfilter(b, a, passage)
        b, a = bass_shelf(BASS_SHELF_HZ, rng.uniform(*BASS_SHELF_DB), MATERIAL_RATE)
        other = scaled_to_peak(scipy.signal.lfilter(b, a, duller), np.max(np.abs(passage)))
        fade = np.ones(len(other))
        fade[: start - begin] = np.linspace(0.0, 1.0, start - begin)
        coloured[begin:start] *= 1.0 - fade[: start - begin]
        coloured[begin:end] += fade * other
        start = end
    return coloured


def bass_shelf(frequency: float, gain_db: float, sample_rate: int):
    """Low shelf of slope 1 (Bristow-Johnson, Cookbook formulae for audio EQ): `(b, a)`."""
    A = 10.0 ** (gain_db / 40.0)
    w0 = 2 * np.pi * frequency / sample_rate
    cosine = np.cos(w0)
    beta = np.sqrt(2.0 * A) * np.sin(w0)  # 2 sqrt(A) alpha, for slope 1
    b = (
        A * (A + 1 - (A - 1) * cosine + beta),
        2 * A * (A - 1 - (A + 1) * cosine),
        A * (A + 1 - (A - 1) * cosine - beta),
    )
    a = (
        A + 1 + (A - 1) * cosine + beta,
        -2 * (A - 1 + (A + 1) * cosine),
        A + 1 + (A - 1) * cosine - beta,
    )
    return np.array(b) / a[0], np.array(a) / a[0]


def level_envelope(n, rng, *, lowest_db, seconds, gliding):
    """A random level in dB that changes now and then, as a factor; `(n,)` float64.

    Parameters
    ----------
    lowest_db : float
        Levels are uniform in dB from here to 0.
    seconds : (shortest, longest)
        Between two levels, log-uniform.
    gliding : float
        Share of the changes that glide from the last level; the others jump, over 1 ms.
    """
    level_db = np.empty(n)
    start, previous = 0, rng.uniform(lowest_db, 0.0)
    while start < n:
        length = round(_log_uniform(rng, *seconds) * MATERIAL_RATE)
        level = rng.uniform(lowest_db, 0.0)
        path = np.linspace(previous, level, length) if rng.random() < gliding else level
        level_db[start : start + length] = np.broadcast_to(path, length)[: n - start]
        start, previous = start + length, level
    millisecond = round(0.001 * MATERIAL_RATE)
    smooth = np.pad(db_to_amplitude(level_db), millisecond // 2, mode="edge")
    return np.convolve(smooth, np.full(millisecond, 1.0 / millisecond), "same")[
        millisecond // 2 : millisecond // 2 + n
    ]


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
