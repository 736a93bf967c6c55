import numpy as np

from profiler.report.figures.response import response

FREQUENCIES = np.geomspace(10.0, 24_000.0, 500)


def flat():
    level = np.full(500, -6.0)
    return response(FREQUENCIES, level, {2: level - 30.0, 3: level - 40.0})


def test_axes_have_units_and_curves_names(texts):
    labels = {"magnitude, dB", "frequency, Hz", "1k", "linear", "H2", "H3"}
    assert labels <= set(texts(flat()))


def test_what_is_not_known_of_a_response_is_not_drawn(lines):
    known = np.where(FREQUENCIES < 5_000.0, -6.0, np.nan)
    part = lines(response(FREQUENCIES, known, {2: known - 30.0, 3: known - 200.0}), "strong")
    assert max(line[-1, 0] for line in part) < max(line[-1, 0] for line in lines(flat(), "strong"))
