"""A cabinet for players: its impulse response as a WAV, or as a Linear `.nam`.

Either is written at unity, a power mean of 0 dB from 100 Hz to 5 kHz: a rig is then about as loud
with the cabinet as without, whatever gain its microphone had.
"""

import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from profiler import wav
from profiler.analysis.cabinet import CabinetIr, at_unity
from profiler.errors import ExportError
from profiler.export import nam
from profiler.rig.rig import Chain

Subtype = Literal["FLOAT", "PCM_24", "PCM_16"]


def write_wav(path: Path, ir: CabinetIr, *, subtype: Subtype = "FLOAT") -> None:
    """Write an impulse response as a mono WAV, at unity.

    Raises
    ------
    ExportError
        A sample that does not fit into whole numbers.
    ProfilerError
        The disk refused.
    """
    samples = at_unity(ir).samples
    highest = float(np.max(np.abs(samples)))
    if subtype != "FLOAT" and highest >= 1.0:
        raise ExportError(
            f"{path}: its highest sample is {highest:.2f}, which {subtype} cannot hold: write it "
            "as FLOAT"
        )
    wav.write(Path(path), samples.astype(np.float32), ir.sample_rate, subtype=subtype)


def write_nam(
    path: Path,
    ir: CabinetIr,
    *,
    chain: Chain | None = None,
    name: str | None = None,
    created: datetime.datetime | None = None,
) -> None:
    """Write an impulse response as a Linear `.nam`, at unity.

    Raises
    ------
    ExportError
        A sample that is not finite.
    ProfilerError
        The disk refused.
    """
    chain = chain or Chain()
    metadata = nam.Metadata(
        date=nam.Date.of(created or datetime.datetime.now(datetime.UTC)),
        name=name,
        gear_make=chain.make or None,
        gear_model=chain.model or None,
    )
    model = nam.LinearModel(
        at_unity(ir).samples.astype(np.float32),
        ir.sample_rate,
        metadata=metadata.model_dump(exclude_none=True),
    )
    nam.write_linear(path, model)
