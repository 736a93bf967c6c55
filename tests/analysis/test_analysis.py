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


def test_a_plan_with_a_burst_only_lacks_the_other_measures_and_says_so():
    analysis = analyse(captured(load_signal("a440").plan(RATE)), "hash")
    assert analysis.settling is not None
    for measure in ("response", "distortion", "intermodulation", "memory", "noise", "cabinet"):
        assert getattr(analysis, measure) is None
        said = [warning for warning in analysis.warnings if warning.startswith(f"{measure} not")]
        assert len(said) == 1
        assert "capture" in said[0] or measure == "cabinet"


def test_a_plan_without_a_burst_lacks_the_settling_time():
    definition = load_signal("check")
    quiet_only = SignalDefinition(name="quiet only", segments=definition.segments[:4])
    analysis = analyse(captured(quiet_only.plan(RATE)), "hash")
    assert analysis.settling is None
    assert any("no burst" in warning for warning in analysis.warnings)
    # 20 Hz to 20 kHz of what lies below 24 kHz
    assert analysis.noise.rms_dbfs == pytest.approx(-80.8, abs=0.3)


def test_an_analysis_says_of_which_recording_and_delay_it_is():
    analysis = analyse(captured(load_signal("a440").plan(RATE)), "hash")
    assert (analysis.response_sha256, analysis.delay_samples) == ("hash", 12.0)


def test_every_measure_is_announced_once_and_in_order():
    told = []
    analyse(
        captured(load_signal("a440").plan(RATE)), "hash", on_progress=lambda *at: told.append(at)
    )
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert len({name for _, name in told}) == len(told) == 8
