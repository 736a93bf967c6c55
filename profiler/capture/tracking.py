"""Where in a programme does the delay change? Seen through any distortion.

A sample is lost, and from there on the response is early by one. To see that in the middle of a
programme, what the device makes of the stimulus must be known well, distortion and all. So the
stimulus, and what a handful of high passes and saturating curves make of it, are each given a
filter of its own, and the filters are fitted to the response (a parallel Hammerstein model;
Schoukens and Tiels, Automatica 85, 2017). That explains an overdrive to -40 dB and a tube amp to
-10 to -30 dB where the linear response alone explains neither beyond -6 dB.

The filters come from the rest of the take. Or they are found together with the place of the
change: for every place there is a best fit, and the likeliest place is that whose fit leaves the
least (a two-phase regression; Quandt, JASA 53, 1958). What was played does not depend on the
delay, so all places share one set of normal equations.

Conventions
-----------
A span of the stimulus is cut into blocks, each half common with the next. Likelihoods are natural
logarithms. A loss makes the delay fall, a repetition makes it rise, by as many samples.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal

from profiler.capture import delay as delays

BLOCK_SECONDS = 0.08
BAND_HZ = (60.0, 16_000.0)
HIGH_PASSES_HZ = (0.0, 150.0, 700.0)  # ahead of the curves, as amps and pedals have them
CURVES = (1.0, 6.0, 36.0)  # gain into a tanh, re the RMS of the stimulus
BIAS = 1.0  # of one more curve, lopsided, which makes even harmonics
LEAST_BLOCKS_A_CURVE = 3.0  # with fewer, the linear response is all that a span can tell
QUIET_DB = -20.0  # re the loudest: below it a block counts as much as it is loud
RIDGE = 1e-6  # of the normal equations of a span
RIDGE_OF_OTHERS = 1e-4  # where a line is played by chance only, nothing is predicted
INDIFFERENT = 6.0  # log-likelihood by which places do not differ
INDEPENDENT = 0.35  # blocks and lines that tell something new, of all: they overlap
LEAST_ERROR = 1e-3  # of a block's energy, that no prediction explains


@dataclass(frozen=True)
class Span:
    """Spectra of a piece of the take, block by block."""

    starts: np.ndarray  # (b,) of the blocks, in samples of the stimulus
    frames: int  # of a block
    played: np.ndarray  # (lines, b, curves) of the stimulus and its curves
    recorded: np.ndarray  # (delays, lines, b) of the response at each delay
    first_line: int  # of a spectrum over `frames`

    @property
    def centres(self) -> np.ndarray:
        return self.starts + 0.5 * self.frames


@dataclass(frozen=True)
class Filters:
    """Normal equations of the filters: of several spans they are summed."""

    normal: np.ndarray  # (lines, curves, curves)
    shared: np.ndarray  # (lines, curves)

    def __add__(self, other: "Filters") -> "Filters":
        return Filters(self.normal + other.normal, self.shared + other.shared)

    def __sub__(self, other: "Filters") -> "Filters":
        return Filters(self.normal - other.normal, self.shared - other.shared)

    def predicted(self, span: Span) -> np.ndarray:
        """What the filters make of a span, `(lines, b)`."""
        scale = _scale(self.normal)
        normal = self.normal / (scale[:, :, None] * scale[:, None, :])
        normal = normal + RIDGE_OF_OTHERS * np.eye(scale.shape[1])
        filters = np.linalg.solve(normal, (self.shared / scale)[..., None]) / scale[..., None]
        return (span.played @ filters)[..., 0]


def span_of(stimulus, response, start, stop, lags, rate, *, linear=False) -> Span:
    """Spectra from `start` to `stop` of the stimulus, the response read at each of `lags`.

    With `linear` the device is known to have no distortion: a cable.
    """
    frames = scipy.fft.next_fast_len(round(BLOCK_SECONDS * rate), real=True)
    starts = np.arange(start, max(stop - frames, start) + 1, frames // 2)
    length = int(starts[-1]) + frames - start
    x = delays.piece(stimulus, start - frames, length + frames)
    loudness = np.sqrt(np.mean(np.square(stimulus)))
    curves = x[None, frames:] if linear else _curves(x / (loudness + 1e-30), rate)[:, frames:]
    read = np.stack([delays.piece(response, start + round(lag), length) for lag in lags])
    frequencies = scipy.fft.rfftfreq(frames, 1 / rate)
    band = slice(*np.searchsorted(frequencies, (BAND_HZ[0], min(BAND_HZ[1], 0.4 * rate))))
    recorded = _spectra(read, starts - start, frames, band)
    power = np.sum(np.abs(recorded[0]) ** 2, axis=0)
    quiet = 10 ** (QUIET_DB / 10) * np.max(power)
    weights = 1.0 / np.sqrt(power + quiet + 1e-30)  # (b,): a loud block is worth no more
    played = _spectra(curves, starts - start, frames, band) * weights
    played = np.ascontiguousarray(np.moveaxis(played, 0, -1))  # products of its matrices are fast
    return Span(starts, frames, played, recorded * weights, band.start)


def filters_of(span: Span, blocks=slice(None), delay=0) -> Filters:
    """The filters that some blocks of a span ask for, at one of its delays."""
    played, recorded = span.played[:, blocks], span.recorded[delay][:, blocks]
    adjoint = np.conj(np.swapaxes(played, 1, 2))
    return Filters(adjoint @ played, (adjoint @ recorded[..., None])[..., 0])


def change(span: Span, others: Filters) -> tuple[float, float]:
    """Where in a span, in samples of the stimulus, its first delay gives way to its second.

    Where several places are as likely (silence, or a steady tone whose period divides the
    change), the middle of them.

    Parameters
    ----------
    span : Span
        Read at both delays.
    others : Filters
        Of the rest of the take.

    Returns
    -------
    at : float
        The place.
    evidence : float
        Log-likelihood by which a change there is likelier than either delay all along.
    """
    likelihood = _by_own_filters(span) + _by_filters(span, others)
    alike = np.flatnonzero(likelihood > np.max(likelihood) - INDIFFERENT)
    evidence = np.max(likelihood) - max(likelihood[0], likelihood[-1])
    # so many blocks are at the first delay: the next begins at the place, but for half a block
    hop = 0.5 * span.frames
    return float(span.starts[0] + (0.5 * (alike[0] + alike[-1]) + 0.5) * hop), float(evidence)


def wanted_delays(span: Span, others: Filters) -> tuple[np.ndarray, np.ndarray]:
    """The delay beyond the span's own that each block follows best.

    Returns
    -------
    change : (b,) int array
        In samples, within half a block.
    gain_db : (b,) float array
        How much less of the block that delay leaves unexplained than the span's own.
    """
    recorded, predicted = span.recorded[0], others.predicted(span)
    usual = np.median(np.abs(recorded - predicted) ** 2, axis=1, keepdims=True)
    weights = 1.0 / (usual + LEAST_ERROR * np.mean(np.abs(recorded) ** 2) + 1e-30)
    lines = np.zeros((span.frames // 2 + 1, recorded.shape[1]), dtype=complex)
    lines[span.first_line : span.first_line + len(recorded)] = (
        weights * np.conj(recorded) * predicted
    )
    shared = 0.5 * span.frames * scipy.fft.irfft(lines, span.frames, axis=0)
    power, power_predicted = (
        np.sum(weights * np.abs(spectra) ** 2, axis=0) for spectra in (recorded, predicted)
    )
    likeness = np.clip(shared / np.sqrt(power * power_predicted + 1e-30), 0.0, 1.0)
    left = 1.0 - likeness**2 + LEAST_ERROR
    best = np.argmin(left, axis=0)
    gain_db = 10 * np.log10(left[0] / np.min(left, axis=0))
    return np.where(best > span.frames // 2, best - span.frames, best), gain_db


def _by_own_filters(span):
    """Log-likelihood of each place, `(b + 1,)`, by the filters that are best for it.

    Entry n is for n blocks at the first delay.
    """
    blocks, curves = span.played.shape[1:]
    if blocks < LEAST_BLOCKS_A_CURVE * curves:
        span, curves = Span(span.starts, span.frames, span.played[..., :1], span.recorded, 0), 1
    each = np.conj(span.played) * span.recorded[..., None]  # (2, lines, b, curves)
    explained = np.sum(np.abs(_so_far(each) @ _root(span.played)) ** 2, axis=-1)
    total = _so_far(np.abs(span.recorded)[..., None] ** 2)[..., 0]
    return max(blocks - curves, 1) * _log_likelihood(total - explained, total)


def _by_filters(span, others):
    """The same by given filters."""
    error = np.abs(span.recorded - others.predicted(span)) ** 2
    total = _so_far(np.abs(span.recorded)[..., None] ** 2)[..., 0]
    left = _so_far(error[..., None])[..., 0]
    return len(span.starts) * _log_likelihood(left, total)


def _log_likelihood(left, total):
    """Of a block, when the variance of each line is what is left of it."""
    return -INDEPENDENT * np.sum(np.log(np.maximum(left, 1e-9 * total) + 1e-30), axis=0)


def _so_far(each):
    """Sums over the blocks, none, one, two and so on of them at the first delay.

    `(2, lines, b, m)` to `(lines, b + 1, m)`.
    """
    late = np.sum(each[1], axis=1, keepdims=True)
    return np.concatenate([late, late + np.cumsum(each[0] - each[1], axis=1)], axis=1)


def _curves(x, rate):
    """The stimulus, its RMS 1, and what distortion may make of it, `(curves, n)`."""
    made = [x]
    for cutoff in HIGH_PASSES_HZ:
        u = x
        if cutoff:
            high_pass = scipy.signal.butter(1, cutoff, "highpass", fs=rate, output="sos")
            u = scipy.signal.sosfilt(high_pass, x)
        made += [*(np.tanh(gain * u) for gain in CURVES), np.tanh(2.0 * u + BIAS)]
    return np.stack(made)


def _spectra(signals, starts, frames, band):
    """`(signals, lines, b)` complex64, of Hann windows from `starts`."""
    window = scipy.signal.windows.hann(frames, sym=False).astype(np.float32)
    signals = signals.astype(np.float32)
    blocks = np.lib.stride_tricks.sliding_window_view(signals, frames, axis=-1)[:, starts]
    return np.swapaxes(scipy.fft.rfft(blocks * window, axis=-1)[..., band], 1, 2)


def _root(played):
    """R of each line, with c^T R the root of what the filters explain, `(lines, k, k)`."""
    normal = np.conj(np.swapaxes(played, 1, 2)) @ played
    scale = _scale(normal)
    normal = normal / (scale[:, :, None] * scale[:, None, :])
    lower = np.linalg.cholesky(normal.astype(complex) + RIDGE * np.eye(scale.shape[1]))
    return np.swapaxes(np.linalg.inv(lower) / scale[:, None, :], 1, 2)


def _scale(normal):
    return np.sqrt(np.einsum("fkk->fk", normal).real) + 1e-12
