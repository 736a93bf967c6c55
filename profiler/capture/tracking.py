"""Where in a programme does the delay change? Seen through any distortion.

A sample is lost, and from there on the response is early by one. To see that in the middle of a
programme, what the device makes of the stimulus must be known well, distortion and all. So the
stimulus, and what a handful of high passes and saturating curves make of it, are each given a
filter of its own, and the filters are fitted to the response (a parallel Hammerstein model;
Schoukens and Tiels, Automatica 85, 2017). That explains an overdrive to -40 dB and a tube amp to
-10 to -30 dB where the linear response alone explains neither beyond -6 dB.

The filters are not known beforehand, nor is the place of the change. Both are found at once: for
every place there is a best fit, and the likeliest place is that whose fit leaves the least (a
two-phase regression; Quandt, JASA 53, 1958). What the device was played does not depend on the
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
CURVES = (1.0, 6.0, 36.0)  # gain into a tanh, re the RMS of what goes in
BIAS = 1.0  # of one more curve, lopsided, which makes even harmonics
LEAST_BLOCKS_A_CURVE = 3.0  # with fewer, the linear response is all that can be fitted
QUIET_DB = -20.0  # re the loudest: below it a block counts as much as it is loud
RIDGE = 1e-6  # of the normal equations
INDEPENDENT = 0.35  # blocks and lines that tell something new, of all: they overlap


@dataclass(frozen=True)
class Span:
    """Spectra of a piece of the take, block by block."""

    starts: np.ndarray  # (b,) of the blocks, in samples of the stimulus
    frames: int  # of a block
    played: np.ndarray  # (lines, b, k) of the stimulus and its curves
    recorded: np.ndarray  # (delays, lines, b) of the response at each delay
    turns: np.ndarray  # (lines,) of a line, a sample


def span(stimulus, response, start, stop, lags, rate, *, linear=False) -> Span | None:
    """Spectra from `start` to `stop` of the stimulus, the response read at each of `lags`.

    None where the span is shorter than two blocks.
    """
    frames = scipy.fft.next_fast_len(round(BLOCK_SECONDS * rate), real=True)
    if stop - start < 2 * frames:
        return None
    starts = np.arange(start, stop - frames + 1, frames // 2)
    curves = _curves(delays.piece(stimulus, start - frames, stop - start + frames), rate)
    curves = curves[:, frames:]
    if linear or len(starts) < LEAST_BLOCKS_A_CURVE * len(curves):
        curves = curves[:1]
    read = np.stack([delays.piece(response, start + round(lag), stop - start) for lag in lags])
    frequencies = scipy.fft.rfftfreq(frames, 1 / rate)
    band = slice(*np.searchsorted(frequencies, (BAND_HZ[0], min(BAND_HZ[1], 0.4 * rate))))
    played = _spectra(curves, starts - start, frames, band)
    recorded = _spectra(read, starts - start, frames, band)
    power = np.sum(np.abs(recorded[0]) ** 2, axis=0)
    quiet = 10 ** (QUIET_DB / 10) * np.max(power, initial=0.0)
    weights = 1.0 / np.sqrt(power + quiet + 1e-30)  # (b,) a loud block is worth no more
    return Span(
        starts,
        frames,
        np.moveaxis(played * weights, 0, -1),
        recorded * weights,
        np.arange(band.start, band.stop) / frames,
    )


def change(piece: Span):
    """The block from which on the second delay holds, and by how much it is the likelier.

    Returns
    -------
    likelihood : (b + 1,) float array
        Of each place: blocks before it are at the first delay, from it on at the second. The
        first entry is that of no block at the first delay, the last of none at the second.
    """
    root, _ = _normal(piece.played)
    each = np.conj(piece.played)[None] * piece.recorded[..., None]  # (2, lines, b, k)
    shared = np.sum(each[1], axis=1, keepdims=True)  # all at the second delay ...
    moved = np.cumsum(each[0] - each[1], axis=1)  # ... and block after block at the first
    shared = np.concatenate([shared, shared + moved], axis=1)  # (lines, b + 1, k)
    explained = np.sum(np.abs(shared @ root) ** 2, axis=-1)
    power = np.abs(piece.recorded) ** 2
    moved = np.cumsum(power[0] - power[1], axis=1)
    total = np.sum(power[1], axis=1, keepdims=True)
    total = np.concatenate([total, total + moved], axis=1)
    return _likelihood(total - explained, total, piece)


def _curves(x, rate):
    """The stimulus and what distortion may make of it, `(k, n)`."""
    made = [x]
    for cutoff in HIGH_PASSES_HZ:
        u = x
        if cutoff:
            u = scipy.signal.sosfilt(
                scipy.signal.butter(1, cutoff, "highpass", fs=rate, output="sos"), x
            )
        u = u / (np.sqrt(np.mean(u**2)) + 1e-30)
        made += [*(np.tanh(gain * u) for gain in CURVES), np.tanh(2.0 * u + BIAS)]
    return np.stack(made)


def _spectra(signals, starts, frames, band):
    """`(signals, lines, b)` of Hann windows from `starts`."""
    window = scipy.signal.windows.hann(frames, sym=False)
    blocks = np.lib.stride_tricks.sliding_window_view(signals, frames, axis=-1)[:, starts]
    return np.swapaxes(scipy.fft.rfft(blocks * window, axis=-1)[..., band], 1, 2)


def _normal(played):
    """A root R of the inverse normal equations, `R R^H = (U^H U)^-1`, by line."""
    normal = np.conj(np.swapaxes(played, 1, 2)) @ played  # (lines, k, k)
    scale = np.sqrt(np.einsum("fkk->fk", normal).real) + 1e-30
    normal = normal / (scale[:, :, None] * scale[:, None, :])
    lower = np.linalg.cholesky(normal + RIDGE * np.eye(played.shape[-1]))
    inverse = np.linalg.inv(lower) / scale[:, None, :]  # L^-1 D^-1
    return np.swapaxes(np.conj(inverse), 1, 2).conj(), scale


def _likelihood(left, total, piece):
    """Log-likelihood of what a fit leaves: its variance is that of each line."""
    blocks, curves = piece.played.shape[1:]
    left = np.maximum(left, 1e-12 * total + 1e-30)
    return -INDEPENDENT * max(blocks - curves, 1) * np.sum(np.log(left), axis=0)
