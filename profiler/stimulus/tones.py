"""Steady tones: sine, probe that comes again, burst that shows settling, pump that shows gain,
staircases of one tone and of two, level step.

The last of them are phase-true: they begin with a rising zero crossing, so a burst needs no
fade at its edges (a fade would be measured as settling), and staircase and level step change
their level without a step in the waveform.

Conventions
-----------
A level is a peak. A tone with whole periods only is silent in the fraction of a period
that is left over at its end.
"""

import math
from dataclasses import dataclass

import numpy as np

from profiler.stimulus.plan import (
    PROBE_GAP_SECONDS,
    TWIN_TONE_GRID_HZ,
    Burst,
    LevelStep,
    Probe,
    Pump,
    Reference,
    Sine,
    Staircase,
    TwinTone,
)
from profiler.stimulus.shaping import frames, piece_with_fades, with_fades
from profiler.units import db_to_amplitude

SINE_FADE_SECONDS = 0.005  # long against a period of the hearing's best range, short to wait for


def sine(segment: Sine | Reference, sample_rate: int, start: int = 0, stop: int | None = None):
    """A steady tone, `(n,)` float64, with raised-cosine fades at both ends.

    With `start` and `stop` those of its samples only.
    """
    n = frames(segment, sample_rate)
    stop = n if stop is None else stop
    tone = np.sin(2 * np.pi * _periods(start, stop, segment, sample_rate))
    fade = segment.fade_seconds if isinstance(segment, Sine) else SINE_FADE_SECONDS
    return db_to_amplitude(segment.level_dbfs) * piece_with_fades(tone, start, n, sample_rate, fade)


def probe(segment: Probe, sample_rate: int):
    """Silence, a tone with 5 ms of fade at both ends, silence; `(n,)` float64."""
    signal = np.zeros(frames(segment, sample_rate))
    gap = round(PROBE_GAP_SECONDS * sample_rate)
    n = len(signal) - 2 * gap
    tone = np.sin(2 * np.pi * _periods(0, n, segment, sample_rate))
    signal[gap : gap + n] = with_fades(tone, sample_rate, SINE_FADE_SECONDS)
    return db_to_amplitude(segment.level_dbfs) * signal


def burst(segment: Burst, sample_rate: int):
    """Silence, whole periods of a tone without fades, silence; `(n,)` float64.

    The first sample of the tone, a zero, is at `round(before_seconds * sample_rate)`.
    Whole periods begin and end at zero phase: 1 s of 440 Hz is exactly 440 of them.
    """
    return db_to_amplitude(segment.level_dbfs) * _bare_burst(segment, sample_rate)


def pump(segment: Pump, sample_rate: int):
    """A burst over a probe, which has 5 ms of fade at both ends; `(n,)` float64."""
    probe_peak = db_to_amplitude(segment.probe_dbfs)
    n = frames(segment, sample_rate)
    tone = np.sin(2 * np.pi * segment.probe_frequency / sample_rate * np.arange(n))
    return pump_amplitude(segment) * _bare_burst(segment, sample_rate) + probe_peak * with_fades(
        tone, sample_rate, SINE_FADE_SECONDS
    )


def pump_amplitude(segment: Pump) -> float:
    """Peak of a pump's burst alone: what the probe leaves of the peak of both."""
    return float(db_to_amplitude(segment.level_dbfs) - db_to_amplitude(segment.probe_dbfs))


def burst_edges(segment: Burst | Pump, sample_rate: int) -> tuple[int, int]:
    """First sample of a burst's tone, and the first after its last whole period."""
    first = round(segment.before_seconds * sample_rate)
    n = round(segment.tone_seconds * sample_rate)
    return first, first + math.ceil(
        _whole(n, segment, sample_rate) * sample_rate / segment.frequency
    )


def staircase(segment: Staircase, sample_rate: int, start: int = 0, stop: int | None = None):
    """A tone whose level climbs in steps that are equal in dB; `(n,)` float64.

    Steps last equally long; each begins with the first whole period in its time. With `start`
    and `stop` those of its samples only.
    """
    n = frames(segment, sample_rate)
    stop = n if stop is None else stop
    tone = _whole_periods(start, stop, n, segment, sample_rate)
    period = np.floor(_periods(start, stop, segment, sample_rate))
    step = np.floor(period / segment.frequency / segment.step_seconds + 1e-9).astype(int)
    levels_dbfs = np.array(segment.levels_dbfs)[np.minimum(step, segment.steps - 1)]
    return db_to_amplitude(levels_dbfs) * tone


def level_step(segment: LevelStep, sample_rate: int, start: int = 0, stop: int | None = None):
    """A soft tone, the same loud, the same soft, in whole periods each; `(n,)` float64.

    With `start` and `stop` those of its samples only.
    """
    n = frames(segment, sample_rate)
    stop = n if stop is None else stop
    tone = _whole_periods(start, stop, n, segment, sample_rate)
    period = np.floor(_periods(start, stop, segment, sample_rate) + 1e-9)
    up, down = _step_periods(segment)
    levels_dbfs = np.where((period >= up) & (period < down), segment.level_dbfs, segment.soft_dbfs)
    return db_to_amplitude(levels_dbfs) * tone


def level_step_edges(segment: LevelStep, sample_rate: int) -> tuple[int, int, int]:
    """First sample of the loud tone, of the soft one after it, and the first after that.

    Where a period is no whole number of samples, the step lies within the sample before.
    """
    whole = _whole(frames(segment, sample_rate), segment, sample_rate)
    up, down, end = (
        math.ceil(period * sample_rate / segment.frequency - 1e-9)
        for period in (*_step_periods(segment), whole)
    )
    return up, down, end


def _step_periods(segment):
    """Numbers of the first loud period and of the first soft one after it."""
    up, down = (
        math.ceil(seconds * segment.frequency - 1e-9)
        for seconds in (segment.before_seconds, segment.before_seconds + segment.loud_seconds)
    )
    return up, down


@dataclass(frozen=True)
class ToneStep:
    """One level of a staircase: samples of the segment, and the peak that is played there."""

    start: int
    stop: int
    level_dbfs: float


def tone_steps(segment: Staircase | TwinTone, sample_rate: int) -> tuple[ToneStep, ...]:
    """The levels of a staircase or twin tone, from the softest to the loudest."""
    edges = np.linspace(0, frames(segment, sample_rate), segment.steps + 1).round().astype(int)
    return tuple(
        ToneStep(int(start), int(stop), level)
        for start, stop, level in zip(edges[:-1], edges[1:], segment.levels_dbfs, strict=True)
    )


def twin_tone(segment: TwinTone, sample_rate: int):
    """Two tones whose level climbs in steps that are equal in dB; `(n,)` float64.

    The level changes where both tones begin a period, 10 times a second, at a zero crossing.
    What is left over of a tenth of a second at the end is silent.
    """
    n = frames(segment, sample_rate)
    grid = round(sample_rate / TWIN_TONE_GRID_HZ)
    t = np.arange(grid) / sample_rate
    second = 1.0 / (1.0 + segment.ratio)
    period = (1.0 - second) * np.sin(2 * np.pi * segment.first_hz * t)
    period += second * np.sin(2 * np.pi * segment.second_hz * t)
    signal = np.zeros(n)
    for step in tone_steps(segment, sample_rate):
        # its level holds to the end, and is replaced from where the next step begins
        begin = math.ceil(step.start / grid) * grid
        whole = (n - begin) // grid
        signal[begin : begin + whole * grid] = np.tile(
            db_to_amplitude(step.level_dbfs) * period, whole
        )
    return signal


def _bare_burst(segment, sample_rate):
    """A burst with a peak of 1."""
    signal = np.zeros(frames(segment, sample_rate))
    first = round(segment.before_seconds * sample_rate)
    n = round(segment.tone_seconds * sample_rate)
    signal[first : first + n] = _whole_periods(0, n, n, segment, sample_rate)
    return signal


def _periods(start, stop, segment, sample_rate):
    """Periods of the tone gone by at each sample from `start` to `stop`."""
    return np.arange(start, stop) * (segment.frequency / sample_rate)


def _whole(n, segment, sample_rate):
    """Number of whole periods in `n` samples."""
    return math.floor(n * segment.frequency / sample_rate + 1e-9)


def _whole_periods(start, stop, n, segment, sample_rate):
    """From `start` to `stop` a sine of `n` samples, silent after its last whole period."""
    periods = _periods(start, stop, segment, sample_rate)
    return np.where(periods < _whole(n, segment, sample_rate), np.sin(2 * np.pi * periods), 0.0)
