import numpy as np
import pytest
from scipy import signal

from profiler.analysis.gain_recovery import gain_recoveries, recovery_seconds
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import Pump, SignalDefinition
from profiler.stimulus.synthesis import render
from profiler.stimulus.tones import burst_edges


def pumped(rate=48_000, gain_db=0.0, **changes):
    values = {"level_dbfs": -6.0, "tone_seconds": 0.5, "after_seconds": 0.8} | changes
    pump = Pump(kind="pump", name="pump", use="analyse", **values)
    return SignalDefinition(name="p", segments=(pump,)).plan(rate, gain_db=gain_db)


def measured(plan, response):
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    capture = AlignedCapture(plan, alignment, render(plan), np.asarray(response, np.float32))
    (found,) = gain_recoveries(capture)
    return found


def since_the_end(plan):
    _, last = burst_edges(plan.segments[0], plan.sample_rate)
    return (np.arange(plan.frames) - last) / plan.sample_rate


def recovering(plan, tau, lost):
    """A gain that is `lost` of itself when the burst ends, and comes back."""
    t = since_the_end(plan)
    first, _ = burst_edges(plan.segments[0], plan.sample_rate)
    under = (t < 0) & (np.arange(plan.frames) >= first)
    gain = 1 - lost * np.where(t >= 0, np.exp(-np.maximum(t, 0) / tau), under)
    return gain * render(plan)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("tau", [0.02, 0.05, 0.15])
def test_recovery_to_a_tenth_of_a_db_is_as_the_closed_form(tau, rate):
    plan = pumped(rate)
    found = measured(plan, recovering(plan, tau, 0.3)).record
    expected = tau * np.log(0.3 / (1 - 10 ** (-0.1 / 20)))
    # the moments are a millisecond apart, and the window of 9 ms smears a little
    assert found.recovery_ms == pytest.approx(1e3 * expected, abs=1.5)
    assert found.under_db == pytest.approx(20 * np.log10(0.7), abs=0.01)
    (constant,) = found.recovering.constants
    assert constant.tau_ms == pytest.approx(1e3 * tau, rel=0.05)


def test_a_gain_that_was_cut_off_is_fitted_where_it_is_small_again():
    plan = pumped()
    t = since_the_end(plan)
    # dead for 60 ms, then back with 25 ms: what a blocked grid does
    gain = np.where(t < 0, 1.0, 1 - np.exp(-np.maximum(t - 0.06, 0) / 0.025))
    found = measured(plan, gain * render(plan)).record
    expected = 0.06 + 0.025 * np.log(1 / (1 - 10 ** (-0.1 / 20)))
    assert found.recovery_ms == pytest.approx(1e3 * expected, abs=2.0)
    assert found.departure_db < -40.0
    assert found.recovering.longest.tau_ms == pytest.approx(25.0, rel=0.05)


@pytest.mark.parametrize("probe_dbfs", [-60.0, -45.0])
def test_a_linear_tail_however_long_leaves_the_gain_alone(probe_dbfs):
    plan = pumped(probe_dbfs=probe_dbfs)
    played = render(plan).astype(np.float64)
    slow = signal.lfilter(*signal.butter(1, 8.0, "highpass", fs=48_000), played)
    slow += signal.lfilter(*signal.butter(1, 3.0, fs=48_000), played)
    found = measured(plan, slow).record
    assert abs(found.departure_db) < 0.01
    assert found.recovery_ms == 0.0
    assert abs(found.under_db) < 0.01
    assert found.recovering.constants == ()


def test_a_static_distortion_takes_gain_under_the_burst_only():
    plan = pumped()
    found = measured(plan, np.tanh(8 * render(plan))).record
    assert found.under_db < -6.0
    assert abs(found.departure_db) < 0.01
    assert found.recovery_ms == 0.0


def test_gain_that_grows_is_told_with_its_sign():
    plan = pumped()
    found = measured(plan, recovering(plan, 0.05, -0.2)).record
    assert found.departure_db == pytest.approx(20 * np.log10(1.2), abs=0.2)


@pytest.mark.parametrize("gain", [-1.0, 1e-3, 2.0])
def test_neither_gain_nor_polarity_of_the_recording_matters(gain):
    plan = pumped()
    plain = measured(plan, recovering(plan, 0.05, 0.3)).record
    other = measured(plan, gain * recovering(plan, 0.05, 0.3)).record
    assert other.recovery_ms == pytest.approx(plain.recovery_ms, abs=0.01)
    assert other.departure_db == pytest.approx(plain.departure_db, abs=1e-3)


def test_a_delay_of_some_samples_hardly_matters():
    plan = pumped()
    plain = measured(plan, recovering(plan, 0.05, 0.3)).record
    late = measured(plan, np.roll(recovering(plan, 0.05, 0.3), 24)).record
    assert late.recovery_ms == pytest.approx(plain.recovery_ms, abs=1.0)


def test_what_has_not_recovered_by_the_end_is_a_lower_bound():
    plan = pumped()
    found = measured(plan, recovering(plan, 0.5, 0.3))
    assert found.record.recovery_ms is None
    assert found.record.at_least_ms == pytest.approx(790.0, abs=10.0)
    assert "still -0.5" in found.warnings[0]
    assert "lengthen after_seconds" in found.warnings[0]


def test_noise_that_hides_a_tenth_of_a_db_is_averaged_and_then_told():
    plan = pumped()
    noise = np.random.default_rng(0).standard_normal(plan.frames)
    clean = recovering(plan, 0.05, 0.3)
    expected = measured(plan, clean).record.recovery_ms
    # the probe has -48 dBFS RMS; 9 ms of Hann hear noise 22 dB lower than it is
    faint = measured(plan, clean + 10 ** (-72 / 20) * noise).record
    assert faint.recovery_ms == pytest.approx(expected, rel=0.15)
    loud = measured(plan, clean + 10 ** (-50 / 20) * noise)
    assert loud.record.recovery_ms is None
    assert loud.record.at_least_ms is None
    assert "raise probe_dbfs" in loud.warnings[0]


def test_a_level_is_that_which_was_played():
    plan = pumped(gain_db=-6.0)
    assert measured(plan, render(plan)).record.level_dbfs == -12.0


def test_a_device_that_is_silent_has_no_gain_to_tell_of():
    plan = pumped()
    found = measured(plan, np.zeros(plan.frames)).record
    assert np.isfinite(found.departure_db)


def test_the_moment_of_recovery_lies_between_two():
    seconds = np.array([0.01, 0.02, 0.03, 0.04])
    assert recovery_seconds(seconds, np.array([-1.0, -0.3, -0.05, 0.0])) == pytest.approx(0.028)
    assert recovery_seconds(seconds, np.zeros(4)) == 0.0
    assert recovery_seconds(seconds, np.array([0.0, 0.0, 0.0, 0.2])) is None
