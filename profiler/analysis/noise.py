"""The noise of a device: at rest, and under a tone.

An amp hisses by its first tube and its resistors, hums by the mains, and is louder in both the more
gain it has. What a listener hears of it is weighted by A; what a model can reach is limited by
all of it.

Conventions
-----------
Levels are RMS re an RMS of 1.0, with the mean (an offset is no noise) left out. *Unweighted* is
from 20 Hz to 20 kHz. *A-weighted* is by the analogue response of IEC 61672-1:2013, annex E,
evaluated line by line from 0 Hz to half the sample rate, with no filter in between. Hum is the comb
that `profiler.capture.hum` finds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
from pydantic import Field

from profiler.analysis.tone import fitted_steps
from profiler.capture.alignment import AlignedCapture
from profiler.capture.checks.noise import GATE_DROP_DB, noise_gate
from profiler.capture.hum import (
    FLOOR_HZ,
    HARMONICS,
    OFF_FREQUENCY,
    SECOND_LINE_DB,
    mains_lines,
    measure_hum,
)
from profiler.capture.ladder import ladder_steps, swallowed_db
from profiler.capture.time_effects import has_time_effect
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import SignalPlan
from profiler.units import amplitude_to_db, power_to_db, rms_dbfs

LEFT_OUT_SECONDS = 0.1  # at the beginning: what sounded before still rings
SHORTEST_SECONDS = 0.1

BAND_HZ = (20.0, 20_000.0)
SEGMENT_SECONDS = 1.0  # of a spectrum, at most: lines of hum are 50 of its bins apart
THIRD_OCTAVES = range(-17, 14)  # 20 Hz to 20 kHz, by their number from 1 kHz
HANN_SHARE = 0.514  # of its length that a Hann window hears; overlapped by half, 0.95
OVERLAPPED_SHARE = 0.95

# IEC 61672-1:2013, annex E: the poles in Hz; the gain makes 1 kHz exactly 0 dB.
A_POLES_HZ = (20.598997, 107.65265, 737.86223, 12194.217)


class NoiseBand(Record):
    """A third of an octave of the noise at rest."""

    centre_hz: float  # exact, of IEC 61260-1: 10^(n/10) kHz
    rms_dbfs: float | None  # null where there is none at all
    sigma_db: float  # what chance makes of it in so short a time


class HumLine(Record):
    """A line of the comb that stands out of the noise."""

    frequency_hz: int
    level_dbfs: float  # peak of its sine


class HumNoise(Record):
    """Hum at rest."""

    mains_hz: Literal[50, 60]
    origin: Literal["loop", "rectifier"]
    rms_dbfs: float  # of all its lines up to the tenth
    a_weighted_dbfs: float
    lines: tuple[HumLine, ...]


class Gate(Record):
    """Something that shuts soft sounds off."""

    drop_db: float  # by how much the tone or the hiss falls
    shut_at_dbfs: float | None  # the loudest played tone that is swallowed; null: the hiss alone
    open_at_dbfs: float | None  # the softest that is not


class DrivenNoise(Record):
    """Noise under a tone of one level; null where there is none."""

    name: str  # of the staircase
    frequency_hz: float
    played_dbfs: float  # peak of the tone
    signal_rms_dbfs: float | None  # of the tone and its harmonics
    noise_rms_dbfs: float | None
    noise_a_weighted_dbfs: float | None
    snr_db: float | None  # unweighted


class NoiseAnalysis(Record):
    """All that is told of noise."""

    schema_: Literal["ampscope.noise/1"] = Field(default="ampscope.noise/1", alias="schema")
    quiet_seconds: float  # that were listened to
    rms_dbfs: float | None  # unweighted, hum and all; null where nothing at all is heard
    a_weighted_dbfs: float | None
    hiss_rms_dbfs: float | None  # without the hum
    hiss_a_weighted_dbfs: float | None
    hum: HumNoise | None
    third_octaves: tuple[NoiseBand, ...]
    gate: Gate | None
    driven: tuple[DrivenNoise, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class NoiseSpectrum:
    """Power density of the noise at rest; arrays are `(m,)`."""

    frequencies: np.ndarray  # Hz, evenly spaced from 0
    density: np.ndarray  # squares of full scale a hertz, one-sided
    hiss: np.ndarray  # the same with the hum's lines taken out
    seconds: float  # that were listened to
    independent_seconds: float  # that the windows heard of them
    resolution_hz: float


def quiet_sections(plan: SignalPlan) -> list[slice]:
    """The silences that a plan holds for analysis and that last 0.2 s, without their beginning."""
    skip, shortest = (round(s * plan.sample_rate) for s in (LEFT_OUT_SECONDS, SHORTEST_SECONDS))
    return [
        slice(placed.start + skip, placed.stop)
        for placed in plan.of_kind("silence")
        if placed.segment.use == "analyse" and placed.stop - placed.start >= skip + shortest
    ]


def noise_floor_rms_dbfs(capture: AlignedCapture) -> float:
    """RMS level of the quiet sections, up to half the sample rate; -inf for none at all.

    Raises
    ------
    CaptureError
        The plan has no quiet section.
    """
    return rms_dbfs(np.concatenate([part - np.mean(part) for part in _quiet(capture)]))


def noise(capture: AlignedCapture) -> NoiseAnalysis:
    """Measure the noise of a capture.

    Raises
    ------
    CaptureError
        The plan has no quiet section.
    """
    warnings: list[str] = []
    spectrum = noise_spectrum(capture)
    if not spectrum.density.any():
        warnings.append(
            "the quiet sections hold digital silence: a gate, a digital device, or nothing recorded"
        )
    f = spectrum.frequencies
    return NoiseAnalysis(
        quiet_seconds=spectrum.seconds,
        rms_dbfs=_level(band_power(f, spectrum.density, *BAND_HZ)),
        a_weighted_dbfs=_level(a_weighted_power(f, spectrum.density)),
        hiss_rms_dbfs=_level(band_power(f, spectrum.hiss, *BAND_HZ)),
        hiss_a_weighted_dbfs=_level(a_weighted_power(f, spectrum.hiss)),
        hum=_hum(capture, spectrum),
        third_octaves=third_octaves(spectrum),
        gate=_gate(capture),
        driven=driven_noise(capture),
        warnings=tuple(warnings),
    )


def noise_spectrum(capture: AlignedCapture) -> NoiseSpectrum:
    """Power density of the quiet sections, with and without hum.

    Windows of Hann of at most a second, overlapped by half; the sections are averaged by their
    length.

    Raises
    ------
    CaptureError
        The plan has no quiet section.
    """
    rate = capture.sample_rate
    parts = _quiet(capture)
    longest = round(SEGMENT_SECONDS * rate)
    frames = scipy.fft.next_fast_len(longest, real=True)
    total, independent = np.zeros(frames // 2 + 1), 0.0
    for part in parts:
        length = min(len(part), longest)
        starts = range(0, len(part) - length + 1, max(length // 2, 1))
        share = OVERLAPPED_SHARE if len(starts) > 1 else HANN_SHARE
        independent += share * len(part) / rate
        pieces = [power_density(part[start : start + length], rate, frames) for start in starts]
        total += len(part) * np.mean(pieces, axis=0)
    frequencies = scipy.fft.rfftfreq(frames, 1.0 / rate)
    density = total / sum(map(len, parts))
    resolution = rate / min(max(map(len, parts)), longest)
    found = _mains(parts, rate)
    return NoiseSpectrum(
        frequencies=frequencies,
        density=density,
        hiss=density if found is None else _without_hum(frequencies, density, found, resolution),
        seconds=sum(map(len, parts)) / rate,
        independent_seconds=independent,
        resolution_hz=resolution,
    )


def power_density(samples: np.ndarray, sample_rate: int, frames: int | None = None) -> np.ndarray:
    """One-sided power density of a piece under a Hann window, its weighted mean left out.

    Parameters
    ----------
    samples : (n,) float array
    frames : int, optional
        Of the transform, at least n; what is missing is filled with zeros.

    Returns
    -------
    (frames // 2 + 1,) float array
        Squares of full scale a hertz: its sum times the spacing of the lines is the mean square.
    """
    samples = np.asarray(samples, np.float64)
    n = len(samples)
    frames = n if frames is None else frames
    window = np.hanning(n + 2)[1:-1]
    centred = samples - np.dot(window, samples) / np.sum(window)
    power = np.abs(scipy.fft.rfft(window * centred, frames)) ** 2
    power[1 : (frames + 1) // 2] *= 2.0  # neither 0 Hz nor half the sample rate has a twin
    return power / (np.dot(window, window) * sample_rate)


def a_weighting_db(frequencies):
    """Gain of the A-weighting in dB, -inf at 0 Hz (IEC 61672-1:2013, equation E.6)."""
    return power_to_db(_a_power(frequencies) / _a_power(1000.0))


def _a_power(frequencies):
    """Power gain of the A-weighting, up to a factor."""
    square = np.square(np.asarray(frequencies, np.float64))
    low, second, third, high = (f**2 for f in A_POLES_HZ)
    gain = square**2 / (
        (square + low) * np.sqrt(square + second) * np.sqrt(square + third) * (square + high)
    )
    return gain**2


def band_power(frequencies, density, low_hz: float, high_hz: float) -> float:
    """Mean square in a band, or as much of it as lies below half the sample rate.

    Parameters
    ----------
    frequencies, density : (m,) float arrays
        Evenly spaced from 0 Hz; each line stands for its surroundings.
    """
    spacing = frequencies[1] - frequencies[0]
    edges = np.concatenate([[0.0], frequencies + spacing / 2.0])
    total = np.concatenate([[0.0], np.cumsum(density)]) * spacing
    low, high = np.interp((low_hz, high_hz), edges, total)
    return float(high - low)


def a_weighted_power(frequencies, density) -> float:
    """A-weighted mean square, from 0 Hz to half the sample rate."""
    weights = _a_power(frequencies) / _a_power(1000.0)
    return float(np.dot(weights, density) * (frequencies[1] - frequencies[0]))


def third_octaves(spectrum: NoiseSpectrum) -> tuple[NoiseBand, ...]:
    """Levels in thirds of an octave, as far as they lie below half the sample rate."""
    bands = []
    for number in THIRD_OCTAVES:
        centre = 1000.0 * 10.0 ** (number / 10.0)
        low, high = centre * 10.0**-0.05, centre * 10.0**0.05
        if high > spectrum.frequencies[-1]:
            break
        power = band_power(spectrum.frequencies, spectrum.density, low, high)
        cells = max((high - low) * spectrum.independent_seconds, 1.0)
        bands.append(
            NoiseBand(
                centre_hz=centre,
                rms_dbfs=_level(power),
                sigma_db=float(power_to_db(1.0 + 1.0 / np.sqrt(cells))),
            )
        )
    return tuple(bands)


def driven_noise(capture: AlignedCapture) -> tuple[DrivenNoise, ...]:
    """Noise under every step of every staircase: what stands between the tone's harmonics.

    Under the harmonics themselves it is what stands on both sides of them.
    """
    found = []
    for placed in capture.plan.of_kind("staircase"):
        for played_dbfs, fit in fitted_steps(capture, placed):
            between, density = fit.between
            spacing = fit.sample_rate / len(fit.residual)
            frequencies = spacing * np.arange(len(fit.residual) // 2 + 1)
            everywhere = np.interp(frequencies, between, density)
            signal = _level(float(np.sum(np.abs(fit.harmonics) ** 2) / 2.0))
            noise_rms = _level(band_power(frequencies, everywhere, *BAND_HZ))
            known = signal is not None and noise_rms is not None
            found.append(
                DrivenNoise(
                    name=placed.segment.name,
                    frequency_hz=fit.frequency,
                    played_dbfs=played_dbfs,
                    signal_rms_dbfs=signal,
                    noise_rms_dbfs=noise_rms,
                    noise_a_weighted_dbfs=_level(a_weighted_power(frequencies, everywhere)),
                    snr_db=signal - noise_rms if known else None,
                )
            )
    return tuple(found)


def _quiet(capture):
    """The quiet sections, float64."""
    parts = [capture.response[part].astype(np.float64) for part in quiet_sections(capture.plan)]
    if not parts:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no silence of 0.2 s to measure noise in: "
            "capture standard or quick"
        )
    return parts


def _mains(parts, rate):
    """The hum of the longest section; None for none."""
    return measure_hum(max(parts, key=len), rate)


def _near_line(frequencies, line_hz, resolution):
    """Where a line stands in a spectrum: its own wander, and the width of the window."""
    width = max(OFF_FREQUENCY * line_hz, resolution) + 2.0 * resolution
    return np.abs(frequencies - line_hz) <= width


def _without_hum(frequencies, density, hum, resolution):
    """The density, with what is around each line of the comb in its place."""
    comb = [hum.mains_hz * order for order in range(1, HARMONICS + 1)]
    lines = [_near_line(frequencies, line, resolution) for line in comb]
    free = ~np.logical_or.reduce(lines) & (frequencies > 2.0 * resolution)
    hiss = density.copy()
    for line_hz, line in zip(comb, lines, strict=True):
        around = free & (np.abs(frequencies - line_hz) < FLOOR_HZ)
        hiss[line] = np.minimum(density[line], np.mean(density[around]))
    return hiss


def _hum(capture, spectrum):
    parts, rate = _quiet(capture), capture.sample_rate
    found = _mains(parts, rate)
    if found is None:
        return None
    f, lines = spectrum.frequencies, spectrum.density - spectrum.hiss
    return HumNoise(
        mains_hz=found.mains_hz,
        origin=found.origin,
        rms_dbfs=float(power_to_db(band_power(f, lines, 0.0, f[-1]))),
        a_weighted_dbfs=float(power_to_db(a_weighted_power(f, lines))),
        lines=tuple(
            HumLine(frequency_hz=line.frequency, level_dbfs=float(power_to_db(line.power)))
            for line in mains_lines(max(parts, key=len), rate)
            if line.frequency % found.mains_hz == 0 and line.over_db > SECOND_LINE_DB
        ),
    )


def _gate(capture):
    """What the checks find of a gate, and the levels between which it opens."""
    finding = next(iter(noise_gate(capture, judge_floor=not has_time_effect(capture))), None)
    if finding is None:
        return None
    shut = opened = None
    if finding.at_seconds is not None:
        steps = [
            (float(amplitude_to_db(step.played)), drop)
            for placed in capture.plan.of_kind("staircase")
            for step, drop in _with_drops(capture, placed)
        ]
        shut = max(level for level, drop in steps if drop > GATE_DROP_DB)
        opened = min((level for level, drop in steps if level > shut), default=None)
    return Gate(drop_db=finding.measured, shut_at_dbfs=shut, open_at_dbfs=opened)


def _with_drops(capture, placed):
    steps = ladder_steps(capture, placed)
    return zip(steps, swallowed_db(steps), strict=True)


def _level(power):
    """In dB; None for nothing."""
    return float(power_to_db(power)) if power > 0.0 else None
