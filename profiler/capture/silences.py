"""The silences of a stimulus: where nothing is played, and the device is heard alone.

They are found in the samples that were played, so a user's own material has them as well as a
plan's: before the first note, between two, around a probe.
"""

import numpy as np

from profiler.units import db_to_amplitude

SHORTEST_SECONDS = 0.08
SILENT_DB = -90.0  # re the peak: a file of 16 bits is not zero where it is silent


def silences(
    stimulus: np.ndarray, sample_rate: int, *, shortest_seconds: float = SHORTEST_SECONDS
) -> list[slice]:
    """Runs of `(n,)` samples below -90 dB re the peak that last at least so long, in order."""
    level = np.abs(stimulus)
    quiet = level <= db_to_amplitude(SILENT_DB) * np.max(level, initial=0.0)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2)
    shortest = round(shortest_seconds * sample_rate)
    return [slice(int(a), int(b)) for a, b in edges if b - a >= shortest]
