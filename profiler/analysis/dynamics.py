"""Dynamics: what a device makes of soft and loud.

A tube amp compresses at once, where its stages bend, and slowly, where supply and bias follow the
level; both are what a player calls touch. Three things are measured. The *level curve*: gain,
harmonics and mean of a steady tone against its level, from a staircase. The *level step*: the same
in time, when a tone becomes loud and soft again. And what is left of the level differences of
real *playing*.

Conventions
-----------
Levels are peaks in dBFS, those that are played at the stimulus, those that come back at the
response. A gain is that of the tone's fundamental, in dB; a harmonic is a ratio to the fundamental;
a mean is a share of the fundamental's peak. Time 0 of a step is the first sample of the new level.
What is told in time is measured over one period of the tone: nothing shorter is told apart.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy.interpolate
from pydantic import Field

from profiler.analysis.tone import ToneFit, fitted_steps, harmonic_course
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import LevelStep, Placed, Staircase
from profiler.stimulus.tones import level_step_edges
from profiler.units import amplitude_to_db, power_to_db

NOMINAL_DBFS = -18.0  # ordinary playing: the hardest stroke of the signals peaks at -0.1
TOUCH_WITHIN_DB = 6.5  # of the nominal level
TOUCH_POINTS = 3  # a slope needs at least
HARMONICS = (2, 3, 4, 5)
HEARD_SIGMAS = 4.0  # by which a line stands out of the noise
LEAST_KNOWN_DB = 1.0  # sigma of a level that is still one
FLAT_DB = 0.05  # a gain that changes by less does not change
KNEES_DB = (1.0, 3.0)
SWALLOWED_DB = 6.0  # below the gain of louder steps: a gate, and no part of a curve
DRIFT_DB = 0.1  # of the level within half a step, beyond which it has not settled

SETTLED_PART = 0.25  # of a tone, at its end, in which a step has settled
STEADY_DB = 0.05  # that its level may still change in there
NO_CHANGE_DB = 0.1  # of gain: no time can be told of less
NOISE_SIGMAS = 3.0

FRAME_SECONDS = 0.05  # of a short-term level
RANGE_PERCENTILES = (10.0, 95.0)  # of short-term levels, as EBU Tech 3342 has them
PLAYING_DB = -40.0  # re the loud frames of the stimulus: below, nothing is played
PLAYING_KINDS = ("guitar", "file")
KINDS = ("staircase", "level-step", *PLAYING_KINDS)


class LevelPoint(Record):
    """A steady tone of one level. What noise hides is null."""

    played_dbfs: float
    level_dbfs: float | None  # peak of the fundamental that came back
    level_sigma_db: float | None  # what noise makes of it
    gain_db: float | None
    rms_dbfs: float | None  # of the tone and its harmonics, re an RMS of 1
    harmonic_ratios: tuple[float | None, ...]  # H2 to H5 re the fundamental
    centroid: float | None  # mean order of the harmonics by magnitude; 1 for a pure tone
    mean_ratio: float | None  # re the fundamental's peak; its sign is the response's
    drift_db: float | None  # of the level from one half of what was measured to the other


class Touch(Record):
    """How the sound follows the hand: slopes over the level about ordinary playing."""

    nominal_dbfs: float
    level_db_per_db: float | None  # 1 for a clean device, 0 where all is compressed
    second_db_per_db: float | None  # of H2 re the fundamental
    third_db_per_db: float | None  # of H3
    centroid_octaves_per_db: float | None  # brightness: of the harmonics' centroid


class LevelCurve(Record):
    """Gain and harmonics against level, at one frequency. What is not reached is null."""

    name: str
    frequency_hz: float
    points: tuple[LevelPoint, ...]
    small_signal_gain_db: float | None
    fallen_1db_dbfs: float | None  # played level at which the gain has fallen so far
    fallen_3db_dbfs: float | None
    threshold_dbfs: float | None  # where the lines below and above the knee cross
    slope_db_per_db: float | None  # of the output's level over the input's, above the knee
    ratio: float | None  # one over the slope; null where nothing rises
    touch: Touch


class StepResponse(Record):
    """A tone that steps from one level to another. What cannot be told is null."""

    name: str
    direction: Literal["up", "down"]
    frequency_hz: float
    from_dbfs: float  # played
    to_dbfs: float
    gain_before_db: float | None
    gain_at_once_db: float | None  # one period after the step
    gain_after_db: float | None  # when it has settled
    overshoot_db: float | None  # furthest from there; above zero: louder at first
    time_63_ms: (
        float | None
    )  # from when on the change of gain is done to 63.2 %; 0: within a period
    time_90_ms: float | None
    sigma_db: float | None  # of the gain over one period, by noise
    steady: bool  # the level stood still when the tone ended
    second_before: float | None  # H2 re the fundamental
    second_at_once: float | None
    second_after: float | None
    mean_before: float | None  # re the fundamental's peak after the step
    mean_furthest: float | None
    mean_after: float | None


class PlayingDynamics(Record):
    """What is left of the level differences of playing."""

    kind: str  # of the segments: guitar, file
    seconds: float  # that were played
    crest_played_db: float  # peak over RMS
    crest_returned_db: float
    range_played_db: float  # of levels over 50 ms, from their 10th to their 95th percentile
    range_returned_db: float
    slope_db_per_db: float  # of the returned level over the played one, over the same 50 ms


class Dynamics(Record):
    """All that is told of a device's dynamics."""

    schema_: Literal["ampscope.dynamics/1"] = Field(default="ampscope.dynamics/1", alias="schema")
    curves: tuple[LevelCurve, ...]
    steps: tuple[StepResponse, ...]
    playing: tuple[PlayingDynamics, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class StepCourse:
    """A level step in time, to be looked at; `(m,)` arrays, a value a period's centre."""

    name: str
    frequency_hz: float
    seconds: np.ndarray  # from the step up
    down_seconds: float  # of the step down
    level_db: np.ndarray  # of the fundamental, dBFS peak
    gain_db: np.ndarray  # NaN where a period holds a step
    second_ratio: np.ndarray  # H2 re the fundamental
    mean: np.ndarray  # re full scale


class Knee(NamedTuple):
    """What a level curve says of compression; None where it does not."""

    small_signal_gain_db: float | None
    fallen_1db_dbfs: float | None
    fallen_3db_dbfs: float | None
    threshold_dbfs: float | None
    slope_db_per_db: float | None
    bent_from_the_first: bool


def dynamics(capture: AlignedCapture) -> Dynamics:
    """Measure the dynamics of a capture, as far as its plan allows.

    Raises
    ------
    CaptureError
        The plan has neither a staircase nor a level step nor playing.
    """
    plan = capture.plan
    if not any(plan.of_kind(*KINDS)):
        raise CaptureError(
            f"the signal {plan.name!r} holds no staircase, level step or playing to measure "
            "dynamics by: capture dynamics or standard"
        )
    warnings: list[str] = []
    curves = tuple(
        curve
        for placed in plan.of_kind("staircase")
        if (curve := _level_curve(capture, placed, warnings)) is not None
    )
    steps = tuple(
        step for placed in plan.of_kind("level-step") for step in _steps(capture, placed, warnings)
    )
    playing = tuple(
        found for kind in PLAYING_KINDS if (found := _playing(capture, kind)) is not None
    )
    return Dynamics(curves=curves, steps=steps, playing=playing, warnings=tuple(warnings))


# Level curves


def level_point(played_dbfs: float, fit: ToneFit) -> LevelPoint:
    """What one steady tone says."""
    heard = fit.level > HEARD_SIGMAS * fit.sigma
    sigma_db = float(amplitude_to_db(1.0 + fit.sigma / fit.level)) if fit.level > 0.0 else np.inf
    if not heard or sigma_db > LEAST_KNOWN_DB:
        return LevelPoint(
            played_dbfs=played_dbfs,
            level_dbfs=None,
            level_sigma_db=None,
            gain_db=None,
            rms_dbfs=None,
            harmonic_ratios=(None,) * len(HARMONICS),
            centroid=None,
            mean_ratio=None,
            drift_db=None,
        )
    magnitudes = np.abs(fit.harmonics)
    standing_out = np.where(magnitudes > HEARD_SIGMAS * fit.sigma, magnitudes, 0.0)
    power = standing_out**2
    level_dbfs = float(amplitude_to_db(fit.level))
    return LevelPoint(
        played_dbfs=played_dbfs,
        level_dbfs=level_dbfs,
        level_sigma_db=sigma_db,
        gain_db=level_dbfs - played_dbfs,
        rms_dbfs=float(power_to_db(np.sum(power) / 2.0)),
        harmonic_ratios=tuple(
            float(standing_out[order - 1] / fit.level)
            if order <= len(power) and standing_out[order - 1] > 0.0
            else None
            for order in HARMONICS
        ),
        centroid=float(np.dot(np.arange(1, len(power) + 1), standing_out) / np.sum(standing_out)),
        mean_ratio=fit.mean / fit.level,
        drift_db=_drift_db(fit),
    )


def knee(played_dbfs, gain_db, sigma_db) -> Knee:
    """Where and how much a gain falls with the level.

    Parameters
    ----------
    played_dbfs, gain_db, sigma_db : (n,) float arrays
        Ascending levels, the gains there, and what noise makes of them.

    Returns
    -------
    Knee
        `small_signal_gain_db` is the mean of the softest gains that agree within 0.05 dB. Between
        the levels the gain is read by a monotone cubic (Fritsch and Carlson). The line above the
        knee is fitted to the steps beyond 3 dB, of which it needs two.
    """
    played, gain, sigma = (np.asarray(a, np.float64) for a in (played_dbfs, gain_db, sigma_db))
    if len(played) < 3:
        return Knee(None, None, None, None, None, False)
    weights = 1.0 / (sigma**2 + 1e-6)
    flat, small = 1, gain[0]
    while flat < len(gain):
        if abs(gain[flat] - small) > FLAT_DB + NOISE_SIGMAS * float(
            np.hypot(*sigma[flat - 1 :][:2])
        ):
            break
        flat += 1
        small = float(np.average(gain[:flat], weights=weights[:flat]))
    curve = scipy.interpolate.PchipInterpolator(played, gain - small)
    fallen = [_first_fall(curve, played[flat - 1], by_db) for by_db in KNEES_DB]
    threshold = slope = None
    beyond = np.flatnonzero(gain - small <= -KNEES_DB[1])
    if len(beyond) >= 2:
        slope, start = (float(c) for c in np.polyfit(played[beyond], (played + gain)[beyond], 1))
        if slope < 1.0 - 1e-3:
            threshold = (start - small) / (1.0 - slope)
    bent = flat == 1 and gain[1] < gain[0]
    return Knee(float(small), fallen[0], fallen[1], threshold, slope, bent)


def touch(points, nominal_dbfs: float = NOMINAL_DBFS) -> Touch:
    """Slopes of level, H2, H3 and centroid over the played level, about a nominal one.

    Parameters
    ----------
    points : sequence of LevelPoint
        Those within 6.5 dB of the nominal level count, of which three are needed; a straight line
        is fitted.
    """
    near = [p for p in points if abs(p.played_dbfs - nominal_dbfs) <= TOUCH_WITHIN_DB]

    def slope(values):
        known = [(p.played_dbfs, v) for p, v in zip(near, values, strict=True) if v is not None]
        if len(known) < TOUCH_POINTS:
            return None
        return float(np.polyfit(*zip(*known, strict=True), 1)[0])

    def ratios(order):
        found = [p.harmonic_ratios[HARMONICS.index(order)] for p in near]
        return [None if r is None else float(amplitude_to_db(r)) for r in found]

    return Touch(
        nominal_dbfs=nominal_dbfs,
        level_db_per_db=slope([p.level_dbfs for p in near]),
        second_db_per_db=slope(ratios(2)),
        third_db_per_db=slope(ratios(3)),
        centroid_octaves_per_db=slope(
            [None if p.centroid is None else float(np.log2(p.centroid)) for p in near]
        ),
    )


def _level_curve(capture, placed: Placed, warnings):
    segment = placed.segment
    if not isinstance(segment, Staircase):
        return None
    fits = fitted_steps(capture, placed)
    if not fits:
        warnings.append(
            f"{segment.name}: its steps of {1e3 * segment.step_seconds:.0f} ms are too short to "
            "measure a level curve by: lengthen it"
        )
        return None
    points = tuple(level_point(level, fit) for level, fit in fits)
    known = _above_a_gate([p for p in points if p.gain_db is not None])
    found = knee(
        [p.played_dbfs for p in known],
        [p.gain_db for p in known],
        [p.level_sigma_db for p in known],
    )
    if found.bent_from_the_first:
        warnings.append(
            f"{segment.name}: the gain falls from the softest step that is heard on, so the "
            "small-signal gain is a lower bound: begin softer"
        )
    drifting = [
        p.played_dbfs
        for p in points
        if p.drift_db is not None
        and p.level_sigma_db is not None
        and abs(p.drift_db) > max(DRIFT_DB, HEARD_SIGMAS * p.level_sigma_db)
    ]
    if drifting:
        warnings.append(
            f"{segment.name}: the level still moved within the steps from "
            f"{drifting[0]:g} dBFS on: longer steps would give the settled gain"
        )
    slope = found.slope_db_per_db
    return LevelCurve(
        name=segment.name,
        frequency_hz=segment.frequency,
        points=points,
        small_signal_gain_db=found.small_signal_gain_db,
        fallen_1db_dbfs=found.fallen_1db_dbfs,
        fallen_3db_dbfs=found.fallen_3db_dbfs,
        threshold_dbfs=found.threshold_dbfs,
        slope_db_per_db=slope,
        ratio=1.0 / slope if slope is not None and slope > 0.01 else None,
        touch=touch(points, NOMINAL_DBFS + capture.plan.gain_db),
    )


def _above_a_gate(points):
    """The points without those, at the soft end, that a gate or an expander takes away."""
    gains = np.array([p.gain_db for p in points])
    first = 0
    while first < len(gains) - 1 and gains[first] < np.max(gains[first:]) - SWALLOWED_DB:
        first += 1
    return points[first:]


def _first_fall(curve, from_dbfs, by_db):
    """The lowest level above another at which a curve has fallen by so much; None for none."""
    levels = curve.solve(-by_db, extrapolate=False)
    above = levels[np.isfinite(levels) & (levels >= from_dbfs)]
    return float(np.min(above)) if above.size else None


def _drift_db(fit):
    """How far the fundamental moved from the first half of the fit to the second."""
    # of what differs from the mean fundamental
    centres, course = harmonic_course(fit.residual, fit.frequency, fit.sample_rate, 1)
    turned = course / (fit.harmonics[0] / abs(fit.harmonics[0]))
    late = centres > (len(fit.residual) - 1) / 2
    if late.all() or not late.any():
        return None
    moved = float(np.mean(turned.real[late]) - np.mean(turned.real[~late]))
    return float(amplitude_to_db(1.0 + moved / fit.level)) if moved > -fit.level else None


# Level steps


def step_courses(capture: AlignedCapture) -> tuple[StepCourse, ...]:
    """Every level step in time.

    Raises
    ------
    CaptureError
        The capture's stimulus has no level step.
    """
    found = list(capture.plan.of_kind("level-step"))
    if not found:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no level step: capture dynamics"
        )
    return tuple(_course(capture, placed) for placed in found)


class GainChange(NamedTuple):
    """A gain on its way from one value to another; None where noise hides it."""

    at_once_db: float
    after_db: float
    overshoot_db: float
    time_63_ms: float | None
    time_90_ms: float | None
    sigma_db: float
    steady: bool


def gain_change(seconds, gain_db, before_db: float, period_seconds: float) -> GainChange:
    """How a gain settles after a step of the level.

    Parameters
    ----------
    seconds, gain_db : (m,) float arrays
        From the step on, evenly spaced; each gain that of the period centred there.
    before_db : float
        The settled gain before the step.
    period_seconds : float
        Of the tone: what happens within the first one is not told apart.

    Returns
    -------
    GainChange
        A time is the last at which more than 36.8 % (10 %) of the change is still to be done. The
        gain it settles at is the mean over the last quarter.
    """
    seconds, gain = np.asarray(seconds, np.float64), np.asarray(gain_db, np.float64)
    told = seconds >= period_seconds - 1e-9
    seconds, gain = seconds[told], gain[told]
    settled = seconds > seconds[-1] - SETTLED_PART * (seconds[-1] - seconds[0])
    after = float(np.mean(gain[settled]))
    trend = np.polynomial.Polynomial.fit(seconds[settled], gain[settled], 1)
    sigma = float(np.std(gain[settled] - trend(seconds[settled])))
    half = seconds[settled] > np.mean(seconds[settled])
    drift = float(np.mean(gain[settled][half]) - np.mean(gain[settled][~half]))
    furthest = gain[int(np.argmax(np.abs(gain - after)))] - after
    change = after - before_db
    times: list[float | None] = []
    for left in (np.exp(-1.0), 0.1):
        outside = np.flatnonzero(np.abs(gain - after) > left * abs(change))
        if abs(change) < NO_CHANGE_DB or left * abs(change) < NOISE_SIGMAS * sigma:
            times.append(None)
        elif not outside.size:
            times.append(0.0)
        else:
            times.append(1e3 * float(seconds[outside[-1]]))
    return GainChange(
        at_once_db=float(gain[0]),
        after_db=after,
        overshoot_db=float(furthest),
        time_63_ms=times[0],
        time_90_ms=times[1],
        sigma_db=sigma,
        steady=abs(drift) < max(STEADY_DB, NOISE_SIGMAS * sigma),
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """A stretch of one level: what came back, a value a period's centre."""

    played_dbfs: float
    seconds: np.ndarray  # from its first sample
    fundamental: np.ndarray
    second: np.ndarray
    mean: np.ndarray
    period_seconds: float

    @property
    def settled(self) -> np.ndarray:
        return self.seconds > (1.0 - SETTLED_PART) * self.seconds[-1]

    @property
    def gain_db(self) -> np.ndarray:
        return amplitude_to_db(self.fundamental) - self.played_dbfs

    @property
    def level(self) -> float:
        """Peak of the fundamental where it has settled."""
        return float(np.mean(np.abs(self.fundamental[self.settled])))

    @property
    def second_ratio(self) -> np.ndarray:
        return np.abs(self.second) / np.maximum(np.abs(self.fundamental), 1e-300)


def _sides(capture, placed):
    """The three stretches of a level step."""
    segment, rate = placed.segment, capture.sample_rate
    if not isinstance(segment, LevelStep):
        raise ValueError(f"got a segment of kind {segment.kind!r}, expected a level step")
    up, down, end = level_step_edges(segment, rate)
    response = capture.response[placed.slice].astype(np.float64)
    sides = []
    for first, last, level_dbfs in (
        (0, up, segment.soft_dbfs),
        (up, down, segment.level_dbfs),
        (down, end, segment.soft_dbfs),
    ):
        centres, fundamental = harmonic_course(response[first:last], segment.frequency, rate, 1)
        second = harmonic_course(response[first:last], segment.frequency, rate, 2)[1]
        mean = harmonic_course(response[first:last], segment.frequency, rate, 0)[1].real
        played = level_dbfs + capture.plan.gain_db
        sides.append(
            _Side(played, centres / rate, fundamental, second, mean, 1.0 / segment.frequency)
        )
    return sides


def _steps(capture, placed, warnings):
    """The step up and the step down."""
    name = placed.segment.name
    soft, loud, again = _sides(capture, placed)
    found = [
        _step(name, "up", placed, soft, loud),
        _step(name, "down", placed, loud, again),
    ]
    for step in found:
        if step.gain_before_db is None or step.gain_after_db is None:
            warnings.append(f"{name}: the soft tone is not heard: play it louder")
        elif not step.steady:
            warnings.append(
                f"{name}: still changing when the tone ended after the step {step.direction}, so "
                "its times are lower bounds: lengthen it"
            )
    return found


def _step(name, direction, placed, before, after):
    known = all(_is_heard(side) for side in (before, after))
    change = None
    before_db = float(np.mean(before.gain_db[before.settled])) if known else None
    if before_db is not None:
        change = gain_change(after.seconds, after.gain_db, before_db, after.period_seconds)
    told = after.seconds >= after.period_seconds - 1e-9
    settled_mean = float(np.mean(after.mean[after.settled]))
    moved = after.mean[told] - settled_mean
    furthest = settled_mean + float(moved[int(np.argmax(np.abs(moved)))])
    return StepResponse(
        name=name,
        direction=direction,
        frequency_hz=placed.segment.frequency,
        from_dbfs=before.played_dbfs,
        to_dbfs=after.played_dbfs,
        gain_before_db=before_db,
        gain_at_once_db=change and change.at_once_db,
        gain_after_db=change and change.after_db,
        overshoot_db=change and change.overshoot_db,
        time_63_ms=change and change.time_63_ms,
        time_90_ms=change and change.time_90_ms,
        sigma_db=change and change.sigma_db,
        steady=change is not None and change.steady,
        second_before=float(np.mean(before.second_ratio[before.settled])) if known else None,
        second_at_once=float(after.second_ratio[told][0]) if known else None,
        second_after=float(np.mean(after.second_ratio[after.settled])) if known else None,
        mean_before=float(np.mean(before.mean[before.settled])) / after.level if known else None,
        mean_furthest=furthest / after.level if known else None,
        mean_after=settled_mean / after.level if known else None,
    )


def _is_heard(side):
    """Whether the fundamental of the settled tone stands out of what moves it."""
    if not np.all(side.fundamental != 0.0):
        return False
    return bool(np.std(side.gain_db[side.settled]) < LEAST_KNOWN_DB)


def _course(capture, placed):
    segment, rate = placed.segment, capture.sample_rate
    up, down, _ = level_step_edges(segment, rate)
    response = capture.response[placed.slice].astype(np.float64)
    centres, fundamental = harmonic_course(response, segment.frequency, rate, 1)
    second = harmonic_course(response, segment.frequency, rate, 2)[1]
    level_db = amplitude_to_db(fundamental)
    played_db = capture.plan.gain_db + np.where(
        (centres >= up) & (centres < down), segment.level_dbfs, segment.soft_dbfs
    )
    gain_db = level_db - played_db
    for edge in (up, down):
        gain_db[np.abs(centres - edge) < 0.5 * rate / segment.frequency] = np.nan
    return StepCourse(
        name=segment.name,
        frequency_hz=segment.frequency,
        seconds=(centres - up) / rate,
        down_seconds=(down - up) / rate,
        level_db=level_db,
        gain_db=gain_db,
        second_ratio=np.abs(second) / np.maximum(np.abs(fundamental), 1e-300),
        mean=harmonic_course(response, segment.frequency, rate, 0)[1].real,
    )


# Playing


def short_term_levels_db(signal, sample_rate: int) -> np.ndarray:
    """RMS levels of stretches of 50 ms, `(m,)`; -inf for silence."""
    frame = round(FRAME_SECONDS * sample_rate)
    whole = np.asarray(signal, np.float64)[: len(signal) - len(signal) % frame]
    return np.asarray(power_to_db(np.mean(whole.reshape(-1, frame) ** 2, axis=1)))


def crest_factor_db(signal) -> float:
    """Peak over RMS; 3.01 dB for a sine."""
    signal = np.asarray(signal, np.float64)
    return float(amplitude_to_db(np.max(np.abs(signal)) / np.sqrt(np.mean(signal**2))))


def _playing(capture, kind):
    """All segments of a kind together; None where there are none, or nothing is heard."""
    placed = list(capture.plan.of_kind(kind))
    if not placed:
        return None
    rate = capture.sample_rate
    pairs = [(capture.stimulus[p.slice], capture.response[p.slice]) for p in placed]
    pairs = [(x, y - np.mean(y, dtype=np.float64)) for x, y in pairs]
    played, returned = (
        np.concatenate([short_term_levels_db(pair[side], rate) for pair in pairs])
        for side in (0, 1)
    )
    if not played.size:
        return None
    heard = played > np.percentile(played, RANGE_PERCENTILES[1]) + PLAYING_DB
    heard &= np.isfinite(returned)
    if np.count_nonzero(heard) < 3:
        return None
    low, high = RANGE_PERCENTILES

    def span(levels):
        return float(np.diff(np.percentile(levels[heard], (low, high)))[0])

    x, y = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return PlayingDynamics(
        kind=kind,
        seconds=len(x) / rate,
        crest_played_db=crest_factor_db(x),
        crest_returned_db=crest_factor_db(y),
        range_played_db=span(played),
        range_returned_db=span(returned),
        slope_db_per_db=float(np.polyfit(played[heard], returned[heard], 1)[0]),
    )
