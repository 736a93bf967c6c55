import numpy as np
import pytest

from profiler.stimulus.multisine import multisine
from profiler.stimulus.plan import SAMPLE_RATES, Multisine


def a_multisine(**changes):
    values = {"seconds": 3.0, "level_dbfs": -6.0}
    return Multisine(kind="multisine", name="m", use="train", **(values | changes))


def drawn(segment, sample_rate=48_000, seed=0):
    return multisine(segment, sample_rate, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_samples_and_another_seed_others():
    assert np.array_equal(drawn(a_multisine()), drawn(a_multisine()))
    assert not np.array_equal(drawn(a_multisine()), drawn(a_multisine(), seed=1))


def test_the_mixtures_multisine_is_made_of_few_sines_at_many_levels():
    signal = drawn(a_multisine(seconds=30.0))
    frames = signal[: 30 * 48_000 // 2400 * 2400].reshape(-1, 2400)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    # levels from -35 to 0 dB re a chord's peak of 1, whose crest is 3 to 15 dB
    assert np.percentile(level, 95) - np.percentile(level, 5) > 20.0
    # at most 40 sines in 2400 samples: most of the 1200 lines of most frames are empty
    power = np.sort(np.abs(np.fft.rfft(frames * np.hanning(2400), axis=1)) ** 2, axis=1)
    in_the_loudest = power[:, -120:].sum(axis=1) / power.sum(axis=1)
    assert np.median(in_the_loudest) > 0.999


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_the_odd_multisine_plays_three_of_four_odd_lines_and_nothing_else(sample_rate):
    signal = drawn(a_multisine(odd_only=True), sample_rate)
    period = sample_rate // 2
    spectrum = np.abs(np.fft.rfft(signal[:period]))
    played = np.flatnonzero(spectrum > 1e-6 * spectrum.max())
    assert np.all(played % 2 == 1)
    assert played[0] >= 10  # 20 Hz
    assert played[-1] <= 10_000  # 20 kHz
    odd = np.isin(np.arange(11, 10_000, 2), played)
    groups = odd[: len(odd) // 4 * 4].reshape(-1, 4)
    assert np.all(groups.sum(axis=1) == 3)
    assert len(np.unique(np.argmin(groups, axis=1))) == 4  # the empty one is drawn


def test_the_odd_multisine_is_periodic_from_its_first_sample_to_its_last():
    signal = drawn(a_multisine(odd_only=True))
    periods = signal.reshape(6, 24_000)
    assert np.array_equal(periods, np.broadcast_to(periods[0], periods.shape))


def test_realisations_have_the_same_lines_and_loudness_and_other_phases():
    signal = drawn(a_multisine(odd_only=True, realisations=3, seconds=4.5))
    periods = signal.reshape(3, 3, 24_000)
    assert np.array_equal(periods, np.broadcast_to(periods[:, :1], periods.shape))
    spectra = np.fft.rfft(periods[:, 0])
    played = np.abs(spectra) > 1e-6 * np.abs(spectra).max()
    assert np.array_equal(played[0], played[1])
    np.testing.assert_allclose(np.abs(spectra[0]), np.abs(spectra[2]), atol=1e-6)
    turned = np.exp(1j * (np.angle(spectra[1]) - np.angle(spectra[0])))[played[0]]
    assert abs(np.mean(turned)) < 0.05  # of thousands of lines
    assert 20 * np.log10(np.max(np.abs(signal))) == pytest.approx(-6.0, abs=1e-6)


def test_one_realisation_is_the_multisine_that_it_always_was():
    assert np.array_equal(
        drawn(a_multisine(odd_only=True)), drawn(a_multisine(odd_only=True, realisations=1))
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"realisations": 2, "odd_only": True, "seconds": 1.0}, "two or more whole periods"),
        ({"realisations": 2, "odd_only": True, "seconds": 2.3}, "whole periods of 0.5 s"),
        ({"realisations": 2}, "set odd_only = true"),
    ],
)
def test_realisations_that_do_not_fit_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        a_multisine(**changes)


def test_the_odd_multisine_begins_at_a_gentle_zero_crossing():
    signal = drawn(a_multisine(odd_only=True))
    step = np.abs(np.diff(signal))
    assert abs(signal[0]) < np.median(step)


def test_the_odd_multisine_is_the_same_sound_at_every_sample_rate():
    at_48 = drawn(a_multisine(odd_only=True), 48_000)
    at_96 = drawn(a_multisine(odd_only=True), 96_000)
    # but for the scaling by the highest sample, which falls elsewhere
    gain = np.dot(at_48, at_96[::2]) / np.dot(at_48, at_48)
    assert gain == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(at_96[::2], gain * at_48, atol=1e-9)
