"""What `native/module.cpp` defines. Arrays are C-contiguous float32."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

def paths() -> list[str]: ...

class LayerArray:
    def __init__(
        self,
        input_size: int,
        condition_size: int,
        channels: int,
        kernel_sizes: list[int],
        dilations: list[int],
        activation: str,
        slope: float,
        gated: bool,
        head_size: int,
        head_taps: int,
        head_bias: bool,
    ) -> None: ...

class Network:
    def __init__(self, arrays: list[LayerArray]) -> None: ...
    @property
    def weight_count(self) -> int: ...
    @property
    def receptive_field(self) -> int: ...

class Lstm:
    def __init__(self, hidden_size: int, num_layers: int, outputs: int, prewarm: int) -> None: ...
    @property
    def weight_count(self) -> int: ...

class Stream:
    def __init__(
        self, chain: list[tuple[Network | Lstm, Floats]], players_tanh: bool, path: str
    ) -> None: ...
    def process(self, block: Floats, out: Floats) -> None: ...
    def reset(self) -> None: ...

class Pass:
    def __init__(
        self, network: Network, outputs: int, segments: int, threads: int, path: str
    ) -> None: ...
    @property
    def inputs(self) -> int: ...
    def forward(self, weights: Floats, x: Floats, y: Floats) -> None: ...
    def backward(self, dy: Floats, gradient: Floats) -> None: ...
