"""All that is measured on a capture, in one record: `analysis.json`.

A measure whose segment the plan does not have is absent, and said to be.
"""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

import profiler
from profiler.analysis.cabinet import CabinetAnalysis, cabinet
from profiler.analysis.distortion import Distortion, distortion
from profiler.analysis.dynamics import Dynamics, dynamics
from profiler.analysis.intermodulation import Intermodulation, intermodulation
from profiler.analysis.memory import Memory, memory
from profiler.analysis.noise import NoiseAnalysis, noise
from profiler.analysis.response import LinearResponse, linear_response
from profiler.analysis.settling import SettlingAnalysis, settling
from profiler.capture.alignment import AlignedCapture
from profiler.capture.folder import CaptureFolder
from profiler.definitions import Record
from profiler.errors import CaptureError, DefinitionError


class Analysis(Record):
    """`analysis.json`. What was not measured is null."""

    schema_: Literal["ampscope.analysis/2"] = Field(default="ampscope.analysis/2", alias="schema")
    software_version: str = profiler.__version__
    response_sha256: str  # of the recording that was measured
    delay_samples: float  # that it was aligned by
    settling: SettlingAnalysis | None
    response: LinearResponse | None
    distortion: Distortion | None
    intermodulation: Intermodulation | None
    memory: Memory | None
    dynamics: Dynamics | None
    noise: NoiseAnalysis | None
    cabinet: CabinetAnalysis | None
    warnings: tuple[str, ...] = ()


def _cabinet_of(capture):
    """Between DI and microphone; without a DI the response is told by the sweeps already."""
    if capture.di is None:
        raise CaptureError(
            "the take holds no DI: record the line before the cabinet as well, by di_channel in "
            "the rig"
        )
    return cabinet(capture)


# Keys of the record, and what measures them. A measure without its segment says so.
_MEASURES: dict[str, Callable[[AlignedCapture], Any]] = {
    "settling": settling,
    "response": linear_response,
    "distortion": distortion,
    "intermodulation": intermodulation,
    "memory": memory,
    "dynamics": dynamics,
    "noise": noise,
    "cabinet": _cabinet_of,
}


def analyse(
    capture: AlignedCapture,
    response_sha256: str,
    *,
    on_progress: Callable[[float, str], None] = lambda fraction, measure: None,
) -> Analysis:
    """Measure what the plan of a capture allows.

    Parameters
    ----------
    on_progress : callable
        Told the fraction that is done, and the measure that begins.
    """
    found: dict[str, Any] = {}
    warnings: list[str] = []
    for number, (name, measure) in enumerate(_MEASURES.items()):
        on_progress(number / len(_MEASURES), name)
        try:
            found[name] = measure(capture)
        except CaptureError as error:
            found[name] = None
            warnings.append(f"{name} not measured: {error}")
        else:
            warnings += getattr(found[name], "warnings", ())
    return Analysis(
        response_sha256=response_sha256,
        delay_samples=capture.alignment.delay_samples,
        warnings=tuple(warnings),
        **found,
    )


def stored_analysis(folder: CaptureFolder, capture: AlignedCapture) -> Analysis | None:
    """`analysis.json`, if this version made it of this recording in this alignment."""
    if not folder.analysis_path.is_file():
        return None
    try:
        there = Analysis.load_json(folder.analysis_path)
    except DefinitionError:  # of an earlier version, or damaged: it can be made again
        return None
    made_of = (there.software_version, there.response_sha256, there.delay_samples)
    wanted = (
        profiler.__version__,
        folder.record().response_sha256,
        capture.alignment.delay_samples,
    )
    return there if made_of == wanted else None
