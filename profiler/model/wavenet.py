"""The WaveNets of Neural Amp Modeler, A1 and A2: architecture, weights, forward and backward.

A stack of dilated convolutions with a residual path and a sum of all activations (van den Oord
et al., "WaveNet", 2016; in this form Wright et al., "Real-time guitar amplifier emulation with
deep learning", Applied Sciences 10(3), 2020). For every layer, with the raw input x as its
condition,

    z = sum over taps k of W_k h[t - (K-1-k) d]  +  m x  +  b
    a = tanh(z),  head += a,  h = h + U a + c

and a second array of layers starts from the first one's h and head. The output is the last
head times the head scale. That is an A1. An A2 is one array of 23 layers with kernels of 6 and 15
taps, a leaky rectifier in place of tanh, and a head that is a convolution of 16 taps.

Conventions
-----------
All weights live in one flat float32 vector in the order of a `.nam` file, the head scale
last; tap 0 is the oldest sample. Signals inside the network are matrices `(channels, time)`,
so that a tap is a slice of columns and every product is one call of BLAS (the other way round
is slower by up to six times for four and eight channels). Nothing is padded: a stretch of n
inputs gives n - receptive_field + 1 outputs.

The backward pass is written out instead of recorded: with buffers that stay, training is
two to three times as fast on a CPU as through autograd, whose every tensor is mapped and
cleared anew.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from profiler.model.network import Network, Shape

Activation = Literal["Tanh", "LeakyReLU"]
LEAK = 0.01  # slope of a LeakyReLU below 0


@dataclass(frozen=True)
class LayerArray:
    """One array of layers, as `.nam` files describe it."""

    input_size: int
    channels: int
    head_size: int
    dilations: tuple[int, ...]
    kernel_size: int | tuple[int, ...] = 3  # of all layers, or one a layer
    condition_size: int = 1
    gated: bool = False
    head_bias: bool = False
    activation: Activation = "Tanh"
    head_taps: int = 1  # of the head; more than one in the last array only

    @property
    def conv_channels(self) -> int:
        """Outputs of each convolution: a gate doubles them."""
        return self.channels * (2 if self.gated else 1)

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """Taps of each layer."""
        if isinstance(self.kernel_size, int):
            return (self.kernel_size,) * len(self.dilations)
        return self.kernel_size

    @property
    def reaches(self) -> tuple[int, ...]:
        """Past samples of its input that each layer needs."""
        return tuple(
            (taps - 1) * dilation
            for taps, dilation in zip(self.kernel_sizes, self.dilations, strict=True)
        )

    @property
    def history(self) -> int:
        """Past samples that the array needs."""
        return sum(self.reaches) + self.head_taps - 1


@dataclass(frozen=True)
class WaveNetConfig(Shape):
    """The shape of a network.

    Raises
    ------
    ValueError
        An array before the last one whose head has more than one tap.
    """

    arrays: tuple[LayerArray, ...]

    def __post_init__(self):
        if any(array.head_taps > 1 for array in self.arrays[:-1]):
            raise ValueError("only the last array's head may have more than one tap")

    @property
    def receptive_field(self) -> int:
        return 1 + sum(array.history for array in self.arrays)

    @property
    def multiply_adds(self) -> int:
        return sum(math.prod(part.shape) for part in self.parts if len(part.shape) > 1) + 1

    def initial_weights(self, seed: int) -> np.ndarray:
        return initial_weights(self, seed)

    def scaled(self, weights, stimulus_scale, target_scale):
        scaled = weights.astype(np.float64)
        for part in self.parts:  # what the raw input is multiplied by
            if part.name == "mixin" or (part.name, part.array) == ("rechannel", 0):
                scaled[part.slice] /= stimulus_scale
        scaled[-1] *= target_scale
        return scaled.astype(np.float32)

    def _shapes(self):
        for number, array in enumerate(self.arrays):
            channels, outputs = array.channels, array.conv_channels
            yield "rechannel", number, -1, (channels, array.input_size)
            for layer, taps in enumerate(array.kernel_sizes):
                yield "conv", number, layer, (outputs, channels, taps)
                yield "conv_bias", number, layer, (outputs,)
                yield "mixin", number, layer, (outputs, array.condition_size)
                yield "residual", number, layer, (channels, channels)
                yield "residual_bias", number, layer, (channels,)
            yield "head", number, -1, (array.head_size, channels, array.head_taps)
            if array.head_bias:
                yield "head_bias", number, -1, (array.head_size,)
        yield "head_scale", len(self.arrays), -1, (1,)


_OCTAVES = tuple(2**octave for octave in range(10))
_SHORT_FIRST = (_OCTAVES[:7], (128, 256, 512, *_OCTAVES))


def _a1(channels, dilations=_SHORT_FIRST):
    first, second = dilations
    return WaveNetConfig(
        (
            LayerArray(1, channels, channels // 2, first),
            LayerArray(channels, channels // 2, 1, second, head_bias=True),
        )
    )


def a1_of_layers(layers: int) -> WaveNetConfig:
    """The standard A1 network with so many layers in both arrays, instead of ten.

    The dilations are 1, 2, 4 ... in each, so it sees 4 x 2^layers - 3 samples.
    """
    octaves = tuple(2**octave for octave in range(layers))
    return _a1(16, (octaves, octaves))


ARCHITECTURES: dict[str, WaveNetConfig] = {
    "nano": _a1(4),
    "feather": _a1(8),
    "lite": _a1(12),
    "standard": _a1(16, (_OCTAVES, _OCTAVES)),
}


_A2_OCTAVES = (1, 3, 7, 17, 41, 101, 239)


def _a2(channels):
    return WaveNetConfig(
        (
            LayerArray(
                1,
                channels,
                1,
                (*_A2_OCTAVES, *_A2_OCTAVES, 1, 13, *_A2_OCTAVES),
                kernel_size=(6,) * 14 + (15,) * 2 + (6,) * 7,
                head_bias=True,
                activation="LeakyReLU",
                head_taps=16,
            ),
        )
    )


A2: dict[str, WaveNetConfig] = {"a2-lite": _a2(3), "a2-full": _a2(8)}


@dataclass(frozen=True, eq=False)
class WaveNet(Network):
    """A network of this family."""

    config: WaveNetConfig


HEAD_SCALE = 0.1  # of a network whose target has unit RMS


def initial_weights(config: WaveNetConfig, seed: int) -> np.ndarray:
    """Weights to start from: uniform within 1/sqrt(fan in), as torch draws a convolution's.

    Returns
    -------
    (parameter_count,) float32 array
    """
    random = np.random.default_rng(seed)
    weights = np.empty(config.parameter_count, np.float32)
    bound = 1.0
    for part in config.parts:
        if not part.name.endswith("_bias"):  # a bias follows the tensor whose bound it has
            bound = 1.0 / np.sqrt(np.prod(part.shape[1:]))
        weights[part.slice] = random.uniform(-bound, bound, int(np.prod(part.shape)))
    weights[-1] = HEAD_SCALE
    return weights


@contextlib.contextmanager
def single_torch_thread() -> Iterator[None]:
    """One thread a product: they are short, and on a busy machine two wait for each other.

    Work is shared between threads by the window, where it can be.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PackedLayer(NamedTuple):
    """Weights of one layer as the products want them."""

    dilation: int
    taps: tuple[torch.Tensor, ...]  # oldest first, each (outputs, channels)
    taps_back: tuple[torch.Tensor, ...]  # each (channels, outputs)
    driven: torch.Tensor  # (outputs, condition + 1): mixin, and bias as the weight of a 1
    residual: torch.Tensor  # (channels, channels)
    residual_back: torch.Tensor
    residual_bias: torch.Tensor  # (channels, 1)


class PackedArray(NamedTuple):
    """Weights of one array of layers."""

    rechannel: torch.Tensor  # (channels, input)
    layers: tuple[PackedLayer, ...]
    head: tuple[torch.Tensor, ...]  # by tap, oldest first, each (head_size, channels)
    head_bias: torch.Tensor  # (head_size, 1), zeros where the array has none


class PackedWeights(NamedTuple):
    """A flat vector, unpacked for the products."""

    arrays: tuple[PackedArray, ...]
    head_scale: float


def pack(config: WaveNetConfig, weights: np.ndarray) -> PackedWeights:
    """Unpack a flat vector.

    Parameters
    ----------
    weights : (parameter_count,) float32 array

    Raises
    ------
    ValueError
        The vector's length is not the parameter count.
    """
    flat = torch.from_numpy(np.array(config.checked(weights), np.float32))
    tensors = {
        (part.array, part.layer, part.name): flat[part.slice].view(part.shape)
        for part in config.parts
    }
    arrays = []
    for number, array in enumerate(config.arrays):
        layers = []
        for layer, dilation in enumerate(array.dilations):
            conv, conv_bias, mixin, residual, residual_bias = (
                tensors[number, layer, name]
                for name in ("conv", "conv_bias", "mixin", "residual", "residual_bias")
            )
            layers.append(
                PackedLayer(
                    dilation,
                    tuple(tap.contiguous() for tap in conv.unbind(2)),
                    tuple(tap.t().contiguous() for tap in conv.unbind(2)),
                    torch.cat([mixin, conv_bias[:, None]], dim=1),
                    residual,
                    residual.t().contiguous(),
                    residual_bias[:, None],
                )
            )
        head_bias = tensors.get((number, -1, "head_bias"), torch.zeros(array.head_size))
        arrays.append(
            PackedArray(
                tensors[number, -1, "rechannel"],
                tuple(layers),
                tuple(tap.contiguous() for tap in tensors[number, -1, "head"].unbind(2)),
                head_bias[:, None],
            )
        )
    return PackedWeights(tuple(arrays), float(weights[-1]))


def condition_of(signals: torch.Tensor) -> torch.Tensor:
    """What drives every layer, `(k, n)`, and a row of ones below it."""
    return torch.cat([signals, torch.ones(1, signals.shape[1])])


def convolve(
    layer: PackedLayer, h: torch.Tensor, condition: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    """z of one layer.

    Parameters
    ----------
    h : (channels, n + (taps - 1) dilation)
    condition : (condition_size + 1, n)
        Its last row is 1.
    out : (outputs, n)
        Written and returned.
    """
    torch.mm(layer.driven, condition, out=out)
    for number, tap in enumerate(layer.taps):
        start = number * layer.dilation
        out.addmm_(tap, h[:, start : start + out.shape[1]])
    return out


_MINUS_ONE = torch.tensor(-1.0)


def tanh_(z: torch.Tensor) -> torch.Tensor:
    """tanh in place, as 2 sigmoid(2z) - 1: within 1.2e-7, and five times as fast on a CPU."""
    z.mul_(2.0).sigmoid_()
    return torch.add(_MINUS_ONE, z, alpha=2.0, out=z)


def convolved_head(array: PackedArray, total: torch.Tensor) -> torch.Tensor:
    """The head of an array, `(head_size, n)`, of activations `(channels, n + taps - 1)`."""
    columns = total.shape[1] - len(array.head) + 1
    head = torch.addmm(array.head_bias, array.head[0], total[:, :columns])
    for number, tap in enumerate(array.head[1:], start=1):
        head.addmm_(tap, total[:, number : number + columns])
    return head


def leaky_relu_(z: torch.Tensor) -> torch.Tensor:
    """The leaky rectifier of an A2, in place."""
    return torch.nn.functional.leaky_relu_(z, LEAK)


def evaluate(
    config: WaveNetConfig, tensors: Sequence[torch.Tensor], x: torch.Tensor
) -> torch.Tensor:
    """Outputs of several windows, `(windows, outputs)`, so that autograd can follow.

    Parameters
    ----------
    tensors : sequence of tensor
        In the order of `config.parts`; of an ungated network with one input.
    x : (windows, inputs) tensor
    """
    named = {
        (part.array, part.layer, part.name): tensor
        for part, tensor in zip(config.parts, tensors, strict=True)
    }
    condition = x[:, None]
    heard = x.shape[1] - config.receptive_field + config.arrays[-1].head_taps
    entering, head = condition, torch.zeros((), device=x.device)
    for number, array in enumerate(config.arrays):
        h = named[number, -1, "rechannel"] @ entering
        total = head
        for layer, dilation in enumerate(array.dilations):
            conv, bias, mixin, residual, residual_bias = (
                named[number, layer, name]
                for name in ("conv", "conv_bias", "mixin", "residual", "residual_bias")
            )
            z = _convolved(conv, h, dilation)
            n = z.shape[2]
            z = z + mixin @ condition[..., -n:] + bias[:, None]
            a = torch.tanh(z) if array.activation == "Tanh" else leaky_relu_(z)
            total = total + a[..., -heard:]
            h = h[..., -n:] + residual @ a + residual_bias[:, None]
        head = _convolved(named[number, -1, "head"], total, 1)
        if array.head_bias:
            head = head + named[number, -1, "head_bias"][:, None]
        entering = h
    return head[:, 0] * named[len(config.arrays), -1, "head_scale"].detach()


def _convolved(kernel, h, dilation):
    """`(windows, outputs, n)` of h `(windows, channels, n + (taps - 1) dilation)`."""
    outputs, channels, taps = kernel.shape
    n = h.shape[2] - (taps - 1) * dilation
    if taps == 1:
        return kernel[:, :, 0] @ h
    shifted = [h[..., tap * dilation : tap * dilation + n] for tap in range(taps)]
    return kernel.transpose(1, 2).reshape(outputs, taps * channels) @ torch.cat(shifted, dim=1)


class Pass:
    """Forward and backward over stretches of one length, in buffers that stay.

    One `Pass` serves one thread. Only ungated networks with one input and one output can
    be trained.
    """

    def __init__(self, config: WaveNetConfig, outputs: int):
        if any(array.gated or array.condition_size != 1 for array in config.arrays):
            raise ValueError("only ungated networks with one input can be trained")
        self.config = config
        self.outputs = outputs
        self.inputs = outputs + config.receptive_field - 1
        self._condition = torch.ones(2, self.inputs)
        # by array and layer: h before each layer and after the last, a of each
        self._h: list[list[torch.Tensor]] = []
        self._a: list[list[torch.Tensor]] = []
        # by array
        self._heard = outputs + config.arrays[-1].head_taps - 1  # columns that the head reads
        self._head = [torch.zeros(array.channels, self._heard) for array in config.arrays]
        self._dh: list[torch.Tensor] = []
        self._dz: list[torch.Tensor] = []
        columns = self.inputs
        for array in config.arrays:
            self._dh.append(torch.zeros(array.channels, columns))
            self._h.append([torch.zeros(array.channels, columns)])
            self._a.append([])
            for reach in array.reaches:
                columns -= reach
                self._a[-1].append(torch.zeros(array.channels, columns))
                self._h[-1].append(torch.zeros(array.channels, columns))
            self._dz.append(torch.zeros(array.channels * self._a[-1][0].shape[1]))
        self._gradient = torch.zeros(config.parameter_count)
        self._parts = {
            (part.array, part.layer, part.name): self._gradient[part.slice].view(part.shape)
            for part in config.parts
        }

    def forward(self, weights: PackedWeights, x: torch.Tensor) -> torch.Tensor:
        """Output `(outputs,)` for `inputs` samples."""
        self._condition[0] = x
        entering = self._condition[:1]
        head = torch.zeros(1)
        for number, array in enumerate(weights.arrays):
            total = self._head[number].copy_(head)
            h = torch.mm(array.rechannel, entering, out=self._h[number][0])
            for depth, layer in enumerate(array.layers):
                a = self._a[number][depth]
                n = a.shape[1]
                convolve(layer, h, self._condition[:, -n:], a)
                (tanh_ if self.config.arrays[number].activation == "Tanh" else leaky_relu_)(a)
                total += a[:, -self._heard :]
                entering = self._h[number][depth + 1]
                torch.add(h[:, -n:], layer.residual_bias, out=entering)
                h = entering.addmm_(layer.residual, a)
            head = convolved_head(array, total)
        return head[0] * weights.head_scale

    def backward(self, weights: PackedWeights, output_gradient: torch.Tensor) -> torch.Tensor:
        """Gradient of a loss with respect to the flat weights, after `forward`.

        Parameters
        ----------
        output_gradient : (outputs,)
            Of the loss with respect to the output.

        Returns
        -------
        (parameter_count,) tensor
            Overwritten by the next call. The head scale's is 0: it is not trained.
        """
        dhead = (output_gradient * weights.head_scale)[None]
        above = None  # the array that reads this one's h; nothing reads the last one's
        for number in reversed(range(len(weights.arrays))):
            array, dh = weights.arrays[number], self._dh[number]
            if (number, -1, "head_bias") in self._parts:
                self._parts[number, -1, "head_bias"].copy_(dhead.sum(1))
            dhead = self._head_backward(array, number, dhead)
            if above is not None:
                dh_above = self._dh[number + 1]
                torch.mm(above.rechannel.t(), dh_above, out=dh[:, -dh_above.shape[1] :])
            for depth in reversed(range(len(array.layers))):
                unread = above is None and depth == len(array.layers) - 1
                self._layer_backward(array.layers[depth], number, depth, dhead, unread)
            entering = self._h[number - 1][-1] if number else self._condition[:1]
            self._parts[number, -1, "rechannel"].copy_(dh @ entering.t())
            above = array
        return self._gradient

    def _head_backward(self, array, number, dhead):
        """Gradient of the sum of activations from that of the head."""
        total, columns = self._head[number], dhead.shape[1]
        dtotal = torch.zeros_like(total)
        for tap, weights in enumerate(array.head):
            read = slice(tap, tap + columns)
            self._parts[number, -1, "head"][:, :, tap] = dhead @ total[:, read].t()
            dtotal[:, read].addmm_(weights.t(), dhead)
        return dtotal

    def _layer_backward(self, layer, number, depth, dhead, unread):
        """Turn the gradient of a layer's output h, in the buffer's last columns, into its input's.

        The residual path hands it on as it is; what the convolution adds is added in place.
        """
        h, a = self._h[number][depth], self._a[number][depth]
        n = a.shape[1]
        dh = self._dh[number][:, -h.shape[1] :]
        dh_out = dh[:, -n:]
        dz = self._dz[number][: a.numel()].view(a.shape)
        if unread:
            dh_out.zero_()
            dz.zero_()
            dz[:, -self._heard :] = dhead
        else:
            torch.mm(layer.residual_back, dh_out, out=dz)
            dz[:, -self._heard :] += dhead
            self._parts[number, depth, "residual"].copy_(dh_out @ a.t())
            self._parts[number, depth, "residual_bias"].copy_(dh_out.sum(1))
        if self.config.arrays[number].activation == "Tanh":
            torch.ops.aten.tanh_backward(dz, a, grad_input=dz)
        else:  # a has the sign of z
            torch.ops.aten.leaky_relu_backward(dz, a, LEAK, True, grad_input=dz)
        driven = dz @ self._condition[:, -n:].t()
        self._parts[number, depth, "mixin"].copy_(driven[:, :1])
        self._parts[number, depth, "conv_bias"].copy_(driven[:, 1])
        dh[:, : h.shape[1] - n].zero_()
        conv = self._parts[number, depth, "conv"]
        for tap, weights in enumerate(layer.taps_back):
            columns = slice(tap * layer.dilation, tap * layer.dilation + n)
            conv[:, :, tap] = dz @ h[:, columns].t()
            dh[:, columns].addmm_(weights, dz)
