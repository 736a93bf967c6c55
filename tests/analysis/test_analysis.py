import numpy as np
import pytest

from profiler.analysis.analysis import analyse
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000
NOISE_RMS = 1e-4


def captured(plan):
    """A wire with noise of -80 dBFS RMS."""
    stimulus = render(plan)
    alignment = Alignment(
        delay_samples=12.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    noise = NOISE_RMS * np.random.default_rng(0).standard_normal(len(stimulus))
    return AlignedCapture(plan, alignment, stimulus, (stimulus + noise).astype(np.float32))


def test_a_plan_without_a_quiet_section_is_analysed_and_lacks_only_the_noise_floor():
    analysis = analyse(captured(load_signal("a440").plan(RATE)), "hash")
    assert analysis.noise_floor_rms_dbfs is None
    assert any("no quiet section" in warning for warning in analysis.warnings)
    assert analysis.settling is not None


def test_a_plan_without_a_burst_lacks_only_the_settling_time():
    definition = load_signal("check")
    quiet_only = SignalDefinition(name="quiet only", segments=definition.segments[:4])
    analysis = analyse(captured(quiet_only.plan(RATE)), "hash")
    assert analysis.settling is None
    assert any("no burst" in warning for warning in analysis.warnings)
    assert analysis.noise_floor_rms_dbfs == pytest.approx(-80.0, abs=0.3)


def test_an_analysis_says_of_which_recording_and_delay_it_is():
    analysis = analyse(captured(load_signal("a440").plan(RATE)), "hash")
    assert (analysis.response_sha256, analysis.delay_samples) == ("hash", 12.0)
