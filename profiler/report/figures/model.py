"""A model beside its device, and how it was trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profiler.report.drawing import (
    DASHES,
    INK,
    SINGLE_INCHES,
    STRONG,
    WEAK,
    decades,
    drawing,
    legend,
    rows,
)
from profiler.units import power_to_db

FRAME_SECONDS = 0.05  # over which a level is taken
FARTHEST_FLOOR = 100.0  # below the best ESR: drawn farther down it would flatten the curve


@dataclass(frozen=True)
class Point:
    """One validation of a training."""

    seconds: float
    esr: float


@drawing
def overlay(
    device: np.ndarray, model: np.ndarray, sample_rate: int, *, window_seconds: float = 0.03
):
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
    milliseconds = 1e3 * np.arange(stop - start) / sample_rate
    figure, (wave, error, level) = rows(3)
    wave.plot(milliseconds, device[start:stop], color=STRONG, label="device", linewidth=2.2)
    wave.plot(
        milliseconds,
        model[start:stop],
        color=INK,
        label="model",
        linestyle=DASHES[1],
        linewidth=1.0,
    )
    wave.set_title(f"{1e3 * window_seconds:.0f} ms from {start / sample_rate:.2f} s on")
    wave.set_ylabel("re full scale")
    wave.set_xlabel("time, ms")
    legend(wave)
    error.plot(milliseconds, residual[start:stop], color=INK, linewidth=0.9)
    error.set_title("residual, device − model")
    error.set_ylabel("re full scale")
    error.set_xlabel("time, ms")
    seconds, device_db = levels(device, sample_rate)
    _, residual_db = levels(residual, sample_rate)
    level.plot(seconds, device_db, color=STRONG, label="device", linewidth=2.2)
    level.plot(seconds, residual_db, color=INK, label="residual", linewidth=1.0)
    level.set_title("level of the whole passage")
    level.set_ylabel("RMS, dBFS")
    level.set_xlabel("time, s")
    legend(level)
    return figure


@drawing
def training(points: Sequence[Point], floor_esr: float | None):
    """Validation ESR against training time, and the lowest that the device allows."""
    figure, (axes,) = rows(1, SINGLE_INCHES)
    decades(axes)
    seconds = [point.seconds for point in points]
    errors = np.array([point.esr for point in points])
    axes.plot(seconds, errors, color=WEAK, linewidth=0.8, label="each")
    best = np.minimum.accumulate(errors)
    axes.plot(seconds, best, color=STRONG, linewidth=2.2, drawstyle="steps-post", label="best")
    if floor_esr is not None and floor_esr > best[-1] / FARTHEST_FLOOR:
        axes.axhline(floor_esr, color=INK, linestyle=DASHES[1], linewidth=1.0, label="floor")
    axes.set_ylabel("validation ESR")
    axes.set_xlabel("training time, s")
    legend(axes)
    return figure


def levels(signal: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """RMS of one frame after the other: the second at each one's centre, and dBFS."""
    size = max(1, round(FRAME_SECONDS * sample_rate))
    count = max(1, len(signal) // size)
    frames = signal[: count * size].reshape(count, -1)
    power = np.mean(np.square(frames), axis=1)
    return (np.arange(count) + 0.5) * size / sample_rate, power_to_db(np.maximum(power, 1e-14))


def _loudest(signal, frames):
    """The stretch of `frames` with the most energy, `start, stop`."""
    frames = min(frames, len(signal))
    energy = np.concatenate([[0.0], np.cumsum(np.square(signal))])
    start = int(np.argmax(energy[frames:] - energy[:-frames]))
    return start, start + frames
