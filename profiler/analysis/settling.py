"""Settling and rest: how long a device takes to reach a steady state, and to leave it.

Supply sag, bias shift and blocked grids make the response to a steady tone drift for some
tenths of a second after it begins, and ring on after it ends. The longest of these times is
the context that a model needs to be right: its receptive field.

Conventions
-----------
Time 0 of a settling time is the first sample of the tone, of a rest time the first sample
after it; the capture is aligned. E(t) is the energy, over one period around t, of what the
response differs from its steady state, over the energy of one period of the steady state: an
error-to-signal ratio a cycle, in dB. The part of it that is the mean over the period, the slow
mean, is told apart as well. A settling time is the last time that E exceeds eps, a rest time the
last time that the response's RMS over 5 ms exceeds eps times the steady peak.

The slow wander that the AC coupling of converters leaves behind is no settling of the device: it is
taken out of all of them, and its time constant is told.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.analysis.demodulation import demodulated
from profiler.analysis.gain_recovery import (
    NOISE_SIGMAS,
    RECOVERED_DB,
    GainCurve,
    GainRecovery,
    gain_recoveries,
)
from profiler.analysis.memory_kinds import BurstTraits, MemoryKinds, memory_kinds
from profiler.analysis.receptive_field import Reach, ReceptiveField, Remainder, recommended
from profiler.analysis.time_constants import (
    FEWEST_POINTS,
    TimeConstants,
    final_values,
    time_constants,
)
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import Burst, Placed
from profiler.stimulus.tones import burst_edges
from profiler.units import amplitude_to_db, db_to_amplitude, power_to_db

LEVELS_DB = (-20, -30, -40, -60)
TARGET_DB = -40  # of the times that the receptive field covers

STEADY_SECONDS = 0.25  # the end of the tone, from which the steady state is read
FEWEST_REPEATS = 5  # of a stretch that repeats exactly, to be averaged as it is
HIGHEST_HARMONIC = 60  # where nothing repeats exactly, and harmonics are fitted
TRACKED = (1, 2, 3)  # harmonics that are followed over time
TRACK_SECONDS = 0.0045  # shortest window over which they are
FLOOR_MARGIN_DB = 5.0  # E this near to its median floor may be the floor: noise fluctuates
WAVER_DB = 2.0  # above the highest E of the steady state, that is no waver of it
STEADY_BELOW_DB = -60.0  # E just before the steady state is read, or else it is at its floor
DECAYED_DB = 3.0  # that what still decays must lie below a floor
FORESEEN_DB = 6.0  # above what is left at the tone's end, where a level is trusted all the same
LOWEST_DB = -200.0  # of E: rounding

RINGING_SECONDS = 0.005  # before the tone's end, left out
REST_WINDOW_SECONDS = 0.005
BASELINE_SECONDS = 0.1  # the end of the silence, from which the baseline is read
ZERO = 2.0**-32  # of full scale: what no converter of 32 bits could tell from zero

COUPLING_FROM_SECONDS = 0.1
COUPLING_TAUS = np.geomspace(0.05, 1.5, 60)  # s, that are tried
COUPLING_LEAST_SECONDS = 0.075  # 2.1 Hz
COUPLING_LEFT = 0.1  # of the energy, at most, beside the exponential
COUPLING_LEAST = 1e-4  # of the tone's RMS, at least
COUPLING_ALIKE = 1.5  # of the time constants under a tone and after it


class BurstSettling(Record):
    """How one burst settled and came to rest. A time that was not reached is null."""

    name: str
    level_dbfs: float
    frequency: float
    settling_ms: dict[str, float | None]
    dc_settling_ms: dict[str, float | None]  # of the slow mean alone
    rest_ms: dict[str, float | None]
    floor_db: float | None  # of E in the steady state; null where nothing is left of it
    steady: bool
    at_least_ms: float | None  # how long the tone was, where it was not steady before its end
    steady_after_samples: int | None  # of the tone: from there on E is at its floor
    silent_after_samples: int | None  # after the tone: from there on only noise is left
    zero_after_samples: int | None  # after the tone: then nothing, as only digital devices can
    settling: TimeConstants  # of the waveform: its fundamental and harmonics 2 and 3
    dc: TimeConstants  # of the slow mean under the tone
    tail: TimeConstants  # after the tone
    coupling_ms: float | None  # time constant of the converters' coupling that was taken out


class SettlingAnalysis(Record):
    """What `ampscope settle` reports."""

    schema_: Literal["ampscope.settle/2"] = Field(default="ampscope.settle/2", alias="schema")
    sample_rate: int
    bursts: tuple[BurstSettling, ...]
    recoveries: tuple[GainRecovery, ...]  # none where the signal has no pump
    memory: MemoryKinds
    receptive_field_samples: int | None
    receptive_field: ReceptiveField | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SettlingCurve:
    """E(t) of one burst, a period after the tone's first sample to its end."""

    name: str
    level_dbfs: float
    seconds: np.ndarray  # (n,) from the first sample of the tone
    error_db: np.ndarray  # (n,)
    floor_db: float
    frequency: float = 440.0


@dataclass(frozen=True)
class _Measured:
    """A burst's record, and what the whole is judged by."""

    record: BurstSettling
    curve: SettlingCurve
    left: Remainder  # of the way to the steady state
    rest: "_Rest"
    traits: BurstTraits
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Adjustment:
    """What was measured, and the curves that it was read from."""

    analysis: SettlingAnalysis
    curves: tuple[SettlingCurve, ...]
    recoveries: tuple[GainCurve, ...]


def settling(capture: AlignedCapture) -> SettlingAnalysis:
    """Settling, rest and recovery of every burst and pump of a capture, and what follows.

    Raises
    ------
    CaptureError
        The capture's stimulus has no burst, or one that is too short to show a steady state.
    """
    return adjustment(capture).analysis


def settling_curve(capture: AlignedCapture) -> tuple[SettlingCurve, ...]:
    """E(t) of every burst, to be looked at.

    Raises
    ------
    CaptureError
        As `settling`.
    """
    return tuple(_measured(capture, placed).curve for placed in _bursts(capture))


def adjustment(capture: AlignedCapture) -> Adjustment:
    """`settling`, with its curves.

    Raises
    ------
    CaptureError
        As `settling`.
    """
    measured = [_measured(capture, placed) for placed in _bursts(capture)]
    recoveries = gain_recoveries(capture)
    warnings = [warning for each in measured for warning in each.warnings]
    warnings += [warning for each in recoveries for warning in each.warnings]
    field = recommended(
        [*_burst_reaches(measured), *_gain_reaches(recoveries)],
        capture.sample_rate,
        settling=[each.left for each in measured],
        rest=[each.rest.remainder for each in measured],
        gain=[_gain_remainder(each.curve) for each in recoveries],
    )
    if field is not None and field.at_least:
        warnings.append("the receptive field is a lower bound: something was not seen to its end")
    records = tuple(each.record for each in recoveries)
    analysis = SettlingAnalysis(
        sample_rate=capture.sample_rate,
        bursts=tuple(each.record for each in measured),
        recoveries=records,
        memory=memory_kinds([each.traits for each in measured], records),
        receptive_field_samples=None if field is None else field.samples,
        receptive_field=field,
        warnings=tuple(warnings),
    )
    curves = tuple(each.curve for each in measured)
    return Adjustment(analysis, curves, tuple(each.curve for each in recoveries))


def steady_state(tone: np.ndarray, sample_rate: int, frequency: float) -> tuple[np.ndarray, float]:
    """The periodic response read off the end of a tone, over the whole of it.

    Where whole periods fit a whole number of samples often enough, that stretch is averaged as it
    is; else harmonics are fitted, by projection or by least squares. What still decays in the last
    half of the tone, and is seen to, is foreseen: it would else be averaged into the steady state.

    Parameters
    ----------
    tone : (n,) float array
        The response to the tone, from its first sample to its last.
    frequency : float
        Of the tone, in Hz.

    Returns
    -------
    template : (n,) float array
    decaying : float
        Energy of what still decays when the tone ends, per sample.
    """
    template, window = _periodic(tone, sample_rate, frequency)
    half = len(tone) // 2
    orders = np.array([0, *TRACKED])
    seconds, amplitudes = _tracks(tone[half:], sample_rate, frequency, orders)
    _, remaining = final_values(seconds, _as_real(amplitudes))
    read = seconds > (len(tone) - half - window) / sample_rate
    if not np.any(remaining) or not np.any(read):
        return template, 0.0
    remaining = remaining[:, : len(orders)] + 1j * remaining[:, len(orders) :]
    t = np.arange(-half, len(tone) - half) / sample_rate
    waves = np.exp(2j * np.pi * frequency * np.outer(orders, t))
    decaying = np.abs(remaining[-1]) ** 2 @ np.where(orders == 0, 1.0, 0.5)
    return template - (np.mean(remaining[read], axis=0) @ waves).real, float(decaying)


def error_curve(
    tone: np.ndarray, template: np.ndarray, sample_rate: float, frequency: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E(t) of a tone against its steady state.

    Returns
    -------
    seconds : (m,) float array
        At which a period ends, from the tone's first sample.
    error_db : (m,) float array
        E over that period.
    dc_db : (m,) float array
        The part of it that is the mean over the period.
    """
    period = sample_rate / frequency
    difference = tone - template
    energy = _sliding(difference**2, period)
    mean = _sliding(difference, period)
    # of what sounds: an offset of the interface is no part of the signal
    steady = _sliding(template**2, period) - _sliding(template, period) ** 2 / period
    scale = max(float(np.mean(steady)), 1e-300)
    seconds = (len(tone) - len(energy) + 1 + np.arange(len(energy))) / sample_rate
    error_db, dc_db = (
        np.maximum(power_to_db(np.maximum(part, 0.0) / scale), LOWEST_DB)
        for part in (energy, mean**2 / period)
    )
    return seconds, error_db, dc_db


def _bursts(capture):
    found = list(capture.plan.of_kind("burst"))
    if not found:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no burst to measure settling by: capture "
            "settling, a440 or standard"
        )
    return found


def _measured(capture: AlignedCapture, placed: Placed) -> _Measured:
    burst, rate = placed.segment, capture.sample_rate
    if not isinstance(burst, Burst):
        raise ValueError(f"got a segment of kind {burst.kind!r}, not a burst")
    frequency = burst.frequency
    first, last = burst_edges(burst, rate)
    response = capture.response[placed.slice].astype(np.float64)
    end = (last - first) / rate
    # whole periods: what converters ring ahead of the end is no part of the steady state
    ahead = math.ceil(math.ceil(RINGING_SECONDS * frequency) / frequency * rate)
    tone, after = response[first : last - ahead], response[last:]
    if end < 3 * STEADY_SECONDS:
        raise CaptureError(
            f"burst {burst.name!r} lasts {end:.2f} s, expected at least "
            f"{3 * STEADY_SECONDS:g} s to tell a steady state: lengthen it"
        )
    warnings: list[str] = []
    level = burst.level_dbfs + capture.plan.gain_db
    zero_after = _zero_after(after, rate)
    tone, after, coupling_ms = _without_coupling(tone, after, rate, frequency)
    template, decaying = steady_state(tone, rate, frequency)
    seconds, error_db, dc_db = error_curve(tone, template, rate, frequency)
    left = len(tone) / rate - seconds
    floor_db = float(np.median(error_db[left < STEADY_SECONDS / 2]))
    before = (left > STEADY_SECONDS) & (left < 1.5 * STEADY_SECONDS)
    lately_db = float(np.median(error_db[before]))
    decaying_db = power_to_db(decaying / max(float(np.var(template)), 1e-300))
    at_floor = lately_db < floor_db + FLOOR_MARGIN_DB and decaying_db < floor_db - DECAYED_DB
    steady = at_floor or lately_db < STEADY_BELOW_DB
    if not steady:
        warnings.append(
            f"{burst.name}: still changing by {lately_db:.0f} dB a cycle when the tone ended after "
            f"{end:g} s, so not all of its settling times are known: lengthen the burst"
        )
    # hum makes E waver: what it reached last it may have reached before
    highest_db = float(np.max(error_db[left < STEADY_SECONDS / 2]))
    unsure_db = max(floor_db + FLOOR_MARGIN_DB, highest_db + WAVER_DB)
    lowest_db = unsure_db
    if not steady:
        lowest_db = max(lowest_db, lately_db + FORESEEN_DB if decaying else math.inf)
    settled, dc_settled = (
        {
            str(at): _last_above(seconds, curve, at, 0.5 / frequency) if at > lowest_db else None
            for at in LEVELS_DB
        }
        for curve in (error_db, dc_db)
    )
    unknown = [at for at, time in settled.items() if time is None]
    if steady and unknown:
        warnings.append(
            f"{burst.name}: no settling time to {', '.join(unknown)} dB: the noise floor is at "
            f"{floor_db:.0f} dB"
        )
    moving = np.flatnonzero(error_db > unsure_db)
    peak = float(np.max(np.abs(template - np.mean(template))))
    rested = _rest(burst.name, after, peak, rate, warnings)
    at, dc = _tracks(tone, rate, frequency, np.array([0]))
    # a mean that slopes is heard in every harmonic a little
    sloping = np.interp(np.arange(len(tone)) / rate, at, dc[:, 0].real)
    _, amplitudes = _tracks(tone - sloping, rate, frequency, np.array(TRACKED))
    fundamental = _fundamental(template, rate, frequency)
    tail_at, tail = _smoothed(after, rate)
    return _Measured(
        record=BurstSettling(
            name=burst.name,
            level_dbfs=level,
            frequency=frequency,
            settling_ms=settled,
            dc_settling_ms=dc_settled,
            rest_ms=rested.times,
            floor_db=floor_db if floor_db > LOWEST_DB else None,
            steady=steady,
            at_least_ms=None if steady else 1e3 * end,
            steady_after_samples=(round(seconds[moving[-1]] * rate) if moving.size else 0)
            if steady
            else None,
            silent_after_samples=rested.silent_after,
            zero_after_samples=zero_after,
            settling=time_constants(at, _as_real(amplitudes), level=fundamental),
            dc=time_constants(at, dc.real, level=fundamental),
            tail=time_constants(tail_at, tail, level=fundamental),
            coupling_ms=coupling_ms,
        ),
        curve=SettlingCurve(burst.name, level, seconds, error_db, floor_db, frequency),
        left=Remainder(seconds, error_db, unsure_db),
        rest=rested,
        traits=_traits(level, frequency, fundamental, tail, amplitudes, 1 / (at[1] - at[0])),
        warnings=tuple(warnings),
    )


def _periodic(tone, sample_rate, frequency):
    """The end of a tone, periodically continued over it, and how many samples were read."""
    wanted = round(STEADY_SECONDS * sample_rate)
    period = Fraction(sample_rate) / Fraction(frequency).limit_denominator(1000)
    stretch, cycles = period.numerator, period.denominator  # whole samples, whole periods
    if stretch > wanted:
        return _fitted_harmonics(tone, sample_rate, frequency, wanted), wanted
    repeats = round(wanted / stretch)
    mean = np.mean(tone[len(tone) - repeats * stretch :].reshape(repeats, stretch), axis=0)
    if repeats < FEWEST_REPEATS:
        lines = np.fft.rfft(mean)
        lines[np.arange(len(lines)) % cycles != 0] = 0.0
        mean = np.fft.irfft(lines, stretch)
    return np.resize(np.roll(mean, len(tone) % stretch), len(tone)), repeats * stretch


def _fitted_harmonics(tone, sample_rate, frequency, window):
    """Mean and harmonics that fit the end of a tone best, over the whole of it."""
    highest = min(HIGHEST_HARMONIC, int(0.499 * sample_rate / frequency))
    turns = 2 * np.pi * frequency / sample_rate * np.arange(highest + 1)

    def columns(start, stop):
        phases = np.outer(np.arange(start, stop), turns)
        return np.concatenate([np.cos(phases), np.sin(phases[:, 1:])], axis=1)

    end = columns(len(tone) - window, len(tone))
    weights = np.linalg.solve(end.T @ end, end.T @ tone[len(tone) - window :])
    starts = range(0, len(tone), window)
    return np.concatenate(
        [columns(start, min(start + window, len(tone))) @ weights for start in starts]
    )


def _tracks(tone, sample_rate, frequency, orders):
    """Amplitudes of harmonics over time, two periods or some milliseconds at a time."""
    periods = max(1, round(frequency * TRACK_SECONDS / 2))
    return demodulated(
        tone,
        sample_rate,
        orders * frequency,
        window_seconds=2 * periods / frequency,
        hop_seconds=periods / frequency,
    )


def _smoothed(signal, sample_rate):
    """The mean of a signal over time."""
    seconds, mean = demodulated(
        signal, sample_rate, [0.0], window_seconds=TRACK_SECONDS, hop_seconds=TRACK_SECONDS / 2
    )
    return seconds, mean[:, 0].real


def _as_real(amplitudes):
    return np.concatenate([amplitudes.real, amplitudes.imag], axis=1)


def _fundamental(template, sample_rate, frequency):
    turn = np.exp(-2j * np.pi * frequency / sample_rate * np.arange(len(template)))
    return max(2 * abs(np.mean(template * turn)), 1e-300)


def _last_above(seconds, error_db, level_db, half_period):
    """Middle of the last period whose E exceeds a level, in ms; 0 when none does."""
    above = np.flatnonzero(error_db > level_db)
    return 1e3 * float(seconds[above[-1]] - half_period) if above.size else 0.0


def _sliding(values, period):
    """Sums of `values` over every stretch of `period` samples, which need not be whole."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(math.ceil(period), len(total))
    return total[ends] - np.interp(ends - period, np.arange(len(total)), total)


@dataclass(frozen=True)
class _Rest:
    times: dict[str, float | None]
    hidden: tuple[int, ...]  # levels that lie in the noise
    silent_after: int | None
    remainder: Remainder
    noise: float  # RMS at the end


def _rest(name, after, peak, rate, warnings):
    """How the silence after a tone becomes one."""
    window = round(REST_WINDOW_SECONDS * rate)
    baseline = max(round(BASELINE_SECONDS * rate), window)
    unknown = {str(level): None for level in LEVELS_DB}
    if len(after) < 2 * baseline or peak == 0.0:
        return _Rest(unknown, (), None, Remainder(np.empty(0), np.empty(0)), 0.0)
    after = after - np.mean(after[-baseline:])
    level = np.sqrt(np.maximum(_sliding(after**2, window), 0.0) / window)
    middle = 0.5 * window + np.arange(len(level))
    noise = float(np.std(after[-baseline:]))

    def last_above(limit):
        """In samples; 0 where nothing is, None where it still is at the end."""
        above = np.flatnonzero(level > limit)
        if not above.size:
            return 0.0
        return None if above[-1] >= len(after) - 2 * window else float(middle[above[-1]])

    limits = {level_db: peak * float(db_to_amplitude(level_db)) for level_db in LEVELS_DB}
    hidden = tuple(at for at, limit in limits.items() if limit < NOISE_SIGMAS * noise)
    last = {at: None if at in hidden else last_above(limit) for at, limit in limits.items()}
    late = [at for at, samples in last.items() if samples is None and at not in hidden]
    for levels, why in (
        (hidden, f"the noise is at {amplitude_to_db(noise / peak):.0f} dB"),
        (late, "not at rest when the silence ended, lengthen it"),
    ):
        if levels:
            warnings.append(f"{name}: no rest time to {', '.join(map(str, levels))} dB: {why}")
    silent = last_above(max(NOISE_SIGMAS * noise, ZERO))
    floor_db = float(amplitude_to_db(NOISE_SIGMAS * noise / peak))
    left_db = amplitude_to_db(np.maximum(level / peak, db_to_amplitude(LOWEST_DB)))
    return _Rest(
        {str(at): None if n is None else 1e3 * n / rate for at, n in last.items()},
        hidden,
        None if silent is None else round(silent),
        Remainder(middle / rate, left_db, max(floor_db, LOWEST_DB)),
        noise,
    )


def _zero_after(after, rate):
    """From which sample on nothing at all comes back; None where something always does."""
    sounding = np.flatnonzero(np.abs(after) > ZERO)
    first = int(sounding[-1]) + 1 if sounding.size else 0
    return first if len(after) - first >= REST_WINDOW_SECONDS * rate else None


def _without_coupling(tone, after, rate, frequency):
    """Tone and silence without the wander of the converters' AC coupling, and its constant in ms.

    Nothing in an amp decays so slowly and reaches the output through its own coupling: an
    exponential slower than 75 ms (2 Hz) that explains nearly all there is of the slow mean after
    a tenth of a second, under the tone and after it. A sagging supply moves it under the tone
    only.
    """
    under_at, under = _tracks(tone, rate, frequency, np.array([0]))
    after_at, silence = _smoothed(after, rate)
    least = COUPLING_LEAST * float(np.std(tone))
    first = _coupling(under_at, under[:, 0].real, least)
    second = _coupling(after_at, silence, least)
    if first is None or second is None:
        return tone, after, None
    if not 1 / COUPLING_ALIKE < first[0] / second[0] < COUPLING_ALIKE:
        return tone, after, None
    cleaned = (
        signal - amount * np.exp(-np.arange(len(signal)) / (tau * rate))
        for signal, (tau, amount) in ((tone, first), (after, second))
    )
    return *cleaned, 1e3 * math.sqrt(first[0] * second[0])


def _coupling(seconds, mean, least):
    """Time constant and amount of a slow exponential, if it is nearly all there is."""
    late = seconds >= COUPLING_FROM_SECONDS
    if np.count_nonzero(late) < FEWEST_POINTS:
        return None
    t, y = seconds[late], mean[late] - np.mean(mean[late])
    decays = np.exp(-t[:, None] / COUPLING_TAUS)
    centred = decays - np.mean(decays, axis=0)
    shared, own = y @ centred, np.sum(centred**2, axis=0)
    explained = shared**2 / own
    best = int(np.argmax(explained))
    energy = float(y @ y)
    if energy - explained[best] > COUPLING_LEFT * energy or best in (0, len(decays[0]) - 1):
        return None
    before, here, after = explained[best - 1 : best + 2]  # the top of the parabola through them
    step = 0.5 * (before - after) / (before - 2 * here + after)
    tau = COUPLING_TAUS[best] * (COUPLING_TAUS[1] / COUPLING_TAUS[0]) ** step
    decay = np.exp(-t / tau)
    decay -= np.mean(decay)
    amount = float((y @ decay) / (decay @ decay))
    if tau < COUPLING_LEAST_SECONDS or abs(amount) < least:
        return None
    return float(tau), amount


def _traits(level, frequency, fundamental, tail, amplitudes, hops_a_second):
    end = max(2, round(STEADY_SECONDS * hops_a_second))
    steady = np.mean(amplitudes[-end:], axis=0)
    quiet = max(2, round(BASELINE_SECONDS / (TRACK_SECONDS / 2)))
    return BurstTraits(
        frequency=frequency,
        level_dbfs=level,
        fundamental=fundamental,
        tail=tail - np.mean(tail[-quiet:]),
        tail_sigma=float(np.std(tail[-quiet:])),
        steady=steady,
        change=amplitudes[0] - steady,
        change_sigma=float(np.max(np.std(amplitudes[-end:], axis=0))),
    )


def _tone(burst):
    return f"a tone of {burst.frequency:g} Hz at {burst.level_dbfs:g} dBFS"


def _gain_remainder(curve):
    return Remainder(curve.seconds, np.abs(curve.departure_db), NOISE_SIGMAS * curve.sigma_db)


def _burst_reaches(measured):
    """How far back each burst says that the device remembers.

    What noise hides of a soft tone is no reason for doubt where a louder one was seen to its end.
    """
    for kind in ("settling", "rest"):
        times = [_target_ms(each.record, kind) for each in measured]
        for each, milliseconds in zip(measured, times, strict=True):
            burst = each.record
            because = (
                f"{_tone(burst)} differs from its steady state by more than {TARGET_DB} dB for"
                if kind == "settling"
                else f"after {_tone(burst)} the response is above {TARGET_DB} dB of its peak for"
            )
            hidden = burst.steady if kind == "settling" else TARGET_DB in each.rest.hidden
            louder = (
                time is not None
                and other.record.frequency == burst.frequency
                and other.record.level_dbfs > burst.level_dbfs
                for other, time in zip(measured, times, strict=True)
            )
            if milliseconds is not None:
                yield Reach(because, milliseconds / 1e3)
            elif not (hidden and any(louder)):
                yield Reach(because, _at_least_ms(burst, kind) / 1e3, reached=False)


def _target_ms(burst, kind):
    times = burst.settling_ms if kind == "settling" else burst.rest_ms
    return times[str(TARGET_DB)]


def _at_least_ms(burst, kind):
    """How long it takes at least, where the time to the target is not known."""
    times = burst.settling_ms if kind == "settling" else burst.rest_ms
    known = [time for time in times.values() if time is not None]
    if kind == "settling" and burst.at_least_ms is not None:
        known.append(burst.at_least_ms)
    return max(known, default=0.0)


def _gain_reaches(recoveries):
    for each in recoveries:
        found = each.record
        because = (
            f"after a burst of {found.frequency:g} Hz at {found.level_dbfs:g} dBFS the gain is off "
            f"by more than {RECOVERED_DB:g} dB for"
        )
        if found.recovery_ms is not None:
            yield Reach(because, found.recovery_ms / 1e3)
        elif found.at_least_ms is not None:
            yield Reach(because, found.at_least_ms / 1e3, reached=False)
