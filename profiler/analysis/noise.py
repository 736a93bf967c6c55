"""Noise: what the device and the interface add when nothing is played."""

import numpy as np

from profiler.capture.alignment import AlignedCapture
from profiler.units import rms_dbfs

# What was played before must have died away: the first part of a quiet section is left out.
RING_OUT_SECONDS = 0.2
SHORTEST_SECONDS = 0.05


def noise_floor_rms_dbfs(capture: AlignedCapture) -> float | None:
    """RMS of the response in the quiet sections of a plan, without their mean, dB re 1.0.

    Quiet sections are the silences that are played to be analysed. The band is that of the
    capture, unweighted. None when the plan has no such section, or none long enough.
    """
    ring_out = round(RING_OUT_SECONDS * capture.sample_rate)
    shortest = round(SHORTEST_SECONDS * capture.sample_rate)
    quiet = [
        capture.response[placed.start + ring_out : placed.stop].astype(np.float64)
        for placed in capture.plan.used_for("analyse")
        if placed.segment.kind == "silence" and placed.stop - placed.start >= ring_out + shortest
    ]
    if not quiet:
        return None
    return rms_dbfs(np.concatenate([section - np.mean(section) for section in quiet]))
