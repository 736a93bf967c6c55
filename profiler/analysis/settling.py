"""Settling and rest: how long a device takes to reach a steady state, and to leave it.

Supply sag, bias shift and blocked grids make the response to a steady tone drift for some
tenths of a second after it begins, and ring on after it ends. The longest of these times is
the context that a model needs to be right: its receptive field.

Conventions
-----------
Time 0 of a settling time is the first sample of the tone, of a rest time the first sample
after it; the capture is aligned. E(t) is the energy, over one period up to t, of what the
response differs from its steady state, over the energy of one period of the steady state: an
error-to-signal ratio a cycle, in dB. A settling time is the last time that E exceeds eps, a
rest time the last time that the response's RMS over 5 ms exceeds eps times the steady peak.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import Burst, Placed
from profiler.units import power_to_db

LEVELS_DB = (-20, -30, -40, -60)

STEADY_SECONDS = 0.25  # the end of the tone, from which the steady state is read
HIGHEST_HARMONIC = 12
REST_WINDOW_SECONDS = 0.005
BASELINE_SECONDS = 0.1  # the end of the silence, from which the baseline is read
NOISE_SIGMAS = 3.0
FLOOR_MARGIN_DB = 3.0  # E this near to its floor is the floor
LARGEST_SLOPE_DB = 3.0  # over the last third of the tone, of a response that is steady
FILTER_RESPONSE_SECONDS = 0.005  # of a cabinetless amp's filters, added to the longest time
TARGET_DB = -40  # of the times that the receptive field covers
EDGE_SECONDS = 0.002  # the last of the tone is left out: there it fades


class BurstSettling(Record):
    """How one burst settled and came to rest. A time that was not reached is null."""

    name: str
    level_dbfs: float
    frequency: float
    settling_ms: dict[str, float | None]
    rest_ms: dict[str, float | None]
    floor_db: float | None  # of E in the steady state; null where nothing is left of it
    steady: bool


class SettlingAnalysis(Record):
    """What `ampscope settle` reports."""

    schema_: Literal["ampscope.settle/1"] = Field(default="ampscope.settle/1", alias="schema")
    sample_rate: int
    bursts: tuple[BurstSettling, ...]
    receptive_field_samples: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SettlingCurve:
    """E(t) of one burst, a period after the tone's first sample to its end."""

    name: str
    level_dbfs: float
    seconds: np.ndarray  # (n,) from the first sample of the tone
    error_db: np.ndarray  # (n,)
    floor_db: float


def settling(capture: AlignedCapture) -> SettlingAnalysis:
    """Settling and rest times of every burst of a capture.

    Raises
    ------
    CaptureError
        The capture's stimulus has no burst.
    """
    warnings: list[str] = []
    bursts = tuple(_measured(capture, placed, warnings) for placed in _bursts(capture))
    times = [
        burst.__getattribute__(kind)[str(TARGET_DB)]
        for burst in bursts
        for kind in ("settling_ms", "rest_ms")
    ]
    known = [time for time in times if time is not None]
    field = None
    if known:
        field = math.ceil((max(known) / 1e3 + FILTER_RESPONSE_SECONDS) * capture.sample_rate)
    if known and len(known) < len(times):
        warnings.append(
            f"the receptive field is a lower bound: not every time to {TARGET_DB} dB was reached"
        )
    return SettlingAnalysis(
        sample_rate=capture.sample_rate,
        bursts=bursts,
        receptive_field_samples=field,
        warnings=tuple(warnings),
    )


def settling_curve(capture: AlignedCapture) -> tuple[SettlingCurve, ...]:
    """E(t) of every burst, to be looked at.

    Raises
    ------
    CaptureError
        The capture's stimulus has no burst.
    """
    return tuple(
        SettlingCurve(
            placed.segment.name,
            placed.segment.level_dbfs + capture.plan.gain_db,
            *_error_curve(_tone(capture, placed), capture.sample_rate, placed.segment.frequency),
        )
        for placed in _bursts(capture)
    )
