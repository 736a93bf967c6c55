"""How much sooner is an error reached than by the NAM trainer?

    python benchmarks/train_against_nam.py tweed --seeds 0 1 2 --peer-seconds 300
    python benchmarks/train_against_nam.py captures/my-amp --json against-nam.json

Both train an A1 standard network on the same samples of the same pair, in turn, each alone on
the machine and in a process of its own. Ours is `ampscope train --preset standard`; the peer is
neural-amp-modeler 0.13 with its own loss, optimiser, schedule, batches, validation and
checkpoints (see nam_trainer.py), stopped after `--peer-seconds` of its 100 epochs.

Both are judged by one program on what neither was trained on: the ESR over the plan's
`validate` segments against time, and over its `test` segments, which no training has looked
at, for the best model of each run. Time is that of the training alone, without start and
imports; CPU time, over all cores, is told beside it, as it suffers less from what else the
machine does. Prints one table, and writes all courses as JSON.

The trainer runs in a virtual environment of its own, `.venv/nam-trainer`, which is made on the
first run: it borrows torch from this one and installs pytorch-lightning and librosa.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.analysis.error import esr
from profiler.capture.alignment import load_aligned
from profiler.capture.folder import CaptureFolder
from profiler.cli.options import planned
from profiler.model.dataset import stretches_of
from profiler.model.streaming import render
from profiler.model.training import PRESETS, TrainingOptions, available_cores, train
from profiler.model.wavenet import ARCHITECTURES, WaveNet
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig

LEVELS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001)
TRAINER = Path(__file__).with_name("nam_trainer.py")
ENVIRONMENT = Path(__file__).parents[1] / ".venv" / "nam-trainer"
EVERY_SECONDS = 1.0  # between two copies of the peer's weights
STANDARD = ARCHITECTURES["standard"]


def trainer_python():
    """The Python of the trainer's environment, made where it is not there."""
    python = ENVIRONMENT / "bin" / "python"
    works = [python, "-c", "import pytorch_lightning, librosa, nam.train.core"]
    if python.is_file() and subprocess.run(works, capture_output=True).returncode == 0:
        return python
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = ENVIRONMENT / "lib" / version / "site-packages"
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wanted = ["pytorch-lightning<=2.6.1", "librosa"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def captured(name, folder):
    """An aligned capture: of a folder that is there, or of a simulated rig."""
    if not Path(name).is_dir():
        from profiler.capture.take import take

        rig = load_rig(name)
        plan = planned("standard", rig.interface.sample_rate, None, rig=rig).bracketed()
        take(rig, plan, folder, connect(rig))
        name = folder
    return load_aligned(CaptureFolder.existing(Path(name)))


def ours(capture, seed, folder, options):
    """Course and best weights of our own training, in this process."""
    course = []
    cpu = time.process_time()

    def keep(progress):
        if len(progress.history) > len(course):
            row = progress.history[-1]
            course.append((row.seconds, time.process_time() - cpu, row.validation_esr))

    chosen = TrainingOptions(**options, seed=seed)
    model = train([capture], Path(folder) / f"ours-{seed}", chosen, on_progress=keep)
    return course, model


def theirs(capture, seed, folder, seconds, python):
    """Course and best weights of the peer's training, in another process."""
    folder = Path(folder) / f"theirs-{seed}"
    folder.mkdir()
    for name in ("stimulus", "response"):
        samples = getattr(capture, name)
        with wav.Writer(
            folder / f"{name}.wav", capture.sample_rate, 1, frames=len(samples)
        ) as file:
            file.write(samples)
    job = {
        "stimulus": str(folder / "stimulus.wav"),
        "response": str(folder / "response.wav"),
        "train": stretches_of(capture.plan, "train"),
        "validate": stretches_of(capture.plan, "validate"),
        "seed": seed,
        "seconds": seconds,
        "every": EVERY_SECONDS,
        "folder": str(folder),
    }
    (folder / "job.json").write_text(json.dumps(job))
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(
        [python, TRAINER, folder / "job.json", folder / "out.npz"],
        check=True,
        env=free,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    out = np.load(folder / "out.npz")
    course, best = [], None
    for wall, cpu, weights in zip(out["wall"], out["cpu"], out["weights"], strict=True):
        weights[-1] /= out["gain"]
        model = WaveNet(STANDARD, weights.astype(np.float32), capture.sample_rate)
        error = error_over(capture, model, "validate")
        course.append((float(wall), float(cpu), error))
        if best is None or error < best[0]:
            best = (error, model)
    return course, best[1]


def error_over(capture, model, use):
    """ESR over what was played for a use."""
    history = STANDARD.receptive_field - 1
    targets, estimates = [], []
    for start, stop in stretches_of(capture.plan, use):
        begin = max(0, start - history)
        targets.append(capture.response[start:stop])
        estimates.append(render(model, capture.stimulus[begin:stop])[start - begin :])
    return esr(np.concatenate(targets), np.concatenate(estimates))


def reached(course, level, column):
    """When a course first is at a level, in seconds; None for never."""
    return next((row[column] for row in course if row[2] <= level), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("capture", help="folder of a capture, or a simulated rig")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", choices=PRESETS, default="standard")
    parser.add_argument("--minutes", type=float, help="of ours, instead of the preset's")
    parser.add_argument("--peer-seconds", type=float, default=300.0)
    parser.add_argument("--trainer", type=Path, help="Python of an environment that is there")
    parser.add_argument("--json", type=Path, default=Path("train_against_nam.json"))
    arguments = parser.parse_args()
    options = dict(PRESETS[arguments.preset])
    if arguments.minutes:
        options["minutes"] = arguments.minutes

    python = arguments.trainer or trainer_python()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        capture = captured(arguments.capture, Path(folder) / "capture")
        for seed in arguments.seeds:
            before = os.getloadavg()[0]
            our_course, model = ours(capture, seed, folder, options)
            their_course, peer = theirs(capture, seed, folder, arguments.peer_seconds, python)
            runs.append(
                {
                    "seed": seed,
                    "load_before": before,
                    "engine": model.spec.engine,
                    "learning_rate": model.learning_rate,
                    "ours": our_course,
                    "theirs": their_course,
                    "our_test_esr": error_over(capture, model.network, "test"),
                    "their_test_esr": error_over(capture, peer, "test"),
                }
            )
            arguments.json.write_text(json.dumps(record(arguments, runs), indent=1))
    show(runs)


def record(arguments, runs):
    return {
        "schema": "ampscope.train-against-nam/1",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{platform.processor() or platform.machine()}, {available_cores()} cores",
        "capture": arguments.capture,
        "preset": arguments.preset,
        "columns": ["seconds", "CPU seconds", "validation ESR"],
        "runs": runs,
    }


def show(runs):
    def median(who, level, column):
        times = (reached(run[who], level, column) for run in runs)
        middle = statistics.median(math.inf if time is None else time for time in times)
        return None if math.isinf(middle) else middle

    def cell(value, form):
        return "never" if value is None else format(value, form)

    print(f"median of {len(runs)} seeds, seconds until the validation ESR is reached (CPU seconds)")
    print(f"{'ESR':>6} {'ours':>16} {'NAM trainer':>18} {'sooner':>16}")
    for level in LEVELS:
        row = [[median(who, level, column) for column in (0, 1)] for who in ("ours", "theirs")]
        (our_wall, our_cpu), (their_wall, their_cpu) = row
        ratios = [
            None if None in pair else pair[1] / pair[0]
            for pair in ((our_wall, their_wall), (our_cpu, their_cpu))
        ]
        print(
            f"{level:>6g} {cell(our_wall, '.1f'):>7} ({cell(our_cpu, '.1f'):>6})"
            f" {cell(their_wall, '.0f'):>9} ({cell(their_cpu, '.0f'):>6})"
            f" {cell(ratios[0], '.0f'):>7} ({cell(ratios[1], '.0f'):>6})"
        )
    for who, name in (("ours", "ours"), ("theirs", "NAM trainer")):
        best = statistics.median(min(row[2] for row in run[who]) for run in runs)
        key = "our_test_esr" if who == "ours" else "their_test_esr"
        test = statistics.median(run[key] for run in runs)
        end = statistics.median(run[who][-1][0] for run in runs)
        print(f"{name}: best validation ESR {best:.5f}, test ESR {test:.5f}, after {end:.0f} s")


if __name__ == "__main__":
    main()
