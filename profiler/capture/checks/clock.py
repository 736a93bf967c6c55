"""Does the recording keep the time of what was played? Rates, clocks and latency."""

from collections.abc import Iterator

from profiler.capture.alignment import ONE_CLOCK, Alignment
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding, refused

LARGEST_DRIFT_PPM = 0.2  # 1 ppm is 9 samples in three minutes at 48 kHz
CERTAINTY = 3.0  # standard errors beyond a limit that are believed
LARGEST_LATENCY_CHANGE = 1.0  # samples; a driver repeats to 0.01


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What is wrong with the clocks."""
    yield from wrong_rate(evidence)
    yield from clock_drift(evidence)
    yield from latency_changed(evidence)


def wrong_rate(evidence: Evidence) -> Iterator[Finding]:
    """The response was played or recorded at another rate than it is labelled."""
    for refusal in evidence.refusals:
        if refusal.fault == "wrong-rate":
            yield refused(refusal, "wrong-rate", limit=1.0)


def clock_drift(evidence: Evidence) -> Iterator[Finding]:
    """Play and record by two clocks."""
    for refusal in evidence.refusals:
        if refusal.fault == "clock-drift":
            yield refused(refusal, "clock-drift", limit=LARGEST_DRIFT_PPM)
    found = evidence.alignment
    if not isinstance(found, Alignment) or found.drift_ppm is None:
        return
    ppm, sigma = found.drift_ppm, found.drift_sigma_ppm or 0.0
    if abs(ppm) > LARGEST_DRIFT_PPM + CERTAINTY * sigma:
        samples = 1e-6 * ppm * evidence.plan.frames
        yield Finding(
            name="clock-drift",
            severity="stop",
            measured=ppm,
            limit=LARGEST_DRIFT_PPM,
            unit="ppm",
            cause=f"the delay drifts by {ppm:+.2f} ppm, {samples:+.2f} samples over the take: two "
            "clocks are at work",
            action=ONE_CLOCK,
        )


def latency_changed(evidence: Evidence) -> Iterator[Finding]:
    """The take lies further behind the stimulus than the calibration says, or less."""
    for refusal in evidence.refusals:
        if refusal.fault == "latency-changed":
            yield refused(refusal, "latency-changed", limit=LARGEST_LATENCY_CHANGE)
    found, calibrated = evidence.alignment, evidence.calibrated_delay_samples
    if calibrated is None or not isinstance(found, Alignment) or found.reference == "given":
        return
    change = found.delay_samples - calibrated
    if abs(change) > LARGEST_LATENCY_CHANGE + CERTAINTY * found.sigma_samples:
        yield Finding(
            name="latency-changed",
            severity="warn" if found.reference == "loopback" else "stop",
            measured=change,
            limit=LARGEST_LATENCY_CHANGE,
            unit="samples",
            cause=f"the take lies {found.delay_samples:.1f} samples behind the stimulus, the "
            f"calibration of the interface says {calibrated:.1f}",
            action="calibrate it again (ampscope calibrate latency) with the same settings, and "
            "take it again",
        )
