"""A take: play the plan, record the response, keep both.

The response is written while it is recorded, so a crash loses nothing that was played. Until
the last frame has arrived it bears the name `response.partial.wav`, and it keeps that name when
the take breaks off; only a whole take replaces an earlier one.

The same take again goes on where one broke off: from the last marker that was recorded whole,
joined there by that marker. A take with broken places has them played again, and a take may be
the average of several passes.
"""

import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from profiler import wav
from profiler.capture import joining
from profiler.capture.averaging import average
from profiler.capture.folder import CaptureFolder, CaptureRecord, Part
from profiler.capture.joining import SEAM_SECONDS, Recording
from profiler.capture.passes import (
    LEAD_IN_SECONDS,
    Journal,
    NewWatch,
    OnTake,
    Pass,
    Player,
    TakeProgress,
)
from profiler.capture.retake import mend
from profiler.capture.safety import announce
from profiler.errors import CaptureError, DefinitionError, NotAligned, ProfilerError
from profiler.rig.interface import Interface
from profiler.rig.rig import Rig
from profiler.stimulus import synthesis
from profiler.stimulus.plan import Placed, SignalPlan

__all__ = ["OnTake", "TakeProgress", "is_under_way", "take", "taken"]

SPARE_DISK_BYTES = 50_000_000  # left free beside the take itself
SET_ASIDE = "set-aside-"  # folders of what another take left unfinished

# What is written beside its final name has that name between dots.
_TEMPORARY = (".capture.", ".take.", ".stimulus.")

# Where a finished take is broken, in seconds of the stimulus.
Broken = Callable[[CaptureFolder], Sequence[float]]


def take(
    rig: Rig,
    plan: SignalPlan,
    path: Path,
    interface: Interface,
    *,
    on_progress: OnTake | None = None,
    replace: bool = False,
    passes: int = 1,
    broken: Broken | None = None,
    retakes: int = 2,
    watch: NewWatch | None = None,
) -> CaptureFolder:
    """Play `plan` through `interface` and keep the capture in the folder `path`.

    The plan is bracketed by markers where it has none. With `replace` a capture that is
    already there is taken anew. A take of the same plan through the same rig that broke off in
    this folder is gone on with.

    Parameters
    ----------
    passes : int
        How often the plan is played; more than once, and the response is the average.
    broken : callable, optional
        Says of the finished capture where it is broken, in seconds; those places are played
        again, up to `retakes` times. An average is not asked: it leaves out broken passes.
    watch : NewWatch, optional
        Makes what looks at a pass while it is played: a `Watchdog`, for example.

    Raises
    ------
    CaptureError
        `path` exists and holds something (without `replace`).
    SafetyStop
        The stimulus is above the rig's ceiling; nothing was played.
    InterfaceError
        The device failed; the message names the file with what was recorded until then.
    NotAligned
        None of the passes of an average is whole.
    ProfilerError
        The disk is full.
    """
    if passes < 1:
        raise ValueError(f"expected at least one pass, got passes={passes}")
    plan = plan.bracketed()
    announce(rig, plan)
    if plan.sample_rate != interface.sample_rate:
        raise ValueError(f"plan at {plan.sample_rate} Hz, interface at {interface.sample_rate} Hz")
    folder = CaptureFolder(Path(path))
    existed = folder.path.is_dir()
    if existed:
        _tidy(folder)
    journal = _under_way(folder, rig, plan)
    finished = _finished(folder, journal)
    if not finished:
        _refuse_what_is_there(folder, replace, journal)
        _refuse_a_full_disk(folder, plan, interface.channels, journal, passes)
    try:
        journal = journal or _begun(folder, rig, plan)
        player = Player(folder, journal, interface, on_progress=on_progress, watch=watch)
        if not finished:
            _play_average(player, passes) if passes > 1 else _play_once(player)
        if broken is not None and passes == 1:
            for _ in range(retakes):
                places = broken(folder)
                if not places:
                    break
                mend(player, places)
    except BaseException:
        _clear(folder, existed)
        raise
    folder.journal_path.unlink(missing_ok=True)
    return folder


def taken(rig: Rig, plan: SignalPlan, path: Path) -> CaptureFolder | None:
    """This very take, where `path` holds it whole and nobody has looked at it yet.

    Then the command that took it was stopped before it was done, and goes on from there.
    """
    folder = CaptureFolder(Path(path))
    folder.finish()
    if not folder.record_path.is_file() or folder.alignment_path.exists():
        return None
    record = folder.record()
    same = (record.rig, record.plan) == (rig, plan.bracketed())
    return folder if same and not is_under_way(rig, plan, path) else None


def is_under_way(rig: Rig, plan: SignalPlan, path: Path) -> bool:
    """Whether this very take was begun in `path` and not done with."""
    folder = CaptureFolder(Path(path))
    try:
        journal = Journal.load_json(folder.journal_path)
    except DefinitionError:  # none, or of another version
        return False
    return (journal.rig, journal.plan) == (rig, plan.bracketed())


def _play_once(player: Player):
    """Play the plan, or what is missing of it, and make the capture of it."""
    plan = player.journal.plan
    links = _linked(player)
    if not _is_whole(links):
        from_marker = links[-1].leaves if links else None
        if from_marker and from_marker.start <= LEAD_IN_SECONDS * plan.sample_rate:
            from_marker = None  # as long from the beginning
        player.play(player.journal.stretch(player.next_number, from_marker, None))
        links = _linked(player)
        if not _is_whole(links):  # the pass does not join: better all of it again than nothing
            player.play(player.journal.whole(player.next_number))
            links = _linked(player)
    stream = player.journal.passes[-1].stream
    if len(links) == 1 and links[0].recording.path == player.folder.partial_response_path:
        parts = [_whole_part(links[0].of, plan)]
        player.commit(stream or player.report(parts))
        return
    player.keep()
    links = _linked(player)
    parts = _parts(player, links)
    sources = {link.of.number: link.recording.path for link in links}
    joining.join(parts, sources, player.folder.joined_response_path, plan)
    player.commit(player.report(parts), joins=parts)


def _play_average(player: Player, passes: int):
    """Play the plan as often as it takes, and make the capture of the average."""
    plan = player.journal.plan
    while len(whole := _whole_passes(player)) < passes:
        left = passes - len(whole)
        player.play(
            player.journal.whole(player.next_number), seconds_to_follow=(left - 1) * plan.seconds
        )
    player.keep()
    found = average(
        player.played,
        [(of.number, recording) for of, recording in _whole_passes(player)],
        player.folder.joined_response_path,
    )
    player.commit(player.report(found.parts), average=found)


def _whole_passes(player):
    return [
        (of, recording)
        for of, recording in player.recordings()
        if of.joined_at is None and recording.frames == of.frames
    ]


@dataclass(frozen=True)
class _Link:
    """A pass that a take goes through, and where it leaves it for the next."""

    of: Pass
    recording: Recording
    leaves: Placed | None  # the last marker that is whole in it; None when it reached the end


def _linked(player: Player) -> list[_Link]:
    """The passes that lead from the beginning of the plan to where the playing broke off."""
    links: list[_Link] = []
    markers = {m.segment.name: m for m in player.journal.plan.of_kind("marker")}
    for of, recording in player.recordings():
        if _is_whole(links):
            break
        whole = recording.frames == of.frames
        last = None if whole else player.played.last_whole_marker(recording)
        if not whole and last is None:
            continue
        link = _Link(of, recording, last)
        if of.joined_at is None:
            links = [link]
            continue
        enters = markers[of.joined_at]
        if not links or (last is not None and last.start <= enters.start):
            continue
        try:
            player.played.joint(enters, links[-1].recording, recording)
        except NotAligned:
            continue
        links[-1] = replace(links[-1], leaves=enters)
        links.append(link)
    return links


def _is_whole(links):
    return bool(links) and links[-1].leaves is None


def _parts(player, links):
    """The parts of a response that goes through several passes."""
    plan, played = player.journal.plan, player.played
    seam = round(SEAM_SECONDS * plan.sample_rate)
    parts, start, shift = [], 0, 0.0
    for n, link in enumerate(links):
        stop, offset = plan.frames, 0.0
        if link.leaves is not None:
            stop = round(played.find(link.leaves, link.recording) - shift) + seam
            offset = played.joint(link.leaves, link.recording, links[n + 1].recording).nearest
        parts.append(Part(recorded_in=link.of.number, start=start, stop=stop, shift_samples=shift))
        start, shift = stop, shift + offset
    return parts


def _whole_part(of, plan):
    return Part(recorded_in=of.number, start=0, stop=plan.frames, shift_samples=0.0)


def _under_way(folder, rig, plan) -> Journal | None:
    """The journal of this very take, where it broke off; that of another is set aside."""
    if not folder.journal_path.is_file():
        return None
    try:
        journal = Journal.load_json(folder.journal_path)
    except DefinitionError:  # of another version
        _set_aside(folder, ())
        return None
    stimulus = folder.partial_stimulus_path
    if not stimulus.exists():
        stimulus = folder.stimulus_path  # committed, and perhaps being mended
    same = (journal.rig, journal.plan) == (rig, plan) and stimulus.exists()
    if same and wav.sha256(stimulus) == journal.stimulus_sha256:
        return journal
    _set_aside(folder, journal.passes)
    return None


def _finished(folder, journal) -> bool:
    """Whether the take of the journal is the capture in the folder already."""
    if journal is None or not folder.record_path.is_file():
        return False
    record: CaptureRecord = folder.record()
    return record.plan == journal.plan and record.created_utc >= journal.started_utc


def _begun(folder, rig, plan) -> Journal:
    """The stimulus on the disk, and the journal of a take that begins."""
    synthesis.write(folder.partial_stimulus_path, plan)
    journal = Journal(
        started_utc=datetime.datetime.now(datetime.UTC),
        plan=plan,
        rig=rig,
        stimulus_sha256=wav.sha256(folder.partial_stimulus_path),
    )
    journal.save(folder.journal_path)
    return journal


def _set_aside(folder, passes):
    """Move what another take has left out of the way of this one: nothing recorded is lost."""
    kept = [folder.partial_response_path]
    kept += [folder.pass_path(p.number) for p in passes]
    if any(path.exists() for path in kept):
        number = 1
        while (aside := folder.path / f"{SET_ASIDE}{number}").exists():
            number += 1
        aside.mkdir()
        kept += [folder.partial_stimulus_path, folder.partial_blocks_path, folder.journal_path]
        kept += [folder.pass_blocks_path(p.number) for p in passes]
        for path in kept:
            if path.exists():
                path.replace(aside / path.name)
    folder.leave_no_empty_passes()
    folder.journal_path.unlink(missing_ok=True)


def _tidy(folder):
    """Finish what was being renamed, and take away what was being written, at a kill."""
    folder.finish()
    folder.joined_response_path.unlink(missing_ok=True)
    for path in folder.path.glob(".*"):
        if path.name.startswith(_TEMPORARY):
            path.unlink()


def _clear(folder, existed):
    """Leave nothing behind of a take in which nothing was recorded."""
    if folder.partial_response_path.exists() or folder.pass_numbers():
        return
    folder.partial_stimulus_path.unlink(missing_ok=True)
    folder.journal_path.unlink(missing_ok=True)
    if not existed:
        shutil.rmtree(folder.path, ignore_errors=True)


def _refuse_what_is_there(folder, replace, journal):
    if folder.path.exists() and not folder.path.is_dir():
        raise CaptureError(f"{folder.path}: is a file, expected a folder for the capture")
    if replace or not folder.path.is_dir():
        return
    own = {
        folder.journal_path,
        folder.partial_stimulus_path,
        folder.partial_response_path,
        folder.partial_blocks_path,
    }
    if journal is not None:
        own.add(folder.passes_path)
    foreign = sorted(
        path for path in set(folder.path.iterdir()) - own if not path.name.startswith(SET_ASIDE)
    )
    if foreign:
        raise CaptureError(
            f"{folder.path}: already holds {foreign[0].name}: choose another folder with -o, or "
            "replace the capture with -y"
        )


def _refuse_a_full_disk(folder, plan, channels, journal, passes):
    """Refuse when what is yet to be written does not fit."""
    there = 0 if journal is None else sum(p.frames for p in journal.passes)
    responses = passes + (1 if passes > 1 or journal is not None else 0)  # and one that is joined
    samples = channels * max(responses * plan.frames - there, plan.frames)
    samples += plan.frames if journal is None else 0
    existing = next(
        parent for parent in (folder.path, *folder.path.absolute().parents) if parent.exists()
    )
    free = shutil.disk_usage(existing).free
    if free < 4 * samples + SPARE_DISK_BYTES:
        raise ProfilerError(
            f"{folder.path}: the take needs {4 * samples / 1e6:.0f} MB and the disk has "
            f"{free / 1e6:.0f} MB free: make room, or choose another disk with -o"
        )
