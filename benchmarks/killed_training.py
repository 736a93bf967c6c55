"""Does a training end where it would have ended, however often it is killed?

    python benchmarks/killed_training.py --moments 20

A small training is killed with SIGKILL at random moments, in whatever it is doing (a step, a
validation, the writing of its state), and begun again by the same call, until that many kills
have been survived; the last run is left alone. It must end with the very weights, history and best
step of the run that nobody disturbed. Prints a JSON object; exit 1 when anything differs.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.model import training
from profiler.model.training import TrainingOptions, load_trained, train
from profiler.stimulus.plan import Noise, SignalPlan

SAVE_SECONDS = 0.05  # often, so that many kills fall into the writing
LIFE_SECONDS = (0.05, 1.0)  # of a run that is killed, after its beginning


def capture() -> AlignedCapture:
    """Noise through a curve."""
    plan = SignalPlan(
        name="killed",
        sample_rate=48_000,
        segments=(
            Noise(name="train", kind="noise", use="train", seconds=4.0),
            Noise(name="held out", kind="noise", use="validate", seconds=0.5),
        ),
    )
    stimulus = (0.2 * np.random.default_rng(0).standard_normal(plan.frames)).astype(np.float32)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    return AlignedCapture(plan, alignment, stimulus, np.tanh(4.0 * stimulus))


def killed(pair: AlignedCapture, folder: Path, options: TrainingOptions, life_seconds: float):
    """Whether a run in a fork was still alive to be killed."""
    child = os.fork()
    if child == 0:
        train([pair], folder, options)
        os._exit(0)
    time.sleep(life_seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["auto", "native", "torch"], default="auto")
    parser.add_argument("--steps", type=int, default=4000)
    arguments = parser.parse_args()
    training.SAVE_SECONDS = SAVE_SECONDS
    moments = random.Random(arguments.seed)
    options = TrainingOptions(
        architecture="nano", minutes=None, steps=arguments.steps, engine=arguments.engine
    )
    pair = capture()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "killed"
        kills, steps = 0, []
        while kills < arguments.moments:
            if not killed(pair, folder, options, moments.uniform(*LIFE_SECONDS)):
                break  # it came to its end
            kills += 1
            if (folder / training.STATE_FILE).is_file():
                steps.append(training._load_facts(folder / training.STATE_FILE)["step"])
        ended = train([pair], folder, options)
        whole = train([pair], Path(place) / "whole", options)
        again = load_trained(folder)
    course = [(row.step, row.training_loss, row.validation_esr) for row in whole.history]
    same = {
        "weights": bool(np.array_equal(again.weights, whole.weights)),
        "best step": ended.step == whole.step,
        "history": [(r.step, r.training_loss, r.validation_esr) for r in ended.history] == course,
    }
    print(
        json.dumps(
            {
                "engine": whole.spec.engine,
                "steps": arguments.steps,
                "kills": kills,
                "saved_at_steps": steps,
                "validation_esr": whole.validation_esr,
                "same": same,
            },
            indent=1,
        )
    )
    sys.exit(0 if all(same.values()) else 1)


if __name__ == "__main__":
    main()
