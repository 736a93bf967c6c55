import math

import numpy as np
import pytest

from profiler import units
from profiler.units import Duration, Level, parse_level, parse_time


def test_a_factor_of_two_in_amplitude_is_6_02_db_and_in_power_3_01():
    assert units.amplitude_to_db(2.0) == pytest.approx(6.0206, abs=1e-4)
    assert units.power_to_db(2.0) == pytest.approx(3.0103, abs=1e-4)


def test_decibels_and_amplitudes_undo_each_other():
    levels_db = np.linspace(-120.0, 20.0, 29)
    there_and_back = units.amplitude_to_db(units.db_to_amplitude(levels_db))
    np.testing.assert_allclose(there_and_back, levels_db, atol=1e-12)


def test_zero_is_minus_infinity_without_a_warning():
    assert units.amplitude_to_db(0.0) == -math.inf
    assert units.power_to_db(0.0) == -math.inf


def test_the_level_of_one_number_is_one_number():
    assert np.ndim(units.db_to_amplitude(-6.0)) == 0


def test_the_peak_level_is_that_of_the_largest_sample_of_either_sign():
    assert units.peak_dbfs(np.array([0.1, -0.5, 0.2])) == pytest.approx(-6.0206, abs=1e-4)


def test_a_full_scale_sine_has_an_rms_of_minus_3_dbfs_and_a_square_of_0():
    sine = np.sin(2 * np.pi * np.arange(4800) / 48)
    assert units.rms_dbfs(sine) == pytest.approx(-3.0103, abs=1e-4)
    assert units.rms_dbfs(np.sign(sine + 1e-9)) == pytest.approx(0.0, abs=1e-12)


def test_the_rms_of_float32_is_summed_in_float64():
    # summed in float32, 3e-4 squared would be lost beside what has been gathered
    steady = np.full(20_000_000, 3e-4, dtype=np.float32)
    assert units.rms_dbfs(steady) == pytest.approx(20 * math.log10(3e-4), abs=1e-5)


@pytest.mark.parametrize("level", [units.peak_dbfs, units.rms_dbfs])
@pytest.mark.parametrize("signal", [np.zeros(10), np.empty(0)])
def test_silence_and_nothing_are_minus_infinity(level, signal):
    assert level(signal) == -math.inf


def test_0_dbv_is_2_218_dbu():
    assert -20 * math.log10(units.DBU_REFERENCE_VOLTS) == pytest.approx(units.DBV_IN_DBU, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "dbu"),
    [
        ("4dBu", 4.0),
        ("1.228V", 4.0),  # the level of professional equipment
        ("-10dBV", -7.78),  # and of what is used at home
        ("316.2mV", -7.78),
        ("0.7746V", 0.0),
    ],
)
def test_one_voltage_is_the_same_dbu_however_it_is_said(text, dbu):
    assert parse_level(text).dbu == pytest.approx(dbu, abs=0.005)


def test_volts_and_dbu_undo_each_other():
    levels_dbu = np.linspace(-80.0, 24.0, 27)
    np.testing.assert_allclose(units.volts_to_dbu(units.dbu_to_volts(levels_dbu)), levels_dbu)
    assert units.volts_to_dbu(0.0) == -math.inf


def test_a_level_re_full_scale_is_no_voltage():
    with pytest.raises(ValueError, match="-12 dBFS is a level re full scale"):
        _ = Level(-12.0, "dBFS").dbu


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("-12dBFS", Level(-12.0, "dBFS")),
        ("0 dbfs", Level(0.0, "dBFS")),
        ("+4dBu", Level(4.0, "dBu")),
        (" .5 V ", Level(0.5, "Vrms")),
        ("1.2Vrms", Level(1.2, "Vrms")),
        ("250mV", Level(0.25, "Vrms")),
        ("-10 dBV", Level(-10.0, "dBV")),
    ],
)
def test_a_level_is_read_with_its_unit(text, level):
    assert parse_level(text) == level


@pytest.mark.parametrize("text", ["-12", "dBFS", "-12dB", "1e3V", "", "--3dBu", "3 4 dBu"])
def test_a_level_without_a_number_or_a_known_unit_is_refused(text):
    with pytest.raises(ValueError, match="a level such as -12dBFS"):
        parse_level(text)


def test_nothing_is_above_full_scale():
    with pytest.raises(ValueError, match="full scale is 0 dBFS"):
        parse_level("0.1dBFS")


@pytest.mark.parametrize("text", ["0V", "-1Vrms"])
def test_a_voltage_is_above_zero(text):
    with pytest.raises(ValueError, match="above zero"):
        parse_level(text)


@pytest.mark.parametrize(
    ("text", "samples"),
    [("250ms", 12_000), ("10s", 480_000), ("1.5 min", 4_320_000), ("512smp", 512)],
)
def test_a_time_is_read_with_its_unit(text, samples):
    assert parse_time(text).samples(48_000) == pytest.approx(samples)


def test_a_time_in_samples_does_not_depend_on_the_sample_rate():
    assert Duration(512, "smp").samples(44_100) == Duration(512, "smp").samples(192_000) == 512


@pytest.mark.parametrize("text", ["250", "ms", "10 hours", "1:30"])
def test_a_time_without_a_number_or_a_known_unit_is_refused(text):
    with pytest.raises(ValueError, match="a time such as 250ms"):
        parse_time(text)


def test_a_time_is_not_negative():
    with pytest.raises(ValueError, match="cannot be negative"):
        parse_time("-1s")


def test_a_level_is_shown_as_it_is_typed():
    assert parse_level(str(Level(-12.5, "dBFS"))) == Level(-12.5, "dBFS")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (39.6, "40 s"), (59.7, "1 min"), (120.0, "2 min"), (200.0, "3 min 20 s")],
)
def test_a_time_is_said_as_a_person_says_it(seconds, said):
    assert units.spoken_time(seconds) == said


@pytest.mark.parametrize(
    ("ratio", "said"), [(0.0261234, "2.61 %"), (0.5, "50 %"), (1e-5, "0.001 %"), (4e-9, "below")]
)
def test_a_ratio_is_said_in_percent_and_next_to_nothing_without_a_number(ratio, said):
    assert units.spoken_percent(ratio).startswith(said)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (22e-9, "F", "22 nF"),
        (1.5e3, "ohm", "1.5 kohm"),
        (999.9, "V", "999.9 V"),
        (999.99, "V", "1 kV"),
        (-2.5e-3, "A", "-2.5 mA"),
        (3e-15, "F", "0.003 pF"),
        (0.0, "V", "0 V"),
    ],
)
def test_a_value_is_said_as_on_a_part(value, unit, said):
    assert units.with_prefix(value, unit) == said
