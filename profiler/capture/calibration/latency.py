"""The interface's round-trip latency, measured once with a loop cable and kept.

With no channel to spare for a loopback, the latency of the same device at the same sample
rate and block size is what a take is aligned by; it is re-checked against the markers of
every take, because a driver may change it from one opening to the next.
"""

import datetime
from collections.abc import Callable
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.capture.calibration import tone
from profiler.capture.calibration.validity import conditions
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.rig.interface import Interface, StreamReport
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalPlan
from profiler.stimulus.synthesis import render

LARGEST_SPREAD_SAMPLES = 0.05  # a stable driver repeats to 1e-3; whole samples apart is a fault


class LatencyCalibration(Record):
    """The round trip of one interface under stated conditions."""

    schema_: Literal["ampscope.latency/1"] = Field(default="ampscope.latency/1", alias="schema")
    conditions: dict[str, str | int | float | None]
    round_trip_samples: float
    spread_samples: float  # largest minus smallest over the repeats
    repeats: int
    polarity: Literal[1, -1]
    drift_ppm: float | None = None  # of the recording's clock re the playing one; 0 for one clock
    block_sizes: tuple[int, ...] = ()  # that the driver used, ascending
    created_utc: datetime.datetime

    def holds_for(self, stream: StreamReport) -> bool:
        """Whether a stream met the block size of this one, where the driver chose it.

        The last block of a stream may be shorter, so the largest are compared.
        """
        chosen_by_the_driver = self.conditions.get("block_size") == 0
        if not (chosen_by_the_driver and self.block_sizes and stream.block_sizes):
            return True
        return max(self.block_sizes) == max(stream.block_sizes)


def measure_latency(
    rig: Rig,
    plan: SignalPlan,
    interface: Interface,
    *,
    repeats: int = 3,
    on_repeat: Callable[[int, float], None] | None = None,
) -> LatencyCalibration:
    """Play `plan` through a loop cable `repeats` times and measure the round trip.

    Raises
    ------
    NotAligned, Silent
        What came back is not the stimulus behind one delay.
    CaptureError
        The latency, the polarity or the driver's block size differs from repeat to repeat.
    """
    # alignment reads captures, which hold calibrations, so it cannot be imported with it
    from profiler.capture.alignment import align

    plan = plan.bracketed()
    stimulus = render(plan)
    alignments, largest_blocks, sizes = [], set(), set()
    for repeat in range(repeats):
        recorded, stream = tone.play(rig, plan, interface)
        returned = recorded[:, 0]
        found = align(plan, stimulus, returned, loopback=returned)
        alignments.append(found)
        sizes |= set(stream.block_sizes)
        largest_blocks |= {max(stream.block_sizes, default=0)}
        if on_repeat is not None:
            on_repeat(repeat, found.delay_samples)
    delays = [found.delay_samples for found in alignments]
    spread = max(delays) - min(delays)
    blocks = ""
    if len(largest_blocks) > 1:
        blocks = f" with blocks of {' and '.join(map(str, sorted(largest_blocks)))} frames"
    if spread > LARGEST_SPREAD_SAMPLES or blocks:
        raise CaptureError(
            f"the round trip changed by {spread:.3f} samples over {repeats} repeats{blocks} (at "
            f"most {LARGEST_SPREAD_SAMPLES} expected): close other programs that use the "
            "interface, fix its block size, or wire a loopback channel"
        )
    if len({found.polarity for found in alignments}) > 1:
        raise CaptureError(
            "the polarity of the loop changed between the repeats: check the cable, and measure "
            "it again"
        )
    drifts = [found.drift_ppm for found in alignments if found.drift_ppm is not None]
    return LatencyCalibration(
        conditions=conditions(rig),
        round_trip_samples=float(np.mean(delays)),
        spread_samples=spread,
        repeats=repeats,
        polarity=alignments[0].polarity,
        drift_ppm=float(np.median(drifts)) if drifts else None,
        block_sizes=tuple(sorted(sizes)),
        created_utc=datetime.datetime.now(datetime.UTC),
    )
