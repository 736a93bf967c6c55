"""All that is measured on a capture, in one record: `analysis.json`.

A measure whose segment the plan does not have is absent, and said to be.
"""

from typing import Literal

from pydantic import Field

from profiler.analysis.noise import noise_floor_rms_dbfs, quiet_sections
from profiler.analysis.settling import SettlingAnalysis, settling
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record


class Analysis(Record):
    """`analysis.json`."""

    schema_: Literal["ampscope.analysis/1"] = Field(default="ampscope.analysis/1", alias="schema")
    response_sha256: str  # of the recording that was measured
    delay_samples: float  # that it was aligned by
    noise_floor_rms_dbfs: float | None
    settling: SettlingAnalysis | None
    warnings: tuple[str, ...] = ()


def analyse(capture: AlignedCapture, response_sha256: str) -> Analysis:
    """Measure what the plan of a capture allows."""
    warnings: list[str] = []
    settled = floor = None
    if quiet_sections(capture.plan):
        floor = noise_floor_rms_dbfs(capture)
    else:
        warnings.append("no quiet section in the stimulus: the noise floor is not known")
    if any(segment.kind == "burst" for segment in capture.plan.segments):
        settled = settling(capture)
        warnings += settled.warnings
    else:
        warnings.append("no burst in the stimulus: the settling time is not known")
    return Analysis(
        response_sha256=response_sha256,
        delay_samples=capture.alignment.delay_samples,
        noise_floor_rms_dbfs=floor,
        settling=settled,
        warnings=tuple(warnings),
    )
