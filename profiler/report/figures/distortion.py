"""Harmonics and intermodulation, against frequency and level."""

from collections.abc import Sequence

import numpy as np

from profiler.analysis.distortion import SweepDistortion, ToneDistortion
from profiler.analysis.intermodulation import TwinToneIntermodulation
from profiler.report.drawing import (
    DASHES,
    FAINT,
    SINGLE_INCHES,
    STRONG,
    curve,
    decades,
    drawing,
    frequency_axis,
    known,
    legend,
    rows,
)

BAND_HZ = (20.0, 20_000.0)
HIGHEST_SHOWN = 5  # H6 to H9 are in the numbers; here they would hide the others
DEEPEST_DB = 100.0  # below H1
LEAST_PERCENT = 1e-3


@drawing
def sweep_harmonics(sweep: SweepDistortion):
    """H1 to H5 of a sweep, at the frequency that they come from, and what noise adds to H2."""
    figure, (axes,) = rows(1, 2.9)
    frequency = np.array(sweep.frequency_hz)
    for number, harmonic in enumerate(sweep.harmonics[:HIGHEST_SHOWN]):
        look = {"color": STRONG, "linewidth": 2.2} if number == 0 else curve(number)
        axes.plot(frequency, known(harmonic.level_db), label=f"H{harmonic.order}", **look)
    if len(sweep.harmonics) > 1:
        floor = known(sweep.harmonics[1].floor_db)
        axes.plot(frequency, floor, color=FAINT, linewidth=1.0, label="noise")
    highest = np.nanmax(known(sweep.harmonics[0].level_db), initial=-np.inf)
    low = axes.get_ylim()[0]
    if np.isfinite(highest):
        axes.set_ylim(max(low, highest - DEEPEST_DB), highest + 5.0)
    axes.set_ylabel("re a sweep of full scale, dB")
    frequency_axis(axes, *BAND_HZ)
    legend(axes)
    return figure


@drawing
def thd_over_frequency(sweeps: Sequence[tuple[str, SweepDistortion]]):
    """THD against the frequency that is played, above what noise would make."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, sweep) in enumerate(sweeps):
        axes.plot(
            sweep.frequency_hz, known(sweep.thd_percent), label=label or "THD", **curve(number)
        )
    _, first = sweeps[0]
    axes.plot(
        first.frequency_hz,
        known(first.thd_floor_percent),
        color=FAINT,
        linewidth=1.0,
        label="noise",
    )
    _percent(axes)
    frequency_axis(axes, *BAND_HZ)
    legend(axes)
    return figure


@drawing
def thd_over_level(tones: Sequence[tuple[str, Sequence[ToneDistortion]]]):
    """THD of steady tones against their level, above what noise would make."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, steps) in enumerate(tones):
        level = [each.level_dbfs for each in steps]
        axes.plot(level, known(each.thd_percent for each in steps), label=label, **curve(number))
    _, first = tones[0]
    axes.plot(
        [each.level_dbfs for each in first],
        [each.thd_floor_percent for each in first],
        color=FAINT,
        linewidth=1.0,
        label="noise",
    )
    _percent(axes)
    axes.set_xlabel("level played, dBFS peak")
    legend(axes)
    return figure


@drawing
def intermodulation(tones: Sequence[tuple[str, TwinToneIntermodulation]]):
    """Intermodulation of two tones against their level, above what noise would make."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, twin) in enumerate(tones):
        level = [each.level_dbfs for each in twin.steps]
        axes.plot(
            level, known(each.imd_percent for each in twin.steps), label=label, **curve(number)
        )
    _, first = tones[0]
    axes.plot(
        [each.level_dbfs for each in first.steps],
        [each.imd_floor_percent for each in first.steps],
        color=FAINT,
        linewidth=1.0,
        linestyle=DASHES[0],
        label="noise",
    )
    _percent(axes, "IMD, %")
    axes.set_xlabel("level played, dBFS peak of the sum")
    legend(axes)
    return figure


def _percent(axes, label="THD, %"):
    decades(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, LEAST_PERCENT), max(high, 10.0 * LEAST_PERCENT))
    axes.set_ylabel(label)
