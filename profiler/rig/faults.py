"""Faults: what goes wrong between the computer and the amp, to be injected on purpose.

Each fault has a name, the same that a check finds it by, a strength in a unit of its own, and a
place. A rig file injects them into the simulated interface (`[interface.faults]`), and `inject`
into any recorded pair: users try their ears and rigs with them, and they are the truth that the
checks are tested against.

Conventions
-----------
`at_seconds` is a time of the stimulus, from its first sample. Levels in dBFS are peaks unless the
unit says RMS. A strength that is not given is the fault's minimum: the weakest that a check must
find.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from profiler.definitions import Record
from profiler.stimulus.plan import SignalPlan
from profiler.units import amplitude_to_db, peak_dbfs

CLIPPED_SAMPLES = 20  # on either rail: what the weakest clipping cuts off
LOW_PEAK_DBFS = -30.5  # of the weakest return that is too low

FaultName = Literal[
    "truncated",
    "file-hygiene",
    "wrong-rate",
    "zero-fill",
    "lost-block",
    "repeated-block",
    "clock-drift",
    "latency-changed",
    "system-resampling",
    "sixteen-bit",
    "feedback",
    "standby",
    "no-signal",
    "wrong-stimulus",
    "bypass",
    "direct-monitoring",
    "polarity-inverted",
    "return-clipped",
    "send-saturates",
    "shared-mode-limiter",
    "interface-limiter",
    "line-level",
    "return-low",
    "dc-step",
    "dc-offset",
    "hum",
    "room-noise",
    "noise-gate",
    "enhancement",
    "volume-changed",
    "mains-step",
    "knob-moved",
    "warm-up",
    "time-effect",
    "speaker-simulation",
]


class Fault(Record):
    """One fault, as a rig file has it under `[interface.faults]`."""

    strength: float | None = Field(
        default=None, description="how strong, in the fault's own unit; its minimum when not given"
    )
    at_seconds: float | None = Field(
        default=None, ge=0.0, description="where it begins, in seconds of the stimulus"
    )
    seconds: float | None = Field(
        default=None, gt=0.0, description="how long it lasts; to the end when not given"
    )
    variant: str | None = Field(
        default=None, description="which of its kinds, where it has several"
    )
    seed: int = Field(default=0, ge=0, description="of what is random in it")


@dataclass(frozen=True)
class FaultKind:
    """What is known of every fault of a name."""

    unit: str  # of its strength; empty where it has none
    minimum: float | None  # the weakest strength that a check must find
    loop_only: bool  # it can be told from the recording of a loop, not through an amp
    meaning: str  # what its strength is, in a line
    variants: tuple[str, ...] = ()  # the first is the usual one


KINDS: dict[FaultName, FaultKind] = {
    "truncated": FaultKind(
        "s", 0.15, False, "of the head or tail marker that is not there", ("start", "tail")
    ),
    "file-hygiene": FaultKind(
        "",
        None,
        False,
        "what an export did to the file",
        ("mp3", "normalised", "over-full-scale", "stereo", "tail", "dithered"),
    ),
    "wrong-rate": FaultKind(
        "ratio", 48_000 / 44_100, False, "of the true sample rate to the label's"
    ),
    "zero-fill": FaultKind("frames", 16, False, "replaced by exact zeros"),
    "lost-block": FaultKind("frames", 1, False, "lost"),
    "repeated-block": FaultKind("frames", 1, False, "played twice"),
    "clock-drift": FaultKind("ppm", 0.5, False, "of the recording's clock against the playing one"),
    "latency-changed": FaultKind("samples", 2, True, "more latency than when it was calibrated"),
    "system-resampling": FaultKind("Hz", 20_000, True, "where the resampler's low-pass ends"),
    "sixteen-bit": FaultKind("bits", 16, True, "of the path's word length"),
    "feedback": FaultKind("dB", 1.0, False, "gain of the loop at each round trip"),
    "standby": FaultKind("dB", -45.0, False, "gain while muted"),
    "no-signal": FaultKind("dB", -70.0, False, "crosstalk from the send, all that is heard"),
    "wrong-stimulus": FaultKind("", None, False, "another signal was played"),
    "bypass": FaultKind("dB", -6.0, False, "gain of the cable that was recorded instead"),
    "direct-monitoring": FaultKind("dB", -34.0, False, "gain of the dry copy that arrives early"),
    "polarity-inverted": FaultKind("", None, False, "the return is inverted"),
    "return-clipped": FaultKind(
        "dBFS", None, False, "rail at which the return is cut off", ("both", "positive", "negative")
    ),
    "send-saturates": FaultKind("%", 0.5, True, "THD of the send at 0 dBFS and 1 kHz"),
    "shared-mode-limiter": FaultKind("dB", 0.1, True, "taken off a peak of 0 dBFS"),
    "interface-limiter": FaultKind("dB", 0.3, True, "gain reduction at 0 dBFS, slow to recover"),
    "line-level": FaultKind("dB", 14.0, False, "hotter than the device expects"),
    "return-low": FaultKind("dB", None, False, "gain that brings the peak under -30 dBFS"),
    "dc-step": FaultKind("dBFS", -45.0, False, "height of the step"),
    "dc-offset": FaultKind("dBFS", -55.0, False, "constant offset of the return"),
    "hum": FaultKind(
        "dBFS",
        -75.0,
        False,
        "peak of the strongest line",
        ("loop-50", "loop-60", "rectifier-100", "rectifier-120"),
    ),
    "room-noise": FaultKind(
        "dBFS", -40.0, False, "peak of a noise at a microphone", ("burst", "reflection")
    ),
    "noise-gate": FaultKind("dBFS", -45.0, False, "threshold of a gate in the return"),
    "enhancement": FaultKind(
        "dB",
        0.3,
        True,
        "by which the gain follows the past",
        ("agc", "noise-suppression", "band-limit"),
    ),
    "volume-changed": FaultKind("dB", -0.4, True, "of the system's mixer, against the loop check"),
    "mains-step": FaultKind("dB", 0.5, False, "by which level, THD and hum step together"),
    "knob-moved": FaultKind("dB", 0.5, False, "by which the level steps, not to return"),
    "warm-up": FaultKind("dB", 0.3, False, "by which the level creeps over the take"),
    "time-effect": FaultKind(
        "dB",
        -34.0,
        False,
        "of the effect re the direct sound",
        ("delay", "reverb", "tremolo", "chorus"),
    ),
    "speaker-simulation": FaultKind("dB/octave", 18.0, False, "slope of the low-pass at 5 kHz"),
}

# What a strength can be at all.
LIMITS_OF_UNIT: dict[str, tuple[float, float]] = {
    "s": (0.001, 3600.0),
    "frames": (1.0, 1e6),
    "samples": (-1e5, 1e5),
    "ratio": (0.2, 5.0),
    "ppm": (-1000.0, 1000.0),
    "Hz": (1000.0, 96_000.0),
    "bits": (2.0, 24.0),
    "%": (0.0, 20.0),
    "dB": (-math.inf, 60.0),
    "dBFS": (-math.inf, 0.0),
    "dB/octave": (6.0, 96.0),
}
LIMITS: dict[FaultName, tuple[float, float]] = {
    "feedback": (-20.0, 20.0),
    "shared-mode-limiter": (0.0, 6.0),
    "interface-limiter": (0.0, 24.0),
    "enhancement": (0.0, 24.0),
    "warm-up": (-24.0, 24.0),
    "mains-step": (-24.0, 24.0),
    "time-effect": (-math.inf, 0.0),
}


def strength_of(name: FaultName, fault: Fault) -> float | None:
    """The strength of a fault: as given, else the minimum of its kind."""
    return KINDS[name].minimum if fault.strength is None else fault.strength


def inject(
    plan: SignalPlan,
    stimulus: np.ndarray,
    recorded: np.ndarray,
    faults: Mapping[FaultName, Fault],
) -> np.ndarray:
    """A recorded pair as it would be with these faults.

    Parameters
    ----------
    plan : SignalPlan
        What was played.
    stimulus : (n,) float array
        Its samples.
    recorded : (m,) or (m, channels) float array
        What came back: column 0 the return, column 1 the loopback channel, which has the faults of
        computer, interface, clock and send, but not those of the device and the return's knob.
    faults : mapping
        Applied in the order of the sound's way, whatever the order here.

    Returns
    -------
    float64 array
        As long as `recorded` and of its channels, but for the variants `stereo` and `tail` of
        `file-hygiene`. What a fault draws in from behind the end (after a lost block, say) is the
        end mirrored.

    Raises
    ------
    ValueError
        A variant that the fault has not, or a strength that is missing or cannot be.
    """
    from profiler.rig.injection import into_pair  # filters are loaded when they are needed

    for name, fault in faults.items():
        refuse_nonsense(name, fault)
    return into_pair(plan, stimulus, recorded, faults)


def weakest(name: FaultName, response: np.ndarray) -> float | None:
    """The weakest strength of a fault that a check must find in a take; None where it has none.

    That of its kind, but `return-clipped` and `return-low` depend on the response, `(n,)`: the rail
    that cuts off 20 samples on either side, and the gain that brings the peak to -30.5 dBFS.
    """
    if name == "return-clipped":
        either = (np.sort(response)[-CLIPPED_SAMPLES], np.sort(-response)[-CLIPPED_SAMPLES])
        return float(amplitude_to_db(min(either)))
    if name == "return-low":
        return LOW_PEAK_DBFS - peak_dbfs(response)
    return KINDS[name].minimum


def refuse_nonsense(name: FaultName, fault: Fault) -> None:
    """A `ValueError` for a variant or a strength that the fault cannot have."""
    kind = KINDS[name]
    if fault.variant is not None and fault.variant not in kind.variants:
        there_are = f"expected {', '.join(kind.variants)}" if kind.variants else "it has none"
        raise ValueError(f"fault {name} has no variant {fault.variant!r}: {there_are}")
    strength = strength_of(name, fault)
    if not kind.unit:
        if strength is not None:
            raise ValueError(f"fault {name} ({kind.meaning}) has no strength, got {strength:g}")
        return
    wanted = f"fault {name} needs a strength in {kind.unit} ({kind.meaning})"
    if strength is None:
        raise ValueError(wanted)
    lowest, highest = LIMITS.get(name, LIMITS_OF_UNIT[kind.unit])
    if not lowest <= strength <= highest:
        raise ValueError(f"{wanted}, from {lowest:g} to {highest:g}, got {strength:g}")


def _only_known(faults):
    """Names that are not known are told with the nearest that is."""
    if isinstance(faults, Mapping):
        for name in faults:
            if name not in KINDS:
                near = difflib.get_close_matches(str(name), KINDS, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]}" if near else f"there are {', '.join(KINDS)}"
                raise ValueError(f"no fault is named {str(name)!r}: {hint}")
    return faults


def _only_meant(faults):
    for name, fault in faults.items():
        refuse_nonsense(name, fault)
    return faults


# As a rig file has them: a table for each name.
Faults = Annotated[
    dict[FaultName, Fault], BeforeValidator(_only_known), AfterValidator(_only_meant)
]
