"""What kind of memory a device has: linear tails, a blocked grid, a shifted bias, a sagging supply.

Two devices that settle equally slowly may need different models. What is linear scales with the
level and leaves the gain alone; a filter can do it. What changes the gain is memory that a network
must have. Of that

* a **blocked grid** has taken in charge within a few periods, however short the sound, and lets go
  of it slowly: the gain comes back after tau ln(level / threshold), later by as much for every
  doubling of the level;
* a **shifted bias** (a cathode's capacitor) builds up as slowly as it goes, and moves the
  waveform to one side: the second harmonic changes by more than the gain does;
* a **sagging supply** builds up under sustained power and treats both half-waves alike.

Each verdict is given with the numbers that it rests on; where they do not agree it is "undecided".

Conventions
-----------
`build_up` is the departure of the probe's gain after a short burst over that after a long one of
the same level. If charge and discharge have one time constant, it is 1 - exp(-t / tau).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from profiler.analysis.gain_recovery import NOISE_SIGMAS, RECOVERED_DB, GainRecovery
from profiler.definitions import Record
from profiler.units import amplitude_to_db

Kind = Literal["none", "linear", "blocking", "bias shift", "sag", "undecided"]

TAILS_EQUAL = 0.1  # difference of two tails re the larger, at most, to be one tail at two levels
LEAST_TAIL = 1e-3  # of the fundamental
CHANGE_OF_NOTE = 0.01  # of the fundamental while the tone lasts, at least, to be judged by
ONE_SIDED = 0.5  # change of the second harmonic re that of the fundamental: sag has less
HEARD_SIGMAS = 5.0  # of the probe's level, for the largest of a thousand moments
BUILD_UP_TOLD = 0.3  # between 1 and what one time constant would give, at least, to tell
FEWEST_LEVELS = 3
STRAIGHT = 0.95  # correlation of recovery times with the logarithm of the level


@dataclass(frozen=True)
class BurstTraits:
    """What a burst shows of the kind of memory."""

    frequency: float
    level_dbfs: float
    fundamental: float  # peak in the steady state
    tail: np.ndarray  # (n,) the response after the burst, smoothed, its end at zero
    tail_sigma: float  # of it, by noise
    steady: np.ndarray  # (k,) complex: fundamental and harmonics in the steady state
    change: np.ndarray  # (k,) complex: what they were more, shortly after the tone began
    change_sigma: float


class MemoryKinds(Record):
    """What kind of memory was seen, and by what it is told."""

    kind: Kind
    because: str  # in a sentence
    tails_scale: bool | None  # the tails of two levels are one; null where noise hides them
    tails_differ: float | None  # largest difference re the larger tail
    gain_changes: bool | None  # the gain departs after a burst; null without a probe to be heard
    departure_db: float | None  # the largest
    growth_ms: float | None  # recovery times against ln(level): blocking has its tau
    threshold_dbfs: float | None  # where that line begins
    build_up: float | None
    build_up_one_constant: float | None  # that a supply would have with the tau of the recovery
    changes: bool | None  # whether harmonics change while a tone lasts; null without a burst
    second_harmonic: float | None  # its change that gain does not explain, re the fundamental's


def memory_kinds(traits: Sequence[BurstTraits], recoveries: Sequence[GainRecovery]) -> MemoryKinds:
    """Tell the kinds of memory apart by bursts and recoveries at several levels."""
    differ = _largest_difference(traits)
    growth, threshold = _growth(recoveries)
    build_up, one_constant = _build_up(recoveries)
    seen = [each for each in recoveries if each.recovery_ms is not None or each.at_least_ms]
    heard = [
        abs(each.departure_db) > max(RECOVERED_DB, HEARD_SIGMAS * each.sigma_db) for each in seen
    ]
    facts = {
        "tails_scale": None if differ is None else differ < TAILS_EQUAL,
        "tails_differ": differ,
        "gain_changes": any(heard) if seen else None,
        "departure_db": max((each.departure_db for each in seen), key=abs, default=None),
        "growth_ms": growth,
        "threshold_dbfs": threshold,
        "build_up": build_up,
        "build_up_one_constant": one_constant,
        "changes": _changes(traits),
        "second_harmonic": _second_harmonic(traits),
    }
    asked = (
        "noise hides the probe after a burst: raise probe_dbfs in the signal"
        if recoveries
        else "no probe was played after a burst: capture the signal settling, which has one"
    )
    kind, because = _verdict(facts, any(_has_tail(each) for each in traits), asked)
    return MemoryKinds(kind=kind, because=because, **facts)


def _verdict(facts, tails, asked):
    """The kind, and why in a sentence."""
    scale = facts["tails_scale"]
    if facts["gain_changes"] is None:
        return _without_probe(facts, tails, asked)
    departure = facts["departure_db"]
    if not facts["gain_changes"]:
        quiet = f"after a burst the gain is the same within {RECOVERED_DB:g} dB"
        if not tails:
            return "none", f"{quiet}, and nothing rings on"
        if scale is False:
            return "linear", (
                f"{quiet}; that the tails do not scale with the level is static distortion before "
                "a filter"
            )
        return "linear", f"{quiet}, and what rings on scales with the level: a filter can do it"
    change = f"after a burst the gain is {departure:+.1f} dB off"
    speed, how = _speed(facts)
    if speed == "fast":
        growth = facts["growth_ms"]
        grows = "" if growth is None else f", and it takes {growth:.0f} ms longer for each 8.7 dB"
        return "blocking", f"{change}, {how}{grows}"
    if speed == "slow":
        one_sided = facts["second_harmonic"] is not None and facts["second_harmonic"] > ONE_SIDED
        if one_sided:
            return "bias shift", f"{change}, {how}, and the waveform moves to one side"
        return "sag", f"{change}, {how}, and both half-waves change alike"
    return "undecided", f"{change}; {how}"


def _without_probe(facts, tails, asked):
    if facts["changes"] is False and facts["tails_scale"] is not False:
        if not tails:
            return "none", f"nothing changes while a tone lasts, and nothing rings on; {asked}"
        if facts["tails_scale"]:
            return "linear", (
                "nothing but the mean changes while a tone lasts, and what rings on scales with "
                f"the level; {asked}"
            )
    return "undecided", asked


def _speed(facts):
    """Whether it takes hold at once or as slowly as it lets go, and in words by what."""
    found, one = facts["build_up"], facts["build_up_one_constant"]
    if found is None:
        return None, "no short and long burst of one level were played to compare it with"
    share = (
        f"after a short burst it is {100 * min(found, 9.99):.0f} % of what it is after a long one"
    )
    if one is None:
        return None, f"{share}, and by which time constant it comes back is not known"
    expected = f"{100 * one:.0f} % if it took hold as slowly as it lets go"
    if 1.0 - one < BUILD_UP_TOLD:
        return None, f"{share}, and would be {expected}: too near to tell"
    fast = found > 0.5 * (1.0 + one)
    return ("fast" if fast else "slow"), f"{share} ({expected})"


def _has_tail(traits):
    return float(np.max(np.abs(traits.tail), initial=0.0)) > max(
        NOISE_SIGMAS * NOISE_SIGMAS * traits.tail_sigma, LEAST_TAIL * traits.fundamental
    )


def _changes(traits):
    """Whether harmonics change while a tone lasts, after its first periods."""
    if not traits:
        return None
    return any(
        _size(each.change) > max(CHANGE_OF_NOTE * each.fundamental, 5 * each.change_sigma)
        for each in traits
    )


def _size(values):
    return float(np.sqrt(np.sum(np.abs(values) ** 2)))


def _largest_difference(traits):
    """Difference of two tails of one frequency, re the response's level, re the larger tail."""
    worst = None
    for first, second in itertools.combinations(traits, 2):
        if first.frequency != second.frequency or first.level_dbfs == second.level_dbfs:
            continue
        if not (_has_tail(first) and _has_tail(second)):
            continue
        n = min(len(first.tail), len(second.tail))
        one, other = (each.tail[:n] / each.fundamental for each in (first, second))
        noise = sum((each.tail_sigma / each.fundamental) ** 2 for each in (first, second))
        larger = max(float(np.mean(one**2)), float(np.mean(other**2)))
        apart = math.sqrt(max(float(np.mean((one - other) ** 2)) - noise, 0.0) / larger)
        worst = apart if worst is None else max(worst, apart)
    return worst


def _growth(recoveries):
    """Slope of recovery times against ln(level), ms, and the level at which the line begins."""
    longest = max((each.tone_ms for each in recoveries), default=0.0)
    points = [
        (each.level_dbfs / float(amplitude_to_db(math.e)), each.recovery_ms)
        for each in recoveries
        if each.recovery_ms and each.tone_ms == longest
    ]
    if len({level for level, _ in points}) < FEWEST_LEVELS:
        return None, None
    level, time = np.array(points).T
    if np.ptp(time) == 0.0 or np.corrcoef(level, time)[0, 1] < STRAIGHT:
        return None, None
    slope, start = np.polyfit(level, time, 1)
    return float(slope), float(-start / slope * amplitude_to_db(math.e))


def _build_up(recoveries):
    """Departure after a short burst re that after a long one, and what one constant would give."""
    best = None
    for short, long in itertools.permutations(recoveries, 2):
        alike = (short.level_dbfs, short.frequency) == (long.level_dbfs, long.frequency)
        if not alike or short.tone_ms >= long.tone_ms:
            continue
        least = max(2 * RECOVERED_DB, 2 * HEARD_SIGMAS * long.sigma_db)
        if abs(long.departure_db) > least and (
            best is None or long.level_dbfs > best[1].level_dbfs
        ):
            best = short, long
    if best is None:
        return None, None
    short, long = best
    slowest = long.recovering.longest
    one = None if slowest is None else 1.0 - math.exp(-short.tone_ms / slowest.tau_ms)
    return short.departure_db / long.departure_db, one


def _second_harmonic(traits):
    """Change of the second harmonic that gain does not explain, re all of the change."""
    worst = None
    for each in traits:
        size = _size(each.change)
        if size < max(CHANGE_OF_NOTE * each.fundamental, 5 * each.change_sigma):
            continue
        expected = each.steady[1] * each.change[0] / each.steady[0]
        found = float(abs(each.change[1] - expected)) / size
        if worst is None or size / each.fundamental > worst[0]:
            worst = size / each.fundamental, found
    return None if worst is None else worst[1]
