"""It is the device, and nothing but the device, that was recorded."""

import functools

import numpy as np
import pytest

from profiler.capture.checks import identity
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


@functools.cache
def first_cause(rig_name, seed, name, **fault):
    """The name of what a check says first, of a take with a fault."""
    found = check(with_fault(rig_name, seed, name, **fault)).findings
    return found[0].name if found else None


@every_rig
def test_nothing_but_a_polarity_is_found_in_a_clean_take(rig_name):
    for seed in range(3):
        found = list(identity.findings(clean(rig_name, seed)))
        assert names(found) in ([], ["polarity-inverted"])
        assert all(f.severity == "note" for f in found)


@every_rig
@pytest.mark.parametrize("name", ["feedback", "no-signal", "wrong-stimulus", "direct-monitoring"])
def test_a_fault_is_the_first_cause(rig_name, name):
    for seed in range(2):
        assert first_cause(rig_name, seed, name) == name


@every_rig
def test_a_device_on_standby_is_found_all_along_and_for_a_while(rig_name):
    for seed in range(2):
        assert first_cause(rig_name, seed, "standby") == "standby"
        assert first_cause(rig_name, seed, "standby", at_seconds=14.5, seconds=2.5) == "standby"


def test_the_place_of_a_mute_is_told():
    found = list(identity.findings(with_fault("tweed", 1, "standby", at_seconds=15.0, seconds=2.0)))
    assert found[0].at_seconds == pytest.approx(15.0, abs=0.2)


@pytest.mark.parametrize("rig_name", ["tweed", "drive"])
def test_a_wire_in_the_device_s_place_is_found(rig_name):
    for seed in range(3):
        assert first_cause(rig_name, seed, "bypass") == "bypass"


def test_a_loop_is_a_wire_and_not_accused_of_it():
    assert list(identity.bypass(clean("wire", 1))) == []


def test_a_wire_a_fraction_of_a_sample_late_is_a_wire():
    plan, stimulus, response = recorded("wire", 2)  # 1234.567 samples late
    found = list(identity.bypass(evidence("tweed", plan, stimulus, response)))
    assert names(found) == ["bypass"]


def test_a_dry_copy_is_told_with_its_lead_and_level():
    plan, stimulus, _ = rendered("wire")
    noise = 1e-5 * np.random.default_rng(0).standard_normal(len(stimulus))
    late = np.concatenate([np.zeros(LATENCY), stimulus])[: len(stimulus)]
    fault = {"direct-monitoring": Fault(strength=-32.0)}
    doubled = inject(plan, stimulus, late + noise, fault)
    (found,) = identity.direct_monitoring(evidence("tweed", plan, stimulus, doubled))
    assert found.measured == pytest.approx(-32.0, abs=0.5)
    assert f"{1000 * LATENCY / RATE:.1f} ms early at -32 dB" in found.cause


def test_the_ringing_of_converters_ahead_of_a_sound_is_no_dry_copy():
    # the shipped rigs' converters end in a linear-phase edge, which rings before and after
    assert list(identity.direct_monitoring(clean("wire", 3))) == []


@every_rig
def test_a_polarity_is_a_note_of_an_amp_and_a_doubt_of_a_loop(rig_name):
    plan, stimulus, response = rendered(rig_name)
    (found,) = identity.polarity_inverted(evidence(rig_name, plan, stimulus, -response))
    assert found.severity == ("warn" if rig_name == "wire" else "note")
    assert list(identity.polarity_inverted(evidence(rig_name, plan, stimulus, response))) == []


def test_a_noise_that_comes_and_goes_in_a_silence_is_no_feedback():
    for at in (1.05, 1.3, 1.6, 19.4, 19.8):
        heard = with_fault("tweed", 5, "room-noise", at_seconds=at)
        assert list(identity.feedback(heard)) == []
