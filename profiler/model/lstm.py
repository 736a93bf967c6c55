"""The LSTM of Neural Amp Modeler: a network with a state of its own.

One to a few layers of long short-term memory (Hochreiter and Schmidhuber, Neural Computation 9(8),
1997, with the forget gate of Gers et al., 2000) and a linear head; for a layer with input u,

    i, f, g, o = W [u, h] + b                       (four rows of blocks, in this order)
    c = sigmoid(f) c + sigmoid(i) tanh(g),   h = sigmoid(o) tanh(c)

It forgets when it has learned to, so it has no receptive field. What it can learn has an end all
the same: back-propagation is truncated (Williams and Peng, Neural Computation 2(4), 1990). A window
is cut into chunks of `CHUNK` samples, which are run side by side; the state of each is warmed up
over the `WARM_UP` samples before it, through which no gradient flows.

Conventions
-----------
Weights are in the order of a `.nam` file: for each layer W `(4 H, inputs + H)`, b, and the states h
and c to begin with; then head and its bias. Those states are 0 and are not trained: players play
half a second of silence before the first block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from profiler.model.network import Network, Shape
from profiler.model.players_tanh import players_tanh

CHUNK = 512  # samples through which a gradient flows
WARM_UP = 4096  # samples before them: what an A1 sees
PREWARM_SECONDS = 0.5  # of silence, as players play before the first block
FORGET_BIAS = 2.0  # to begin with, so that the state lasts (Jozefowicz et al., ICML 2015)


@dataclass(frozen=True)
class LstmConfig(Shape):
    """The shape of an LSTM with one input; several outputs condition another network."""

    hidden_size: int
    num_layers: int = 1
    outputs: int = 1

    recurrent = True

    @property
    def receptive_field(self) -> int:
        """What is played before a sample in training, and the sample: memory has no end."""
        return WARM_UP + 1

    @property
    def multiply_adds(self) -> int:
        gates = 3 * self.hidden_size * self.num_layers  # products of gates and states
        return gates + sum(
            part.slice.stop - part.start for part in self.parts if part.name in ("weight", "head")
        )

    def _shapes(self):
        size = self.hidden_size
        for layer in range(self.num_layers):
            inputs = size if layer else 1
            yield "weight", layer, -1, (4 * size, inputs + size)
            yield "bias", layer, -1, (4 * size,)
            yield "first_h", layer, -1, (size,)
            yield "first_c", layer, -1, (size,)
        yield "head", self.num_layers, -1, (self.outputs, size)
        yield "head_bias", self.num_layers, -1, (self.outputs,)

    def initial_weights(self, seed: int) -> np.ndarray:
        """Uniform within 1/sqrt(hidden_size), as torch draws them; gates that do not forget."""
        random = np.random.default_rng(seed)
        bound = 1.0 / np.sqrt(self.hidden_size)
        weights = random.uniform(-bound, bound, self.parameter_count).astype(np.float32)
        for part in self.parts:
            if part.name in ("first_h", "first_c"):
                weights[part.slice] = 0.0
            if part.name == "bias":
                forget = slice(part.start + self.hidden_size, part.start + 2 * self.hidden_size)
                weights[forget] = FORGET_BIAS
        return weights

    def scaled(self, weights, stimulus_scale, target_scale):
        scaled = weights.astype(np.float64)
        for part in self.parts:
            if (part.name, part.array) == ("weight", 0):
                scaled[part.slice].reshape(part.shape)[:, 0] /= stimulus_scale
            if part.name in ("head", "head_bias"):
                scaled[part.slice] *= target_scale
        return scaled.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Lstm(Network):
    """A network of this family."""

    config: LstmConfig


def _unpacked(config, tensors):
    """Cells as torch's LSTM wants them, and h and c to begin with, `(2, layers, hidden)`.

    Four cells a layer: of the input, of the state, the bias, and a second bias of 0.
    """
    cells, first = [], []
    for layer in range(config.num_layers):
        weight, bias, h, c = tensors[4 * layer : 4 * layer + 4]
        inputs = weight.shape[1] - config.hidden_size
        cells += [
            weight[:, :inputs].contiguous(),
            weight[:, inputs:].contiguous(),
            bias,
            torch.zeros_like(bias),
        ]
        first.append(torch.stack([h, c]))
    return cells, torch.stack(first, dim=1).detach()


def evaluate(config: LstmConfig, tensors: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """First outputs of several windows, `(windows, outputs)`, so that autograd can follow.

    Parameters
    ----------
    tensors : sequence of tensor
        In the order of `config.parts`.
    x : (windows, WARM_UP + outputs) tensor
        The last chunk of a window may be a short one.
    """
    windows, outputs = len(x), x.shape[1] - WARM_UP
    count = -(-outputs // CHUNK)
    padded = torch.nn.functional.pad(x, (0, count * CHUNK - outputs))
    chunks = padded.unfold(1, WARM_UP + CHUNK, CHUNK).reshape(windows * count, -1).t()
    cells, first = _unpacked(config, tensors)
    with torch.no_grad():
        begin = first[:, :, None].expand(-1, -1, windows * count, -1).contiguous()
        _, states = _run(config, chunks[:WARM_UP], tuple(begin), cells)
    hidden, _ = _run(config, chunks[WARM_UP:], states, cells)
    head, head_bias = tensors[-2:]
    output = hidden @ head[0] + head_bias[0]  # (time, windows x count)
    return output.t().reshape(windows, -1)[:, :outputs]


def _run(config, x, states, cells):
    """h of the last layer `(time, count, hidden)` for x `(time, count)`, and the states."""
    out, h, c = torch.lstm(
        x[:, :, None],
        states,
        cells,
        has_biases=True,
        num_layers=config.num_layers,
        dropout=0.0,
        train=torch.is_grad_enabled(),
        bidirectional=False,
        batch_first=False,
    )
    return out, (h, c)


def prewarm_samples(sample_rate: int | None) -> int:
    """Of silence before the first block; at 48 kHz where the rate is not known."""
    return max(1, round(PREWARM_SECONDS * (sample_rate or 48_000)))


class Streamer:
    """Plays an LSTM by torch, its state carried from block to block.

    Parameters
    ----------
    model : Lstm
    fast_tanh : bool
        Evaluate tanh and sigmoid by the players' approximation: step by step, below real time.
    """

    def __init__(self, model: Lstm, *, fast_tanh: bool = False):
        self._config = model.config
        flat = torch.from_numpy(np.array(model.config.checked(model.weights), np.float32))
        tensors = [flat[part.slice].view(part.shape) for part in model.config.parts]
        self._cells, first = _unpacked(model.config, tensors)
        self._head, self._head_bias = tensors[-2:]
        self._fast = fast_tanh
        self._states = tuple(first[:, :, None])  # h and c, each (layers, 1, hidden)
        self.process(np.zeros(prewarm_samples(model.sample_rate), np.float32))

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        return self.signals(block)[0]

    def signals(self, block: np.ndarray) -> np.ndarray:
        """The same of every output, `(outputs, n)`."""
        signal = torch.from_numpy(np.array(block, np.float32))
        if not len(signal):
            return np.empty((len(self._head), 0), np.float32)
        with torch.no_grad():
            advance = self._step_by_step if self._fast else self._at_once
            parts = []
            for part in signal.split(_COLUMNS):
                hidden, self._states = advance(part[:, None], self._states)
                parts.append(hidden[:, 0] @ self._head.t() + self._head_bias)
        return torch.cat(parts).t().contiguous().numpy()

    def _at_once(self, x, states):
        return _run(self._config, x, states, self._cells)

    def _step_by_step(self, x, states):
        h, c = (state[:, 0].numpy().copy() for state in states)
        cells = [cell.numpy() for cell in self._cells]
        size = h.shape[1]
        into = cells[0][:, 0] * x.numpy() + cells[2]  # (time, 4 hidden)
        hidden = np.empty((len(x), size), np.float32)
        for step in range(len(x)):
            for layer in range(len(h)):
                weight, recurrent, bias, _ = cells[4 * layer : 4 * layer + 4]
                driven = weight @ h[layer - 1] + bias if layer else into[step]
                z = driven + recurrent @ h[layer]
                z[: 2 * size] *= 0.5  # sigmoid(z) = (tanh(z / 2) + 1) / 2
                z[3 * size :] *= 0.5
                z = players_tanh(z)
                i, f, g, o = z[:size], z[size : 2 * size], z[2 * size : 3 * size], z[3 * size :]
                c[layer] = 0.5 * ((f + 1.0) * c[layer] + (i + 1.0) * g)
                h[layer] = 0.5 * (o + 1.0) * players_tanh(c[layer])
            hidden[step] = h[-1]
        return torch.from_numpy(hidden)[:, None], (
            torch.from_numpy(h)[:, None],
            torch.from_numpy(c)[:, None],
        )


_COLUMNS = 8192  # at a time, however long the block
