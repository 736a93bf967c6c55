import numpy as np
import pytest

from profiler.capture.checks.effects import findings
from profiler.rig.faults import KINDS
from tests.capture.checks.varied_takes import (
    CLEAN_SEEDS,
    SEEDS,
    clean,
    evidence,
    faulty,
    response,
)

NAMED = {
    "delay": "an echo comes 350 ms after",
    "reverb": "a reverb",
    "tremolo": "up and down 5 times a second: a tremolo",
    "chorus": "a chorus",
}


def only(found):
    (finding,) = found
    return finding


@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_no_clean_take_is_accused_or_taken_for_a_cabinet(seed):
    assert list(findings(clean(seed))) == []


@pytest.mark.parametrize("variant", KINDS["time-effect"].variants)
def test_an_effect_of_time_is_found_and_named(variant):
    for seed in SEEDS:
        finding = only(findings(faulty(seed, "time-effect", variant=variant)))
        assert (finding.name, finding.severity) == ("time-effect", "warn")
        assert NAMED[variant] in finding.cause


@pytest.mark.parametrize("strength", [-34.0, -20.0])
def test_the_level_of_an_echo_is_measured(strength):
    finding = only(findings(faulty(4, "time-effect", variant="delay", strength=strength)))
    assert finding.measured == pytest.approx(strength, abs=0.5)


def test_the_depth_of_a_tremolo_is_measured():
    finding = only(findings(faulty(0, "time-effect", variant="tremolo")))
    # both sidebands together 34 dB down: 1 + 0.0282 sin, peak to peak 0.49 dB
    assert finding.measured == pytest.approx(0.49, abs=0.03)


def test_a_cabinet_is_noted_and_no_fault():
    for seed in SEEDS:
        finding = only(findings(faulty(seed, "speaker-simulation")))
        assert (finding.name, finding.severity) == ("speaker-simulation", "note")
        assert finding.measured > 15.0
        assert "gear_type" in finding.action


def test_a_steep_treble_without_the_notches_of_a_cone_is_no_cabinet():
    spectrum = np.fft.rfft(response(0))
    frequency = np.fft.rfftfreq(len(response(0)), 1 / 48_000)
    steep = np.fft.irfft(spectrum / (1.0 + (frequency / 5000.0) ** 4), len(response(0)))
    found = evidence(steep, 0)
    vars(found)["alignment"] = clean(0).alignment
    assert list(findings(found)) == []


@pytest.mark.parametrize("name", ["hum", "dc-offset", "knob-moved", "warm-up", "mains-step"])
def test_another_fault_is_no_effect(name):
    for seed in (0, 1, 2):
        assert list(findings(faulty(seed, name))) == []
