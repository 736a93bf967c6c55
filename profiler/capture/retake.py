"""Retakes: the broken places of a take played again, and joined in without a seam.

A lost buffer or a slammed door spoils a second of a take, not the other hundred. The stretch
between the markers around it is played once more, two seconds of what came before ahead of it so
that the device has the same past, and laid in by its markers. Where samples were lost or
repeated, all that follows the place is moved back to where it belongs.

What was recorded stays as it was: each pass in `passes/`, and `capture.json` says which of them
every sample of the response is from.

Conventions
-----------
Places are in seconds of the stimulus.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from profiler.capture import joining
from profiler.capture.checks.findings import Finding
from profiler.capture.folder import CaptureFolder, Part
from profiler.capture.joining import SEAM_SECONDS, Recording
from profiler.capture.passes import Journal, NewWatch, OnTake, Player
from profiler.errors import CaptureError
from profiler.rig.faults import FaultName
from profiler.rig.interface import Interface
from profiler.stimulus.plan import Placed, SignalPlan

# What spoils a place of a take and not all of it.
MENDED_BY_A_RETAKE: tuple[FaultName, ...] = (
    "lost-block",
    "repeated-block",
    "zero-fill",
    "room-noise",
)
PLACE_SECONDS = 0.3  # a place is known to 0.2 s
WHOLE_WITHIN = 0.25  # samples: a stream loses and repeats whole ones


@dataclass(frozen=True)
class Stretch:
    """What is played again: from one marker to another; None is an end of the plan."""

    before: Placed | None
    after: Placed | None

    def seconds(self, plan: SignalPlan) -> tuple[float, float]:
        """Where it begins and ends."""
        start = 0 if self.before is None else self.before.start
        stop = plan.frames if self.after is None else self.after.stop
        return start / plan.sample_rate, stop / plan.sample_rate


def places_of(findings: Iterable[Finding]) -> list[float]:
    """Where a take has findings that a retake mends, in seconds."""
    return [
        finding.at_seconds
        for finding in findings
        if finding.name in MENDED_BY_A_RETAKE and finding.at_seconds is not None
    ]


def stretches(plan: SignalPlan, places: Iterable[float]) -> list[Stretch]:
    """The stretches between whole markers that hold all the places, in order."""
    markers = list(plan.of_kind("marker"))
    found: list[Stretch] = []
    for place in sorted(places):
        first, last = ((place + sign * PLACE_SECONDS) * plan.sample_rate for sign in (-1, 1))
        before = next((m for m in reversed(markers) if m.stop <= first), None)
        after = next((m for m in markers if m.start >= last), None)
        if found and _meet(found[-1], before):
            found[-1] = Stretch(found[-1].before, after)
        else:
            found.append(Stretch(before, after))
    return found


def retake(
    folder: CaptureFolder,
    places: Sequence[float],
    interface: Interface,
    *,
    on_progress: OnTake | None = None,
    watch: NewWatch | None = None,
) -> None:
    """Play the broken places of a finished capture again, and join them in.

    Parameters
    ----------
    places : sequence of float
        In seconds of the stimulus; each may be off by `PLACE_SECONDS`.

    Raises
    ------
    NotAligned
        A marker around a place is not heard, in the take or in the retake; the capture stays
        as it was.
    CaptureError
        The capture is not whole, or its response is an average.
    InterfaceError
        The device failed; the capture stays as it was.
    """
    folder.finish()
    folder.verify_unchanged()
    record = folder.record()
    journal = Journal(
        started_utc=record.created_utc,
        plan=record.plan,
        rig=record.rig,
        stimulus_sha256=record.stimulus_sha256,
    )
    mend(Player(folder, journal, interface, on_progress=on_progress, watch=watch), places)
    folder.journal_path.unlink(missing_ok=True)


def mend(player: Player, places: Sequence[float]) -> None:
    """As `retake`, with a player that has played the take."""
    folder, plan = player.folder, player.journal.plan
    record = folder.record()
    if record.average is not None:
        raise CaptureError(f"{folder.path}: is an average: take it again with another pass")
    joins = record.joins or _as_a_pass(folder, plan)
    response = Recording(folder.response_path, 0, plan.frames)
    again = stretches(plan, places)
    passes = [
        player.journal.stretch(player.next_number + n, stretch.before, stretch.after)
        for n, stretch in enumerate(again)
    ]
    lengths = [p.frames / plan.sample_rate for p in passes]

    parts: list[Part] = []
    reached, shift = 0, 0.0  # of the response; position in it minus where it belongs
    for n, (stretch, stretch_pass) in enumerate(zip(again, passes, strict=True)):
        player.play(stretch_pass, seconds_to_follow=sum(lengths[n + 1 :]))
        player.keep()
        path = folder.pass_path(stretch_pass.number)
        played = Recording(path, stretch_pass.begins, stretch_pass.frames)
        laid = _laid_in(player, response, played, stretch, shift)
        parts += joining.moved(joins, reached, laid.start, shift)
        parts.append(
            Part(
                recorded_in=stretch_pass.number,
                start=laid.start,
                stop=laid.stop,
                shift_samples=laid.shift,
            )
        )
        reached, shift = laid.stop, laid.shift_after
    parts += joining.moved(joins, reached, plan.frames, shift)
    sources = {part.recorded_in: folder.pass_path(part.recorded_in) for part in parts}
    joining.join(parts, sources, folder.joined_response_path, plan)
    player.commit(player.report(parts, record.stream), joins=parts, kept=folder.pass_numbers())


@dataclass(frozen=True)
class _Laid:
    """Where a retake lies in the response, and what follows it."""

    start: int
    stop: int
    shift: float  # position in the retake minus position in the response
    shift_after: float  # position in the take minus position in the response, from there on


def _laid_in(player, response, played, stretch, shift):
    plan = player.journal.plan
    seam = round(SEAM_SECONDS * plan.sample_rate)
    start, own = 0, float(-played.begins)
    if stretch.before is not None:
        start = round(player.played.find(stretch.before, response) - shift) + seam
        own = shift + player.played.joint(stretch.before, response, played).nearest
    if stretch.after is None:
        return _Laid(start, plan.frames, own, shift)
    after = own - player.played.joint(stretch.after, response, played).nearest
    if abs(after - round(after)) < WHOLE_WITHIN:
        after = float(round(after))
    stop = round(player.played.find(stretch.after, response) - after) + seam
    return _Laid(start, stop, own, after)


def _as_a_pass(folder, plan):
    """The response of a take that was one pass, kept as the first of several."""
    folder.passes_path.mkdir(exist_ok=True)
    for path, kept in (
        (folder.response_path, folder.pass_path(1)),
        (folder.blocks_path, folder.pass_blocks_path(1)),
    ):
        if path.exists() and not kept.exists():
            _same_file(path, kept)
    return (Part(recorded_in=1, start=0, stop=plan.frames, shift_samples=0.0),)


def _same_file(path, other):
    """Another name for a file; where a disk has only one for each, a copy."""
    try:
        os.link(path, other)
    except OSError:
        beside = other.with_suffix(".copying")
        shutil.copyfile(path, beside)
        beside.replace(other)


def _meet(stretch, before):
    """Whether a stretch reaches to the marker at which the next one would begin."""
    return stretch.after is None or before is None or before.start <= stretch.after.start
