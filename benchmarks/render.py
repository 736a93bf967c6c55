"""How fast is a recording rendered, and how much memory does that take?

    python -m benchmarks.render
    python -m benchmarks.render --seconds 600 --networks "LSTM 24" --json render.json

A minute of noise goes through a model of each kind as `ampscope render` does it: from a `.nam` and
a WAV file into a WAV file, by the native kernels and by torch, each in a process of its own and on
one core. Beside them the official core, WebAssembly under Node as `make test` installs it, which
has the whole recording in memory and writes no WAV; it is left out where it is not installed.
Networks and weights are those of `stream_against_core.py`. What the kernels and torch write must
agree to 1e-5.

Prints a table of the seconds, times real time, and the largest resident memory, of which Python and
its packages are `before_mb`; writes a JSON object where `--json` says.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.long_take import resident_mb
from benchmarks.stream_against_core import (
    NETWORKS,
    PLAYER,
    SAMPLE_RATE,
    core,
    nam_of,
    random_weights,
    signal_of,
)
from profiler import wav

KINDS = ("A1 standard", "A2 Full", "LSTM 24")
ENGINES = ("native", "torch")
CORE = "official core, WebAssembly"
CORE_BLOCK = 128  # the most that it plays in a call


@dataclass(frozen=True)
class Rendering:
    """Of one network by one engine."""

    network: str
    engine: str
    seconds: float
    times_real_time: float
    before_mb: float
    peak_mb: float


def rendered(network: str, engine: str, folder: Path) -> Rendering:
    """Render `in.wav` of a folder in this very process, and say what it took."""
    if engine == CORE:
        return _by_the_core(network, folder)
    from profiler.export.nam import read
    from profiler.model.rendering import render_file

    model = read(folder / f"{network}.nam").network
    destination = folder / f"{network} {engine}.wav"
    before_mb = resident_mb()
    begun = time.perf_counter()
    done = render_file(model, folder / "in.wav", destination, engine=engine)
    seconds = time.perf_counter() - begun
    return Rendering(
        network,
        engine,
        seconds,
        done.frames / SAMPLE_RATE / seconds,
        before_mb,
        resident_mb(),
    )


def _by_the_core(network, folder):
    content = json.loads((folder / f"{network}.nam").read_text(encoding="utf-8"))
    signal = np.concatenate([block[:, 0] for block in wav.blocks(folder / "in.wav")])
    _, microseconds = core(content, signal, CORE_BLOCK)
    seconds = float(np.sum(microseconds, dtype=np.float64)) / 1e6
    # Node's, which has long outgrown what this process, without torch, had when it forked.
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return Rendering(network, CORE, seconds, len(signal) / SAMPLE_RATE / seconds, 0.0, peak_mb)


def in_a_process(network: str, engine: str, folder: Path) -> Rendering:
    """As `rendered`, in a process of its own, on one core."""
    program = (
        "import json, sys; from dataclasses import asdict; from pathlib import Path; "
        "from benchmarks.render import rendered; "
        "print(json.dumps(asdict(rendered(sys.argv[1], sys.argv[2], Path(sys.argv[3])))))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, network, engine, str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return Rendering(**json.loads(run.stdout))


def measured(networks: Sequence[str], seconds: float) -> tuple[list[Rendering], float]:
    """Every network by every engine, and the largest difference of the kernels from torch."""
    engines = [*ENGINES, *([CORE] if PLAYER.is_dir() else [])]
    renderings, worst = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wav.write(folder / "in.wav", signal_of(seconds), SAMPLE_RATE)
        for network in networks:
            content = nam_of(NETWORKS[network], random_weights(NETWORKS[network], seed=1))
            (folder / f"{network}.nam").write_text(json.dumps(content), encoding="utf-8")
            renderings += [in_a_process(network, engine, folder) for engine in engines]
            native, torch = (wav.blocks(folder / f"{network} {each}.wav") for each in ENGINES)
            for ours, theirs in zip(native, torch, strict=True):
                worst = max(worst, float(np.max(np.abs(ours - theirs))))
    return renderings, worst


def table(renderings: Sequence[Rendering]) -> str:
    """Lines to read."""
    lines = [f"{'network':12} {'engine':27} {'seconds':>8} {'x real time':>11} {'memory':>8}"]
    for each in renderings:
        lines.append(
            f"{each.network:12} {each.engine:27} {each.seconds:8.2f} {each.times_real_time:11.1f} "
            f"{each.peak_mb:5.0f} MB"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(KINDS))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    chosen = parser.parse_args(arguments)
    renderings, worst = measured(chosen.networks, chosen.seconds)
    sys.stdout.write(table(renderings) + "\n")
    if chosen.json:
        content = {"schema": "ampscope.render/1", "seconds": chosen.seconds, "difference": worst}
        content |= {"renderings": [asdict(each) for each in renderings]}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if worst > 1e-5:
        sys.stderr.write(f"the kernels and torch differ by {worst:.1e}, expected at most 1e-5\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
