"""A take: play the plan, record the response, keep both.

The response is written while it is recorded, so a crash loses nothing that was played. Until
the last frame has arrived it bears the name `response.partial.wav`, and it keeps that name when
the take breaks off; only a whole take replaces an earlier one.
"""

import contextlib
import datetime
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.capture.calibration import stored_levels
from profiler.capture.folder import CaptureFolder, CaptureRecord
from profiler.capture.safety import announce
from profiler.errors import CaptureError, Dropout, ProfilerError
from profiler.rig.interface import Block, Interface
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalPlan
from profiler.stimulus.synthesis import render
from profiler.units import peak_dbfs

SPARE_DISK_BYTES = 50_000_000  # left free beside the take itself


@dataclass(frozen=True)
class TakeProgress:
    """How far a take is, and what comes back."""

    seconds: float
    total_seconds: float
    return_peak_dbfs: float  # of the last block
    return_highest_dbfs: float  # of the take so far


OnTake = Callable[[TakeProgress], None]


def take(
    rig: Rig,
    plan: SignalPlan,
    path: Path,
    interface: Interface,
    *,
    on_progress: OnTake | None = None,
    replace: bool = False,
) -> CaptureFolder:
    """Play `plan` through `interface` and keep the capture in the folder `path`.

    The plan is bracketed by markers where it has none. With `replace` a capture that is
    already there is taken anew.

    Raises
    ------
    CaptureError
        `path` exists and holds something (without `replace`).
    SafetyStop
        The stimulus is above the rig's ceiling; nothing was played.
    InterfaceError
        The device failed; the message names the file with what was recorded until then.
    ProfilerError
        The disk is full.
    """
    plan = plan.bracketed()
    announce(rig, plan)
    if plan.sample_rate != interface.sample_rate:
        raise ValueError(f"plan at {plan.sample_rate} Hz, interface at {interface.sample_rate} Hz")
    folder = CaptureFolder(Path(path))
    _refuse_what_is_there(folder, replace)
    _refuse_a_full_disk(folder.path, plan.frames * 4 * (1 + interface.channels))
    existed = folder.path.is_dir()
    try:
        wav.write(folder.partial_stimulus_path, render(plan), plan.sample_rate)
        return _play_and_record(rig, plan, folder, interface, on_progress)
    except BaseException:
        if not folder.partial_response_path.exists() and not existed:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _play_and_record(rig, plan, folder, interface, on_progress):
    recorder = _Recorder(folder, plan, interface.channels, on_progress)
    try:
        with recorder:
            stimulus = (block[:, 0] for block in wav.blocks(folder.partial_stimulus_path))
            stream = interface.play_record(stimulus, plan.frames, recorder.record)
            if stream.frames != plan.frames:
                raise Dropout(
                    f"{stream.device}: {stream.frames} frames came back of {plan.frames} that were "
                    "played: take it again, with a larger block size"
                )
    except (ProfilerError, KeyboardInterrupt) as error:
        kept = recorder.what_was_kept()
        if isinstance(error, KeyboardInterrupt):
            error.add_note(kept)
            raise
        raise type(error)(f"{error}; {kept}") from error
    folder.forget()
    folder.partial_stimulus_path.replace(folder.stimulus_path)
    folder.partial_blocks_path.replace(folder.blocks_path)
    folder.partial_response_path.replace(folder.response_path)
    record = CaptureRecord(
        created_utc=datetime.datetime.now(datetime.UTC),
        plan=plan,
        rig=rig,
        stream=stream,
        stimulus_sha256=wav.sha256(folder.stimulus_path),
        response_sha256=wav.sha256(folder.response_path),
        levels=stored_levels(rig),
    )
    record.save(folder.record_path)
    return folder


class _Recorder:
    """Writes blocks as they arrive, and what the driver said of each."""

    def __init__(self, folder, plan, channels, on_progress):
        self._folder = folder
        self._plan = plan
        self._on_progress = on_progress
        self._highest = 0.0
        self._wav = wav.Writer(
            folder.partial_response_path, plan.sample_rate, channels, frames=plan.frames
        )
        self._log = open(folder.partial_blocks_path, "w", encoding="ascii")  # noqa: SIM115
        self._log.write("frame,frames,flags,adc_seconds,dac_seconds\n")

    def record(self, block: Block) -> None:
        self._wav.write(block.samples)
        self._log.write(
            f"{block.frame},{len(block.samples)},{block.flags},"
            f"{block.adc_seconds:.9f},{block.dac_seconds:.9f}\n"
        )
        returned = block.samples[:, 0]
        self._highest = max(self._highest, float(np.max(np.abs(returned), initial=0.0)))
        if self._on_progress is not None:
            self._on_progress(
                TakeProgress(
                    self._wav.frames / self._plan.sample_rate,
                    self._plan.seconds,
                    peak_dbfs(returned),
                    peak_dbfs(np.array([self._highest])),
                )
            )

    def what_was_kept(self):
        if self._wav.frames == 0:
            for path in _partial_paths(self._folder):
                path.unlink(missing_ok=True)
            return "nothing was recorded"
        seconds = self._wav.frames / self._plan.sample_rate
        return f"the {seconds:.1f} s recorded are kept in {self._folder.partial_response_path}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._log.close()
        # when the take failed already, that is what should be told
        with contextlib.suppress(ProfilerError) if kind else contextlib.nullcontext():
            self._wav.close()


def _partial_paths(folder):
    return folder.partial_stimulus_path, folder.partial_response_path, folder.partial_blocks_path


def _refuse_what_is_there(folder, replace):
    if folder.path.exists() and not folder.path.is_dir():
        raise CaptureError(f"{folder.path}: is a file, expected a folder for the capture")
    if replace or not folder.path.is_dir():
        return
    foreign = sorted(set(folder.path.iterdir()) - set(_partial_paths(folder)))
    if foreign:
        raise CaptureError(
            f"{folder.path}: already holds {foreign[0].name}: choose another folder with -o, or "
            "replace the capture with -y"
        )


def _refuse_a_full_disk(path, bytes_needed):
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < bytes_needed + SPARE_DISK_BYTES:
        raise ProfilerError(
            f"{path}: the take needs {bytes_needed / 1e6:.0f} MB and the disk has "
            f"{free / 1e6:.0f} MB free: make room, or choose another disk with -o"
        )
