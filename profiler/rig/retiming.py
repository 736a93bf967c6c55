"""Streams whose clock or buffers go wrong: more or fewer frames leave than come.

Conventions
-----------
`start` and `stop` are frames of the stream, the second one after the last. What a stream needs from
before its first frame is its beginning mirrored. Nothing is changed before `start`.
"""

import itertools
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from profiler.rig.scene import Chunks

HALF_TAPS = 32
PHASES = 512  # linear between two: the error stays below -105 dB
READ_FRAMES = 512  # at a time: their taps stay in the cache
STOPBAND_DB = 100.0
NEARLY_ONE = 0.999  # a ratio from here on folds nothing back that matters


def resampled(chunks: Chunks, start: int, *, ratio: float = 1.0, delay: float = 0.0) -> Chunks:
    """From `start` on, frame n is what was at start + (n - start)/ratio - delay.

    A windowed sinc reads between the frames: what lies below 0.45 of the sample rate is right to
    -90 dB. With a ratio below one, what would fold back is taken away.

    Parameters
    ----------
    chunks : iterator of (n, columns) arrays
        Without an end.
    start : int
        First frame that differs.
    ratio : float
        Of the recording clock to the playing one: above one, things last longer.
    delay : float
        In samples; negative is earlier.
    """
    taps = _interpolator(ratio if ratio < NEARLY_ONE else 1.0)
    steps = np.diff(taps, axis=0)
    before = HALF_TAPS + max(0, math.ceil(delay))
    waiting = _mirrored_before(chunks, before)
    origin = -before  # frame of the first that waits
    n = 0
    while True:
        frame = np.arange(n, n + len(waiting))
        since = frame - start
        position = np.where(since < 0, frame, start + since / ratio - delay)
        furthest = np.maximum.accumulate(position)  # a delay steps back where it begins
        ready = int(np.searchsorted(furthest, origin + len(waiting) - HALF_TAPS))
        if ready:
            clean = min(max(start - n, 0), ready)
            read = _read_between(waiting, position[clean:ready] - origin, taps, steps)
            yield np.concatenate((waiting[n - origin : n - origin + clean], read))
            n += ready
            done = math.floor(position[ready - 1]) - before - origin
            waiting, origin = waiting[max(done, 0) :], origin + max(done, 0)
        waiting = np.concatenate((waiting, next(chunks)))


def without(chunks: Chunks, start: int, stop: int) -> Chunks:
    """The stream without the frames `start:stop`."""
    first = 0
    for chunk in chunks:
        yield np.delete(chunk, slice(max(start - first, 0), max(stop - first, 0)), axis=0)
        first += len(chunk)


def repeated(chunks: Chunks, start: int, stop: int) -> Chunks:
    """The stream with the frames `start:stop` twice."""
    first = 0
    block = []
    for chunk in chunks:
        block.append(chunk[max(start - first, 0) : max(stop - first, 0)])
        if first < stop <= first + len(chunk):
            yield chunk[: stop - first]
            yield np.concatenate(block)
            yield chunk[stop - first :]
        else:
            yield chunk
        first += len(chunk)


def low_passed(
    chunks: Chunks, start: int, edge_hz: float, width_hz: float, sample_rate: int
) -> Chunks:
    """The stream through a linear-phase low-pass that ends at `edge_hz`, without its delay.

    It is flat to `width_hz` below the edge. One that ends above half the sample rate is none.
    """
    if edge_hz >= sample_rate / 2:
        yield from chunks
        return
    count, beta = signal.kaiserord(STOPBAND_DB, 2 * width_hz / sample_rate)
    taps = signal.firwin(count | 1, edge_hz - width_hz / 2, window=("kaiser", beta), fs=sample_rate)
    half = len(taps) // 2
    waiting = _mirrored_before(chunks, half)
    n = 0
    while True:
        ready = len(waiting) - 2 * half
        if ready > 0:
            smooth = signal.oaconvolve(waiting, taps[:, None], mode="valid", axes=0)
            clean = min(max(start - n, 0), ready)
            yield np.concatenate((waiting[half : half + clean], smooth[clean:]))
            n += ready
            waiting = waiting[ready:]
        waiting = np.concatenate((waiting, next(chunks)))


def later(chunks: Chunks, frames: int) -> Chunks:
    """The stream after `frames` more frames."""
    return itertools.chain([_mirrored_before(chunks, frames)], chunks)


def _mirrored_before(chunks, frames):
    """The beginning of a stream, and so many frames of it mirrored before it."""
    begin = next(chunks)
    while len(begin) < frames + 1:
        begin = np.concatenate((begin, next(chunks)))
    return np.concatenate((begin[frames:0:-1], begin))


def _interpolator(cutoff):
    """Taps of a windowed sinc at fractions of a sample, `(PHASES + 1, 2 HALF_TAPS)`.

    Flat to 0.45 of the sample rate and 100 dB down at 0.55, times `cutoff`.
    """
    at = np.arange(1 - HALF_TAPS, HALF_TAPS + 1) - np.arange(PHASES + 1)[:, None] / PHASES
    beta = signal.kaiser_beta(STOPBAND_DB)
    window = np.i0(beta * np.sqrt(np.clip(1 - np.square(at / HALF_TAPS), 0, None))) / np.i0(beta)
    return cutoff * np.sinc(cutoff * at) * window


def _read_between(samples, position, taps, steps):
    """Samples `(n, columns)` read at fractional positions, `(positions, columns)`."""
    whole = np.floor(position).astype(int)
    phase = (position - whole) * PHASES
    below = np.minimum(phase.astype(int), PHASES - 1)
    share = (phase - below)[:, None]
    windows = sliding_window_view(samples, 2 * HALF_TAPS, axis=0)  # (starts, columns, taps)
    out = np.empty((len(position), samples.shape[1]))
    for first in range(0, len(position), READ_FRAMES):
        now = slice(first, first + READ_FRAMES)
        weights = taps[below[now]] + share[now] * steps[below[now]]
        out[now] = np.matmul(windows[whole[now] + 1 - HALF_TAPS], weights[:, :, None])[:, :, 0]
    return out
