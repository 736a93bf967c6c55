"""The verdict on a capture: what its check found, kept in `findings.json`.

A finding that stops can be accepted by name: then the work goes on, and `capture.json` says for
ever that it was accepted.
"""

import datetime
from collections.abc import Collection

from profiler.capture.checks.check import check
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Findings
from profiler.capture.folder import CaptureFolder
from profiler.capture.retake import places_of
from profiler.errors import CheckFailed, DefinitionError
from profiler.rig.faults import FaultName

METHOD = 2  # raised when the same take would be judged otherwise


class Verdict(Findings):
    """`findings.json`: the findings, and what they were made from."""

    accepted: tuple[FaultName, ...] = ()
    response_sha256: str
    calibrated_delay_samples: float | None
    fingerprint_utc: datetime.datetime | None  # of the loop check it was held against
    method: int = METHOD

    @property
    def basis(self):
        """Two verdicts of one basis are the same."""
        return (
            self.accepted,
            self.response_sha256,
            self.calibrated_delay_samples,
            self.fingerprint_utc,
            self.method,
        )

    def findings_only(self) -> Findings:
        """What a check reports, without what it was made from."""
        return Findings(passed=self.passed, findings=self.findings)


def verdict(folder: CaptureFolder, accepted: Collection[FaultName] = ()) -> Verdict:
    """Check a finished capture, or read what an earlier check of the same take found.

    Parameters
    ----------
    accepted : collection of str
        Findings that shall not stop the work; they are written into the capture.

    Raises
    ------
    CaptureError
        A file of the capture is missing, changed or unreadable.
    """
    folder.accept(accepted)
    evidence = Evidence.of(folder)
    record = folder.record()
    kept = _kept(folder)
    fingerprint_utc = evidence.fingerprint and evidence.fingerprint.created_utc
    basis = (
        record.accepted,
        record.response_sha256,
        evidence.calibrated_delay_samples,
        fingerprint_utc,
        METHOD,
    )
    if kept is not None and kept.basis == basis:
        return kept
    found = check(evidence, record.accepted)
    made = Verdict(
        passed=found.passed,
        findings=found.findings,
        accepted=record.accepted,
        response_sha256=record.response_sha256,
        calibrated_delay_samples=evidence.calibrated_delay_samples,
        fingerprint_utc=fingerprint_utc,
    )
    made.save(folder.findings_path)
    return made


def broken_places(folder: CaptureFolder) -> list[float]:
    """Where playing a finished take again would mend it, in seconds of the stimulus."""
    return places_of(verdict(folder).findings)


def refuse_failed(found: Verdict) -> None:
    """Raise `CheckFailed`, with the first cause, for a verdict that did not pass."""
    if found.passed:
        return
    first = next(f for f in found.findings if f.severity == "stop" and f.name not in found.accepted)
    raise CheckFailed(
        f"{first.name}: {first.sentence()}; to go on all the same: --accept {first.name}"
    )


def _kept(folder):
    """The verdict in the folder, if there is one that can be read."""
    try:
        return Verdict.load_json(folder.findings_path)
    except DefinitionError:  # none yet, or of another version: the take is checked again
        return None
