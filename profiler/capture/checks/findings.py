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
from profiler.rig.faults import FaultName

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
