"""How the response to a steady tone nears its steady state."""

from collections.abc import Sequence

import numpy as np

from profiler.analysis.settling import SettlingCurve
from profiler.report.drawing import (
    DASHES,
    INK,
    SINGLE_INCHES,
    curve,
    drawing,
    legend,
    rows,
    thinned,
)

DEEPEST_DB = -120.0  # of a settling curve: below it nothing is left


@drawing
def settling(curves: Sequence[tuple[str, SettlingCurve]], thresholds_db: Sequence[float]):
    """How far each period is from the steady one, one curve a level or a device."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, each) in enumerate(curves):
        seconds, highest_db = thinned(each.seconds, each.error_db)
        axes.plot(1e3 * seconds, np.maximum(highest_db, DEEPEST_DB), label=label, **curve(number))
    for threshold in thresholds_db:
        axes.axhline(threshold, color=INK, linewidth=0.6, linestyle=DASHES[2])
    axes.set_ylabel("distance from steady, dB")
    axes.set_xlabel("time since the tone began, ms")
    legend(axes)
    return figure
