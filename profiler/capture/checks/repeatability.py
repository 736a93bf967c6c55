"""Repeatability: was the device at the end of a take what it was at its beginning?

The probes are equal tones, and a passage that is played twice is twice the same. What they say of
the device's gain and distortion over time is met by one of two stories: a step (somebody moved a
knob, or the mains moved, and with it the hum), or a slow approach (it warms up).

Conventions
-----------
Times are those of the stimulus. A change is the last reading re the first, in dB.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from profiler.capture.alignment import AlignedCapture
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.hum import mains_lines
from profiler.capture.probes import PlacedReading, read_probes
from profiler.capture.silences import silences
from profiler.units import amplitude_to_db, db_to_amplitude

LEVEL_LIMIT_DB = 0.1
THD_LIMIT = 0.03  # relative
LEAST_THD = 1e-3  # below it, a device is clean and its change of no account
SIGMAS = 5.0  # by which a change must be more than noise
OWN_SIGMA_DB = 0.002  # to which a clean device repeats itself, noise apart
UNSTEADY_DB = 0.05  # scatter of the gain within a passage: it changes there
UNEXPLAINED = 0.3  # of a change, by which the better story may miss a reading

STEP_AT = (0.1, 0.5, 0.9)  # of the time between two readings
SPOILT_PENALTY = 50.0  # of misfit, for leaving out a reading
TIME_CONSTANTS = (0.1, 0.25, 0.5, 1.0, 4.0)  # of a slow approach, re the take
GAIN_SECONDS = 0.25  # blocks of a passage played twice

HUM_STEP_DB = 6.0  # by which hum rises beyond the level
HUM_OVER_FLOOR_DB = 13.0
RINGING_SECONDS = 0.1  # at the beginning of a silence, not listened to
SILENCE_SECONDS = 0.4  # in which lines of hum are told


def findings(evidence: Evidence) -> Iterator[Finding]:
    """Whether the device stayed as it was."""
    if evidence.aligned is not None and not evidence.has_time_effect:
        yield from changed(evidence.aligned)


def changed(capture: AlignedCapture) -> Iterator[Finding]:
    """One step, or one slow approach, of level or else of distortion."""
    probes = read_probes(capture.plan, capture.response)
    if len(probes) < 2:
        return
    gains = _repeated_gains(capture)
    if not all(np.isfinite(probe.reading.level_dbfs) for probe in probes):
        return
    seconds = np.array([probe.at_seconds for probe in probes])
    levels = np.array([probe.reading.level_dbfs for probe in probes])
    sigmas = np.array([probe.reading.level_sigma_db for probe in probes])
    change = _change(_Readings(seconds, levels, sigmas, gains), LEVEL_LIMIT_DB, capture)
    if change is not None:
        yield _level_finding(change, probes, capture)
        return
    thd = np.array([probe.reading.thd for probe in probes])
    if np.min(thd) < LEAST_THD:
        return
    relative = np.array([probe.reading.thd_sigma for probe in probes]) / thd
    thd_db = np.asarray(amplitude_to_db(thd))
    readings = _Readings(seconds, thd_db, float(amplitude_to_db(np.e)) * relative, ())
    change = _change(readings, float(amplitude_to_db(1.0 + THD_LIMIT)), capture)
    if change is not None:
        yield _thd_finding(change, probes)


@dataclass(frozen=True)
class _RepeatedGain:
    """The gain of a second pass re the first."""

    first_seconds: float
    second_seconds: float
    gain_db: float
    sigma_db: float


@dataclass(frozen=True)
class _Readings:
    """What is known of one quantity over time, in dB."""

    seconds: np.ndarray
    values: np.ndarray
    sigmas: np.ndarray
    gains: tuple[_RepeatedGain, ...]


@dataclass(frozen=True)
class _Change:
    """The story that meets the readings best."""

    change_db: float
    step_after: int | None  # reading after which it steps; None for a slow approach


def _change(readings, limit_db, capture):
    """The change of a quantity, if it is one and one of the two stories tells it."""
    spread = np.ptp(readings.values)
    if spread <= max(limit_db, SIGMAS * float(np.hypot(*np.sort(readings.sigmas)[-2:]))):
        return None
    last = len(readings.seconds) - 1
    step, step_misfit = _best_step(readings)
    approaches = [_approaching(part * capture.plan.seconds) for part in TIME_CONSTANTS]
    approach, approach_misfit = _best(readings, approaches)
    is_step = step_misfit <= approach_misfit
    told = step if is_step else approach
    if np.max(np.abs(readings.values - told[0])) > UNEXPLAINED * spread:
        return None
    change_db = float(told[0][last] - told[0][0])
    if abs(change_db) < (1.0 - UNEXPLAINED) * spread:  # it wanders, and comes back
        return None
    return _Change(change_db, told[1] if is_step else None)


def _best_step(readings):
    """The step that meets the readings best: values, the reading after which it is; misfit.

    Between two readings it may be anywhere, before a passage that is played twice or after it.
    One that falls on a reading spoils that one, which is then left out, if that makes a plain
    difference.
    """
    before, after = readings.seconds[:-1], readings.seconds[1:]
    places = [b + part * (a - b) for b, a in zip(before, after, strict=True) for part in STEP_AT]
    (values, index), least = _best(readings, [_stepping(place) for place in places])
    best = values, index // len(STEP_AT)
    for spoilt in range(1, len(readings.seconds) - 1):
        kept = np.arange(len(readings.seconds)) != spoilt
        others = replace(
            readings,
            seconds=readings.seconds[kept],
            values=readings.values[kept],
            sigmas=readings.sigmas[kept],
        )
        (values, _), misfit = _best(others, [_stepping(readings.seconds[spoilt])])
        if misfit + SPOILT_PENALTY < least:
            best, least = (np.insert(values, spoilt, readings.values[spoilt]), spoilt), misfit
            least += SPOILT_PENALTY
    return best, least


def _best(readings, courses: list[Callable]):
    """Of several courses over time the one that meets the readings best: values, index; misfit."""
    best, least = (readings.values, 0), np.inf
    sigmas = np.hypot(readings.sigmas, OWN_SIGMA_DB)
    gain_sigmas = np.array([np.hypot(gain.sigma_db, OWN_SIGMA_DB) for gain in readings.gains])
    known = np.concatenate([readings.values, [gain.gain_db for gain in readings.gains]])
    weights = 1.0 / np.concatenate([sigmas, gain_sigmas])
    for index, course in enumerate(courses):
        at = course(readings.seconds)
        rises = [course(g.second_seconds) - course(g.first_seconds) for g in readings.gains]
        unknowns = np.stack(
            [
                np.concatenate([np.ones(len(at)), np.zeros(len(rises))]),
                np.concatenate([at, rises]),
            ],
            axis=1,
        )
        solved = np.linalg.lstsq(unknowns * weights[:, None], known * weights, rcond=None)[0]
        misfit = float(np.sum(((known - unknowns @ solved) * weights) ** 2))
        if misfit < least:
            best, least = (unknowns[: len(at)] @ solved, index), misfit
    return best, least


def _stepping(at_seconds):
    return lambda seconds: np.asarray(seconds > at_seconds, dtype=float)


def _approaching(time_constant):
    return lambda seconds: 1.0 - np.exp(-np.asarray(seconds) / time_constant)


def _repeated_gains(capture):
    """The gains of all passages but the probes that are played twice.

    One within which the gain changes says nothing of the time between the two.
    """
    rate = capture.sample_rate
    block = round(GAIN_SECONDS * rate)
    placed = {p.segment.name: p for p in capture.plan.placed()}
    gains = []
    for again in placed.values():
        if again.segment.replicate_of is None or again.segment.kind == "probe":
            continue
        original = placed[again.segment.replicate_of]
        first, second = (_blocks(capture.response[p.slice], block) for p in (original, again))
        energy = np.sum(first**2, axis=1)
        loud = energy >= np.median(energy)
        if np.count_nonzero(loud) < 2 or not np.all(energy[loud] > 0.0):
            continue
        first, second, energy = first[loud], second[loud], energy[loud]
        gain = np.sum(first * second, axis=1) / energy
        rest = np.sum((second - gain[:, None] * first) ** 2, axis=1)
        in_db = np.asarray(amplitude_to_db(gain))
        # what differs by chance between two passes also moves their ratio
        sigma = float(amplitude_to_db(np.e)) * np.sqrt(rest / block / energy)
        scatter = float(np.std(in_db))
        if scatter > UNSTEADY_DB + SIGMAS * float(np.median(sigma)):
            continue
        gains.append(
            _RepeatedGain(
                first_seconds=0.5 * (original.start + original.stop) / rate,
                second_seconds=0.5 * (again.start + again.stop) / rate,
                gain_db=float(np.median(in_db)),
                sigma_db=max(scatter, float(np.median(sigma))) / np.sqrt(len(gain)),
            )
        )
    return tuple(gains)


def _blocks(samples, block):
    whole = samples[: len(samples) - len(samples) % block].astype(np.float64)
    return whole.reshape(-1, block)


def _level_finding(change, probes: tuple[PlacedReading, ...], capture):
    measured = abs(change.change_db)
    if change.step_after is None:
        first, last = probes[0], probes[-1]
        return Finding(
            name="warm-up",
            severity="warn",
            measured=measured,
            limit=LEVEL_LIMIT_DB,
            unit="dB",
            cause=(
                f"the level creeps by {change.change_db:+.2f} dB from {first.at_seconds:.0f} s to "
                f"{last.at_seconds:.0f} s: the amp was not warm yet"
            ),
            action="leave it on until ampscope warmup says that it is stable, then take it again",
        )
    before, after = probes[change.step_after], probes[change.step_after + 1]
    between = f"between {before.at_seconds:.1f} and {after.at_seconds:.1f} s"
    middle = 0.5 * (before.at_seconds + after.at_seconds)
    rise = _hum_rise(capture, before.at_seconds, after.at_seconds)
    if rise is not None and rise[1] > HUM_STEP_DB + measured:
        return Finding(
            name="mains-step",
            severity="warn",
            measured=measured,
            limit=LEVEL_LIMIT_DB,
            unit="dB",
            at_seconds=middle,
            cause=(
                f"{between} the level steps by {change.change_db:+.2f} dB and the hum at "
                f"{rise[0]} Hz by {rise[1]:+.0f} dB: the mains moved"
            ),
            action=(
                "keep heaters, lights and other large loads off the amp's outlet while it plays "
                "(a variac or regulator helps), and take it again"
            ),
        )
    return Finding(
        name="knob-moved",
        severity="warn",
        measured=measured,
        limit=LEVEL_LIMIT_DB,
        unit="dB",
        at_seconds=middle,
        cause=(
            f"{between} the level steps by {change.change_db:+.2f} dB and stays there: a knob, a "
            "channel or a cable was moved"
        ),
        action="touch nothing while it plays, and take it again",
    )


def _thd_finding(change, probes):
    percent = 100.0 * (float(db_to_amplitude(change.change_db)) - 1.0)
    if change.step_after is None:
        return Finding(
            name="warm-up",
            severity="warn",
            measured=abs(percent),
            limit=100.0 * THD_LIMIT,
            unit="%",
            cause=f"the distortion creeps by {percent:+.0f} % over the take: the amp was not warm",
            action="leave it on until ampscope warmup says that it is stable, then take it again",
        )
    before, after = probes[change.step_after], probes[change.step_after + 1]
    return Finding(
        name="knob-moved",
        severity="warn",
        measured=abs(percent),
        limit=100.0 * THD_LIMIT,
        unit="%",
        at_seconds=0.5 * (before.at_seconds + after.at_seconds),
        cause=(
            f"between {before.at_seconds:.1f} and {after.at_seconds:.1f} s the distortion steps by "
            f"{percent:+.0f} % and stays there: a knob was moved"
        ),
        action="touch nothing while it plays, and take it again",
    )


def _hum_rise(capture, before_seconds, after_seconds):
    """Frequency and rise in dB of the line of hum that rises most; None where none is heard."""
    rate = capture.sample_rate
    skip = round(RINGING_SECONDS * rate)
    covered = len(capture.response) - int(np.ceil(max(capture.alignment.delay_samples, 0.0)))
    parts = silences(capture.stimulus, rate, shortest_seconds=SILENCE_SECONDS + RINGING_SECONDS)
    heard = [slice(part.start + skip, min(part.stop, covered)) for part in parts if part.start]
    before = [part for part in heard if part.stop <= before_seconds * rate]
    after = [part for part in heard if part.start >= after_seconds * rate]
    if not before or not after:
        return None
    lines, earlier = (mains_lines(capture.response[part], rate) for part in (after[-1], before[-1]))
    rises = [
        (now.frequency, float(amplitude_to_db(np.sqrt(now.power / max(was.power, was.floor)))))
        for now, was in zip(lines, earlier, strict=False)
        if now.over_db > HUM_OVER_FLOOR_DB and max(was.power, was.floor) > 0.0
    ]
    return max(rises, key=lambda rise: rise[1], default=None)
