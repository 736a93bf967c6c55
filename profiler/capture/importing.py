"""A pair recorded elsewhere, made into a capture.

A DAW exports what it likes: stereo, a bar too long, an offset that its latency
compensation left. What can be repaired is repaired and told; what cannot is refused with
the likely cause. The user's files stay as they are.

Conventions
-----------
A delay is the position in the response minus the position in the stimulus, in samples of
the files as they were given.
"""

import datetime
import itertools
import math
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import scipy.fft

from profiler import wav
from profiler.capture.alignment import align
from profiler.capture.folder import CaptureFolder, CaptureRecord
from profiler.errors import CaptureError, NotAligned, ProfilerError
from profiler.rig.faults import FaultName
from profiler.rig.interface import StreamReport
from profiler.rig.rig import FileInterface, Rig
from profiler.stimulus.plan import SAMPLE_RATES, File, SignalPlan, plan_path
from profiler.stimulus.synthesis import render
from profiler.units import amplitude_to_db, peak_dbfs, power_to_db

SHORTEST_PAIR_SECONDS = 1.0
# A response that starts this much late is an interface's latency and is left to alignment;
# more, or any lead, is an offset of the export and is taken out first.
LARGEST_LATENCY_SECONDS = 0.5
# What a marker's code spans; the search for an offset looks only there.
OFFSET_BAND_HZ = (150.0, 8_000.0)
PLAN_AGREEMENT_DB = -50.0  # 16-bit files with dither stay well below


def import_pair(
    rig: Rig, path: Path, *, replace: bool = False, accepted: Collection[FaultName] = ()
) -> CaptureFolder:
    """Make a capture in the folder `path` of the pair that a file rig names.

    The plan is read from `<stimulus>.plan.json`, which `ampscope signal make` wrote beside
    the WAV; without one the pair is taken as a user's own DI: its first 80 % train, then
    10 % validate and 10 % test.

    Parameters
    ----------
    rig : Rig
        With a `FileInterface`: the files, the channel of the response where its channels
        differ, and the delay when the user knows better. Its chain describes the device.
    path : Path
        Folder of the capture; with `replace` what is in it is taken anew.
    accepted : collection of str
        Faults that the user lets pass, as in `alignment.align`; written into the capture.

    Raises
    ------
    CaptureError
        A file is not usable, or the response does not cover the stimulus.
    NotAligned
        No single delay explains the response; the message names the likely cause.
    """
    if not isinstance(rig.interface, FileInterface):
        raise ValueError(f"expected a file rig, got driver={rig.interface.driver!r}")
    stimulus_path, response_path = Path(rig.interface.stimulus), Path(rig.interface.response)
    delay_samples = rig.interface.delay_samples
    repairs: list[str] = []
    stimulus, sample_rate = _stimulus(stimulus_path, repairs)
    response = _response(response_path, sample_rate, rig.interface.return_channel, repairs)
    plan = _plan(stimulus_path, stimulus, sample_rate, repairs)
    offset = _offset(stimulus, response, sample_rate, delay_samples, repairs)
    response = _fitted(response, offset, plan, stimulus_path, response_path, repairs)
    given = None if delay_samples is None else delay_samples - offset
    try:
        align(plan, stimulus, response, given_delay_samples=given, accepted=accepted)
    except NotAligned as error:
        raise NotAligned(
            f"{response_path}: {error.cause}",
            error.action,
            fault=error.fault,
            at_seconds=error.at_seconds,
            size=error.size,
        ) from error
    return _write(path, rig, plan, stimulus, response, given, repairs, accepted, replace)


def _stimulus(path, repairs):
    samples, sample_rate = wav.read(path)
    if sample_rate not in SAMPLE_RATES:
        raise CaptureError(
            f"{path}: is at {sample_rate} Hz, expected one of {', '.join(map(str, SAMPLE_RATES))}: "
            "export it at one of them"
        )
    if len(samples) < SHORTEST_PAIR_SECONDS * sample_rate:
        raise CaptureError(
            f"{path}: lasts {len(samples) / sample_rate:.2f} s, expected at least "
            f"{SHORTEST_PAIR_SECONDS:g} s, and about a minute for a model"
        )
    if not np.any(samples):
        raise CaptureError(f"{path}: holds only silence: nothing was played, export it again")
    if samples.shape[1] > 1:
        if np.any(samples != samples[:, :1]):
            raise CaptureError(
                f"{path}: has {samples.shape[1]} different channels, expected one: export the "
                "stimulus in mono"
            )
        repairs.append(f"stimulus: {samples.shape[1]} equal channels, the first is used")
    return samples[:, 0], sample_rate


def _response(path, sample_rate, channel, repairs):
    samples, _ = wav.read(path, sample_rate=sample_rate)
    channels = samples.shape[1]
    if channel is not None and channel > channels:
        raise CaptureError(f"{path}: has {channels} channels, so there is no channel {channel}")
    if channels > 1:
        if channel is None and np.any(samples != samples[:, :1]):
            levels = ", ".join(
                f"{index + 1}: {peak_dbfs(column):.1f} dBFS"
                for index, column in enumerate(samples.T)
            )
            raise CaptureError(
                f"{path}: has {channels} different channels (peaks {levels}): choose the one "
                "from the device with --channel"
            )
        repairs.append(f"response: {channels} channels, channel {channel or 1} is used")
    column = samples[:, (channel or 1) - 1]
    if not np.any(column):
        raise CaptureError(f"{path}: holds only silence: was the right input recorded?")
    return column


def _plan(stimulus_path, stimulus, sample_rate, repairs):
    path = plan_path(stimulus_path)
    if not path.is_file():
        repairs.append(
            f"no plan beside {stimulus_path.name}: the first 80 % train, 10 % validate, 10 % test"
        )
        return _own_material(stimulus_path, len(stimulus), sample_rate)
    plan = SignalPlan.load_json(path)
    if plan.sample_rate != sample_rate:
        raise CaptureError(
            f"{stimulus_path}: is at {sample_rate} Hz but {path.name} is for {plan.sample_rate} "
            "Hz: make the signal again at the rate you record at"
        )
    if len(stimulus) != plan.frames:
        raise CaptureError(
            f"{stimulus_path}: has {len(stimulus)} frames but {path.name} has {plan.frames}: use "
            "the WAV as it was made, uncut"
        )
    meant = render(plan).astype(np.float64)
    gain = float(np.dot(meant, stimulus) / np.dot(meant, meant))
    difference = stimulus - gain * meant
    relative_db = power_to_db(np.dot(difference, difference) / np.sum(np.square(stimulus)))
    if gain <= 0 or relative_db > PLAN_AGREEMENT_DB:
        raise CaptureError(
            f"{stimulus_path}: is not the signal that {path.name} describes (the two differ by "
            f"{relative_db:.0f} dB): use the WAV as it was made, unprocessed"
        )
    change_db = float(amplitude_to_db(gain))
    if abs(change_db) > 0.01:
        repairs.append(f"stimulus: its level is {change_db:+.2f} dB re the plan, noted in the plan")
        plan = plan.model_copy(update={"gain_db": plan.gain_db + change_db})
    return plan


def _own_material(stimulus_path, frames, sample_rate):
    edges = [0, int(0.8 * frames), int(0.9 * frames), frames]
    segments = tuple(
        File(
            name=use,
            kind="file",
            use=use,
            path="stimulus.wav",
            offset_seconds=start / sample_rate,
            seconds=(stop - start) / sample_rate,
        )
        for use, (start, stop) in zip(
            ("train", "validate", "test"), itertools.pairwise(edges), strict=True
        )
    )
    return SignalPlan(name=stimulus_path.stem, sample_rate=sample_rate, segments=segments)


def _offset(stimulus, response, sample_rate, delay_samples, repairs):
    """Whole samples to take off the front of the response (negative: to put before it)."""
    delay = delay_samples
    if delay is None:
        delay = coarse_delay(stimulus, response, sample_rate)
    if 0 <= delay <= LARGEST_LATENCY_SECONDS * sample_rate:
        return 0
    # leave some delay: what lies before the first sample cannot be resampled
    offset = math.floor(delay) - 64
    what = "late" if offset > 0 else "early"
    repairs.append(f"response: it stood {abs(offset) / sample_rate:.3f} s too {what}, moved")
    return offset


def coarse_delay(stimulus, response, sample_rate):
    """Where the response lies behind the stimulus, to a few samples, whatever the offset.

    The peak of the cross-correlation whitened by the stimulus and smoothed in magnitude
    (GCC with the Roth weighting) in a band that every amp passes.
    """
    size = scipy.fft.next_fast_len(len(stimulus) + len(response), real=True)
    played = scipy.fft.rfft(stimulus, size)
    cross = scipy.fft.rfft(response, size) * np.conj(played)
    frequencies = scipy.fft.rfftfreq(size, 1 / sample_rate)
    band = (frequencies >= OFFSET_BAND_HZ[0]) & (frequencies <= OFFSET_BAND_HZ[1])
    power = np.abs(played) ** 2
    weights = np.where(band, 1.0 / (power + np.mean(power[band])), 0.0)
    correlation = np.abs(scipy.fft.irfft(cross * weights, size))
    peak = int(np.argmax(correlation))
    return peak if peak < len(response) else peak - size


def _fitted(response, offset, plan, stimulus_path, response_path, repairs):
    """The response cut or padded to the stimulus, once its offset is out."""
    moved = response[offset:] if offset >= 0 else np.pad(response, (-offset, 0))
    missing = plan.frames - len(moved)
    if missing <= 0:
        if missing < 0:
            extra = -missing / plan.sample_rate
            repairs.append(f"response: {extra:.2f} s longer than the stimulus, cut")
        return moved[: plan.frames]
    last = plan.placed()[-1]
    spare = last.stop - last.start if last.segment.kind == "silence" else plan.sample_rate // 20
    if missing > spare:
        raise CaptureError(
            f"{response_path}: ends {missing / plan.sample_rate:.2f} s before {stimulus_path} "
            "does: record until the stimulus has ended, and export without cutting"
        )
    repairs.append(
        f"response: {missing / plan.sample_rate:.3f} s shorter than the stimulus, padded with "
        "silence"
    )
    return np.pad(moved, (0, missing))


def _write(path, rig, plan, stimulus, response, given, repairs, accepted, replace):
    folder = CaptureFolder(Path(path))
    unfinished = (
        set() if folder.record_path.exists() else {folder.stimulus_path, folder.response_path}
    )
    if folder.path.exists() and not replace and set(folder.path.iterdir()) - unfinished:
        raise CaptureError(
            f"{folder.path}: is not empty: choose another folder with -o, or replace the capture "
            "with -y"
        )
    existed = folder.path.exists()
    try:
        folder.forget()
        wav.write(folder.stimulus_path, stimulus, plan.sample_rate)
        wav.write(folder.response_path, response[:, None], plan.sample_rate)
        record = CaptureRecord(
            created_utc=datetime.datetime.now(datetime.UTC),
            plan=plan,
            rig=rig,
            stream=StreamReport(
                "file", rig.interface.response, plan.sample_rate, len(response), blocks=0
            ),
            stimulus_sha256=wav.sha256(folder.stimulus_path),
            response_sha256=wav.sha256(folder.response_path),
            given_delay_samples=given,
            repairs=tuple(repairs),
            accepted=tuple(sorted(accepted)),
        )
        record.save(folder.record_path)
    except (ProfilerError, KeyboardInterrupt):
        if not existed:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder
