import numpy as np
import pytest

from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.capture.impulse import impulse_responses, magnitude_db, swept
from profiler.stimulus.plan import SignalDefinition, Sweep, load_signal
from profiler.stimulus.sweep import sweep
from profiler.stimulus.synthesis import render

RATE = 48_000
PLAN = load_signal("check").plan(RATE)
PLACED = next(PLAN.of_kind("sweep"))
STIMULUS = render(PLAN).astype(np.float64)
LEVEL = 10 ** (PLACED.segment.level_dbfs / 20)


def captured(response, plan=PLAN, stimulus=STIMULUS):
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response.astype(np.float32))


def test_two_paths_are_two_impulses_of_their_strength():
    response = 0.5 * STIMULUS - 0.05 * np.roll(STIMULUS, 4800)
    impulses = swept(captured(response))
    # swept up to 20 kHz, of an impulse whose band is 24 kHz wide that part is left
    whole = impulses[0] / 0.5
    assert whole == pytest.approx(20 / 24, abs=0.01)
    assert impulses[4800] == pytest.approx(-0.05 * whole, rel=0.01)


def test_the_magnitude_is_that_of_the_filter():
    two_tap = STIMULUS + 0.5 * np.roll(STIMULUS, 12)
    frequencies, level_db = magnitude_db(swept(captured(two_tap)), RATE, 0.05)
    expected = 20 * np.log10(np.abs(1 + 0.5 * np.exp(-2j * np.pi * frequencies * 12 / RATE)))
    heard = (frequencies > 200) & (frequencies < 15_000)
    assert np.max(np.abs(level_db - expected)[heard]) < 0.25  # 50 ms cut the bass's ringing


def test_the_second_harmonic_stands_before_the_linear_response():
    segment = PLACED.segment
    played = STIMULUS[PLACED.slice] / LEVEL
    impulses = impulse_responses(played + 0.1 * (2 * played**2 - 1), segment, RATE)
    early = round(segment.rate_constant * np.log(2) * RATE)
    around = np.abs(impulses[-early - 50 : -early + 50])
    elsewhere = np.abs(impulses[-early + 400 : -400])
    assert np.max(around) > 20 * np.max(elsewhere)


def test_a_plan_without_a_sweep_has_no_impulse_response():
    plan = SignalDefinition(name="quiet", segments=PLAN.segments[:4]).plan(RATE)
    assert not any(isinstance(segment, Sweep) for segment in plan.segments)
    assert swept(captured(np.zeros(plan.frames), plan, np.zeros(plan.frames))) is None


def test_the_sweep_that_is_looked_at_goes_up():
    down = PLACED.segment.model_copy(update={"direction": "down", "name": "down"})
    both = SignalDefinition(name="both", segments=(down, PLACED.segment)).plan(RATE)
    stimulus = render(both)
    assert swept(captured(stimulus, both, stimulus))[0] == pytest.approx(20 / 24, abs=0.01)
    only = SignalDefinition(name="down", segments=(down,)).plan(RATE)
    assert swept(captured(np.zeros(only.frames), only, np.zeros(only.frames))) is None


def test_the_second_harmonic_of_a_sweep_that_goes_down_stands_behind_the_linear_response():
    segment = PLACED.segment.model_copy(update={"direction": "down"})
    played = sweep(segment, RATE) / LEVEL
    impulses = impulse_responses(played + 0.1 * (2 * played**2 - 1), segment, RATE)
    late = round(segment.rate_constant * np.log(2) * RATE)
    assert np.max(np.abs(impulses[late - 50 : late + 50])) > 20 * np.max(
        np.abs(impulses[late + 400 : -400])
    )


def test_harmonics_beyond_the_swept_band_are_there_when_they_are_wanted():
    segment = PLACED.segment.model_copy(update={"stop_hz": 6000.0})
    played = sweep(segment, RATE) / LEVEL
    made = played + 0.1 * (4 * played**3 - 3 * played)
    early = round(segment.rate_constant * np.log(3) * RATE)

    def third(harmonics):
        impulses = impulse_responses(made, segment, RATE, harmonics=harmonics)
        return np.max(np.abs(impulses[-early - 50 : -early + 50]))

    # up to 18 kHz of 24, and of 7.2
    assert third(True) == pytest.approx(0.1 * 18 / 24, abs=0.005)
    assert third(False) < 0.5 * third(True)
