"""Lost and repeated samples: does one delay hold from the head of a take to its tail?

Drivers lose or repeat buffers without saying so; the signal decides. The delay is measured
at *anchors*, the markers of the plan (or, in a take without, every second of programme that
sounds), and they must agree. Where they do not, the place of the break is where the response
stops following the stimulus at the one delay and starts following it at the other.

Conventions
-----------
A loss makes the delay fall, a repetition makes it rise, by as many samples.
"""

import functools
import itertools
import operator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from profiler.capture import delay as delays
from profiler.capture import diagnosis, tracking
from profiler.capture.delay import Stretch, Transfer
from profiler.errors import NotAligned
from profiler.stimulus.marker import half_frames
from profiler.stimulus.plan import MARKER_CODE_SECONDS, Placed, SignalPlan

EARLIEST_SECONDS = -0.1  # of a response re its stimulus
LATEST_SECONDS = 1.0
BROKEN_SECONDS = 0.1  # a half of a broken marker is this near to where its neighbours are
NEAR_SECONDS = 0.25  # a displaced piece of a marker is looked for this near
LEAST_CONFIDENCE_DB = 9.0  # a marker; noise reaches 3
LEAST_STRETCH_CONFIDENCE_DB = 6.0
STRETCH_SECONDS = 1
QUIETEST_STRETCH_DB = -40.0  # re the loudest: below it a stretch is not asked

OFF_WHOLE = 0.1  # samples that a marker is off the whole of its neighbours, at the most
LEAST_PROGRAMME_BREAK = 24.0  # samples: a second of guitar is less exact than a marker
SAME_DELAY = 24  # samples: nearer, two correlation peaks belong to one delay
MOST_APART = 0.3  # samples between a marker's halves, beyond the other markers'
MOST_BENT_APART = 8.0  # where there are too few others; distortion makes 0.5
LEAST_MARKERS = 3
NEIGHBOURS = 2  # gaps on either side, by which a broken one is predicted
FASTEST_DRIFT_PPM = 250.0  # two clocks are never further apart

PROGRAMME = ("marker", "guitar", "noise", "multisine", "file")
LEAST_GAIN_DB = 0.8  # of a block at another delay; a whole take's reach 0.3
LEAST_BLOCKS = 2  # that want it, one after the other
SAME_CHANGE = 2  # samples between what they want

BLOCK_SECONDS = 0.0025  # of the search for the place of a break
LINEAR_WITHIN = 0.1  # of a block's energy: what H leaves below that is no evidence
LEAST_EVIDENCE = 1000.0  # log-likelihood of a break where no marker proves it
UNKNOWN_BELOW = 1e-4  # of the energy that sounded within half a second
BASS_HZ = 120.0
LIKELY_GAIN = (0.2, 10.0)  # of soft and loud passages, re H
TELLING = (0.1, 0.4)  # unlikeness of two predictions: less tells nothing, more all
TELLING_APART = (0.3, 0.6)  # and of their errors
INDIFFERENT = 40.0  # log-likelihood that noise alone may gather
LEAST_COPY = 0.7  # of a copy of a piece, re the piece
COPY_SECONDS = 0.001  # a copy of the head's beginning is at least this early
MUTE_SECONDS = 0.05  # of a marker's edge that is cut off
MUTE_BELOW = 0.25  # of the energy that is due
EDGE_SECONDS = (0.004, 0.01, 0.025, 0.05, 0.1)  # of a marker that are looked at on their own


@dataclass(frozen=True)
class Anchor:
    """A stretch at which the delay is measured."""

    stretch: Stretch
    confidence_db: float
    placed: Placed | None = None  # the marker, where it is one

    @property
    def is_marker(self) -> bool:
        return self.placed is not None


def anchors(plan: SignalPlan, stimulus, response) -> list[Anchor]:
    """Where the delay of a take can be measured, each at its own whole delay.

    Raises
    ------
    NotAligned, Silent
        The take does not follow the stimulus; the message names the likely cause.
    """
    markers = list(plan.of_kind("marker"))
    if len(markers) < 2:
        return _programme_anchors(plan, stimulus, response)
    rate = plan.sample_rate
    span = round(EARLIEST_SECONDS * rate), round(LATEST_SECONDS * rate)
    matches = [delays.matched(stimulus, response, placed, rate, *span) for placed in markers]
    heard = [lag for lag, confidence in matches if confidence >= LEAST_CONFIDENCE_DB]
    if len(heard) < min(2, len(markers) - 1):  # one of many may be chance
        raise diagnosis.unmatched(plan, stimulus, response)
    usual, reach = int(np.median(heard)), round(BROKEN_SECONDS * rate)
    clear = [
        n
        for n, (lag, confidence) in enumerate(matches)
        if confidence >= LEAST_CONFIDENCE_DB and abs(lag - usual) < reach
    ]
    found: list[Anchor] = []
    for n, (placed, match) in enumerate(zip(markers, matches, strict=True)):
        lag, confidence = match
        halves: tuple[int, ...] = (0, 1)
        if n not in clear:
            around = [matches[k][0] for k in _neighbours(n, clear)]
            near = _matched_near(stimulus, response, placed, rate, around)
            if near[1] >= LEAST_CONFIDENCE_DB:
                lag, confidence, halves = near
        if confidence < LEAST_CONFIDENCE_DB:
            raise diagnosis.missing_marker(plan, stimulus, response, placed, usual)
        if found and abs(lag - found[-1].stretch.lag) <= SAME_DELAY:
            lag = found[-1].stretch.lag
        stretch = delays.marker_stretch(stimulus, response, placed, rate, lag, halves)
        found.append(Anchor(stretch, confidence, placed))
    return found


def clearest_lag(plan: SignalPlan, stimulus, response) -> int | None:
    """The whole delay of the marker that is heard best; None where none is heard."""
    rate = plan.sample_rate
    span = round(EARLIEST_SECONDS * rate), round(LATEST_SECONDS * rate)
    matches = [
        delays.matched(stimulus, response, placed, rate, *span) for placed in plan.of_kind("marker")
    ]
    lag, confidence = max(matches, key=operator.itemgetter(1), default=(0, 0.0))
    return lag if confidence >= LEAST_CONFIDENCE_DB else None


def _neighbours(n, clear):
    """The nearest of the sorted indices `clear` on either side of n."""
    before, after = [k for k in clear if k < n], [k for k in clear if k > n]
    return before[-1:] + after[:1]


def _matched_near(stimulus, response, placed, rate, around):
    """Lag and confidence of a marker, or of its better half where a break has split it."""
    reach = round(BROKEN_SECONDS * rate)
    found = []
    for lag in around:
        for halves in ((0, 1), (0,), (1,)):
            span = lag - reach, lag + reach
            at, confidence = delays.matched(stimulus, response, placed, rate, *span, halves)
            found.append((confidence, at, halves))
    confidence, at, halves = max(found, default=(0.0, 0, (0, 1)))
    return at, confidence, halves


def programme_span(plan: SignalPlan) -> slice:
    """From the first to the last segment of the plan that sounds."""
    sounding = [placed for placed in plan.placed() if placed.segment.kind != "silence"]
    return slice(sounding[0].start, sounding[-1].stop) if sounding else slice(0, 0)


@dataclass(frozen=True)
class Slip:
    """Samples that were lost or repeated at one place."""

    at_seconds: float  # of the stimulus
    samples: int  # below 0: lost
    at_least: bool = False  # nothing is left of what followed it

    @property
    def fault(self) -> Literal["lost-block", "repeated-block"]:
        return "lost-block" if self.samples < 0 else "repeated-block"


def refuse_slips(
    plan, stimulus, response, found: list[Anchor], absolute, transfer: Transfer, *, linear=False
):
    """Raise `NotAligned` where samples were lost or repeated between two anchors.

    Parameters
    ----------
    found : list of Anchor
        In order of time.
    absolute : (m,) float array
        Their delays in samples, up to a constant.
    transfer : Transfer
        H of the device.
    linear : bool
        The response is of a cable.

    Raises
    ------
    NotAligned
        With the place, in seconds of the stimulus, and the number of samples: of the first slip,
        the further ones being its `others`.
    """
    rate = plan.sample_rate
    if not found[0].is_marker:
        _refuse_programme_slip(plan, stimulus, response, found, absolute, transfer)
        return
    found_slips = _between_markers(stimulus, response, found, absolute, rate, linear)
    if found_slips:
        raise _refusal(found_slips)
    # what distortion shifts between code and inverted code, it shifts in every marker
    apart = np.array([_halves_apart(stimulus, response, a, transfer, rate) for a in found])
    few = len(found) < LEAST_MARKERS
    beyond, most = (apart, MOST_BENT_APART) if few else (apart - np.median(apart), MOST_APART)
    for anchor, samples in zip(found, beyond, strict=True):
        if abs(samples) > most:
            whole = round(float(np.copysign(max(abs(samples), 1.0), samples)))
            raise _refusal([Slip(_broken_part(anchor) / rate, whole)])
    _refuse_slipped_edges(stimulus, response, found, absolute, transfer, rate)


def hidden_slips(plan: SignalPlan, stimulus, response, lag: int, *, linear=False) -> list[Slip]:
    """Slips that undo each other between two markers, which leave every marker in its place.

    Every gap between markers is predicted from all others, and a run of blocks that follow
    another delay better lies between two slips.

    Parameters
    ----------
    lag : int
        The whole delay of the response.
    """
    rate = plan.sample_rate
    gaps = _gaps(plan)
    spans = [
        tracking.span_of(stimulus, response, gap.start, gap.stop, (lag,), rate, linear=linear)
        for gap in gaps
    ]
    told = [tracking.filters_of(span) for span in spans]
    of_markers = [
        tracking.filters_of(span, gap.in_markers(span))
        for gap, span in zip(gaps, spans, strict=True)
    ]
    slips: list[Slip] = []
    asked = set(range(len(gaps)))
    while asked:
        # the worst gap first: its repeats elsewhere are judged without what it tells
        everything = functools.reduce(operator.add, told)
        found = {
            n: _excursions(plan, spans[n], everything - told[n] + of_markers[n]) for n in asked
        }
        worst = max(found, key=lambda n: sum(run.gain_db for run in found[n]))
        if not found[worst]:
            break
        for run in found[worst]:
            # at its outer edges a take has no other side to come from
            if worst > 0 or run.first > 0:
                at = float(spans[worst].centres[run.first])
                slips.append(Slip(at / rate, -run.samples))
            if worst < len(gaps) - 1 or run.last < len(spans[worst].starts) - 1:
                at = float(spans[worst].centres[run.last])
                slips.append(Slip(at / rate, run.samples))
        told[worst] = of_markers[worst]
        asked.remove(worst)
    return sorted(slips, key=operator.attrgetter("at_seconds"))


@dataclass(frozen=True)
class Excursion:
    """Blocks of a span that follow another delay."""

    first: int
    last: int
    samples: int  # that the response is early by
    gain_db: float  # of all of them


def _excursions(plan, span, others):
    """Every run of telling blocks that want one delay, which is not the span's."""
    changes, gains_db = tracking.wanted_delays(span, others)
    wanting = (gains_db > LEAST_GAIN_DB) & _telling(plan, span)
    return [
        Excursion(
            first,
            last,
            round(float(np.median(changes[first : last + 1]))),
            float(np.sum(gains_db[first : last + 1])),
        )
        for first, last in _runs(changes, wanting)
    ]


@dataclass(frozen=True)
class Gap:
    """What lies between two markers, with both of them."""

    before: Placed
    after: Placed

    @property
    def start(self) -> int:
        return self.before.start

    @property
    def stop(self) -> int:
        return self.after.stop

    def in_markers(self, span):
        """Which blocks of a span hear nothing but a marker."""
        stops = span.starts + span.frames
        return (stops <= self.before.stop) | (span.starts >= self.after.start)


def _gaps(plan):
    return [Gap(*pair) for pair in itertools.pairwise(plan.of_kind("marker"))]


def _between_markers(stimulus, response, found, absolute, rate, linear):
    """The slips by which markers differ, each in its place between two of them."""
    steps = _steps(np.array([a.stretch.centre for a in found]) / rate, absolute, rate)
    if not np.any(steps):
        return []
    lags = round(float(absolute[0])) + np.concatenate([[0], np.cumsum(steps)])
    near = _around(np.flatnonzero(steps), len(steps))
    gaps = [Gap(found[n].placed, found[n + 1].placed) for n in near]
    spans = [
        tracking.span_of(
            stimulus, response, gap.start, gap.stop, lags[n : n + 2], rate, linear=linear
        )
        for n, gap in zip(near, gaps, strict=True)
    ]
    steps = steps[near]
    told = []  # what each gap tells of the device: a broken one by its markers only
    for gap, span, step in zip(gaps, spans, steps, strict=True):
        if step == 0:
            told.append(tracking.filters_of(span))
            continue
        halves = gap.in_markers(span), span.starts < 0.5 * (gap.start + gap.stop)
        told.append(
            tracking.filters_of(span, halves[0] & halves[1], 0)
            + tracking.filters_of(span, halves[0] & ~halves[1], 1)
        )
    device = functools.reduce(operator.add, told)
    return [
        Slip(tracking.change(span, device)[0] / rate, int(step))
        for span, step in zip(spans, steps, strict=True)
        if step
    ]


def _around(broken, count):
    """The broken gaps and their neighbours, which tell enough of the device."""
    return [n for n in range(count) if np.min(np.abs(broken - n)) <= NEIGHBOURS]


def _steps(seconds, absolute, rate):
    """Whole samples by which each anchor lies behind the one before it, drift apart.

    Of all drifts that two anchors could mean, and none, that is taken which leaves the fewest
    steps and the fewest anchors off the whole samples; of several the slowest.
    """
    slopes = np.diff(absolute) / np.diff(seconds)
    overall = (absolute[-1] - absolute[0]) / (seconds[-1] - seconds[0])
    likely = [
        slope
        for slope in sorted({0.0, overall, *slopes}, key=abs)
        if abs(slope) < 1e-6 * FASTEST_DRIFT_PPM * rate
    ]
    best, least = np.zeros(len(absolute) - 1), np.inf
    for slope in likely:
        still = absolute - slope * (seconds - seconds[0])
        common = np.angle(np.mean(np.exp(2j * np.pi * still))) / (2 * np.pi)
        whole = np.round(still - common)
        off = np.minimum(1.0, ((still - common - whole) / OFF_WHOLE) ** 2)
        steps = np.diff(whole)
        cost = np.count_nonzero(steps) + np.sum(off)
        if cost < least - 1e-6:
            best, least = steps, cost
    return best.astype(int)


def _telling(plan, span):
    """Which blocks of a span hear programme: a tone or a slow sweep repeats itself."""
    telling = np.zeros(len(span.starts), dtype=bool)
    for placed in plan.placed():
        if placed.segment.kind in PROGRAMME:
            telling |= (span.centres >= placed.start) & (span.centres < placed.stop)
    return telling


def _runs(changes, wanting):
    """First and last of every run of blocks that want one delay."""
    runs, first = [], None
    for n, wants in enumerate([*wanting, False]):
        goes_on = wants and first is not None and abs(changes[n] - changes[n - 1]) <= SAME_CHANGE
        if first is not None and not goes_on:
            if n - first >= LEAST_BLOCKS:
                runs.append((first, n - 1))
            first = None
        if wants and first is None:
            first = n
    return runs


def _refuse_programme_slip(plan, stimulus, response, found, absolute, transfer):
    """A slip in a take without markers: between two seconds of programme."""
    rate = plan.sample_rate
    split = _break(np.array([a.stretch.centre for a in found]) / rate, absolute, rate)
    if split is None:
        return
    before, after = np.median(absolute[:split]), np.median(absolute[split:])
    start, stop = found[split - 1].stretch.start, found[split].stretch.stop
    wide = _programme_transfer(plan, stimulus, response, found, split) or transfer
    at, evidence = _place(stimulus, response, start, stop, before, after, wide, rate)
    if evidence > LEAST_EVIDENCE:
        raise _refusal([Slip(at / rate, round(after - before))])


def _break(seconds, absolute, rate):
    """Index of the first anchor after a break, None for a take that is whole or drifts."""
    if np.ptp(absolute) <= LEAST_PROGRAMME_BREAK:
        return None
    splits = range(1, len(absolute))
    errors = [
        sum(np.sum(np.abs(part - np.median(part))) for part in np.split(absolute, [split]))
        for split in splits
    ]
    best = int(np.argmin(errors))
    before, after = np.split(absolute, [splits[best]])
    if abs(np.median(after) - np.median(before)) <= LEAST_PROGRAMME_BREAK:  # one that is off
        return None
    slope = np.polyfit(seconds, absolute, 1)
    drifts = abs(slope[0]) < 1e-6 * FASTEST_DRIFT_PPM * rate
    if len(absolute) > 2:
        line = np.polyval(slope, seconds)
        drifts = drifts and np.sum(np.abs(absolute - line)) <= errors[best]
    return None if drifts else splits[best]


def _programme_transfer(plan, stimulus, response, found, split):
    """H over all the programme, each side of a break at its own delay; None when too short."""
    rate = plan.sample_rate
    step = STRETCH_SECONDS * rate
    span = programme_span(plan)
    edges = (
        (span.start, found[split - 1].stretch.start, found[0].stretch.lag),
        (found[split].stretch.stop, span.stop, found[-1].stretch.lag),
    )
    stretches = [
        delays.programme_stretch(stimulus, response, at, at + step, rate, lag)
        for start, stop, lag in edges
        for at in range(start, stop - step + 1, step)
    ]
    if not stretches:
        return None
    return delays.wiener(stretches, found[0].stretch.lag, rate)


def _place(stimulus, response, start, stop, before, after, transfer, rate):
    """The sample of the stimulus between `start` and `stop` at which the delay changes, and
    the log-likelihood by which a change explains the response better than either delay.

    In short blocks the response is compared with what H predicts at either delay, whatever
    its level. The log-likelihoods that the block still has the delay `before`, or already
    that `after`, are added up; where nothing tells the two apart (silence, or a steady tone
    whose period divides the break) the middle is taken.
    """
    block = round(BLOCK_SECONDS * rate)
    count = max((stop - start) // block, 1)
    frames = count * block
    origin = round(before)
    y = _without_bass(delays.piece(response, start + origin, frames), rate).reshape(-1, block)
    predicted = [
        _without_bass(
            _predicted(stimulus, transfer, start + origin, frames, lag, rate), rate
        ).reshape(-1, block)
        for lag in (before, after)
    ]
    # H is not known well enough to say what is far below what sounded around
    loudest = np.max([np.sum(p**2, axis=1) for p in predicted], axis=0)
    loudest = scipy.ndimage.maximum_filter1d(loudest, round(1.0 / BLOCK_SECONDS))
    floor = LINEAR_WITHIN * np.sum(y**2, axis=1) + UNKNOWN_BELOW * loudest + 1e-30
    errors = [_unexplained(y, p) + floor for p in predicted]
    likelihood = 0.5 * block * np.log(errors[0] / errors[1])  # above 0: speaks for `after`
    # two predictions that are alike tell nothing, nor do two that are both far off, as H is at
    # levels that are not its own
    likelihood *= _ramp(1.0 - _likeness(*predicted), *TELLING)
    likelihood *= _ramp(1.0 - np.minimum(*errors) / np.maximum(*errors), *TELLING_APART)
    total = np.concatenate([[0.0], np.cumsum(likelihood)])
    alike = np.flatnonzero(total <= np.min(total) + INDIFFERENT)
    evidence = min(total[0], total[-1]) - np.min(total)
    return start + 0.5 * (alike[0] + alike[-1]) * block, evidence


def _without_bass(signal, rate):
    """A short shift changes the bass little, and distortion its phase as much."""
    high_pass = scipy.signal.butter(2, BASS_HZ, "highpass", fs=rate, output="sos")
    return scipy.signal.sosfiltfilt(high_pass, signal)


def _ramp(values, low, high):
    """0 below `low`, 1 above `high`."""
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _unexplained(y, p):
    """Energy of each row of y that no likely multiple of p explains."""
    power_y, power_p = np.sum(y**2, axis=-1), np.sum(p**2, axis=-1)
    shared = np.sum(y * p, axis=-1)
    gain = np.clip(shared / (power_p + 1e-30), *LIKELY_GAIN)
    return power_y - 2 * gain * shared + gain**2 * power_p


def _likeness(a, b):
    """Correlation coefficient of each row."""
    shared = np.sum(a * b, axis=-1)
    return shared / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) + 1e-30)


def _predicted(stimulus, transfer, first, frames, lag, rate):
    """What H makes of the stimulus at the delay `lag`, response samples `first` on.

    The taps are H's at the transfer's own lag, moved by whole samples: H has the fraction.
    """
    taps_frames, early = round(0.1 * rate), round(0.002 * rate)
    taps = delays.impulse_response(transfer, taps_frames, early)
    start = first - round(lag) + early - taps_frames + 1
    x = delays.piece(stimulus, start, frames + taps_frames - 1)
    return scipy.signal.oaconvolve(x, taps, mode="valid")


def _broken_part(anchor):
    """The middle of what is out of step in a marker, in samples of the stimulus."""
    placed, stretch = anchor.placed, anchor.stretch
    if stretch.start > placed.start:
        return 0.5 * (placed.start + stretch.start)
    if stretch.stop < placed.stop:
        return 0.5 * (stretch.stop + placed.stop)
    return stretch.centre


def _halves_apart(stimulus, response, anchor, transfer, rate):
    """Delay of a marker's second half beyond its first, in samples."""
    first, second = (
        delays.marker_stretch(stimulus, response, anchor.placed, rate, anchor.stretch.lag, (half,))
        for half in (0, 1)
    )
    return delays.offset_between(second, transfer, rate) - delays.offset_between(
        first, transfer, rate
    )


def _refuse_slipped_edges(stimulus, response, found, absolute, transfer, rate):
    """A break within the first code of the head, or the last of the tail, leaves the rest of
    the marker in step with the take; only its edge is out of step."""
    code, half = round(MARKER_CODE_SECONDS * rate), half_frames(rate)
    offsets = absolute - np.median(absolute) + transfer.lag
    longest = round(max(EDGE_SECONDS) * rate)
    heads, tails = (
        [
            _heard_and_due(stimulus, response, a.placed.start + first, longest, lag, transfer, rate)
            for a, lag in zip(found, offsets, strict=True)
        ]
        for first in (0, half + code - longest)
    )
    for seconds in EDGE_SECONDS:
        frames = round(seconds * rate)
        for anchor, first, edges, edge in (
            (found[0], 0, heads, slice(frames)),
            (found[-1], half + code - frames, tails, slice(longest - frames, longest)),
        ):
            alike = [float(_likeness(heard[edge], due[edge])) for heard, due in edges]
            own = alike.pop(0 if anchor is found[0] else -1)
            usual = np.median(alike)
            if own < 0.5 * usual and usual > 0.4:
                at = anchor.placed.start + first
                apart, gain = _displacement(
                    stimulus, response, at, frames, transfer.lag, transfer, rate
                )
                if gain < LEAST_COPY and _is_mute(
                    stimulus, response, anchor, first, transfer, rate
                ):
                    raise diagnosis.cut_marker(anchor.placed, anchor is found[0], rate)
                if gain < LEAST_COPY:  # nothing is left of what followed the break
                    raise _refusal([Slip((at + 0.5 * frames) / rate, -frames, at_least=True)])
                change = -apart if anchor is found[0] else apart
                raise _refusal([Slip((at + 0.5 * frames) / rate, change)])
    at, frames = found[0].placed.start, round(EDGE_SECONDS[0] * rate)
    apart, gain = _displacement(
        stimulus, response, at, frames, transfer.lag, transfer, rate, -round(COPY_SECONDS * rate)
    )
    if gain > LEAST_COPY:
        raise _refusal([Slip(at / rate, -apart)])


def _is_mute(stimulus, response, anchor, first, transfer, rate):
    """Whether the outer edge of a marker is not there at all."""
    frames = round(MUTE_SECONDS * rate)
    start = anchor.placed.start
    if first:  # the edge is the end of the inverted code
        start += half_frames(rate) + round(MARKER_CODE_SECONDS * rate) - frames
    heard = delays.piece(response, start + transfer.lag, frames)
    due = _predicted(stimulus, transfer, start + transfer.lag, frames, transfer.lag, rate)
    return np.sum(heard**2) < MUTE_BELOW * np.sum(due**2)


def _heard_and_due(stimulus, response, start, frames, lag, transfer, rate):
    """A piece of the response, and what H predicts there."""
    first = start + round(lag)
    due = _predicted(stimulus, transfer, first, frames, lag, rate)
    return delays.piece(response, first, frames), due


def _displacement(stimulus, response, start, frames, lag, transfer, rate, latest=None):
    """By how much a copy of a piece of the response is late, and how strong the copy is."""
    first, reach = start + round(lag), round(NEAR_SECONDS * rate)
    latest = reach if latest is None else latest
    y = delays.piece(response, first - reach, frames + reach + latest)
    p = _predicted(stimulus, transfer, first, frames, lag, rate)
    copies = scipy.signal.oaconvolve(y, p[::-1], mode="valid") / (np.sum(p**2) + 1e-30)
    at = int(np.argmax(copies))
    return at - reach, float(copies[at])


def _refusal(found):
    """The error for slips, in order of time."""
    first, *others = (_slipped(slip) for slip in found)
    first.others = tuple(others)
    return first


def _slipped(slip):
    about = "at least " if slip.at_least else ""
    what = "lost" if slip.samples < 0 else "repeated"
    return NotAligned(
        f"{about}{abs(slip.samples)} samples were {what} at {slip.at_seconds:.2f} s",
        "the driver could not keep up; take it again with a larger block size and nothing else "
        "running",
        fault=slip.fault,
        at_seconds=slip.at_seconds,
        size=abs(slip.samples),
    )


def _programme_anchors(plan, stimulus, response):
    """Every second of a programme without markers that is loud and wide enough to tell."""
    rate = plan.sample_rate
    lag = _coarse_lag(stimulus, response, rate)
    step = STRETCH_SECONDS * rate
    starts = range(0, max(len(stimulus) - step, 0) + 1, step)
    stretches = [
        delays.programme_stretch(stimulus, response, start, start + step, rate, lag)
        for start in starts
    ]
    loudness = np.array([np.sum(stretch.power) for stretch in stretches])
    audible = loudness > 10 ** (QUIETEST_STRETCH_DB / 10) * np.max(loudness)
    found = []
    for stretch in (s for s, heard in zip(stretches, audible, strict=True) if heard):
        offset, confidence = delays.whitened_peak(stretch, rate)
        if abs(offset) > SAME_DELAY:
            stretch = delays.programme_stretch(
                stimulus, response, stretch.start, stretch.stop, rate, lag + offset
            )
            _, confidence = delays.whitened_peak(stretch, rate)
        if confidence >= LEAST_STRETCH_CONFIDENCE_DB:
            found.append(Anchor(stretch, confidence))
    if 2 * len(found) < np.sum(audible) or not found:
        raise diagnosis.unmatched(plan, stimulus, response)
    return found


def _coarse_lag(stimulus, response, rate):
    """The whole delay of a programme: the peak of the whitened cross-correlation."""
    size = scipy.fft.next_fast_len(len(stimulus) + round(LATEST_SECONDS * rate), real=True)
    X = scipy.fft.rfft(np.asarray(stimulus, dtype=np.float32), size)
    Y = scipy.fft.rfft(np.asarray(response, dtype=np.float32), size)
    frequencies = scipy.fft.rfftfreq(size, 1 / rate)
    band = (frequencies > delays.BAND_HZ[0]) & (frequencies < delays.BAND_HZ[1])
    power = np.abs(X) ** 2
    cross = np.where(band, Y * np.conj(X) / (power + np.mean(power[band]) + 1e-30), 0.0)
    correlation = np.abs(scipy.fft.irfft(cross, size))
    earliest, latest = round(EARLIEST_SECONDS * rate), round(LATEST_SECONDS * rate)
    window = np.concatenate([correlation[earliest:], correlation[: latest + 1]])
    return int(np.argmax(window)) + earliest
