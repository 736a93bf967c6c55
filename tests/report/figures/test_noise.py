import numpy as np
import pytest

from profiler.analysis.noise import DrivenNoise, NoiseAnalysis, NoiseBand
from profiler.report.figures.noise import noise_spectrum, signal_to_noise


def analysis(level_dbfs=-120.0):
    return NoiseAnalysis(
        quiet_seconds=1.0,
        rms_dbfs=-100.0,
        a_weighted_dbfs=-102.0,
        hiss_rms_dbfs=-100.0,
        hiss_a_weighted_dbfs=-102.0,
        hum=None,
        third_octaves=tuple(
            NoiseBand(centre_hz=1000 * 10 ** (n / 10), rms_dbfs=level_dbfs, sigma_db=0.5)
            for n in range(-17, 14)
        ),
        gate=None,
        driven=tuple(
            DrivenNoise(
                name="ladder",
                frequency_hz=440.0,
                played_dbfs=level,
                signal_rms_dbfs=level,
                noise_rms_dbfs=-100.0,
                noise_a_weighted_dbfs=-102.0,
                snr_db=level + 100.0,
            )
            for level in (-60.0, -30.0, 0.0)
        ),
    )


def test_axes_have_units(texts):
    assert "third of an octave, dBFS RMS" in texts(noise_spectrum([("", analysis())]))
    assert {"signal to noise, dB", "level played, dBFS peak", "440 Hz"} <= set(
        texts(signal_to_noise([("", analysis())]))
    )


def test_two_devices_are_named(texts):
    named = [("one", analysis()), ("two", analysis(-110.0))]
    assert {"one", "two"} <= set(texts(noise_spectrum(named)))
    assert {"one 440 Hz", "two 440 Hz"} <= set(texts(signal_to_noise(named)))


def test_white_noise_of_one_level_is_a_flat_line(lines):
    line = lines(noise_spectrum([("", analysis())]), "strong")[0]
    assert np.ptp(line[:, 1]) == pytest.approx(0.0)
    assert np.ptp(line[:, 0]) > 200.0
