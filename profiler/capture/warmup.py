"""Warm-up: is the amp what it will be in two minutes?

A tube amp that was just switched on changes for minutes: its level and its distortion creep, and a
take made meanwhile is of no one amp. So a quiet burst, a probe, is played every ten seconds; what
comes back is fitted by an exponential approach to a last value, and the amp is called stable when
the fit says that a whole take will find it the same.

Conventions
-----------
Time 0 is the first burst. A level is the peak of the burst's fundamental, THD a ratio to it. A
change to come is the one over a take of `TAKE_SECONDS` that begins at the last burst.

Method
------
What is expected comes from y(t) = a + b exp(-t / tau), with tau from 10 s to infinity (a straight
line), by least squares on a grid of tau (variable projection: a and b are linear). What is
promised does not: an amp has more than one time constant, and the quick one hides the slow one.
A straight line is laid through the newest bursts, and the change by its slope and the doubt of
that (Student's t) is the most that will come as long as the drift slows down: the slope that was
is steeper than the slope that comes. Of several stretches of newest bursts the one that promises
most counts: a short one is soon past what crept before, a long one is needed against noise. In all
fits bisquare weights leave out a burst into which somebody played (Holland and Welsch, Commun.
Stat. A6, 1977).
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from pydantic import Field
from scipy import stats

from profiler.capture.probes import ProbeReading, measure_probe
from profiler.capture.safety import announce
from profiler.capture.watchdog import Watchdog
from profiler.definitions import Record
from profiler.errors import Silent
from profiler.rig.interface import Block, Interface
from profiler.rig.rig import Rig
from profiler.stimulus.plan import PROBE_TONE_SECONDS, Probe, Segment, SignalPlan, Silence
from profiler.stimulus.synthesis import render
from profiler.units import spoken_percent, spoken_time

LOUDEST_DBFS = -20.0  # of a burst: it says whether the amp changes without heating it
FREQUENCY = 1000.0  # Hz
LISTEN_SECONDS = 1.5  # to each burst: its own half second and any latency
SHORTEST_EVERY_SECONDS = 2.0
LOUDEST_DOUBT_DB = 0.5  # sigma of a level, at most, for a burst to count as heard
FAINTEST_DBFS = -70.0
SILENT_SECONDS = 60.0  # of bursts without an answer: a cold tube needs some thirty

TAKE_SECONDS = 120.0
LEVEL_LIMIT_DB = 0.05  # half of what a check of the take warns of
THD_LIMIT = 0.015  # of the THD itself; half of what a check warns of
THD_LEAST = 2e-4  # of the fundamental: no smaller change of the THD matters
CONFIDENCE = 0.95
LEAST_BURSTS = 5
STRETCH_RATIO = 1.5  # of the lengths of the newest stretches that a line is laid through

TAUS = np.geomspace(10.0, 7200.0, 160)  # s
LEVEL_FLOOR_DB = 5e-4  # what a reading is trusted to, however quiet the take
THD_FLOOR = 1e-6
BISQUARE = 4.685  # 95 % efficient on Gaussian noise
REWEIGHTINGS = 4
NEWEST = 2  # bursts that always count: they may be the first of a step
STEP_LEAST_DB = 0.1
STEP_SIGMAS = 6.0

_PAIRS = np.array(list(itertools.combinations(range(4), 2)))  # of four neighbours


class WarmUpBurst(Record):
    """One burst that came back."""

    seconds: float
    level_dbfs: float
    level_sigma_db: float
    thd: float
    thd_sigma: float
    level_change_db: float  # since the first burst


class Change(Record):
    """How a quantity goes on, over a take that begins now."""

    expected: float
    at_most: float  # magnitude, with the confidence that is stated
    limit: float  # below which the quantity is stable
    time_constant_seconds: float | None  # of the approach; null where none is seen

    @property
    def small(self) -> bool:
        return self.at_most < self.limit

    @property
    def clear(self) -> bool:
        """Whether it is known to be too large, rather than not known to be small."""
        return abs(self.expected) >= self.limit


class WarmUp(Record):
    """What is known of an amp that warms up."""

    schema_: Literal["ampscope.warmup/1"] = Field(default="ampscope.warmup/1", alias="schema")
    take_seconds: float = TAKE_SECONDS
    confidence: float = CONFIDENCE
    bursts: tuple[WarmUpBurst, ...] = ()
    level_db: Change | None = None  # null until there are enough bursts
    thd: Change | None = None
    stepped_at_seconds: float | None = None  # a knob or the mains, at the latest
    stable_after_seconds: float | None = None
    sentence: str

    @property
    def time_constant_seconds(self) -> float | None:
        """Of the level; null where no approach is seen."""
        return self.level_db.time_constant_seconds if self.level_db else None


OnBurst = Callable[[WarmUp], None]


def warm_up(
    rig: Rig,
    interface: Interface,
    *,
    every_seconds: float = 10.0,
    limit_seconds: float = 1200.0,
    level_dbfs: float = LOUDEST_DBFS,
    on_burst: OnBurst | None = None,
) -> WarmUp:
    """Play bursts until the amp is stable, or for `limit_seconds`, and say which.

    All bursts are one stream, so an interface whose latency differs from one opening to the next
    does no harm. `on_burst` gets what is known after each.

    Raises
    ------
    Silent
        Nothing came back for a minute.
    SafetyStop
        The bursts are above the rig's ceiling, and nothing was played; or the watchdog objects to
        what comes back, and the sound was faded out.
    InterfaceError, KeyboardInterrupt
        As in `interface.Interface`; `on_burst` was told what was known by then.
    """
    plan = warm_up_plan(
        interface.sample_rate,
        every_seconds=every_seconds,
        limit_seconds=limit_seconds,
        level_dbfs=level_dbfs,
    )
    announce(rig, plan)
    listener = _Listener(plan, every_seconds, on_burst)
    watchdog = Watchdog(plan)
    stimulus = watchdog.follow(_stimulus(plan))
    with contextlib.suppress(_Stable):
        interface.play_record(stimulus, plan.frames, listener.hear, watchdog)
    return listener.known


def warm_up_plan(
    sample_rate: int,
    *,
    every_seconds: float = 10.0,
    limit_seconds: float = 1200.0,
    level_dbfs: float = LOUDEST_DBFS,
) -> SignalPlan:
    """Bursts and the pauses between them, the last one heard out before `limit_seconds`."""
    if every_seconds < SHORTEST_EVERY_SECONDS or limit_seconds < every_seconds:
        raise ValueError(
            f"got every_seconds={every_seconds:g} and limit_seconds={limit_seconds:g}, expected at "
            f"least {SHORTEST_EVERY_SECONDS:g} s and no limit below it"
        )
    if level_dbfs > LOUDEST_DBFS:
        raise ValueError(f"got level_dbfs={level_dbfs:g}, expected at most {LOUDEST_DBFS:g}")
    segments: list[Segment] = []
    for number in range(1, math.floor(limit_seconds / every_seconds) + 1):
        burst = Probe(
            name=f"burst {number}",
            kind="probe",
            use="analyse",
            level_dbfs=level_dbfs,
            frequency=FREQUENCY,
        )
        pause = Silence(
            name=f"pause {number}",
            kind="silence",
            use="analyse",
            seconds=every_seconds - burst.duration,
        )
        segments += [burst, pause]
    return SignalPlan(name="warm-up", segments=tuple(segments), sample_rate=sample_rate)


def assess(bursts: tuple[WarmUpBurst, ...], *, unheard: int = 0) -> WarmUp:
    """What the bursts so far say; `unheard` of the last ones did not come back."""
    step = _last_step(bursts)
    recent = bursts[step:]
    level = thd = stable_after = None
    if len(recent) >= LEAST_BURSTS and not unheard:
        seconds = np.array([burst.seconds for burst in recent])
        levels, level_sigmas, thds, thd_sigmas = np.array(
            [(b.level_dbfs, b.level_sigma_db, b.thd, b.thd_sigma) for b in recent]
        ).T
        thd_now = float(np.median(thds[-LEAST_BURSTS:]))
        level = change_to_come(
            seconds, levels, np.hypot(level_sigmas, LEVEL_FLOOR_DB), limit=LEVEL_LIMIT_DB
        )
        thd = change_to_come(
            seconds,
            thds,
            np.hypot(thd_sigmas, THD_FLOOR),
            limit=max(THD_LIMIT * thd_now, THD_LEAST),
        )
        if level.small and thd.small:
            stable_after = recent[-1].seconds
    known = WarmUp(
        bursts=bursts,
        level_db=level,
        thd=thd,
        stepped_at_seconds=bursts[step].seconds if step else None,
        stable_after_seconds=stable_after,
        sentence="",
    )
    return known.model_copy(update={"sentence": _sentence(known, unheard)})


def change_to_come(seconds, values, sigmas, *, limit: float) -> Change:
    """The change of a quantity over a take that begins at its last reading.

    Parameters
    ----------
    seconds, values : (n,) float array
        The readings, in order; at least `LEAST_BURSTS`.
    sigmas : (n,) float array
        What noise makes of each, at the least.
    limit : float
        Below which the quantity counts as stable.
    """
    expected, time_constant = _approach(seconds, values, sigmas)
    newest, bounds = float(LEAST_BURSTS), [_bound_of_a_line(seconds, values, sigmas)]
    while newest < len(values):
        since = -math.floor(newest)
        bounds.append(_bound_of_a_line(seconds[since:], values[since:], sigmas[since:]))
        newest *= STRETCH_RATIO
    return Change(
        expected=expected,
        at_most=min(bounds),
        limit=limit,
        time_constant_seconds=time_constant,
    )


def _approach(seconds, values, sigmas):
    """The change to come by the best exponential, and its time constant if it is curved."""
    span = seconds[-1] - seconds[0]
    # for every tau: 1 at the first reading, 0 long after; and what is still to come, re that
    left = np.exp((seconds[0] - seconds) / TAUS[:, None])
    shapes = np.vstack((left, (seconds[-1] - seconds) / span))
    to_come = np.append(left[:, -1] * np.expm1(-TAKE_SECONDS / TAUS), -TAKE_SECONDS / span)

    trust = _trust((values - _by_neighbours(seconds, values)) / sigmas)
    for _ in range(REWEIGHTINGS):
        amounts, residuals, squares, _ = _least_squares(shapes, values, trust / sigmas**2)
        best = int(np.argmin(squares))
        trust = _trust(residuals[best] / sigmas)
    curved = squares[-1] > squares[best] + _allowed(squares[best], np.sum(trust) - 3.0)
    return float(amounts[best] * to_come[best]), float(TAUS[best]) if curved else None


def _bound_of_a_line(seconds, values, sigmas):
    """The largest magnitude of the change to come by a straight line."""
    late = (seconds[-1] - seconds)[None]
    trust = _trust((values - _by_neighbours(seconds, values)) / sigmas)
    for _ in range(REWEIGHTINGS):
        slopes, residuals, squares, power = _least_squares(late, values, trust / sigmas**2)
        trust = _trust(residuals[0] / sigmas)
    doubt = math.sqrt(_allowed(squares[0], np.sum(trust) - 2.0) / power[0])
    return float(TAKE_SECONDS * (abs(slopes[0]) + doubt))


def _least_squares(shapes, values, weights):
    """A constant and an amount of each shape, `(k, n)`, fitted to `(n,)` values.

    Returns the `(k,)` amounts, the `(k, n)` residuals, their `(k,)` weighted sums of squares and
    the `(k,)` powers, which are the inverse variances of the amounts.
    """
    total = np.sum(weights)
    centred = shapes - (shapes @ weights / total)[:, None]
    deviations = values - values @ weights / total
    power = np.maximum(centred**2 @ weights, np.finfo(float).tiny)
    amounts = centred @ (weights * deviations) / power
    residuals = deviations - amounts[:, None] * centred
    return amounts, residuals, residuals**2 @ weights, power


def _allowed(squares, freedom):
    """By how much a sum of squares may exceed the least one, with `CONFIDENCE`."""
    freedom = max(freedom, 1.0)
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2.0, freedom)
    return quantile**2 * max(squares / freedom, 1.0)


def _trust(residuals):
    """Bisquare weights of residuals re their sigmas; the newest count in any case."""
    scale = max(1.4826 * float(np.median(np.abs(residuals))), 1.0)
    trust = np.square(np.clip(1.0 - np.square(residuals / (BISQUARE * scale)), 0.0, None))
    trust[-NEWEST:] = 1.0
    return trust


def _by_neighbours(seconds, values):
    """What the four nearest readings say each should be: the median line through two of them.

    It lets a fit begin without the bursts into which somebody played (after Theil and Sen).
    """
    n = len(values)
    first = np.clip(np.arange(n) - 2, 0, n - 5)[:, None] + np.arange(5)
    near = first[first != np.arange(n)[:, None]].reshape(n, 4)
    one, other = near[:, _PAIRS[:, 0]], near[:, _PAIRS[:, 1]]
    slopes = (values[other] - values[one]) / (seconds[other] - seconds[one])
    return np.median(values[one] + slopes * (seconds[:, None] - seconds[one]), axis=1)


def _scatter(values):
    """Noise of readings that change smoothly, from their second differences."""
    return float(1.4826 * np.median(np.abs(np.diff(values, 2))) / math.sqrt(6.0))


def _last_step(bursts):
    """Index of the first burst after the last step of the level; 0 when there is none.

    A step is what the slopes on neither side of it explain. Medians of three bursts stand for
    the two sides, so that a single burst into which somebody played is none.
    """
    levels = np.array([burst.level_dbfs for burst in bursts])
    if len(levels) < 6:
        return 0
    least = max(STEP_LEAST_DB, STEP_SIGMAS * _scatter(levels))
    sides = np.lib.stride_tricks.sliding_window_view(levels, 3)
    middles = np.median(sides, axis=1)
    slopes = (sides[:, 2] - sides[:, 0]) / 2.0
    steps = middles[3:] - middles[:-3]
    before, after = 3.0 * slopes[:-3], 3.0 * slopes[3:]
    excess = np.maximum(
        steps - np.maximum(np.maximum(before, after), 0.0),
        np.minimum(np.minimum(before, after), 0.0) - steps,
    )
    found = np.flatnonzero(excess > least)
    if not found.size:
        return 0
    # neighbours see the same step: the place is where it is largest
    run = found[found > found[-1] - 3]
    return int(run[np.argmax(excess[run])]) + 3


class _Stable(Exception):
    """Ends the stream: the amp is stable."""


class _Listener:
    """Hears the bursts out of the blocks as they come in, and says what is known."""

    def __init__(self, plan, every_seconds, on_burst):
        self._rate = plan.sample_rate
        self._cycle = plan.placed()[1].stop
        self._every_seconds = every_seconds
        self._on_burst = on_burst
        self._heard = np.zeros(round(LISTEN_SECONDS * self._rate), np.float32)
        self._bursts: tuple[WarmUpBurst, ...] = ()
        self._unheard = 0
        self.known = assess(())

    def hear(self, block: Block) -> None:
        returned, frame = block.samples[:, 0], block.frame
        while len(returned):
            at = frame % self._cycle
            piece = returned[: self._cycle - at]
            room = self._heard[at : at + len(piece)]
            room[:] = piece[: len(room)]
            if at < len(self._heard) <= at + len(piece):
                self._look((frame - at) / self._rate)
            returned, frame = returned[len(piece) :], frame + len(piece)

    def _look(self, seconds):
        reading = _reading(self._heard, self._rate)
        if reading is None:
            self._unheard += 1
            self._refuse_silence()
        else:
            self._unheard = 0
            self._bursts += (_burst(seconds, reading, self._bursts),)
        self.known = assess(self._bursts, unheard=self._unheard)
        if self._on_burst is not None:
            self._on_burst(self.known)
        if self.known.stable_after_seconds is not None:
            raise _Stable

    def _refuse_silence(self):
        if self._unheard * self._every_seconds >= SILENT_SECONDS:
            raise Silent(
                f"nothing came back of {self._unheard} bursts, expected a tone of "
                f"{FREQUENCY:g} Hz above {FAINTEST_DBFS:g} dBFS: see that the amp is on and not on "
                "standby, its volume up and the return connected"
            )


def _stimulus(plan) -> Iterator[np.ndarray]:
    """The plan's samples, one burst with its pause at a time: an hour needs no more memory."""
    burst, pause = plan.segments[:2]
    cycle = render(plan.model_copy(update={"segments": (burst, pause)}))
    return itertools.repeat(cycle, len(plan.segments) // 2)


def _reading(heard, sample_rate) -> ProbeReading | None:
    """The burst in what was heard, or None when nothing of it is to be heard."""
    n = round(PROBE_TONE_SECONDS * sample_rate)
    turning = np.exp(-2j * np.pi * FREQUENCY / sample_rate * np.arange(len(heard)))
    total = np.cumsum(heard * turning)
    first = int(np.argmax(np.abs(total[n:] - total[:-n]))) + 1  # where a tone's length fits best
    reading = measure_probe(heard[first : first + n], FREQUENCY, sample_rate)
    if reading.level_dbfs < FAINTEST_DBFS or reading.level_sigma_db > LOUDEST_DOUBT_DB:
        return None
    return reading


def _burst(seconds, reading, before):
    first = before[0].level_dbfs if before else reading.level_dbfs
    return WarmUpBurst(
        seconds=seconds,
        level_dbfs=reading.level_dbfs,
        level_sigma_db=reading.level_sigma_db,
        thd=reading.thd,
        thd_sigma=reading.thd_sigma,
        level_change_db=reading.level_dbfs - first,
    )


def _sentence(known, unheard):
    if unheard:
        return f"nothing came back of the last {unheard} bursts: is the amp on standby?"
    level, thd = known.level_db, known.thd
    since = ""
    if known.stepped_at_seconds is not None:
        since = (
            f"the level stepped at {spoken_time(known.stepped_at_seconds)} (a control, a switch or "
            "the mains), counted anew from there; "
        )
    if level is None or thd is None:
        return f"{since}too early to say: at least {LEAST_BURSTS} bursts are needed"
    if known.stable_after_seconds is not None:
        return (
            f"{since}stable after {spoken_time(known.stable_after_seconds)}: over a take of "
            f"{spoken_time(TAKE_SECONDS)} the level will change by less than {level.limit:g} dB "
            f"and the distortion (THD {spoken_percent(known.bursts[-1].thd)}) by less than "
            f"{100 * thd.limit:.2g} %"
        )
    doubts = [
        _creeping(*named)
        for named in (("level", level, 1.0, "dB"), ("distortion (THD)", thd, 100.0, "%"))
        if not named[1].small
    ]
    return f"{since}not stable yet: {'; '.join(doubts)}{_outlook(known)}"


def _creeping(name, change, scale, unit):
    limit = f"(stable: {scale * change.limit:.2g} {unit})"
    if not change.clear:
        return (
            f"the {name} may still change by {scale * change.at_most:.2g} {unit} over a take of "
            f"{spoken_time(TAKE_SECONDS)} {limit}, more bursts will tell"
        )
    verb = "rise" if change.expected > 0.0 else "fall"
    return (
        f"the {name} will {verb} by {scale * abs(change.expected):.2g} {unit} over the next "
        f"{spoken_time(TAKE_SECONDS)} {limit}"
    )


def _outlook(known):
    """When it will be stable, if it goes on like this."""
    unsteady = [c for c in (known.level_db, known.thd) if c.clear]
    if not unsteady:
        return ""
    if any(change.time_constant_seconds is None for change in unsteady):
        return "; it does not slow down yet"
    wait = max(c.time_constant_seconds * math.log(abs(c.expected) / c.limit) for c in unsteady)
    return f"; stable in about {spoken_time(30 * math.ceil(wait / 30))}, if it goes on like this"
