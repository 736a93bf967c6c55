"""What several detectors find in one take, put in order."""

import functools

import numpy as np
import pytest

from profiler.capture.checks import check as checking
from profiler.capture.checks.check import check, judged
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import ORDER, Finding
from profiler.errors import CaptureError
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000


@functools.cache
def wire():
    """A take of the signal `check` by a cable."""
    plan = load_signal("check").plan(RATE)
    stimulus = render(plan).astype(np.float64)
    blocks = []
    connect(load_rig("wire")).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples[:, 0].copy())
    )
    return plan, stimulus, np.concatenate(blocks).astype(np.float64)


def finding(name, severity="stop", at_seconds=None):
    return Finding(
        name=name,
        severity=severity,
        measured=1.0,
        limit=0.0,
        unit="",
        at_seconds=at_seconds,
        cause="seen",
        action="do",
    )


def names(findings):
    return [f.name for f in findings.findings]


def test_the_first_cause_comes_first_the_worst_before_the_doubtful():
    found = [finding("hum", "note"), finding("dc-offset", "warn"), finding("lost-block")]
    assert names(judged(found)) == ["lost-block", "dc-offset", "hum"]


def test_what_a_cause_explains_is_not_said_again():
    found = [finding("knob-moved", "warn"), finding("lost-block"), finding("clock-drift")]
    assert names(judged(found)) == ["lost-block"]


def test_a_note_explains_no_fault():
    found = [finding("lost-block", "note"), finding("clock-drift")]
    assert names(judged(found)) == ["clock-drift", "lost-block"]


def test_of_two_that_explain_each_other_the_earlier_is_said():
    assert names(judged([finding("no-signal"), finding("standby")])) == ["standby"]


@pytest.mark.parametrize("name", ORDER)
def test_every_finding_alone_is_said(name):
    assert names(judged([finding(name)])) == [name]


def test_two_places_of_one_fault_are_both_said_in_order_of_time():
    found = [finding("lost-block", at_seconds=at) for at in (7.0, 3.0)]
    assert [f.at_seconds for f in judged(found).findings] == [3.0, 7.0]


def test_an_accepted_finding_is_said_and_does_not_fail_the_check():
    found = [finding("return-clipped")]
    assert not judged(found).passed
    assert judged(found, ["return-clipped"]).passed
    assert names(judged(found, ["return-clipped"])) == ["return-clipped"]


def test_doubts_pass():
    assert judged([finding("hum", "warn"), finding("polarity-inverted", "note")]).passed


def test_a_clean_loop_passes_with_nothing_to_say():
    plan, stimulus, response = wire()
    result = check(Evidence(plan, stimulus, response, is_loop=True))
    assert result.passed
    assert result.findings == ()


@pytest.mark.parametrize("frames", [0, 100, 40_000, 500_000])
def test_a_take_that_ends_early_is_found_truncated_or_silent(frames):
    plan, stimulus, response = wire()
    result = check(Evidence(plan, stimulus, response[:frames], is_loop=True))
    assert not result.passed
    assert names(result)[0] in ("truncated", "no-signal")


def test_a_refusal_that_nothing_explains_is_raised(monkeypatch):
    class Refusing:
        @staticmethod
        def findings(evidence):
            raise CaptureError("seen")

    class Finding:
        @staticmethod
        def findings(evidence):
            return iter([finding("lost-block")])

    monkeypatch.setattr(checking, "DETECTORS", (Refusing,))
    with pytest.raises(CaptureError, match="seen"):
        check(Evidence(*wire()))
    monkeypatch.setattr(checking, "DETECTORS", (Refusing, Finding))
    assert names(check(Evidence(*wire()))) == ["lost-block"]
