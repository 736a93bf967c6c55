import numpy as np
import pytest

from profiler.analysis.gain_recovery import GainCurve, GainRecovery
from profiler.analysis.memory_kinds import memory_kinds
from profiler.analysis.receptive_field import Reach, recommended
from profiler.analysis.settling import BurstSettling, SettlingAnalysis, SettlingCurve
from profiler.analysis.time_constants import TimeConstant, TimeConstants
from profiler.report.figures import adjustment as figures

NONE = TimeConstants()
SOME = TimeConstants(
    constants=(TimeConstant(tau_ms=50.0, low_ms=45.0, high_ms=55.0, share=0.1),), late=True
)


def burst(level_dbfs, frequency, rest_ms=20.0):
    return BurstSettling(
        name="b",
        level_dbfs=level_dbfs,
        frequency=frequency,
        settling_ms={"-40": 150.0},
        dc_settling_ms={"-40": 10.0},
        rest_ms={"-40": rest_ms},
        floor_db=-80.0,
        steady=True,
        at_least_ms=None,
        steady_after_samples=9000,
        silent_after_samples=2000,
        zero_after_samples=None,
        settling=SOME,
        dc=NONE,
        tail=NONE,
        coupling_ms=None,
    )


def analysis(rest_ms=20.0, pumps=True):
    recoveries = (
        GainRecovery(
            name="p",
            level_dbfs=-3.0,
            frequency=440.0,
            probe_frequency=3300.0,
            tone_ms=1000.0,
            under_db=-6.0,
            departure_db=-3.0,
            sigma_db=0.001,
            recovery_ms=170.0,
            at_least_ms=None,
            recovering=SOME,
        ),
    )[: int(pumps)]
    field = recommended([Reach("it takes", 0.17)], 48_000)
    return SettlingAnalysis(
        sample_rate=48_000,
        bursts=(burst(-18.0, 440.0), burst(-3.0, 110.0, rest_ms)),
        recoveries=recoveries,
        memory=memory_kinds([], recoveries),
        receptive_field_samples=field.samples,
        receptive_field=field,
    )


def curves():
    seconds = np.arange(0.0, 0.5, 1 / 440)
    for level, frequency in ((-18.0, 440.0), (-3.0, 110.0)):
        error_db = np.maximum(level - 200 * seconds, -80.0)
        yield SettlingCurve("b", level, seconds, error_db, -80.0, frequency)


def recovery():
    seconds = np.arange(-0.5, 1.0, 0.001)
    departure = -3.0 * np.where(seconds < 0, 1.0, np.exp(-seconds / 0.05))
    return GainCurve("p", -3.0, seconds, departure, 1.0, 0.001)


def test_everything_has_axes_with_units_and_names(texts):
    said = set(texts(figures.adjustment(tuple(curves()), (recovery(),), analysis())))
    assert {"tone of 440 Hz", "tone of 110 Hz", "from steady, dB", "-18 dBFS"} <= said
    assert {"gain off by, dB", "time since the burst ended, ms", "-3 dBFS, 1000 ms"} <= said
    assert {"time constant, ms", "waveform, 440 Hz -18 dB", "gain, 1000 ms -3 dB"} <= said
    assert {"time, ms", "settles, 110 Hz -3 dB", "standard", "A2", "needed"} <= said


def test_without_a_pump_there_is_no_recovery_to_be_seen(texts):
    said = set(texts(figures.adjustment(tuple(curves()), (), analysis(pumps=False))))
    assert "gain off by, dB" not in said
    assert "time constant, ms" in said


def test_what_was_not_seen_to_its_end_is_said(texts):
    assert "not seen to its end" in texts(figures.receptive_field(analysis(rest_ms=None)))
    assert "not seen to its end" not in texts(figures.receptive_field(analysis()))


def test_a_gain_that_comes_back_falls(lines):
    drawing = figures.gain_recovery([("-3 dBFS", recovery())])
    curve = max(lines(drawing, "strong"), key=lambda line: np.ptp(line[:, 1]))
    assert np.all(np.diff(curve[:, 1]) >= 0.0)  # downwards on the page
    assert np.ptp(curve[:, 1]) > 50.0


@pytest.mark.parametrize(
    "drawing",
    [
        figures.adjustment(tuple(curves()), (recovery(),), analysis()),
        figures.effective_constants(analysis()),
        figures.receptive_field(analysis()),
    ],
    ids=lambda drawing: drawing.name,
)
def test_it_can_be_sent_as_a_png(drawing):
    assert drawing.png().startswith(b"\x89PNG")
    assert drawing.svg() == drawing.svg()


def test_a_device_that_was_steady_at_once_can_be_drawn(texts):
    seconds = np.array([0.0, 0.1])
    still = SettlingCurve("b", -3.0, seconds, np.array([-200.0, -200.0]), -200.0)
    gone = GainCurve("p", -3.0, np.array([-0.1, 0.1, 0.2]), np.zeros(3), 1.0, 0.0)
    assert "-3 dBFS" in texts(figures.adjustment((still,), (gone,), analysis()))


def test_settling_of_devices_laid_over_each_other_is_named(texts):
    seconds = np.arange(0.0, 0.5, 1 / 440)
    curves = [
        (name, SettlingCurve("A440", level, seconds, level - 100 * seconds, -80.0))
        for name, level in (("one", -18.0), ("two", -3.0))
    ]
    drawn = figures.settling(curves, (-20, -40))
    assert {"distance from steady, dB", "one", "two"} <= set(texts(drawn))


def test_a_device_that_settles_exactly_can_be_drawn(texts):
    curve = SettlingCurve("A440", -3.0, np.array([0.0, 0.1]), np.array([0.0, -np.inf]), -np.inf)
    assert "wire" in texts(figures.settling([("wire", curve)], (-20,)))
