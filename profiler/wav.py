"""WAV files: the one place where samples meet the disk.

Samples are float32, `(frames, channels)`; mono signals are `(frames,)`. What is read
is checked here, once: a file that is empty, holds NaN or infinities, or has another
sample rate than expected is refused with one line that says so.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import soundfile

from profiler.definitions import replacing
from profiler.errors import CaptureError, ProfilerError

BLOCK_FRAMES = 65_536  # what streaming reads and writes at a time: 1.4 s at 48 kHz
LARGEST_WAV_BYTES = 4_000_000_000  # the 32-bit length of RIFF; beyond it RF64

# Of the 64-bit lengths of the file, its data and its frames (EBU Tech 3306, ds64).
RF64_SIZES_AT_BYTE = 20

_SUBTYPE_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    frames: int
    channels: int
    sample_rate: int
    subtype: str  # libsndfile's name: PCM_16, PCM_24, FLOAT ...


def header(path: Path) -> Header:
    """Read the header of an audio file.

    Raises
    ------
    CaptureError
        There is no such file, or it is not audio.
    """
    with _opened(path) as file:
        return Header(file.frames, file.channels, file.samplerate, file.subtype)


def read(path: Path, *, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """All samples of a file, `(frames, channels)` float32, and the sample rate.

    Raises
    ------
    CaptureError
        Not audio, empty, not finite, or not at `sample_rate`.
    """
    with _opened(path) as file:
        _check_header(path, file, sample_rate)
        samples = file.read(dtype="float32", always_2d=True)
        rate = file.samplerate
    _check_finite(path, samples, 0)
    return samples, rate


def read_mono(path: Path, *, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Samples of a file with one channel, `(frames,)` float32, and the sample rate.

    Raises
    ------
    CaptureError
        As `read`; also for more than one channel.
    """
    samples, rate = read(path, sample_rate=sample_rate)
    if samples.shape[1] != 1:
        raise CaptureError(
            f"{path}: has {samples.shape[1]} channels, expected mono: export one channel, or "
            "choose it where the command offers --channel"
        )
    return samples[:, 0], rate


def blocks(
    path: Path, *, sample_rate: int | None = None, frames: int = BLOCK_FRAMES
) -> Iterator[np.ndarray]:
    """A file in blocks of `(n, channels)`, checked as in `read`, in bounded memory."""
    with _opened(path) as file:
        _check_header(path, file, sample_rate)
        position = 0
        while len(block := file.read(frames, dtype="float32", always_2d=True)):
            _check_finite(path, block, position)
            position += len(block)
            yield block


def read_piece(path: Path, first: int, frames: int) -> np.ndarray:
    """Samples `first` to `first + frames` of a file, `(frames, channels)` float32.

    Before the file's beginning and after its end there is silence.

    Raises
    ------
    CaptureError
        Not audio, or not finite there.
    """
    with _opened(path) as file:
        piece = np.zeros((frames, file.channels), dtype=np.float32)
        start, stop = max(first, 0), min(first + frames, file.frames)
        if stop > start:
            file.seek(start)
            read = file.read(stop - start, dtype="float32", always_2d=True)
            piece[start - first : start - first + len(read)] = read
    _check_finite(path, piece, first)
    return piece


def write(path: Path, samples: np.ndarray, sample_rate: int, *, subtype: str = "FLOAT") -> None:
    """Write samples, `(frames,)` or `(frames, channels)`, beside the final name, then rename.

    Raises
    ------
    ProfilerError
        The disk refused: nothing is left half-written.
    """
    with replacing(Path(path)) as beside:
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        with Writer(beside, sample_rate, channels, subtype=subtype, frames=len(samples)) as file:
            file.write(samples)


class Writer:
    """A WAV file that is written while something is recorded or rendered.

    After a crash the samples written so far can be read: `write` hands them to the
    system at once, and readers take the length of an unclosed file from its size.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        *,
        subtype: str = "FLOAT",
        frames: int = 0,
    ):
        self.path = Path(path)
        self.frames = 0
        self._bytes_a_frame = channels * _SUBTYPE_BYTES[subtype]
        container = "RF64" if 4 * channels * frames > LARGEST_WAV_BYTES else "WAV"
        self._announced_frames = frames if container == "RF64" else 0
        try:
            self._file = soundfile.SoundFile(
                self.path, "w", sample_rate, channels, subtype=subtype, format=container
            )
        except soundfile.LibsndfileError as error:
            raise ProfilerError(f"{path}: cannot be written ({error.error_string})") from None

    def write(self, samples: np.ndarray) -> None:
        """Append samples.

        Raises
        ------
        ProfilerError
            The disk is full, or gone.
        """
        try:
            self._file.write(samples)
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise self._disk_full() from error
        self.frames += len(samples)
        if self._announced_frames:
            self._announce()

    def _announce(self):
        """Say the length to come in the header: an unclosed RF64 file is taken to be empty,
        but one that is shorter than it says is read to its end. Closing puts it right."""
        frames, self._announced_frames = self._announced_frames, 0
        size = frames * self._bytes_a_frame
        with open(self.path, "r+b") as file:
            file.seek(RF64_SIZES_AT_BYTE)
            file.write(struct.pack("<QQQ", os.path.getsize(self.path) + size, size, frames))

    def close(self) -> None:
        if self._file.closed:
            return
        self._file.close()
        # libsndfile does not always report a short write: the size of the file does
        if os.path.getsize(self.path) < self.frames * self._bytes_a_frame:
            raise self._disk_full()

    def _disk_full(self):
        free = os.statvfs(self.path.parent)
        free_mb = free.f_bavail * free.f_frsize / 1e6
        return ProfilerError(
            f"{self.path}: could not be written after {self.frames} frames "
            f"({free_mb:.0f} MB free on the disk): make room and run the command again"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.close()


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path):
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".") if Path(path).exists() else "no such file"
        raise CaptureError(f"{path}: cannot be read as audio ({reason})") from None


def _check_header(path, file, sample_rate):
    if file.frames == 0:
        raise CaptureError(f"{path}: is empty: record or export it again")
    if sample_rate is not None and file.samplerate != sample_rate:
        raise CaptureError(
            f"{path}: is at {file.samplerate} Hz, expected {sample_rate} Hz: export it at "
            f"{sample_rate} Hz, or work at {file.samplerate} Hz throughout"
        )


def _check_finite(path, samples, position):
    if not np.isfinite(samples).all():
        bad = int(np.flatnonzero(~np.isfinite(samples).all(axis=1))[0])
        raise CaptureError(
            f"{path}: sample {position + bad} is not a number: the file is damaged, export it again"
        )
