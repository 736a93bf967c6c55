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


class _Tensors:
    """The flat vector of one config, as torch's LSTM wants it."""

    def __init__(self, config: LstmConfig):
        self.config = config
        self._flat = torch.zeros(config.parameter_count)
        self._parts = {
            (part.name, part.array): self._flat[part.slice].view(part.shape)
            for part in config.parts
        }
        self.cells: list[torch.Tensor] = []  # for each layer: input, hidden, bias, no bias
        for layer in range(config.num_layers):
            weight, bias = self._parts["weight", layer], self._parts["bias", layer]
            inputs = weight.shape[1] - config.hidden_size
            self.cells += [
                weight[:, :inputs].clone(),
                weight[:, inputs:].clone(),
                bias.clone(),
                torch.zeros_like(bias),
            ]
        self.head = self._parts["head", config.num_layers]
        self.head_bias = self._parts["head_bias", config.num_layers]
        self._of: np.ndarray | None = None

    def load(self, weights: np.ndarray) -> None:
        """Take a vector, unless it is the one that is there."""
        if weights is self._of:
            return
        self._of = self.config.checked(weights)
        self._flat.copy_(torch.from_numpy(np.asarray(weights, np.float32)))
        for layer in range(self.config.num_layers):
            weight = self._parts["weight", layer]
            into, hidden, bias, _ = self.cells[4 * layer : 4 * layer + 4]
            into.copy_(weight[:, : into.shape[1]])
            hidden.copy_(weight[:, into.shape[1] :])
            bias.copy_(self._parts["bias", layer])

    def first_states(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """h and c to begin with, each `(layers, count, hidden)`."""

        def states(name):
            layers = [self._parts[name, layer] for layer in range(self.config.num_layers)]
            return torch.stack(layers)[:, None].expand(-1, count, -1).contiguous()

        return states("first_h"), states("first_c")

    def run(self, x, states, cells=None):
        """h of the last layer `(time, count, hidden)` for x `(time, count)`, and the states."""
        out, h, c = torch.lstm(
            x[:, :, None],
            states,
            self.cells if cells is None else cells,
            has_biases=True,
            num_layers=self.config.num_layers,
            dropout=0.0,
            train=False,
            bidirectional=False,
            batch_first=False,
        )
        return out, (h, c)


class Pass:
    """Forward and backward over windows of one length, for one thread.

    Parameters
    ----------
    config : LstmConfig
    outputs : int
        Samples of a window; its last chunk may be a short one.
    """

    def __init__(self, config: LstmConfig, outputs: int):
        self.config = config
        self.outputs = outputs
        self.inputs = outputs + WARM_UP
        self._tensors = _Tensors(config)
        self._count = -(-outputs // CHUNK)
        self._leaves: list[torch.Tensor] = []
        self._output = torch.empty(0)

    def forward(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        tensors = self._tensors
        tensors.load(weights)
        padded = torch.zeros(WARM_UP + self._count * CHUNK)
        padded[: self.inputs] = torch.from_numpy(x)
        chunks = padded.unfold(0, WARM_UP + CHUNK, CHUNK).t().contiguous()  # (time, count)
        with torch.no_grad():
            _, states = tensors.run(chunks[:WARM_UP], tensors.first_states(self._count))
        leaves = [*tensors.cells, tensors.head, tensors.head_bias]
        self._leaves = [leaf.detach().requires_grad_() for leaf in leaves]
        hidden, _ = tensors.run(chunks[WARM_UP:], states, self._leaves[:-2])
        output = hidden @ self._leaves[-2][0] + self._leaves[-1]  # (time, count)
        self._output = output.t().reshape(-1)[: self.outputs]
        return self._output.detach().numpy()

    def backward(self, output_gradient: np.ndarray) -> np.ndarray:
        trained = [
            leaf
            for number, leaf in enumerate(self._leaves)
            if number >= len(self._leaves) - 2 or number % 4 != 3  # the biases that are 0
        ]
        found = iter(torch.autograd.grad(self._output, trained, torch.from_numpy(output_gradient)))
        gradient = np.zeros(self.config.parameter_count, np.float32)
        for part in self.config.parts:
            if part.name == "weight":
                both = torch.cat([next(found), next(found)], dim=1)
                gradient[part.slice] = both.numpy().ravel()
            elif part.name in ("bias", "head", "head_bias"):
                gradient[part.slice] = next(found).numpy().ravel()
        return gradient


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
        self._tensors = _Tensors(model.config)
        self._tensors.load(model.weights)
        self._fast = fast_tanh
        self._states = self._tensors.first_states(1)
        self.process(np.zeros(prewarm_samples(model.sample_rate), np.float32))

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next block of output, `(n,)` float32, for the next `(n,)` samples of input."""
        return self.signals(block)[0]

    def signals(self, block: np.ndarray) -> np.ndarray:
        """The same of every output, `(outputs, n)`."""
        signal = torch.from_numpy(np.array(block, np.float32))
        if not len(signal):
            return np.empty((len(self._tensors.head), 0), np.float32)
        with torch.no_grad():
            advance = self._step_by_step if self._fast else self._tensors.run
            parts = []
            for part in signal.split(_COLUMNS):
                hidden, self._states = advance(part[:, None], self._states)
                parts.append(hidden[:, 0] @ self._tensors.head.t() + self._tensors.head_bias)
        return torch.cat(parts).t().contiguous().numpy()

    def _step_by_step(self, x, states):
        h, c = (state[:, 0].numpy().copy() for state in states)
        cells = [cell.numpy() for cell in self._tensors.cells]
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
