"""How a device adjusts: its way to a steady state, its gain's way back, and what a model needs."""

from collections.abc import Sequence

import numpy as np

from profiler.analysis.gain_recovery import RECOVERED_DB, GainCurve
from profiler.analysis.settling import LEVELS_DB, TARGET_DB, SettlingAnalysis, SettlingCurve
from profiler.analysis.time_constants import TimeConstants
from profiler.report.drawing import (
    DASHES,
    INK,
    ROW_INCHES,
    SINGLE_INCHES,
    STRONG,
    WEAK,
    curve,
    drawing,
    legend,
    plain_logarithm,
    rows,
    thinned,
)

DEEPEST_DB = -120.0  # of a settling curve: below it nothing is left
SMALLEST_DB = 0.01  # departure of the gain that is drawn
OVER_DB = 5.0  # above its floor a curve still says something
BEYOND = 1.3  # what is drawn, in multiples of the latest that says something
LINE_INCHES = 0.2  # of a row of text beside a mark
EDGE_INCHES = 0.9  # of a plot for its axis and title


@drawing
def adjustment(
    curves: Sequence[SettlingCurve], recoveries: Sequence[GainCurve], analysis: SettlingAnalysis
):
    """All of it: E(t) a frequency, recovery of the gain, time constants, receptive field."""
    frequencies = sorted({each.frequency for each in curves})
    fitted = _fitted(analysis)
    heights = [ROW_INCHES] * len(frequencies)
    heights += [SINGLE_INCHES] if recoveries else []
    heights += [EDGE_INCHES + LINE_INCHES * len(fitted)] if fitted else []
    heights.append(EDGE_INCHES + LINE_INCHES * _lines(analysis))
    figure, axes = rows(len(heights), heights)
    plots = iter(axes)
    for frequency in frequencies:
        own = [each for each in curves if each.frequency == frequency]
        _draw_settling(next(plots), own, f"tone of {frequency:g} Hz")
    if recoveries:
        _draw_recovery(next(plots), [(_named(each), each) for each in recoveries])
    if fitted:
        _draw_constants(next(plots), fitted)
    _draw_field(next(plots), analysis)
    return figure


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


@drawing
def gain_recovery(curves: Sequence[tuple[str, GainCurve]]):
    """How the gain comes back after a burst, one curve a level or a device."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    _draw_recovery(axes, curves)
    return figure


@drawing
def effective_constants(analysis: SettlingAnalysis):
    """Time constants with their intervals of 95 %, a row a fit."""
    fitted = _fitted(analysis)
    figure, (axes,) = rows(1, EDGE_INCHES + LINE_INCHES * max(len(fitted), 1))
    _draw_constants(axes, fitted)
    return figure


@drawing
def receptive_field(analysis: SettlingAnalysis):
    """How long everything takes, and how much of it the known presets see."""
    figure, (axes,) = rows(1, EDGE_INCHES + LINE_INCHES * _lines(analysis))
    _draw_field(axes, analysis)
    return figure


def _draw_settling(axes, curves: Sequence[SettlingCurve], title: str) -> None:
    axes.set_title(title)
    for number, each in enumerate(curves):
        seconds, highest_db = thinned(each.seconds, each.error_db)
        axes.plot(
            1e3 * seconds,
            np.maximum(highest_db, DEEPEST_DB),
            label=f"{each.level_dbfs:g} dBFS",
            **curve(number),
        )
    for threshold in LEVELS_DB:
        axes.axhline(threshold, color=INK, linewidth=0.6, linestyle=DASHES[2])
    over = [each.seconds[each.error_db > each.floor_db + OVER_DB] for each in curves]
    axes.set_xlim(0.0, 1e3 * BEYOND * max((t[-1] for t in over if len(t)), default=0.01))
    axes.set_ylabel("from steady, dB")
    axes.set_xlabel("time since the tone began, ms")
    axes.legend(loc="upper right")  # where a curve that falls leaves room


def _draw_recovery(axes, curves: Sequence[tuple[str, GainCurve]]) -> None:
    for number, (name, each) in enumerate(curves):
        after = each.seconds >= 0.0
        size = np.maximum(np.abs(each.departure_db[after]), SMALLEST_DB)
        axes.plot(1e3 * each.seconds[after], size, label=name, **curve(number))
    axes.axhline(RECOVERED_DB, color=INK, linewidth=0.6, linestyle=DASHES[2])
    off = [each.seconds[np.abs(each.departure_db) > RECOVERED_DB] for _, each in curves]
    latest = max((t[-1] for t in off if len(t)), default=0.0)
    axes.set_xlim(0.0, 1e3 * max(BEYOND * latest, 0.05))
    axes.set_yscale("log")
    axes.set_ylim(bottom=SMALLEST_DB)
    plain_logarithm(axes.yaxis)
    axes.set_ylabel("gain off by, dB")
    axes.set_xlabel("time since the burst ended, ms")
    axes.legend(loc="upper right")


def _draw_constants(axes, fitted: Sequence[tuple[str, TimeConstants]]) -> None:
    for row, (_, found) in enumerate(fitted):
        for each in found.constants:
            axes.plot([each.low_ms, each.high_ms], [row, row], color=STRONG, linewidth=3.0)
            axes.plot(
                [each.tau_ms],
                [row],
                color=INK,
                marker="|" if not found.late else ".",
                markersize=8.0,
                linestyle="none",
            )
    axes.set_xscale("log")
    plain_logarithm(axes.xaxis)
    axes.set_yticks(range(len(fitted)), [name for name, _ in fitted])
    axes.set_ylim(len(fitted) - 0.5, -0.5)
    axes.set_xlabel("time constant, ms")
    axes.set_title("bars: 95 %; dots: of the later part")


def _draw_field(axes, analysis: SettlingAnalysis) -> None:
    times = [
        *(
            (f"settles, {_tone(burst)}", burst.settling_ms[str(TARGET_DB)])
            for burst in analysis.bursts
        ),
        *((f"rests, {_tone(burst)}", burst.rest_ms[str(TARGET_DB)]) for burst in analysis.bursts),
        *((f"gain, {_pump(each)}", each.recovery_ms) for each in analysis.recoveries),
    ]
    for row, (_, milliseconds) in enumerate(times):
        if milliseconds is not None:
            axes.barh(row, milliseconds, color=STRONG, height=0.6)
        else:
            axes.annotate("not seen to its end", (0.0, row), va="center", fontsize=8.0)
    field = analysis.receptive_field
    if field is not None:
        for number, preset in enumerate(field.presets):
            axes.axvline(
                preset.ms,
                color=WEAK,
                linestyle=DASHES[1 + number % 3],
                label=preset.names[-1],
            )
        axes.axvline(field.ms, color=INK, label="needed at least" if field.at_least else "needed")
    axes.set_yticks(range(len(times)), [name for name, _ in times])
    axes.set_ylim(len(times) - 0.5, -0.5)
    axes.set_xlabel("time, ms")
    legend(axes)


def _lines(analysis):
    return 2 * len(analysis.bursts) + len(analysis.recoveries)


def _fitted(analysis):
    """Names and constants of every fit that found some."""
    fits = [
        *((f"waveform, {_tone(burst)}", burst.settling) for burst in analysis.bursts),
        *((f"slow mean, {_tone(burst)}", burst.dc) for burst in analysis.bursts),
        *((f"tail, {_tone(burst)}", burst.tail) for burst in analysis.bursts),
        *((f"gain, {_pump(each)}", each.recovering) for each in analysis.recoveries),
    ]
    return [(name, found) for name, found in fits if found.constants]


def _tone(burst):
    return f"{burst.frequency:g} Hz {burst.level_dbfs:g} dB"


def _pump(recovery):
    return f"{recovery.tone_ms:.0f} ms {recovery.level_dbfs:g} dB"


def _named(each):
    return f"{each.level_dbfs:g} dBFS, {1e3 * each.tone_seconds:.0f} ms"
