import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special

from profiler.analysis.dynamics import Dynamics, crest_factor_db, dynamics, step_courses
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalDefinition, load_signal
from profiler.stimulus.synthesis import render
from profiler.stimulus.tones import level_step_edges

RATE = 48_000
LADDER = {
    "kind": "staircase",
    "name": "ladder",
    "use": "analyse",
    "level_dbfs": -3.0,
    "lowest_dbfs": -63.0,
    "steps": 21,
    "seconds": 3.15,
}
STEP = {"kind": "level-step", "name": "step", "use": "analyse", "level_dbfs": -6.0}
STEP |= {"soft_dbfs": -26.0, "before_seconds": 0.2, "loud_seconds": 0.6, "after_seconds": 0.6}
GUITAR = {"kind": "guitar", "name": "guitar", "use": "train", "seconds": 2.0}


def plan_of(*segments, rate=RATE, gain_db=0.0):
    definition = SignalDefinition.model_validate({"name": "mine", "segments": segments})
    return definition.plan(rate, gain_db=gain_db)


def captured(plan, device, stimulus=None):
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    stimulus = render(plan) if stimulus is None else stimulus
    response = np.asarray(device(stimulus.astype(np.float64)), np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)


def curve(device, **changes):
    (found,) = dynamics(captured(plan_of(LADDER | changes), device)).curves
    return found


# -- level curves -----------------------------------------------------------------------


def describing_function(function, amplitude):
    """Fundamental of function(a sin) over a, by quadrature."""
    value, _ = scipy.integrate.quad(
        lambda t: function(amplitude * np.sin(t)) * np.sin(t), 0.0, np.pi, limit=200
    )
    return 2.0 / np.pi * value / amplitude


@pytest.mark.parametrize(
    ("rate", "frequency"), [(44_100, 440.0), (48_000, 110.0), (96_000, 1760.0)]
)
def test_the_gain_of_a_tanh_is_its_describing_function(rate, frequency):
    plan = plan_of(LADDER | {"frequency": frequency}, rate=rate)
    (found,) = dynamics(captured(plan, lambda x: np.tanh(3.0 * x))).curves
    for point in found.points:
        amplitude = 10 ** (point.played_dbfs / 20)
        truth = 20 * np.log10(describing_function(lambda v: np.tanh(3.0 * v), amplitude))
        # float32 of a tone at -53 dBFS: 1e-4 dB; what folds back of 1760 Hz: less
        assert point.gain_db == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize("by_db", [1.0, 3.0])
def test_the_knee_is_where_the_describing_function_has_fallen_so_far(by_db):
    found = curve(lambda x: np.tanh(3.0 * x))

    def fallen(level):
        amplitude = 3.0 * 10 ** (level / 20)
        return 20 * np.log10(describing_function(np.tanh, amplitude)) + by_db

    truth = scipy.optimize.brentq(fallen, -40.0, 20.0)
    measured = {1.0: found.fallen_1db_dbfs, 3.0: found.fallen_3db_dbfs}[by_db]
    # between levels 3 dB apart the gain is read by a cubic
    assert measured == pytest.approx(truth, abs=0.05)
    assert found.small_signal_gain_db == pytest.approx(20 * np.log10(3.0), abs=0.02)


def test_fundamental_and_harmonics_of_a_sine_shaper_are_bessel_functions():
    found = curve(lambda x: np.sin(2.0 * x))
    for point in found.points[-5:]:
        drive = 2.0 * 10 ** (point.played_dbfs / 20)
        peaks = 2.0 * scipy.special.jv([1, 3, 5, 7], drive)
        first, third, fifth, _ = peaks
        assert point.level_dbfs == pytest.approx(20 * np.log10(first), abs=1e-4)
        assert point.harmonic_ratios[1] == pytest.approx(third / first, rel=1e-4)
        assert point.harmonic_ratios[3] == pytest.approx(fifth / first, rel=1e-2)
        assert point.harmonic_ratios[0] is None
        assert point.centroid == pytest.approx(peaks @ [1, 3, 5, 7] / np.sum(peaks), rel=1e-4)
        assert point.rms_dbfs == pytest.approx(10 * np.log10(np.sum(peaks**2) / 2), abs=1e-4)


@pytest.mark.parametrize(("threshold", "ratio"), [(-30.0, 4.0), (-22.0, 2.5), (-40.0, 20.0)])
def test_a_compressor_has_its_threshold_and_its_ratio(threshold, ratio):
    plan = plan_of(LADDER)

    def device(x):
        # an ideal one: it knows the level of the step
        steps = np.array(plan.segments[0].levels_dbfs)
        level = np.repeat(steps, len(x) // len(steps))
        over = np.maximum(level - threshold, 0.0)
        return x * 10 ** (-over * (1.0 - 1.0 / ratio) / 20)

    (found,) = dynamics(captured(plan, device)).curves
    assert found.threshold_dbfs == pytest.approx(threshold, abs=0.02)
    assert found.ratio == pytest.approx(ratio, rel=2e-3)
    assert found.fallen_3db_dbfs == pytest.approx(threshold + 3.0 / (1.0 - 1.0 / ratio), abs=0.1)


def test_a_limiter_has_no_ratio_and_its_slope_is_none():
    found = curve(lambda x: np.clip(100.0 * x, -0.5, 0.5))
    assert found.ratio is None
    assert found.slope_db_per_db == pytest.approx(0.0, abs=0.01)
    # the fundamental of the square that is left, re the gain of 40 dB
    assert found.threshold_dbfs == pytest.approx(20 * np.log10(0.5 * 4 / np.pi / 100), abs=0.2)


def test_a_wire_has_no_knee():
    found = curve(lambda x: x)
    assert found.small_signal_gain_db == pytest.approx(0.0, abs=1e-4)
    assert (found.fallen_1db_dbfs, found.fallen_3db_dbfs, found.threshold_dbfs) == (None,) * 3
    assert found.touch.level_db_per_db == pytest.approx(1.0, abs=1e-4)
    assert found.touch.second_db_per_db is None


def test_mean_and_second_harmonic_of_a_square_law_grow_alike_with_the_level():
    found = curve(lambda x: x + 0.2 * x**2)
    for point in found.points[8:]:
        expected = 0.2 * 10 ** (point.played_dbfs / 20) / 2
        assert point.mean_ratio == pytest.approx(expected, rel=1e-3)
        assert point.harmonic_ratios[0] == pytest.approx(expected, rel=1e-3)


def test_touch_is_one_db_a_db_for_the_second_harmonic_and_two_for_the_third():
    # so little of them that the fundamental does not bend
    touch = curve(lambda x: x + 0.05 * x**2 + 0.02 * x**3).touch
    assert touch.nominal_dbfs == -18.0
    assert touch.level_db_per_db == pytest.approx(1.0, abs=1e-3)
    assert touch.second_db_per_db == pytest.approx(1.0, abs=2e-3)
    assert touch.third_db_per_db == pytest.approx(2.0, abs=5e-3)


def test_brightness_rises_with_the_level_of_what_bends_and_level_rises_less():
    touch = curve(lambda x: np.tanh(4.0 * x)).touch
    assert touch.centroid_octaves_per_db > 0.005
    assert 0.7 < touch.level_db_per_db < 0.99


def test_the_nominal_level_moves_with_a_signal_that_is_played_softer():
    plan = plan_of(LADDER, gain_db=-10.0)
    (found,) = dynamics(captured(plan, lambda x: x)).curves
    assert found.touch.nominal_dbfs == -28.0
    assert found.points[-1].played_dbfs == pytest.approx(-13.0)


def test_steps_that_a_gate_swallows_are_none_and_no_part_of_the_curve():
    def gated(x):
        loud = np.abs(x) > 0.0
        steps = x.reshape(21, -1)
        opened = np.max(np.abs(steps), axis=1) > 10 ** (-46 / 20)
        return np.where(np.repeat(opened, steps.shape[1]) & loud, np.tanh(2 * x), 0.0)

    noise = 1e-5 * np.random.default_rng(0).standard_normal(round(3.15 * RATE))
    found = curve(lambda x: gated(x) + noise)
    assert [p.gain_db is None for p in found.points] == [True] * 6 + [False] * 15
    assert found.small_signal_gain_db == pytest.approx(20 * np.log10(2.0), abs=0.02)
    assert found.fallen_1db_dbfs is not None


def test_steps_that_an_expander_pulls_down_are_told_but_are_no_part_of_the_curve():
    def expanded(x):
        steps = x.reshape(21, -1)
        soft = np.max(np.abs(steps), axis=1) < 10 ** (-46 / 20)
        return np.tanh(2 * x) * np.where(np.repeat(soft, steps.shape[1]), 0.25, 1.0)

    found = curve(expanded)
    assert found.points[2].gain_db == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert found.small_signal_gain_db == pytest.approx(20 * np.log10(2.0), abs=0.02)
    plain = curve(lambda x: np.tanh(2 * x))
    assert found.fallen_1db_dbfs == pytest.approx(plain.fallen_1db_dbfs, abs=0.02)


def test_harmonics_that_noise_hides_are_none():
    noise = 1e-3 * np.random.default_rng(0).standard_normal(round(3.15 * RATE))
    found = curve(lambda x: np.tanh(2 * x) + noise)
    assert all(p.harmonic_ratios == (None,) * 4 for p in found.points[3:8])
    assert found.points[-1].harmonic_ratios[1] is not None
    assert found.points[0].level_sigma_db is None or found.points[0].level_sigma_db > 0.1


def test_a_device_that_bends_from_the_first_step_on_is_said_to():
    found = dynamics(captured(plan_of(LADDER), lambda x: np.tanh(3000.0 * x)))
    assert any("lower bound: begin softer" in warning for warning in found.warnings)


def test_a_level_that_still_moves_within_its_steps_is_said_to():
    def sagging(x):
        seconds = np.arange(len(x)) / RATE % 0.15
        return x * 10 ** (-np.where(np.abs(x) >= 0, 2.0, 0.0) * (1 - np.exp(-seconds / 0.1)) / 20)

    found = dynamics(captured(plan_of(LADDER), sagging))
    assert any("longer steps" in warning for warning in found.warnings)
    # 2 dB (e^-0.075 - e^-0.11)/0.1 ... from the mean of one half to that of the other
    assert found.curves[0].points[5].drift_db == pytest.approx(-0.23, abs=0.03)


# -- level steps ------------------------------------------------------------------------


def compressor(plan, *, attack, release, by_db=8.0):
    """A gain that goes to -8 dB in the loud tone, exponentially in dB; the truth is its taus."""
    (placed,) = plan.of_kind("level-step")
    rate = plan.sample_rate
    up, down, _ = level_step_edges(placed.segment, rate)

    def device(x):
        since_up, since_down = (np.arange(len(x)) - edge for edge in (up, down))
        gain_db = np.zeros(len(x))
        loud, after = (since_up >= 0) & (since_down < 0), since_down >= 0
        gain_db[loud] = -by_db * (1 - np.exp(-since_up[loud] / (attack * rate)))
        gain_db[after] = -by_db * np.exp(-since_down[after] / (release * rate))
        return x * 10 ** (gain_db / 20)

    return device


def steps_of(device, plan):
    return dynamics(captured(plan, device)).steps


@pytest.mark.parametrize(("rate", "frequency"), [(44_100, 440.0), (48_000, 437.3), (96_000, 440.0)])
@pytest.mark.parametrize(("attack", "release"), [(0.01, 0.1), (0.03, 0.05)])
def test_a_compressor_has_its_attack_and_its_release(rate, frequency, attack, release):
    plan = plan_of(STEP | {"frequency": frequency}, rate=rate)
    up, down = steps_of(compressor(plan, attack=attack, release=release), plan)
    half_period = 0.5e3 / frequency
    for step, tau in ((up, 1e3 * attack), (down, 1e3 * release)):
        # the gain it settles at is the mean of the last quarter: e^-4.5 is left at 100 ms
        assert step.time_63_ms == pytest.approx(tau, rel=0.02, abs=half_period)
        assert step.time_90_ms == pytest.approx(tau * np.log(10), rel=0.03, abs=half_period)
        assert step.steady
    assert up.gain_before_db == pytest.approx(0.0, abs=1e-3)
    assert up.gain_after_db == pytest.approx(-8.0, abs=0.01)
    assert up.overshoot_db == pytest.approx(8.0 * np.exp(-1 / (frequency * attack)), rel=0.02)
    assert down.overshoot_db == pytest.approx(-8.0 * np.exp(-1 / (frequency * release)), rel=0.02)
    assert (up.direction, up.from_dbfs, up.to_dbfs) == ("up", -26.0, -6.0)


def test_what_bends_at_once_takes_no_time_and_does_not_overshoot():
    plan = plan_of(STEP)
    for step in steps_of(lambda x: np.tanh(4.0 * x), plan):
        assert (step.time_63_ms, step.time_90_ms) == (0.0, 0.0)
        assert abs(step.overshoot_db) < 1e-3


def test_a_wire_does_not_change_and_so_has_no_times():
    for step in steps_of(lambda x: x, plan_of(STEP)):
        assert (step.time_63_ms, step.time_90_ms) == (None, None)
        assert step.steady


@pytest.mark.parametrize("gain", [0.01, -3.0])
def test_neither_gain_nor_polarity_of_the_recording_changes_what_is_told_of_time(gain):
    plan = plan_of(LADDER, STEP)

    def device(x):
        return np.tanh(3 * x + 0.1 * x**2) + 0.02 * x**2

    one = dynamics(captured(plan, device))
    other = dynamics(captured(plan, lambda x: gain * device(x)))
    gain_db, sign = 20 * np.log10(abs(gain)), np.sign(gain)
    for a, b in zip(one.steps, other.steps, strict=True):
        assert b.gain_after_db == pytest.approx(a.gain_after_db + gain_db, abs=1e-3)
        assert b.overshoot_db == pytest.approx(a.overshoot_db, abs=1e-3)
        assert (b.time_63_ms, b.time_90_ms) == (a.time_63_ms, a.time_90_ms)
        assert b.second_after == pytest.approx(a.second_after, rel=1e-3)
        assert b.mean_after == pytest.approx(sign * a.mean_after, rel=1e-3)
    (a,), (b,) = one.curves, other.curves
    assert b.small_signal_gain_db == pytest.approx(a.small_signal_gain_db + gain_db, abs=1e-3)
    assert b.fallen_1db_dbfs == pytest.approx(a.fallen_1db_dbfs, abs=2e-3)
    assert b.threshold_dbfs == pytest.approx(a.threshold_dbfs, abs=2e-3)
    assert b.touch.third_db_per_db == pytest.approx(a.touch.third_db_per_db, abs=2e-3)


def test_a_few_samples_of_delay_change_nothing_that_matters():
    plan = plan_of(LADDER, STEP)
    one, other = (
        dynamics(captured(plan, lambda x, k=k: np.roll(np.tanh(3 * x), k))) for k in (0, 5)
    )
    for a, b in zip(one.steps, other.steps, strict=True):
        assert b.gain_after_db == pytest.approx(a.gain_after_db, abs=1e-3)
        assert (b.time_63_ms, b.time_90_ms) == (0.0, 0.0)
    assert other.curves[0].fallen_3db_dbfs == pytest.approx(one.curves[0].fallen_3db_dbfs, abs=1e-3)


def test_a_bias_that_shifts_is_seen_in_mean_and_second_harmonic_and_comes_back():
    plan = plan_of(STEP)
    (placed,) = plan.of_kind("level-step")
    up, down, _ = level_step_edges(placed.segment, RATE)

    def device(x):
        since = np.arange(len(x)) - up
        bend = np.where(
            (since >= 0) & (np.arange(len(x)) < down), np.exp(-since / (0.05 * RATE)), 0
        )
        return x + 0.4 * bend * x**2

    step, _ = steps_of(device, plan)
    peak = 10 ** (-6 / 20)
    expected = 0.2 * peak * np.exp(-1 / (440 * 0.05))  # one period after the step
    assert step.second_at_once == pytest.approx(expected, rel=0.02)
    assert step.mean_furthest == pytest.approx(expected, rel=0.02)
    assert step.second_after < 0.001
    assert abs(step.mean_after) < 0.001
    assert step.second_before < 0.001
    course = step_courses(captured(plan, device))[0]
    at = np.argmin(np.abs(course.seconds - 0.05))
    assert course.second_ratio[at] == pytest.approx(0.2 * peak / np.e, rel=0.01)
    assert course.mean[at] == pytest.approx(0.2 * peak**2 / np.e, rel=0.01)


def test_a_soft_tone_that_is_not_heard_leaves_its_steps_untold():
    noise = 1e-2 * np.random.default_rng(0).standard_normal(round(1.4 * RATE))
    plan = plan_of(STEP | {"soft_dbfs": -60.0})
    found = dynamics(captured(plan, lambda x: x + noise))
    assert all(step.gain_before_db is None or step.gain_after_db is None for step in found.steps)
    assert any("the soft tone is not heard" in warning for warning in found.warnings)
    assert dynamics(captured(plan, np.zeros_like)).steps[0].overshoot_db is None


def test_a_gain_that_still_moves_at_the_end_is_not_steady():
    plan = plan_of(STEP)
    found = dynamics(captured(plan, compressor(plan, attack=0.5, release=0.5)))
    assert not any(step.steady for step in found.steps)
    assert sum("lower bounds" in warning for warning in found.warnings) == 2


# -- playing ----------------------------------------------------------------------------


def test_crest_factors_of_a_sine_and_a_square_are_3_and_0_db():
    sine = np.sin(2 * np.pi * np.arange(48_000) / 48)
    assert crest_factor_db(sine) == pytest.approx(10 * np.log10(2), abs=1e-3)
    assert crest_factor_db(np.sign(sine + 1e-3)) == pytest.approx(0.0, abs=1e-9)


def test_a_square_root_halves_every_range_of_levels():
    plan = plan_of(GUITAR)
    rng = np.random.default_rng(0)
    level = np.repeat(10 ** (rng.uniform(-30, 0, 40) / 20), 2400)
    shape = np.sin(2 * np.pi * 440 * np.arange(len(level)) / RATE)
    (playing,) = dynamics(
        captured(plan, lambda x: np.sign(x) * np.sqrt(np.abs(x)), stimulus=level * shape)
    ).playing
    assert playing.range_returned_db == pytest.approx(playing.range_played_db / 2, abs=1e-3)
    assert playing.slope_db_per_db == pytest.approx(0.5, abs=1e-4)
    assert playing.range_played_db > 20.0


def test_a_wire_leaves_playing_as_it_is_and_a_limiter_flattens_it():
    plan = plan_of(GUITAR)
    (wire,) = dynamics(captured(plan, lambda x: 0.3 * x)).playing
    assert wire.crest_returned_db == pytest.approx(wire.crest_played_db, abs=0.01)
    assert wire.range_returned_db == pytest.approx(wire.range_played_db, abs=1e-3)
    assert wire.slope_db_per_db == pytest.approx(1.0, abs=1e-3)
    (limiter,) = dynamics(captured(plan, lambda x: np.tanh(100 * x))).playing
    assert limiter.crest_returned_db < wire.crest_played_db - 6.0
    assert limiter.range_returned_db < 0.6 * wire.range_played_db


# -- the whole --------------------------------------------------------------------------


def test_a_plan_with_nothing_to_measure_by_is_refused():
    capture = captured(load_signal("a440").plan(RATE), lambda x: x)
    with pytest.raises(CaptureError, match="'a440' holds no staircase, level step or playing"):
        dynamics(capture)
    with pytest.raises(CaptureError, match="holds no level step: capture dynamics"):
        step_courses(capture)


def test_steps_too_short_for_a_curve_are_said_to_be():
    short = LADDER | {"seconds": 0.6, "frequency": 110.0}
    found = dynamics(captured(plan_of(short, STEP), lambda x: x))
    assert found.curves == ()
    assert any("29 ms are too short" in warning for warning in found.warnings)


def test_what_was_measured_is_saved_and_read_back(tmp_path):
    plan = plan_of(LADDER, STEP | {"soft_dbfs": -60.0}, GUITAR)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(plan.frames)
    found = dynamics(captured(plan, lambda x: np.tanh(5 * x) + noise))
    found.save(tmp_path / "dynamics.json")
    assert Dynamics.load_json(tmp_path / "dynamics.json") == found
