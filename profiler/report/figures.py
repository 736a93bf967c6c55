"""Figures of a report, as SVG to stand in a page.

They take arrays and know nothing of files. Ink and paper are the page's: text and axes have
its colour, so that one figure does for light and dark. A curve differs from the others by
its dashes and its lightness, never by its hue alone, so that it can be told in grey.

Each is drawn for the width of a phone and grows with the page. Its text is left as text.
"""

import io
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from profiler.analysis.settling import SettlingCurve
from profiler.units import power_to_db

WIDTH_INCHES = 4.6  # 331 points, about as wide as a phone's page
ROW_INCHES = 1.7
FRAME_SECONDS = 0.05  # over which a level is taken
FIRST_BAND_HZ, LAST_BAND_HZ = 20.0, 20_000.0
HARMONIC_RANGE_DB = 90.0  # below the highest response: what lies deeper is noise

DEEPEST_DB = -120.0  # of a settling curve: below it nothing is left
FARTHEST_FLOOR = 100.0  # below the best ESR: drawn farther down it would flatten the curve
EDGE_OCTAVES = 1.0 / 24.0  # of a swept band: there the sweep fades, and little is known
POINTS = 500  # of a curve: more than a screen shows

# Drawn in these, and replaced by the page's own when the SVG is written.
_INK, _FAINT, _STRONG, _WEAK = "#010203", "#040506", "#070809", "#0a0b0c"
_PAGE_COLOURS = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _STRONG: "var(--strong)",
    _WEAK: "var(--weak)",
}
# The page says how wide a figure is and how lines join; ids of groups are said twice in a page.
_UNWANTED = (
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
    re.compile(r"<style.*?</style>", re.DOTALL),
    re.compile(r'(?<=<g) id="[^"]*"'),
    re.compile(r' (?:width|height)="[^"]*pt"'),
)
_DASHES: tuple[typing.Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

_STYLE: dict[typing.Any, typing.Any] = {  # matplotlib's keys are a type of hundreds of names
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.4,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "path.simplify_threshold": 0.3,
}


@dataclass(frozen=True)
class Point:
    """One validation of a training."""

    seconds: float
    esr: float


def overlay(
    device: np.ndarray, model: np.ndarray, sample_rate: int, *, window_seconds: float = 0.03
) -> str:
    """Device and model where the device is loudest, their difference, and levels of it all.

    Parameters
    ----------
    device, model : (n,) float array
        The response and what the model makes of the same stimulus, aligned.
    window_seconds : float
        How much of it is shown sample by sample.
    """
    device, model = np.asarray(device, np.float64), np.asarray(model, np.float64)
    residual = device - model
    start, stop = _loudest(device, round(window_seconds * sample_rate))
    milliseconds = 1e3 * np.arange(start, stop) / sample_rate
    milliseconds -= milliseconds[0]
    with matplotlib.rc_context(_STYLE):
        figure, (wave, error, level) = _axes(3)
        wave.plot(milliseconds, device[start:stop], color=_STRONG, label="device", linewidth=2.2)
        wave.plot(
            milliseconds,
            model[start:stop],
            color=_INK,
            label="model",
            linestyle=_DASHES[1],
            linewidth=1.0,
        )
        wave.set_title(f"{1e3 * window_seconds:.0f} ms from {start / sample_rate:.2f} s on")
        wave.set_ylabel("re full scale")
        wave.set_xlabel("time, ms")
        _legend(wave)
        error.plot(milliseconds, residual[start:stop], color=_INK, linewidth=0.9)
        error.set_title("residual, device − model")
        error.set_ylabel("re full scale")
        error.set_xlabel("time, ms")
        seconds, device_db = _levels(device, sample_rate)
        _, residual_db = _levels(residual, sample_rate)
        level.plot(seconds, device_db, color=_STRONG, label="device", linewidth=2.2)
        level.plot(seconds, residual_db, color=_INK, label="residual", linewidth=1.0)
        level.set_title("level of the whole passage")
        level.set_ylabel("RMS, dBFS")
        level.set_xlabel("time, s")
        _legend(level)
        return _svg(figure, "overlay")


def settling(curves: Sequence[SettlingCurve], thresholds_db: Sequence[float]) -> str:
    """How the response to a steady tone nears its steady state, one curve a level."""
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _axes(1, 2.6)
        for number, curve in enumerate(curves):
            seconds, highest_db = _thinned(curve.seconds, curve.error_db)
            axes.plot(
                1e3 * seconds,
                np.maximum(highest_db, DEEPEST_DB),
                label=f"{curve.level_dbfs:g} dBFS",
                **_curve(number),
            )
        for threshold in thresholds_db:
            axes.axhline(threshold, color=_INK, linewidth=0.6, linestyle=_DASHES[2])
        axes.set_ylabel("distance from steady, dB")
        axes.set_xlabel("time since the tone began, ms")
        _legend(axes)
        return _svg(figure, "settling")


def response(
    frequencies: np.ndarray, magnitude_db: np.ndarray, harmonics_db: Mapping[int, np.ndarray]
) -> str:
    """Magnitude of the linear response, and of harmonics against the played frequency.

    Parameters
    ----------
    frequencies : (n,) float array
        In Hz, of the played tone.
    magnitude_db : (n,) float array
        Of the linear response; NaN where it is not known.
    harmonics_db : mapping of int to (n,) float array
        Level of each harmonic on the same scale, by its number from 2 on.
    """
    edge = 2.0**EDGE_OCTAVES
    lowest, highest = frequencies[0] * edge, frequencies[-1] / edge
    shown = (frequencies >= max(lowest, FIRST_BAND_HZ)) & (
        frequencies <= min(highest, LAST_BAND_HZ)
    )
    loudest_db = np.nanmax(magnitude_db[shown], initial=-np.inf)
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _axes(1, 2.6)
        axes.semilogx(
            frequencies[shown], magnitude_db[shown], color=_STRONG, linewidth=2.2, label="linear"
        )
        for number, (order, level_db) in enumerate(sorted(harmonics_db.items())):
            heard = shown & (level_db > loudest_db - HARMONIC_RANGE_DB)
            axes.semilogx(
                frequencies,
                np.where(heard, level_db, np.nan),
                color=_INK,
                linewidth=0.9,
                linestyle=_DASHES[number % len(_DASHES)],
                label=f"H{order}",
            )
        axes.set_xlim(FIRST_BAND_HZ, LAST_BAND_HZ)
        axes.set_ylabel("magnitude, dB")
        axes.set_xlabel("frequency, Hz")
        axes.xaxis.set_major_formatter(FuncFormatter(_short_frequency))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _legend(axes)
        return _svg(figure, "response")


def training(points: Sequence[Point], floor_esr: float | None) -> str:
    """Validation ESR against training time, and the lowest that the device allows."""
    with matplotlib.rc_context(_STYLE):
        figure, (axes,) = _axes(1, 2.6)
        seconds = [point.seconds for point in points]
        errors = np.array([point.esr for point in points])
        axes.semilogy(seconds, errors, color=_WEAK, linewidth=0.8, label="each")
        best = np.minimum.accumulate(errors)
        axes.semilogy(
            seconds, best, color=_STRONG, linewidth=2.2, drawstyle="steps-post", label="best"
        )
        if floor_esr is not None and floor_esr > best[-1] / FARTHEST_FLOOR:
            axes.axhline(floor_esr, color=_INK, linestyle=_DASHES[1], linewidth=1.0, label="floor")
        axes.set_ylabel("validation ESR")
        axes.set_xlabel("training time, s")
        axes.yaxis.set_minor_formatter(NullFormatter())
        _legend(axes)
        return _svg(figure, "training")


def _axes(rows, inches=ROW_INCHES):
    figure = Figure(figsize=(WIDTH_INCHES, rows * inches), layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False)[:, 0]


def _curve(number):
    colour = (_STRONG, _INK, _WEAK)[number % 3]
    return {"color": colour, "linestyle": _DASHES[number % len(_DASHES)]}


def _legend(axes):
    """Above the axes, where it hides no curve."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=6,
        borderaxespad=0.1,
        handlelength=1.8,
        handletextpad=0.4,
        columnspacing=1.1,
    )


def _thinned(positions, values):
    """At most about `POINTS` points of a curve, the highest value of each stretch."""
    starts = np.arange(0, len(values), max(1, len(values) // POINTS))
    return positions[starts], np.maximum.reduceat(values, starts)


def _loudest(signal, frames):
    """The stretch of `frames` with the most energy, `start, stop`."""
    frames = min(frames, len(signal))
    energy = np.concatenate([[0.0], np.cumsum(np.square(signal))])
    start = int(np.argmax(energy[frames:] - energy[:-frames]))
    return start, start + frames


def _levels(signal, sample_rate):
    """RMS in dB of one frame after the other, and the second at each one's centre."""
    size = max(1, round(FRAME_SECONDS * sample_rate))
    count = max(1, len(signal) // size)
    frames = signal[: count * size].reshape(count, -1)
    power = np.mean(np.square(frames), axis=1)
    return (np.arange(count) + 0.5) * size / sample_rate, power_to_db(np.maximum(power, 1e-14))


def _short_frequency(frequency, _place):
    return f"{frequency / 1e3:g}k" if frequency >= 1e3 else f"{frequency:g}"


def _svg(figure, name):
    """The figure as an `<svg>` element with the page's colours."""
    file = io.StringIO()
    # ids are made from the salt: one a figure, as they share a page
    with matplotlib.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for drawn, colour in _PAGE_COLOURS.items():
        text = text.replace(drawn, colour)
    for unwanted in _UNWANTED:
        text = unwanted.sub("", text)
    return text
