"""From a plan to the samples that are played.

Every segment is drawn from the plan's seed and its own, so that two segments of the same
kind, seed and parameters are the same samples, today and in every version of a signal.
"""

from pathlib import Path

import numpy as np

from profiler import wav
from profiler.errors import DefinitionError
from profiler.stimulus.guitar import guitar
from profiler.stimulus.marker import marker
from profiler.stimulus.multisine import multisine
from profiler.stimulus.noise import noise
from profiler.stimulus.plan import File, Segment, SignalPlan
from profiler.stimulus.shaping import frames, scaled_to_peak, with_fades
from profiler.stimulus.sweep import sweep
from profiler.stimulus.tones import burst, probe, sine, staircase
from profiler.units import db_to_amplitude

FILE_FADE_SECONDS = 0.005  # a passage cut out of a recording would click


def render(plan: SignalPlan) -> np.ndarray:
    """The stimulus of a plan, `(plan.frames,)` float32.

    Raises
    ------
    CaptureError
        The user's own file cannot be read, is not mono or not at the plan's rate.
    DefinitionError
        The user's own file is too short for its segment, or silent there.
    """
    stimulus = np.zeros(plan.frames, dtype=np.float32)
    placed = {p.segment.name: p for p in plan.placed()}
    for place in placed.values():
        original = place.segment.replicate_of
        if original is not None:
            stimulus[place.slice] = stimulus[placed[original].slice]
        elif place.segment.kind != "silence":
            stimulus[place.slice] = _held_below(
                plan.gain * _samples(place.segment, plan),
                plan.gain * db_to_amplitude(place.segment.level_dbfs),
            )
    return stimulus


def _samples(segment: Segment, plan: SignalPlan):
    rate = plan.sample_rate
    rng = np.random.default_rng([plan.seed, segment.seed])
    match segment.kind:
        case "marker":
            return marker(segment, plan.identity, rate)
        case "sine" | "reference":
            return sine(segment, rate)
        case "probe":
            return probe(segment, rate)
        case "burst":
            return burst(segment, rate)
        case "sweep":
            return sweep(segment, rate)
        case "staircase":
            return staircase(segment, rate)
        case "multisine":
            return multisine(segment, rate, rng)
        case "noise":
            return noise(segment, rate, rng)
        case "guitar":
            return guitar(segment, rate, rng)
        case "file":
            return _from_file(segment, rate)
    raise ValueError(f"no synthesis for segments of kind {segment.kind!r}")


def _from_file(segment: File, sample_rate):
    """A passage of the user's own recording, its peak at the segment's level."""
    samples, _ = wav.read_mono(Path(segment.path), sample_rate=sample_rate)
    first = round(segment.offset_seconds * sample_rate)
    n = frames(segment, sample_rate)
    passage = samples[first : first + n].astype(np.float64)
    if len(passage) < n:
        raise DefinitionError(
            f"{segment.path}: lasts {len(samples) / sample_rate:.2f} s, but segment "
            f"{segment.name!r} takes {segment.seconds:g} s from {segment.offset_seconds:g} s on: "
            "shorten the segment or record more"
        )
    if not passage.any():
        raise DefinitionError(
            f"{segment.path}: is silent for the {segment.seconds:g} s from "
            f"{segment.offset_seconds:g} s on, which segment {segment.name!r} would play: "
            "choose another offset_seconds"
        )
    faded = with_fades(passage, sample_rate, FILE_FADE_SECONDS)
    return scaled_to_peak(faded, db_to_amplitude(segment.level_dbfs))


def _held_below(samples, peak):
    """As float32, no sample of which rounding has lifted above `peak`: a rig has a ceiling."""
    highest = np.float32(peak)
    if highest > peak:
        highest = np.nextafter(highest, np.float32(0.0))
    return np.clip(samples.astype(np.float32), -highest, highest)
