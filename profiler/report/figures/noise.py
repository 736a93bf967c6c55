"""The noise of a device, at rest and under a tone."""

from collections.abc import Sequence

from profiler.analysis.noise import NoiseAnalysis
from profiler.report.drawing import (
    SINGLE_INCHES,
    curve,
    drawing,
    frequency_axis,
    known,
    legend,
    rows,
)


@drawing
def noise_spectrum(named: Sequence[tuple[str, NoiseAnalysis]]):
    """Noise at rest in thirds of an octave."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    for number, (label, each) in enumerate(named):
        axes.plot(
            [band.centre_hz for band in each.third_octaves],
            known(band.rms_dbfs for band in each.third_octaves),
            drawstyle="steps-mid",
            label=label,
            **curve(number),
        )
    axes.set_ylabel("third of an octave, dBFS RMS")
    frequency_axis(axes, 20.0, 20_000.0)
    if len(named) > 1:
        legend(axes)
    return figure


@drawing
def signal_to_noise(named: Sequence[tuple[str, NoiseAnalysis]]):
    """Signal-to-noise ratio under a tone, against its level."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    number = 0
    for label, each in named:
        for name in dict.fromkeys(step.name for step in each.driven):
            steps = [step for step in each.driven if step.name == name]
            tone = f"{steps[0].frequency_hz:g} Hz"
            axes.plot(
                [step.played_dbfs for step in steps],
                known(step.snr_db for step in steps),
                label=f"{label} {tone}".strip(),
                **curve(number),
            )
            number += 1
    axes.set_ylabel("signal to noise, dB")
    axes.set_xlabel("level played, dBFS peak")
    legend(axes)
    return figure
