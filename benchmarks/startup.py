"""How long until a command answers?

    python benchmarks/startup.py
    python benchmarks/startup.py --runs 20 --trainer path/to/python --json startup.json

Each command is started so many times, in turn with the others, and timed from start to end; the
first round is not counted, as disks warm up in it. Beside them the bare interpreter, which is part
of every line, the import of torch, which no command pays for that does not train or play, and, by
the Python of an environment in which it is installed, the import of the NAM trainer. Prints a
table, and writes a JSON object where `--json` says.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "ampscope --help": ["-m", "profiler", "--help"],
    "ampscope rig list": ["-m", "profiler", "rig", "list"],
    "ampscope signal show standard": ["-m", "profiler", "signal", "show", "standard"],
    "ampscope render MODEL IN OUT, 1 s": [
        "-m",
        "profiler",
        "render",
        "{model}",
        "{wav}",
        "{out}",
        "-y",
    ],
    "python -c pass": ["-c", "pass"],
    "python -c 'import torch'": ["-c", "import torch"],
}
TRAINER = "python -c 'import nam.train.core'"


def timed(command) -> float:
    """Seconds of a command, whose output is thrown away."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def measured(commands: dict[str, list], runs: int) -> dict[str, list[float]]:
    """Seconds of every run of every command."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            taken = timed(command)
            if run:
                seconds[name].append(taken)
    return seconds


def prepared(folder: Path, trainer: Path | None) -> dict[str, list]:
    """Every command with its files."""
    import numpy as np

    from profiler import wav
    from profiler.export import nam
    from profiler.model.wavenet import ARCHITECTURES, WaveNet, initial_weights

    config = ARCHITECTURES["standard"]
    files = {"model": folder / "model.nam", "wav": folder / "in.wav", "out": folder / "out.wav"}
    nam.write(files["model"], WaveNet(config, initial_weights(config, 0), 48_000), nam.Metadata())
    wav.write(files["wav"], np.zeros(48_000, np.float32), 48_000)
    commands = {
        name: [sys.executable, *(part.format(**files) for part in parts)]
        for name, parts in COMMANDS.items()
    }
    if trainer is not None:
        commands[TRAINER] = [str(trainer), "-c", "import nam.train.core"]
    return commands


def table(seconds: dict[str, list[float]]) -> str:
    """Least, median and most of every command."""
    lines = [f"{'':36} {'least':>7} {'median':>7} {'most':>7}  s"]
    for name, taken in seconds.items():
        values = (min(taken), statistics.median(taken), max(taken))
        lines.append(f"{name:36} " + " ".join(f"{value:7.3f}" for value in values))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--trainer", type=Path, help="Python that has the NAM trainer")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = measured(prepared(Path(folder), arguments.trainer), arguments.runs)
    print(table(seconds))
    if arguments.json:
        record = {"schema": "ampscope.startup/1", "seconds": seconds}
        arguments.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
