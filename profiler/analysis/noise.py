"""The noise of a device at rest.

Conventions
-----------
RMS re an RMS of 1.0, with the mean (an offset is no noise) left out, unweighted.
"""

import numpy as np

from profiler.capture.alignment import AlignedCapture
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalPlan
from profiler.units import rms_dbfs

LEFT_OUT_SECONDS = 0.1  # at the beginning: what sounded before still rings
SHORTEST_SECONDS = 0.1


def quiet_sections(plan: SignalPlan) -> list[slice]:
    """The silences that a plan holds for analysis and that last 0.2 s, without their beginning."""
    skip, shortest = (round(s * plan.sample_rate) for s in (LEFT_OUT_SECONDS, SHORTEST_SECONDS))
    return [
        slice(placed.start + skip, placed.stop)
        for placed in plan.of_kind("silence")
        if placed.segment.use == "analyse" and placed.stop - placed.start >= skip + shortest
    ]


def noise_floor_rms_dbfs(capture: AlignedCapture) -> float:
    """RMS level of the quiet sections; -inf for none at all.

    Raises
    ------
    CaptureError
        The plan has no quiet section.
    """
    quiet = [capture.response[part].astype(np.float64) for part in quiet_sections(capture.plan)]
    if not quiet:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no silence of 0.2 s to measure noise in: "
            "capture standard or quick"
        )
    return rms_dbfs(np.concatenate([part - np.mean(part) for part in quiet]))
