import functools

import numpy as np
import pytest

from profiler.capture.calibration.levels import LevelCalibration
from profiler.capture.calibration.reference import reference_check, reference_level_dbfs
from profiler.capture.calibration.returned import measure_return
from profiler.capture.calibration.send import measure_send
from profiler.capture.calibration.simulated import simulated_meter
from profiler.capture.take import take
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render
from profiler.wav import read


@functools.cache
def played(gain_db=0.0, rate=48_000):
    plan = load_signal("check").plan(rate, gain_db=gain_db)
    return plan, render(plan).astype(np.float64)


def returned(stimulus, gain_db, delay=1234, noise_rms=1e-3, seed=0):
    noise = noise_rms * np.random.default_rng(seed).standard_normal(len(stimulus))
    late = np.concatenate([np.zeros(delay), stimulus])[: len(stimulus)]
    return 10 ** (gain_db / 20) * late + noise


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gain_db", [-10.0, 0.0, 3.0])
def test_the_level_is_found_within_a_hundredth_of_a_decibel_in_noise_of_minus_60(gain_db, seed):
    plan, stimulus = played()
    level = reference_level_dbfs(plan, returned(stimulus, gain_db, seed=seed), 1234.4)
    assert level == pytest.approx(-12.0 + gain_db, abs=0.01)


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_the_level_does_not_depend_on_the_rate_polarity_or_an_offset(rate):
    plan, stimulus = played(rate=rate)
    signal = 0.1 - returned(stimulus, -3.0, noise_rms=0.0)
    assert reference_level_dbfs(plan, signal, 1234.0) == pytest.approx(-15.0, abs=1e-4)


def test_harmonics_of_an_amp_are_not_counted():
    plan, stimulus = played()
    bent = stimulus + 0.5 * stimulus**2  # no odd harmonic: the fundamental stays
    assert reference_level_dbfs(plan, bent, 0.0) == pytest.approx(-12.0, abs=0.001)


def test_a_plan_or_a_recording_without_the_tone_is_a_wrong_call():
    plan, stimulus = played()
    with pytest.raises(ValueError, match="holds no reference tone"):
        reference_level_dbfs(load_signal("latency").plan(48_000), stimulus, 0.0)
    with pytest.raises(ValueError, match="got 48000 samples"):
        reference_level_dbfs(plan, stimulus[:48_000], 0.0)


@pytest.mark.parametrize("plan_gain_db", [0.0, -9.0])
@pytest.mark.parametrize("change_db", [0.0, 0.15, -0.15, 0.25, -0.25, -6.0])
def test_a_loop_is_held_to_a_fifth_of_a_decibel_at_any_level_of_the_take(change_db, plan_gain_db):
    plan, stimulus = played(plan_gain_db)
    signal = returned(stimulus, -7.3 + change_db)
    check = reference_check(plan, signal, 1234.0, expected_gain_db=-7.3)
    assert check.deviation_db == pytest.approx(change_db, abs=0.02)
    assert check.holds == (abs(change_db) < 0.2)


def test_with_nothing_to_compare_with_there_is_nothing_to_say():
    plan, stimulus = played()
    assert reference_check(plan, stimulus, 0.0, expected_gain_db=None) is None
    without = load_signal("latency").plan(48_000)
    assert reference_check(without, stimulus, 0.0, expected_gain_db=0.0) is None


def test_a_take_of_a_calibrated_loop_agrees_with_its_calibration(tmp_path):
    """Send by a meter, return by a cable, then a take: one gain by two ways."""
    rig = load_rig("wire")
    interface = rig.interface.model_copy(update={"gain_db": -4.0})
    rig = rig.model_copy(update={"interface": interface})
    send = measure_send(rig, connect(rig), simulated_meter(rig), seconds=2.0)
    levels = LevelCalibration(send=send, return_=measure_return(rig, connect(rig), send))
    assert levels.loop_gain_db == pytest.approx(-4.0, abs=0.02)
    plan = load_signal("check").plan(48_000)
    response, _ = read(take(rig, plan, tmp_path / "take", connect(rig)).response_path)
    gain_db = levels.loop_gain_db
    check = reference_check(plan, response[:, 0], 1234.6, expected_gain_db=gain_db)
    assert abs(check.deviation_db) < 0.02
