import numpy as np
import pytest

from profiler.capture.hum import mains_lines, measure_hum

RATE = 48_000


def silence(*lines, seconds=0.8, noise_rms=1e-4, seed=0):
    """Noise with lines of (frequency, peak)."""
    t = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    heard = noise_rms * rng.standard_normal(len(t))
    for frequency, peak in lines:
        heard += peak * np.sin(2 * np.pi * frequency * t + rng.uniform(0, 2 * np.pi))
    return heard


@pytest.mark.parametrize("mains", [50, 60])
@pytest.mark.parametrize(("orders", "origin"), [((1, 3, 5), "loop"), ((2, 4, 6), "rectifier")])
def test_mains_origin_and_level_are_told(mains, orders, origin):
    found = measure_hum(silence(*((mains * k, 1e-3 / k) for k in orders)), RATE)
    assert (found.mains_hz, found.origin) == (mains, origin)
    assert found.strongest_hz == mains * orders[0]
    assert found.level_dbfs == pytest.approx(-60.0 - 20 * np.log10(orders[0]), abs=0.3)
    # a Hann window of 0.8 s takes white noise of -80 dBFS RMS to -117 dBFS of peak
    assert found.floor_dbfs == pytest.approx(-80.0 + 10 * np.log10(6.0 / (0.8 * RATE)), abs=2.5)


def test_300_hz_alone_does_not_decide_between_the_mains():
    found = measure_hum(silence((60.0, 2e-4), (180.0, 4e-4), (300.0, 1e-3)), RATE)
    assert (found.mains_hz, found.strongest_hz) == (60, 300)


def test_noise_alone_never_hums():
    assert not [seed for seed in range(100) if measure_hum(silence(seed=seed), RATE)]


@pytest.mark.parametrize("frequency", [80.0, 440.0, 233.1])
def test_a_tone_that_is_no_multiple_of_the_mains_is_no_hum(frequency):
    assert measure_hum(silence((frequency, 1e-3)), RATE) is None


def test_too_little_silence_tells_nothing():
    assert measure_hum(silence((50.0, 1e-2), seconds=0.2), RATE) is None
    assert mains_lines(np.zeros(0), RATE) == ()


def test_digital_silence_does_not_hum():
    assert measure_hum(np.zeros(RATE), RATE) is None
