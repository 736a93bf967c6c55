import numpy as np
import pytest
import scipy.signal

from profiler.stimulus.plan import Noise
from profiler.stimulus.shaping import (
    bass_shelf,
    finished,
    level_envelope,
    material_frames,
    scaled_to_peak,
    with_changing_colour,
    with_fades,
)


@pytest.mark.parametrize("sample_rate", [44_100, 88_200, 96_000, 192_000])
def test_resampling_keeps_a_tone_as_it_is(sample_rate):
    segment = Noise(kind="noise", name="n", use="train", seconds=0.5, level_dbfs=-20.0)
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(material_frames(segment)) / 48_000)
    signal = finished(tone, segment, sample_rate)
    assert len(signal) == sample_rate // 2
    expected = 0.1 * np.sin(2 * np.pi * 1000.0 * np.arange(len(signal)) / sample_rate)
    middle = slice(sample_rate // 100, -sample_rate // 100)
    # the highest sample, which sets the level, may lie beside the crest: 0.3 % at 44.1 kHz
    gain = np.dot(signal[middle], expected[middle]) / np.dot(expected[middle], expected[middle])
    assert gain == pytest.approx(1.0, abs=0.004)
    np.testing.assert_allclose(signal[middle], gain * expected[middle], atol=1e-5)


def test_fades_are_a_quarter_of_a_short_signal_at_most():
    faded = with_fades(np.ones(100), 48_000, 0.005)
    assert faded[0] == 0.0
    assert faded[-1] == 0.0
    assert np.all(faded[25:75] == 1.0)
    assert np.all(np.diff(faded[:26]) > 0.0)


def test_silence_stays_silence_whatever_peak_is_asked_for():
    assert not scaled_to_peak(np.zeros(10), 1.0).any()


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
