"""The capture folder: one recorded pair and its circumstances.

    capture.json     facts: plan and rig as they were, driver, flags, hashes, version, time
    stimulus.wav     what was played, 32-bit float, mono
    response.wav     every recorded channel, 32-bit float, raw and unaligned, never edited
    blocks.csv       what the driver said of each block: frame, flags, its clocks
    findings.json    what the checks found
    alignment.json   delay, polarity, drift
    analysis.json    what was measured
    models/<name>/   trained models
    report.html      all of it to look at

While a take runs its files are `stimulus.partial.wav`, `response.partial.wav` and
`blocks.partial.csv`; they keep those names when the take does not reach its end, and a capture
that was in the folder before stays as it was.
"""

import datetime
from collections.abc import Collection
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
        if not folder.record_path.is_file():
            unfinished = folder.partial_response_path.is_file()
            raise CaptureError(
                f"{path}: holds no finished capture (no capture.json)"
                + ("; the take in it did not reach its end: capture again" if unfinished else "")
            )
        return folder

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
        for path in (
            self.record_path,
            self.response_path,
            self.stimulus_path,
            self.blocks_path,
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
