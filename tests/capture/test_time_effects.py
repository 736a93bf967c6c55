"""Each course of the level here was put into a clean take, so it is known."""

import dataclasses

import numpy as np
import pytest

from profiler.capture.time_effects import has_time_effect, modulation
from profiler.units import db_to_amplitude
from tests.capture.checks.varied_takes import PLAN, RATE, clean

(REFERENCE,) = PLAN.of_kind("reference")
seconds = np.arange(PLAN.frames) / RATE - REFERENCE.start / RATE  # since the tone begins


def changed(seed, level_db):
    """A take whose level follows a course in dB."""
    capture = clean(seed).aligned
    response = capture.response * db_to_amplitude(level_db)
    return dataclasses.replace(capture, response=response.astype(np.float32))


def step(at_seconds, height_db):
    return height_db * (seconds >= at_seconds)


def waver(frequency, phase, peak_to_peak_db=0.5):
    return 0.5 * peak_to_peak_db * np.sin(2 * np.pi * frequency * seconds + phase)


@pytest.mark.parametrize("height_db", [0.5, -2.0])
@pytest.mark.parametrize("at_seconds", [0.17, 0.4531, 0.7, 0.94])
def test_a_single_step_within_a_tone_is_no_waver(at_seconds, height_db):
    for seed in range(3):
        assert not has_time_effect(changed(seed, step(at_seconds, height_db)))


@pytest.mark.parametrize("frequency", [0.8, 1.2, 2.0, 5.0, 12.0, 19.0])
def test_a_waver_is_found_whatever_its_rate_and_its_phase(frequency):
    for phase in np.linspace(0.0, 2 * np.pi, 6, endpoint=False):
        assert modulation(changed(0, waver(frequency, phase, peak_to_peak_db=1.5))) is not None


@pytest.mark.parametrize("frequency", [5.0, 12.0])
def test_the_depth_and_the_rate_of_a_waver_are_measured(frequency):
    found = modulation(changed(2, waver(frequency, 1.0)))
    assert found.is_tremolo
    assert found.peak_to_peak_db == pytest.approx(0.5, abs=0.05)
    assert found.frequency == pytest.approx(frequency, abs=0.7)  # a bin is 1.2 Hz wide


def test_a_waver_beside_a_step_is_one():
    assert modulation(changed(0, waver(5.0, 0.0) + step(0.5, 0.5))) is not None
