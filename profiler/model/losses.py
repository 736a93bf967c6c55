"""What training makes small: the squared error, and a little of the spectra's difference.

The target has unit RMS over the training part, so the mean squared error is the ESR of that
part, and a loud window weighs as much as it does in the ESR that is reported.

The multi-resolution STFT distance (Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020,
eqs. 4-6) hears what the squared error hardly sees: quiet treble below loud bass. It costs
more than it is worth at every resolution in every step, so every other step takes one of the
resolutions in turn, at twice the weight. Its gradient is written out, which takes half of the
time that autograd needs for signals this short; the tests compare the two.

Pre-emphasis, 1 - c z^-1 on target and estimate before the squared error, weighs the treble
more; the DC term is the squared mean of the error (both from Wright and Välimäki, "Perceptual
loss function for neural modelling of audio systems", ICASSP 2020).
"""

from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.fft
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from profiler.definitions import Record

# FFT length, hop and window of eq. 6
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))

STFT_WEIGHT = 2e-4
STFT_EVERY = 2  # steps
_FLOOR = np.float32(1e-3)  # of a magnitude: 80 dB below a target of unit RMS: not to be learned

LossName = Literal["spectral", "esr", "treble"]


class LossOptions(Record):
    """Which errors count, and how much."""

    stft: float = Field(
        default=STFT_WEIGHT, ge=0.0, description="weight of the multi-resolution STFT distance"
    )
    dc: float = Field(default=0.0, ge=0.0, description="weight of the squared mean of the error")
    pre_emphasis: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="c of 1 - c z^-1, before the squared error"
    )


LOSSES: dict[LossName, LossOptions] = {
    "spectral": LossOptions(),
    "esr": LossOptions(stft=0.0),
    "treble": LossOptions(dc=1.0, pre_emphasis=0.85),
}


class Loss:
    """The loss of a window, and its gradient.

    Parameters
    ----------
    options : LossOptions
    targets : sequence of (n,) float32 array
        Training material of unit RMS; pre-emphasised, its power may be another, which is
        divided by.
    """

    def __init__(self, options, targets=()):
        self._options = options
        self._power = 1.0
        if options.pre_emphasis:
            filtered = [_emphasised(target, options.pre_emphasis) for target in targets]
            energy = sum(float(np.dot(f.astype(np.float64), f)) for f in filtered)
            self._power = energy / sum(map(len, filtered))

    def __call__(
        self, estimate: np.ndarray, target: np.ndarray, step: int | None
    ) -> tuple[float, np.ndarray]:
        """Loss and gradient.

        Parameters
        ----------
        estimate, target : (n,) float32 array
        step : int or None
            Says whether there is a spectral part, and of which resolution; None: there is not.

        Returns
        -------
        squared error over the power of the target (the ESR of the training part, on average),
        without the other parts; and the gradient of the whole loss at the estimate, `(n,)`
        """
        options = self._options
        error = estimate - target
        emphasised = _emphasised(error, options.pre_emphasis)
        squared = float(np.dot(emphasised, emphasised)) / (len(error) * self._power)
        gradient = emphasised * np.float32(2.0 / (len(error) * self._power))
        if options.pre_emphasis:
            gradient[:-1] -= np.float32(options.pre_emphasis) * gradient[1:]
        if options.dc:
            gradient += np.float32(2.0 * options.dc * np.mean(error) / len(error))
        if options.stft and step is not None and step % STFT_EVERY == 0:
            resolution = step // STFT_EVERY % len(RESOLUTIONS)
            _, spectral = stft_distance(estimate, target, resolution)
            gradient += np.float32(STFT_EVERY * options.stft) * spectral
        return squared, gradient


def stft_distance(
    estimate: np.ndarray, target: np.ndarray, resolution: int
) -> tuple[float, np.ndarray]:
    """Spectral convergence plus log-magnitude distance at one of `RESOLUTIONS` (eqs. 4, 5).

    Returns
    -------
    distance, and its gradient at the estimate, `(n,)`
    """
    length, hop, size = RESOLUTIONS[resolution]
    shape, unfold = _window(resolution)
    begin = (length - size) // 2  # a window stands in the middle of its frame
    count = 1 + (len(estimate) - length) // hop
    frames = np.empty((2, count, size), np.float32)
    for signal, into in zip((estimate, target), frames, strict=True):
        np.multiply(sliding_window_view(signal[begin:], size)[::hop][:count], shape, out=into)
    spectra = scipy.fft.rfft(frames, length)
    magnitudes = np.sqrt(spectra.real**2 + spectra.imag**2)
    heard = magnitudes[0] >= _FLOOR
    found, wanted = np.maximum(magnitudes, _FLOOR)

    difference = found - wanted
    distance, power = np.linalg.norm(difference), np.linalg.norm(wanted)
    logarithms = np.log(found / wanted)
    value = float(distance / power + np.mean(np.abs(logarithms)))

    slope = np.sign(difference) / (found * np.float32(found.size))
    if distance > 0.0:
        slope += difference * np.float32(1.0 / (distance * power))
    slope *= heard * unfold / found
    back = scipy.fft.irfft(spectra[0] * slope, length)[:, :size] * shape

    gradient = np.zeros(len(estimate), np.float32)
    pieces = -(-size // hop)
    added = np.zeros((count + pieces, hop), np.float32)  # overlapping frames, by hops
    for piece in range(pieces):
        columns = back[:, piece * hop : (piece + 1) * hop]
        added[piece : piece + count, : columns.shape[1]] += columns
    reach = (count - 1) * hop + size
    gradient[begin : begin + reach] = added.ravel()[:reach]
    return value, gradient


class _Window(NamedTuple):
    shape: np.ndarray  # Hann
    unfold: np.ndarray  # what turns irfft into the transpose of rfft


@cache
def _window(resolution):
    length, _, size = RESOLUTIONS[resolution]
    unfold = np.full(length // 2 + 1, length / 2, np.float32)
    unfold[[0, -1]] = length  # the two bins that have no mirror image
    return _Window(scipy.signal.windows.hann(size, sym=False).astype(np.float32), unfold)


def _emphasised(signal, coefficient):
    if not coefficient:
        return signal
    emphasised = signal.copy()
    emphasised[1:] -= np.float32(coefficient) * signal[:-1]
    return emphasised
