import numpy as np
import pytest

from profiler.analysis.tone import fit_tone, fitted_steps, harmonic_course
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import SignalDefinition
from profiler.stimulus.synthesis import render

RATES = (44_100, 48_000, 96_000)
FREQUENCIES = (110.0, 437.3, 1760.0)  # the second has no whole period at any rate


def tone(frequency, rate, seconds=0.097):
    """A mean and harmonics 1, 2 and 5; with a residual of none."""
    w = 2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate
    return 0.01 + 0.5 * np.cos(w + 0.3) + 0.05 * np.cos(2 * w - 1.0) + 1e-3 * np.cos(5 * w + 2.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_a_tone_is_taken_apart_exactly_whatever_its_period(rate, frequency):
    fit = fit_tone(tone(frequency, rate), frequency, rate)
    assert fit.mean == pytest.approx(0.01, abs=1e-12)
    for order, peak in ((1, 0.5 * np.exp(0.3j)), (2, 0.05 * np.exp(-1j)), (5, 1e-3 * np.exp(2j))):
        assert fit.harmonics[order - 1] == pytest.approx(peak, abs=1e-12)
    assert np.max(np.abs(fit.residual)) < 1e-11


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_the_noise_between_the_harmonics_is_that_of_the_recording(rate, frequency):
    rng = np.random.default_rng(1)
    clean = tone(frequency, rate, seconds=0.2)
    noise = 1e-3 * rng.standard_normal(len(clean))
    fit = fit_tone(clean + noise, frequency, rate)
    density = np.mean(fit.between[1])
    # some thousand bins, each known to its own size: 3 % at 2 sigma
    assert density * rate / 2 == pytest.approx(1e-6, rel=0.08)
    assert fit.sigma == pytest.approx(1e-3 * np.sqrt(2 / len(clean)), rel=0.1)


def test_sigma_is_how_far_the_harmonics_scatter_and_hum_does_not_raise_it():
    rate, frequency = 48_000, 440.0
    clean = tone(frequency, rate)
    hum = 0.02 * np.sin(2 * np.pi * 50.0 * np.arange(len(clean)) / rate)
    rng = np.random.default_rng(2)
    fits = [
        fit_tone(clean + hum + 1e-3 * rng.standard_normal(len(clean)), frequency, rate)
        for _ in range(60)
    ]
    seen = np.std([abs(fit.harmonics[1]) for fit in fits])  # 60 of them: known to 9 %
    assert np.median([fit.sigma for fit in fits]) == pytest.approx(seen, rel=0.3)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_a_steady_tone_stands_still_over_every_period(rate, frequency):
    y = tone(frequency, rate)
    for order, peak in ((0, 0.01), (1, 0.5 * np.exp(0.3j)), (2, 0.05 * np.exp(-1j))):
        centres, course = harmonic_course(y, frequency, rate, order)
        # what a period that ends between two samples is read to: 25 samples at the worst
        assert np.max(np.abs(course - peak)) < 2e-4
        assert centres[-1] == pytest.approx(len(y) - 1 - (rate / frequency - 1) / 2, abs=1e-9)
    assert np.max(np.abs(harmonic_course(y, 440.0, 48_000, 1)[1])) < 1.0


def test_the_centre_of_a_period_is_where_a_ramp_has_its_mean():
    rate, frequency = 48_000, 440.0
    ramp = np.arange(2000.0)
    centres, mean = harmonic_course(ramp, frequency, rate, 0)
    assert np.max(np.abs(mean.real - centres)) < 1e-9


@pytest.mark.parametrize(
    ("seconds", "frequency", "complaint"),
    [(0.005, 440.0, "2.2 periods, expected at least 4"), (0.1, 23_000.0, "tone of 23000 Hz")],
)
def test_what_is_no_steady_tone_is_a_wrong_call(seconds, frequency, complaint):
    with pytest.raises(ValueError, match=complaint):
        fit_tone(np.zeros(round(seconds * 48_000)), frequency, 48_000)


def staircase(**keys):
    segment = {"kind": "staircase", "name": "ladder", "use": "analyse", "level_dbfs": -6.0}
    segment |= {"lowest_dbfs": -36.0, "steps": 4, "seconds": 0.8} | keys
    plan = SignalDefinition.model_validate({"name": "s", "segments": [segment]}).plan(48_000)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    stimulus = render(plan)
    return AlignedCapture(plan, alignment, stimulus, stimulus)


def test_the_steps_of_a_staircase_are_read_with_the_levels_they_were_played_at():
    capture = staircase()
    (placed,) = capture.plan.placed()
    steps = fitted_steps(capture, placed)
    assert [level for level, _ in steps] == pytest.approx([-36.0, -26.0, -16.0, -6.0])
    for level, fit in steps:
        assert 20 * np.log10(fit.level) == pytest.approx(level, abs=1e-5)  # float32


def test_steps_too_short_to_be_read_are_none():
    capture = staircase(steps=40, frequency=82.0)
    (placed,) = capture.plan.placed()
    assert fitted_steps(capture, placed) == []
