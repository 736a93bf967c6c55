"""Harmonic distortion: H1 to H9 and THD against frequency, and of tones against level.

Sweeps give every harmonic over frequency at the level of each (`profiler.analysis.response`); the
steps of a staircase give those of one tone at many levels. With each comes what noise adds to it,
and what is not clear of that is not told.

Conventions
-----------
THD is THD(F), as IEC 60268-3 measures it: the root of the summed power of the harmonics 2 to 9
re the fundamental, not re the whole. Of a sweep it is sqrt(sum |H_m(m f)|^2) / |H_1(f)|, at the
frequency that was played, with those harmonics that lie below 0.45 of the sample rate. What noise
adds to the harmonics is taken out of their power.
"""

import math
from dataclasses import dataclass

import numpy as np

from profiler.analysis.response import (
    HIGHEST_ORDER,
    POINTS_AN_OCTAVE,
    TOLD_ABOVE_FLOOR_DB,
    SweepResponse,
    rounded,
    rounded_or_null,
    sweep_responses,
)
from profiler.capture.alignment import AlignedCapture
from profiler.capture.probes import harmonic_lines
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import Staircase
from profiler.stimulus.tones import tone_steps
from profiler.units import amplitude_to_db, db_to_amplitude

RECORDED_POINTS_AN_OCTAVE = 12
SETTLED_SECONDS = 0.05  # of a step: the device follows the change of level
TAIL_SECONDS = 0.005  # of its end: a delay not quite taken out
FEWEST_PERIODS = 20  # that a step lasts after that: lines must stand apart


class HarmonicCurve(Record):
    """One harmonic over the frequency that it comes from, re a sweep of full scale."""

    order: int
    level_db: tuple[float | None, ...]  # null where it is not clear of the noise, or cannot be told
    floor_db: tuple[float | None, ...]  # RMS of what noise adds; null beyond the band


class SweepDistortion(Record):
    """Harmonics at one level, against `frequency_hz`."""

    name: str
    level_dbfs: float
    direction: str
    frequency_hz: tuple[float, ...]
    harmonics: tuple[HarmonicCurve, ...]  # H1 to H9
    thd_percent: tuple[float | None, ...]  # null where no harmonic is clear of the noise
    thd_floor_percent: tuple[float | None, ...]  # what noise would make; null beyond the band


class ToneDistortion(Record):
    """A steady tone of one level."""

    segment: str
    at_seconds: float  # where in the stimulus it begins
    frequency_hz: float
    level_dbfs: float  # peak that was played
    harmonics_dbfs: tuple[float | None, ...]  # peaks that came back, H1 first
    floor_dbfs: float  # RMS of what noise adds to each
    thd_percent: float | None  # null where no harmonic is clear of the noise
    thd_floor_percent: float


class Distortion(Record):
    """What the sweeps and staircases of a capture say of its harmonics."""

    sweeps: tuple[SweepDistortion, ...]
    tones: tuple[ToneDistortion, ...]  # in the order of the staircases, soft to loud
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tone:
    """A tone's harmonics: amplitudes are peaks."""

    harmonics: np.ndarray  # (k,) complex, H1 first
    noise: float  # RMS magnitude of what noise adds to each
    thd: float | None  # ratio; None where no harmonic is clear of the noise
    thd_floor: float  # ratio that noise alone makes


def distortion(capture: AlignedCapture) -> Distortion:
    """Harmonics and THD of every sweep and of every step of every staircase.

    Raises
    ------
    CaptureError
        The capture's stimulus has neither.
    """
    kinds = {segment.kind for segment in capture.plan.segments}
    if not kinds & {"sweep", "staircase"}:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds neither sweep nor staircase to measure "
            "harmonics by: capture distortion, standard or levels"
        )
    warnings: list[str] = []
    return Distortion(
        sweeps=tuple(map(_recorded, sweep_responses(capture))) if "sweep" in kinds else (),
        tones=tuple(_tones(capture, warnings)),
        warnings=tuple(warnings),
    )


def thd(sweep: SweepResponse) -> tuple[np.ndarray, np.ndarray]:
    """THD(F) over the frequencies of a sweep, and what noise would make of it.

    Returns
    -------
    thd : (m,) float array
        A ratio; NaN where no harmonic is clear of the noise.
    floor : (m,) float array
        NaN where not even the second harmonic can be told.
    """
    harmonics, noise = np.abs(sweep.harmonics), sweep.noise
    known = np.isfinite(noise[1:])
    told = np.isfinite([sweep.level_db(order) for order in range(2, HIGHEST_ORDER + 1)])
    clean = np.maximum(harmonics[1:] ** 2 - noise[1:] ** 2, 0.0)
    power = np.sum(np.where(told, clean, 0.0), axis=0)
    floor = np.sum(np.where(known, noise[1:] ** 2, 0.0), axis=0)
    fundamental = np.maximum(harmonics[0], np.finfo(float).tiny)
    return (
        np.where(told.any(axis=0), np.sqrt(power) / fundamental, np.nan),
        np.where(known.any(axis=0), np.sqrt(floor) / fundamental, np.nan),
    )


def measure_tone(steady: np.ndarray, frequency: float, sample_rate: int) -> Tone:
    """Harmonics and THD(F) of a steady tone.

    Parameters
    ----------
    steady : (n,) float array
        The response to the tone, settled; 20 periods or more.
    frequency : float
        Of the tone, in Hz.

    Raises
    ------
    ValueError
        It is shorter.
    """
    if len(steady) * frequency < FEWEST_PERIODS * sample_rate * (1 - 1e-9):
        raise ValueError(
            f"got {len(steady) * frequency / sample_rate:.1f} periods of {frequency:g} Hz, "
            f"expected at least {FEWEST_PERIODS}"
        )
    whole = _whole_periods(len(steady), sample_rate / frequency)
    lines = harmonic_lines(steady[len(steady) - whole :], frequency, sample_rate, HIGHEST_ORDER)
    magnitude, noise = np.abs(lines.amplitudes), math.sqrt(2.0 * lines.variance)
    fundamental = max(float(magnitude[0]), np.finfo(float).tiny)
    told = _told(magnitude, noise)[1:]
    power = float(np.sum((magnitude[1:] ** 2 - noise**2)[told]))
    return Tone(
        harmonics=lines.amplitudes,
        noise=noise,
        thd=math.sqrt(power) / fundamental if told.any() else None,
        thd_floor=math.sqrt(len(told)) * noise / fundamental,
    )


def _whole_periods(frames, period):
    """Samples in the last quarter of `frames` that are nearest to whole periods.

    The skirt of the fundamental under a window vanishes at its harmonics then.
    """
    most = math.floor(frames / period + 1e-9)
    counts = np.arange(math.ceil(0.75 * most), most + 1) * period
    off = np.abs(counts - np.round(counts))
    return int(np.round(counts[np.flatnonzero(off <= np.min(off) + 1e-9)[-1]]))


def _told(magnitude, noise):
    return magnitude > db_to_amplitude(TOLD_ABOVE_FLOOR_DB) * noise


def _tones(capture, warnings):
    rate, gain_db = capture.sample_rate, capture.plan.gain_db
    skip, tail = round(SETTLED_SECONDS * rate), round(TAIL_SECONDS * rate)
    for placed in capture.plan.placed():
        segment = placed.segment
        if not isinstance(segment, Staircase):
            continue
        steps = tone_steps(segment, rate)
        seconds = (steps[0].stop - steps[0].start - skip - tail) / rate
        if seconds * segment.frequency < FEWEST_PERIODS:
            warnings.append(
                f"{segment.name}: steps of {segment.seconds / segment.steps:.2f} s are too short "
                f"to tell harmonics of {segment.frequency:g} Hz: lengthen it"
            )
            continue
        for step in steps:
            first, last = placed.start + step.start, placed.start + step.stop
            tone = measure_tone(
                capture.response[first + skip : last - tail], segment.frequency, rate
            )
            magnitude = np.abs(tone.harmonics)
            level = np.where(_told(magnitude, tone.noise), amplitude_to_db(magnitude), np.nan)
            yield ToneDistortion(
                segment=segment.name,
                at_seconds=first / rate,
                frequency_hz=segment.frequency,
                level_dbfs=round(step.level_dbfs + gain_db, 3),
                harmonics_dbfs=rounded_or_null(level, 3),
                floor_dbfs=rounded(amplitude_to_db([tone.noise]), 1)[0],
                thd_percent=None if tone.thd is None else 100.0 * tone.thd,
                thd_floor_percent=100.0 * tone.thd_floor,
            )


def _recorded(sweep):
    rows = slice(None, None, POINTS_AN_OCTAVE // RECORDED_POINTS_AN_OCTAVE)
    ratio, floor = thd(sweep)
    return SweepDistortion(
        name=sweep.name,
        level_dbfs=sweep.level_dbfs,
        direction=sweep.direction,
        frequency_hz=rounded(sweep.frequencies[rows], 2),
        harmonics=tuple(
            HarmonicCurve(
                order=order,
                level_db=rounded_or_null(sweep.level_db(order)[rows], 3),
                floor_db=rounded_or_null(np.maximum(sweep.floor_db(order), -300.0)[rows], 1),
            )
            for order in range(1, HIGHEST_ORDER + 1)
        ),
        thd_percent=rounded_or_null(100.0 * ratio[rows], 6),
        thd_floor_percent=rounded_or_null(100.0 * floor[rows], 6),
    )
