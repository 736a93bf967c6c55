"""A network played block by block: the state is carried along, the memory is bounded.

The convolutions reach into the past only, so a layer needs no more than the last
(taps - 1) x dilation samples of its input from one block to the next. Any partition of a
signal into blocks gives the same output, but for rounding.

Players switch on an approximation of tanh (and of an LSTM's sigmoids, but not of those that gate a
WaveNet). It moves the output of a high-gain model by up to 8e-3, so what they play is what
`fast_tanh` evaluates.

The native kernels play a standard network some hundred times as fast as real time on one core, an
LSTM of 24 units more than two hundred times; torch a third of that or less in long blocks, and a
WaveNet not even in real time in those of an audio interface. Their outputs differ by rounding.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from profiler import kernels
from profiler.errors import ProfilerError
from profiler.model import dense, lstm
from profiler.model.engine import EngineChoice, native_network
from profiler.model.network import Network, Player, Shape
from profiler.model.players_tanh import players_tanh
from profiler.model.wavenet import (
    WaveNet,
    WaveNetConfig,
    condition_of,
    convolve,
    convolved_head,
    leaky_relu_,
    pack,
    single_torch_thread,
    tanh_,
)

_COLUMNS = 8192  # at a time, however long the block: a few MB for any A1 network


def player_of(model: Network, *, fast_tanh: bool = False, engine: EngineChoice = "auto") -> Player:
    """A network begun after silence: by the native kernels where they can play it.

    Raises
    ------
    ProfilerError
        The native kernels are asked for, and are not there or cannot play the network.
    """
    by_torch = _STREAMERS[type(model.config)]
    if engine == "torch":
        return by_torch(model, fast_tanh=fast_tanh)
    hindrance = kernels.why_not()
    if hindrance is None:
        try:
            return kernels.Stream(
                _native(model),
                model.weights,
                condition=_condition(model.condition),
                players_tanh=fast_tanh,
            )
        except ValueError as error:
            hindrance = f"the native kernels cannot play this network ({error})"
    if engine == "native":
        raise ProfilerError(f"--engine native: {hindrance}; --engine torch plays without them")
    return by_torch(model, fast_tanh=fast_tanh)


def _native(model):
    """The shape of a network, as the native kernels play it."""
    config = model.config
    if isinstance(config, lstm.LstmConfig):
        return kernels.Lstm(
            config.hidden_size,
            config.num_layers,
            outputs=config.outputs,
            prewarm=lstm.prewarm_samples(model.sample_rate),
        )
    return native_network(config)


def _condition(model):
    """What conditions a network, as the native kernels take it."""
    if model is None:
        return None
    return kernels.Condition(_native(model), model.weights, _condition(model.condition))


class Streamer:
    """Plays a WaveNet by torch.

    Parameters
    ----------
    model : WaveNet
    fast_tanh : bool
        Evaluate tanh by the players' approximation.
    """

    def __init__(self, model: WaveNet, *, fast_tanh: bool = False):
        inner = model.condition
        self._conditioning = inner and _STREAMERS[type(inner.config)](inner, fast_tanh=fast_tanh)
        self._weights = pack(model.config, model.weights)
        self._tanh = fast_tanh_ if fast_tanh else tanh_
        self._histories = [
            [torch.zeros(array.channels, reach) for reach in array.reaches]
            for array in model.config.arrays
        ]
        self._activations = [array.activation for array in model.config.arrays]
        last = model.config.arrays[-1]  # only its head reaches into the past
        self._heard = torch.zeros(last.channels, last.head_taps - 1)
        self._receptive_field = model.config.receptive_field
        self.prewarm()

    def prewarm(self) -> None:
        """Play silence as long as the network remembers, as players do before the first block."""
        self.process(np.zeros(1 + self._receptive_field, np.float32))

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        return self.signals(block)[0]

    def signals(self, block: np.ndarray) -> np.ndarray:
        """The same of every output, `(outputs, n)`."""
        signal = torch.from_numpy(np.array(block, np.float32))
        with torch.no_grad(), single_torch_thread():
            parts = [self._advance(part) for part in signal.split(_COLUMNS) if len(part)]
        if not parts:
            return np.empty((len(self._weights.arrays[-1].head_bias), 0), np.float32)
        return torch.cat(parts, dim=1).numpy()

    def _advance(self, x):
        n = len(x)
        entering, head = x[None], torch.zeros(1)
        driving = entering
        if self._conditioning is not None:
            driving = torch.from_numpy(self._conditioning.signals(x.numpy()))
        condition = condition_of(driving)
        for array, histories, activation in zip(
            self._weights.arrays, self._histories, self._activations, strict=True
        ):
            h = array.rechannel @ entering
            total = head.expand(len(h), n).clone()
            for depth, layer in enumerate(array.layers):
                reaching = torch.cat([histories[depth], h], dim=1)
                histories[depth] = reaching[:, n:].clone()
                z = torch.empty(len(layer.driven), n)
                convolve(layer, reaching, condition, z)
                a = leaky_relu_(z) if activation == "LeakyReLU" else self._activate(z, len(h))
                total += a
                h = (h + layer.residual_bias).addmm_(layer.residual, a)
            if len(array.head) > 1:
                total = torch.cat([self._heard, total], dim=1)
                self._heard = total[:, n:].clone()
            head = convolved_head(array, total)
            entering = h
        return head * self._weights.head_scale

    def _activate(self, z, channels):
        if len(z) == channels:
            return self._tanh(z)
        return self._tanh(z[:channels]) * torch.sigmoid(z[channels:])


_STREAMERS: dict[type[Shape], Callable[..., Player]] = {
    WaveNetConfig: Streamer,
    lstm.LstmConfig: lstm.Streamer,
    dense.DenseConfig: dense.Streamer,
}


def real_time_factor(
    model: Network, *, block: int = 64, engine: EngineChoice = "auto", seconds: float = 0.2
) -> float | None:
    """How many times as fast as it sounds a network is played here, in blocks, on one core.

    Parameters
    ----------
    block : int
        Samples at a time.
    seconds : float
        Time to measure for; the median block counts.

    Returns
    -------
    float or None
        None where the network's sample rate is not known.
    """
    if model.sample_rate is None:
        return None
    player = player_of(model, engine=engine)
    signal = (0.1 * np.random.default_rng(0).standard_normal(block)).astype(np.float32)
    player.process(signal)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while not taken or time.perf_counter() < until:
        began = time.perf_counter()
        player.process(signal)
        taken.append(time.perf_counter() - began)
    return block / model.sample_rate / float(np.median(taken))


def render(model: Network, signal: np.ndarray, *, fast_tanh: bool = False) -> np.ndarray:
    """A whole signal through the network at once, `(n,)` float32."""
    return player_of(model, fast_tanh=fast_tanh).process(signal)


def fast_tanh_(z: torch.Tensor) -> torch.Tensor:
    """The players' approximation of tanh, in place."""
    return z.copy_(players_tanh(z))
