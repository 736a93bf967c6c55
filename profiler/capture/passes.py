"""A pass: one playing of a take's stimulus, or of a stretch of it, written while it is recorded.

Most takes are one pass. A take that broke off goes on in another, one with a broken place has it
played again, and one that is averaged is played many times. `take.json` says, before a pass is
played, what it is: whoever finds the files after a crash knows what they are.

The pass that is being recorded is `response.partial.wav`; when the next one begins it takes its
number among the passes.

Conventions
-----------
A stretch is played from silence to silence: a pre-roll, the stimulus from `start` to `stop`
(faded in where that is not its beginning), and room for the latency.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from profiler import wav
from profiler.capture.calibration import stored_levels
from profiler.capture.folder import Average, CaptureFolder, CaptureRecord, Part
from profiler.capture.joining import Played, Recording
from profiler.capture.safety import announce
from profiler.definitions import Record
from profiler.errors import CaptureError, Dropout, ProfilerError, SafetyStop
from profiler.rig.interface import Block, Interface, StreamReport
from profiler.rig.rig import Rig
from profiler.stimulus.plan import Placed, SignalPlan
from profiler.units import peak_dbfs

PRE_ROLL_SECONDS = 0.25
POST_ROLL_SECONDS = 1.0  # the latest that a response may come
FADE_IN_SECONDS = 0.01
# A device is in the state that its past has left it in: so much of the programme is played
# again ahead of the marker from which a pass is used.
LEAD_IN_SECONDS = 2.0


@dataclass(frozen=True)
class TakeProgress:
    """How far a take is, over all the passes that it plays, and what comes back."""

    seconds: float
    total_seconds: float
    return_peak_dbfs: float  # of the last block
    return_highest_dbfs: float  # of the take so far


OnTake = Callable[[TakeProgress], None]


class Watching(Protocol):
    """Looks at one pass while it is played, in the driver's thread; see `Watch`."""

    def follow(self, stimulus: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The stimulus on its way to the interface, as it is."""

    def __call__(self, block: np.ndarray, frame: int) -> Exception | None:
        """An error ends the pass."""


class NewWatch(Protocol):
    """Makes what watches a pass: each has a new one."""

    def __call__(self, plan: SignalPlan, *, frames: int, begins: int) -> Watching:
        """Of a pass of so many frames, the first of them when sample `begins` is due."""


class Pass(Record):
    """What a pass plays, and when that is done, what the driver said."""

    number: int
    begins: int  # sample of the stimulus that is due at the first frame
    start: int  # first sample of the stimulus that is played, and
    stop: int  # the first that is not
    frames: int
    joined_at: str | None = None  # the marker from which it goes on with what was there
    stream: StreamReport | None = None  # None until it was played to its end
    spoiled: bool = False  # stopped for what was heard: nothing goes on from there


class Journal(Record):
    """`take.json`: what is being played, and in which passes."""

    schema_: Literal["ampscope.take/1"] = Field(default="ampscope.take/1", alias="schema")
    started_utc: datetime.datetime
    plan: SignalPlan
    rig: Rig
    stimulus_sha256: str
    passes: tuple[Pass, ...] = ()

    def whole(self, number: int) -> Pass:
        """A pass of all the stimulus."""
        frames = self.plan.frames
        return Pass(number=number, begins=0, start=0, stop=frames, frames=frames)

    def stretch(self, number: int, before: Placed | None, after: Placed | None) -> Pass:
        """A pass that is used from the marker `before` to the marker `after`.

        None stands for the beginning, or the end, of the stimulus.
        """
        rate, end = self.plan.sample_rate, self.plan.frames
        start = 0 if before is None else max(before.start - round(LEAD_IN_SECONDS * rate), 0)
        stop = end if after is None else after.stop
        begins = start - (round(PRE_ROLL_SECONDS * rate) if start > 0 else 0)
        played = stop + (round(POST_ROLL_SECONDS * rate) if stop < end else 0)
        return Pass(
            number=number,
            begins=begins,
            start=start,
            stop=stop,
            frames=played - begins,
            joined_at=before.segment.name if before else None,
        )


class Player:
    """Plays the passes of one take through one interface and keeps the journal."""

    def __init__(
        self,
        folder: CaptureFolder,
        journal: Journal,
        interface: Interface,
        *,
        on_progress: OnTake | None = None,
        watch: NewWatch | None = None,
    ):
        self.folder = folder
        self.journal = journal
        self._interface = interface
        self._on_progress = on_progress
        self._watch = watch
        self._seconds_played = 0.0
        self._highest = 0.0

    @property
    def played(self) -> Played:
        """What the recordings answer."""
        return Played(self.journal.plan, stimulus_of(self.folder))

    @property
    def next_number(self) -> int:
        """Of the next pass."""
        known = [p.number for p in self.journal.passes]
        return max([0, *known, *self.folder.pass_numbers()]) + 1

    def play(self, stretch: Pass, *, seconds_to_follow: float = 0.0) -> Pass:
        """Play and record a pass, and keep the recording as `response.partial.wav`.

        Parameters
        ----------
        seconds_to_follow : float
            Of further passes, as far as is known: for the progress.

        Raises
        ------
        InterfaceError
            The device failed; the message names the file with what was recorded until then.
        """
        self.keep()
        self._note((*self.journal.passes, stretch))
        rate = self.journal.plan.sample_rate
        ahead = stretch.frames / rate + seconds_to_follow
        recorder = _Recorder(self, stretch, self._interface.channels, self._seconds_played + ahead)
        sound, watched = _sound(self.played.stimulus_path, stretch, rate), {}
        if self._watch is not None:
            watching = self._watch(self.journal.plan, frames=stretch.frames, begins=stretch.begins)
            sound, watched = watching.follow(sound), {"watch": watching}
        try:
            with recorder:
                stream = self._interface.play_record(
                    sound, stretch.frames, recorder.record, **watched
                )
                if stream.frames != stretch.frames:
                    raise Dropout(
                        f"{stream.device}: {stream.frames} frames came back of {stretch.frames} "
                        "that were played: take it again, with a larger block size"
                    )
        except (ProfilerError, KeyboardInterrupt) as error:
            if isinstance(error, SafetyStop | CaptureError):
                stretch = stretch.model_copy(update={"spoiled": True})
                self._note((*self.journal.passes[:-1], stretch))
            kept = recorder.what_was_kept()
            if isinstance(error, KeyboardInterrupt):
                error.add_note(kept)
                raise
            raise type(error)(f"{error}; {kept}") from error
        self._seconds_played += stretch.frames / rate
        played = stretch.model_copy(update={"stream": stream})
        self._note((*self.journal.passes[:-1], played))
        return played

    def keep(self) -> None:
        """Give the last recording its number among the passes."""
        folder = self.folder
        if folder.partial_response_path.exists():
            passes = self.journal.passes
            number = passes[-1].number if passes else self.next_number
            folder.passes_path.mkdir(exist_ok=True)
            if folder.partial_blocks_path.exists():
                folder.partial_blocks_path.replace(folder.pass_blocks_path(number))
            folder.partial_response_path.replace(folder.pass_path(number))

    def recordings(self) -> list[tuple[Pass, Recording]]:
        """The passes of which something is on the disk that can be used, in order."""
        found = []
        for played in self.journal.passes:
            if played.spoiled:
                continue
            path = self.folder.pass_path(played.number)
            if not path.exists() and played is self.journal.passes[-1]:
                path = self.folder.partial_response_path
            with contextlib.suppress(CaptureError):  # killed before a frame was there
                found.append((played, Recording(path, played.begins, wav.header(path).frames)))
        return found

    def commit(
        self,
        stream: StreamReport,
        *,
        joins: Sequence[Part] = (),
        average: Average | None = None,
        kept: Iterable[int] = (),
    ) -> None:
        """Make what was played the capture of the folder.

        Passes that are in it, or in `kept`, stay; others are those of an earlier capture, or
        too short to be used.
        """
        folder, journal = self.folder, self.journal
        joined = folder.joined_response_path
        response = joined if joins or average else folder.partial_response_path
        used = {*kept, *(part.recorded_in for part in joins)}
        if average is not None:
            used |= {part.recorded_in for part in average.parts}
            used |= {rejected.recorded_in for rejected in average.rejected}
        folder.commit(
            CaptureRecord(
                created_utc=datetime.datetime.now(datetime.UTC),
                plan=journal.plan,
                rig=journal.rig,
                stream=stream,
                stimulus_sha256=journal.stimulus_sha256,
                response_sha256=wav.sha256(response),
                levels=stored_levels(journal.rig),
                joins=tuple(joins),
                average=average,
            ),
            passes=used,
        )

    def report(self, parts: Sequence[Part], known: StreamReport | None = None) -> StreamReport:
        """What happened while the passes of a joined response were played.

        Device and notes are those of the passes that were played to their end, or `known`.
        """
        streams = [p.stream for p in self.journal.passes if p.stream is not None]
        streams += [known] if known is not None else []
        rig, plan = self.journal.rig, self.journal.plan
        blocks, sizes, flagged = 0, set(), []
        for number in sorted({part.recorded_in for part in parts}):
            path = self.folder.pass_blocks_path(number)
            path = path if path.exists() else self.folder.partial_blocks_path
            for frame, frames, flags in _read_blocks(path):
                blocks += 1
                sizes.add(frames)
                flagged += [
                    (max(round(frame - part.shift_samples), 0), flags)
                    for part in parts
                    if flags and part.recorded_in == number
                    if part.start < frame + frames - part.shift_samples
                    if frame - part.shift_samples < part.stop
                ]
        return StreamReport(
            driver=rig.interface.driver,
            device=streams[0].device if streams else announce(rig, plan).device,
            sample_rate=plan.sample_rate,
            frames=plan.frames,
            blocks=blocks,
            block_sizes=tuple(sorted(sizes)),
            flagged=tuple(sorted(flagged)),
            notes=tuple(dict.fromkeys(note for stream in streams for note in stream.notes)),
        )

    def _note(self, passes):
        self.journal = self.journal.model_copy(update={"passes": tuple(passes)})
        self.journal.save(self.folder.journal_path)

    def tell(self, seconds, total_seconds, returned):
        """Say how far the take is."""
        self._highest = max(self._highest, float(np.max(np.abs(returned), initial=0.0)))
        if self._on_progress is not None:
            self._on_progress(
                TakeProgress(
                    self._seconds_played + seconds,
                    total_seconds,
                    peak_dbfs(returned),
                    peak_dbfs(np.array([self._highest])),
                )
            )


class _Recorder:
    """Writes blocks as they arrive, and what the driver said of each."""

    def __init__(self, player, stretch, channels, total_seconds):
        self._player = player
        self._folder = player.folder
        self._rate = player.journal.plan.sample_rate
        self._total_seconds = total_seconds
        self._wav = wav.Writer(
            self._folder.partial_response_path, self._rate, channels, frames=stretch.frames
        )
        with _told(self._folder.partial_blocks_path):
            # line by line, so that a crash loses none
            self._log = open(  # noqa: SIM115
                self._folder.partial_blocks_path, "w", encoding="ascii", buffering=1
            )
            self._log.write("frame,frames,flags,adc_seconds,dac_seconds\n")

    def record(self, block: Block) -> None:
        self._wav.write(block.samples)
        with _told(self._folder.partial_blocks_path):
            self._log.write(
                f"{block.frame},{len(block.samples)},{block.flags},"
                f"{block.adc_seconds:.9f},{block.dac_seconds:.9f}\n"
            )
        self._player.tell(self._wav.frames / self._rate, self._total_seconds, block.samples[:, 0])

    def what_was_kept(self):
        if self._wav.frames == 0:
            for path in (self._folder.partial_response_path, self._folder.partial_blocks_path):
                path.unlink(missing_ok=True)
            return "nothing was recorded"
        seconds = self._wav.frames / self._rate
        return (
            f"the {seconds:.1f} s recorded are kept in {self._folder.partial_response_path}, and "
            "the same command goes on from there"
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # when the take failed already, that is what should be told
        with contextlib.suppress(ProfilerError, OSError) if kind else contextlib.nullcontext():
            self._log.close()
        with contextlib.suppress(ProfilerError) if kind else contextlib.nullcontext():
            self._wav.close()


@contextlib.contextmanager
def _told(path):
    """What the disk refuses, in a line."""
    try:
        yield
    except OSError as error:
        raise ProfilerError(
            f"{path}: cannot be written ({error.strerror}): make room and run the command again"
        ) from error


def stimulus_of(folder: CaptureFolder) -> Path:
    """The stimulus of the take that is under way, or of the capture that is there."""
    partial = folder.partial_stimulus_path
    return partial if partial.exists() else folder.stimulus_path


def _sound(stimulus_path, stretch, sample_rate) -> Iterator[np.ndarray]:
    """What a pass plays, in blocks."""
    if stretch.begins < stretch.start:
        yield np.zeros(stretch.start - stretch.begins, np.float32)
    fade = round(FADE_IN_SECONDS * sample_rate) if stretch.start > 0 else 0
    for start in range(stretch.start, stretch.stop, wav.BLOCK_FRAMES):
        frames = min(wav.BLOCK_FRAMES, stretch.stop - start)
        block = wav.read_piece(stimulus_path, start, frames)[:, 0]
        if start == stretch.start and fade:
            block[:fade] *= np.linspace(0.0, 1.0, fade, dtype=np.float32)[: len(block)]
        yield block
    rest = stretch.begins + stretch.frames - stretch.stop
    if rest > 0:
        yield np.zeros(rest, np.float32)


def _read_blocks(path) -> Iterator[tuple[int, int, str]]:
    """First frame, frames and flags of every block of which a log holds the whole line."""
    if not path.exists():
        return
    with open(path, encoding="ascii") as log:
        next(log, None)
        for line in log:
            if line.endswith("\n"):
                frame, frames, *flags, _, _ = line.split(",")
                yield int(frame), int(frames), ",".join(flags)
