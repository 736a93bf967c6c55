"""What the computer does to a take is found, with its place and its size."""

import numpy as np
import pytest

from profiler.capture.checks import integrity
from profiler.capture.checks.check import check
from profiler.rig.faults import Fault, inject
from tests.capture.checks.faulty import (
    LATENCY,
    RATE,
    RIGS,
    clean,
    evidence,
    names,
    recorded,
    rendered,
    with_fault,
)

every_rig = pytest.mark.parametrize("rig_name", RIGS)


def somewhere(seed, rig_name="wire"):
    """A time at which programme sounds, between its first and its last quarter second."""
    plan, *_ = rendered(rig_name)
    rng = np.random.default_rng(seed)
    kinds = ("guitar", "marker")
    placed = list(plan.of_kind(*kinds))[rng.integers(sum(1 for _ in plan.of_kind(*kinds)))]
    quarter = RATE // 4 if placed.segment.kind == "guitar" else RATE // 40
    return rng.integers(placed.start + 2 * quarter, placed.stop - quarter) / RATE


@every_rig
def test_nothing_is_found_in_a_clean_take(rig_name):
    for seed in range(2):
        assert list(integrity.findings(clean(rig_name, seed))) == []


@every_rig
@pytest.mark.parametrize("name", ["lost-block", "repeated-block"])
def test_one_frame_is_found_and_placed_within_a_fifth_of_a_second(rig_name, name):
    for seed in range(4):
        at = somewhere(seed + (10 if name == "lost-block" else 30))
        found = list(integrity.findings(with_fault(rig_name, seed, name, at_seconds=at)))
        assert names(found) == [name]
        assert found[0].measured == 1
        assert found[0].at_seconds == pytest.approx(at, abs=0.2)


@every_rig
def test_two_slips_in_two_places_are_both_found(rig_name):
    plan, stimulus, response = recorded(rig_name, 3)
    for name, at, frames in (("lost-block", 12.0, 64), ("repeated-block", 16.5, 7)):
        fault = Fault(at_seconds=at + LATENCY / RATE, strength=frames)
        response = inject(plan, stimulus, response, {name: fault})
    found = list(integrity.findings(evidence(rig_name, plan, stimulus, response)))
    assert [(f.name, f.measured) for f in found] == [("lost-block", 64), ("repeated-block", 7)]
    assert [f.at_seconds for f in found] == pytest.approx([12.0, 16.5], abs=0.2)


@every_rig
@pytest.mark.parametrize("frames", [16, 256])
def test_two_slips_that_undo_each_other_between_two_markers_are_found(rig_name, frames):
    plan, stimulus, response = recorded(rig_name, 4)
    start, stop = (round((at + LATENCY / RATE) * RATE) for at in (11.8, 12.6))
    broken = np.concatenate(
        [response[:start], response[start + frames : stop], response[stop - frames :]]
    )
    found = list(integrity.findings(evidence(rig_name, plan, stimulus, broken)))
    assert [(f.name, f.measured) for f in found] == [
        ("lost-block", pytest.approx(frames, abs=1)),
        ("repeated-block", pytest.approx(frames, abs=1)),
    ]
    assert [f.at_seconds for f in found] == pytest.approx([11.8, 12.6], abs=0.2)


@every_rig
def test_sixteen_zeros_are_found_and_placed(rig_name):
    for seed in range(6):
        at = somewhere(seed + 50)
        found = list(integrity.findings(with_fault(rig_name, seed, "zero-fill", at_seconds=at)))
        assert names(found) == ["zero-fill"]
        assert found[0].measured >= 15  # with one at either end that was as good as zero
        assert found[0].at_seconds == pytest.approx(at, abs=0.01)


def test_a_long_gap_of_zeros_is_no_other_fault():
    for at in (5.0, 12.0, 16.0):
        found = check(with_fault("tweed", 1, "zero-fill", at_seconds=at, strength=4096))
        assert names(found.findings)[0] == "zero-fill"


def test_zeros_in_the_noise_of_a_silence_are_found():
    found = list(integrity.findings(with_fault("tweed", 2, "zero-fill", at_seconds=1.6)))
    assert names(found) == ["zero-fill"]


def test_the_true_silence_of_a_digital_device_is_no_gap():
    plan, stimulus, _ = rendered("wire")
    silent = np.concatenate([np.zeros(LATENCY), stimulus])[: len(stimulus)]
    assert list(integrity.findings(evidence("wire", plan, stimulus, silent))) == []


def test_the_zeros_of_a_sixteen_bit_file_are_no_gap():
    plan, stimulus, response = recorded("tweed", 5, noise_dbfs=(-110.0, -105.0))
    coarse = np.round(response * 2**15) / 2**15
    assert list(integrity.findings(evidence("tweed", plan, stimulus, coarse))) == []


def test_a_gate_that_closes_is_no_gap():
    found = integrity.findings(with_fault("tweed", 6, "noise-gate"))
    assert list(found) == []


@every_rig
@pytest.mark.parametrize("variant", ["start", "tail"])
def test_a_cut_marker_is_found(rig_name, variant):
    for seed in range(3):
        found = check(with_fault(rig_name, seed, "truncated", variant=variant))
        assert names(found.findings)[:1] == ["truncated"]


@every_rig
@pytest.mark.parametrize("frames", [64, 256, 1024])
def test_a_block_in_the_place_of_another_is_found_though_the_delay_stays(rig_name, frames):
    plan, stimulus, response = recorded(rig_name, 4)
    at = round(12.3 * RATE)
    response[at : at + frames] = response[at - frames : at]
    found = list(integrity.findings(evidence(rig_name, plan, stimulus, response)))
    assert [(f.name, f.measured) for f in found] == [("repeated-block", frames)]
    assert found[0].at_seconds == pytest.approx((at - LATENCY) / RATE, abs=frames / RATE)
    assert "once more" in found[0].cause


def test_a_periodic_tone_without_noise_is_no_copied_block():
    plan, stimulus, response = rendered("wire")
    period = np.random.default_rng(0).uniform(-0.1, 0.1, 256).astype(np.float32)
    periodic = response.astype(np.float32)
    periodic[11 * RATE : 11 * RATE + 100 * 256] = np.tile(period, 100)
    evidence_ = evidence("wire", plan, stimulus, periodic)
    assert list(integrity.copied(evidence_)) == []


def test_silence_of_a_few_codes_is_no_copied_block():
    plan, stimulus, response = rendered("wire")
    noise = 1e-5 * np.random.default_rng(0).standard_normal(len(response))
    sixteen = np.round((response + noise) * 2**15) / 2**15
    assert list(integrity.copied(evidence("wire", plan, stimulus, sixteen))) == []
