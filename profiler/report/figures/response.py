"""The response of a device over frequency, and its harmonics."""

from collections.abc import Mapping

import numpy as np

from profiler.report.drawing import (
    DASHES,
    INK,
    SINGLE_INCHES,
    STRONG,
    drawing,
    frequency_axis,
    legend,
    rows,
)

FIRST_BAND_HZ, LAST_BAND_HZ = 20.0, 20_000.0
HARMONIC_RANGE_DB = 90.0  # below the highest response: what lies deeper is noise
EDGE_OCTAVES = 1.0 / 24.0  # of a swept band: there the sweep fades, and little is known


@drawing
def response(
    frequencies: np.ndarray, magnitude_db: np.ndarray, harmonics_db: Mapping[int, np.ndarray]
):
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
    figure, (axes,) = rows(1, SINGLE_INCHES)
    axes.plot(frequencies[shown], magnitude_db[shown], color=STRONG, linewidth=2.2, label="linear")
    for number, (order, level_db) in enumerate(sorted(harmonics_db.items())):
        heard = shown & (level_db > loudest_db - HARMONIC_RANGE_DB)
        axes.plot(
            frequencies,
            np.where(heard, level_db, np.nan),
            color=INK,
            linewidth=0.9,
            linestyle=DASHES[number % len(DASHES)],
            label=f"H{order}",
        )
    axes.set_ylabel("magnitude, dB")
    frequency_axis(axes, FIRST_BAND_HZ, LAST_BAND_HZ)
    legend(axes)
    return figure
