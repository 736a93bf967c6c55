"""Where a fault happens: what is known there, and what it can hear of the send.

Conventions
-----------
Frame 0 is the first frame played, and the first recorded. A stream is cut into chunks of
`(n, columns)` float64: column 0 the return, then the loopback and the DI where there are any.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from profiler.rig.faults import Fault, FaultName, strength_of
from profiler.units import db_to_amplitude

Chunks = Iterator[np.ndarray]

# These happen at a moment: in the middle of the take where no other is given.
EVENTS: set[FaultName] = {
    "zero-fill",
    "lost-block",
    "repeated-block",
    "dc-step",
    "room-noise",
    "mains-step",
    "knob-moved",
}


class Tap:
    """The send beside the stream: keeps what passes until it is read in step."""

    def __init__(self, delay: int = 0):
        self._waiting = np.zeros(delay)

    def write(self, samples: np.ndarray) -> None:
        self._waiting = np.concatenate((self._waiting, samples))

    def read(self, frames: int) -> np.ndarray:
        """The next `frames` samples, `(frames,)`; silence where nothing was sent."""
        out, self._waiting = self._waiting[:frames], self._waiting[frames:]
        missing = frames - len(out)
        return np.concatenate((out, np.zeros(missing))) if missing else out


@dataclass(frozen=True, eq=False)
class Scene:
    """A place on the sound's way, in a stream or a pair."""

    sample_rate: int
    frames: int  # of the take
    full_scale: float | np.ndarray = 1.0  # what a stimulus of 0 dBFS is here, in each column
    sent: Tap | None = None  # the send in step, for those that hear it
    floor_rms: float = 0.0  # noise that stays when the signal goes
    device_follows: bool = False  # what is done here, a virtual device answers to
    lag: int = 0  # frames from the send to here
    sounds_from: int | None = None  # first frame that sounds; None: found as it comes
    sounds_to: int | None = None  # one after the last frame that sounds


@dataclass(frozen=True, eq=False)
class PlacedFault:
    """A fault in its scene."""

    name: FaultName
    fault: Fault
    scene: Scene
    columns: slice  # of the chunk: those that have the fault

    @property
    def strength(self) -> float:
        """In the fault's own unit; 0 where it has none."""
        return strength_of(self.name, self.fault) or 0.0

    @property
    def gain(self) -> float:
        """A strength in dB or dBFS as a factor."""
        return float(db_to_amplitude(self.strength))

    @property
    def variant(self) -> str | None:
        return self.fault.variant

    @property
    def rate(self) -> int:
        return self.scene.sample_rate

    @property
    def full_scale(self) -> np.ndarray:
        """`(columns,)`, or `(1,)` for all of them."""
        return np.atleast_1d(self.scene.full_scale)[self.columns]

    @property
    def start(self) -> int:
        """First frame of the fault."""
        if self.fault.at_seconds is not None:
            return round(self.fault.at_seconds * self.rate)
        return self.scene.frames // 2 if self.name in EVENTS else 0

    @property
    def stop(self) -> float:
        """One after its last frame."""
        if self.fault.seconds is None:
            return math.inf
        return self.start + round(self.fault.seconds * self.rate)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng((self.fault.seed, *self.name.encode()))
