"""The noise of a device at rest.

Conventions
-----------
RMS re an RMS of 1.0, with the mean (an offset is no noise) left out, unweighted.
"""

import numpy as np

from profiler.capture.alignment import AlignedCapture
from profiler.errors import CaptureError
from profiler.units import rms_dbfs

LEFT_OUT_SECONDS = 0.1  # at the beginning: what sounded before still rings
SHORTEST_SECONDS = 0.1


def noise_floor_rms_dbfs(capture: AlignedCapture) -> float:
    """RMS level of the silences that the stimulus holds for analysis; -inf for none at all.

    Raises
    ------
    CaptureError
        There is no such silence, or none that lasts 0.2 s.
    """
    skip, shortest = (round(s * capture.sample_rate) for s in (LEFT_OUT_SECONDS, SHORTEST_SECONDS))
    quiet = [
        capture.response[placed.start + skip : placed.stop].astype(np.float64)
        for placed in capture.plan.of_kind("silence")
        if placed.segment.use == "analyse" and placed.stop - placed.start >= skip + shortest
    ]
    if not quiet:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no silence of 0.2 s to measure noise in: "
            "capture standard or quick"
        )
    return rms_dbfs(np.concatenate([part - np.mean(part) for part in quiet]))
