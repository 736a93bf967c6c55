import numpy as np
import pytest
import scipy.signal

from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import Noise, SignalPlan

ALIGNMENT = Alignment(
    delay_samples=0.0,
    sigma_samples=0.0,
    polarity=1,
    reference="given",
    drift_ppm=None,
    markers=(),
)


def overdriven(stimulus):
    """A device that is quickly computed and learned: a low pass into tanh."""
    return np.tanh(4.0 * scipy.signal.lfilter([0.3], [1.0, -0.7], stimulus))


def noise_plan(parts, sample_rate=48_000):
    """A plan of (name, use, seconds, replicate_of)."""
    segments = tuple(
        Noise(name=name, kind="noise", use=use, seconds=seconds, replicate_of=of)
        for name, use, seconds, of in parts
    )
    return SignalPlan(name="test", segments=segments, sample_rate=sample_rate)


@pytest.fixture
def make_capture():
    """A capture of `overdriven` for a plan of (name, use, seconds, replicate_of)."""

    def make(parts, *, device=overdriven, sample_rate=48_000, seed=0):
        plan = noise_plan(parts, sample_rate)
        stimulus = 0.2 * np.random.default_rng(seed).standard_normal(plan.frames)
        for placed in plan.placed():
            if placed.segment.replicate_of:
                original = next(p for p in plan.placed() if p.segment.name == "held out")
                stimulus[placed.slice] = stimulus[original.slice]
        response = device(stimulus).astype(np.float32)
        return AlignedCapture(plan, ALIGNMENT, stimulus.astype(np.float32), response)

    return make


@pytest.fixture
def capture(make_capture):
    """Two seconds to train on, half a second each to validate and to test."""
    return make_capture(
        [
            ("train", "train", 2.0, None),
            ("held out", "validate", 0.5, None),
            ("last", "test", 0.5, None),
        ]
    )
