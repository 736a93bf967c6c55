import numpy as np
import pytest
from scipy import signal

from profiler.circuit.cabinet import Cabinet, impulse_response, sections, transfer

RATE = 192_000


def test_the_stream_is_the_transfer_function():
    frequency = np.arange(10, 30_001) * 0.5
    found = np.fft.rfft(impulse_response(RATE, 2.0))[10:30_001]
    truth = transfer(frequency)
    # the bilinear transform shifts 15 kHz by 2 %, on a slope of 24 dB an octave
    assert np.max(np.abs(found / truth - 1.0)[frequency < 5_000]) < 0.02
    assert np.max(np.abs(found / truth - 1.0)) < 0.15


def test_it_is_of_minimum_phase():
    for numerator, denominator in sections():
        assert np.all(np.real(np.roots(denominator)) < 0.0)
        assert np.all(np.real(np.roots(numerator)) <= 0.0)


def test_it_sounds_like_a_guitar_loudspeaker():
    frequencies = (40, 110, 420, 1000, 2500, 10_000, 15_000)
    decibels = 20.0 * np.log10(np.abs(transfer(np.array(frequencies))))
    level = dict(zip(frequencies, decibels, strict=True))
    assert level[40] < level[110] - 12.0
    assert level[420] < level[110] - 5.0
    assert level[2500] > level[1000] + 4.0
    assert level[10_000] < level[2500] - 20.0
    assert level[15_000] < level[10_000] - 12.0
    assert np.abs(transfer(np.array([1e-3])))[0] < 1e-9  # nothing of a steady voltage


def test_its_response_is_over_within_two_hundredths_of_a_second():
    response = np.abs(impulse_response(RATE))
    assert np.flatnonzero(response > 1e-3 * np.max(response))[-1] < 0.02 * RATE


def test_how_a_stream_is_cut_changes_no_bit_of_it():
    volts = np.random.default_rng(0).standard_normal(1000)
    whole = Cabinet(RATE).run(volts)
    cabinet = Cabinet(RATE)
    parts = [cabinet.run(part) for part in np.split(volts, [1, 2, 77, 500])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_silence_is_left_alone():
    assert np.all(Cabinet(RATE).run(np.zeros(1000)) == 0.0)


@pytest.mark.parametrize("gain", [2.0, -0.5])
def test_it_is_linear(gain):
    volts = signal.chirp(np.arange(4000) / RATE, 50.0, 0.02, 5_000.0)
    np.testing.assert_allclose(
        Cabinet(RATE).run(gain * volts), gain * Cabinet(RATE).run(volts), atol=1e-14
    )
