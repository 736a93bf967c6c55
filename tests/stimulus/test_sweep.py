import numpy as np
import pytest

from profiler.stimulus.plan import Sweep
from profiler.stimulus.sweep import harmonic, inverse_spectrum, sweep
from profiler.units import amplitude_to_db, peak_dbfs


def segment(**changes):
    return Sweep(
        **{"name": "s", "kind": "sweep", "use": "analyse", "seconds": 3.0, "level_dbfs": -6.0}
        | changes
    )


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 192_000])
def test_has_the_length_and_peak_of_its_segment(sample_rate):
    played = sweep(segment(), sample_rate)
    assert len(played) == round(segment().duration * sample_rate)
    assert peak_dbfs(played) == pytest.approx(-6.0, abs=0.01)
    assert not played[round(segment().sweep_seconds * sample_rate) :].any()


def test_its_harmonics_are_itself_advanced():
    # Novak et al.: sin(m phi(t)) = sin(phi(t + L ln m)), exactly, when f1 L is whole
    chosen = segment(seconds=5.0)
    rate = chosen.rate_constant
    t = np.linspace(0, 3, 1000)

    def phase(t):
        return 2 * np.pi * chosen.start_hz * rate * np.exp(t / rate)

    np.testing.assert_allclose(np.sin(3 * phase(t)), np.sin(phase(t + rate * np.log(3))), atol=1e-8)
    assert chosen.start_hz * rate == pytest.approx(round(chosen.start_hz * rate))


def test_a_sweep_that_goes_down_is_the_one_that_goes_up_played_backwards():
    up, down = (sweep(segment(direction=d), 48_000) for d in ("up", "down"))
    end = segment().sweep_seconds * 48_000
    t = np.arange(1000, end - 1000)
    backwards = np.interp(end - t, np.arange(len(up)), up)
    slow = t > 0.6 * end  # where linear interpolation is good
    np.testing.assert_allclose(down[t.astype(int)][slow], backwards[slow], atol=1e-3)
    assert not down[round(end) + 1 :].any()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_polynomial_s_harmonics_are_those_of_the_sweep(direction):
    chosen = segment(level_dbfs=0.0, direction=direction, stop_hz=10_000.0)
    first, second, third = (harmonic(chosen, 96_000, order) for order in (1, 2, 3))
    steady = np.zeros(len(first), dtype=bool)
    edge = round(0.06 * 96_000)
    steady[edge : round(chosen.sweep_seconds * 96_000) - edge] = True
    # T3(sin a) = -sin 3a; the square of a sine has a cosine of twice its angle
    np.testing.assert_allclose((3 * first - 4 * first**3)[steady], third[steady], atol=1e-9)
    both = second**2 + (1 - 2 * first**2) ** 2
    np.testing.assert_allclose(both[steady], 1.0, atol=1e-9)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_its_inverse_turns_it_into_an_impulse(direction):
    chosen = segment(level_dbfs=0.0, direction=direction)
    played = sweep(chosen, 48_000)
    frames = 2**19
    frequency = np.fft.rfftfreq(frames, 1 / 48_000)
    response = np.fft.rfft(played, frames) / 48_000 * inverse_spectrum(chosen, frequency)
    middle = (frequency > 100) & (frequency < 15_000)
    # what the stationary phase leaves out, mid-band, and the fades
    assert np.max(np.abs(amplitude_to_db(response[middle]))) < 0.005
    assert np.max(np.abs(np.angle(response[middle]))) < 0.001


def test_its_inverse_is_zero_at_zero_hertz():
    assert inverse_spectrum(segment(), np.zeros(1))[0] == 0.0


def test_refuses_to_pass_half_the_sample_rate():
    with pytest.raises(ValueError, match="does not fit a sample rate of 44100 Hz"):
        sweep(segment(stop_hz=22_050.0), 44_100)
