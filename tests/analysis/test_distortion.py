import numpy as np
import pytest
from scipy import signal

from profiler.analysis.distortion import distortion, measure_tone, thd
from profiler.analysis.response import measure_sweep
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalDefinition, Staircase, Sweep, load_signal
from profiler.stimulus.sweep import sweep
from profiler.stimulus.synthesis import render


def aligned(plan, device):
    stimulus = render(plan).astype(np.float64)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = device(stimulus).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)


def cubic(x):
    return x + 0.2 * x**2 + 0.1 * x**3


def cubic_harmonics(amplitude):
    """H1, H2 and H3 of a sine through it: Chebyshev's."""
    return (
        amplitude + 0.075 * amplitude**3,
        0.1 * amplitude**2,
        0.025 * amplitude**3,
    )


def tone(amplitude, seconds=0.1, frequency=440.0, rate=48_000):
    t = np.arange(round(seconds * rate)) / rate
    return amplitude * np.sin(2 * np.pi * frequency * t + 0.4)


# -- tones ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
def test_a_tone_s_harmonics_are_the_closed_form_s(rate):
    measured = measure_tone(cubic(tone(0.5, rate=rate)), 440.0, rate)
    first, second, third = cubic_harmonics(0.5)
    assert np.abs(measured.harmonics[:3]) == pytest.approx([first, second, third], rel=1e-4)
    assert measured.thd == pytest.approx(np.hypot(second, third) / first, rel=1e-4)


@pytest.mark.parametrize("gain", [1e-3, -1.0, 20.0])
def test_a_tone_s_thd_depends_on_neither_gain_nor_polarity_nor_delay(gain):
    response = cubic(tone(0.5, seconds=0.2))
    expected = measure_tone(response[: 48 * 100], 440.0, 48_000).thd
    shifted = gain * response[37 : 37 + 48 * 100]
    assert measure_tone(shifted, 440.0, 48_000).thd == pytest.approx(expected, rel=1e-4)


def test_noise_is_taken_out_of_the_thd_and_its_floor_is_told():
    noise = 1e-3 * np.random.default_rng(0).standard_normal((20, 4800))
    measured = [measure_tone(tone(0.5) + n, 440.0, 48_000) for n in noise]
    # a Hann window's noise bandwidth is 1.5: 4 * 1.5 * sigma^2 / n in each of 8 lines
    expected = np.sqrt(8 * 6 / 4800) * 1e-3 / 0.5
    assert np.median([m.thd_floor for m in measured]) == pytest.approx(expected, rel=0.1)
    assert [m.thd for m in measured] == [None] * 20  # no harmonic was there, and none is told

    measured = [measure_tone(cubic(tone(0.5)) + n, 440.0, 48_000) for n in noise]
    first, second, third = cubic_harmonics(0.5)
    assert np.mean([m.thd for m in measured]) == pytest.approx(
        np.hypot(second, third) / first, rel=0.01
    )


def test_a_thd_near_the_noise_is_not_the_larger_for_it():
    # a harmonic 14 dB above the noise in its line, whose power is 4 % of its own
    rng = np.random.default_rng(1)
    line = np.sqrt(6 / 4800) * 1e-3
    clean = tone(0.5) + 5 * line * np.sin(4 * np.pi * 440.0 * np.arange(4800) / 48_000)
    readings = [
        measure_tone(clean + 1e-3 * rng.standard_normal(4800), 440.0, 48_000).thd
        for _ in range(600)
    ]
    power = np.mean([thd**2 for thd in readings if thd is not None])
    assert power == pytest.approx((5 * line / 0.5) ** 2, rel=0.025)


def test_too_short_a_tone_is_refused():
    with pytest.raises(ValueError, match=r"got 10.0 periods of 100 Hz, expected at least 20"):
        measure_tone(np.ones(4800), 100.0, 48_000)


def test_every_step_of_standard_s_staircase_has_its_thd():
    plan = load_signal("standard").plan(48_000, gain_db=-6.0)
    (placed,) = plan.of_kind("staircase")
    only = SignalDefinition(name="ladder", segments=(placed.segment,)).plan(48_000, gain_db=-6.0)
    record = distortion(aligned(only, cubic))
    assert record.sweeps == ()
    levels = [t.level_dbfs for t in record.tones]
    assert levels == pytest.approx(list(np.arange(-69.0, -8.0, 5.0)))
    for measured in record.tones:
        first, second, third = cubic_harmonics(10 ** (measured.level_dbfs / 20))
        assert measured.harmonics_dbfs[0] == pytest.approx(20 * np.log10(first), abs=0.001)
        truth = 100 * np.hypot(second, third) / first
        assert measured.thd_percent == pytest.approx(truth, rel=0.01)
    assert all(t.at_seconds < plan.seconds for t in record.tones)


def test_steps_that_are_too_short_are_a_warning():
    segment = Staircase(kind="staircase", name="low", use="analyse", frequency=40.0, seconds=2.0)
    plan = SignalDefinition(name="short", segments=(segment,)).plan(48_000)
    record = distortion(aligned(plan, cubic))
    assert record.tones == ()
    assert "low: steps of 0.15 s are too short to tell harmonics of 40 Hz" in record.warnings[0]


# -- sweeps -----------------------------------------------------------------------------


def a_sweep(**changes):
    values = {"seconds": 6.0, "level_dbfs": 0.0, "name": "s"}
    return Sweep(kind="sweep", use="analyse", **(values | changes))


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_thd_over_frequency_is_the_closed_form_behind_a_filter(rate):
    segment = a_sweep(level_dbfs=-6.0206)
    low = signal.butter(1, 3000, fs=rate, output="sos")
    response = signal.sosfilt(low, cubic(sweep(segment, rate)))
    measured = measure_sweep(response, segment, rate, segment.level_dbfs)
    ratio, floor = thd(measured)
    f = measured.frequencies
    amplitudes = np.array(cubic_harmonics(0.5))[:, None]
    H = [np.abs(signal.sosfreqz(low, np.minimum(m * f, rate / 2), fs=rate)[1]) for m in (1, 2, 3)]
    lines = amplitudes * np.array(H)
    lines[1:][np.outer((2, 3), f) >= 0.45 * rate] = 0.0
    truth = np.sqrt(np.sum(lines[1:] ** 2, axis=0)) / lines[0]
    band = (f > 40) & (f < 0.95 * rate / 6)  # beyond, the third harmonic folds back
    band &= np.abs(3 * f / (0.45 * rate) - 1) > 0.03  # where it ends
    # a third harmonic of a tenth of the second is lost in what folds back: half a per cent
    np.testing.assert_allclose(ratio[band], truth[band], rtol=0.005)
    assert np.nanmax(floor[(f > 40) & (f < 4000)]) < 5e-3  # of the THD, 5e-2


def test_thd_that_is_no_more_than_noise_is_not_told():
    segment = a_sweep()
    noise = 1e-3 * np.random.default_rng(0).standard_normal(round(segment.duration * 48_000))
    measured = measure_sweep(sweep(segment, 48_000) + noise, segment, 48_000, 0.0)
    ratio, floor = thd(measured)
    told = np.isfinite(ratio)
    assert np.mean(told) < 0.01
    band = (measured.frequencies > 30) & (measured.frequencies < 10_000)
    assert np.isfinite(floor[band]).all()


def test_thd_near_the_noise_is_not_the_larger_for_it():
    # the second harmonic 14 dB above what noise adds to it at 1 kHz
    segment, rng = a_sweep(), np.random.default_rng(2)
    x = sweep(segment, 48_000)
    quiet = measure_sweep(x + 1e-4 * rng.standard_normal(len(x)), segment, 48_000, 0.0)
    band = (quiet.frequencies > 800) & (quiet.frequencies < 1250)
    second = 5 * np.sqrt(np.mean(quiet.noise[1, band] ** 2))
    power = []
    for _ in range(12):
        noise = 1e-4 * rng.standard_normal(len(x))
        measured = measure_sweep(x + second * (2 * x**2 - 1) + noise, segment, 48_000, 0.0)
        power.append(np.nanmean(thd(measured)[0][band] ** 2))
    assert np.mean(power) == pytest.approx(second**2, rel=0.025)


def test_a_ladder_of_sweeps_has_its_harmonics_by_level():
    segments = [a_sweep(name=f"{level}", level_dbfs=level) for level in (-24.0, -12.0, 0.0)]
    plan = SignalDefinition(name="ladder", segments=tuple(segments)).plan(48_000)
    record = distortion(aligned(plan, cubic))
    assert [s.level_dbfs for s in record.sweeps] == [-24.0, -12.0, 0.0]
    for measured in record.sweeps:
        amplitude = 10 ** (measured.level_dbfs / 20)
        for curve, truth in zip(measured.harmonics[:3], cubic_harmonics(amplitude), strict=True):
            told = [
                level
                for f, level in zip(measured.frequency_hz, curve.level_db, strict=True)
                if 40 < f < 4000
            ]
            assert told == pytest.approx([20 * np.log10(truth / amplitude)] * len(told), abs=0.01)
        assert [c.order for c in measured.harmonics] == list(range(1, 10))
        assert set(measured.harmonics[7].level_db) == {None}
    record.model_dump_json()


def test_silence_has_no_harmonics_and_is_no_error():
    segments = (a_sweep(), *load_signal("levels").segments)
    plan = SignalDefinition(name="dead", segments=segments).plan(48_000)
    record = distortion(aligned(plan, lambda x: 0 * x))
    assert set(record.sweeps[0].thd_percent) == {None}
    assert {t.thd_percent for t in record.tones} == {None}
    record.model_dump_json()


def test_a_plan_with_neither_is_refused():
    with pytest.raises(CaptureError, match="neither sweep nor staircase"):
        distortion(aligned(load_signal("a440").plan(48_000), cubic))
