"""Is the exported file a good model of the device? The file is asked, not the trainer.

The weights are read back from the file and evaluated on the stimulus, and what comes out is
compared with what the device answered in the segments that were held out: those of use
`validate`, which chose the weights but trained none, and `test`, which did neither. A
segment that repeats another only tells the floor: half of the ESR between the two passes.

A model passes when its ESR is at most the limit, and when the file gives the same as the
trained network it was made from.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.analysis.error import esr, esr_preemphasised, floor_esr, replicate_esr, rmse
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import ExportError
from profiler.export.nam import read
from profiler.model.streaming import render
from profiler.model.training import TrainedModel

ESR_LIMIT = 0.05
PARITY_LIMIT = 1e-5  # of full scale: the rounding of float32 through twenty layers


class SegmentError(Record):
    """How well one held-out segment is met."""

    use: Literal["validate", "test"]
    seconds: float
    esr: float
    esr_preemphasised: float
    rmse: float


class Verification(Record):
    """`verification.json`, and what `verify --json` prints."""

    schema_: Literal["ampscope.verify/1"] = Field(default="ampscope.verify/1", alias="schema")
    esr: float  # over all held-out segments together
    esr_preemphasised: float
    rmse: float
    replicate_esr: float | None  # None: no segment was played twice
    floor_esr: float | None
    ratio_to_floor: float | None
    parity_max_abs: float | None  # None: the trained network is not at hand
    passed: bool
    by_segment: dict[str, SegmentError]


def verify(
    nam_path: Path,
    capture: AlignedCapture,
    trained: TrainedModel | None = None,
    *,
    esr_limit: float = ESR_LIMIT,
) -> Verification:
    """Compare an exported file with the device, and with the network it was made from.

    Raises
    ------
    ExportError
        The file cannot be read, is made for another sample rate, or the capture has nothing
        that was held out.
    """
    loaded = read(nam_path)
    if loaded.sample_rate not in (None, capture.sample_rate):
        raise ExportError(
            f"{nam_path}: is made for {loaded.sample_rate} Hz, the capture is at "
            f"{capture.sample_rate} Hz: verify it with a capture at {loaded.sample_rate} Hz"
        )
    held_out = [
        placed
        for placed in capture.plan.used_for("validate", "test")
        if placed.segment.replicate_of is None and np.any(capture.response[placed.slice])
    ]
    if not held_out:
        raise ExportError(
            f"{nam_path}: the capture holds nothing to verify it with (no segment of use validate "
            "or test that sounds): capture a signal such as standard"
        )
    estimate = render(loaded.network, capture.stimulus)
    by_segment = {}
    for placed in held_out:
        target, found = capture.response[placed.slice], estimate[placed.slice]
        by_segment[placed.segment.name] = SegmentError(
            use=placed.segment.use,
            seconds=len(target) / capture.sample_rate,
            esr=esr(target, found),
            esr_preemphasised=esr_preemphasised(target, found),
            rmse=rmse(target, found),
        )
    target = np.concatenate([capture.response[placed.slice] for placed in held_out])
    found = np.concatenate([estimate[placed.slice] for placed in held_out])
    total = esr(target, found)
    replicate = _replicate(capture)
    floor = None if replicate is None else floor_esr(replicate)
    parity = None
    if trained is not None:
        parity = float(np.max(np.abs(trained.estimate(capture.stimulus) - estimate)))
    return Verification(
        esr=total,
        esr_preemphasised=esr_preemphasised(target, found),
        rmse=rmse(target, found),
        replicate_esr=replicate,
        floor_esr=floor,
        ratio_to_floor=total / floor if floor else None,
        parity_max_abs=parity,
        passed=total <= esr_limit and (parity is None or parity <= PARITY_LIMIT),
        by_segment=by_segment,
    )


def _replicate(capture):
    """Replicate ESR over every pair of passes in the plan."""
    placed = {each.segment.name: each for each in capture.plan.placed()}
    pairs = [
        (placed[name.segment.replicate_of], name)
        for name in placed.values()
        if name.segment.replicate_of is not None
    ]
    if not pairs:
        return None
    first = np.concatenate([capture.response[original.slice] for original, _ in pairs])
    second = np.concatenate([capture.response[again.slice] for _, again in pairs])
    return replicate_esr(first, second) if np.any(first) or np.any(second) else None
