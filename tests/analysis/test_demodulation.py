import numpy as np
import pytest

from profiler.analysis.demodulation import demodulated


def tones(rate, seconds, *parts):
    """Cosines of (amplitude, frequency, phase)."""
    t = np.arange(round(seconds * rate)) / rate
    return sum(a * np.cos(2 * np.pi * f * t + phase) for a, f, phase in parts)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
def test_harmonics_are_told_apart_over_two_periods_whatever_the_rate(rate):
    parts = ((0.5, 440.0, 0.3), (0.2, 880.0, -1.0), (0.01, 1320.0, 2.0))
    signal = 0.1 + tones(rate, 0.1, *parts)
    seconds, amplitudes = demodulated(
        signal, rate, [0.0, 440.0, 880.0, 1320.0], window_seconds=2 / 440, hop_seconds=1 / 440
    )
    expected = [0.1, *(a * np.exp(1j * phase) for a, _, phase in parts)]
    # what is left is the window as it is sampled: (1 / 200)^3 at the sample rate's images
    np.testing.assert_allclose(amplitudes, np.tile(expected, (len(seconds), 1)), atol=2e-7)
    assert seconds[0] == pytest.approx(1 / 440, abs=1 / rate)
    assert np.diff(seconds) == pytest.approx(1 / 440, abs=1 / rate)


def test_an_exponential_keeps_its_constant():
    t = np.arange(48_000) / 48_000
    signal = (1 + np.exp(-t / 0.05)) * np.cos(2 * np.pi * 440 * t)
    seconds, amplitudes = demodulated(
        signal, 48_000, [440.0], window_seconds=2 / 440, hop_seconds=1 / 440
    )
    left = np.log(np.abs(amplitudes[:, 0]) - 1)
    early = seconds < 0.2
    assert np.polyfit(seconds[early], left[early], 1)[0] == pytest.approx(-20.0, rel=1e-3)


def test_a_tone_two_bins_away_is_not_heard_however_loud():
    signal = tones(48_000, 0.2, (1e-3, 3300.0, 0.0), (1.0, 3080.0, 0.5), (1.0, 440.0, 0.1))
    _, amplitudes = demodulated(signal, 48_000, [3300.0], window_seconds=2 / 220, hop_seconds=0.001)
    np.testing.assert_allclose(np.abs(amplitudes), 1e-3, rtol=1e-3)


def test_a_signal_shorter_than_a_window_has_no_moments():
    seconds, amplitudes = demodulated(
        np.ones(10), 48_000, [0.0, 1.0], window_seconds=0.01, hop_seconds=0.01
    )
    assert seconds.shape == (0,)
    assert amplitudes.shape == (0, 2)


def test_a_window_of_two_samples_is_refused():
    with pytest.raises(ValueError, match="less than three samples"):
        demodulated(np.ones(100), 48_000, [0.0], window_seconds=2 / 48_000, hop_seconds=0.01)
