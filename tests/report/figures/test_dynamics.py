import numpy as np

from profiler.analysis.dynamics import Dynamics, LevelCurve, LevelPoint, StepCourse, Touch
from profiler.report.figures.dynamics import level_curves, level_steps

TOUCH = Touch(
    nominal_dbfs=-18.0,
    level_db_per_db=1.0,
    second_db_per_db=None,
    third_db_per_db=None,
    centroid_octaves_per_db=None,
)


def curve(frequency):
    points = tuple(
        LevelPoint(
            played_dbfs=level,
            level_dbfs=level,
            level_sigma_db=0.01,
            gain_db=min(0.0, -20.0 - level),
            rms_dbfs=level - 3.0,
            harmonic_ratios=(0.01, 0.001, None, None),
            centroid=1.0,
            mean_ratio=0.0,
            drift_db=0.0,
        )
        for level in (-60.0, -40.0, -20.0, 0.0)
    )
    return LevelCurve(
        name="ladder",
        frequency_hz=frequency,
        points=points,
        small_signal_gain_db=0.0,
        fallen_1db_dbfs=-19.0,
        fallen_3db_dbfs=-17.0,
        threshold_dbfs=-20.0,
        slope_db_per_db=0.0,
        ratio=None,
        touch=TOUCH,
    )


def dynamics(*frequencies):
    return Dynamics(curves=tuple(map(curve, frequencies)), steps=(), playing=())


def test_curves_of_one_device_are_told_by_their_tones(texts):
    drawn = set(texts(level_curves([("amp", dynamics(110.0, 440.0))])))
    assert {"110 Hz", "440 Hz", "gain, dB", "level played, dBFS peak", "H2", "H3"} <= drawn


def test_of_several_devices_each_has_the_curve_nearest_to_440_hz(texts):
    named = [("one", dynamics(110.0, 440.0)), ("two", dynamics(1760.0))]
    drawn = set(texts(level_curves(named)))
    assert {"one", "two", "one H2", "two H3"} <= drawn
    assert "110 Hz" not in drawn


def test_a_step_is_shown_up_and_down_from_its_edge_on(texts, lines):
    seconds = np.arange(-0.4, 1.4, 1 / 440)
    gain = np.where((seconds >= 0.0) & (seconds < 0.8), -6.0, 0.0)
    course = StepCourse("step", 440.0, seconds, 0.8, gain - 12.0, gain, 0.0 * gain, 0.0 * gain)
    drawn = level_steps([("step", course)])
    assert {
        "gain, dB",
        "time since it became louder, ms",
        "time since it became softer again, ms",
    } <= set(texts(drawn))
    up, down = sorted(lines(drawn, "strong"), key=len)[-2:]  # not those of the legends
    assert {np.sign(up[-1, 1] - up[0, 1]), np.sign(down[-1, 1] - down[0, 1])} == {-1.0, 1.0}
