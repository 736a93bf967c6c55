"""How fast do the native kernels play, against the official player core?

    python benchmarks/stream_against_core.py
    python benchmarks/stream_against_core.py --seconds 60 --blocks 64 --json times.json

One core, blocks of 16 to 256 samples, state carried from block to block: the time that a block
takes (mean, all but one in a thousand, the longest) and the mean as times real time. Networks are
the A1 standard, both A2 sizes and LSTMs, with random weights that make them as loud as an amp; what
both play must agree to 1e-5 (the core evaluates its approximation of tanh, and so do the kernels
here).

The core is the one that `make test` installs: WebAssembly under Node, as browsers play it; the same
core built for a desktop is three to five times as fast. Prints a table, and writes a JSON object
where `--json` says. Do nothing else meanwhile: on a busy machine the longest block is the
scheduler's.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from profiler.kernels import LayerArray, Lstm, Network, Stream, paths

HERE = Path(__file__).parent
PLAYER = HERE.parent / ".venv/node/node_modules/@opendaw/nam-wasm"
SAMPLE_RATE = 48_000
WARMING_BLOCKS = 200  # which are not counted: clocks rise, caches fill, Node compiles


class LstmSizes(NamedTuple):
    """The shape of an LSTM."""

    hidden: int
    layers: int = 1
    outputs: int = 1


Shape = tuple[LayerArray, ...] | LstmSizes

_OCTAVES = tuple(2**octave for octave in range(10))
_A2_DILATIONS = (1, 3, 7, 17, 41, 101, 239)


def _a2(channels: int) -> tuple[LayerArray, ...]:
    return (
        LayerArray(
            channels,
            (*_A2_DILATIONS, *_A2_DILATIONS, 1, 13, *_A2_DILATIONS),
            kernel_sizes=(6,) * 14 + (15, 15) + (6,) * 7,
            head_taps=16,
            head_bias=True,
            activation="LeakyReLU",
        ),
    )


NETWORKS: dict[str, Shape] = {
    "A1 standard": (
        LayerArray(16, _OCTAVES, head_size=8),
        LayerArray(8, _OCTAVES, input_size=16, head_bias=True),
    ),
    "A2 Full": _a2(8),
    "A2 Lite": _a2(3),
    "LSTM 16": LstmSizes(16),
    "LSTM 24": LstmSizes(24),
    "LSTM 40": LstmSizes(40),
}


@dataclass(frozen=True)
class Timing:
    """Of one engine, network and size of block."""

    network: str
    engine: str
    block: int
    mean_us: float
    p999_us: float
    longest_us: float
    times_real_time: float
    difference: float  # the largest, from the core's output


def network_of(shape: Shape) -> Network | Lstm:
    """A shape, as the kernels take it."""
    if isinstance(shape, LstmSizes):
        return Lstm(shape.hidden, shape.layers, outputs=shape.outputs)
    return Network(shape)


def random_weights(shape: Shape, seed: int) -> np.ndarray:
    """Weights for a network whose output is about as loud as its input."""
    network = network_of(shape)
    random = np.random.default_rng(seed)
    weights = (0.15 * random.standard_normal(network.weight_count)).astype(np.float32)
    if isinstance(shape, LstmSizes):
        loudness = slice(len(weights) - shape.hidden - 1, None)  # head and bias
    else:
        loudness = slice(len(weights) - 1, None)  # head scale
        weights[loudness] = 1.0
    output = Stream(network, weights).process(signal_of(0.2))
    weights[loudness] *= 0.3 / np.std(output)
    return weights


def signal_of(seconds: float) -> np.ndarray:
    """Noise at a hot level, `(n,)` float32."""
    random = np.random.default_rng(0)
    return (0.3 * random.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)


def nam_of(shape: Shape, weights: np.ndarray) -> dict:
    """The content of a `.nam`; of a WaveNet in the keys that the NAM trainer writes since 0.7.0."""
    if isinstance(shape, LstmSizes):
        return _lstm_nam_of(shape, weights)

    def layer_of(array):
        layers = len(array.dilations)
        sizes = array.kernel_sizes
        curve = {"type": array.activation}
        if array.activation == "LeakyReLU":
            curve["negative_slope"] = array.slope
        unused = {"active": False, "shift": True, "groups": 1}
        films = ("conv", "input_mixin", "activation")
        places = [f"{film}_{place}_film" for film in films for place in ("pre", "post")]
        return {
            "input_size": array.input_size,
            "condition_size": array.condition_size,
            "head": {
                "out_channels": array.head_size,
                "kernel_size": array.head_taps,
                "bias": array.head_bias,
            },
            "channels": array.channels,
            "bottleneck": array.channels,
            "kernel_sizes": [sizes] * layers if isinstance(sizes, int) else list(sizes),
            "dilations": list(array.dilations),
            "activation": [curve] * layers,
            "gating_mode": ["gated" if array.gated else "none"] * layers,
            "secondary_activation": [{"type": "Sigmoid"} if array.gated else None] * layers,
            "layer1x1": {"active": True, "groups": 1},
            "head1x1": {"active": False, "out_channels": 1, "groups": 1},
            "groups_input": 1,
            "groups_input_mixin": 1,
            **dict.fromkeys((*places, "layer1x1_post_film", "head1x1_post_film"), unused),
            "slimmable": None,
        }

    return {
        "version": "0.7.0",
        "architecture": "WaveNet",
        "config": {
            "layers": [layer_of(array) for array in shape],
            "head": None,
            "head_scale": float(weights[-1]),
            "in_channels": 1,
        },
        "weights": [float(weight) for weight in weights],
        "sample_rate": SAMPLE_RATE,
    }


def _lstm_nam_of(sizes, weights):
    hidden, layers, outputs = sizes
    config = {"input_size": 1, "hidden_size": hidden, "num_layers": layers}
    return {
        "version": "0.7.0" if outputs > 1 else "0.5.4",
        "architecture": "LSTM",
        "config": config | ({"out_channels": outputs} if outputs > 1 else {}),
        "weights": [float(weight) for weight in weights],
        "sample_rate": SAMPLE_RATE,
    }


def core(content: dict, signal: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Output of the official core, and the microseconds of each block."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.nam").write_text(json.dumps(content))
        signal.tofile(folder / "in.f32")
        files = [folder / each for each in ("in.f32", "out.f32", "times.f32")]
        command = ["node", HERE / "stream_core.mjs", PLAYER, folder / "model.nam"]
        subprocess.run([*command, str(SAMPLE_RATE), str(block), *files], check=True)
        return np.fromfile(files[1], np.float32), np.fromfile(files[2], np.float32)


def kernels(
    shape: Shape, weights: np.ndarray, signal: np.ndarray, block: int, path: str
) -> tuple[np.ndarray, np.ndarray]:
    """Output of the kernels, and the microseconds of each block, a call from Python included."""
    stream = Stream(network_of(shape), weights, players_tanh=True, path=path)
    output = np.zeros_like(signal)
    count = len(signal) // block
    pairs = [(signal[n * block :][:block], output[n * block :][:block]) for n in range(count)]
    nanoseconds = np.zeros(count)
    gc.collect()
    gc.disable()
    try:
        for number, (heard, played) in enumerate(pairs):
            before = time.perf_counter_ns()
            stream.process_into(heard, played)
            nanoseconds[number] = time.perf_counter_ns() - before
    finally:
        gc.enable()
    return output, nanoseconds / 1000.0


def compare(name: str, seconds: float, blocks: Sequence[int]) -> list[Timing]:
    """Every engine on one network."""
    shape = NETWORKS[name]
    weights = random_weights(shape, seed=1)
    content, signal = nam_of(shape, weights), signal_of(seconds)
    timings = []
    for block in blocks:
        reference, times = core(content, signal, block)
        results = [("official core, WebAssembly", reference, times)]
        for path in paths():
            results.append((f"kernels, {path}", *kernels(shape, weights, signal, block, path)))
        whole = len(signal) // block * block
        for engine, output, taken in results:
            counted = taken[min(WARMING_BLOCKS, len(taken) // 2) :]
            mean = float(np.mean(counted))
            timings.append(
                Timing(
                    name,
                    engine,
                    block,
                    round(mean, 2),
                    round(float(np.quantile(counted, 0.999)), 2),
                    round(float(np.max(counted)), 2),
                    round(block / SAMPLE_RATE * 1e6 / mean, 1),
                    float(np.max(np.abs(output[:whole] - reference[:whole]))),
                )
            )
    return timings


def table(timings: Sequence[Timing]) -> str:
    """Lines to read."""
    lines = [
        f"{'network':12} {'engine':27} {'block':>5} {'deadline':>9} {'mean':>8} {'p99.9':>8} "
        f"{'longest':>8} {'x real time':>11}  difference"
    ]
    for t in timings:
        deadline = t.block / SAMPLE_RATE * 1e6
        lines.append(
            f"{t.network:12} {t.engine:27} {t.block:5} {deadline:6.0f} us {t.mean_us:8.1f} "
            f"{t.p999_us:8.1f} {t.longest_us:8.1f} {t.times_real_time:11.1f}  {t.difference:.1e}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of audio, for each line")
    parser.add_argument("--blocks", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    timings = [
        timing
        for name in arguments.networks
        for timing in compare(name, arguments.seconds, arguments.blocks)
    ]
    sys.stdout.write(table(timings) + "\n")
    if arguments.json:
        content = {"schema": "ampscope.stream-against-core/1"}
        content |= {"seconds": arguments.seconds, "timings": [asdict(t) for t in timings]}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    worst = max(timing.difference for timing in timings)
    if worst > 1e-5:
        sys.exit(f"the outputs differ by {worst:.1e}, expected at most 1e-5")


if __name__ == "__main__":
    main()
