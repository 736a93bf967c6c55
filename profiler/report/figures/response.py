"""The linear response of a device over frequency."""

from collections.abc import Sequence

import numpy as np

from profiler.analysis.response import DirectionCheck, PhaseCheck, ResponseCurve
from profiler.report.drawing import (
    DASHES,
    INK,
    SINGLE_INCHES,
    curve,
    drawing,
    frequency_axis,
    known,
    legend,
    rows,
)

BAND_HZ = (20.0, 20_000.0)
SHOWN_DB = 60.0  # below the highest response: what lies deeper is not heard
MOST_DELAY_MS = 15.0  # of a group delay that is shown: bass is slow without end


@drawing
def linear_response(curves: Sequence[tuple[str, ResponseCurve]]):
    """Magnitude and group delay, a curve a level or a device."""
    figure, (magnitude, delay) = rows(2, (2.4, 1.7))
    highest = -np.inf
    for number, (label, each) in enumerate(curves):
        level = known(each.magnitude_db)
        highest = max(highest, np.nanmax(level, initial=-np.inf))
        magnitude.plot(each.frequency_hz, level, label=label, **curve(number))
        delay.plot(each.frequency_hz, known(each.group_delay_ms), label=label, **curve(number))
    if np.isfinite(highest):
        magnitude.set_ylim(highest - SHOWN_DB, highest + 5.0)
    magnitude.set_ylabel("magnitude, dB")
    frequency_axis(magnitude, *BAND_HZ)
    legend(magnitude)
    low, high = delay.get_ylim()
    delay.set_ylim(max(low, -2.0), min(high, MOST_DELAY_MS))
    delay.set_ylabel("group delay, ms")
    frequency_axis(delay, *BAND_HZ)
    return figure


@drawing
def excess_phase(checks: Sequence[tuple[str, PhaseCheck]]):
    """The phase that the magnitude does not imply: 0 for a circuit of filters."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, each) in enumerate(checks):
        axes.plot(each.frequency_hz, each.excess_phase_degrees, label=label, **curve(number))
    axes.axhline(0.0, color=INK, linewidth=0.6, linestyle=DASHES[2])
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -30.0), max(high, 30.0))
    axes.set_ylabel("excess phase, degrees")
    frequency_axis(axes, *BAND_HZ)
    legend(axes)
    return figure


@drawing
def directions(checks: Sequence[tuple[str, DirectionCheck]]):
    """How far a sweep up and a sweep down differ, above what noise makes of it."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, each) in enumerate(checks):
        axes.plot(
            each.frequency_hz,
            known(each.difference_db),
            label=label or "difference",
            **curve(number),
        )
        if len(checks) == 1:
            axes.plot(
                each.frequency_hz,
                each.floor_db,
                label="noise",
                color=INK,
                linewidth=0.8,
                linestyle=DASHES[2],
            )
    axes.set_ylabel("up minus down, re the mean, dB")
    frequency_axis(axes, *BAND_HZ)
    legend(axes)
    return figure
