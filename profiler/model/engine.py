"""Which code computes a network, and on what: the native kernels, or torch.

Both compute the same to rounding. On a processor the native kernels are some three times as fast;
torch serves where they were not built, and networks that they cannot train. Where torch can use a
graphics card, it does; one of NVIDIA's is taken before the kernels for all but small networks.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch

from profiler import kernels
from profiler.errors import TrainingError
from profiler.model import dense, lstm, recorded, wavenet
from profiler.model.network import Shape, TrainingPass
from profiler.model.recorded import Evaluate, RecordedPass
from profiler.model.wavenet import LEAK, PackedWeights, WaveNetConfig, pack

# Products a sample: a card takes about as long for a smaller network, and the kernels do not.
WORTH_A_CARD = 5000

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
    card = recorded.device()
    by_card = "" if card == "cpu" else f"on {recorded.device_name(card)}"
    if choice == "torch":
        return Engine("torch", by_card)
    hindrance = _hindrance(config)
    if choice == "native" and hindrance is not None:
        raise TrainingError(f"--engine native: {hindrance}; --engine torch trains without them")
    faster = card == "cuda" and config.multiply_adds >= WORTH_A_CARD
    if hindrance is None and (choice == "native" or not faster):
        return Engine("native", "")
    return Engine("torch", by_card or f"slower: {hindrance}")


def passes_for(
    engine: EngineName, config: Shape, outputs: int, batch: int, threads: int
) -> list[TrainingPass]:
    """Passes of one engine for a batch of windows: one a thread, or one of all for a card."""
    card = recorded.device()
    if engine == "torch" and card != "cpu":
        return [RecordedPass(config, _EVALUATE[type(config)], outputs, windows=batch, on=card)]
    return [pass_for(engine, config, outputs) for _ in range(max(1, min(batch, threads)))]


def pass_for(engine: EngineName, config: Shape, outputs: int) -> TrainingPass:
    """A pass of one engine for one window, on the processor."""
    if engine == "native":
        return _NativePass(config, outputs)
    if isinstance(config, WaveNetConfig):
        return _WrittenPass(config, outputs)
    return RecordedPass(config, _EVALUATE[type(config)], outputs)


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

    windows = 1

    def __init__(self, config, outputs):
        self._pass = kernels.Pass(native_network(config), outputs)
        self.inputs, self.outputs = self._pass.inputs, outputs

    def forward(self, weights, x):
        return self._pass.forward(weights, x)

    def backward(self, output_gradient):
        gradient = self._pass.backward(output_gradient)
        gradient[-1] = 0.0  # the head scale is not trained
        return gradient


class _WrittenPass:
    """A WaveNet's products by torch, its backward written out."""

    windows = 1

    def __init__(self, config, outputs):
        self._pass = wavenet.Pass(config, outputs)
        self.inputs, self.outputs = self._pass.inputs, outputs
        self._weights: np.ndarray | None = None
        self._packed: PackedWeights | None = None

    def forward(self, weights, x):
        if weights is not self._weights:
            self._weights, self._packed = weights, pack(self._pass.config, weights)
        with torch.no_grad():
            return self._pass.forward(self._packed, torch.from_numpy(x[0])).numpy()[None]

    def backward(self, output_gradient):
        with torch.no_grad():
            gradient = torch.from_numpy(output_gradient[0])
            return self._pass.backward(self._packed, gradient).numpy().copy()


_EVALUATE: dict[type[Shape], Evaluate] = {
    WaveNetConfig: wavenet.evaluate,
    lstm.LstmConfig: lstm.evaluate,
    dense.DenseConfig: dense.evaluate,
}
