import numpy as np
import pytest

from profiler.capture.checks.noise import findings
from profiler.rig.faults import KINDS
from tests.capture.checks.varied_takes import (
    CLEAN_SEEDS,
    RATE,
    SEEDS,
    accused,
    clean,
    evidence,
    faulty,
    response,
)

LATENCY_SECONDS = 1234.567 / RATE


def only(found):
    (finding,) = found
    return finding


@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_no_clean_take_is_accused(seed):
    assert list(findings(clean(seed))) == []


@pytest.mark.parametrize("variant", KINDS["hum"].variants)
def test_hum_is_found_with_its_mains_and_its_origin(variant):
    origin, _, frequency = variant.partition("-")
    mains = {"50": 50, "60": 60, "100": 50, "120": 60}[frequency]
    for seed in SEEDS:
        finding = only(findings(faulty(seed, "hum", variant=variant)))
        assert (finding.name, finding.severity) == ("hum", "warn")
        assert finding.measured == pytest.approx(-75.0, abs=0.5)
        assert f"hum of the {mains} Hz mains" in finding.cause
        assert f"at {frequency} Hz" in finding.cause
        assert {"loop": "ground loop", "rectifier": "rectifier"}[origin] in finding.cause


def test_a_hum_that_no_one_hears_is_only_noted():
    finding = only(findings(faulty(4, "hum", strength=-95.0)))
    assert (finding.name, finding.severity) == ("hum", "note")


def test_the_mains_may_be_a_little_off_its_frequency():
    t = np.arange(len(response(3))) / RATE
    off = sum(2e-4 / k * np.sin(2 * np.pi * 50.15 * k * t) for k in (1, 3, 5))
    assert "hum of the 50 Hz mains" in only(findings(evidence(response(3) + off, 3))).cause


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gate_is_found(seed):
    assert accused(findings(faulty(seed, "noise-gate"))) == ["noise-gate"]


def test_a_gate_that_swallows_the_ladder_says_where_and_by_how_much():
    finding = only(findings(faulty(0, "noise-gate")))
    assert finding.measured > 20.0  # it closes by 60 dB, down to the noise
    assert 7.8 < finding.at_seconds < 9.8  # where the ladder stands
    assert "too soft" in finding.cause


# Where nothing but a repeat or a silence can tell: quiet, reference, ladder, both passes, the end.
@pytest.mark.parametrize("at_seconds", [1.5, 3.3, 8.5, 12.0, 16.5, 19.5])
def test_a_burst_of_noise_is_found_where_it_is(at_seconds):
    for seed in (0, 1, 2):
        finding = only(findings(faulty(seed, "room-noise", at_seconds=at_seconds)))
        assert (finding.name, finding.severity) == ("room-noise", "warn")
        # it lasts 0.3 s and is loudest in its middle
        middle = at_seconds + 0.15 - LATENCY_SECONDS
        if at_seconds in (12.0, 16.5):  # in one of two passes, 4 s apart
            middle -= 4.0 * (at_seconds == 16.5)
            assert "or, where the same is played again, at 16." in finding.cause
        assert finding.at_seconds == pytest.approx(middle, abs=0.2)


@pytest.mark.parametrize("name", ["knob-moved", "mains-step", "warm-up"])
def test_a_device_that_changes_is_not_noisy(name):
    assert list(findings(faulty(1, name))) == []


# In the reference; early and late in a passage that is played twice: it also moves the treble.
@pytest.mark.parametrize("at_seconds", [3.4, 11.2, 16.0, 17.4])
def test_a_knob_moved_within_a_tone_or_a_passage_is_no_noise(at_seconds):
    for seed in (1, 2):
        moved = faulty(seed, "knob-moved", at_seconds=at_seconds, strength=2.0)
        assert list(findings(moved)) == []


@pytest.mark.parametrize("variant", KINDS["time-effect"].variants)
def test_an_effect_is_neither_a_gate_nor_a_burst(variant):
    for seed in (0, 1, 5):
        assert list(findings(faulty(seed, "time-effect", variant=variant))) == []


def test_a_take_that_cannot_be_aligned_has_no_noise_of_its_own():
    broken = np.delete(response(0), slice(9 * RATE, 9 * RATE + 300))
    assert list(findings(evidence(np.pad(broken, (0, 300)), 0))) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reflection_is_noted_and_measured(seed):
    finding = only(findings(faulty(seed, "room-noise", variant="reflection", at_seconds=0.0)))
    assert (finding.name, finding.severity) == ("room-noise", "note")
    assert finding.measured == pytest.approx(-40.0, abs=0.5)
    assert "ms after the sound comes a reflection" in finding.cause


def test_a_cabinet_is_no_reflection():
    for seed in (0, 1, 2):
        assert list(findings(faulty(seed, "speaker-simulation"))) == []
