import numpy as np
import pytest

from profiler.analysis.settling import LEVELS_DB, settling, settling_curve
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render


def a440(rate=48_000, **changes):
    segment = load_signal("a440").segments[0].model_copy(update=changes)
    return SignalDefinition(name="a440", segments=(segment,)).plan(rate)


def captured(plan, response):
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    stimulus = render(plan).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus, response.astype(np.float32))


def times(plan):
    """Seconds from the first sample of the tone, and from the first after it."""
    burst = plan.segments[0]
    t = np.arange(plan.frames) / plan.sample_rate - burst.before_seconds
    return t, t - burst.tone_seconds


def sagging(plan, tau, amount=0.5):
    t, _ = times(plan)
    return render(plan) * (1 + amount * np.exp(-np.maximum(t, 0.0) / tau))


def settle(plan, response):
    return settling(captured(plan, response)).bursts[0]


@pytest.mark.parametrize("frequency", [440.0, 123.4])
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("tau", [0.02, 0.05, 0.1])
def test_an_exponential_sag_settles_as_the_closed_form_within_one_period(tau, rate, frequency):
    plan = a440(rate, frequency=frequency)
    measured = settle(plan, sagging(plan, tau))
    for level in LEVELS_DB:
        expected = 1e3 * tau * np.log(0.5 / 10 ** (level / 20))
        assert measured.settling_ms[str(level)] == pytest.approx(expected, abs=1e3 / frequency)
    assert measured.steady


@pytest.mark.parametrize("rate", [44_100, 48_000, 192_000])
def test_a_wire_settles_and_rests_at_once(rate):
    plan = a440(rate)
    measured = settle(plan, render(plan))
    assert set(measured.settling_ms.values()) == {0.0}
    assert set(measured.rest_ms.values()) == {0.0}


def test_the_converters_coupling_is_not_taken_for_the_device():
    # a first-order high pass of 2 Hz leaves tails of 80 ms behind the tone's edges
    from scipy import signal

    plan = a440()
    response = signal.lfilter(*signal.butter(1, 2.0, "highpass", fs=48_000), render(plan))
    measured = settle(plan, response)
    assert max(measured.settling_ms.values()) <= 1e3 / 440
    assert max(measured.rest_ms.values()) <= 1e3 / 440


@pytest.mark.parametrize("gain", [1e-3, -1.0, 3.0])
def test_does_not_depend_on_gain_or_polarity(gain):
    plan = a440()
    response = sagging(plan, 0.05)
    assert settle(plan, gain * response).settling_ms == pytest.approx(
        settle(plan, response).settling_ms, abs=0.05
    )


@pytest.mark.parametrize("tau", [0.01, 0.03])
def test_an_exponential_tail_rests_as_the_closed_form_within_a_window(tau):
    plan = a440()
    t, after = times(plan)
    tail = np.where(after >= 0, np.exp(-np.maximum(after, 0) / tau), 0.0)
    level = np.max(np.abs(render(plan)))
    response = render(plan) + level * tail * np.sin(2 * np.pi * 1000 * t)
    measured = settle(plan, response).rest_ms
    for eps in LEVELS_DB:  # the RMS of a sine is 3 dB below its peak
        expected = 1e3 * tau * np.log(10 ** (-eps / 20) / np.sqrt(2))
        assert measured[str(eps)] == pytest.approx(expected, abs=5.0)


def test_distortion_is_a_steady_state():
    plan = a440()
    measured = settle(plan, np.tanh(20 * render(plan)) + 0.2 * np.abs(render(plan)))
    assert max(measured.settling_ms.values()) <= 1e3 / 440
    assert measured.steady


def test_noise_sets_a_floor_and_what_lies_below_is_null_with_a_warning():
    plan = a440()
    noise = 10 ** (-60 / 20) * np.random.default_rng(0).standard_normal(plan.frames)
    analysis = settling(captured(plan, sagging(plan, 0.05) + noise))
    burst = analysis.bursts[0]
    # a tone of -12 dBFS peak has -15 dBFS RMS: the noise lies 45 dB below
    assert burst.floor_db == pytest.approx(-45.0, abs=1.0)
    assert burst.settling_ms["-60"] is None
    assert burst.rest_ms["-60"] is None
    expected = 1e3 * 0.05 * np.log(0.5 / 0.1)
    assert burst.settling_ms["-20"] == pytest.approx(expected, abs=2e3 / 440)
    assert any("noise floor is at -45 dB" in warning for warning in analysis.warnings)


def test_a_tone_that_is_still_drifting_has_no_settling_times():
    plan = a440()
    analysis = settling(captured(plan, sagging(plan, 0.5)))
    burst = analysis.bursts[0]
    assert not burst.steady
    assert set(burst.settling_ms.values()) == {None}
    assert any("lengthen the burst" in warning for warning in analysis.warnings)


def test_the_receptive_field_covers_the_longest_time_to_minus_40_db():
    plan = a440()
    analysis = settling(captured(plan, sagging(plan, 0.05)))
    longest = analysis.bursts[0].settling_ms["-40"] / 1e3
    assert analysis.receptive_field_samples / 48_000 == pytest.approx(longest + 0.005, abs=1e-4)


def test_every_burst_is_measured_at_the_level_it_was_played():
    plan = load_signal("standard").plan(48_000, gain_db=-6.0)
    analysis = settling(captured(plan, render(plan)))
    played = [s.level_dbfs - 6.0 for s in plan.segments if s.kind == "burst"]
    assert [burst.level_dbfs for burst in analysis.bursts] == played


def test_serialises_as_the_schema_says():
    plan = a440()
    record = settling(captured(plan, render(plan))).model_dump(by_alias=True)
    assert record["schema"] == "ampscope.settle/1"
    assert {"sample_rate", "bursts", "receptive_field_samples", "warnings"} <= set(record)
    assert list(record["bursts"][0]["settling_ms"]) == ["-20", "-30", "-40", "-60"]


def test_the_curve_falls_by_the_sag_s_rate():
    plan = a440()
    (curve,) = settling_curve(captured(plan, sagging(plan, 0.05)))
    early = (curve.seconds > 0.02) & (curve.seconds < 0.2)
    slope = np.polyfit(curve.seconds[early], curve.error_db[early], 1)[0]
    assert slope == pytest.approx(-20 / np.log(10) / 0.05, rel=0.01)


def test_a_plan_without_a_burst_is_refused():
    plan = load_signal("latency").plan(48_000)
    with pytest.raises(CaptureError, match="holds no burst"):
        settling(captured(plan, render(plan)))


def test_a_burst_too_short_to_show_a_steady_state_is_refused():
    plan = a440(tone_seconds=0.5)
    with pytest.raises(CaptureError, match="lengthen it"):
        settling(captured(plan, render(plan)))
