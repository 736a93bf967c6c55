"""Passes of one stimulus, laid together: how far one lies behind another, and the seam.

Two recordings of one marker through one device differ by a delay and by noise, whatever the
device makes of it. Their cross-spectrum says that delay far better than either says its own: to
a thousandth of a sample where the noise lies 60 dB below. A pass that goes on from another is
moved by it, whole samples and a resampled rest, and the seam is a crossfade in the gap of the
marker, where stimulus, history and response are the same in both.

Conventions
-----------
A recording's first frame was recorded when sample `begins` of the stimulus was due: negative
where silence was played first. Offsets are positions in the second recording minus positions in
the first, in samples.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal

from profiler import wav
from profiler.capture import delay as delays
from profiler.capture.alignment import (
    SINC_HALF_LENGTH,
    WHOLE_TOLERANCE,
    fractional_taps,
)
from profiler.capture.folder import Part
from profiler.capture.slips import EARLIEST_SECONDS, LATEST_SECONDS, LEAST_CONFIDENCE_DB
from profiler.errors import NotAligned
from profiler.stimulus.marker import HIGHEST_HZ, LOWEST_HZ
from profiler.stimulus.plan import MARKER_CODE_SECONDS, MARKER_GAP_SECONDS, Placed, SignalPlan
from profiler.units import amplitude_to_db

# Where in a marker a seam is: in its last gap, the second code having rung down a while.
SEAM_SECONDS = 2 * MARKER_CODE_SECONDS + 1.5 * MARKER_GAP_SECONDS
CROSSFADE_SECONDS = 0.02
RINGS_BEFORE_SECONDS = 0.002  # what converters let ring ahead of a marker
LARGEST_CHANGE_DB = 0.2  # of a device between two passes: an ESR of 5e-4 at the seam
OFFSET_ROUNDS = 3
LEAST_SIGMAS = 3.0  # an offset this near to a whole number may be one


@dataclass(frozen=True)
class Recording:
    """A pass as it lies on the disk."""

    path: Path
    begins: int  # sample of the stimulus that was due at its first frame
    frames: int


@dataclass(frozen=True)
class Offset:
    """How far one recording lies behind another."""

    samples: float
    sigma: float
    gain_db: float = 0.0  # of the second re the first

    @property
    def nearest(self) -> float:
        """The whole number that it may be, else what was measured: then nothing is resampled."""
        whole = round(self.samples)
        tolerance = max(WHOLE_TOLERANCE, LEAST_SIGMAS * self.sigma)
        return float(whole) if abs(self.samples - whole) < tolerance else self.samples


@dataclass(frozen=True)
class Played:
    """A plan and its stimulus on the disk: what the recordings answer."""

    plan: SignalPlan
    stimulus_path: Path

    def find(self, marker: Placed, recording: Recording) -> int:
        """The frame of a recording at which a marker begins, to a sample or so.

        Raises
        ------
        NotAligned
            The marker is not heard, or not to its end.
        """
        rate = self.plan.sample_rate
        code_frames = round(MARKER_CODE_SECONDS * rate)
        code = wav.read_piece(self.stimulus_path, marker.start, code_frames)[:, 0]
        first = marker.start - recording.begins + round(EARLIEST_SECONDS * rate)
        reach = round((LATEST_SECONDS - EARLIEST_SECONDS) * rate)
        heard = _return(recording.path, first, reach + marker.stop - marker.start)
        at, confidence = delays.matched_code(code, heard, rate, 0, reach)
        if confidence < LEAST_CONFIDENCE_DB:
            raise NotAligned(
                f"{recording.path}: marker {marker.segment.name!r} was not found: take it again"
            )
        if first + at + marker.stop - marker.start > recording.frames:
            raise NotAligned(
                f"{recording.path}: marker {marker.segment.name!r} is cut off: take it again"
            )
        return first + at

    def offset(self, marker: Placed, first: Recording, second: Recording) -> Offset:
        """How far `second` lies behind `first` at a marker that both heard.

        Raises
        ------
        NotAligned
            One of them did not hear it.
        """
        rate = self.plan.sample_rate
        early = round(RINGS_BEFORE_SECONDS * rate)
        frames = marker.stop - marker.start + early
        here, there = (self.find(marker, recording) - early for recording in (first, second))
        a = scipy.fft.rfft(_return(first.path, here, frames))
        frequencies = scipy.fft.rfftfreq(frames, 1 / rate)
        read_at, rest, sigma, gain = float(there - here), 0.0, 0.0, 1.0
        # what is cut off at the edges is the same in both only once they are in step
        for _ in range(OFFSET_ROUNDS):
            read_at = _readable(read_at + rest)
            b = scipy.fft.rfft(read_shifted(second.path, here, here + frames, read_at)[:, 0])
            cross = b * np.conj(a)
            rest, sigma = _delay(cross, frequencies, frames, rate)
            gain = np.sum(cross.real) / np.sum(np.abs(a) ** 2)
        return Offset(float(read_at + rest), sigma, float(amplitude_to_db(gain)))

    def joint(self, marker: Placed, first: Recording, second: Recording) -> Offset:
        """As `offset`, of two recordings that are to be joined at the marker.

        Raises
        ------
        NotAligned
            Also where the device is not what it was: a knob was moved in between.
        """
        found = self.offset(marker, first, second)
        if abs(found.gain_db) > LARGEST_CHANGE_DB:
            raise NotAligned(
                f"{second.path}: marker {marker.segment.name!r} came back {found.gain_db:+.1f} dB "
                f"re the pass before (at most {LARGEST_CHANGE_DB:g} dB expected): the device has "
                "changed in between; take all of it again with -y"
            )
        return found

    def last_whole_marker(self, recording: Recording) -> Placed | None:
        """The last marker of the plan that a recording holds to its end."""
        for marker in reversed(list(self.plan.of_kind("marker"))):
            inside = 0 <= marker.start - recording.begins < recording.frames
            if inside:
                try:
                    self.find(marker, recording)
                except NotAligned:
                    continue
                return marker
        return None


def join(parts: Sequence[Part], sources: Mapping[int, Path], path: Path, plan: SignalPlan) -> None:
    """Write the response that `parts` make, a block at a time.

    Parameters
    ----------
    parts : sequence of Part
        In order, each beginning where the one before ends.
    sources : mapping of int to Path
        The recordings by their numbers.
    """
    channels = wav.header(sources[parts[0].recorded_in]).channels
    fade = round(CROSSFADE_SECONDS * plan.sample_rate)
    with wav.Writer(path, plan.sample_rate, channels, frames=plan.frames) as file:
        for start, stop in spans(plan.frames):
            file.write(_joined(parts, sources, start, stop, channels, fade))


def spans(frames: int) -> Iterator[tuple[int, int]]:
    """Blocks of what is read at a time, each by its first sample and the first after it."""
    for start in range(0, frames, wav.BLOCK_FRAMES):
        yield start, min(start + wav.BLOCK_FRAMES, frames)


def read_shifted(path: Path, start: int, stop: int, shift_samples: float) -> np.ndarray:
    """What a recording has at `start + shift` to `stop + shift`, `(n, channels)` float64."""
    shift_samples = _readable(shift_samples)
    whole = round(shift_samples)
    fraction = shift_samples - whole
    if not fraction:
        return wav.read_piece(path, start + whole, stop - start).astype(np.float64)
    margin = SINC_HALF_LENGTH
    piece = wav.read_piece(path, start + whole - margin, stop - start + 2 * margin)
    taps = fractional_taps(fraction)[:, None]
    return scipy.signal.oaconvolve(piece.astype(np.float64), taps, mode="valid", axes=0)


def moved(parts: Sequence[Part], start: int, stop: int, shift: float) -> list[Part]:
    """The parts of what a response has at `start + shift` to `stop + shift`."""
    found = []
    for n, part in enumerate(parts):
        first = start if n == 0 else max(start, round(part.start - shift))
        last = stop if n == len(parts) - 1 else min(stop, round(part.stop - shift))
        if first < last:
            found.append(
                Part(
                    recorded_in=part.recorded_in,
                    start=first,
                    stop=last,
                    shift_samples=part.shift_samples + shift,
                )
            )
    return found


def _joined(parts, sources, start, stop, channels, fade):
    samples = np.zeros((stop - start, channels))
    at = np.arange(start, stop)
    for n, part in enumerate(parts):
        if part.start - fade < stop and start < part.stop + fade:
            weight = np.ones(stop - start)
            if n > 0:
                weight *= _rise(at - part.start, fade)
            if n < len(parts) - 1:
                weight *= 1.0 - _rise(at - part.stop, fade)
            path = sources[part.recorded_in]
            samples += weight[:, None] * read_shifted(path, start, stop, part.shift_samples)
    return samples.astype(np.float32)


def _readable(shift_samples):
    """A shift; one that is all but whole is whole, and then no sample is changed."""
    whole = round(shift_samples)
    return float(whole) if abs(shift_samples - whole) < WHOLE_TOLERANCE else shift_samples


def _rise(at, fade):
    """From 0 to 1 over `fade` samples about 0: two of them make 1, as equal signals need."""
    return np.clip(at / fade + 0.5, 0.0, 1.0)


def _return(path, first, frames):
    return wav.read_piece(path, first, frames)[:, 0].astype(np.float64)


def _delay(cross, frequencies, frames, sample_rate):
    """Delay in samples that a cross-spectrum shows, and its standard error.

    The peak of the correlation, then the slope of the phase that is left, weighted by power:
    the estimator of least variance where the noise is white.
    """
    correlation = scipy.fft.irfft(cross, frames)
    peak = int(np.argmax(correlation))
    delay = float(peak - frames if peak > frames // 2 else peak)
    band = (frequencies >= LOWEST_HZ) & (frequencies <= min(HIGHEST_HZ, 0.4 * sample_rate))
    radians = 2 * np.pi * frequencies[band] / sample_rate  # a sample
    weights = np.abs(cross[band])
    total = np.sum(weights * radians**2) + 1e-300
    for _ in range(3):
        phase = np.angle(cross[band] * np.exp(1j * radians * delay))
        delay -= np.sum(weights * radians * phase) / total
    phase = np.angle(cross[band] * np.exp(1j * radians * delay))
    return delay, float(np.sqrt(np.sum((weights * radians * phase) ** 2)) / total)
