"""From a plan to the samples that are played.

Every segment is drawn from the plan's seed and its own, so that two segments of the same
kind, seed and parameters are the same samples, today and in every version of a signal.

A stimulus is rendered in blocks, segment by segment, so that an hour of it takes no more
memory than a minute. Silence, steady tones, staircases, level steps and files are made block by
block however long they are; a segment of any other kind is composed whole, which for a while takes
8 MB a second of noise and 4 of guitar or multisine, and is why long programmes are written as
many segments.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.definitions import replacing
from profiler.errors import DefinitionError
from profiler.stimulus.guitar import guitar
from profiler.stimulus.marker import marker
from profiler.stimulus.multisine import multisine
from profiler.stimulus.noise import noise
from profiler.stimulus.plan import File, Segment, SignalPlan
from profiler.stimulus.shaping import frames, piece_with_fades
from profiler.stimulus.sweep import sweep
from profiler.stimulus.tones import burst, level_step, probe, pump, sine, staircase, twin_tone
from profiler.units import db_to_amplitude

FILE_FADE_SECONDS = 0.005  # a passage cut out of a recording would click
BLOCK_FRAMES = wav.BLOCK_FRAMES


def render(plan: SignalPlan) -> np.ndarray:
    """The stimulus of a plan, `(plan.frames,)` float32.

    Raises
    ------
    CaptureError
        The user's own file cannot be read, is not mono or not at the plan's rate.
    DefinitionError
        The user's own file is too short for its segment, or silent there.
    """
    return np.concatenate(list(render_blocks(plan)))


def render_blocks(plan: SignalPlan) -> Iterator[np.ndarray]:
    """The stimulus of a plan in blocks of at most `BLOCK_FRAMES`, each `(n,)` float32.

    Raises as `render` does, when it comes to the segment.
    """
    originals: dict[str, Segment] = {}
    for segment in plan.segments:
        # a replicate of a replicate is the first of them
        original = originals[segment.replicate_of] if segment.replicate_of else segment
        originals[segment.name] = original
        peak = plan.gain * db_to_amplitude(original.level_dbfs)
        for samples in _blocks(original, plan):
            yield _held_below(plan.gain * samples, peak)


def write(path: Path, plan: SignalPlan) -> None:
    """Write the stimulus of a plan as a WAV, in bounded memory.

    Raises
    ------
    ProfilerError
        As `render`; or the disk refused, and nothing is left half-written.
    """
    with (
        replacing(Path(path)) as beside,
        wav.Writer(beside, plan.sample_rate, 1, frames=plan.frames) as file,
    ):
        for block in render_blocks(plan):
            file.write(block)


def _blocks(segment: Segment, plan: SignalPlan) -> Iterator[np.ndarray]:
    """The samples of a segment, as float64."""
    rate = plan.sample_rate
    spans = _spans(frames(segment, rate))
    match segment.kind:
        case "silence":
            yield from (np.zeros(stop - start) for start, stop in spans)
        case "sine" | "reference":
            yield from (sine(segment, rate, start, stop) for start, stop in spans)
        case "staircase":
            yield from (staircase(segment, rate, start, stop) for start, stop in spans)
        case "level-step":
            yield from (level_step(segment, rate, start, stop) for start, stop in spans)
        case "file":
            yield from _from_file(segment, rate)
        case _:
            samples = _composed(segment, plan)
            yield from (samples[start:stop] for start, stop in spans)


def _spans(n):
    return [(start, min(start + BLOCK_FRAMES, n)) for start in range(0, n, BLOCK_FRAMES)]


def _composed(segment: Segment, plan: SignalPlan):
    """The samples of a segment that is made all at once."""
    rate = plan.sample_rate
    rng = np.random.default_rng([plan.seed, segment.seed])
    match segment.kind:
        case "marker":
            return marker(segment, plan.identity, rate)
        case "probe":
            return probe(segment, rate)
        case "burst":
            return burst(segment, rate)
        case "pump":
            return pump(segment, rate)
        case "sweep":
            return sweep(segment, rate)
        case "twin-tone":
            return twin_tone(segment, rate)
        case "multisine":
            return multisine(segment, rate, rng)
        case "noise":
            return noise(segment, rate, rng)
        case "guitar":
            return guitar(segment, rate, rng)
    raise ValueError(f"no synthesis for segments of kind {segment.kind!r}")


def _from_file(segment: File, sample_rate) -> Iterator[np.ndarray]:
    """A passage of the user's own recording, its peak at the segment's level."""
    path = Path(segment.path)
    header = wav.header(path)
    if header.channels != 1 or header.sample_rate != sample_rate or header.frames == 0:
        wav.read_mono(path, sample_rate=sample_rate)  # says what is wrong with it
    first = round(segment.offset_seconds * sample_rate)
    n = frames(segment, sample_rate)
    if header.frames < first + n:
        raise DefinitionError(
            f"{segment.path}: lasts {header.frames / sample_rate:.2f} s, but segment "
            f"{segment.name!r} takes {segment.seconds:g} s from {segment.offset_seconds:g} s on: "
            "shorten the segment or record more"
        )

    def faded(start, stop):
        passage = wav.read_piece(path, first + start, stop - start)[:, 0].astype(np.float64)
        return piece_with_fades(passage, start, n, sample_rate, FILE_FADE_SECONDS)

    # once to know its peak, then again to play it
    largest = max((np.max(np.abs(faded(*span))) for span in _spans(n)), default=0.0)
    if largest == 0.0:
        raise DefinitionError(
            f"{segment.path}: is silent for the {segment.seconds:g} s from "
            f"{segment.offset_seconds:g} s on, which segment {segment.name!r} would play: "
            "choose another offset_seconds"
        )
    gain = db_to_amplitude(segment.level_dbfs) / largest
    yield from (gain * faded(*span) for span in _spans(n))


def _held_below(samples, peak):
    """As float32, no sample of which rounding has lifted above `peak`: a rig has a ceiling."""
    highest = np.float32(peak)
    if highest > peak:
        highest = np.nextafter(highest, np.float32(0.0))
    return np.clip(samples.astype(np.float32), -highest, highest)
