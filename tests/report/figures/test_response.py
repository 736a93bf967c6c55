import numpy as np

from profiler.analysis.response import DirectionCheck, PhaseCheck, ResponseCurve
from profiler.report.figures.response import directions, excess_phase, linear_response

FREQUENCY = tuple(np.geomspace(20.0, 20_000.0, 100))


def a_curve(level=-12.0, gain=0.0, known=100):
    return ResponseCurve(
        name="sweep",
        level_dbfs=level,
        direction="up",
        frequency_hz=FREQUENCY,
        magnitude_db=tuple(gain if n < known else None for n in range(100)),
        floor_db=(-80.0,) * 100,
        phase_degrees=(0.0,) * 100,
        group_delay_ms=(1.0,) * 100,
    )


def test_axes_have_units_and_curves_names(texts):
    drawn = texts(linear_response([("-12 dBFS", a_curve()), ("-3 dBFS", a_curve(-3.0))]))
    assert {"magnitude, dB", "group delay, ms", "frequency, Hz", "1k", "-12 dBFS"} <= set(drawn)


def test_what_is_not_known_of_a_response_is_not_drawn(lines):
    whole = lines(linear_response([("", a_curve())]), "strong")
    part = lines(linear_response([("", a_curve(known=50))]), "strong")
    assert part[0][:, 0].max() < 0.7 * whole[0][:, 0].max()


def test_a_louder_response_stands_higher(lines):
    drawn = linear_response([("soft", a_curve()), ("loud", a_curve(gain=6.0))])
    assert lines(drawn, "ink")[0][0, 1] < lines(drawn, "strong")[0][0, 1]  # downwards on the page


def test_the_excess_phase_of_a_circuit_lies_on_its_line(texts, lines):
    check = PhaseCheck(
        level_dbfs=-12.0,
        polarity=1,
        excess_delay_samples=0.0,
        excess_delay_sigma_samples=0.01,
        frequency_hz=FREQUENCY,
        excess_phase_degrees=(0.0,) * 100,
        excess_phase_rms_degrees=0.0,
        is_minimum_phase=True,
    )
    drawn = excess_phase([("", check)])
    assert "excess phase, degrees" in texts(drawn)
    assert np.ptp(lines(drawn, "strong")[0][:, 1]) == 0.0


def test_a_difference_of_directions_is_drawn_beside_its_noise(texts):
    check = DirectionCheck(
        level_dbfs=-12.0,
        frequency_hz=FREQUENCY,
        difference_db=(-30.0,) * 100,
        floor_db=(-70.0,) * 100,
        difference_rms_db=-30.0,
        floor_rms_db=-70.0,
    )
    assert {"difference", "noise"} <= set(texts(directions([("", check)])))
    assert "noise" not in texts(directions([("one", check), ("two", check)]))
