"""How memoryless and how linear a device is."""

from collections.abc import Sequence

from profiler.analysis.memory import ENOUGH, DistortionLevels, Memory, Scatter
from profiler.report.drawing import (
    DASHES,
    INK,
    SINGLE_INCHES,
    STRONG,
    WEAK,
    curve,
    dots,
    drawing,
    frequency_axis,
    known,
    legend,
    rows,
)

SCATTER_INCHES = 3.6  # high: a curve of output against input is read best nearly square


@drawing
def scatter(found: Scatter):
    """Output against input, and the best curve through it."""
    figure, (axes,) = rows(1, SCATTER_INCHES)
    best = found.function
    dots(axes, found.inputs, found.outputs, color=WEAK, label="samples")
    axes.plot(best.inputs, best.rising, color=INK, linestyle=DASHES[1], label="rising")
    axes.plot(best.inputs, best.falling, color=INK, linestyle=DASHES[2], label="falling")
    axes.plot(best.inputs, best.outputs, color=STRONG, linewidth=2.2, label="best curve")
    axes.set_xlabel("input, re full scale")
    axes.set_ylabel("output, re full scale")
    legend(axes)
    return figure


@drawing
def shares(named: Sequence[tuple[str, Memory]]):
    """What the best curve and the best filter explain, against level."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, each) in enumerate(named):
        for offset, (share, name) in enumerate((("static_r2", "curve"), ("linear_r2", "filter"))):
            for material, marker in (("multisine", "o"), ("guitar", "*")):
                levels = [at for at in each.levels if at.material == material]
                axes.plot(
                    [at.rms_dbfs for at in levels],
                    [getattr(at, share) for at in levels],
                    marker=marker,
                    markersize=4.0 if material == "multisine" else 8.0,
                    label=f"{label} {name}".strip() if material == "multisine" else None,
                    **curve(2 * number + offset),
                )
    axes.axhline(ENOUGH, color=INK, linewidth=0.6, linestyle=DASHES[2])
    axes.set_ylabel("share explained, R2")
    axes.set_xlabel("level played, dBFS RMS")
    legend(axes)
    return figure


@drawing
def detection_lines(levels: DistortionLevels):
    """What came back on lines that were not played: even and odd distortion, and the noise."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (name, values) in enumerate(
        (("odd", levels.odd_db), ("even", levels.even_db), ("noise", levels.noise_db))
    ):
        axes.plot(levels.frequency_hz, known(values), label=name, **curve(number))
    axes.set_ylabel("re the lines that were played, dB")
    frequency_axis(axes, 20.0, 20_000.0)
    legend(axes)
    return figure
