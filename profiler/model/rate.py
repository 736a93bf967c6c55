"""How fast this machine trains: measured by training.

What a processor is said to do and what it does on a network as small as these are different
things, so a real training runs for a moment, on noise through a curve, and its rate is read off.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from profiler import kernels
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.model import recorded
from profiler.model.architectures import ArchitectureName
from profiler.model.training import (
    TrainingOptions,
    TrainingProgress,
    available_cores,
    train,
)
from profiler.stimulus.plan import Noise, SignalPlan

SAMPLE_RATE = 48_000
TRAIN_SECONDS = 2.0
VALIDATE_SECONDS = 0.1  # after every step: a quarter of the time, as in a run of a minute
STEPS = 16  # the first, which warms up, is not counted


def measure_rate(architecture: ArchitectureName = "standard", steps: int = STEPS) -> float:
    """Samples a second that a training of the architecture gets through here.

    Outputs count, `TrainingOptions.window` times `batch` a step.

    Raises
    ------
    ValueError
        Fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"the first step warms up, so at least 2 are needed, got {steps}")
    rates: list[float] = []

    def listen(progress: TrainingProgress) -> None:
        rates.append(progress.samples_per_second)

    options = TrainingOptions(architecture=architecture, minutes=None, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        train([_capture()], Path(folder) / "model", options, on_progress=listen)
    return rates[-1]


def torch_summary() -> str:
    """Version of torch, and what trains here."""
    card = recorded.device()
    by_card = "" if card == "cpu" else f", {recorded.device_name(card)}"
    native = f"native kernels ({kernels.paths()[0]})" if kernels.available() else kernels.why_not()
    return f"{torch.__version__} on {available_cores()} cores, {native}{by_card}"


def _capture():
    """Noise through a curve: as quick to make as there is."""
    plan = SignalPlan(
        name="rate",
        sample_rate=SAMPLE_RATE,
        segments=(
            Noise(name="train", kind="noise", use="train", seconds=TRAIN_SECONDS),
            Noise(name="held out", kind="noise", use="validate", seconds=VALIDATE_SECONDS),
        ),
    )
    stimulus = 0.2 * np.random.default_rng(0).standard_normal(plan.frames)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = np.tanh(4.0 * stimulus).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)
