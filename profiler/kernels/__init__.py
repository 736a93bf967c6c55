"""The native core, in C++: a WaveNet forward, backward and block by block, an LSTM block by block.

It knows no amp, no training and no file: a plain description of a network and flat float32
arrays go in, arrays come out, the interpreter's lock released meanwhile. What it computes and
why it is fast is written where it is done, in `native/`; `plan.h` and `product.h` are the
pages to begin with.

Conventions
-----------
Weights are one flat vector in the order of a `.nam` file, the head scale last: for every array
of layers the rechannel `[channels][input]`, for every layer conv `[out][in][tap]` (tap 0 the
oldest), its bias, mixin `[out][condition]`, residual `[channels][channels]`, its bias, then
head `[head_size][channels][tap]` and, if there is one, its bias. A gated layer's outputs are the
activated half, then the gate's. Those of an LSTM are, for every layer, W `[4 hidden][inputs +
hidden]` (gates i, f, g, o), its bias, the h and the c to begin with; then head `[outputs][hidden]`
and its bias.

The module is optional. Where it could not be built (no C++ compiler, `AMPSCOPE_NO_KERNELS`
set) `available()` is False, `why_not()` says why, and everything is computed by torch instead,
several times slower.

The code is built for every instruction path of its architecture (`avx512`, `avx2` and
`portable`), and the fastest one that the machine has is used. `AMPSCOPE_KERNELS_PATH` in the
environment, or the argument `path`, asks for another one: results differ by rounding.
"""

import functools
import importlib
import os
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from profiler.errors import ProfilerError

PATH_VARIABLE = "AMPSCOPE_KERNELS_PATH"

Activation = Literal["Tanh", "LeakyReLU", "ReLU"]


@dataclass(frozen=True)
class LayerArray:
    """One array of layers.

    Parameters
    ----------
    channels : int
    dilations : tuple of int
        One a layer.
    kernel_sizes : int or tuple of int
        Taps of every layer, or one number a layer.
    input_size : int
        1 in the first array, channels of the array before in the others.
    condition_size : int
        Signals that drive every layer: 1, the input.
    head_size : int
        Outputs of the head: the next array's channels, 1 in the last array.
    head_taps : int
        Taps of the head: 1 in an A1 network, 16 in an A2.
    activation : {"Tanh", "LeakyReLU", "ReLU"}
    slope : float
        Of a LeakyReLU below 0, from 0 to 1.
    gated : bool
        Each activation is multiplied by the sigmoid of as many further outputs.
    """

    channels: int
    dilations: tuple[int, ...]
    kernel_sizes: int | tuple[int, ...] = 3
    input_size: int = 1
    condition_size: int = 1
    head_size: int = 1
    head_taps: int = 1
    head_bias: bool = False
    activation: Activation = "Tanh"
    slope: float = 0.01
    gated: bool = False


def available() -> bool:
    """Whether the native module was built for this interpreter and loads."""
    return not isinstance(_loaded(), str)


def why_not() -> str | None:
    """Why it is not available, in one line; None if it is."""
    loaded = _loaded()
    return loaded if isinstance(loaded, str) else None


def paths() -> tuple[str, ...]:
    """Instruction paths that this machine can run, fastest first.

    Raises
    ------
    ProfilerError
        The native module is not available.
    """
    return tuple(_required().paths())


class Network:
    """A shape that was checked.

    Raises
    ------
    ValueError
        The arrays do not fit together, or a number is out of range.
    ProfilerError
        The native module is not available.
    """

    def __init__(self, arrays: Sequence[LayerArray]):
        native = _required()
        self.arrays = tuple(arrays)
        self._native = native.Network([_described(native, array) for array in self.arrays])

    @property
    def weight_count(self) -> int:
        """Length of the flat vector, head scale included."""
        return self._native.weight_count

    @property
    def receptive_field(self) -> int:
        """Input samples on which one output sample depends."""
        return self._native.receptive_field


class Lstm:
    """The shape of an LSTM with one input; it is played, not trained.

    Parameters
    ----------
    hidden_size : int
        Units of a layer, 1 to 1024.
    num_layers : int
        1 to 64.
    outputs : int
        Rows of the head, 1 to 1024: several where it is the condition of another network.
    prewarm : int
        Samples of silence that are played before the first block: it has no end to what it
        remembers. Players play half a second.

    Raises
    ------
    ValueError
        A number is out of range.
    ProfilerError
        The native module is not available.
    """

    def __init__(
        self, hidden_size: int, num_layers: int = 1, *, outputs: int = 1, prewarm: int = 24_000
    ):
        self._native = _required().Lstm(hidden_size, num_layers, outputs, prewarm)

    @property
    def weight_count(self) -> int:
        """Length of the flat vector, first states included."""
        return self._native.weight_count


@dataclass(frozen=True, eq=False)
class Condition:
    """A network whose outputs take the place of the input as the condition of another one's layers.

    Parameters
    ----------
    network : Network or Lstm
        With as many outputs as the other has conditions.
    weights : (weight_count,) array
    condition : Condition, optional
        Of this network in its turn; an LSTM takes none.
    """

    network: Network | Lstm
    weights: ArrayLike
    condition: "Condition | None" = None


class Stream:
    """A network played block by block; it begins after silence, as a player does.

    Neither memory is allocated nor a lock taken by the native part of `process_into`, and its
    time does not depend on the signal. Any partition into blocks gives the same output.

    Parameters
    ----------
    network : Network or Lstm
        With one output.
    weights : (weight_count,) array
    condition : Condition, optional
        What conditions every layer of a `Network`; by default the input does.
    players_tanh : bool
        Evaluate tanh, and the sigmoids of an LSTM, by the approximation that players switch on
        (`fast_tanh` of NeuralAmpModelerCore) instead of exactly: within 1e-6, in an LSTM
        2e-7. The sigmoid of a WaveNet's gate is exact in players, too.
    path : str, optional
        Instruction path; the fastest one by default.

    Raises
    ------
    ValueError
        Weights of another number or not finite; an unknown path; no such network; a condition
        that does not fit.
    """

    def __init__(
        self,
        network: Network | Lstm,
        weights: ArrayLike,
        *,
        condition: Condition | None = None,
        players_tanh: bool = False,
        path: str | None = None,
    ):
        chain = [(network._native, _flat(weights, "weights"))]  # the innermost condition first
        while condition is not None:
            chain.insert(0, (condition.network._native, _flat(condition.weights, "weights")))
            condition = condition.condition
        self._stream = _required().Stream(chain, players_tanh, _path(path))

    def process(self, block: ArrayLike) -> NDArray[np.float32]:
        """The next output, `(n,)`, for the next `(n,)` samples of input; n may be 0.

        Raises
        ------
        ValueError
            The block is not one-dimensional or not finite (nothing is played then), or another
            thread plays a block.
        """
        signal = _flat(block, "the block")
        out = np.empty_like(signal)
        self._stream.process(signal, out)
        return out

    def process_into(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """As `process`, between two contiguous float32 arrays of one length that are there.

        Raises
        ------
        TypeError
            They are not.
        """
        self._stream.process(block, out)

    def reset(self) -> None:
        """Begin anew after silence."""
        self._stream.reset()


class Pass:
    """Forward and backward over segments of one length, in buffers that stay.

    A segment is `inputs = outputs + receptive_field - 1` samples and gives `outputs`: nothing is
    padded. Threads share the segments; the result does not depend on their number. Buffers take
    8 bytes for each channel of each layer and each input, for each segment.

    Parameters
    ----------
    network : Network
        With one condition and one output.
    outputs : int
        Output samples of a segment.
    segments : int
        In each call.
    threads : int
        At most one a segment is used.
    path : str, optional
        Instruction path; the fastest one by default.

    Raises
    ------
    ValueError
        A number below 1 or far too large; an unknown path; a network that cannot be trained.
    """

    def __init__(
        self,
        network: Network,
        outputs: int,
        *,
        segments: int = 1,
        threads: int = 1,
        path: str | None = None,
    ):
        self._pass = _required().Pass(network._native, outputs, segments, threads, _path(path))
        self.outputs = outputs
        self.segments = segments
        self.inputs: int = self._pass.inputs
        self._weight_count = network.weight_count

    def forward(self, weights: ArrayLike, x: ArrayLike) -> NDArray[np.float32]:
        """Outputs, `(segments, outputs)`.

        Parameters
        ----------
        weights : (weight_count,) array
        x : (segments, inputs) array

        Raises
        ------
        ValueError
            Another shape; a number that is not finite; another thread is in a call.
        """
        y = np.empty((self.segments, self.outputs), np.float32)
        self._pass.forward(_flat(weights, "weights"), _rows(x, "the input"), y)
        return y

    def backward(self, output_gradient: ArrayLike) -> NDArray[np.float32]:
        """Gradient of a loss, `(weight_count,)`, summed over the segments of the last `forward`.

        Parameters
        ----------
        output_gradient : (segments, outputs) array
            Of the loss with respect to the output.

        Raises
        ------
        ValueError
            Another shape; a number that is not finite; no `forward` before; another thread is
            in a call.
        """
        gradient = np.empty(self._weight_count, np.float32)
        self._pass.backward(_rows(output_gradient, "the output gradient"), gradient)
        return gradient


@functools.cache
def _loaded() -> types.ModuleType | str:
    """The native module, or why there is none."""
    try:
        return importlib.import_module("profiler.kernels._native")
    except ModuleNotFoundError:
        return (
            "the native kernels were not built: install again where there is a C++ compiler, "
            "without AMPSCOPE_NO_KERNELS"
        )
    except ImportError as error:
        return f"the native kernels do not load ({error}): install again"


def _required():
    loaded = _loaded()
    if isinstance(loaded, str):
        raise ProfilerError(loaded)
    return loaded


def _described(native, array):
    sizes = array.kernel_sizes
    return native.LayerArray(
        input_size=array.input_size,
        condition_size=array.condition_size,
        channels=array.channels,
        kernel_sizes=[sizes] * len(array.dilations) if isinstance(sizes, int) else list(sizes),
        dilations=list(array.dilations),
        activation=array.activation,
        slope=array.slope,
        gated=array.gated,
        head_size=array.head_size,
        head_taps=array.head_taps,
        head_bias=array.head_bias,
    )


def _path(path):
    return os.environ.get(PATH_VARIABLE, "") if path is None else path


def _flat(values, what):
    return _of_dimensions(values, 1, what)


def _rows(values, what):
    return _of_dimensions(values, 2, what)


def _of_dimensions(values, count, what):
    array = np.ascontiguousarray(values, np.float32)
    if np.ndim(values) != count:
        raise ValueError(f"{what} must have {count} dimensions, got shape {np.shape(values)}")
    return array
