"""The reference tone of a take: is the calibration still true?

One second of 1 kHz at a known level stands in every take. On a loop it must come back as the
calibration, or an earlier loop, says: within 0.2 dB, or a volume was moved. Through an amp it says
how the level compares with an earlier take of the same rig, for information only: that may be the
amp's own doing.

Conventions
-----------
Levels are peaks of the fundamental in dBFS, gains peak re peak.
"""

from dataclasses import dataclass

import numpy as np

from profiler.capture.calibration import tone
from profiler.stimulus.plan import Reference, SignalPlan

TOLERANCE_DB = 0.2
LEFT_OUT_SECONDS = 0.1  # at both ends: the fades, and a device that settles


@dataclass(frozen=True)
class ReferenceCheck:
    """The reference tone of a take against what is known of it."""

    level_dbfs: float
    expected_dbfs: float

    @property
    def deviation_db(self) -> float:
        """Measured minus expected."""
        return self.level_dbfs - self.expected_dbfs

    @property
    def holds(self) -> bool:
        """Whether a loop is as it was."""
        return abs(self.deviation_db) <= TOLERANCE_DB


def reference_level_dbfs(plan: SignalPlan, signal: np.ndarray, delay_samples: float) -> float:
    """The level of the reference tone in a recording; -inf for silence.

    Parameters
    ----------
    signal : (n,) float array
        The raw recording of a channel.
    delay_samples : float
        By which it lies behind the stimulus; to some milliseconds is enough.

    Raises
    ------
    ValueError
        The plan holds no reference tone, or the recording ends before it.
    """
    placed = next((found for found in plan.of_kind("reference")), None)
    if placed is None or not isinstance(placed.segment, Reference):
        raise ValueError(f"the plan {plan.name!r} holds no reference tone")
    margin = round(LEFT_OUT_SECONDS * plan.sample_rate)
    delay = round(delay_samples)
    start, stop = placed.start + delay + margin, placed.stop + delay - margin
    if start < 0 or stop > len(signal):
        raise ValueError(
            f"the reference tone would be at samples {start}:{stop}, got {len(signal)} samples"
        )
    return tone.level_dbfs(signal[start:stop], placed.segment.frequency, plan.sample_rate)


def reference_check(
    plan: SignalPlan,
    signal: np.ndarray,
    delay_samples: float,
    *,
    expected_gain_db: float | None,
) -> ReferenceCheck | None:
    """The reference tone of a recording against the gain that is known; None where none is.

    `expected_gain_db` is that of a calibrated loop (`LevelCalibration.loop_gain_db`), or what an
    earlier take of the same rig gave.
    """
    placed = next((found for found in plan.of_kind("reference")), None)
    if placed is None or expected_gain_db is None:
        return None
    return ReferenceCheck(
        level_dbfs=reference_level_dbfs(plan, signal, delay_samples),
        expected_dbfs=placed.segment.level_dbfs + plan.gain_db + expected_gain_db,
    )
