import numpy as np
import pytest
from scipy import integrate, optimize

from profiler.circuit.diode import DIODES_1N914, Clipper, clip


def _current(volts, ohms):
    diodes = DIODES_1N914
    bent = 2 * diodes.saturation_amperes * np.sinh(volts / diodes.emission_volts)
    return bent + volts / ohms


@pytest.mark.parametrize("fed", [0.0, 1e-9, -3e-6, 1e-4, -2e-3, 0.05])
def test_the_static_curve_is_the_root_of_the_node_equation(fed):
    ohms = 120e3
    # without a capacitor the clipper is at its static point after one step, from anywhere
    clipper = Clipper(DIODES_1N914, ohms, 0.0, 1e-6)
    truth = optimize.brentq(lambda volts: _current(volts, ohms) - fed, -2.0, 2.0, xtol=1e-14)
    for start in (0.0, 0.7, -0.9):
        assert clip(clipper, fed, start, 0.0) == pytest.approx(truth, abs=1e-11)


def test_a_step_of_current_follows_an_independent_integration():
    ohms, farads, fed, rate = 500e3, 51e-12, 2e-4, 384_000.0
    clipper = Clipper(DIODES_1N914, ohms, farads, 1.0 / rate)
    course = [0.0, 0.0]
    for _ in range(40):
        course.append(clip(clipper, fed, course[-1], course[-2]))
    truth = integrate.solve_ivp(
        lambda _, v: (fed - _current(v, ohms)) / farads,
        (0.0, 41 / rate),
        [0.0],
        method="Radau",
        t_eval=np.arange(1, 41) / rate,
        rtol=1e-10,
        atol=1e-12,
    ).y[0]
    # a step in the feed costs the formula its second order for a few steps, no more
    assert course[12] == pytest.approx(truth[10], abs=5e-3)
    assert course[-1] == pytest.approx(truth[-1], abs=2e-5)


def test_silence_is_left_alone():
    clipper = Clipper(DIODES_1N914, 500e3, 51e-12, 1e-6)
    assert clip(clipper, 0.0, 0.0, 0.0) == 0.0
