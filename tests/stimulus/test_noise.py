import numpy as np
import pytest
import scipy.signal

from profiler.stimulus.noise import _pink, noise
from profiler.stimulus.plan import Noise
from profiler.stimulus.shaping import bass_shelf, level_envelope, with_changing_colour


def a_noise(**changes):
    values = {"seconds": 4.0, "level_dbfs": -6.0, "lowest_db": -40.0}
    return Noise(kind="noise", name="n", use="train", **(values | changes))


def test_the_same_seed_gives_the_same_samples_and_another_seed_others():
    first, again, other = (noise(a_noise(), 48_000, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    # some tens of independent stretches of bass: correlation of 0.1 by chance
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.3


def test_pink_noise_has_equal_power_in_every_octave():
    spectrum = np.abs(np.fft.rfft(_pink(2**19, np.random.default_rng(0)))) ** 2
    frequency = np.fft.rfftfreq(2**19, 1 / 48_000)
    octaves = [
        10 * np.log10(spectrum[(frequency >= low) & (frequency < 2 * low)].sum())
        for low in (62.5, 125, 250, 500, 1000, 2000, 4000, 8000)
    ]
    # the lowest octave has 683 lines: 4.34 dB / sqrt(683) = 0.17 dB, three of them
    assert np.ptp(octaves) < 2 * 3 * 0.17


def test_levels_are_uniform_in_db_over_the_whole_range():
    rng = np.random.default_rng(0)
    envelope = level_envelope(60 * 48_000, rng, lowest_db=-40.0, seconds=(0.02, 0.5), gliding=0.0)
    db = 20 * np.log10(envelope)
    assert db.min() >= -40.0
    assert db.max() <= 1e-9
    # some 400 levels, of unequal length: the share of a quarter is 0.25 +- 0.03
    share, _ = np.histogram(db, bins=(-40, -30, -20, -10, 0.001))
    assert np.all(np.abs(share / len(db) - 0.25) < 0.09)


def test_an_envelope_jumps_over_a_millisecond_and_no_faster():
    envelope = level_envelope(
        480_000, np.random.default_rng(1), lowest_db=-40.0, seconds=(0.02, 0.5), gliding=0.0
    )
    assert np.max(np.abs(np.diff(envelope))) <= 1.0 / 48 + 1e-12


def test_the_colour_changes_while_the_peak_of_each_passage_stays():
    rng = np.random.default_rng(3)
    flat = rng.uniform(-1.0, 1.0, 20 * 48_000)
    coloured = with_changing_colour(flat, rng, mean_seconds=1.0, corner_hz=(400.0, 16_000.0))
    # no passage is longer than 1.4 s: each lies, with its peak, within some 2.8 s
    peaks = [np.max(np.abs(coloured[start : start + 134_400])) for start in range(0, 800_000, 4800)]
    assert min(peaks) > 0.99
    assert max(peaks) < 1.01
    frames = coloured.reshape(-1, 24_000)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    frequency = np.fft.rfftfreq(24_000, 1 / 48_000)
    centroid = (power * frequency).sum(axis=1) / power.sum(axis=1)
    assert centroid.min() < 1000.0
    assert centroid.max() > 4000.0


@pytest.mark.parametrize("gain_db", [-6.0, 10.0])
def test_the_bass_shelf_lifts_the_bass_and_nothing_else(gain_db):
    b, a = bass_shelf(180.0, gain_db, 48_000)
    _, H = scipy.signal.freqz(b, a, [1.0, 180.0, 10_000.0], fs=48_000)
    np.testing.assert_allclose(20 * np.log10(np.abs(H)), [gain_db, gain_db / 2, 0], atol=0.01)
