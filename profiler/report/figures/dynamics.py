"""What a device makes of soft and loud."""

from collections.abc import Sequence

import numpy as np

from profiler.analysis.dynamics import Dynamics, LevelCurve, StepCourse
from profiler.report.drawing import DASHES, INK, curve, drawing, known, legend, rows
from profiler.units import amplitude_to_db

LOWEST_HARMONIC_DB = -90.0  # re the fundamental: what lies deeper is nothing to hear
TOLD_HZ = 440.0  # where devices are compared: one curve of each
AFTER_SECONDS = 0.6  # of a tone behind its step that are shown
BEFORE_SECONDS = 0.05


@drawing
def level_curves(named: Sequence[tuple[str, Dynamics]]):
    """Gain, and the second and third harmonic, against the level of a steady tone."""
    figure, (gain, harmonics) = rows(2, 2.1)
    for number, (label, each) in enumerate(_labelled(named)):
        played = [point.played_dbfs for point in each.points]
        gain.plot(
            played, known(point.gain_db for point in each.points), label=label, **curve(number)
        )
    for number, (label, each) in enumerate(_compared(named)):
        played = [point.played_dbfs for point in each.points]
        for order in (2, 3):
            ratio = known(point.harmonic_ratios[order - 2] for point in each.points)
            level_db = np.maximum(amplitude_to_db(ratio), LOWEST_HARMONIC_DB)
            look = {**curve(2 * number + order - 2)}
            harmonics.plot(played, level_db, label=f"{label} H{order}".strip(), **look)
    gain.set_ylabel("gain, dB")
    gain.set_xlabel("level played, dBFS peak")
    legend(gain)
    harmonics.set_ylabel("re the fundamental, dB")
    harmonics.set_xlabel("level played, dBFS peak")
    legend(harmonics)
    return figure


@drawing
def level_steps(courses: Sequence[tuple[str, StepCourse]]):
    """Gain in time when a tone steps from soft to loud, and back."""
    figure, (up, down) = rows(2, 1.9)
    for number, (label, each) in enumerate(courses):
        for axes, edge in ((up, 0.0), (down, each.down_seconds)):
            seconds = each.seconds - edge
            shown = (seconds >= -BEFORE_SECONDS) & (seconds <= AFTER_SECONDS)
            axes.plot(1e3 * seconds[shown], each.gain_db[shown], label=label, **curve(number))
    for axes, what in ((up, "louder"), (down, "softer again")):
        axes.axvline(0.0, color=INK, linewidth=0.6, linestyle=DASHES[2])
        axes.set_ylabel("gain, dB")
        axes.set_xlabel(f"time since it became {what}, ms")
    legend(up)
    return figure


def _labelled(named):
    """Curves with what tells them apart: frequencies of one device, or devices."""
    if len(named) > 1:
        return _compared(named)
    ((_, dynamics),) = named
    return [(f"{each.frequency_hz:g} Hz", each) for each in dynamics.curves]


def _compared(named: Sequence[tuple[str, Dynamics]]) -> list[tuple[str, LevelCurve]]:
    """One curve of each device, that nearest to where devices are compared."""
    return [
        (
            name if len(named) > 1 else "",
            min(dynamics.curves, key=lambda each: abs(np.log(each.frequency_hz / TOLD_HZ))),
        )
        for name, dynamics in named
        if dynamics.curves
    ]
