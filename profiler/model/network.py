"""What training, playing and export need of a network, whatever its architecture.

A *shape* says which tensors there are and where they stand in one flat float32 vector; with the
vector and a sample rate it is a *network* that can be played. Each architecture is a module with a
shape of its own: `wavenet` (A1 and A2), `lstm`, `dense`. `architectures` names those that can be
trained, `engine` trains and `streaming` plays them.

Conventions
-----------
A network is trained on a stimulus and a response of unit RMS. `scaled` turns what was learned into
weights for samples in and samples out, as they are exported.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np


class Part(NamedTuple):
    """A tensor of weights and where it stands in the flat vector."""

    name: str  # conv, conv_bias, mixin, head, weight, bias, ...
    array: int
    layer: int  # -1 for what belongs to the array
    start: int
    shape: tuple[int, ...]

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + math.prod(self.shape))


class Shape(ABC):
    """The shape of a network; an architecture derives from it."""

    recurrent = False  # whether it has a state of its own, and no end to what it remembers
    first_rate: float | None = None  # peak of the learning rate; None: a range test finds it

    @property
    @abstractmethod
    def receptive_field(self) -> int:
        """Input samples on which one output sample depends, or is made to in training."""

    @property
    @abstractmethod
    def multiply_adds(self) -> int:
        """Products that a sample takes, when every one is computed once."""

    @abstractmethod
    def initial_weights(self, seed: int) -> np.ndarray:
        """Weights to start from, `(parameter_count,)` float32."""

    @abstractmethod
    def scaled(self, weights: np.ndarray, stimulus_scale: float, target_scale: float) -> np.ndarray:
        """Weights for a stimulus and a response of these RMS, from those for unit RMS.

        Parameters
        ----------
        weights : (parameter_count,) float32 array

        Returns
        -------
        (parameter_count,) float32 array
        """

    @abstractmethod
    def _shapes(self) -> Iterator[tuple[str, int, int, tuple[int, ...]]]:
        """Name, array, layer and shape of every tensor, in the order of the vector."""

    @property
    def parameter_count(self) -> int:
        """Length of the flat vector."""
        return self.parts[-1].slice.stop

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every tensor in the order of the vector."""
        parts = []
        start = 0
        for name, array, layer, shape in self._shapes():
            parts.append(Part(name, array, layer, start, shape))
            start = parts[-1].slice.stop
        return tuple(parts)

    def checked(self, weights: np.ndarray) -> np.ndarray:
        """The vector as it is, if its length is right.

        Raises
        ------
        ValueError
            The vector's length is not the parameter count.
        """
        if weights.shape != (self.parameter_count,):
            raise ValueError(f"expected {self.parameter_count} weights, got {weights.shape}")
        return weights


@dataclass(frozen=True, eq=False)
class Network:
    """A network that can be played: its shape, its weights, and the rate it was trained at."""

    config: Shape
    weights: np.ndarray  # (parameter_count,) float32, for samples in and samples out
    sample_rate: int | None  # None where a file does not say
    # Its outputs condition the layers of a WaveNet, which is then played, not trained; None: the
    # input does.
    condition: "Network | None" = None


class TrainingPass(Protocol):
    """Forward and backward over windows of one length, for one thread."""

    inputs: int  # samples of a window
    outputs: int
    windows: int  # most of them at a time

    def forward(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Outputs `(k, outputs)` float32 of flat weights for k windows, `(k, inputs)`."""
        ...

    def backward(self, output_gradient: np.ndarray) -> np.ndarray:
        """Gradient `(parameter_count,)` of a loss, after `forward`; 0 for what is not trained.

        Parameters
        ----------
        output_gradient : (k, outputs) float32 array
            Of the loss with respect to every output; the windows' gradients are added.
        """
        ...


class Player(Protocol):
    """Plays a network; `process` is called with one block after another."""

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        ...
