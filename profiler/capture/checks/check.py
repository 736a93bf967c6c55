"""The check of a take: every detector is asked, and what they find is put in order.

A take with one fault shows many symptoms. What an earlier cause explains is left out, so that
the first line is what to mend.
"""

from collections.abc import Collection, Iterable

from profiler.capture.checks import (
    clock,
    effects,
    hygiene,
    identity,
    integrity,
    interface,
    levels,
    noise,
    repeatability,
)
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import ORDER, SEVERITIES, Finding, Findings, explains
from profiler.errors import CaptureError
from profiler.rig.faults import FaultName

# Each has `findings(evidence)`; which comes first does not matter.
DETECTORS = (hygiene, integrity, clock, identity, interface, levels, noise, repeatability, effects)


def check(evidence: Evidence, accepted: Collection[FaultName] = ()) -> Findings:
    """Everything that is wrong with a take, the first cause first.

    Parameters
    ----------
    evidence : Evidence
        The take and its circumstances.
    accepted : collection of FaultName
        Findings that the user knows of: they are told, and do not fail the check.

    Raises
    ------
    CaptureError
        A measurement is refused by a take in which nothing is found that would explain it.
    """
    found: list[Finding] = []
    refusals = []
    for detector in DETECTORS:
        try:
            found.extend(detector.findings(evidence))
        except CaptureError as refusal:  # a broken take; what broke it is found by another
            refusals.append(refusal)
    if refusals and not any(finding.severity == "stop" for finding in found):
        raise refusals[0]
    return judged(found, accepted)


def judged(found: Iterable[Finding], accepted: Collection[FaultName] = ()) -> Findings:
    """Findings in order, without those that an earlier cause explains."""
    found = sorted(found, key=_rank)
    causes = [f for f in found if not any(_explained(f, other) for other in found)]
    return Findings(
        passed=not any(f.severity == "stop" and f.name not in accepted for f in causes),
        findings=tuple(causes),
    )


def _explained(finding, other):
    """Whether another finding explains this one; of two that explain each other, the earlier."""
    if explains(finding, other) and _rank(finding) <= _rank(other):
        return False
    return explains(other, finding)


def _rank(finding):
    place = -1.0 if finding.at_seconds is None else finding.at_seconds
    return SEVERITIES.index(finding.severity), ORDER.index(finding.name), place
