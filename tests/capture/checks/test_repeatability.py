import numpy as np
import pytest

from profiler.capture.checks.repeatability import findings
from profiler.rig.faults import KINDS
from tests.capture.checks.varied_takes import (
    CLEAN_SEEDS,
    PLAN,
    RATE,
    SEEDS,
    clean,
    evidence,
    faulty,
    response,
)

PROBES = [placed.start / RATE + 0.1 for placed in PLAN.of_kind("probe")]


def only(found):
    (finding,) = found
    return finding


def changed(seed, gain):
    """A take whose gain follows a course over the seconds of the recording."""
    samples = response(seed).astype(np.float64)
    found = evidence(gain(np.arange(len(samples)) / RATE) * samples, seed)
    vars(found)["alignment"] = clean(seed).alignment
    return found


@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_no_clean_take_is_accused(seed):
    assert list(findings(clean(seed))) == []


@pytest.mark.parametrize(("name", "action"), [("mains-step", "outlet"), ("knob-moved", "touch")])
def test_a_step_is_named_by_its_hum_and_placed_between_two_probes(name, action):
    for seed in SEEDS:
        finding = only(findings(faulty(seed, name)))
        assert (finding.name, finding.severity) == (name, "warn")
        assert finding.measured == pytest.approx(0.5, abs=0.1)  # the knob has a shelf as well
        assert PROBES[0] < finding.at_seconds < PROBES[1]  # it came in the middle, at 10.1 s
        assert f"between {PROBES[0]:.1f} and {PROBES[1]:.1f} s" in finding.cause
        assert action in finding.action


@pytest.mark.parametrize("at_seconds", [3.5, 5.0, 12.5, 16.5])
def test_a_step_anywhere_between_the_probes_is_found(at_seconds):
    for seed in (0, 1, 2):
        finding = only(findings(faulty(seed, "knob-moved", at_seconds=at_seconds)))
        assert finding.name == "knob-moved"
        last_before = max(probe for probe in PROBES if probe < at_seconds)
        assert f"between {last_before:.1f} and" in finding.cause


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_approach_is_a_warm_up(seed):
    finding = only(findings(faulty(seed, "warm-up")))
    assert (finding.name, finding.severity) == ("warm-up", "warn")
    # of the 0.3 dB, the part between the first probe and the last: tau is half the take
    assert finding.measured == pytest.approx(0.215, abs=0.05)


def test_a_straight_creep_downwards_is_a_warm_up_too():
    finding = only(findings(changed(1, lambda t: 10 ** (-0.02 * t / 20))))
    assert finding.name == "warm-up"
    assert "-0.32 dB" in finding.cause  # 0.02 dB a second from 2.5 to 18.4 s


def test_a_change_of_less_than_a_tenth_of_a_decibel_is_none():
    assert list(findings(changed(1, lambda t: 10 ** (0.004 * t / 20)))) == []
    assert list(findings(changed(1, lambda t: np.where(t < 12, 1.0, 10 ** (0.08 / 20))))) == []


def test_distortion_that_creeps_at_a_constant_level_is_a_warm_up():
    samples = response(1).astype(np.float64)
    t = np.arange(len(samples)) / RATE
    squared = samples**2 / np.max(np.abs(samples))
    found = evidence(samples + 0.02 * t / t[-1] * squared, 1)
    vars(found)["alignment"] = clean(1).alignment
    finding = only(findings(found))
    assert (finding.name, finding.unit) == ("warm-up", "%")


def test_a_wandering_that_neither_story_tells_is_no_finding_of_this_kind():
    wandering = changed(0, lambda t: 1.0 + 0.03 * np.sin(2 * np.pi * t / 7.9))
    assert "knob-moved" not in [finding.name for finding in findings(wandering)]


@pytest.mark.parametrize("variant", KINDS["time-effect"].variants)
def test_an_effect_is_no_change_of_the_device(variant):
    for seed in (0, 1, 5):
        assert list(findings(faulty(seed, "time-effect", variant=variant))) == []


def test_a_burst_of_noise_is_no_change_of_the_device():
    for at_seconds in (10.4, 14.4):  # on a probe
        assert list(findings(faulty(1, "room-noise", at_seconds=at_seconds))) == []


@pytest.mark.parametrize("at_seconds", [10.9, 11.2, 14.55])
def test_a_step_beside_a_passage_or_on_a_probe_is_a_step(at_seconds):
    for seed in (0, 1):
        stepped = changed(seed, lambda t: np.where(t < at_seconds, 1.0, 10 ** (0.5 / 20)))
        finding = only(findings(stepped))
        assert finding.name == "knob-moved"
        assert finding.measured == pytest.approx(0.5, abs=0.05)
