import numpy as np
import pytest

from profiler.analysis.demodulation import demodulated
from profiler.analysis.time_constants import final_values, time_constants

STEP = 1 / 440  # s, a cycle of A440


def decays(*modes, seconds=1.0, step=STEP, final=1.0):
    """Moments, and a track of (amplitude, tau) that comes to its final value."""
    t = step * (1 + np.arange(round(seconds / step)))
    return t, final + sum(a * np.exp(-t / tau) for a, tau in modes)


def noisy(track, sigma, seed=0):
    return track + sigma * np.random.default_rng(seed).standard_normal(track.shape)


def taus(found):
    return [constant.tau_ms / 1e3 for constant in found.constants]


@pytest.mark.parametrize("tau", [0.005, 0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("sigma", [0.0, 1e-5, 1e-3])
def test_one_constant_is_found_within_5_percent(tau, sigma):
    t, track = decays((0.3, tau))
    found = time_constants(t, noisy(track, sigma))
    assert taus(found) == [pytest.approx(tau, rel=0.05)]
    assert not found.late
    assert found.constants[0].share == pytest.approx(0.3 * np.exp(-t[0] / tau), rel=0.05)


def test_two_constants_far_apart_are_both_found():
    t, track = decays((0.2, 0.015), (-0.1, 0.06))
    for sigma in (0.0, 1e-4):
        found = time_constants(t, noisy(track, sigma))
        assert taus(found) == [pytest.approx(0.015, rel=0.05), pytest.approx(0.06, rel=0.05)]


@pytest.mark.parametrize("ratio", [1.2, 1.5, 1.9, 2.0])
@pytest.mark.parametrize("sigma", [1e-5, 1e-4, 1e-3, 1e-2])
def test_two_constants_closer_than_one_to_two_are_never_told_apart(ratio, sigma):
    t, track = decays((0.2, 0.02), (0.15, 0.02 * ratio))
    for seed in range(12):
        found = time_constants(t, noisy(track, sigma, seed))
        assert len(found.constants) <= 1
        if found.constants:  # one effective constant, between the two or that of the later part
            assert 0.019 < found.constants[0].tau_ms / 1e3 < 0.021 * ratio


@pytest.mark.parametrize("sigma", [0.0, 1e-5, 1e-3])
def test_several_constants_within_an_octave_are_not_told_as_two_further_apart(sigma):
    # the modes of the two 12AX7 stages: two exponentials fit best with 15.6 and 34.2 ms
    t, track = decays((0.3, 0.01722), (-0.5, 0.02347), (0.4, 0.02565))
    found = time_constants(t, noisy(track, sigma))
    assert len(found.constants) == 1
    assert 0.017 < found.constants[0].tau_ms / 1e3 < 0.035


@pytest.mark.parametrize("ratio", [3.0, 4.0, 6.0])
def test_two_constants_further_apart_are_told_in_little_noise(ratio):
    t, track = decays((0.2, 0.02), (0.15, 0.02 * ratio))
    found = time_constants(t, noisy(track, 2e-4))
    assert taus(found) == [pytest.approx(0.02, rel=0.05), pytest.approx(0.02 * ratio, rel=0.05)]


def test_of_constants_too_close_the_later_part_is_told():
    t, track = decays((0.2, 0.02), (0.15, 0.038))
    found = time_constants(t, noisy(track, 1e-5))
    assert found.late
    assert found.from_ms > 1e3 * t[0]
    # what a single exponential over all of it gives is nearer to the first
    assert found.constants[0].tau_ms > 28.0


def bursts(kind, count, tau, rate=48_000):
    """Tracks of noisy bursts of 0.4 s at A440 whose level sags by a fifth."""
    rng = np.random.default_rng(3)
    n = round(0.4 * rate)
    t = np.arange(n) / rate
    clean = (1 + 0.2 * np.exp(-t / tau)) * np.tanh(1.5 * np.sin(2 * np.pi * 440 * t))
    frequencies = np.fft.rfftfreq(n, 1 / rate)
    for _ in range(count):
        noise = 0.01 * rng.standard_normal(n)
        if kind == "pink":
            spectrum = np.fft.rfft(noise) * np.sqrt(1e3 / np.maximum(frequencies, 20.0))
            noise = np.fft.irfft(spectrum, n)
        if kind == "hum":
            noise *= 0.1
            for line, level in ((50, 2e-2), (100, 1e-2), (150, 1e-2), (450, 5e-3)):
                noise += level * np.sin(2 * np.pi * line * t + rng.uniform(0, 2 * np.pi))
        at, amplitudes = demodulated(
            clean + noise, rate, [440, 880, 1320], window_seconds=2 * STEP, hop_seconds=STEP
        )
        yield at, np.concatenate([amplitudes.real, amplitudes.imag], axis=1)


@pytest.mark.parametrize(
    ("kind", "tau"), [("white", 0.05), ("pink", 0.05), ("hum", 0.05), ("hum", 0.005)]
)
def test_intervals_hold_the_truth_95_times_of_100(kind, tau):
    held = []
    for at, tracks in bursts(kind, 200, tau):
        (constant,) = time_constants(at, tracks).constants
        held.append(constant.low_ms < 1e3 * tau < constant.high_ms)
    # 200 draws of a chance of 0.95 have a sigma of 1.5 %: three of them, and no more than all
    assert 0.905 <= np.mean(held) <= 0.995


def test_a_wrong_baseline_makes_no_slow_constant():
    t, track = decays((0.3, 0.02), final=0.0, seconds=0.6)
    for baseline in (-1e-3, 0.0, 1e-3, 1.0):
        found = time_constants(t, noisy(track + baseline, 1e-4), level=1.0)
        assert taus(found) == [pytest.approx(0.02, rel=0.02)]


def test_noise_alone_has_no_constant():
    t = STEP * np.arange(440)
    found = [
        time_constants(t, np.random.default_rng(seed).standard_normal((440, 6)))
        for seed in range(40)
    ]
    assert sum(bool(each.constants) for each in found) <= 1


def test_hum_alone_has_no_constant():
    t = STEP * np.arange(440)
    for phase in np.linspace(0, 6, 10):
        hum = np.sin(2 * np.pi * 50 * t + phase)
        assert not time_constants(t, noisy(hum, 0.01)).constants


@pytest.mark.parametrize("factor", [-1.0, 1e-6, 1e4])
def test_neither_gain_nor_polarity_changes_a_constant(factor):
    t, track = decays((0.3, 0.02), (0.1, 0.1))
    track = noisy(track, 1e-4)
    plain, scaled = time_constants(t, track), time_constants(t, factor * track, level=abs(factor))
    for one, other in zip(plain.constants, scaled.constants, strict=True):
        assert other.tau_ms == pytest.approx(one.tau_ms, rel=1e-4)
        assert other.share == pytest.approx(one.share, rel=1e-4)


def test_what_begins_later_has_the_same_constants():
    t, track = decays((0.3, 0.05))
    found, later = time_constants(t, track), time_constants(t + 3.0, track)
    assert later.constants[0].tau_ms == pytest.approx(found.constants[0].tau_ms)
    assert later.from_ms == pytest.approx(found.from_ms + 3000.0)


def test_tracks_that_share_a_constant_are_fitted_together():
    t, track = decays((0.3, 0.05))
    tracks = noisy(np.stack([track, -2 * track, np.ones_like(t)], axis=1), 1e-2)
    together = time_constants(t, tracks).constants[0]
    alone = time_constants(t, tracks[:, 0]).constants[0]
    assert together.low_ms < 50.0 < together.high_ms
    # twice the amplitude is four times the weight: five in all
    assert np.log(together.high_ms / together.low_ms) < 0.6 * np.log(alone.high_ms / alone.low_ms)


def test_what_is_over_within_a_step_is_not_told_and_does_not_spoil_the_rest():
    t, track = decays((3.0, 0.0005), (0.1, 0.05))  # the first is gone within a step
    assert taus(time_constants(t, noisy(track, 1e-4))) == [pytest.approx(0.05, rel=0.02)]


@pytest.mark.parametrize("sigma", [1e-5, 1e-3])
def test_what_begins_as_no_exponential_is_told_by_its_later_part(sigma):
    t = STEP * (1 + np.arange(440))
    track = np.where(t < 0.1, 1.0 + 2.0 * (t - 0.05), 1.1 * np.exp(-(t - 0.1) / 0.03))
    found = time_constants(t, noisy(track, sigma))
    assert taus(found) == [pytest.approx(0.03, rel=0.05)]
    assert found.late
    assert found.from_ms > 100.0


def test_a_mode_below_minus_60_db_is_not_told():
    t, track = decays((0.5e-3, 0.05))
    assert not time_constants(t, track).constants
    assert time_constants(t, track, level=0.1).constants


def test_a_drift_is_no_time_constant():
    t = STEP * np.arange(440)
    assert not time_constants(t, noisy(0.1 * t, 1e-4)).constants


@pytest.mark.parametrize("track", [np.zeros(440), np.ones(440), np.arange(8.0)])
def test_what_does_not_change_or_is_too_short_has_none(track):
    found = time_constants(STEP * np.arange(len(track)), track)
    assert found.constants == ()
    assert found.longest is None


def test_the_final_value_is_foreseen_from_the_middle_of_a_decay():
    t, track = decays((0.3, 0.3), seconds=0.5, final=2.0)
    final, remaining = final_values(t, noisy(track, 1e-5))
    assert final == pytest.approx([2.0], abs=1e-3)
    np.testing.assert_allclose(remaining[:, 0], 0.3 * np.exp(-t / 0.3), atol=1e-3)


def test_where_nothing_decays_the_final_value_is_the_mean():
    t = STEP * np.arange(200)
    track = noisy(np.ones(200), 1e-3)
    final, remaining = final_values(t, track)
    assert final == pytest.approx([np.mean(track)])
    assert not remaining.any()
