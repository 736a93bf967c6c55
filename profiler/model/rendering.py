"""A model run over a WAV file, in bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.definitions import replacing
from profiler.errors import CaptureError
from profiler.model.engine import EngineChoice
from profiler.model.network import Network
from profiler.model.streaming import player_of


@dataclass(frozen=True)
class Rendered:
    """What `render_file` wrote."""

    frames: int
    sample_rate: int
    peak: float  # of the output; above 1.0 an integer file would have clipped


def render_file(
    model: Network,
    source: Path,
    destination: Path,
    *,
    sample_rate: int | None = None,
    fast_tanh: bool = False,
    engine: EngineChoice = "auto",
    replace: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Rendered:
    """Play a mono WAV through a model and write its output as 32-bit float.

    Parameters
    ----------
    sample_rate : int, optional
        Of the model; a file at another rate is refused.
    on_progress : callable, optional
        Gets the fraction that is done.

    Raises
    ------
    CaptureError
        The source is not usable, or the destination is there (without `replace`).
    ProfilerError
        The native kernels are asked for and cannot play the model; or the disk is full, and no
        destination is left half-written.
    """
    if destination.exists() and not replace:
        raise CaptureError(f"{destination}: is already there: choose another name, or use -y")
    header = wav.header(source)
    if header.channels != 1:
        raise CaptureError(
            f"{source}: has {header.channels} channels, expected mono: export one channel"
        )
    blocks = wav.blocks(source, sample_rate=sample_rate)
    player = player_of(model, fast_tanh=fast_tanh, engine=engine)
    peak = 0.0
    with (
        replacing(destination) as beside,
        wav.Writer(beside, header.sample_rate, 1, frames=header.frames) as file,
    ):
        for block in blocks:
            output = player.process(block[:, 0])
            file.write(output)
            peak = max(peak, float(np.max(np.abs(output))))
            if on_progress is not None:
                on_progress(file.frames / header.frames)
    return Rendered(header.frames, header.sample_rate, peak)
