"""What a check says of a take: findings, the first cause first.

A finding has a name (of `profiler.rig.faults`), what was measured and against which limit, the
likely cause and the next action, in words a guitarist understands. One cause has many symptoms: a
lost block also spoils the replicates and the noise behind it, so what a finding explains is not
said again.

Conventions
-----------
`stop`: nothing that is learnt from the take would be true. `warn`: it can be used, and will be
worse for it. `note`: worth knowing, no fault.
"""

from typing import Literal

from pydantic import Field

from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.rig.faults import KINDS, FaultName

Severity = Literal["stop", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("stop", "warn", "note")

# The order of causes: length and rate, integrity, clock, channel and identity, clipping, noise,
# repeatability, effects. Of two findings of one severity the earlier here is the cause.
ORDER: tuple[FaultName, ...] = (
    "file-hygiene",
    "wrong-rate",
    "truncated",
    "feedback",
    "zero-fill",
    "lost-block",
    "repeated-block",
    "clock-drift",
    "system-resampling",
    "sixteen-bit",
    "latency-changed",
    "wrong-stimulus",
    "standby",
    "no-signal",
    "bypass",
    "direct-monitoring",
    "polarity-inverted",
    "return-clipped",
    "send-saturates",
    "shared-mode-limiter",
    "interface-limiter",
    "enhancement",
    "volume-changed",
    "line-level",
    "return-low",
    "dc-step",
    "dc-offset",
    "hum",
    "room-noise",
    "noise-gate",
    "mains-step",
    "knob-moved",
    "warm-up",
    "time-effect",
    "speaker-simulation",
)


# What a finding explains is not said again. The reasons:
# - a response out of step with its stimulus differs from it, and from its own repeats, at any
#   time: nothing holds that was found by comparing them;
# - what is not the device's sound says nothing of the device.
_OF_THE_DEVICE: frozenset[FaultName] = frozenset(ORDER[ORDER.index("standby") :])
_OF_THE_RESPONSE_ALONE: frozenset[FaultName] = frozenset(
    {"sixteen-bit", "no-signal", "return-clipped", "return-low", "dc-offset", "hum"}
)
_BY_COMPARISON: frozenset[FaultName] = (
    frozenset(ORDER[ORDER.index("clock-drift") :]) - _OF_THE_RESPONSE_ALONE
)
_BY_REPEATS: frozenset[FaultName] = frozenset({"room-noise", "mains-step", "knob-moved", "warm-up"})
EXPLAINS: dict[FaultName, frozenset[FaultName]] = {
    "wrong-rate": frozenset(ORDER),
    "truncated": frozenset(ORDER),
    "feedback": frozenset(ORDER),  # it drowns everything
    "zero-fill": frozenset({"lost-block", "repeated-block", "standby", "dc-step", *_BY_REPEATS}),
    "lost-block": _BY_COMPARISON,
    "repeated-block": _BY_COMPARISON,
    "clock-drift": frozenset({"latency-changed", "bypass", *_BY_REPEATS}),
    "wrong-stimulus": _OF_THE_DEVICE,
    "no-signal": _OF_THE_DEVICE,
    "standby": _OF_THE_DEVICE,
    "bypass": _OF_THE_DEVICE - {"return-clipped", "return-low"},
    "direct-monitoring": frozenset({"time-effect", "speaker-simulation"}),  # it combs the response
    # a voice call's gate makes zeros of silence and thins out soft tones; its band rings early
    "enhancement": frozenset({"zero-fill", "noise-gate", "direct-monitoring", "room-noise"}),
    "return-clipped": frozenset({"shared-mode-limiter", "send-saturates"}),
    "line-level": frozenset({"send-saturates"}),
    "mains-step": frozenset({"room-noise"}),  # its hum sounds in one of two passes
}


def explains(cause: "Finding", symptom: "Finding") -> bool:
    """Whether one finding is a symptom of another, which is no less severe."""
    if cause.name == symptom.name:
        return False
    severe = SEVERITIES.index(cause.severity) <= SEVERITIES.index(symptom.severity)
    return severe and symptom.name in EXPLAINS.get(cause.name, frozenset())


class Finding(Record):
    """One thing that a check found."""

    name: FaultName
    severity: Severity
    measured: float | None  # in `unit`; None where there is no number to give
    limit: float | None
    unit: str
    at_seconds: float | None = None  # of the stimulus, where it has a place
    cause: str  # what was seen and why, in a line
    action: str  # what to do next

    def sentence(self) -> str:
        """The finding in a line."""
        return f"{self.cause}: {self.action}"


class Findings(Record):
    """`findings.json`: everything that was found, the first cause first."""

    schema_: Literal["ampscope.check/1"] = Field(default="ampscope.check/1", alias="schema")
    passed: bool
    findings: tuple[Finding, ...]


def refused(refusal: CaptureError, name: FaultName, limit: float | None = None) -> Finding:
    """A refusal of the alignment as a finding, in the refusal's own words."""
    return Finding(
        name=name,
        severity="stop",
        measured=refusal.size,
        limit=limit,
        unit=KINDS[name].unit,
        at_seconds=refusal.at_seconds,
        cause=refusal.cause,
        action=refusal.action or "take it again",
    )
