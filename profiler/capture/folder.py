"""The capture folder: one recorded pair and its circumstances.

    capture.json     facts: plan and rig as they were, driver, flags, hashes, version, time
    stimulus.wav     what was played, 32-bit float, mono
    response.wav     every recorded channel, 32-bit float, unaligned, never edited
    blocks.csv       what the driver said of each block: frame, flags, its clocks
    findings.json    what the checks found
    passes/          where a take was made of several passes: each as it was recorded
    alignment.json   delay, polarity, drift
    analysis.json    what was measured
    models/<name>/   trained models
    report.html      all of it to look at

While a take runs its files are `stimulus.partial.wav`, `response.partial.wav` and
`blocks.partial.csv`, and `take.json` says what is being played; they keep those names when the
take does not reach its end, and a capture that was in the folder before stays as it was.

A take becomes the capture by renaming. `capture.partial.json` is written when everything else
is whole, and goes last: whoever finds it finishes the renaming, so that at whatever moment a
program is killed the folder holds the old capture or the new one, and never half of both.
"""

import contextlib
import datetime
import re
import shutil
from collections.abc import Collection, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

import profiler
from profiler import wav
from profiler.capture.calibration.levels import LevelCalibration
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.rig.faults import FaultName
from profiler.rig.interface import StreamReport
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalPlan


class Part(Record):
    """A stretch of a joined response, and the pass that it was recorded in."""

    recorded_in: int  # number of the pass: passes/0001.wav is the first
    start: int  # first sample of the response that it gives, and
    stop: int  # the first after it; neighbours are crossfaded about the seam
    shift_samples: float  # position in the pass minus position in the response


class Rejected(Record):
    """A pass that was not averaged, and why."""

    recorded_in: int
    reason: str


class Average(Record):
    """What was averaged, and what it gained."""

    parts: tuple[Part, ...]  # every pass that was averaged, over its whole length
    rejected: tuple[Rejected, ...]
    noise_before_dbfs: float  # RMS of what one pass does not share with another
    noise_after_dbfs: float  # of the same in the average
    snr_gain_db: float

    @property
    def passes(self) -> int:
        """How many were played."""
        return len(self.parts) + len(self.rejected)

    def words(self) -> str:
        """The average in a line."""
        left_out = "".join(f"; pass {r.recorded_in} left out: {r.reason}" for r in self.rejected)
        return (
            f"average of {len(self.parts)} of {self.passes} passes, noise "
            f"{self.snr_gain_db:.1f} dB lower{left_out}"
        )


class CaptureRecord(Record):
    """`capture.json`: the circumstances of a take."""

    schema_: Literal["ampscope.capture/1"] = Field(default="ampscope.capture/1", alias="schema")
    software_version: str = profiler.__version__
    created_utc: datetime.datetime
    plan: SignalPlan
    rig: Rig
    stream: StreamReport
    stimulus_sha256: str
    response_sha256: str
    levels: LevelCalibration | None = None  # of send and return, as far as they were known
    given_delay_samples: float | None = None  # by the user, for an imported pair
    repairs: tuple[str, ...] = ()  # what was mended in an imported pair
    accepted: tuple[FaultName, ...] = ()  # findings that the user let pass
    joins: tuple[Part, ...] = ()  # of a response that was joined from several passes
    average: Average | None = None  # of a response that is the mean of several passes


@dataclass(frozen=True)
class CaptureFolder:
    """Where everything about one capture is."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path / "capture.json"

    @property
    def stimulus_path(self) -> Path:
        return self.path / "stimulus.wav"

    @property
    def response_path(self) -> Path:
        return self.path / "response.wav"

    @property
    def partial_response_path(self) -> Path:
        return self.path / "response.partial.wav"

    @property
    def partial_stimulus_path(self) -> Path:
        return self.path / "stimulus.partial.wav"

    @property
    def partial_blocks_path(self) -> Path:
        return self.path / "blocks.partial.csv"

    @property
    def blocks_path(self) -> Path:
        return self.path / "blocks.csv"

    @property
    def findings_path(self) -> Path:
        return self.path / "findings.json"

    @property
    def partial_record_path(self) -> Path:
        return self.path / "capture.partial.json"

    @property
    def joined_response_path(self) -> Path:
        return self.path / "response.joined.wav"

    @property
    def journal_path(self) -> Path:
        return self.path / "take.json"

    @property
    def passes_path(self) -> Path:
        return self.path / "passes"

    def pass_path(self, number: int) -> Path:
        """The response of a pass, as it was recorded."""
        return self.passes_path / f"{number:04d}.wav"

    def pass_blocks_path(self, number: int) -> Path:
        """What the driver said of its blocks."""
        return self.passes_path / f"{number:04d}.csv"

    def pass_numbers(self) -> list[int]:
        """The passes that are kept, in the order they were recorded."""
        found = (re.fullmatch(r"(\d{4,})\.wav", path.name) for path in self.passes_path.glob("*"))
        return sorted(int(match[1]) for match in found if match)

    @property
    def alignment_path(self) -> Path:
        return self.path / "alignment.json"

    @property
    def analysis_path(self) -> Path:
        return self.path / "analysis.json"

    @property
    def models_path(self) -> Path:
        return self.path / "models"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @classmethod
    def existing(cls, path: Path) -> Self:
        """The folder of a finished capture.

        Raises
        ------
        CaptureError
            There is no finished capture in it.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise CaptureError(f"{path}: no such capture folder")
        folder.finish()
        if not folder.record_path.is_file():
            raise CaptureError(
                f"{path}: holds no finished capture (no capture.json){folder._unfinished()}"
            )
        return folder

    def _unfinished(self):
        """What there is of a take that broke off, in words."""
        passes = [self.pass_path(number) for number in self.pass_numbers()]
        if self.partial_response_path.is_file():
            passes.append(self.partial_response_path)
        if not passes:
            return ""
        names = ", ".join(str(path.relative_to(self.path)) for path in passes)
        return (
            f"; the take in it did not reach its end: capture again by the same command, which "
            f"goes on from what is there ({names})"
        )

    def commit(self, record: CaptureRecord, *, passes: Container[int] | None = None) -> None:
        """Make the take whose files are whole the capture of this folder.

        Parameters
        ----------
        record : CaptureRecord
            Its circumstances, with the hashes of the partial files.
        passes : container of int, optional
            The passes to keep; others belong to the capture that was here before.
        """
        record.save(self.partial_record_path)
        if passes is not None:
            for number in self.pass_numbers():
                if number not in passes:
                    self.pass_path(number).unlink(missing_ok=True)
                    self.pass_blocks_path(number).unlink(missing_ok=True)
            self.leave_no_empty_passes()
        self.finish()

    def leave_no_empty_passes(self) -> None:
        """Take away the folder of the passes when none is in it."""
        with contextlib.suppress(OSError):
            self.passes_path.rmdir()

    def finish(self) -> None:
        """Finish the renaming of a take, where a program was killed in the midst of it."""
        if not self.partial_record_path.is_file():
            return
        self._forget_results()
        if self.joined_response_path.exists():
            self.blocks_path.unlink(missing_ok=True)  # each pass has its own
        for partial, final in (
            (self.partial_stimulus_path, self.stimulus_path),
            (self.partial_response_path, self.response_path),
            (self.joined_response_path, self.response_path),
            (self.partial_blocks_path, self.blocks_path),
        ):
            if partial.exists():
                partial.replace(final)
        self.partial_record_path.replace(self.record_path)

    def record(self) -> CaptureRecord:
        """The circumstances.

        Raises
        ------
        DefinitionError
            `capture.json` is damaged or of another version.
        """
        return CaptureRecord.load_json(self.record_path)

    def accept(self, names: Collection[FaultName]) -> None:
        """Write into the capture that findings of these names do not stop the work."""
        record = self.record()
        new = tuple(sorted({*record.accepted, *names}))
        if new != record.accepted:
            record.model_copy(update={"accepted": new}).save(self.record_path)

    def forget(self) -> None:
        """Take away a capture and what was made from it, its record first; models stay."""
        self._forget_results()
        for path in (self.response_path, self.stimulus_path, self.blocks_path):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.passes_path, ignore_errors=True)

    def _forget_results(self):
        for path in (
            self.record_path,
            self.findings_path,
            self.alignment_path,
            self.analysis_path,
            self.report_path,
        ):
            path.unlink(missing_ok=True)

    def verify_unchanged(self) -> None:
        """Raise a `CaptureError` when the audio is not what was recorded."""
        record = self.record()
        for path, expected in (
            (self.stimulus_path, record.stimulus_sha256),
            (self.response_path, record.response_sha256),
        ):
            if not path.is_file():
                raise CaptureError(f"{path}: is missing: the capture is not whole, take it again")
            if wav.sha256(path) != expected:
                raise CaptureError(
                    f"{path}: has changed since it was recorded: raw audio is never edited; "
                    "restore it, or import the pair as a new capture"
                )
