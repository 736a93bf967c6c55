import functools

import numpy as np
import pytest
from scipy import signal

from profiler.analysis.response import (
    HARMONICS_FROM_RATIO,
    TOLD_ABOVE_FLOOR_DB,
    direction_difference,
    excess_phase,
    linear_response,
    measure_sweep,
    sweep_response,
    sweep_responses,
)
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalDefinition, Sweep, load_signal
from profiler.stimulus.sweep import sweep
from profiler.stimulus.synthesis import render

POLYNOMIAL = (1.0, 0.3, 0.2, 0.08, 0.05)
# of a sine of amplitude 1: Chebyshev's
TRUTH = (1 + 0.75 * 0.2 + 0.625 * 0.05, 0.15 + 0.04, 0.05 + 0.3125 * 0.05, 0.01, 0.05 / 16)


def captured(name, device, rate=48_000):
    return aligned(load_signal(name).plan(rate), device)


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


def a_sweep(name="s", **changes):
    values = {"seconds": 6.0, "level_dbfs": 0.0}
    return Sweep(name=name, kind="sweep", use="analyse", **(values | changes))


def over(measured, truth):
    """Ratio of complex arrays, NaN where either is."""
    with np.errstate(invalid="ignore"):
        return measured / truth


def polynomial(x):
    return sum(a * x ** (power + 1) for power, a in enumerate(POLYNOMIAL))


@functools.cache
def polynomial_through_5_khz(rate, direction, seconds=6.0):
    """The sweep, the response without noise, and the harmonics' truths at its frequencies."""
    segment = a_sweep(direction=direction, seconds=seconds)
    low = signal.butter(1, 5000, fs=rate, output="sos")
    response = signal.sosfilt(low, polynomial(sweep(segment, rate)))
    measured = measure_sweep(response, segment, rate, 0.0)
    at = np.outer(np.arange(1, 6), measured.frequencies)
    filtered = signal.sosfreqz(low, np.minimum(at, rate / 2).ravel(), fs=rate)[1]
    # the powers of a sine in sines: sin^2 a = 1/2 - cos 2a / 2, and -cos 2a = sin(2a - 90 deg)
    turned = np.array([1.0, -1j, -1.0, 1j, 1.0])[:, None]
    return segment, response, measured, np.array(TRUTH)[:, None] * turned * filtered.reshape(5, -1)


# Within 0.01 dB from an octave above the first frequency to 19 kHz; nearer to the ends the sweep
# fades, and how a harmonic fades with it is known of its leading power only.
@pytest.mark.parametrize("direction", ["up", "down"])
def test_harmonics_of_a_polynomial_behind_a_filter_are_the_closed_form_s(direction):
    rate = 192_000
    _, _, measured, truth = polynomial_through_5_khz(rate, direction)
    f = measured.frequencies
    error_db = 20 * np.log10(np.abs(over(measured.harmonics[:5], truth)))
    error_phase = np.angle(over(measured.harmonics[:5], truth))
    for order in range(1, 6):
        bands = [(40, 19_000, 0.01), (30, 40, 0.03), (25, 30, 0.15)]
        bands += [(20, 25, 0.2), (19_000, 20_000, 0.1)] if order == 1 else []
        for low, high, within in bands:
            band = (f >= low) & (f <= high) & (order * f < 0.4 * rate)
            assert np.max(np.abs(error_db[order - 1, band])) < within
        assert np.isnan(error_db[order - 1, f < 24.9]).all() or order == 1
        band = (f > 60) & (f < 18_000) & (order * f < 0.4 * rate)
        assert np.max(np.abs(error_phase[order - 1, band])) < 0.002
    assert measured.frequencies[0] == 20.0


def test_noise_of_minus_80_dbfs_moves_the_harmonics_no_more_than_it_must():
    # 95 % of the frequencies, for a sweep of 4.84 s; each limit a fifth above what was measured
    segment, response, clean, _ = polynomial_through_5_khz(48_000, "up", 4.84)
    limits = np.array([0.001, 0.006, 0.018, 0.11, 0.37]) * 1.2
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(4):
        noisy = response + 1e-4 * rng.standard_normal(len(response))
        measured = measure_sweep(noisy, segment, 48_000, 0.0)
        moved.append(20 * np.log10(np.abs(over(measured.harmonics[:5], clean.harmonics[:5]))))
    within = np.outer(np.arange(1, 6), clean.frequencies) < 20_000
    moved = np.where(within, np.abs(moved), np.nan)
    assert np.all(np.nanpercentile(moved, 95, axis=(0, 2)) < limits)


def test_the_floor_is_what_noise_adds_and_below_it_no_harmonic_is_told():
    segment = a_sweep()
    noise = 1e-4 * np.random.default_rng(1).standard_normal(len(sweep(segment, 48_000)))
    measured = measure_sweep(sweep(segment, 48_000) + noise, segment, 48_000, 0.0)
    f = measured.frequencies
    for order in (2, 3, 4):
        band = (f > 100) & (order * f < 20_000)
        heard = 20 * np.log10(np.abs(measured.harmonics[order - 1, band]))
        # an exponential's median lies 1.6 dB below its mean; the floor is known to a dB or two
        assert np.median(heard - measured.floor_db(order)[band]) == pytest.approx(-1.6, abs=2.0)
        assert np.count_nonzero(np.isfinite(measured.level_db(order))) <= 3
    assert np.isfinite(measured.level_db(1)).all()


def test_a_harmonic_is_told_where_it_stands_10_db_above_the_noise():
    segment = a_sweep()
    x = sweep(segment, 48_000)
    noise = 1e-4 * np.random.default_rng(2).standard_normal(len(x))
    second = 2e-4 * (2 * x**2 - 1)
    measured = measure_sweep(x + second + noise, segment, 48_000, 0.0)
    clear = -74.0 - measured.floor_db(2)
    assert np.isfinite(measured.level_db(2)[clear > TOLD_ABOVE_FLOOR_DB + 6]).all()
    assert np.isnan(measured.level_db(2)[clear < TOLD_ABOVE_FLOOR_DB - 6]).all()


def test_a_wire_has_no_harmonics_and_a_quiet_floor_even_near_the_ends():
    segment = a_sweep()
    measured = measure_sweep(sweep(segment, 48_000), segment, 48_000, 0.0)
    assert np.isnan([measured.level_db(order) for order in range(2, 10)]).all()
    harmonics = measured.frequencies > HARMONICS_FROM_RATIO * segment.start_hz
    assert np.nanmax(measured.floor_db(2)[harmonics]) < -70.0


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_known_filters_are_measured_within_a_hundredth_of_a_db(rate, direction):
    filters = np.concatenate(
        [
            signal.butter(2, 120, "high", fs=rate, output="sos"),
            signal.butter(2, 5000, fs=rate, output="sos"),
        ]
    )
    segment = a_sweep(level_dbfs=-12.0, direction=direction)
    measured = measure_sweep(
        signal.sosfilt(filters, sweep(segment, rate)), segment, rate, segment.level_dbfs
    )
    f = measured.frequencies
    _, truth = signal.sosfreqz(filters, f, fs=rate)
    apart = 20 * np.log10(np.abs(measured.harmonics[0] / truth))
    # 31 dB below the band at 20 Hz; both ends are 0.3 dB off without the sweep's own
    for low, high, within in ((50, 19_000, 0.01), (30, 19_500, 0.1), (20, 19_800, 0.6)):
        band = (f >= low) & (f <= high)
        assert np.max(np.abs(apart[band])) < within
    middle = (f > 90) & (f < 19_000)
    assert np.max(np.abs(np.angle(measured.harmonics[0] / truth)[middle])) < 0.002
    later = signal.sosfreqz(filters, f * 1.0001, fs=rate)[1]
    delay = -np.angle(later / truth) / (2 * np.pi * 0.0001 * f)
    assert measured.group_delay_seconds[middle] == pytest.approx(delay[middle], abs=5e-6)


@pytest.mark.parametrize("gain", [0.01, -1.0])
def test_gain_and_polarity_move_all_of_it_alike(gain):
    segment, response, measured, _ = polynomial_through_5_khz(48_000, "up", 4.84)
    again = measure_sweep(gain * response, segment, 48_000, 0.0)
    ratio = over(again.harmonics[:5], measured.harmonics[:5])
    known = np.isfinite(ratio)
    np.testing.assert_allclose(ratio[known], gain, rtol=1e-6)


def test_a_delay_moves_the_phase_and_nothing_else():
    segment, response, measured, _ = polynomial_through_5_khz(48_000, "up", 4.84)
    again = measure_sweep(np.roll(response, 24), segment, 48_000, 0.0)
    # above it the fifth harmonic folds back
    band = (measured.frequencies > 50) & (measured.frequencies < 4500)
    for order in (1, 2, 3):
        ratio = over(again.harmonics, measured.harmonics)[order - 1, band]
        known = np.isfinite(ratio)
        assert np.max(np.abs(20 * np.log10(np.abs(ratio[known])))) < 0.01
    later = (again.group_delay_seconds - measured.group_delay_seconds)[band]
    assert later == pytest.approx(24 / 48_000, abs=5e-6)


# -- of captures ------------------------------------------------------------------------


def test_harmonics_of_a_capture_stand_at_the_level_that_was_played():
    level = 10 ** (next(load_signal("sweep").plan(48_000).of_kind("sweep")).segment.level_dbfs / 20)

    def device(x):
        return x + 0.1 * x**2 / level + 0.05 * x**3 / level**2

    response = sweep_response(captured("sweep", device))
    middle = (response.frequencies > 100) & (response.frequencies < 2000)
    for measured, truth in (
        (response.magnitude_db, 1 + 0.05 * 3 / 4),
        (response.second_db, 0.1 / 2),
        (response.third_db, 0.05 / 4),
    ):
        np.testing.assert_allclose(measured[middle], 20 * np.log10(truth), atol=0.01)


def test_harmonics_above_half_the_rate_are_not_a_number():
    response = sweep_response(captured("sweep", lambda x: x + 0.1 * x**3))
    assert np.isnan(response.third_db[-1])
    assert np.isfinite(response.magnitude_db[-1])


def test_a_plan_without_a_sweep_is_refused():
    with pytest.raises(CaptureError, match="holds no sweep"):
        sweep_response(captured("a440", lambda x: x))


def several(rate=48_000, gain_db=0.0):
    segments = (
        a_sweep("soft", level_dbfs=-30.0),
        a_sweep("loud", level_dbfs=-12.0),
        a_sweep("down", level_dbfs=-12.0, direction="down"),
    )
    return SignalDefinition(name="several", segments=segments).plan(rate, gain_db=gain_db)


def test_a_plan_whose_sweeps_go_down_only_has_no_sweep_response_but_is_measured():
    only = SignalDefinition(name="d", segments=(a_sweep(direction="down"),)).plan(48_000)
    with pytest.raises(CaptureError, match="no sweep that goes up"):
        sweep_response(aligned(only, lambda x: x))
    assert [s.direction for s in sweep_responses(aligned(only, lambda x: x))] == ["down"]


def test_every_sweep_is_told_with_the_level_that_was_played():
    record = linear_response(aligned(several(gain_db=-6.0), lambda x: 0.5 * x))
    assert [curve.level_dbfs for curve in record.sweeps] == [-36.0, -18.0, -18.0]
    for curve in record.sweeps:
        assert curve.magnitude_db == pytest.approx([-6.021] * len(curve.frequency_hz), abs=0.01)
        middle = [
            d for f, d in zip(curve.frequency_hz, curve.group_delay_ms, strict=True) if f > 40
        ]
        assert middle == pytest.approx([0.0] * len(middle), abs=0.001)


def test_what_has_no_slow_memory_answers_up_and_down_alike():
    high = signal.butter(1, 80, "high", fs=48_000, output="sos")

    def device(x):
        return np.tanh(3 * signal.sosfilt(high, x)) + 1e-5 * RANDOM.standard_normal(len(x))

    check = linear_response(aligned(several(), device)).direction
    assert check.level_dbfs == -12.0
    assert check.difference_rms_db is None
    # beyond 8 kHz the curve's many harmonics fold back, to other places up and down
    middle = [
        d
        for f, d in zip(check.frequency_hz, check.difference_db, strict=True)
        if d and 40 < f < 8000
    ]
    assert max(middle) < -55.0


RANDOM = np.random.default_rng(7)


def test_a_slow_gain_answers_up_and_down_differently():
    # a compressor that follows the level behind a filter with a time constant of 0.5 s:
    # rising, it knows of the bass when the treble comes, falling, of the treble
    low = signal.butter(1, 300, fs=48_000, output="sos")
    slow = signal.butter(1, 1 / (2 * np.pi * 0.5), fs=48_000, output="sos")

    def device(x):
        level = signal.sosfilt(slow, signal.sosfilt(low, x) ** 2)
        return x / (1 + 40 * level)

    check = linear_response(aligned(several(), device)).direction
    assert check.difference_rms_db > -25.0
    up, down = (sweep_responses(aligned(several(), device))[k] for k in (1, 2))
    apart, _ = direction_difference(up, down)
    # up at 300 Hz the level before was higher than it is down, where treble came before
    at = np.argmin(np.abs(up.frequencies - 300.0))
    expected = np.abs(up.harmonics[0, at]) - np.abs(down.harmonics[0, at])
    assert expected < 0.0
    assert apart[at] >= abs(expected) / np.abs(down.harmonics[0, at]) - 1e-9


def test_filters_of_minimum_phase_have_no_excess_phase_and_a_delay_is_told():
    def device(x):
        # analogue filters of first order at 60 Hz and 4 kHz, and 5 samples
        frames = 2 * len(x)
        f = np.fft.rfftfreq(frames, 1 / 48_000)
        H = -1j * f / (60 + 1j * f) / (1 + 1j * f / 4000) * np.exp(-2j * np.pi * f * 5 / 48_000)
        return np.fft.irfft(H * np.fft.rfft(x, frames), frames)[: len(x)]

    phase = linear_response(aligned(several(), device)).phase
    assert phase.is_minimum_phase
    assert phase.polarity == -1
    assert phase.excess_delay_samples == pytest.approx(5.0, abs=0.15)
    middle = [
        p
        for f, p in zip(phase.frequency_hz, phase.excess_phase_degrees, strict=True)
        if 50 < f < 10_000
    ]
    assert np.max(np.abs(middle)) < 5.0


def test_an_all_pass_is_its_excess_phase_and_not_of_minimum_phase():
    rate, corner = 48_000, 600.0
    t = np.tan(np.pi * corner / rate)
    b, a = [(t - 1) / (t + 1), 1.0], [1.0, (t - 1) / (t + 1)]
    capture = aligned(several(rate), lambda x: signal.lfilter(b, a, signal.lfilter(b, a, x)))
    f, phase, delay = excess_phase(sweep_responses(capture)[1], rate)
    truth = np.angle(signal.freqz(b, a, f, fs=rate)[1] ** 2)
    # an all-pass has a delay, too: what is left agrees but for that
    left = np.unwrap(phase) - 2 * np.pi * f * delay.samples / rate - np.unwrap(truth)
    band = (f > 50) & (f < 15_000)
    apart = np.angle(np.exp(1j * left[band]) * (1 if delay.polarity > 0 else -1))
    assert np.max(np.abs(apart)) < 0.05
    assert not linear_response(capture).phase.is_minimum_phase


def test_silence_has_no_response_and_is_no_error():
    record = linear_response(aligned(several(), lambda x: 0 * x))
    assert {level for curve in record.sweeps for level in curve.magnitude_db} == {None}
    assert record.phase is None
    assert record.direction.difference_rms_db is None
    record.model_dump_json()


def test_a_response_in_noise_has_no_phase_check_but_a_warning():
    record = linear_response(
        aligned(several(), lambda x: 1e-3 * RANDOM.standard_normal(len(x)) + 1e-6 * x)
    )
    assert record.phase is None
    assert "no octave" in record.warnings[0]
