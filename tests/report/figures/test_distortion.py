import numpy as np

from profiler.analysis.distortion import HarmonicCurve, SweepDistortion, ToneDistortion
from profiler.analysis.intermodulation import TwinToneIntermodulation, TwinToneStep
from profiler.report.figures.distortion import (
    intermodulation,
    sweep_harmonics,
    thd_over_frequency,
    thd_over_level,
)

FREQUENCY = tuple(np.geomspace(20.0, 20_000.0, 60))


def swept(thd=1.0):
    harmonics = tuple(
        HarmonicCurve(order=order, level_db=(-20.0 * order,) * 60, floor_db=(-110.0,) * 60)
        for order in range(1, 10)
    )
    return SweepDistortion(
        name="sweep",
        level_dbfs=-12.0,
        direction="up",
        frequency_hz=FREQUENCY,
        harmonics=harmonics,
        thd_percent=(thd,) * 60,
        thd_floor_percent=(0.002,) * 60,
    )


def a_tone(level, thd):
    return ToneDistortion(
        segment="ladder",
        at_seconds=0.0,
        frequency_hz=440.0,
        level_dbfs=level,
        harmonics_dbfs=(level, None),
        floor_dbfs=-120.0,
        thd_percent=thd,
        thd_floor_percent=0.01,
    )


def test_harmonics_up_to_the_fifth_are_named_and_so_is_the_noise(texts):
    drawn = set(texts(sweep_harmonics(swept())))
    assert {"H1", "H2", "H3", "H4", "H5", "noise", "re a sweep of full scale, dB"} <= drawn
    assert "H6" not in drawn


def test_distortion_is_labelled_in_plain_percent(texts):
    drawn = set(texts(thd_over_frequency([("", swept(0.01)), ("hot", swept(10.0))])))
    assert {"THD, %", "0.01", "1", "hot", "noise"} <= drawn


def test_a_tone_whose_distortion_is_not_known_is_not_drawn(lines):
    levels = np.linspace(-60.0, 0.0, 13)
    steps = [a_tone(level, None if level < -30 else 1.0) for level in levels]
    part = lines(thd_over_level([("440 Hz", steps)]), "strong")[0]
    whole = lines(thd_over_level([("440 Hz", [a_tone(lv, 1.0) for lv in levels])]), "strong")[0]
    assert np.ptp(part[:, 0]) < 0.7 * np.ptp(whole[:, 0])


def test_intermodulation_is_drawn_against_the_level_of_the_sum(texts):
    steps = tuple(
        TwinToneStep(
            level_dbfs=level,
            first_dbfs=level,
            second_dbfs=level - 12.0,
            products=(),
            second_order_percent=None,
            third_order_percent=1.0,
            imd_percent=1.0,
            imd_floor_percent=0.01,
        )
        for level in (-20.0, -10.0, 0.0)
    )
    twin = TwinToneIntermodulation(
        name="SMPTE", method="modulation", first_hz=60.0, second_hz=7000.0, ratio=4.0, steps=steps
    )
    drawn = set(texts(intermodulation([("60 + 7000 Hz", twin)])))
    assert {"IMD, %", "level played, dBFS peak of the sum", "60 + 7000 Hz", "noise"} <= drawn
