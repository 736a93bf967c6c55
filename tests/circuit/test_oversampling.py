import numpy as np
import pytest

from profiler.circuit.oversampling import LATENCY_SAMPLES, Oversampled, factor


@pytest.mark.parametrize(
    ("sample_rate", "times"), [(44_100, 8), (48_000, 8), (88_200, 4), (96_000, 4), (192_000, 2)]
)
def test_the_internal_rate_is_the_same_region_for_every_sample_rate(sample_rate, times):
    assert factor(sample_rate) == times


@pytest.mark.parametrize("sample_rate", [44_100, 96_000, 192_000])
def test_up_and_down_again_only_delays(sample_rate):
    frames = 4096
    oversampled = Oversampled(sample_rate)
    impulse = np.zeros(frames)
    impulse[0] = 1.0
    response = np.fft.rfft(oversampled.down(oversampled.up(impulse)))
    frequency = np.fft.rfftfreq(frames)
    late = np.exp(-2j * np.pi * frequency * LATENCY_SAMPLES)
    band = frequency <= 0.45
    # two filters of 100 dB: 1e-5 each
    assert np.max(np.abs(response - late)[band]) < 3e-5


def test_what_would_fold_back_is_stopped():
    oversampled = Oversampled(48_000)
    frames = 4096
    at = np.arange(frames * oversampled.factor) / oversampled.factor
    for frequency in (0.56, 0.9, 1.3, 2.7, 3.9):  # re the outer rate
        folded = oversampled.down(np.sin(2 * np.pi * frequency * at))[LATENCY_SAMPLES:]
        assert np.max(np.abs(folded)) < 2e-5


def test_images_of_the_signal_are_stopped():
    oversampled = Oversampled(48_000)
    n = np.arange(4096)
    inner = oversampled.up(np.sin(2 * np.pi * 0.25 * n))[-2048 * oversampled.factor :]
    spectrum = np.abs(np.fft.rfft(inner * np.blackman(len(inner)))) / (0.21 * len(inner))
    frequency = np.fft.rfftfreq(len(inner), 1.0 / oversampled.factor)
    assert np.max(spectrum[frequency > 0.55]) < 2e-5
