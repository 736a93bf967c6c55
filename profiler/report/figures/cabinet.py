"""A loudspeaker before a microphone."""

from collections.abc import Sequence

from profiler.analysis.cabinet import COHERENT, CabinetAnalysis
from profiler.report.drawing import (
    DASHES,
    INK,
    curve,
    drawing,
    frequency_axis,
    legend,
    rows,
)

SHOWN_DB = 50.0  # below the highest


@drawing
def cabinet(named: Sequence[tuple[str, CabinetAnalysis]]):
    """Magnitude over frequency, and how far the two channels agree on it."""
    figure, (magnitude, coherence) = rows(2, (2.6, 1.5))
    highest = max(max(each.magnitude_db) for _, each in named)
    for number, (label, each) in enumerate(named):
        magnitude.plot(each.frequency_hz, each.magnitude_db, label=label, **curve(number))
        coherence.plot(each.frequency_hz, each.coherence, **curve(number))
    magnitude.set_ylim(highest - SHOWN_DB, highest + 5.0)
    magnitude.set_ylabel("magnitude, dB")
    frequency_axis(magnitude, 20.0, 20_000.0)
    legend(magnitude)
    coherence.axhline(COHERENT, color=INK, linewidth=0.6, linestyle=DASHES[2])
    coherence.set_ylim(0.0, 1.05)
    coherence.set_ylabel("coherence")
    frequency_axis(coherence, 20.0, 20_000.0)
    return figure
