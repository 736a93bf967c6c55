"""The transport of a take: what the audio driver's thread, the feeder and the writer share.

The driver calls back every few milliseconds and must never wait, so its callback only copies:
from a ring that a feeder thread fills with the stimulus, into a ring that a writer thread
empties. Both rings have a fixed size, so a take of an hour needs no more memory than one of a
second. No lock is shared with the driver: each counter has one writer, and samples are in
place before the counter that announces them moves.

Safety
------
A block of the stimulus is checked before it enters the ring: finite, and no sample above the
ceiling. Output is zeroed before anything is copied to the send channel, every other channel
stays silent, and whatever ends the take early fades the stimulus out over 10 ms. The fade needs
samples to fade, so the ring always keeps that many back until the stimulus is all there.

A watch looks at each block as it comes in. When it objects, the fade begins with the first sample
that the same callback puts out: no later sample is sent at full level.

A driver's flags are logged and end nothing. A clean take can carry some, and a broken one none: an
underrun that ends the take is our own ring's, which is seen before it runs dry.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from profiler.errors import Dropout, SafetyStop
from profiler.rig.interface import Block, OnBlock, Watch
from profiler.units import db_to_amplitude, peak_dbfs

FADE_SECONDS = 0.010
LEAD_IN_SECONDS = 0.1  # silence before the first sample: drivers stumble while they start
STIMULUS_RING_SECONDS = 4.0  # a feeder may be late by this much
RESPONSE_RING_SECONDS = 10.0  # a disk may stall this long
SMALLEST_BLOCK = 16  # frames; sizes the log of blocks, no driver calls back for less
POLL_SECONDS = 0.005

# A level in dBFS becomes a float32 sample: one rounding of it is not "above the ceiling".
CEILING_TOLERANCE = 1.0 + 2.0**-23

# The driver's flags, in the order of their bits in the log.
FLAGS = ("input_underflow", "input_overflow", "output_underflow", "output_overflow")

CLOCK_WINDOW_BLOCKS = 32  # the earliest of so many callbacks shows the driver's clock
MOST_REMARKS = 1000  # kept of each kind, so that a faulty take needs no more memory either

# An amp's noise is never exactly zero, a dropout is. Sound is due when it was sent without a pause
# for longer than any round trip lasts.
LONGEST_ROUND_TRIP_SECONDS = 0.25
SHORTEST_ZERO_RUN = 32  # frames


@dataclass(frozen=True)
class Observations:
    """What the writer noticed about the blocks that passed through its hands."""

    frames: int
    blocks: int
    block_sizes: tuple[int, ...]
    flagged: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]


class Transport:
    """One take in progress.

    Parameters
    ----------
    frames : int
        To play and to record.
    sample_rate : int
        In Hz.
    ceiling_dbfs : float
        No sample of the stimulus may be above this peak.
    send : int
        Column of the driver's output that the stimulus goes to.
    returns : sequence of int
        Columns of the driver's input that are recorded, in order.
    watch : Watch, optional
        Sees the recorded columns of each block; the error that it returns ends the take.
    """

    def __init__(
        self, frames, sample_rate, ceiling_dbfs, send, returns, watch: Watch | None = None
    ):
        if frames < 1:
            raise ValueError(f"a take needs at least one frame, got frames={frames}")
        self.frames = frames
        self.sample_rate = sample_rate
        self.ceiling_dbfs = ceiling_dbfs

        self.loaded = 0  # frames in the stimulus ring so far; the feeder counts
        self.played = 0  # frames given to the driver, and recorded; the callback counts
        self.blocks = 0  # in the response ring so far; the callback counts
        self.handed = 0  # blocks given to `on_block`; the writer counts
        self.ticks = 0  # callbacks so far: the watchdog's pulse
        self.silent = False  # nothing will be played or recorded any more
        self.failure: BaseException | None = None  # the first thing that went wrong

        self._send = send
        self._returns = list(returns)
        self._watch = watch
        self._fade = _fade_out(round(FADE_SECONDS * sample_rate))
        self._faded = 0
        self._lead_in = round(LEAD_IN_SECONDS * sample_rate)
        self._stopping = False
        self._closed = False

        self._stimulus = np.zeros(round(STIMULUS_RING_SECONDS * sample_rate), np.float32)
        capacity = round(RESPONSE_RING_SECONDS * sample_rate)
        self._response = np.zeros((capacity, len(self._returns)), np.float32)
        self._freed = 0  # frames of the response ring that the writer is done with
        entries = capacity // SMALLEST_BLOCK
        self._log_frames = np.zeros((entries, 2), np.int64)  # recorded, asked for by the driver
        self._log_flags = np.zeros(entries, np.uint8)
        self._log_times = np.zeros((entries, 2), np.float64)  # ADC, DAC
        self._log_sounds = np.zeros(entries, np.bool_)  # whether anything but silence was sent

        self._remarks = _Remarks(sample_rate)

    @property
    def complete(self):
        """Whether every frame was played and recorded."""
        return self.played == self.frames

    @property
    def ready(self):
        """Whether playing may start: the ring is full, or the stimulus all there."""
        return self.loaded in (self.frames, len(self._stimulus))

    def stop(self):
        """Fade out, then be silent."""
        self._stopping = True

    def fail(self, failure):
        """Keep the first thing that went wrong, and stop."""
        if self.failure is None:
            self.failure = failure
        self.stop()

    def close(self):
        """There will be no callback any more: the writer returns when all is handed over."""
        self._closed = True

    # -- the driver's thread ------------------------------------------------------------

    def callback(self, indata, outdata, frames, times, status):
        """Copy a block out and a block in.

        Parameters
        ----------
        indata, outdata : (frames, channels) float32 array
            The driver's buffers.
        times
            Has `inputBufferAdcTime` and `outputBufferDacTime`, in seconds.
        status
            True when a flag is set, with one attribute for each of `FLAGS`.
        """
        outdata.fill(0.0)
        self.ticks += 1
        if self.silent:
            return
        if self._lead_in > 0:
            self._lead_in -= frames
            self.silent = self._stopping
            return
        try:
            self._copy(indata, outdata, frames, times, status)
        except BaseException as failure:  # must not escape into the driver
            outdata.fill(0.0)
            self.silent = True
            self.fail(failure)

    def _copy(self, indata, outdata, frames, times, status):
        count = min(frames, self.frames - self.played)
        if not self._stopping:
            self._look_ahead(count)
        if self._watch is not None and not self._stopping:
            self._ask_the_watch(indata[:count, self._returns])
        if self._stopping:
            count = min(count, len(self._fade) - self._faded, self.loaded - self.played)

        send = outdata[:count, self._send]
        _from_ring(self._stimulus, self.played, send)
        if self._stopping:
            send *= self._fade[self._faded : self._faded + count]
            self._faded += count

        if count and self._has_room(count):
            entry = self.blocks % len(self._log_frames)
            self._log_frames[entry] = count, frames
            self._log_flags[entry] = _flag_bits(status) if status else 0
            self._log_times[entry, 0] = times.inputBufferAdcTime
            self._log_times[entry, 1] = times.outputBufferDacTime
            self._log_sounds[entry] = send.any()
            for column, channel in enumerate(self._returns):
                _into_ring(self._response[:, column], self.played, indata[:count, channel])
            self.played += count
            self.blocks += 1
        else:
            self.silent = True
        if self.played == self.frames or self._faded == len(self._fade):
            self.silent = True

    def _look_ahead(self, count):
        """Stop while there is still enough stimulus to fade out with."""
        if self.loaded < min(self.played + count + len(self._fade), self.frames):
            self.fail(
                Dropout(
                    f"the stimulus was not there in time at {self._seconds(self.played)}: close "
                    "what else keeps this computer busy, then take it again"
                )
            )
        elif not self._has_room(count + len(self._fade)):
            self.fail(
                Dropout(
                    f"the recording could not be written in time at {self._seconds(self.played)}: "
                    "the disk is too slow or busy; record to another, then take it again"
                )
            )

    def _ask_the_watch(self, returned):
        """Stop when the watch objects to what just came in, or fails itself."""
        try:
            objection = self._watch(returned, self.played)
        except Exception as failure:
            objection = failure
        if objection is not None:
            self.fail(objection)

    def _has_room(self, count):
        frames = len(self._response) - (self.played - self._freed)
        entries = len(self._log_frames) - (self.blocks - self.handed)
        return min(frames, entries) >= count  # blocks of one frame would still be logged

    # -- the feeder's thread ------------------------------------------------------------

    def feed(self, stimulus: Iterable[np.ndarray]) -> None:
        """Check the stimulus block by block and keep the ring full of it."""
        try:
            for block in stimulus:
                if not self._load(self._checked(block)):
                    return
                if self.loaded == self.frames:
                    return
            raise ValueError(f"the stimulus ended after {self.loaded} of {self.frames} frames")
        except BaseException as failure:
            self.fail(failure)

    def _load(self, block):
        """Put a block into the ring as room comes; False when the take is over before."""
        block = block[: self.frames - self.loaded]
        while block.size:
            if self._stopping or self.silent:
                return False
            room = len(self._stimulus) - (self.loaded - self.played)
            if not room:
                time.sleep(POLL_SECONDS)
                continue
            piece, block = block[:room], block[room:]
            _into_ring(self._stimulus, self.loaded, piece)
            self.loaded += piece.size
        return True

    def _checked(self, block):
        """The block as it will be played.

        Raises
        ------
        SafetyStop
            A sample is not finite, or above the ceiling.
        """
        with np.errstate(over="ignore"):  # becomes infinite, and is refused for that
            block = np.asarray(block, dtype=np.float32)
        if block.ndim != 1:
            raise ValueError(f"a stimulus is mono, (n,), got a block of shape {block.shape}")
        finite = np.isfinite(block)
        if not finite.all():
            first = self.loaded + int(np.argmin(finite))
            raise SafetyStop(
                f"the stimulus is not finite (NaN or infinite) at {self._seconds(first)}: it is "
                "not played; make the signal again"
            )
        too_loud = np.abs(block) > db_to_amplitude(self.ceiling_dbfs) * CEILING_TOLERANCE
        if too_loud.any():
            first = self.loaded + int(np.argmax(too_loud))
            raise SafetyStop(
                f"the stimulus reaches {peak_dbfs(block):.2f} dBFS at {self._seconds(first)}, over "
                f"the rig's ceiling of {self.ceiling_dbfs:g} dBFS: it is not played; lower the "
                "signal, or raise maximum_send_dbfs if the device can take it"
            )
        return block

    # -- the writer's thread ------------------------------------------------------------

    def write(self, on_block: OnBlock) -> None:
        """Hand every recorded block over, in order, until there will be no more."""
        try:
            while True:
                closed = self._closed  # before looking: what came until then is in the ring
                while self.handed < self.blocks:
                    self._hand_over(on_block)
                if closed:
                    return
                time.sleep(POLL_SECONDS)
        except BaseException as failure:
            self.fail(failure)

    def _hand_over(self, on_block):
        entry = self.handed % len(self._log_frames)
        recorded, size = (int(frames) for frames in self._log_frames[entry])
        samples = np.empty((recorded, len(self._returns)), np.float32)
        _from_ring(self._response, self._freed, samples)
        block = Block(
            samples=samples,
            frame=self._freed,
            flags=_flag_words(self._log_flags[entry]),
            adc_seconds=float(self._log_times[entry, 0]),
            dac_seconds=float(self._log_times[entry, 1]),
        )
        on_block(block)
        self._remarks.look_at(block, size, bool(self._log_sounds[entry]))
        self._freed += len(samples)
        self.handed += 1

    def observations(self) -> Observations:
        """What the writer noticed; to be asked when it has returned."""
        return Observations(
            frames=self._freed,
            blocks=self.handed,
            block_sizes=tuple(sorted(self._remarks.sizes)),
            flagged=tuple(self._remarks.flagged),
            notes=self._remarks.notes(),
        )

    def _seconds(self, frame):
        return f"{frame / self.sample_rate:.2f} s"


class _Remarks:
    """Flags, callback sizes, jumps of the driver's clock and dead returns, over a take's blocks."""

    def __init__(self, sample_rate):
        self.sizes: set[int] = set()
        self.flagged: list[tuple[int, str]] = []
        self._flagged_more = 0
        self._notes: list[str] = []
        self._notes_more = 0
        self._sample_rate = sample_rate
        self._size: int | None = None
        self._start: float | None = None  # of the driver's clock
        self._window: list[float] = []  # lateness of the last callbacks, in seconds
        self._lateness: float | None = None  # least of the window before
        self._sounding = 0  # frames since silence was sent
        self._before: np.ndarray | None = None  # the return of the block before
        self._zeros = 0  # frames of exact zeros in the return, until now
        self._zeros_from = 0

    def look_at(self, block, size, sounds):
        self.sizes.add(size)
        if block.flags:
            if len(self.flagged) < MOST_REMARKS:
                self.flagged.append((block.frame, block.flags))
            else:
                self._flagged_more += 1
        if self._size not in (None, size):
            self._note(block.frame, f"callbacks changed from {self._size} to {size} frames")
        self._size = size
        self._look_at_clock(block, size)
        self._look_for_zeros(block, sounds)
        self._look_for_repeats(block)

    def _look_at_clock(self, block, size):
        """A lost block makes every later one late; a busy moment only those in it."""
        if self._start is None:
            self._start = block.adc_seconds
        due = self._start + block.frame / self._sample_rate
        self._window.append(block.adc_seconds - due)
        if len(self._window) < CLOCK_WINDOW_BLOCKS:
            return
        lateness = min(self._window)
        jump = 0.0 if self._lateness is None else lateness - self._lateness
        if abs(jump) * self._sample_rate > size / 2:
            samples = round(jump * self._sample_rate)
            self._note(block.frame, f"the driver's clock jumped by {samples} samples")
        self._lateness = lateness
        self._window.clear()

    def _look_for_zeros(self, block, sounds):
        self._sounding = self._sounding + len(block.samples) if sounds else 0
        due = self._sounding > LONGEST_ROUND_TRIP_SECONDS * self._sample_rate
        if due and not block.samples[:, 0].any():
            if not self._zeros:
                self._zeros_from = block.frame
            self._zeros += len(block.samples)
        else:
            self._end_of_zeros()

    def _look_for_repeats(self, block):
        """A callback that comes late can find the block before still in its buffer."""
        returned = block.samples[:, 0]
        repeated = self._before is not None and np.array_equal(returned, self._before)
        if repeated and returned.any():
            self._note(block.frame, f"the return repeated the {len(returned)} frames before")
        self._before = returned

    def _end_of_zeros(self):
        if self._zeros >= SHORTEST_ZERO_RUN:
            self._note(
                self._zeros_from,
                f"the return was exactly zero for {self._zeros} frames while sound was due",
            )
        self._zeros = 0

    def _note(self, frame, what):
        if len(self._notes) < MOST_REMARKS:
            self._notes.append(f"about {frame / self._sample_rate:.2f} s: {what}")
        else:
            self._notes_more += 1

    def notes(self):
        self._end_of_zeros()
        notes = list(self._notes)
        if self._notes_more:
            notes.append(f"and {self._notes_more} more such notes")
        if self._flagged_more:
            notes.append(f"{self._flagged_more} more blocks were flagged than are listed")
        return tuple(notes)


class Worker:
    """A daemon thread that can be waited for, as long as it gets on with its work."""

    def __init__(self, name, work, *arguments):
        self._thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        self._thread.start()

    def finish(self, progress, patience_seconds):
        """Wait until the work is done; False when `progress()` stood still for too long."""
        seen, since = progress(), time.monotonic()
        while self._thread.is_alive():
            self._thread.join(POLL_SECONDS)
            if progress() != seen:
                seen, since = progress(), time.monotonic()
            elif time.monotonic() - since > patience_seconds:
                return False
        return True


def _fade_out(length):
    """Raised cosine from just under 1 to 0, `(length,)`."""
    phase = np.pi * np.arange(1, length + 1) / length
    return (0.5 * (1.0 + np.cos(phase))).astype(np.float32)


def _from_ring(ring, position, target):
    """Fill `target` with what the ring holds from `position` on."""
    start = position % len(ring)
    first = min(len(target), len(ring) - start)
    target[:first] = ring[start : start + first]
    target[first:] = ring[: len(target) - first]


def _into_ring(ring, position, source):
    """Put `source` into the ring from `position` on."""
    start = position % len(ring)
    first = min(len(source), len(ring) - start)
    ring[start : start + first] = source[:first]
    ring[: len(source) - first] = source[first:]


def _flag_bits(status):
    return sum(bool(getattr(status, name)) << bit for bit, name in enumerate(FLAGS))


def _flag_words(bits):
    return ", ".join(
        name.replace("_", " ") for bit, name in enumerate(FLAGS) if int(bits) >> bit & 1
    )
