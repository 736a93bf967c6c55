import numpy as np
import pytest

from profiler.capture.calibration.send import measure_send, nominal_send
from profiler.errors import CaptureError
from profiler.units import Level, parse_level

SECONDS = 2.0


def measured(rig, interface, read=None, **settings):
    return measure_send(rig, interface, read or interface.read_meter, seconds=SECONDS, **settings)


@pytest.mark.parametrize("volts", [0.5, 1.0, 1.7, 8.7])  # peak, for a sample of 1.0
def test_finds_known_volts_within_three_thousandths_of_a_decibel(volts, rig, loop):
    calibration = measured(rig, loop(send=lambda x: volts * x))
    truth = 20 * np.log10(volts / np.sqrt(2) / 0.7745966692)
    assert calibration.dbu_at_full_scale == pytest.approx(truth, abs=0.003)
    assert (calibration.basis, calibration.uncertainty_db) == ("meter", 0.1)


@pytest.mark.parametrize(
    "unit", [("V", 1.0), ("mV", 1e3), ("dBu", None), ("dBV", None)], ids=lambda unit: unit[0]
)
def test_one_meter_in_any_unit_gives_the_same(unit, rig, loop):
    """As a person types it: four digits, or hundredths of a decibel."""
    interface = loop(send=lambda x: 2.3 * x)
    name, factor = unit

    def read(level_dbfs):
        level = interface.read_meter(level_dbfs)
        value = level.value * factor if factor else level.dbu - (2.218 if name == "dBV" else 0.0)
        return parse_level(f"{value:.4g}{name}" if factor else f"{value:.2f}{name}")

    truth = 20 * np.log10(2.3 / np.sqrt(2) / 0.7745966692)
    assert measured(rig, interface, read).dbu_at_full_scale == pytest.approx(truth, abs=0.02)


def test_plays_the_quietest_first_and_nothing_above_minus_12_dbfs(rig, loop):
    interface = loop()
    measured(rig, interface)
    np.testing.assert_allclose(interface.played, [-40.0, -20.0, -12.0], atol=1e-4)


def test_stays_below_a_low_ceiling(rig, loop):
    interface = loop()
    measured(rig.model_copy(update={"maximum_send_dbfs": -20.0}), interface)
    np.testing.assert_allclose(interface.played, [-48.0, -28.0, -20.0], atol=1e-4)


def test_a_tone_that_was_not_read_is_played_again(rig, loop):
    interface = loop()
    answers = iter([None, None])

    def read(level_dbfs):
        return next(answers, interface.read_meter(level_dbfs))

    measured(rig, interface, read)
    np.testing.assert_allclose(interface.played, [-40.0] * 3 + [-20.0, -12.0], atol=1e-4)


@pytest.mark.parametrize("bend", [0.02, 0.1, 0.3])
def test_refuses_a_send_that_saturates_and_says_at_which_level_and_by_how_much(bend, rig, loop):
    """A send that takes off `bend` of a tone of -12 dBFS: 0.17 dB and more."""
    peak = 10 ** (-12 / 20)
    cubic = bend / (0.75 * peak**2)
    off = 20 * np.log10(1 - bend)
    with pytest.raises(CaptureError, match=r"at -12 dBFS is .* the send saturates") as refused:
        measured(rig, loop(send=lambda x: x - cubic * x**3))
    said = float(str(refused.value).split(" is ")[1].split(" dB")[0])
    assert said == pytest.approx(off, abs=0.1 * abs(off) + 0.01)


@pytest.mark.parametrize("drive", [0.5, 1.0, 4.0])
def test_refuses_a_send_that_goes_through_a_transformer_like_tanh(drive, rig, loop):
    with pytest.raises(CaptureError, match=r"at -12 dBFS is -.* the send saturates"):
        measured(rig, loop(send=lambda x: np.tanh(4 * drive * x)))


def test_a_send_that_bends_by_less_than_a_meter_shows_is_calibrated(rig, loop):
    """0.03 dB at -12 dBFS: within the 0.05 dB in which readings agree."""
    calibration = measured(rig, loop(send=lambda x: x - 0.07 * x**3))
    assert calibration.dbu_at_full_scale == pytest.approx(-0.79, abs=0.03)


@pytest.mark.parametrize(
    ("wrong", "by_db", "said"),
    [
        (0, 0.3, "at -40 dBFS is .* hears hum or shows too few digits"),
        (0, -0.3, "at -40 dBFS is .* misread"),
        (1, 0.06, "at -20 dBFS is .* misread"),
        (2, 6.0, "at -12 dBFS is .* misread"),
    ],
)
def test_refuses_one_reading_that_is_off_and_names_it(wrong, by_db, said, rig, loop):
    interface = loop()
    levels = []

    def read(level_dbfs):
        levels.append(level_dbfs)
        off = by_db if len(levels) - 1 == wrong else 0.0
        return Level(interface.read_meter(level_dbfs).dbu + off, "dBu")

    with pytest.raises(CaptureError, match=said) as refused:
        measured(rig, interface, read)
    assert f"is {by_db:+.2f} dB off" in str(refused.value)


@pytest.mark.parametrize("by_db", [0.04, -0.04])
def test_readings_that_agree_within_a_twentieth_of_a_decibel_are_averaged(by_db, rig, loop):
    interface = loop()

    def read(level_dbfs):
        off = by_db if level_dbfs == -20.0 else 0.0
        return Level(interface.read_meter(level_dbfs).dbu + off, "dBu")

    truth = 20 * np.log10(1 / np.sqrt(2) / 0.7745966692)
    found = measured(rig, interface, read).dbu_at_full_scale
    assert found == pytest.approx(truth + by_db / 3, abs=0.003)


def test_a_meter_does_not_read_full_scale(rig, loop):
    with pytest.raises(ValueError, match="not a voltage"):
        measured(rig, loop(), lambda level_dbfs: Level(level_dbfs, "dBFS"))


def test_a_tone_begins_and_ends_without_a_bang(rig, loop):
    interface = loop()
    measured(rig, interface)
    sounding = np.flatnonzero(interface.volts)
    first = interface.volts[sounding[0] : sounding[0] + 4800]  # a tenth of a second
    last = interface.volts[sounding[-1] - 4800 : sounding[-1]]
    loudest = np.max(np.abs(interface.volts))
    assert max(np.max(np.abs(first)), np.max(np.abs(last))) < 0.1 * loudest


def test_a_level_above_the_ceiling_is_never_asked_for(rig, loop):
    quiet = rig.model_copy(update={"maximum_send_dbfs": -30.0})
    interface = loop()
    measured(quiet, interface, loudest_dbfs=-3.0)
    assert max(interface.played) <= -30.0 + 1e-4


def test_a_data_sheet_s_level_is_nominal_and_good_to_a_decibel(rig):
    calibration = nominal_send(rig, Level(16.0, "dBu"))
    assert calibration.dbu_at_full_scale == 16.0
    assert (calibration.basis, calibration.uncertainty_db) == ("nominal", 1.0)
