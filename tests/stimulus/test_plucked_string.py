import numpy as np
import pytest

from profiler.stimulus.plucked_string import at_pickup, picked, plucked_string

RATE = 48_000


def struck(period, *, seconds=0.5, decay=4.0, treble_decay=1.0):
    """A string of constant or changing period, struck by a picked pulse."""
    period = np.broadcast_to(period, round(seconds * RATE))
    n = round(period[0])
    pulse = picked(period[0], 0.2, 4000.0, np.zeros(n), RATE)
    return plucked_string(
        period, pulse, decay_seconds=decay, treble_decay_seconds=treble_decay, sample_rate=RATE
    )


def sample_by_sample(period, pulse, gain, side):
    """The same loop, written as its difference equation."""
    wave = np.zeros(len(period))
    wave[: len(pulse)] = pulse
    for n in range(len(period)):
        whole = int(period[n]) - 2
        d = 1.0 + period[n] % 1.0
        lagrange = (
            -(d - 1) * (d - 2) * (d - 3) / 6,
            d * (d - 2) * (d - 3) / 2,
            -d * (d - 1) * (d - 3) / 2,
            d * (d - 1) * (d - 2) / 6,
        )
        taps = gain * np.convolve(lagrange, (side, 1 - 2 * side, side))
        for k, tap in enumerate(taps):
            if n - whole - k >= 0:
                wave[n] += tap * wave[n - whole - k]
    return wave


def test_computing_in_blocks_equals_the_difference_equation_sample_by_sample():
    period = 60.3 * 2.0 ** (-np.linspace(0.0, 2.0, 3000) / 12)  # a bend of two semitones
    pulse = np.random.default_rng(0).standard_normal(60)
    blocks = plucked_string(
        period, pulse, decay_seconds=2.0, treble_decay_seconds=0.5, sample_rate=RATE
    )
    gain = 10 ** (-3 * period.mean() / (RATE * 2.0))
    treble_gain = 10 ** (-3 * period.mean() / (RATE * 0.5))
    side = (1 - treble_gain / gain) / (2 * (1 - np.cos(2 * np.pi * 4000 / RATE)))
    np.testing.assert_allclose(blocks, sample_by_sample(period, pulse, gain, side), atol=1e-12)


@pytest.mark.parametrize("frequency", [82.4, 196.0, 440.0, 1174.7])
def test_a_harmonic_falls_by_what_the_loop_takes_from_it(frequency):
    period = RATE / frequency
    decay, treble_decay = 3.0, 1.5
    wave = struck(period, seconds=0.8, decay=decay, treble_decay=treble_decay)
    gain, treble_gain = (10 ** (-3 * period / (RATE * t)) for t in (decay, treble_decay))
    cosine = np.cos(2 * np.pi * frequency / RATE)
    side = (1 - treble_gain / gain) / (2 * (1 - np.cos(2 * np.pi * 4000 / RATE)))
    expected = 20 * np.log10(gain * (1 - 2 * side * (1 - cosine))) * frequency  # dB/s
    early, late = (partial(wave, frequency, at) for at in (0.2, 0.6))
    measured = 20 * np.log10(abs(late) / abs(early)) / 0.4
    # the interpolator takes a little more from the highest note: 0.3 dB/s at 1175 Hz
    assert measured == pytest.approx(expected, abs=0.4)


def test_without_losses_of_treble_every_harmonic_falls_alike():
    wave = struck(RATE / 200.0, decay=1.0, treble_decay=1.0)
    for harmonic in (1, 2, 4, 6):  # the fifth has its node under the pick
        early, late = (partial(wave, 200.0 * harmonic, at) for at in (0.1, 0.4))
        assert 20 * np.log10(abs(late) / abs(early)) == pytest.approx(-18.0, abs=0.1)


def test_a_string_picked_at_a_third_has_no_third_harmonic():
    spectrum = np.abs(np.fft.rfft(picked(300.0, 1 / 3, 20_000.0, np.zeros(300), RATE)))
    assert spectrum[3] < 1e-9 * spectrum[1]
    assert spectrum[6] < 1e-9 * spectrum[1]
    assert spectrum[0] < 1e-9 * spectrum[1]  # and no offset
    # the closed form of a rectangular pulse: sin(pi n / 3) / n
    assert spectrum[2] / spectrum[1] == pytest.approx(0.5, rel=0.02)


def test_a_pickup_does_not_hear_the_wave_whose_half_fits_before_the_bridge():
    time = np.arange(RATE) / RATE
    delay = RATE / 1000.0 + 0.25
    deaf = at_pickup(np.sin(2 * np.pi * RATE / delay * time), delay)[1000:]
    loud = at_pickup(np.sin(2 * np.pi * 0.5 * RATE / delay * time), delay)[1000:]
    assert np.max(np.abs(deaf)) < 0.01  # linear interpolation of a quarter of a sample
    assert np.max(np.abs(loud)) == pytest.approx(2.0, abs=0.01)


def partial(wave, frequency, at, width=0.16):
    """Complex amplitude of one partial around a moment."""
    n = np.arange(round((at - width / 2) * RATE), round((at + width / 2) * RATE))
    return np.sum(wave[n] * np.hanning(len(n)) * np.exp(-2j * np.pi * frequency * n / RATE))
