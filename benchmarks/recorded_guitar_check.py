"""Does a model of a simulated rig hold on recorded guitar, which nothing was trained on?

    python benchmarks/recorded_guitar_check.py captures/demo
    python benchmarks/recorded_guitar_check.py model.nam tweed --limit 0.01

Recorded guitar is played through the simulated rig and through the exported `.nam`, hot and
at an average level. The rig's own round trip, which is known exactly, is taken out of its
response; nothing is fitted. Prints the ESR at each level; exit 1 when one is above the limit.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.recorded_guitar import SAMPLE_RATE, recorded_guitar
from profiler.analysis.error import esr
from profiler.capture.folder import CaptureFolder
from profiler.export.nam import load_model
from profiler.model.streaming import render
from profiler.rig.connect import connect
from profiler.rig.rig import Rig, load_rig

LEVELS_DBFS = (-1.0, -11.0)  # hot playing, and average
SECONDS = 24.0
SEED = 1
LIMIT = 0.02


def check(nam: Path, rig: Rig, *, seconds: float = SECONDS, seed: int = SEED) -> dict[float, float]:
    """ESR of a model by the peak level of the guitar, in dBFS, at which it was measured.

    Parameters
    ----------
    nam : Path
        The exported model.
    rig : Rig
        The simulated rig that it was made of. Levels above its ceiling are lowered to it.
    seconds : float
        Length of the performance, which is the same at every level.
    seed : int
        Draws another performance.

    Raises
    ------
    ValueError
        The rig is not simulated, or not at 48 kHz.
    """
    model = load_model(nam).network
    errors = {}
    for level_dbfs in LEVELS_DBFS:
        level_dbfs = min(level_dbfs, rig.maximum_send_dbfs)
        guitar = recorded_guitar(seconds, seed, level_dbfs=level_dbfs)
        errors[level_dbfs] = esr(response_of(rig, guitar), render(model, guitar))
    return errors


def response_of(rig: Rig, stimulus: np.ndarray) -> np.ndarray:
    """What a simulated rig returns, `(n,)` float64, without its round trip."""
    interface = rig.interface
    if interface.driver != "simulated" or interface.sample_rate != SAMPLE_RATE:
        raise ValueError(f"expected a simulated rig at {SAMPLE_RATE} Hz, got {interface}")
    delay = interface.round_trip_samples
    margin = int(delay) + 4096  # for the converters to ring out in
    padded = np.concatenate([stimulus, np.zeros(margin, stimulus.dtype)])
    blocks: list[np.ndarray] = []
    connect(rig).play_record(
        [padded], len(padded), lambda block: blocks.append(block.samples[:, 0])
    )
    response = np.concatenate(blocks).astype(np.float64)
    # a delay is a phase that grows with frequency; behind the margin nothing wraps around
    advance = np.exp(2j * np.pi * np.fft.rfftfreq(len(response)) * delay)
    return np.fft.irfft(np.fft.rfft(response) * advance, len(response))[: len(stimulus)]


def newest_model(folder: CaptureFolder) -> Path:
    """The `.nam` that was exported last from a capture."""
    exports = folder.models_path.glob("*/exports/*.nam")
    newest = max(exports, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise FileNotFoundError(f"{folder.path}: no .nam is exported from this capture")
    return newest


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a capture folder, or a .nam with its rig")
    parser.add_argument("rig", nargs="?", help="the rig of a .nam")
    parser.add_argument("--limit", type=float, default=LIMIT, help="highest ESR that passes")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    if (options.rig is None) != options.model.is_dir():
        parser.error("give a capture folder, or a .nam and its rig")
    if options.rig is None:
        folder = CaptureFolder.existing(options.model)
        nam, rig = newest_model(folder), folder.record().rig
    else:
        nam, rig = options.model, load_rig(options.rig)

    errors = check(nam, rig, seconds=options.seconds, seed=options.seed)
    print(f"{nam} on {options.seconds:g} s of recorded guitar, limit {options.limit:g}")
    for level_dbfs, error in errors.items():
        verdict = "passed" if error <= options.limit else "failed"
        print(f"  peak {level_dbfs:g} dBFS  ESR {error:.5f}  {verdict}")
    return int(max(errors.values()) > options.limit)


if __name__ == "__main__":
    sys.exit(main())
