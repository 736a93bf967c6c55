"""Is the take whole? What the computer lost, repeated, filled with zeros or cut off.

Drivers lose buffers without saying so; the signal decides.
"""

from collections.abc import Iterator

import numpy as np

from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding, refused
from profiler.capture.slips import Slip

LARGER_BLOCKS = "take it again with a larger block size and nothing else running"

USUAL_BLOCKS = (32, 64, 128, 256, 512, 1024, 2048)  # frames
SHORTEST_ZEROS = 8  # frames at 48 kHz; an amp's noise is never zero for so long
FLANK_SECONDS = 0.004  # beside a run of zeros: is there sound?
LEAST_STEP = 8.0  # RMS from sample to sample beside it, in units of the smallest sample
SHARP = 0.1  # of the flank's level that its last millisecond must have: a gate fades
DIGITAL_SILENCE = 0.1  # of what is recorded while silence plays: a device with true zeros
DUE_DBFS = -80.0  # of the stimulus: quieter, nothing is due


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What is wrong with the samples themselves."""
    yield from truncated(evidence)
    yield from zero_fill(evidence)
    slips = list(slipped(evidence))
    yield from slips
    if not any(slip.name == "repeated-block" for slip in slips):
        yield from copied(evidence)


def truncated(evidence: Evidence) -> Iterator[Finding]:
    """The first or the last marker is not there, or not all of it."""
    recorded, due = len(evidence.response), evidence.plan.frames
    if recorded < due:
        seconds = recorded / evidence.sample_rate
        yield Finding(
            name="truncated",
            severity="stop",
            measured=(due - recorded) / evidence.sample_rate,
            limit=0.0,
            unit="s",
            at_seconds=seconds,
            cause=f"the recording lasts {seconds:.2f} s of {evidence.plan.seconds:.2f} s",
            action="record until the stimulus has ended, and a second longer",
        )
        return
    for refusal in evidence.refusals:
        if refusal.fault == "truncated":
            yield refused(refusal, "truncated")


def slipped(evidence: Evidence) -> Iterator[Finding]:
    """Samples that were lost or repeated, each place on its own."""
    for refusal in evidence.refusals:
        if refusal.fault == "lost-block":
            yield refused(refusal, "lost-block", limit=0.0)
        elif refusal.fault == "repeated-block":
            yield refused(refusal, "repeated-block", limit=0.0)
    for slip in evidence.hidden_slips:
        yield _of_slip(slip)


def _of_slip(slip: Slip) -> Finding:
    what = "lost" if slip.samples < 0 else "repeated"
    return Finding(
        name=slip.fault,
        severity="stop",
        measured=abs(slip.samples),
        limit=0.0,
        unit="frames",
        at_seconds=slip.at_seconds,
        cause=f"{abs(slip.samples)} samples were {what} at {slip.at_seconds:.2f} s",
        action=f"the driver could not keep up; {LARGER_BLOCKS}",
    )


def copied(evidence: Evidence) -> Iterator[Finding]:
    """A block that is the one before it, sample by sample: it came in the place of another.

    The delay is the same afterwards, so nothing but the samples tell. The noise of converters
    never repeats itself; what has none may (a simulated wire that plays a periodic tone), and is
    not accused.
    """
    sizes = evidence.stream.block_sizes if evidence.stream is not None else ()
    for size in sorted({*USUAL_BLOCKS, *(s for s in sizes if s >= USUAL_BLOCKS[0])}):
        places = _copies(evidence, size)
        if places:
            at = (places[0] - (evidence.lag or 0)) / evidence.sample_rate
            several = f", the first of {len(places)}" if len(places) > 1 else ""
            yield Finding(
                name="repeated-block",
                severity="stop",
                measured=size,
                limit=0.0,
                unit="frames",
                at_seconds=at,
                cause=f"the {size} samples at {at:.2f} s are those before them once more{several}",
                action=f"the driver gave the same buffer twice; {LARGER_BLOCKS}",
            )
            return


def _copies(evidence, size):
    """First samples of blocks that equal the one before, where the stimulus does not repeat."""
    response, lag = evidence.response, evidence.lag or 0
    equal = np.concatenate([[False], response[size:] == response[:-size], [False]])
    edges = np.flatnonzero(np.diff(equal))
    runs = [
        (int(start) + size, int(stop - start))
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
        if stop - start >= size
    ]
    return [
        start
        for start, length in runs
        if length < 2 * size  # longer, and it is a signal of that period
        # silence of a few codes is like itself by chance
        and len(np.unique(response[start - size : start])) > size // 4
        and not _repeats(evidence.stimulus[max(start - size - lag, 0) : start - lag + size], size)
    ]


def _repeats(played, size):
    return len(played) < 2 * size or np.array_equal(played[:size], played[size : 2 * size])


def zero_fill(evidence: Evidence) -> Iterator[Finding]:
    """Exact zeros with sound on both sides, where sound is due."""
    runs = [run for run in _zero_runs(evidence) if _is_due(evidence, *run)]
    if runs:
        start, stop = max(runs, key=lambda run: run[1] - run[0])
        at = (start - (evidence.lag or 0)) / evidence.sample_rate
        several = f", the longest of {len(runs)} such gaps" if len(runs) > 1 else ""
        yield Finding(
            name="zero-fill",
            severity="stop",
            measured=stop - start,
            limit=_shortest(evidence),
            unit="frames",
            at_seconds=at,
            cause=f"{stop - start} samples at {at:.2f} s are exactly zero{several}: the driver "
            "filled a gap",
            action=LARGER_BLOCKS,
        )


def _shortest(evidence):
    return max(SHORTEST_ZEROS, round(SHORTEST_ZEROS * evidence.sample_rate / 48_000))


def _zero_runs(evidence):
    """First sample and one beyond the last of long runs of zeros that break off a sound."""
    response = evidence.response
    edges = np.flatnonzero(np.diff(np.concatenate([[False], response == 0.0, [False]])))
    starts, stops = edges[::2], edges[1::2]
    long = stops - starts >= _shortest(evidence)
    magnitude = np.abs(response)
    smallest = np.min(magnitude[magnitude > 0.0], initial=np.inf)
    for start, stop in zip(starts[long], stops[long], strict=True):
        if all(_sounds(flank, smallest, evidence) for flank in _flanks(evidence, start, stop)):
            yield int(start), int(stop)


def _flanks(evidence, start, stop):
    """What is before and after a run, each from the run outwards."""
    frames = round(FLANK_SECONDS * evidence.sample_rate)
    before = evidence.response[max(start - frames, 0) : start][::-1]
    return before, evidence.response[stop : stop + frames]


def _sounds(flank, smallest, evidence):
    """Whether a flank moves too fast to be zero for long, up to its very edge."""
    near = round(0.001 * evidence.sample_rate)
    if len(flank) < near:
        return False
    step, nearest = (_rms(np.diff(part)) for part in (flank, flank[:near]))
    return step >= LEAST_STEP * smallest and nearest >= SHARP * step


def _is_due(evidence, start, stop):
    """Whether there should be sound: something plays, or the silence elsewhere is not digital."""
    if evidence.lag is None:
        return True
    played = evidence.stimulus[max(start - evidence.lag, 0) : max(stop - evidence.lag, 0)]
    if np.count_nonzero(np.abs(played) > 10 ** (DUE_DBFS / 20)) >= SHORTEST_ZEROS:
        return True
    recorded = evidence.response[evidence.lag :][: len(evidence.stimulus)]
    silent = evidence.stimulus[: len(recorded)] == 0.0
    silent[max(start - evidence.lag, 0) : max(stop - evidence.lag, 0)] = False
    return bool(np.mean(recorded[silent] == 0.0) < DIGITAL_SILENCE) if np.any(silent) else True


def _rms(signal):
    return float(np.sqrt(np.mean(np.square(signal))))
