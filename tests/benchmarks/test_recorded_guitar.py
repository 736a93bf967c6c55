import itertools
import struct

import numpy as np
import pytest

from benchmarks.recorded_guitar import SAMPLE_RATE, midi_file, performance, recorded_guitar
from profiler.units import peak_dbfs, rms_dbfs


@pytest.fixture(scope="module")
def guitar():
    return recorded_guitar(60.0, 2)


def test_a_performance_has_the_length_and_the_peak_that_were_asked_for():
    heard = recorded_guitar(3.3, 1, level_dbfs=-11.0)
    assert heard.shape == (round(3.3 * SAMPLE_RATE),)
    assert heard.dtype == np.float32
    assert peak_dbfs(heard) == pytest.approx(-11.0, abs=1e-5)


def test_a_seed_draws_the_same_performance_and_another_seed_another():
    first = recorded_guitar(3.0, 1)
    np.testing.assert_array_equal(recorded_guitar(3.0, 1), first)
    assert np.corrcoef(recorded_guitar(3.0, 2), first)[0, 1] < 0.5


def test_it_has_the_levels_of_a_guitarists_playing(guitar):
    # Takes of recorded guitar: crest 23-26 dB, 50 ms frames at -44/-32/-23/-17 dB re peak at
    # 25/50/75/95 %; one seed of a minute is within a few dB of them.
    assert peak_dbfs(guitar) - rms_dbfs(guitar) == pytest.approx(24.5, abs=3.0)
    frames = guitar.reshape(-1, SAMPLE_RATE // 20)
    levels = [rms_dbfs(frame) - peak_dbfs(guitar) for frame in frames]
    np.testing.assert_allclose(np.percentile(levels, [50, 75, 95]), [-32, -23, -17], atol=4.0)


def test_it_has_the_spectrum_of_a_clean_guitar(guitar):
    power = np.abs(np.fft.rfft(guitar.astype(np.float64))) ** 2
    frequency = np.fft.rfftfreq(len(guitar), 1 / SAMPLE_RATE)
    edges = [150, 500, 1500, 4000, 8000]
    shares_db = [
        10 * np.log10(power[(frequency >= low) & (frequency < high)].sum() / power.sum())
        for low, high in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(shares_db, [-3, -5, -9, -28], atol=4.0)


def test_a_midi_file_says_its_notes():
    data = midi_file([(0.5, 1, 40, 100, 1.0)])
    assert data[:14] == b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480)
    track = data[22:]
    assert struct.unpack(">I", data[18:22])[0] == len(track)
    # three programs at 0; 0.5 s is 480 ticks, 83 60 in sevens; 1 s is 960, 87 40
    programs = bytes.fromhex("00 c0 1a  00 c1 1b  00 c2 1c")
    note = bytes.fromhex("83 60 91 28 64  87 40 81 28 00")
    assert track == programs + note + bytes.fromhex("87 40 ff 2f 00")


def test_every_note_is_one_of_a_guitar_and_can_be_heard():
    notes = performance(60.0, np.random.default_rng(0))
    assert {channel for _, channel, *_ in notes} == {0, 1, 2}
    assert all(40 <= pitch <= 86 and 20 <= struck <= 127 for _, _, pitch, struck, _ in notes)
    assert all(0.0 <= at < 60.0 and length > 0.0 for at, *_, length in notes)
