"""A dense network: the plainest that has a memory, and the first that was tried on amps.

Every output sample is computed anew from the last `history` samples of the input, the present one
included, by layers of rectified sums (ReLU) and one sigmoid that is rescaled to the span of the
output, centred on 0:

    y = scale (2 sigmoid(w u + b) - 1)

*net-1* sees 32 samples and has two layers of 32; *net-2* sees 4096 and has layers of 1024, 512, 256
and 256. They are here to be compared with: nothing of one sample's work serves for the next, so
the second takes five million products a sample, and no player plays either.

Conventions
-----------
Weights: for every layer `(outputs, inputs)`, row-major, and its bias; those of the first layer from
the oldest sample to the present one. Then the scale, which is trained like the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.fft
import torch

from profiler.model.network import Network, Shape

SCALE = 4.0  # of the output to begin with, for a response of unit RMS
# Peak of the learning rate: wide layers are taken by Adam, whose steps should shrink as sums get
# longer (Yang et al., "Tensor programs V", 2022). That of net-1 was found to be about its best.
MOST_RATE, RATE_TIMES_INPUTS = 2e-2, 0.4
ROWS = 4096  # samples at a time
SPECTRAL = 256  # samples of history and of output, from which on spectra are worth it


@dataclass(frozen=True)
class DenseConfig(Shape):
    """The shape: history in samples, and the widths of the hidden layers."""

    history: int
    widths: tuple[int, ...]

    @property
    def first_rate(self) -> float:  # type: ignore[override]
        return min(MOST_RATE, RATE_TIMES_INPUTS / max(self.sizes[:-1]))

    @property
    def receptive_field(self) -> int:
        return self.history

    @property
    def multiply_adds(self) -> int:
        return sum(a * b for a, b in pairwise(self.sizes)) + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """From the inputs to the output."""
        return (self.history, *self.widths, 1)

    def _shapes(self):
        for layer, (inputs, outputs) in enumerate(pairwise(self.sizes)):
            yield "weight", 0, layer, (outputs, inputs)
            yield "bias", 0, layer, (outputs,)
        yield "scale", 0, -1, (1,)

    def initial_weights(self, seed: int) -> np.ndarray:
        """He's normal distribution for rectified layers (ICCV 2015); biases of 0."""
        random = np.random.default_rng(seed)
        weights = np.zeros(self.parameter_count, np.float32)
        for part in self.parts:
            if part.name == "weight":
                sigma = np.sqrt(2.0 / part.shape[1])
                weights[part.slice] = sigma * random.standard_normal(part.shape).ravel()
        weights[-1] = SCALE
        return weights

    def scaled(self, weights, stimulus_scale, target_scale):
        scaled = weights.astype(np.float64)
        scaled[self.parts[0].slice] /= stimulus_scale
        scaled[-1] *= target_scale
        return scaled.astype(np.float32)

    def tensors(self, weights: np.ndarray) -> list[torch.Tensor]:
        """The vector, tensor by tensor."""
        flat = torch.from_numpy(np.array(self.checked(weights), np.float32))
        return [flat[part.slice].view(part.shape) for part in self.parts]


@dataclass(frozen=True, eq=False)
class Dense(Network):
    """A network of this family."""

    config: DenseConfig


def evaluate(config: DenseConfig, tensors: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Outputs `(windows, n - history + 1)` for the samples `(windows, n)`."""
    first, bias, *layers, scale = tensors
    a = _correlated(x, first) + bias
    for w, b in zip(layers[::2], layers[1::2], strict=True):
        a = torch.nn.functional.linear(torch.relu(a), w, b)
    return scale * (2.0 * torch.sigmoid(a[..., 0]) - 1.0)


def _correlated(x, weight):
    """Sums of the first layer, `(windows, n - history + 1, outputs)`.

    Neighbouring samples see nearly the same history, so over a long one the layer is a bank of
    filters, and its sums are products of spectra: sixty times fewer of them for net-2.
    """
    history = weight.shape[1]
    if min(history, x.shape[1] - history + 1) < SPECTRAL:
        return torch.nn.functional.linear(x.unfold(1, history, 1), weight)
    size = scipy.fft.next_fast_len(x.shape[1], real=True)
    spectra = torch.fft.rfft(x, size)[:, None] * torch.fft.rfft(weight, size).conj()
    sums = torch.fft.irfft(spectra, size)[..., : x.shape[1] - history + 1]
    return sums.transpose(1, 2)


class Streamer:
    """Plays a dense network by torch, the last samples kept from block to block.

    Parameters
    ----------
    model : Dense
    fast_tanh : bool
        Without an effect: no player plays such a network.
    """

    def __init__(self, model: Dense, *, fast_tanh: bool = False):
        self._config, self._history = model.config, model.config.history
        self._tensors = model.config.tensors(model.weights)
        self._past = torch.zeros(self._history - 1)

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        signal = torch.cat([self._past, torch.from_numpy(np.array(block, np.float32))])
        count = len(signal) - self._history + 1
        self._past = signal[len(signal) - self._history + 1 :]
        with torch.no_grad():
            parts = [
                evaluate(
                    self._config,
                    self._tensors,
                    signal[None, start : start + ROWS + self._history - 1],
                )[0]
                for start in range(0, count, ROWS)
            ]
        return torch.cat(parts).numpy() if parts else np.empty(0, np.float32)
