"""Which code computes a network: the native kernels, or torch.

Both compute the same to rounding. The native kernels are some three times as fast; torch
serves where they were not built, and networks that they cannot train.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch

from profiler import kernels
from profiler.errors import TrainingError
from profiler.model import dense, lstm
from profiler.model.network import Shape, TrainingPass
from profiler.model.wavenet import LEAK, PackedWeights, Pass, WaveNetConfig, pack

EngineName = Literal["native", "torch"]
EngineChoice = Literal["auto", "native", "torch"]


class Engine(NamedTuple):
    """An engine, and why it is that one."""

    name: EngineName
    reason: str  # in words that follow a comma; empty where there is nothing to explain


def engine_for(config: Shape, choice: EngineChoice = "auto") -> Engine:
    """The engine that trains a network here.

    Raises
    ------
    TrainingError
        The native kernels are asked for and are not there, or cannot train the network.
    """
    if choice == "torch":
        return Engine("torch", "")
    hindrance = _hindrance(config)
    if hindrance is None:
        return Engine("native", "")
    if choice == "native":
        raise TrainingError(f"--engine native: {hindrance}; --engine torch trains without them")
    return Engine("torch", f"slower: {hindrance}")


def pass_for(engine: EngineName, config: Shape, outputs: int) -> TrainingPass:
    """A pass of one engine."""
    make = _NativePass if engine == "native" else _TORCH_PASSES[type(config)]
    return make(config, outputs)


def native_network(config: Shape) -> kernels.Network:
    """The shape, as the native kernels take it.

    Raises
    ------
    ValueError
        They cannot compute such a network.
    """
    if not isinstance(config, WaveNetConfig):
        raise ValueError("it is no WaveNet")
    return kernels.Network(
        [
            kernels.LayerArray(
                channels=array.channels,
                dilations=array.dilations,
                kernel_sizes=array.kernel_size,
                head_taps=array.head_taps,
                activation=array.activation,
                slope=LEAK,
                input_size=array.input_size,
                condition_size=array.condition_size,
                head_size=array.head_size,
                head_bias=array.head_bias,
                gated=array.gated,
            )
            for array in config.arrays
        ]
    )


def _hindrance(config):
    """Why the native kernels cannot train a network, in one line; None if they can."""
    if not kernels.available():
        return kernels.why_not()
    try:
        kernels.Pass(native_network(config), 1)
    except ValueError as error:
        return f"the native kernels cannot train this network ({error})"
    return None


class _NativePass:
    """The native kernels, a segment and a thread at a time.

    A pass for each thread, instead of one that shares a batch between its own, keeps the
    buffers of a window in the cache, and lets every thread go on to the loss of its window
    without waiting for the others.
    """

    def __init__(self, config, outputs):
        self._pass = kernels.Pass(native_network(config), outputs)
        self.inputs, self.outputs = self._pass.inputs, outputs

    def forward(self, weights, x):
        return self._pass.forward(weights, x[None])[0]

    def backward(self, output_gradient):
        gradient = self._pass.backward(output_gradient[None])
        gradient[-1] = 0.0  # the head scale is not trained
        return gradient


class _TorchPass:
    """Products by torch."""

    def __init__(self, config, outputs):
        self._pass = Pass(config, outputs)
        self.inputs, self.outputs = self._pass.inputs, outputs
        self._weights: np.ndarray | None = None
        self._packed: PackedWeights | None = None

    def forward(self, weights, x):
        if weights is not self._weights:
            self._weights, self._packed = weights, pack(self._pass.config, weights)
        with torch.no_grad():
            return self._pass.forward(self._packed, torch.from_numpy(x)).numpy()

    def backward(self, output_gradient):
        with torch.no_grad():
            gradient = torch.from_numpy(output_gradient)
            return self._pass.backward(self._packed, gradient).numpy().copy()


_TORCH_PASSES: dict[type[Shape], Callable[..., TrainingPass]] = {
    WaveNetConfig: _TorchPass,
    lstm.LstmConfig: lstm.Pass,
    dense.DenseConfig: dense.Pass,
}
