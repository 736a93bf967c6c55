"""What a network is trained on: windows of aligned captures, split as the plan says.

A window's *outputs* lie wholly inside stretches that were played for one use; its history
is whatever was played before. So nothing that is held out is ever a target, and the device
is in the state that the history put it in.

Stimulus and target are scaled to an RMS of 1 over the training part, so that learning rates
mean the same for every device and every send level; the export undoes it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from profiler.capture.alignment import AlignedCapture
from profiler.errors import TrainingError
from profiler.stimulus.plan import SignalPlan, Use
from profiler.units import rms_dbfs

SILENT_RMS = 1e-5  # -100 dBFS: below it a response is the converters' noise


class Stretch(NamedTuple):
    """Samples of one capture played for one use, `start:stop`."""

    capture: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """Captures as a network sees them."""

    sample_rate: int
    stimulus_scale: float  # RMS of the stimulus over the training part
    target_scale: float  # RMS of the response there
    history: int  # zeros that stand before every stimulus
    stimuli: tuple[torch.Tensor, ...]  # (history + n,), scaled
    targets: tuple[torch.Tensor, ...]  # (n,), scaled
    train: tuple[Stretch, ...]
    validate: tuple[Stretch, ...]

    def inputs(self, capture: int, start: int, length: int) -> torch.Tensor:
        """The samples that `length` outputs from `start` on depend on."""
        return self.stimuli[capture][start : start + self.history + length]

    def outputs(self, capture: int, start: int, length: int) -> torch.Tensor:
        """The target of those outputs."""
        return self.targets[capture][start : start + length]


def build_dataset(captures: Sequence[AlignedCapture], receptive_field: int) -> Dataset:
    """Captures, split by their plans.

    Raises
    ------
    TrainingError
        Captures of different rates, a plan without training or validation part, a response
        that is not finite, silent or constant where the network should learn.
    """
    rates = sorted({capture.sample_rate for capture in captures})
    if len(rates) != 1:
        raise TrainingError(
            f"the captures have {len(rates)} sample rates ({', '.join(map(str, rates))} Hz): train "
            "on captures of one rate"
        )
    train = _stretches(captures, "train")
    validate = _stretches(captures, "validate")
    for name, stretches in (("train", train), ("validate", validate)):
        if not stretches:
            raise TrainingError(
                f"the plan has no segment of use {name!r}: capture a signal that has one, such as "
                "standard or quick"
            )
    scale = _target_scale(captures, train)
    stimulus_scale = _rms([capture.stimulus for capture in captures], train)
    if stimulus_scale < SILENT_RMS:
        raise TrainingError(
            "the stimulus is silent where the network should learn: give the plan's training "
            "segments a level"
        )
    if _rms([capture.response for capture in captures], validate) < SILENT_RMS:
        raise TrainingError(
            "the response is silent where the model would be validated: check the take"
        )
    history = receptive_field - 1
    silence = np.zeros(history, np.float32)
    return Dataset(
        rates[0],
        stimulus_scale,
        scale,
        history,
        tuple(
            _tensor(np.concatenate([silence, capture.stimulus / stimulus_scale]))
            for capture in captures
        ),
        tuple(_tensor(capture.response / scale) for capture in captures),
        train,
        validate,
    )


def stretches_of(plan: SignalPlan, use: Use) -> list[tuple[int, int]]:
    """The samples played for a use, neighbouring segments joined; replicates are left out."""
    edges = [
        (placed.start, placed.stop)
        for placed in plan.used_for(use)
        if placed.segment.replicate_of is None
    ]
    joined: list[tuple[int, int]] = []
    for start, stop in edges:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined


def windows(stretches: Sequence[Stretch], length: int, offset: int = 0) -> list[tuple[int, int]]:
    """Windows of `length` outputs that do not overlap: `(capture, start)`.

    They begin `offset` samples into every stretch; what is left over at its end is not in
    any.
    """
    return [
        (stretch.capture, start)
        for stretch in stretches
        for start in range(stretch.start + offset, stretch.stop - length + 1, length)
    ]


def tiling(stretches: Sequence[Stretch], length: int) -> list[tuple[int, int, int]]:
    """Windows that hold every sample of the stretches once: `(capture, start, count)`."""
    return [
        (stretch.capture, start, min(length, stretch.stop - start))
        for stretch in stretches
        for start in range(stretch.start, stretch.stop, length)
    ]


def _stretches(captures, use):
    found = (stretches_of(capture.plan, use) for capture in captures)
    return tuple(
        Stretch(number, *edges)
        for number, edges in itertools.chain.from_iterable(
            ((number, edges) for edges in pairs) for number, pairs in enumerate(found)
        )
    )


def _target_scale(captures, train):
    parts = [captures[s.capture].response[s.start : s.stop] for s in train]
    if not all(np.isfinite(part).all() for part in parts):
        raise TrainingError("the response holds samples that are not numbers: take it again")
    rms = _rms([capture.response for capture in captures], train)
    if rms < SILENT_RMS:
        raise TrainingError(
            f"the response is silent where the network should learn "
            f"({rms_dbfs(np.concatenate(parts)):.0f} dBFS RMS, expected above -100): is the amp "
            "on and connected?"
        )
    if max(float(np.std(part)) for part in parts) < 1e-3 * rms:
        raise TrainingError(
            "the response is constant where the network should learn: is the amp connected?"
        )
    return rms


def _rms(signals, stretches):
    energy = sum(
        float(np.sum(np.square(signals[s.capture][s.start : s.stop], dtype=np.float64)))
        for s in stretches
    )
    return float(np.sqrt(energy / sum(s.stop - s.start for s in stretches)))


def _tensor(samples):
    return torch.from_numpy(np.array(samples, np.float32))
