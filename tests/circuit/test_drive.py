import numpy as np
import pytest
from scipy import optimize

from profiler.circuit import drive
from profiler.circuit.device import create
from profiler.circuit.diode import DIODES_1N914
from profiler.circuit.filters import audio_taper

SETTINGS = {"drive": 6.0, "tone": 4.0, "level": 9.0}


def test_a_quiet_signal_sees_the_textbook_pedal():
    frames, level = 48_000, 1e-6
    impulse = np.zeros(frames)
    impulse[100] = level
    device = create("drive", SETTINGS, 48_000)
    response = np.roll(device.process(impulse), -100 - device.latency_samples)
    found = np.fft.rfft(response)[30:15_001] / level

    s = 2j * np.pi * np.arange(30, 15_001)
    knob = {name: audio_taper(position) for name, position in SETTINGS.items()}
    diodes = 2.0 * DIODES_1N914.saturation_amperes / DIODES_1N914.emission_volts
    feedback = 1.0 / (1.0 / (51e3 + knob["drive"] * 500e3) + diodes + s * 51e-12)
    amplified = 1.0 + feedback / (4.7e3 + 1.0 / (s * 47e-9))
    shunt = knob["tone"] * 20e3 + 1.0 / (s * 220e-9)
    truth = amplified * shunt / (shunt + 1e3) * knob["level"] * drive.OUTPUT_PER_VOLT
    # the bilinear transform's warping, and the backward difference's lag at 15 kHz
    assert np.max(np.abs(found / truth - 1.0)) < 0.02


@pytest.mark.parametrize("volts", [0.02, 0.1, -0.5, 1.0])
def test_a_slow_signal_is_clipped_along_the_static_curve(volts):
    # A slow ramp of the leg's current: 47 nF times the slope of the input, into the diodes.
    rate, slope = 384_000.0, volts * 1e4  # V/s
    pedal = drive.Drive(SETTINGS, rate)
    ramp = slope * np.arange(1, 4001) / rate
    out = pedal.run(ramp)[-1]
    fed = 47e-9 * slope
    ohms = 51e3 + audio_taper(SETTINGS["drive"]) * 500e3
    diodes = DIODES_1N914

    def excess(v):
        bent = 2 * diodes.saturation_amperes * np.sinh(v / diodes.emission_volts)
        return bent + v / ohms - fed

    clipped = optimize.brentq(excess, -2.0, 2.0, xtol=1e-13)
    # the tone control lags behind a ramp by its R C
    lagging = ramp[-1] - slope * 1e3 * 220e-9
    truth = (lagging + clipped) * audio_taper(SETTINGS["level"]) * drive.OUTPUT_PER_VOLT
    assert out == pytest.approx(truth, rel=2e-3)


def test_the_diodes_clip_both_ways_alike():
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4800) / 48_000)
    up = create("drive", SETTINGS, 48_000).process(tone)
    down = create("drive", SETTINGS, 48_000).process(-tone)
    assert np.max(np.abs(up + down)) < 1e-9  # Newton's tolerance
