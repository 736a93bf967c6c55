"""Each delay here was made by shifting the stimulus, so it is known."""

import functools

import numpy as np
import pytest
import scipy.signal

from profiler.capture import delay as delays
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000


@functools.cache
def played():
    plan = load_signal("check").plan(RATE).bracketed()
    return plan, render(plan).astype(np.float64)


def through_a_call(stimulus, gain, seed):
    """What a voice call lets through: all up to 7.2 kHz, and its noise."""
    low_pass = scipy.signal.butter(8, 7200.0, fs=RATE, output="sos")
    heard = gain * scipy.signal.sosfilt(low_pass, stimulus)
    return heard + 10 ** (-95 / 20) * np.random.default_rng(seed).standard_normal(len(heard))


def halves_apart(plan, stimulus, response):
    """Delay of the second half of each marker beyond its first."""
    markers = list(plan.of_kind("marker"))
    whole = [delays.marker_stretch(stimulus, response, m, RATE, 0) for m in markers]
    _, transfer = delays.relative_delays(whole, RATE, 0)
    apart = []
    for placed in markers:
        first, second = (
            delays.offset_between(
                delays.marker_stretch(stimulus, response, placed, RATE, 0, (half,)), transfer, RATE
            )
            for half in (0, 1)
        )
        apart.append(second - first)
    return np.array(apart)


@pytest.mark.parametrize(("gain", "seed"), [(0.5, 0), (-0.25, 1), (0.5, 2)])
def test_a_band_that_does_not_come_back_says_nothing_of_a_delay(gain, seed):
    plan, stimulus = played()
    response = through_a_call(stimulus, gain, seed)
    # the noise alone moves a delay told from 60 Hz to 7.2 kHz by 0.001 samples
    assert np.max(np.abs(halves_apart(plan, stimulus, response))) < 0.01


@pytest.mark.parametrize(("gain", "seed"), [(0.5, 0), (-0.25, 1)])
def test_one_sample_between_the_halves_of_a_marker_is_seen_through_a_narrow_band(gain, seed):
    plan, stimulus = played()
    response = through_a_call(stimulus, gain, seed)
    third = list(plan.of_kind("marker"))[2]
    at = third.start + delays.frames_of(RATE)  # the inverted code begins here
    late = np.concatenate([response[:at], response[at - 1 : -1]])
    apart = halves_apart(plan, stimulus, late)
    assert apart[2] == pytest.approx(1.0, abs=0.02)
    assert np.max(np.abs(np.delete(apart, 2))) < 0.02
