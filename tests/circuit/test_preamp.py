"""The two 12AX7 stages whose figures are known: settling, rest and gain recovery, and ngspice."""

import numpy as np
import pytest
from scipy import signal

from profiler.analysis.error import esr
from profiler.circuit.netlist import Triode
from profiler.circuit.preamp import two_stages
from profiler.circuit.solver import Solver
from profiler.circuit.spice import run_spice
from profiler.stimulus.guitar import guitar
from profiler.stimulus.plan import Guitar
from profiler.units import power_to_db

RATE = 192_000  # four times 48 kHz
LISTENED = 48_000
HYPERPERIOD = 1_200  # samples, 11 cycles of 440 Hz
BURST = 28 * HYPERPERIOD  # 0.7 s
SILENCE = 16 * HYPERPERIOD

# What is known, in ms, at each level in V: the last time that a cycle's ESR exceeds -20, -30,
# -40, -60 dB; that what is left after the tone exceeds -60 dB of its peak; that the gain of a
# probe at 3.1 kHz is more than 0.1 dB off.
SETTLING_MS = {0.05: (5.7, 39.0, 67.0, 121.0), 1.0: (34.0, 62.0, 90.0, 145.0)}
REST_MS = {0.05: 170.0, 1.0: 261.0, 4.0: 288.0}
RECOVERY_MS = {1.0: 140.0, 4.0: 170.0}


def _burst(volts, *, probe_volts=0.0):
    """Silence, the A440 burst, silence: `(n,)` at RATE."""
    times = RATE // LISTENED
    begin, length, after = (times * n for n in (2 * HYPERPERIOD, BURST, SILENCE))
    t = np.arange(begin + length + after) / RATE
    sounding = (t >= begin / RATE) & (t < (begin + length) / RATE)
    tone = volts * np.sin(2 * np.pi * 440.0 * (t - begin / RATE))
    return np.where(sounding, tone, 0.0) + probe_volts * np.sin(2 * np.pi * 3_100.0 * t)


@pytest.fixture(scope="module")
def responses():
    """To the burst at each level, at 48 kHz."""
    outputs = {v: Solver(two_stages(), RATE).run(_burst(v)) for v in REST_MS}
    return {v: signal.resample_poly(y, 1, RATE // LISTENED) for v, y in outputs.items()}


@pytest.mark.parametrize("volts", SETTLING_MS)
def test_settles_in_the_known_times(responses, volts):
    tone = responses[volts][2 * HYPERPERIOD :][:BURST]
    template = np.resize(tone[-8 * HYPERPERIOD :].reshape(8, -1).mean(axis=0), BURST)
    period = LISTENED / 440.0
    ends = np.arange(period, BURST)

    def over_a_period(energy):
        running = np.concatenate(([0.0], np.cumsum(energy)))
        samples = np.arange(BURST + 1)
        return np.interp(ends, samples, running) - np.interp(ends - period, samples, running)

    error_db = power_to_db(
        over_a_period((tone - template) ** 2) / over_a_period(template**2) + 1e-30
    )
    found = [ends[np.flatnonzero(error_db > eps)[-1]] for eps in (-20, -30, -40, -60)]
    np.testing.assert_allclose(np.array(found) / LISTENED * 1e3, SETTLING_MS[volts], rtol=0.05)


@pytest.mark.parametrize("volts", REST_MS)
def test_comes_to_rest_in_the_known_time(responses, volts):
    end = 2 * HYPERPERIOD + BURST
    peak = np.max(np.abs(responses[volts][end - HYPERPERIOD : end]))
    left = responses[volts][end:]
    window = LISTENED // 200
    rms = np.sqrt(np.convolve(left**2, np.full(window, 1.0 / window), "valid"))
    found = np.flatnonzero(rms > 1e-3 * peak)[-1] / LISTENED
    assert found * 1e3 == pytest.approx(REST_MS[volts], rel=0.05)


@pytest.mark.parametrize("volts", RECOVERY_MS)
def test_amplifies_again_after_the_known_time(volts):
    driven = _burst(volts, probe_volts=volts * 10 ** (-50 / 20))
    response = Solver(two_stages(), RATE).run(driven)
    window = round(31 * RATE / 3_100.0)  # 10 ms, of whole periods
    turned = response * np.exp(-2j * np.pi * 3_100.0 * np.arange(len(response)) / RATE)
    gain = np.abs(signal.fftconvolve(turned, np.full(window, 1.0 / window), "valid"))
    end = len(driven) - SILENCE * RATE // LISTENED
    off_db = power_to_db((gain[end:] / gain[-1]) ** 2)
    found = np.flatnonzero(np.abs(off_db) > 0.1)[-1] / RATE
    assert found * 1e3 == pytest.approx(RECOVERY_MS[volts], rel=0.05)


def _guitar(volts, seconds):
    segment = Guitar(
        name="g", kind="guitar", seconds=4.0, level_dbfs=0.0, use="test", lowest_db=-10.0
    )
    played = guitar(segment, LISTENED, np.random.default_rng(11))
    loudest = np.argmax(np.abs(played))
    frames = round(seconds * LISTENED)
    piece = played[max(loudest - frames // 4, 0) :][:frames] * np.minimum(
        1.0, np.arange(frames) / 48.0
    )
    return volts * piece / np.max(np.abs(piece))


@pytest.mark.parametrize("volts", [0.05, 1.0])
@pytest.mark.parametrize("material", ["A440", "guitar"])
def test_sounds_as_in_ngspice_at_four_times_48_khz(material, volts):
    seconds = 0.06
    if material == "A440":
        tone = np.sin(2 * np.pi * 440.0 * np.arange(round(seconds * LISTENED)) / LISTENED)
        played = volts * np.where(np.arange(len(tone)) < 0.75 * len(tone), tone, 0.0)
    else:
        played = _guitar(volts, seconds)
    fine = signal.resample_poly(played, 8, 1)  # what lies between the samples, for ngspice
    truth, _ = run_spice(two_stages(), fine, 8 * LISTENED, steps_a_sample=1)
    found = Solver(two_stages(), RATE).run(fine[::2])
    listened = [signal.resample_poly(y, 1, times) for y, times in ((truth, 8), (found, 4))]
    assert esr(*listened) < 1e-6


def test_grids_may_conduct_as_data_sheets_tell():
    tubes = [*two_stages(koren_grids=False).of(Triode)]
    assert all(tube.grid_conducts for tube in tubes)
    driven = _burst(1.0)[: RATE // 10]
    own = Solver(two_stages(koren_grids=False), RATE).run_probes(driven)["grid"]
    koren = Solver(two_stages(), RATE).run_probes(driven)["grid"]
    # the diode lets the grid rise some tenths of a volt higher
    assert 0.1 < np.max(koren) - np.max(own) < 0.5
