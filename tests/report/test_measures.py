import numpy as np
import pytest

from profiler.report.measures import measured_facts
from profiler.units import amplitude_to_db


def facts(analysis):
    return dict(measured_facts(analysis))


def test_noise_is_told_unweighted_and_as_ears_hear_it(noisy):
    assert facts(noisy(-80.04, -83.26))["noise floor"] == "-80.0 dBFS RMS, -83.3 dB(A)"


def test_digital_silence_is_nothing_and_a_noise_that_was_not_measured_is_not_known(noisy, empty):
    assert facts(noisy(None, None))["noise floor"] == "nothing at all"
    assert facts(empty) == {"noise floor": "not known"}


@pytest.mark.parametrize("measure", ["settling", "response", "distortion", "memory", "dynamics"])
def test_everything_that_was_measured_is_told_with_its_unit(measured_tanh, measure):
    told = {
        "settling": ("settling time", "440 Hz at -12 dBFS: 0 ms to -20 dB"),
        "response": ("response", " Hz to "),
        "distortion": ("THD at 1 kHz", " %"),
        "memory": ("memory", "memoryless"),
        "dynamics": ("compression", "1 dB at -"),
    }
    name, words = told[measure]
    assert words in facts(measured_tanh.analysis)[name]


def test_the_compression_of_a_known_curve_is_what_is_told(measured_tanh):
    """The gain of tanh(4 x) for a sine of peak p is its describing function, by quadrature."""
    words = facts(measured_tanh.analysis)["compression"]
    level = float(words.split("1 dB at ")[1].split(" dBFS")[0])
    sine = np.sin(2.0 * np.pi * np.arange(4096) / 4096)
    peak = 10.0 ** (level / 20.0)
    gain = 2.0 * np.mean(np.tanh(4.0 * peak * sine) * sine) / (4.0 * peak)
    assert amplitude_to_db(gain) == pytest.approx(-1.0, abs=0.03)
