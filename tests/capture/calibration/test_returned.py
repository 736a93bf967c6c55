import numpy as np
import pytest

from profiler.capture.calibration.returned import flat_topped, measure_return, nominal_return
from profiler.capture.calibration.send import measure_send, nominal_send
from profiler.errors import CaptureError, Clipping, Silent
from profiler.units import Level

RATE = 48_000
VOLTS = 5.0  # peak at the send's full scale
SEND_DBU = 20 * np.log10(VOLTS / np.sqrt(2) / 0.7745966692)


def send(samples):
    return VOLTS * samples


def return_of(full_scale_volts, rail=1.0, lower=None):
    """An input whose full scale is so many volts, cut off at its rails."""
    return lambda volts: np.clip(volts / full_scale_volts, -(lower or rail), rail)


@pytest.fixture
def known_send(rig):
    return nominal_send(rig, Level(SEND_DBU, "dBu"))


@pytest.mark.parametrize("full_scale_volts", [2.0, 4.9, 9.0, 30.0])
@pytest.mark.parametrize("noise_rms", [1e-5, 1e-3])
def test_finds_known_volts_within_a_twentieth_of_a_decibel(
    full_scale_volts, noise_rms, rig, loop, known_send
):
    interface = loop(send, return_of(full_scale_volts), noise_rms)
    found = measure_return(rig, interface, known_send)
    truth = 20 * np.log10(full_scale_volts / np.sqrt(2) / 0.7745966692)
    assert found.dbu_at_full_scale == pytest.approx(truth, abs=0.05)
    assert found.loop_gain_db == pytest.approx(SEND_DBU - truth, abs=0.05)


def test_send_and_return_together_find_known_volts_within_a_tenth_of_a_decibel(rig, loop):
    """From the meter to the sum, each with its noise."""
    interface = loop(send, return_of(3.1), 1e-4)
    calibrated = measure_send(rig, interface, interface.read_meter, seconds=2.0)
    found = measure_return(rig, interface, calibrated)
    assert calibrated.dbu_at_full_scale == pytest.approx(SEND_DBU, abs=0.1)
    truth = 20 * np.log10(3.1 / np.sqrt(2) / 0.7745966692)
    assert found.dbu_at_full_scale == pytest.approx(truth, abs=0.1)
    assert (found.basis, found.uncertainty_db) == ("meter", 0.1)


def test_an_inverted_return_and_an_offset_change_nothing(rig, loop, known_send):
    straight = measure_return(rig, loop(send, return_of(9.0)), known_send)
    odd = measure_return(rig, loop(send, lambda volts: 0.05 - volts / 9.0), known_send)
    assert odd.dbu_at_full_scale == pytest.approx(straight.dbu_at_full_scale, abs=0.001)


@pytest.mark.parametrize(("rail", "lower"), [(0.8, None), (0.8, 1.0), (1.0, 0.8)])
def test_finds_the_rail_at_which_the_return_clips(rail, lower, rig, loop, known_send):
    """5 V into an input of 4.5 V: one rail or both at -1.9 dBFS are reached near full scale."""
    interface = loop(send, return_of(4.5, rail, lower))
    found = measure_return(rig, interface, known_send)
    assert found.clip_dbfs is not None
    assert found.highest_clean_dbfs < 20 * np.log10(0.8) + 0.1
    reached = max(rail, lower or 0.0)
    assert 20 * np.log10(0.8) - 0.01 < found.clip_dbfs < 20 * np.log10(reached) + 0.01
    truth = 20 * np.log10(4.5 / np.sqrt(2) / 0.7745966692)
    assert found.dbu_at_full_scale == pytest.approx(truth, abs=0.05)


def test_headroom_is_from_the_reference_tone_to_the_rail(rig, loop, known_send):
    found = measure_return(rig, loop(send, return_of(5.0, 0.5)), known_send)
    assert found.clip_dbfs == pytest.approx(-6.02, abs=0.01)
    assert found.headroom_db == pytest.approx(12.0 - 6.02, abs=0.05)
    assert found.clip_dbu == pytest.approx(SEND_DBU - 6.02, abs=0.05)


def test_climbs_no_further_than_to_the_first_level_that_clips(rig, loop, known_send):
    interface = loop(send, return_of(5.0, 0.5))
    measure_return(rig, interface, known_send)
    np.testing.assert_allclose(interface.played, [-40, -20, -12, -10, -8, -6], atol=1e-4)


def test_a_return_that_never_clips_has_no_clip_point(rig, loop, known_send):
    interface = loop(send, return_of(20.0))
    found = measure_return(rig, interface, known_send)
    assert (found.clip_dbfs, found.headroom_db, found.clip_dbu) == (None, None, None)
    assert found.highest_clean_dbfs == pytest.approx(20 * np.log10(5 / 20), abs=0.01)
    assert interface.played[-1] == pytest.approx(0.0, abs=1e-4)


def test_never_plays_above_the_ceiling(rig, loop, known_send):
    interface = loop(send, return_of(20.0))
    measure_return(rig.model_copy(update={"maximum_send_dbfs": -7.0}), interface, known_send)
    assert interface.played[-1] == pytest.approx(-7.0, abs=1e-4)
    assert max(interface.played) <= -7.0 + 1e-4


@pytest.mark.parametrize("rail", [0.24, 0.2, 0.05, 0.02])
@pytest.mark.parametrize("side", ["both", "upper", "lower"])
def test_refuses_a_return_that_clips_before_the_levels_that_are_needed(
    rail, side, rig, loop, known_send
):
    """A tone of -12 dBFS has a peak of 0.25."""
    high, low = (rail if side in ("both", of) else 1.0 for of in ("upper", "lower"))
    interface = loop(send, return_of(5.0, high, low))
    with pytest.raises(Clipping, match=r"cut off at .* turn the input gain down by \d+ dB"):
        measure_return(rig, interface, known_send)


def test_says_by_how_many_decibels_a_clipping_return_is_too_loud(rig, loop, known_send):
    """The rail lies 6 dB below the tone; 6 dB more keep clear of it."""
    with pytest.raises(Clipping, match=r"at -18\.\d dBFS by a tone of -12 dBFS.* down by 12 dB,"):
        measure_return(rig, loop(send, return_of(5.0, 0.126)), known_send)


def test_a_lower_level_calibrates_a_return_that_clips_at_the_usual_one(rig, loop, known_send):
    interface = loop(send, return_of(0.9))
    with pytest.raises(Clipping):
        measure_return(rig, interface, known_send)
    found = measure_return(rig, loop(send, return_of(0.9)), known_send, loudest_dbfs=-20.0)
    truth = 20 * np.log10(0.9 / np.sqrt(2) / 0.7745966692)
    assert found.dbu_at_full_scale == pytest.approx(truth, abs=0.05)
    assert found.clip_dbfs == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("bend", [0.02, 0.1])
def test_refuses_a_loop_whose_send_saturates(bend, rig, loop, known_send):
    cubic = bend / (0.75 * 10 ** (-12 / 10))
    bent = loop(lambda x: VOLTS * (x - cubic * x**3), return_of(9.0))
    with pytest.raises(CaptureError, match=r"at -12 dBFS is -.* the send saturates"):
        measure_return(rig, bent, known_send)


def test_without_a_calibrated_send_it_is_refused_and_nothing_is_played(rig, loop):
    interface = loop()
    with pytest.raises(CaptureError, match=r"only out \+ in: never a voltage"):
        measure_return(rig, interface, None)
    assert interface.played == []


def test_a_cable_that_is_out_is_silence(rig, loop, known_send):
    with pytest.raises(Silent, match="check the cable"):
        measure_return(rig, loop(send, lambda volts: 0.0 * volts + 1e-7), known_send)


def test_crosstalk_is_no_cable(rig, loop, known_send):
    with pytest.raises(Silent, match="came back at -1"):
        measure_return(rig, loop(send, lambda volts: 1e-4 * volts, 1e-7), known_send)


def test_what_follows_from_a_data_sheet_is_nominal_too(rig, loop, known_send):
    found = measure_return(rig, loop(send, return_of(9.0)), known_send, gain_position="noon")
    assert (found.basis, found.uncertainty_db, found.gain_position) == ("nominal", 1.0, "noon")
    sheet = nominal_return(rig, Level(12.0, "dBu"))
    assert (sheet.dbu_at_full_scale, sheet.basis, sheet.loop_gain_db) == (12.0, "nominal", None)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("level_dbfs", [-40.0, -20.0, -1.0])
def test_a_whole_sine_of_few_bits_and_some_noise_is_not_called_clipped(bits, level_dbfs):
    step = 2.0 ** (1 - bits)
    tone = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * 200 / 44_100 * np.arange(30_000))
    noise = 1e-4 * np.random.default_rng(0).standard_normal(30_000)
    assert not flat_topped(np.round(tone / step) * step)
    assert not flat_topped(np.round((tone + noise) / step) * step)


@pytest.mark.parametrize("depth", [0.005, 0.02, 0.3])
@pytest.mark.parametrize("level_dbfs", [-40.0, -1.0])
def test_a_sine_that_is_cut_off_by_half_a_percent_is_called_clipped(depth, level_dbfs):
    peak = 10 ** (level_dbfs / 20)
    tone = peak * np.sin(2 * np.pi * 200 / RATE * np.arange(30_000))
    assert flat_topped(np.minimum(tone, (1 - depth) * peak))
    assert flat_topped(np.maximum(tone, (depth - 1) * peak))
