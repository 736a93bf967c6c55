"""Averaging: one stimulus played several times, and what the passes share.

What the device says is the same in every pass, noise is not: the mean of N passes has its noise
lower by 10 log10 N dB. That holds only for passes that lie upon each other and of which none is
broken, so each is aligned to the first by its markers, and one that lost samples, or that is
unlike all the others, is left out and named.

The gain is measured, not presumed: the noise of a pass is what two of them do not share, that of
the average what the averages of two halves do not share.

Conventions
-----------
Noise is RMS over the whole take, dBFS, of the return.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.capture.folder import Average, Part, Rejected
from profiler.capture.joining import Offset, Played, Recording, read_shifted, spans
from profiler.errors import NotAligned
from profiler.stimulus.plan import SignalPlan
from profiler.units import amplitude_to_db, power_to_db

LARGEST_SPREAD_SAMPLES = 0.5  # of the offsets of a whole pass's markers
UNLIKE_RATIO = 4.0  # energy of a pass's difference from the others, re what is usual
LEAST_DIFFERENCE = 1e-12  # energy re the response's: below it passes are equal


def average(played: Played, recordings: Sequence[tuple[int, Recording]], path: Path) -> Average:
    """Align the passes, leave out the broken ones, and write the mean of the others.

    Parameters
    ----------
    recordings : sequence of (number, Recording)
        Whole passes of the plan, at least one.
    path : Path
        Of the mean, which has the delay of the first pass that is in it.

    Raises
    ------
    NotAligned
        No pass is whole.
    """
    plan = played.plan
    parts, rejected = _aligned(played, recordings)
    sources = {number: recording.path for number, recording in recordings}
    deviations, energy = _deviations(parts, sources, plan)
    unlike = _unlike(deviations, energy)
    rejected += [
        Rejected(
            recorded_in=parts[n].recorded_in,
            reason=f"differs from the other passes by {power_to_db(ratio):.0f} dB more than they "
            "do from each other",
        )
        for n, ratio in unlike.items()
    ]
    kept = [n for n in range(len(parts)) if n not in unlike]
    deviations = deviations[np.ix_(kept, kept)]
    parts = [parts[n] for n in kept]
    _write_mean(parts, sources, path, plan)
    before, after = _noise(deviations)
    return Average(
        parts=tuple(parts),
        rejected=tuple(sorted(rejected, key=lambda r: r.recorded_in)),
        noise_before_dbfs=_dbfs(before, plan),
        noise_after_dbfs=_dbfs(after, plan),
        snr_gain_db=float(power_to_db(before / after)) if after > 0.0 else 0.0,
    )


def _aligned(played, recordings):
    """Every whole pass at its shift, and those that are broken."""
    markers = list(played.plan.of_kind("marker"))
    rejected: list[Rejected] = []
    found: list[tuple[int, Recording, np.ndarray]] = []
    for number, recording in recordings:
        try:
            places = np.array([played.find(m, recording) - m.start for m in markers])
        except NotAligned as error:
            rejected.append(Rejected(recorded_in=number, reason=str(error)))
            continue
        change = int(places[np.argmax(np.abs(places - places[0]))] - places[0])
        if abs(change) > 1:  # a sample is within what distortion does to a marker
            rejected.append(Rejected(recorded_in=number, reason=_slipped(change)))
        else:
            found.append((number, recording, places))
    if not found:
        reasons = "; ".join(f"pass {r.recorded_in}: {r.reason}" for r in rejected)
        raise NotAligned(f"none of the passes is whole ({reasons}): take it again")

    first = found[0][1]
    offsets = np.array(
        [
            [played.offset(marker, first, recording).samples for marker in markers]
            for _, recording, _ in found
        ]
    )
    # the first may be the broken one: what changes from marker to marker in most is its doing
    changes = offsets - np.median(offsets, axis=1, keepdims=True)
    changes -= np.median(changes, axis=0)
    kept = []
    for n, ((number, _, _), change) in enumerate(zip(found, changes, strict=True)):
        if len(found) > 2 and np.max(np.abs(change)) > LARGEST_SPREAD_SAMPLES:
            steps = np.diff(change)
            reason = _slipped(float(steps[np.argmax(np.abs(steps))]))
            rejected.append(Rejected(recorded_in=number, reason=reason))
        else:
            kept.append(n)
    parts = []
    for n in kept:
        own = offsets[n] - offsets[kept[0]]
        sigma = float(np.std(own) / np.sqrt(len(own)))
        parts.append(
            Part(
                recorded_in=found[n][0],
                start=0,
                stop=played.plan.frames,
                shift_samples=Offset(float(np.mean(own)), sigma).nearest,
            )
        )
    return parts, rejected


def _slipped(change):
    what = "lost" if change < 0 else "repeated"
    return f"about {abs(change):.0f} samples were {what} in it"


def _deviations(parts, sources, plan):
    """Inner products of what each pass has beyond the mean of all, `(m, m)`; energy of the mean."""
    products, energy = np.zeros((len(parts), len(parts))), 0.0
    for passes in _blocks(parts, sources, plan):
        returned = passes[:, :, 0]
        mean = np.mean(returned, axis=0)
        beyond = returned - mean
        products += beyond @ beyond.T
        energy += float(mean @ mean)
    return products, energy


def _blocks(parts, sources, plan):
    """All passes laid upon each other, a block at a time, `(m, n, channels)`."""
    for start, stop in spans(plan.frames):
        yield np.stack(
            [read_shifted(sources[p.recorded_in], start, stop, p.shift_samples) for p in parts]
        )


def _differences(deviations):
    """Energy of the difference of any two passes, `(m, m)`."""
    own = np.diag(deviations)
    return np.maximum(own[:, None] + own[None, :] - 2.0 * deviations, 0.0)


def _unlike(deviations, energy):
    """Passes that differ from the others more than those do from each other, and how much."""
    if len(deviations) < 3:  # of two that differ, neither is known to be the right one
        return {}
    differences = _differences(deviations)
    others = ~np.eye(len(deviations), dtype=bool)
    nearest_half = [np.median(row[mask]) for row, mask in zip(differences, others, strict=True)]
    usual = max(float(np.median(nearest_half)), LEAST_DIFFERENCE * energy)
    ratios = np.array(nearest_half) / usual
    return {n: float(ratio) for n, ratio in enumerate(ratios) if ratio > UNLIKE_RATIO}


def _noise(deviations):
    """Energy of the noise of one pass, and of the mean of all."""
    count = len(deviations)
    if count < 2:
        return 1.0, 1.0
    single = np.sum(_differences(deviations)) / (2.0 * count * (count - 1))
    halves = np.array([1.0 / len(range(n % 2, count, 2)) * (-1) ** n for n in range(count)])
    odd, even = (count + 1) // 2, count // 2
    return single, float(halves @ deviations @ halves) * odd * even / count**2


def _write_mean(parts, sources, path, plan):
    channels = wav.header(sources[parts[0].recorded_in]).channels
    with wav.Writer(path, plan.sample_rate, channels, frames=plan.frames) as file:
        for passes in _blocks(parts, sources, plan):
            file.write(np.mean(passes, axis=0).astype(np.float32))


def _dbfs(energy, plan: SignalPlan):
    return float(amplitude_to_db(np.sqrt(energy / plan.frames)))
