"""How well is a take of a shipped rig aligned, with a loopback and without?

    python benchmarks/alignment.py               200 takes of each rig: five minutes
    python benchmarks/alignment.py --seeds 10    a look

Each seed has a latency, a noise and a polarity of its own. Prints the largest error in samples and
the standard deviation, by the loopback and by the excess phase; exit 1 when one is beyond what the
documentation promises, or a polarity is wrong.
"""

import argparse
import functools
import sys
from collections.abc import Iterable

import numpy as np

from profiler.capture.alignment import align
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000
RIGS = ("wire", "tweed", "drive")
LARGEST_BY_LOOP = 0.01  # samples
LARGEST_BY_PHASE = 0.1


@functools.cache
def played():
    """The signal `latency` between markers, and its samples."""
    plan = load_signal("latency").plan(RATE).bracketed()
    return plan, render(plan).astype(np.float64)


def recorded(rig_name, **interface):
    """What a shipped simulated rig returns for `played()`, every channel."""
    plan, stimulus = played()
    rig = load_rig(rig_name)
    changed = rig.interface.model_copy(update=interface)
    blocks = []
    connect(rig.model_copy(update={"interface": changed})).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples.copy())
    )
    return np.concatenate(blocks).astype(np.float64)


def errors(rig_name: str, seeds: Iterable[int]) -> np.ndarray:
    """Errors of the delay in samples, `(seeds, 2)`: by the loopback, by the excess phase.

    A take whose polarity is wrong has errors of infinity.
    """
    plan, stimulus = played()
    found = []
    for seed in seeds:
        rng = np.random.default_rng([2, seed])
        truth = {
            "round_trip_samples": float(rng.uniform(100, 4000)),
            "polarity": int(rng.choice([-1, 1])),
            "noise_rms_dbfs": float(rng.uniform(-100, -60)),
            "loopback_channel": 2,
            "seed": seed,
        }
        response, loop = recorded(rig_name, **truth).T
        row = []
        for reference in (loop, None):
            alignment = align(plan, stimulus, response, loopback=reference)
            right = alignment.polarity == truth["polarity"]
            row.append(alignment.delay_samples - truth["round_trip_samples"] if right else np.inf)
        found.append(row)
    return np.array(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    options = parser.parse_args()
    within = True
    for rig_name in RIGS:
        found = errors(rig_name, range(options.seeds))
        largest, spread = np.max(np.abs(found), axis=0), np.std(found, axis=0)
        print(
            f"{rig_name:6}  loopback {largest[0]:.4f} at most, std {spread[0]:.1e};  "
            f"excess phase {largest[1]:.3f} at most, std {spread[1]:.1e}"
        )
        within &= bool(largest[0] < LARGEST_BY_LOOP and largest[1] <= LARGEST_BY_PHASE)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
