import numpy as np
import pytest
from scipy import signal

from profiler.analysis.settling import LEVELS_DB, error_curve, settling, settling_curve
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.circuit.preamp import two_stages
from profiler.circuit.solver import Solver
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


@pytest.mark.parametrize("delay", [-3, 1, 20])
def test_a_delay_of_some_samples_hardly_matters(delay):
    plan = a440()
    plain = settle(plan, sagging(plan, 0.05))
    late = settle(plan, np.roll(sagging(plan, 0.05), delay))
    assert late.settling_ms == pytest.approx(plain.settling_ms, abs=1e3 / 440)
    assert late.settling.constants[0].tau_ms == pytest.approx(50.0, rel=0.02)


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
    assert any("noise floor is at -4" in warning for warning in analysis.warnings)
    assert burst.steady
    assert burst.zero_after_samples is None  # an amp's noise is never zero


def test_a_tone_that_is_still_drifting_has_no_settling_times():
    plan = a440()
    analysis = settling(captured(plan, sagging(plan, 0.5)))
    burst = analysis.bursts[0]
    assert not burst.steady
    assert set(burst.settling_ms.values()) == {None}
    assert burst.at_least_ms == pytest.approx(1000.0)
    assert burst.steady_after_samples is None
    assert any("lengthen the burst" in warning for warning in analysis.warnings)
    assert analysis.receptive_field.at_least
    assert analysis.receptive_field_samples >= 48_000
    assert "more than 1000 ms" in analysis.receptive_field.because


def test_a_drift_that_no_exponential_foresees_is_not_steady():
    plan = a440()
    t, _ = times(plan)
    for drift in (0.3 * t, np.sin(2 * np.pi * 0.3 * t)):
        assert not settle(plan, render(plan) * (1 + 0.2 * drift)).steady


def test_a_level_that_is_passed_well_before_the_end_is_told_though_the_rest_is_not():
    plan = a440()
    measured = settle(plan, sagging(plan, 0.2, amount=0.3))
    assert not measured.steady
    assert measured.settling_ms["-60"] is None
    for level in (-20, -30):
        expected = 1e3 * 0.2 * np.log(0.3 / 10 ** (level / 20))
        assert measured.settling_ms[str(level)] == pytest.approx(expected, abs=1e3 / 440)


def test_the_receptive_field_covers_the_longest_time_to_minus_40_db():
    plan = a440()
    analysis = settling(captured(plan, sagging(plan, 0.05)))
    longest = analysis.bursts[0].settling_ms["-40"] / 1e3
    assert analysis.receptive_field_samples / 48_000 == pytest.approx(longest + 0.005, abs=1e-4)
    because = analysis.receptive_field.because
    assert because.startswith("A tone of 440 Hz at -12 dBFS differs from its steady state by more")
    assert f"{1e3 * longest:.0f} ms" in because


def test_every_burst_is_measured_at_the_level_it_was_played():
    standard = load_signal("standard")
    bursts = tuple(s for s in standard.segments if s.kind == "burst")
    plan = standard.model_copy(update={"segments": bursts}).plan(48_000, gain_db=-6.0)
    analysis = settling(captured(plan, render(plan)))
    played = [s.level_dbfs - 6.0 for s in plan.segments if s.kind == "burst"]
    assert [burst.level_dbfs for burst in analysis.bursts] == played


def test_serialises_as_the_schema_says():
    plan = a440()
    record = settling(captured(plan, render(plan))).model_dump(by_alias=True)
    assert record["schema"] == "ampscope.settle/2"
    # what version 1 had is where it was
    assert {"sample_rate", "bursts", "receptive_field_samples", "warnings"} <= set(record)
    assert list(record["bursts"][0]["settling_ms"]) == ["-20", "-30", "-40", "-60"]


def test_the_curve_falls_by_the_sag_s_rate():
    plan = a440()
    (curve,) = settling_curve(captured(plan, sagging(plan, 0.05)))
    early = (curve.seconds > 0.02) & (curve.seconds < 0.2)
    slope = np.polyfit(curve.seconds[early], curve.error_db[early], 1)[0]
    assert slope == pytest.approx(-20 / np.log(10) / 0.05, rel=0.01)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("frequency", [110.0, 440.0, 1760.0])
def test_the_constant_of_a_sag_is_found_and_holds_in_its_interval(rate, frequency):
    plan = a440(rate, frequency=frequency)
    noise = 1e-4 * np.random.default_rng(rate).standard_normal(plan.frames)
    (constant,) = settle(plan, sagging(plan, 0.05, amount=0.2) + noise).settling.constants
    assert constant.tau_ms == pytest.approx(50.0, rel=0.05)
    assert np.log(constant.high_ms / constant.low_ms) < 0.1
    # within twice the interval: once in twenty the truth lies outside of it
    assert abs(np.log(constant.tau_ms / 50.0)) < np.log(constant.high_ms / constant.low_ms)


def coupled(plan, tau):
    """The stimulus through a capacitor: a first-order high-pass, made by impulse invariance."""
    pole = np.exp(-1 / (tau * plan.sample_rate))
    return signal.lfilter([(1 + pole) / 2, -(1 + pole) / 2], [1, -pole], render(plan))


@pytest.mark.parametrize("rate", [44_100, 48_000, 192_000])
@pytest.mark.parametrize("tau", [0.01, 0.02, 0.04])
def test_a_linear_tail_settles_and_rests_as_the_closed_form(tau, rate):
    # sin(wt) through s tau / (1 + s tau) is a sine of w tau / sqrt(1 + (w tau)^2), and a tail of
    # -w tau / (1 + (w tau)^2) exp(-t / tau), which the end of the tone leaves again, upside down
    plan = a440(rate)
    measured = settle(plan, coupled(plan, tau))
    w = 2 * np.pi * 440 * tau
    tail = 1 / np.sqrt(1 + w**2)  # re the steady peak
    for level in LEVELS_DB:
        expected = 1e3 * tau * max(np.log(tail * np.sqrt(2) / 10 ** (level / 20)), 0.0)
        assert measured.settling_ms[str(level)] == pytest.approx(expected, abs=1e3 / 440)
        assert measured.dc_settling_ms[str(level)] == pytest.approx(expected, abs=1e3 / 440)
        expected = 1e3 * tau * max(np.log(tail / 10 ** (level / 20)), 0.0)
        assert measured.rest_ms[str(level)] == pytest.approx(expected, abs=5.0)
    for constants in (measured.dc, measured.tail):
        (constant,) = constants.constants
        assert constant.tau_ms == pytest.approx(1e3 * tau, rel=0.05)
    assert measured.settling.constants == ()  # the waveform is steady from the beginning
    assert measured.coupling_ms is None


def test_a_slow_mean_settles_apart_from_the_waveform():
    plan = a440()
    t, after = times(plan)
    mean = np.where((t >= 0) & (after < 0), 0.1 * np.exp(-np.maximum(t, 0) / 0.06), 0.0)
    measured = settle(plan, sagging(plan, 0.02) + mean)
    # E of the mean: its square over the mean square of the tone
    tone = 10 ** (-12 / 20) / np.sqrt(2)
    for level in LEVELS_DB:
        expected = 1e3 * 0.06 * np.log(0.1 / tone / 10 ** (level / 20))
        assert measured.dc_settling_ms[str(level)] == pytest.approx(expected, abs=1e3 / 440)
    assert measured.settling_ms["-60"] == pytest.approx(measured.dc_settling_ms["-60"], abs=2.3)
    assert [round(c.tau_ms) for c in measured.dc.constants] == [60]
    assert [round(c.tau_ms) for c in measured.settling.constants] == [20]


def test_the_converters_coupling_is_told():
    plan = a440()
    response = signal.lfilter(*signal.butter(1, 2.0, "highpass", fs=48_000), render(plan))
    assert settle(plan, response).coupling_ms == pytest.approx(1e3 / (4 * np.pi), rel=0.03)


def test_a_sag_of_the_mean_is_not_taken_for_coupling():
    # it decays as slowly, but only while the tone sounds
    plan = a440()
    t, after = times(plan)
    mean = np.where((t >= 0) & (after < 0), 0.1 * np.exp(-np.maximum(t, 0) / 0.1), 0.0)
    measured = settle(plan, render(plan) + mean)
    assert measured.coupling_ms is None
    assert measured.dc_settling_ms["-40"] > 200.0


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_a_digital_device_is_exactly_zero_after_its_last_tap(rate):
    plan = a440(rate)
    taps = 0.9 ** np.arange(300) * np.exp(-np.arange(300) / 50)
    response = np.convolve(render(plan), taps)[: plan.frames]
    measured = settle(plan, response)
    assert measured.zero_after_samples <= 299
    assert (
        measured.zero_after_samples
        == 1 + np.flatnonzero(np.abs(response[2 * rate :].astype(np.float32)) > 2.0**-32)[-1]
    )
    assert measured.steady_after_samples <= 300 + rate / 440


def test_how_many_samples_until_the_noise_is_all_there_is():
    plan = a440()
    _, after = times(plan)
    noise = 1e-5 * np.random.default_rng(1).standard_normal(plan.frames)
    tail = np.where(after >= 0, 0.1 * np.exp(-np.maximum(after, 0) / 0.02), 0.0)
    measured = settle(plan, render(plan) + tail + noise)
    # 0.1 falls to three times the noise
    expected = 0.02 * np.log(0.1 / 3e-5)
    assert measured.silent_after_samples / 48_000 == pytest.approx(expected, abs=0.005)
    assert measured.zero_after_samples is None


def test_what_converters_ring_before_the_end_of_a_tone_is_not_unsteady():
    plan = a440(frequency=1760.0)
    taps = np.sinc(np.arange(-96, 97) + 0.43) * np.kaiser(193, 12.0)
    response = np.convolve(render(plan), taps / taps.sum(), mode="same")
    measured = settle(plan, response)
    assert measured.settling_ms["-60"] <= 1.0
    assert measured.steady_after_samples < 200


def test_hum_wavers_and_is_not_taken_for_unsteadiness():
    plan = a440()
    t, _ = times(plan)
    hum = sum(a * np.sin(2 * np.pi * f * t + f) for a, f in ((1e-3, 50), (5e-4, 150), (3e-4, 100)))
    measured = settle(plan, sagging(plan, 0.03) + hum)
    assert measured.steady
    # E falls to the hum, 45 dB below the tone
    assert measured.steady_after_samples / 48_000 < 0.03 * np.log(0.5 / 10 ** (-45 / 20))
    expected = 1e3 * 0.03 * np.log(0.5 / 10 ** (-30 / 20))
    assert measured.settling_ms["-30"] == pytest.approx(expected, abs=2e3 / 440)


def levels_of_a440(rate=48_000):
    burst = load_signal("a440").segments[0]
    segments = tuple(
        burst.model_copy(update={"name": f"{level}", "level_dbfs": level})
        for level in (-40.0, -6.0)
    )
    return SignalDefinition(name="levels", segments=segments).plan(rate)


def test_what_noise_hides_of_a_soft_tone_is_no_doubt_where_a_louder_one_was_seen():
    plan = levels_of_a440()
    noise = 10 ** (-75 / 20) * np.random.default_rng(0).standard_normal(plan.frames)
    analysis = settling(captured(plan, render(plan) + noise))
    assert [burst.settling_ms["-40"] is None for burst in analysis.bursts] == [True, False]
    assert not analysis.receptive_field.at_least
    # a loud tone that comes back soft is one
    backwards = captured(plan, np.roll(render(plan), 3 * 48_000) + noise)
    assert settling(backwards).receptive_field.at_least


def test_a_device_that_says_nothing_is_measured_as_nothing():
    plan = a440()
    analysis = settling(captured(plan, np.zeros(plan.frames)))
    assert analysis.bursts[0].settling.constants == ()
    assert analysis.memory.kind == "none"


def test_the_curve_falls_and_its_parts_add_up():
    t = np.arange(48_000) / 48_000
    template = np.sin(2 * np.pi * 440 * t)
    tone = template * (1 + 0.3 * np.exp(-t / 0.05)) + 0.1 * np.exp(-t / 0.1)
    _, error_db, dc_db = error_curve(tone, template, 48_000, 440.0)
    _, waveform_db, _ = error_curve(tone - 0.1 * np.exp(-t / 0.1), template, 48_000, 440.0)
    early = slice(0, 10_000)
    energy = 10 ** (waveform_db / 10) + 10 ** (dc_db / 10)
    # the two are orthogonal but for what changes within a period
    np.testing.assert_allclose(10 * np.log10(energy)[early], error_db[early], atol=0.1)


def test_pumps_are_measured_beside_the_bursts():
    definition = load_signal("settling")
    kept = tuple(
        s for s in definition.segments if s.name in ("A440 middle", "pump middle", "pump short")
    )
    plan = definition.model_copy(update={"segments": kept}).plan(48_000)
    analysis = settling(captured(plan, render(plan)))
    assert [recovery.recovery_ms for recovery in analysis.recoveries] == [0.0, 0.0]
    assert analysis.memory.kind == "none"
    assert all(preset.enough for preset in analysis.receptive_field.presets)


def test_a_plan_without_a_burst_is_refused():
    plan = load_signal("latency").plan(48_000)
    with pytest.raises(CaptureError, match="holds no burst"):
        settling(captured(plan, render(plan)))


def test_a_burst_too_short_to_show_a_steady_state_is_refused():
    plan = a440(tone_seconds=0.5)
    with pytest.raises(CaptureError, match="lengthen it"):
        settling(captured(plan, render(plan)))


# Two 12AX7 stages, at peaks in V: settling to -20, -30, -40 and -60 dB, rest to -60 dB, and the
# recovery of the gain within 0.1 dB, in ms.
PREAMP_MS = {
    0.05: ((5.7, 39.0, 67.0, 121.0), 170.0, 50.0),
    1.0: ((34.0, 62.0, 90.0, 145.0), 261.0, 140.0),
    4.0: (None, 288.0, 170.0),
}


@pytest.fixture(scope="module")
def preamp():
    """Bursts and pumps through the two stages, computed at 96 kHz, from rest each."""
    burst = {"kind": "burst", "use": "analyse", "before_seconds": 0.05, "after_seconds": 0.5}
    pump = {"kind": "pump", "use": "analyse", "before_seconds": 0.25, "after_seconds": 0.4}
    segments = []
    for volts in PREAMP_MS:
        level = 20 * np.log10(volts / 4.0)
        segments.append(burst | {"name": f"{volts} V", "level_dbfs": level})
        for seconds in (0.3, 0.02):
            segments.append(
                pump
                | {
                    "name": f"pump {volts} V {seconds} s",
                    "level_dbfs": level,
                    "probe_dbfs": level - 50.0,
                    "tone_seconds": seconds,
                }
            )
    definition = SignalDefinition.model_validate({"name": "preamp", "segments": segments})
    plan = definition.plan(96_000)
    played = 4.0 * render(plan).astype(np.float64)
    response = [Solver(two_stages(), 96_000).run(played[p.slice]) for p in plan.placed()]
    return settling(captured(plan, np.concatenate(response) / 300.0))


@pytest.mark.parametrize("volts", PREAMP_MS)
def test_the_two_stage_preamp_settles_rests_and_recovers_as_is_known(preamp, volts):
    settled, rest, recovery = PREAMP_MS[volts]
    number = list(PREAMP_MS).index(volts)
    burst = preamp.bursts[number]
    if settled is not None:
        # half a period is the difference between the middle of the last one and its end
        assert list(burst.settling_ms.values()) == pytest.approx(settled, rel=0.05, abs=1.3)
    assert burst.rest_ms["-60"] == pytest.approx(rest, rel=0.05)
    # a window of 9 ms by its middle; the known ones are a little earlier
    assert preamp.recoveries[2 * number].recovery_ms == pytest.approx(recovery, rel=0.06)


def test_the_two_stage_preamp_blocks_and_its_leak_gives_the_growth(preamp):
    memory = preamp.memory
    assert memory.kind == "blocking"
    assert memory.build_up > 0.9
    # 22 nF into 1 Mohm and the plate's resistance: modes of 23.5 and 25.7 ms
    assert memory.growth_ms == pytest.approx(24.5, rel=0.25)
    for pump in preamp.recoveries:
        assert pump.recovering.longest.tau_ms == pytest.approx(24.5, rel=0.12)
    longest = max(pump.recovery_ms for pump in preamp.recoveries)
    assert preamp.receptive_field.samples >= 96 * longest
