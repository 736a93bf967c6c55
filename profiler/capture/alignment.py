"""Alignment: how far the response lies behind the stimulus."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.definitions import Record
from profiler.stimulus.plan import SignalPlan

Reference = Literal["loopback", "calibration", "excess-phase", "given"]


class MarkerDelay(Record):
    """Where one marker was found."""

    at_seconds: float  # of the stimulus
    delay_samples: float
    confidence_db: float  # correlation peak over the largest other


class Alignment(Record):
    """`alignment.json`."""

    schema_: Literal["ampscope.alignment/1"] = Field(default="ampscope.alignment/1", alias="schema")
    delay_samples: float
    sigma_samples: float
    polarity: Literal[1, -1]
    reference: Reference
    drift_ppm: float | None
    markers: tuple[MarkerDelay, ...]


@dataclass(frozen=True)
class AlignedCapture:
    """Stimulus and response that belong together, sample by sample.

    The response is shifted by the whole delay, resampled by its fraction; its polarity
    is as recorded (it belongs to the device). Both are `(n,)` float32, n the plan's frames.
    """

    plan: SignalPlan
    alignment: Alignment
    stimulus: np.ndarray
    response: np.ndarray

    @property
    def sample_rate(self) -> int:
        return self.plan.sample_rate
