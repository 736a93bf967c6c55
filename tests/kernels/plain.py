"""Networks in plain products of matrices, in float64: what the kernels are held against."""

import itertools

import numpy as np
import torch
from torch.nn.functional import leaky_relu

from profiler.kernels import LayerArray, Network

SHAPES = {
    "standard": (
        LayerArray(16, tuple(2**n for n in range(10)), head_size=8),
        LayerArray(8, tuple(2**n for n in range(10)), input_size=16, head_bias=True),
    ),
    "odd": (
        LayerArray(5, (1, 3), kernel_sizes=(2, 4), head_size=3),
        LayerArray(3, (7, 1), kernel_sizes=1, input_size=5, head_size=2, gated=True),
        LayerArray(2, (2, 2), input_size=3, head_bias=True),
    ),
    "a2": (
        LayerArray(
            8,
            (1, 3, 7, 17, 41, 101, 239) * 2 + (1, 13, 1, 3, 7, 17, 41, 101, 239),
            kernel_sizes=(6,) * 14 + (15, 15) + (6,) * 7,
            head_taps=16,
            head_bias=True,
            activation="LeakyReLU",
        ),
    ),
}


def initial_weights(arrays, random):
    """Random weights whose output is about as loud as the input."""
    weights = []
    for array in arrays:
        outputs = array.channels * (2 if array.gated else 1)
        weights.append(normal(random, (array.channels, array.input_size), array.input_size))
        for taps in kernel_sizes(array):
            weights += [
                normal(random, (outputs, array.channels, taps), array.channels * taps),
                0.1 * normal(random, (outputs,), 1),
                normal(random, (outputs, array.condition_size), array.condition_size),
                0.5 * normal(random, (array.channels, array.channels), array.channels),
                0.1 * normal(random, (array.channels,), 1),
            ]
        many = array.channels * array.head_taps
        weights.append(normal(random, (array.head_size, array.channels, array.head_taps), many))
        if array.head_bias:
            weights.append(0.1 * normal(random, (array.head_size,), 1))
    weights.append(np.array([0.3]))
    return np.concatenate([part.ravel() for part in weights]).astype(np.float32)


def normal(random, shape, fan_in):
    return random.standard_normal(shape) / np.sqrt(fan_in)


def kernel_sizes(array):
    sizes = array.kernel_sizes
    return (sizes,) * len(array.dilations) if isinstance(sizes, int) else sizes


def players_tanh(x):
    """`fast_tanh` of NeuralAmpModelerCore, as its source has it."""
    ax, x2 = abs(x), x * x
    over = x * (
        2.45550750702956 + 2.45550750702956 * ax + (0.893229853513558 + 0.821226666969744 * ax) * x2
    )
    return over / (2.44506634652299 + (2.44506634652299 + x2) * abs(x + 0.814642734961073 * x * ax))


def forward(arrays, weights, x, *, condition=None, tanh=torch.tanh):
    """Outputs of `(n,)` inputs, `(n - receptive_field + 1,)`; float64 in, float64 out.

    A condition, `(condition_size, n)`, takes the place of the input as such.
    """
    position = 0

    def take(*shape):
        nonlocal position
        begin, position = position, position + int(np.prod(shape))
        return weights[begin:position].view(shape)

    condition = x[None] if condition is None else condition
    h, head = x[None], None
    for array in arrays:
        channels, outputs = array.channels, array.channels * (2 if array.gated else 1)
        h = take(channels, array.input_size) @ h
        for taps, dilation in zip(kernel_sizes(array), array.dilations, strict=True):
            kernel, bias = take(outputs, channels, taps), take(outputs)
            z = convolved(h, kernel, dilation) + bias[:, None]
            z = z + take(outputs, array.condition_size) @ condition[:, -z.shape[1] :]
            a = z[:channels]
            a = tanh(a) if array.activation == "Tanh" else leaky_relu(a, slope_of(array))
            if array.gated:
                a = a * torch.sigmoid(z[channels:])  # whatever tanh is meant, as in players
            n = a.shape[1]
            head = a if head is None else ending_together(head, a)
            h = h[:, -n:] + take(channels, channels) @ a + take(channels)[:, None]
        head = convolved(head, take(array.head_size, channels, array.head_taps))
        if array.head_bias:
            head = head + take(array.head_size)[:, None]
    # a head may have less history than the layers, and the other way round
    return (head * take(1))[:, -(x.shape[0] - reach(arrays)) :].squeeze(0)


def convolved(h, kernel, dilation=1):
    """Tap 0 is the oldest sample."""
    taps = kernel.shape[2]
    n = h.shape[1] - (taps - 1) * dilation
    return sum(kernel[:, :, k] @ h[:, k * dilation : k * dilation + n] for k in range(taps))


def ending_together(a, b):
    """The sum of two signals' last samples, as many as both have."""
    n = min(a.shape[1], b.shape[1])
    return a[:, -n:] + b[:, -n:]


def slope_of(array):
    return 0.0 if array.activation == "ReLU" else array.slope


def reach(arrays):
    """Past samples on which an output depends."""
    histories = list(
        itertools.accumulate(
            sum((taps - 1) * d for taps, d in zip(kernel_sizes(a), a.dilations, strict=True))
            for a in arrays
        )
    )
    heads = [sum(a.head_taps - 1 for a in arrays[number:]) for number in range(len(arrays))]
    return max(history + head for history, head in zip(histories, heads, strict=True))


def network_of(name):
    """A shape, its network and weights for it."""
    arrays = SHAPES[name]
    return arrays, Network(arrays), initial_weights(arrays, np.random.default_rng(1))


def noise(count, seed=0):
    return (0.5 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def played(arrays, weights, signal, **how):
    """What a player gives for a signal after silence, `(n,)` float64."""
    silence = np.zeros(reach(arrays))
    x = torch.from_numpy(np.concatenate([silence, signal]).astype(np.float64))
    return forward(arrays, torch.from_numpy(weights).double(), x, **how).numpy()


def lstm(sizes, weights, x, *, tanh=np.tanh):
    """Outputs of an LSTM of (hidden, layers, outputs) for `(n,)` inputs, `(outputs, n)` float64.

    It begins in the states that are among its weights.
    """
    hidden, layers, outputs = sizes
    weights = np.asarray(weights, np.float64)
    position = 0

    def take(*shape):
        nonlocal position
        begin, position = position, position + int(np.prod(shape))
        return weights[begin:position].reshape(shape)

    signal = np.asarray(x, np.float64)[:, None]
    for _ in range(layers):
        into = take(4 * hidden, signal.shape[1] + hidden)
        driven = signal @ into[:, :-hidden].T + take(4 * hidden)
        recurrent, h, c = into[:, -hidden:], take(hidden), take(hidden)
        signal = np.empty((len(driven), hidden))
        for t, z in enumerate(driven):
            i, f, g, o = (z + recurrent @ h).reshape(4, hidden)
            c = sigmoid(f, tanh) * c + sigmoid(i, tanh) * tanh(g)
            signal[t] = h = sigmoid(o, tanh) * tanh(c)
    head = take(outputs, hidden)
    return head @ signal.T + take(outputs)[:, None]


def sigmoid(z, tanh):
    return 0.5 * (tanh(0.5 * z) + 1.0)


def lstm_weights(sizes, random):
    """Random weights, biases and first states of an LSTM that neither sleeps nor goes wild."""
    hidden, layers, outputs = sizes
    weights = []
    for layer in range(layers):
        inputs = hidden if layer else 1
        into = 2.0 * normal(random, (4 * hidden, inputs), inputs)
        weights += [np.hstack([into, normal(random, (4 * hidden, hidden), hidden)]).ravel()]
        weights += [0.3 * normal(random, (4 * hidden,), 1), normal(random, (2 * hidden,), 1)]
    weights += [normal(random, (outputs * hidden,), hidden), normal(random, (outputs,), 1)]
    return np.concatenate(weights).astype(np.float32)
