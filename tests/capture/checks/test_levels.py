import dataclasses

import numpy as np
import pytest

from profiler.capture.checks.levels import findings, flat_tops, return_clipped
from profiler.rig.faults import KINDS, Fault
from profiler.rig.rig import load_rig
from profiler.rig.simulated import Simulated
from profiler.units import peak_dbfs
from tests.capture.checks.varied_takes import (
    CLEAN_SEEDS,
    PLAN,
    RATE,
    SEEDS,
    clean,
    evidence,
    faulty,
    response,
    stimulus,
)


def only(found):
    (finding,) = found
    return finding


@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_no_clean_take_is_accused(seed):
    assert list(findings(clean(seed))) == []


@pytest.mark.parametrize("variant", KINDS["return-clipped"].variants)
def test_a_return_that_is_cut_off_is_found_with_its_level(variant):
    for seed in SEEDS:
        spoilt = faulty(seed, "return-clipped", variant=variant)
        finding = only(findings(spoilt))
        assert (finding.name, finding.severity) == ("return-clipped", "stop")
        # the rail is that of 20 samples on one side at least, of 40 on both together
        assert finding.measured >= 20
        rail = np.max(np.abs(spoilt.response)) if variant == "both" else None
        if rail is not None:
            assert f"at {20 * np.log10(rail):.1f} dBFS on both sides" in finding.cause
        else:
            assert {"positive": "upwards", "negative": "downwards"}[variant] in finding.cause
        assert "input gain" in finding.action


@pytest.mark.parametrize("rail_db", [-40.0, -12.0, -1.0])
def test_a_cut_is_found_at_any_level(rail_db):
    samples = response(1).astype(np.float64)
    rail = np.max(np.abs(samples)) * 10 ** (-3.0 / 20)
    cut = 10 ** (rail_db / 20) / rail * np.clip(samples, -rail, rail)
    finding = only(return_clipped(evidence(cut.astype(np.float32), 1)))
    assert f"{rail_db:.1f} dBFS" in finding.cause


def test_the_place_of_a_cut_is_the_stimulus_time():
    samples = response(0)
    spoilt = samples.copy()
    burst = slice(round(12.0 * RATE), round(12.01 * RATE))  # 26 ms later than it was played
    rail = 1.01 * np.max(np.abs(samples))
    spoilt[burst] = rail * np.sign(samples[burst])
    finding = only(return_clipped(evidence(spoilt, 0)))
    assert finding.at_seconds == pytest.approx(12.0 - 1234.567 / RATE, abs=1e-3)


def test_a_sixteen_bit_file_of_a_slow_smooth_wave_is_not_cut_off():
    t = np.arange(10 * RATE) / RATE
    noise = 2e-6 * np.random.default_rng(0).standard_normal(len(t))
    coarse = np.round(2**15 * (0.70002 * np.sin(2 * np.pi * 50.01 * t) + noise)) / 2**15
    assert np.count_nonzero(coarse == np.max(coarse)) > 100
    assert not len(flat_tops(coarse))


def test_the_same_top_played_again_without_noise_is_not_cut_off():
    again = np.tile(np.sin(2 * np.pi * np.arange(480) / 96.0), 50)
    assert np.count_nonzero(again == np.max(again)) > 2
    assert not len(flat_tops(again))


def test_a_device_that_saturates_softly_into_noise_is_not_cut_off():
    t = np.arange(5 * RATE) / RATE
    saturated = 0.5 * np.tanh(50 * np.sin(2 * np.pi * 110.3 * t))
    noise = 10 ** (-110 / 20) * np.random.default_rng(1).standard_normal(len(t))
    assert not len(flat_tops((saturated + noise).astype(np.float32)))


def test_three_equal_extremes_in_different_waveforms_are_a_cut_and_two_are_none():
    samples = np.random.default_rng(2).uniform(-0.9, 0.9, 10_000)
    samples[[100, 2000]] = 0.95
    assert not len(flat_tops(samples))
    samples[7000] = 0.95
    assert flat_tops(samples).tolist() == [100, 2000, 7000]


def test_a_return_too_low_says_by_how_much_to_raise_it():
    for seed in SEEDS:
        spoilt = faulty(seed, "return-low")
        finding = only(findings(spoilt))
        assert (finding.name, finding.severity) == ("return-low", "warn")
        assert finding.measured == pytest.approx(-30.5, abs=0.05)
        assert "by 19 dB" in finding.action  # to -12 dBFS


def test_an_offset_does_not_hide_a_low_return():
    low = response(0) * 10 ** ((-36.0 - peak_dbfs(response(0))) / 20) + 0.1
    assert "return-low" in [finding.name for finding in findings(evidence(low, 0))]


def test_an_offset_is_found_and_measured():
    for seed in SEEDS:
        finding = only(findings(faulty(seed, "dc-offset")))
        assert finding.name == "dc-offset"
        assert finding.measured == pytest.approx(-55.0, abs=0.5)


@pytest.mark.parametrize("at_seconds", [3.0, 10.1, 16.0])
def test_a_step_of_the_offset_is_found_where_it_is(at_seconds):
    for seed in (0, 1, 2):
        finding = only(findings(faulty(seed, "dc-step", at_seconds=at_seconds)))
        assert finding.name == "dc-step"
        assert finding.measured == pytest.approx(-45.0, abs=0.5)
        assert finding.at_seconds == pytest.approx(at_seconds - 1234.567 / RATE, abs=0.1)


def test_an_offset_that_goes_away_again_is_a_step():
    finding = only(findings(faulty(1, "dc-step", at_seconds=12.0, seconds=4.0)))
    assert finding.name == "dc-step"


def test_a_take_that_cannot_be_aligned_still_says_that_it_is_cut_off():
    broken = np.delete(response(0), slice(9 * RATE, 9 * RATE + 300))
    broken = np.clip(np.pad(broken, (0, 300)), -0.01, 0.01)
    spoilt = evidence(broken, 0)
    assert spoilt.aligned is None
    assert [finding.name for finding in findings(spoilt)] == ["return-clipped", "return-low"]
    assert len(spoilt.response) == PLAN.frames


def driven_by(gain_db, controls):
    """The overdrive pedal, its send this much hotter."""
    rig = load_rig("drive")
    interface = rig.interface.model_copy(
        update={"faults": {"line-level": Fault(strength=gain_db)}, "noise_rms_dbfs": -90.0}
    )
    chain = rig.chain.model_copy(update={"controls": {**rig.chain.controls, **controls}})
    blocks = []
    Simulated(rig.model_copy(update={"interface": interface, "chain": chain})).play_record(
        [stimulus()], PLAN.frames, lambda block: blocks.append(block.samples)
    )
    return evidence(np.concatenate(blocks)[:, 0], 2)


@pytest.mark.parametrize("gain_db", [14.0, 24.0])
def test_a_line_level_into_much_gain_is_told(gain_db):
    finding = only(findings(driven_by(gain_db, {"drive": 10.0})))
    assert (finding.name, finding.severity) == ("line-level", "warn")
    assert "reamp box" in finding.action


def test_much_gain_alone_is_no_line_level():
    assert list(findings(driven_by(0.0, {"drive": 10.0}))) == []


@pytest.mark.parametrize(("full_scale_dbu", "told"), [(5.0, False), (7.9, False), (13.2, True)])
def test_a_calibrated_send_is_held_against_the_hottest_guitar(full_scale_dbu, told):
    calibrated = dataclasses.replace(clean(1), full_scale_dbu=full_scale_dbu)
    found = list(findings(calibrated))
    assert [(f.name, f.severity) for f in found] == ([("line-level", "warn")] if told else [])
    if told:  # the signal's own peak lies 0.1 dB below full scale
        assert found[0].measured == pytest.approx(full_scale_dbu - 0.1, abs=0.01)
