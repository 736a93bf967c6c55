"""Settling and rest: how long a device takes to reach a steady state, and to leave it.

Supply sag, bias shift and blocked grids make the response to a steady tone drift for some
tenths of a second after it begins, and ring on after it ends. The longest of these times is
the context that a model needs to be right: its receptive field.

Conventions
-----------
Time 0 of a settling time is the first sample of the tone, of a rest time the first sample
after it; the capture is aligned. E(t) is the energy, over one period up to t, of what the
response differs from its steady state, over the energy of one period of the steady state: an
error-to-signal ratio a cycle, in dB. A settling time is the last time that E exceeds eps, a
rest time the last time that the response's RMS over 5 ms exceeds eps times the steady peak.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.tones import burst_edges
from profiler.units import amplitude_to_db, db_to_amplitude, power_to_db

LEVELS_DB = (-20, -30, -40, -60)

STEADY_SECONDS = 0.25  # the end of the tone, from which the steady state is read
HIGHEST_HARMONIC = 60
REST_WINDOW_SECONDS = 0.005
BASELINE_SECONDS = 0.1  # the end of the silence, from which the baseline is read
NOISE_SIGMAS = 3.0
FLOOR_MARGIN_DB = 5.0  # E this near to its median floor may be the floor: noise fluctuates
STEADY_BELOW_DB = -60.0  # E just before the steady state is read, or else it is at its floor
LOWEST_DB = -200.0  # of E: rounding
FILTER_RESPONSE_SECONDS = 0.005  # of a cabinetless amp's filters, added to the longest time
TARGET_DB = -40  # of the times that the receptive field covers
DECAY_TAUS = np.geomspace(0.02, 0.25, 12)  # s, of what may still decay when the tone ends
DECAY_LEAVES = 0.7  # of the residual, at most, for a decay to be believed
COUPLING_FROM_SECONDS = 0.1
COUPLING_TAUS = np.geomspace(0.075, 1.0, 24)
COUPLING_LEFT = 0.1  # of the energy, at most, beside the exponential


class BurstSettling(Record):
    """How one burst settled and came to rest. A time that was not reached is null."""

    name: str
    level_dbfs: float
    frequency: float
    settling_ms: dict[str, float | None]
    rest_ms: dict[str, float | None]
    floor_db: float | None  # of E in the steady state; null where nothing is left of it
    steady: bool


class SettlingAnalysis(Record):
    """What `ampscope settle` reports."""

    schema_: Literal["ampscope.settle/1"] = Field(default="ampscope.settle/1", alias="schema")
    sample_rate: int
    bursts: tuple[BurstSettling, ...]
    receptive_field_samples: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SettlingCurve:
    """E(t) of one burst, a period after the tone's first sample to its end."""

    name: str
    level_dbfs: float
    seconds: np.ndarray  # (n,) from the first sample of the tone
    error_db: np.ndarray  # (n,)
    floor_db: float


def settling(capture: AlignedCapture) -> SettlingAnalysis:
    """Settling and rest times of every burst of a capture.

    Raises
    ------
    CaptureError
        The capture's stimulus has no burst.
    """
    warnings: list[str] = []
    bursts = tuple(_measured(capture, placed, warnings) for placed in _bursts(capture))
    times = [
        getattr(burst, kind)[str(TARGET_DB)]
        for burst in bursts
        for kind in ("settling_ms", "rest_ms")
    ]
    known = [time for time in times if time is not None]
    field = None
    if known:
        field = math.ceil((max(known) / 1e3 + FILTER_RESPONSE_SECONDS) * capture.sample_rate)
    if known and len(known) < len(times):
        warnings.append(
            f"the receptive field is a lower bound: not every time to {TARGET_DB} dB was reached"
        )
    return SettlingAnalysis(
        sample_rate=capture.sample_rate,
        bursts=bursts,
        receptive_field_samples=field,
        warnings=tuple(warnings),
    )


def settling_curve(capture: AlignedCapture) -> tuple[SettlingCurve, ...]:
    """E(t) of every burst, to be looked at.

    Raises
    ------
    CaptureError
        The capture's stimulus has no burst.
    """
    rate = capture.sample_rate
    curves = []
    for placed in _bursts(capture):
        tone, _ = _parts(capture, placed)
        frequency = placed.segment.frequency
        template = _steady_state(tone, rate, frequency)
        curves.append(
            SettlingCurve(
                placed.segment.name,
                placed.segment.level_dbfs + capture.plan.gain_db,
                *_error_curve(tone, template, rate, frequency),
            )
        )
    return tuple(curves)


def _bursts(capture):
    found = list(capture.plan.of_kind("burst"))
    if not found:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no burst to measure settling by: capture "
            "a440 or standard"
        )
    return found


def _parts(capture, placed):
    """The response to a burst's tone, and to the silence after it."""
    first, last = burst_edges(placed.segment, capture.sample_rate)
    response = capture.response[placed.slice].astype(np.float64)
    return response[first:last], response[last:]


def _measured(capture, placed, warnings):
    burst, rate = placed.segment, capture.sample_rate
    tone, after = _parts(capture, placed)
    frequency = burst.frequency
    if len(tone) < 3 * STEADY_SECONDS * rate:
        raise CaptureError(
            f"burst {burst.name!r} lasts {len(tone) / rate:.2f} s, expected at least "
            f"{3 * STEADY_SECONDS:g} s to tell a steady state: lengthen it"
        )
    template = _steady_state(tone, rate, frequency)
    seconds, error_db, floor_db = _error_curve(tone, template, rate, frequency)
    before = len(tone) / rate - STEADY_SECONDS
    lately = error_db[(seconds > before - STEADY_SECONDS / 2) & (seconds < before)]
    steady = bool(np.median(lately) < max(floor_db + FLOOR_MARGIN_DB, STEADY_BELOW_DB))
    if not steady:
        warnings.append(
            f"{burst.name}: still changing by {np.median(lately):.0f} dB a cycle when the tone "
            f"ended after {len(tone) / rate:g} s, so its settling times are not known: lengthen "
            "the burst"
        )
    settled = {
        str(level): _settling_ms(seconds, error_db, level, 0.5 / frequency)
        if steady and level > floor_db + FLOOR_MARGIN_DB
        else None
        for level in LEVELS_DB
    }
    unknown = [level for level, time in settled.items() if time is None]
    if steady and unknown:
        warnings.append(
            f"{burst.name}: no settling time to {', '.join(unknown)} dB: the noise floor is at "
            f"{floor_db:.0f} dB"
        )
    return BurstSettling(
        name=burst.name,
        level_dbfs=burst.level_dbfs + capture.plan.gain_db,
        frequency=frequency,
        settling_ms=settled,
        rest_ms=_rest(burst.name, after, np.max(np.abs(template)), rate, warnings),
        floor_db=float(floor_db) if np.isfinite(floor_db) else None,
        steady=steady,
    )


def _settling_ms(seconds, error_db, level_db, half_period):
    """Middle of the last period whose E exceeds a level; 0 when none does."""
    above = np.flatnonzero(error_db > level_db)
    return 1e3 * float(seconds[above[-1]] - half_period) if above.size else 0.0


def _steady_state(tone, rate, frequency):
    """The periodic response read off the end of the tone, over the whole of it, mean removed.

    What still decays there, and is seen to, would else be averaged into the steady state: the
    last half second is fitted by harmonics and by harmonics that decay (variable projection
    over the time constant), and the decay is believed where it explains a good part of what
    the harmonics alone leave.
    """
    highest = min(HIGHEST_HARMONIC, int(0.499 * rate / frequency))
    t = np.arange(len(tone)) / rate
    phases = 2 * np.pi * frequency * np.outer(t, np.arange(1, highest + 1))
    columns = np.concatenate([np.ones((len(t), 1)), np.cos(phases), np.sin(phases)], axis=1)
    moving = columns[:, [0, *range(1, 4), *range(highest + 1, highest + 4)]]
    steady = len(tone) - round(STEADY_SECONDS * rate)
    late = len(tone) - round(2 * STEADY_SECONDS * rate)
    weights, _ = _fitted(*_products(columns[steady:], tone[steady:]))
    gram, shared, energy = _products(columns[late:], tone[late:])
    least = DECAY_LEAVES * _fitted(gram, shared, energy)[1]
    for tau in DECAY_TAUS:
        decaying = moving[late:] * np.exp(-(t[late:, None] - t[late]) / tau)
        own, own_shared, _ = _products(decaying, tone[late:])
        across = columns[late:].T @ decaying
        both = np.block([[gram, across], [across.T, own]])
        found, left = _fitted(both, np.concatenate([shared, own_shared]), energy)
        if left < least:
            least, weights = left, found[: columns.shape[1]]
    return columns[:, 1:] @ weights[1:]


def _products(columns, values):
    """What a least-squares fit needs to know of its columns and values."""
    return columns.T @ columns, columns.T @ values, float(values @ values)


def _fitted(gram, shared, energy):
    """Weights of a fit of well-conditioned columns, and the energy that it leaves."""
    weights = np.linalg.solve(gram, shared)
    return weights, max(energy - float(weights @ shared), 1e-14 * energy)


def _error_curve(tone, template, rate, frequency):
    """Seconds at which a period ends, E over that period in dB, and the floor of E.

    The mean over the period is left out: a baseline that wanders slowly is the AC coupling
    of the converters, of no weight in a cycle of the tone.
    """
    period = rate / frequency
    difference = tone - template
    energy = _sliding(difference**2, period) - _sliding(difference, period) ** 2 / period
    steady = _sliding(template**2, period)
    scale = max(float(np.mean(steady)), 1e-300)
    error_db = power_to_db(np.maximum(energy, 0.0) / scale)
    seconds = (len(tone) - len(energy) + 1 + np.arange(len(energy))) / rate
    end = seconds > len(tone) / rate - STEADY_SECONDS / 2
    return seconds, np.maximum(error_db, LOWEST_DB), max(float(np.median(error_db[end])), LOWEST_DB)


def _sliding(values, period):
    """Sums of `values` over every stretch of `period` samples, which need not be whole."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(math.ceil(period), len(total))
    return total[ends] - np.interp(ends - period, np.arange(len(total)), total)


def _rest(name, after, peak, rate, warnings):
    """Rest times of the silence after a tone."""
    window = round(REST_WINDOW_SECONDS * rate)
    quiet = slice(len(after) - max(round(BASELINE_SECONDS * rate), window), None)
    if len(after) < 2 * (quiet.stop or len(after)) - 2 * quiet.start or peak == 0.0:
        return {str(level): None for level in LEVELS_DB}
    after = after - _coupling_tail(after, rate)
    after = after - np.mean(after[quiet])
    level = np.sqrt(np.maximum(_sliding(after**2, window), 0.0) / window)
    noise = float(np.std(after[quiet]))
    times = {}
    for level_db in LEVELS_DB:
        limit = peak * db_to_amplitude(level_db)
        above = np.flatnonzero(level > limit)
        last = above[-1] if above.size else -1
        if limit < NOISE_SIGMAS * noise or last >= len(after) - 2 * window:
            times[str(level_db)] = None
            warnings.append(
                f"{name}: no rest time to {level_db} dB: "
                + (
                    f"the noise is at {amplitude_to_db(noise / peak):.0f} dB"
                    if limit < NOISE_SIGMAS * noise
                    else "not at rest when the silence ended, lengthen it"
                )
            )
        else:
            times[str(level_db)] = 1e3 * (last + 0.5 * window) / rate if last >= 0 else 0.0
    return times


def _coupling_tail(after, rate):
    """The exponential that converters' AC coupling leaves behind, where that is what is left.

    Nothing in an amp decays so slowly and reaches the output: a tail slower than 75 ms
    (2 Hz) that explains nearly all there is after a tenth of a second.
    """
    t = np.arange(len(after)) / rate
    late = t >= COUPLING_FROM_SECONDS
    y = after[late] - np.mean(after[late])
    best, found = COUPLING_LEFT * np.sum(y**2), np.zeros(len(after))
    for tau in COUPLING_TAUS:
        decay = np.exp(-t / tau)
        columns = np.stack([np.ones(np.sum(late)), decay[late]], axis=1)
        (_, amount), residual, *_ = np.linalg.lstsq(columns, after[late], rcond=None)
        if residual.size and residual[0] < best:
            best, found = residual[0], amount * decay
    return found
