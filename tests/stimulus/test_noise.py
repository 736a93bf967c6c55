import numpy as np

from profiler.stimulus.noise import _pink, noise
from profiler.stimulus.plan import Noise


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


def test_it_has_soft_and_loud_passages_and_reaches_its_level():
    signal = noise(a_noise(seconds=20.0), 48_000, np.random.default_rng(4))
    assert np.max(np.abs(signal)) == 10 ** (-6 / 20)
    level = 10 * np.log10(np.mean(signal.reshape(-1, 480) ** 2, axis=1) + 1e-12)
    # uniform over 40 dB: 95 % less 5 % is 36 dB, the colours' own levels a little more
    assert 30.0 < np.percentile(level, 95) - np.percentile(level, 5) < 44.0
