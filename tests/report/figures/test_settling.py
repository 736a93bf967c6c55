import numpy as np

from profiler.analysis.settling import SettlingCurve
from profiler.report.figures.settling import settling


def test_axes_have_units_and_curves_names(texts):
    seconds = np.arange(0.0, 0.5, 1 / 440)
    curves = [
        SettlingCurve("A440", level, seconds, level - 100 * seconds, -80.0)
        for level in (-33.0, -18.0, -3.0)
    ]
    labels = {"distance from steady, dB", "-33 dBFS", "-18 dBFS", "-3 dBFS"}
    assert labels <= set(texts(settling(curves, (-20, -40))))


def test_a_device_that_settles_exactly_can_be_drawn(texts):
    curve = SettlingCurve("A440", -3.0, np.array([0.0, 0.1]), np.array([0.0, -np.inf]), -np.inf)
    assert "-3 dBFS" in texts(settling([curve], (-20,)))
