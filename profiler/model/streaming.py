"""A network played block by block: the state is carried along, the memory is bounded.

The convolutions reach into the past only, so a layer needs no more than the last
(taps - 1) x dilation samples of its input from one block to the next. Any partition of a
signal into blocks gives the same output, but for rounding.

Players switch on an approximation of tanh (and of the sigmoid behind a gate). It moves the
output of a high-gain model by up to 8e-3, so what they play is what `fast_tanh` evaluates.

The native kernels play a standard network some hundred times as fast as real time on one core;
torch a third of that in long blocks, and not even in real time in those of an audio interface.
Their outputs differ by rounding.
"""

from typing import Protocol

import numpy as np
import torch

from profiler import kernels
from profiler.errors import ProfilerError
from profiler.model.engine import EngineChoice, native_network
from profiler.model.wavenet import WaveNet, condition_of, convolve, pack, single_torch_thread, tanh_

_COLUMNS = 8192  # at a time, however long the block: a few MB for any A1 network


class Player(Protocol):
    """Plays a network; `process` is called with one block after another."""

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        ...


def player_of(model: WaveNet, *, fast_tanh: bool = False, engine: EngineChoice = "auto") -> Player:
    """A network begun after silence: by the native kernels where they can play it.

    Raises
    ------
    ProfilerError
        The native kernels are asked for, and are not there or cannot play the network.
    """
    if engine == "torch":
        return Streamer(model, fast_tanh=fast_tanh)
    hindrance = kernels.why_not()
    if hindrance is None:
        try:
            network = native_network(model.config)
            return kernels.Stream(network, model.weights, players_tanh=fast_tanh)
        except ValueError as error:
            hindrance = f"the native kernels cannot play this network ({error})"
    if engine == "native":
        raise ProfilerError(f"--engine native: {hindrance}; --engine torch plays without them")
    return Streamer(model, fast_tanh=fast_tanh)


class Streamer:
    """Plays a network by torch.

    Parameters
    ----------
    model : WaveNet
    fast_tanh : bool
        Evaluate tanh by the players' approximation.
    """

    def __init__(self, model: WaveNet, *, fast_tanh: bool = False):
        self._weights = pack(model.config, model.weights)
        self._tanh = fast_tanh_ if fast_tanh else tanh_
        self._histories = [
            [
                torch.zeros(array.channels, (array.kernel_size - 1) * dilation)
                for dilation in array.dilations
            ]
            for array in model.config.arrays
        ]
        self._receptive_field = model.config.receptive_field
        self.prewarm()

    def prewarm(self) -> None:
        """Play silence as long as the network remembers, as players do before the first block."""
        self.process(np.zeros(1 + self._receptive_field, np.float32))

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        signal = torch.from_numpy(np.array(block, np.float32))
        with torch.no_grad(), single_torch_thread():
            parts = [self._advance(part) for part in signal.split(_COLUMNS) if len(part)]
        return torch.cat(parts).numpy() if parts else np.empty(0, np.float32)

    def _advance(self, x):
        n = len(x)
        condition = condition_of(x)
        entering, head = condition[:1], torch.zeros(1)
        for array, histories in zip(self._weights.arrays, self._histories, strict=True):
            h = array.rechannel @ entering
            total = head.expand(array.head.shape[1], n).clone()
            for depth, layer in enumerate(array.layers):
                reaching = torch.cat([histories[depth], h], dim=1)
                histories[depth] = reaching[:, n:].clone()
                z = torch.empty(len(layer.driven), n)
                a = self._activate(convolve(layer, reaching, condition, z), len(h))
                total += a
                h = (h + layer.residual_bias).addmm_(layer.residual, a)
            head = torch.addmm(array.head_bias, array.head, total)
            entering = h
        return head[0] * self._weights.head_scale

    def _activate(self, z, channels):
        if len(z) == channels:
            return self._tanh(z)
        half = 0.5 * z[channels:]  # sigmoid(x) = (tanh(x/2) + 1) / 2
        return self._tanh(z[:channels]) * ((self._tanh(half) + 1.0) * 0.5)


def render(model: WaveNet, signal: np.ndarray, *, fast_tanh: bool = False) -> np.ndarray:
    """A whole signal through the network at once, `(n,)` float32."""
    return player_of(model, fast_tanh=fast_tanh).process(signal)


def fast_tanh_(z: torch.Tensor) -> torch.Tensor:
    """The players' approximation of tanh, in place (`fast_tanh` of NeuralAmpModelerCore)."""
    a, b, c = 2.45550750702956, 0.893229853513558, 0.821226666969744
    d, e = 2.44506634652299, 0.814642734961073
    size = z.abs()
    square = z * z
    numerator = z * (a + a * size + (b + c * size) * square)
    denominator = d + (d + square) * (z + e * z * size).abs()
    return torch.div(numerator, denominator, out=z)
