"""Levels: is the return cut off, too low, or does it stand beside zero; is the amp hit too hard?

A return that is cut off has one extreme value again and again, at whatever level the knob that
cuts it stands: a converter at full scale, a preamp or a plug-in below it. A distorting amp has
smooth tops, and its noise makes each of them different.

Conventions
-----------
Levels are peaks in dBFS of the return as it was recorded. An offset is the mean of the return
where nothing is played.
"""

import math
from collections.abc import Iterator

import numpy as np
import scipy.ndimage

from profiler.capture.alignment import AlignedCapture
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.ladder import ladder_steps
from profiler.capture.silences import silences
from profiler.units import amplitude_to_db, peak_dbfs

FLAT_SAMPLES = 3  # equal extremes on a rail: a smooth top has one
NEAR_STEPS = 20  # below the extreme: a smooth top has more samples there than at the extreme
FLAT_PART = 0.5  # of the samples so near that stand at the extreme itself
SAME_WAVEFORM = 1e-5  # of the extreme: tops whose neighbours are so near are one top played again
CLIPPED_REDUCTION_DB = 6.0

LOWEST_PEAK_DBFS = -30.0
WANTED_PEAK_DBFS = -12.0

HOTTEST_GUITAR_DBU = 8.0  # a sine of 2.8 V peak: humbuckers reach 2 V, a line output 20 dBu
SOFTEST_DBFS = -50.0  # below, no amp that is fed by a guitar's level bends
ABOVE_SOFTEST = 3.0  # as a factor: the step to which it must go on falling
BENT_DB = 1.0  # by which its gain has fallen there
SIGMAS = 5.0  # by which that must be more than noise

OFFSET_LIMIT_DBFS = -60.0
STEP_LIMIT_DBFS = -50.0
REST_SECONDS = 0.05  # at the end of a silence: the sound before it has died away
PLACE_SECONDS = 0.05  # to which a step is placed: a period of the lowest tone


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What the levels of a take say."""
    yield from return_clipped(evidence)
    yield from return_low(evidence)
    if evidence.aligned is not None:
        yield from line_level(evidence, evidence.aligned)
        yield from offsets(evidence.aligned)


def return_clipped(evidence: Evidence) -> Iterator[Finding]:
    """Flat tops at one level, on one rail or both."""
    rails = {"upwards": evidence.response, "downwards": -evidence.response}
    flat = {side: found for side, rail in rails.items() if len(found := flat_tops(rail))}
    if not flat:
        return
    samples = np.sort(np.concatenate(list(flat.values())))
    level = peak_dbfs(evidence.response[samples])
    at_seconds = samples[0] / evidence.sample_rate
    if evidence.aligned is not None:
        delay = evidence.aligned.alignment.delay_samples
        at_seconds = max(samples[0] - delay, 0.0) / evidence.sample_rate
    sides = "on both sides" if len(flat) == 2 else f"{next(iter(flat))} only"
    yield Finding(
        name="return-clipped",
        severity="stop",
        measured=len(samples),
        limit=FLAT_SAMPLES,
        unit="samples",
        at_seconds=at_seconds,
        cause=(
            f"the recording is cut off at {level:.1f} dBFS {sides}, in {len(samples)} samples, "
            f"first at {at_seconds:.1f} s"
        ),
        action=(
            f"turn the input gain of the interface down by {CLIPPED_REDUCTION_DB:g} dB"
            + ("" if level > -0.5 else ", and look for a limiter or a pad behind the amp")
            + ", then take it again"
        ),
    )


def flat_tops(samples: np.ndarray) -> np.ndarray:
    """Where `(n,)` samples stand at their maximum because something cuts them off there.

    Three of them at least, in waveforms that differ: the same top played again is the same to
    the last bit where nothing is noisy. And no fewer than lie within 20 steps of the samples'
    resolution below: a smooth top that is stored coarsely has most of its samples there.

    Returns
    -------
    (k,) int array
        Empty where nothing is cut off.
    """
    none = np.empty(0, dtype=np.intp)
    extreme = np.max(samples, initial=0.0)
    if extreme <= 0.0:
        return none
    flat = np.flatnonzero(samples == extreme)
    if len(flat) < FLAT_SAMPLES:
        return none
    values = np.unique(samples[samples > 0.5 * extreme])
    step = np.min(np.diff(values), initial=extreme)
    near = np.count_nonzero(samples > extreme - NEAR_STEPS * step)
    if len(flat) < FLAT_PART * near:
        return none
    first = flat[np.diff(flat, prepend=-2) > 1]
    last = flat[np.diff(flat, append=len(samples) + 1) > 1]
    before, after = (np.take(samples, at, mode="clip") for at in (first - 1, last + 1))
    waveforms = np.round(np.stack((before, after), axis=1) / (SAME_WAVEFORM * extreme))
    different = np.unique(np.column_stack((waveforms, last - first)), axis=0)
    return flat if np.sum(different[:, 2] + 1) >= FLAT_SAMPLES else none


def return_low(evidence: Evidence) -> Iterator[Finding]:
    """A return that leaves the converter's resolution unused."""
    if not evidence.response.any():  # nothing came back, which is another's finding
        return
    level = peak_dbfs(evidence.response - np.median(evidence.response))
    if level >= LOWEST_PEAK_DBFS or level == -np.inf:
        return
    yield Finding(
        name="return-low",
        severity="warn",
        measured=level,
        limit=LOWEST_PEAK_DBFS,
        unit="dBFS",
        cause=f"the loudest that came back is {level:.1f} dBFS, noise is never far below",
        action=f"raise the input gain of the interface by {math.ceil(WANTED_PEAK_DBFS - level)} dB",
    )


def line_level(evidence: Evidence, capture: AlignedCapture) -> Iterator[Finding]:
    """A send far hotter than any guitar, by its calibration or by what the device does."""
    if evidence.full_scale_dbu is None or evidence.is_loop:
        yield from _bent_from_the_first(capture)
        return
    level_dbu = peak_dbfs(evidence.stimulus) + evidence.full_scale_dbu
    if level_dbu > HOTTEST_GUITAR_DBU:
        yield Finding(
            name="line-level",
            severity="warn",
            measured=level_dbu,
            limit=HOTTEST_GUITAR_DBU,
            unit="dBu",
            cause=(
                f"the send reaches the device with {level_dbu:+.1f} dBu, "
                f"{level_dbu - HOTTEST_GUITAR_DBU:.1f} dB over the hottest guitar"
            ),
            action="put a reamp box or a pad before the amp, or lower the send by --level",
        )


def _bent_from_the_first(capture: AlignedCapture) -> Iterator[Finding]:
    """A device that bends already at the softest steps of a ladder.

    It tells a level that is far too hot for a device with much gain. That 14 dB more drive comes
    from the send and not from the gain knob, no response shows.
    """
    for placed in capture.plan.of_kind("staircase"):
        steps = list(ladder_steps(capture, placed))
        soft = [s for s in steps if amplitude_to_db(s.played) < SOFTEST_DBFS]
        if len(soft) < 2 or not all(step.amplitude > 0.0 for step in soft):
            continue
        first, last = soft[0], soft[-1]
        bent = _fallen_db(first, last)
        sigma = float(amplitude_to_db(1.0 + first.sigma / first.amplitude))
        # what bends there bends the more above; hum beside the tone only lifts the softest
        above = [s for s in steps if s.played > ABOVE_SOFTEST * last.played][:1]
        if bent > max(BENT_DB, SIGMAS * sigma) and all(_fallen_db(last, s) > bent for s in above):
            level = float(amplitude_to_db(last.played))
            yield Finding(
                name="line-level",
                severity="warn",
                measured=bent,
                limit=BENT_DB,
                unit="dB",
                at_seconds=last.at_seconds,
                cause=(
                    f"the device is driven already by a tone of {level:.0f} dBFS (its gain has "
                    f"fallen by {bent:.1f} dB): it gets a line level where it expects a guitar's"
                ),
                action="put a reamp box or a pad before the amp, or lower the send",
            )
            return


def _fallen_db(soft, loud):
    """By how much the gain has fallen from one step to a louder one."""
    return float(amplitude_to_db(soft.amplitude / soft.played * loud.played / loud.amplitude))


def offsets(capture: AlignedCapture) -> Iterator[Finding]:
    """A return that stands beside zero where nothing is played, always or from a moment on."""
    rests = _rests(capture)
    if not rests:
        return
    each = np.array([np.mean(capture.response[part], dtype=np.float64) for part in rests])
    # what one rest alone has is the tail of a loud passage through a coupling capacitor
    means = scipy.ndimage.median_filter(each, size=3, mode="mirror") if len(each) > 2 else each
    step = np.ptp(means)
    if amplitude_to_db(step) > STEP_LIMIT_DBFS:
        at_seconds = _step_place(capture, rests, means)
        level = float(amplitude_to_db(step))
        yield Finding(
            name="dc-step",
            severity="warn",
            measured=level,
            limit=STEP_LIMIT_DBFS,
            unit="dBFS",
            at_seconds=at_seconds,
            cause=f"the return jumps sideways by {level:.0f} dBFS of DC at {at_seconds:.1f} s",
            action=(
                "switch phantom power (48 V) off, check the pad and the mic/line switch, and touch "
                "nothing while it plays"
            ),
        )
        return
    level = float(amplitude_to_db(np.median(means)))
    if level > OFFSET_LIMIT_DBFS:
        yield Finding(
            name="dc-offset",
            severity="warn",
            measured=level,
            limit=OFFSET_LIMIT_DBFS,
            unit="dBFS",
            cause=f"the return stands {level:.0f} dBFS beside zero all the time",
            action=(
                "use an input that blocks DC, or switch its high-pass on: a model would learn the "
                "offset as a part of the amp"
            ),
        )


def _rests(capture):
    """The end of every silence that the recording covers."""
    rate = capture.sample_rate
    covered = len(capture.response) - int(np.ceil(max(capture.alignment.delay_samples, 0.0)))
    rests = []
    for silence in silences(capture.stimulus, rate):
        stop = min(silence.stop, covered)
        start = max(silence.start, stop - round(REST_SECONDS * rate))
        if stop - start >= round(REST_SECONDS * rate):
            rests.append(slice(start, stop))
    return rests


def _step_place(capture, rests, means):
    """Where between two silences the return leaves the mean of the one for that of the other."""
    jump = int(np.argmax(np.abs(np.diff(means))))
    first, last = rests[jump].stop, rests[jump + 1].stop
    block = round(PLACE_SECONDS * capture.sample_rate)
    between = capture.response[first : last - (last - first) % block].astype(np.float64)
    beyond = np.mean(between.reshape(-1, block), axis=1) - np.mean(means[jump : jump + 2])
    # least squares: the sum so far is lowest where a rise begins
    turned = int(np.argmin(np.cumsum(np.sign(means[jump + 1] - means[jump]) * beyond)))
    return (first + block * (turned + 1)) / capture.sample_rate
