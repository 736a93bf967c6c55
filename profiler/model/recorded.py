"""Forward and backward by torch's autograd: of every network, and on every device.

On a processor it serves the networks whose backward is written nowhere else (`lstm`, `dense`). On a
graphics card it serves all: a batch goes there as a whole, since a card is slow to begin and
has room. What begins slowest are the hundreds of small products of a WaveNet, so on CUDA they are
recorded once, as two graphs, and started as two.

Conventions
-----------
An architecture gives `evaluate(config, tensors, x)`: outputs `(windows, outputs)` for x `(windows,
inputs)`, the tensors in the order of `config.parts`. Products are those of float32 everywhere: a
card's shorter formats (TF32) are not used, so that what is trained is what is exported.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from profiler.model.network import Shape

Device = Literal["cuda", "mps", "cpu"]
Evaluate = Callable[..., torch.Tensor]
WARMING_RUNS = 3  # before a graph is recorded: what the libraries choose and reserve


def device() -> Device:
    """Where torch computes networks here: on a graphics card, if there is one that it can use."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_name(of: Device) -> str:
    """The same in words."""
    if of == "cuda":
        return torch.cuda.get_device_name()
    return "the graphics card" if of == "mps" else "the processor"


class RecordedPass:
    """Forward and backward over windows of one length, for one thread.

    Parameters
    ----------
    config : Shape
    evaluate : callable
        Of the architecture, see above.
    outputs : int
        Of each window.
    windows : int
        Most of them at a time.
    on : {"cuda", "mps", "cpu"}
    """

    def __init__(
        self,
        config: Shape,
        evaluate: Evaluate,
        outputs: int,
        *,
        windows: int = 1,
        on: Device = "cpu",
    ):
        self.inputs, self.outputs = outputs + config.receptive_field - 1, outputs
        self.windows = windows
        self._config, self._evaluate, self._device = config, evaluate, on
        self._flat = torch.zeros(config.parameter_count, device=on)
        self._tensors = [
            self._flat[part.slice].view(part.shape).detach().requires_grad_()
            for part in config.parts
        ]
        self._of: np.ndarray | None = None
        self._graphs = on == "cuda" and not config.recurrent
        self._recorded: dict[int, _Graphs] = {}
        self._output = torch.empty(0)
        if on != "cpu":  # to begin takes a card seconds, which are no seconds of training
            nothing = np.zeros((windows, self.inputs), np.float32)
            self.forward(self._flat.cpu().numpy(), nothing)
            self.backward(np.zeros((windows, outputs), np.float32))

    def forward(self, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Outputs `(k, outputs)` of flat weights for `(k, inputs)` samples."""
        if weights is not self._of:
            self._of = self._config.checked(weights)
            with torch.no_grad():
                self._flat.copy_(torch.from_numpy(np.asarray(weights, np.float32)))
        inputs = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        if self._graphs:
            if len(x) not in self._recorded:
                self._recorded[len(x)] = _Graphs(self._computed, self._slopes, inputs)
            return self._recorded[len(x)].forward(inputs)
        self._output = self._computed(inputs.to(self._device))
        return self._output.detach().cpu().numpy()

    def backward(self, output_gradient: np.ndarray) -> np.ndarray:
        """Gradient `(parameter_count,)`, summed over the windows, after `forward`."""
        slope = torch.from_numpy(np.ascontiguousarray(output_gradient, np.float32))
        if self._graphs:
            return self._recorded[len(slope)].backward(slope)
        return self._slopes(self._output, slope.to(self._device)).cpu().numpy()

    def _computed(self, x):
        with _plain_products():
            return self._evaluate(self._config, self._tensors, x)

    def _slopes(self, output, slope):
        with _plain_products():
            found = torch.autograd.grad(output, self._tensors, slope, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(tensor) if each is None else each).ravel()
                for each, tensor in zip(found, self._tensors, strict=True)
            ]
        )


class _Graphs:
    """Forward and backward of one number of windows, recorded, in buffers that stay."""

    def __init__(self, compute, slopes, like):
        self._x = like.cuda()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMING_RUNS):
                output = compute(self._x)
                slopes(output, torch.zeros_like(output))
                del output
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._forward, stream=aside):
            output = compute(self._x)
        self._slope = torch.zeros_like(output)
        with torch.cuda.graph(self._backward, stream=aside, pool=self._forward.pool()):
            self._gradient = slopes(output, self._slope)
        self._output = output.detach()  # what autograd has noted is no longer needed

    def forward(self, x):
        self._x.copy_(x)
        self._forward.replay()
        return self._output.cpu().numpy()

    def backward(self, slope):
        self._slope.copy_(slope)
        self._backward.replay()
        return self._gradient.cpu().numpy()


class _plain_products:  # noqa: N801 - reads as a function
    """float32 throughout, one way of computing, and no word on where an LSTM's weights lie."""

    def __enter__(self):
        self._flags = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        self._flags.__enter__()
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", message="RNN module weights are not part")

    def __exit__(self, *failure):
        self._warnings.__exit__(*failure)
        self._flags.__exit__(*failure)
