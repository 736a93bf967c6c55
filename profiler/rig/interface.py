"""What plays a stimulus and records the response: hardware, simulated, a plugin or files.

All of them have the same one method, so every chain runs without hardware: in tests, in
the docs, and for a user who tries a rig file on the train.

Conventions
-----------
A recorded block is `(frames, channels)` float32: column 0 is the return from the device, then
come the loopback channel and the DI before the cabinet where the rig has them. Recording begins
with the first sample played and has as many frames, so a delay is the position in the response
minus the position in the stimulus.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Block:
    """What one callback of the driver recorded, and what the driver said of it."""

    samples: np.ndarray  # (frames, channels) float32
    frame: int  # of the first sample, counted from the first sample played
    flags: str = ""  # the driver's words: "input overflow", "output underflow" ...
    adc_seconds: float = 0.0  # the driver's clock at the first sample in
    dac_seconds: float = 0.0  # the driver's clock at the first sample out


@dataclass(frozen=True)
class StreamReport:
    """What happened while a stimulus was played."""

    driver: str  # simulated, portaudio, file
    device: str  # "name, host API", as the driver has it
    sample_rate: int
    frames: int  # recorded
    blocks: int
    block_sizes: tuple[int, ...] = ()  # every size seen, ascending
    flagged: tuple[tuple[int, str], ...] = ()  # first frame of a flagged block, and its flags
    notes: tuple[str, ...] = field(default=())  # anything else worth keeping


OnBlock = Callable[[Block], None]

# Looks at a block as it comes in, `(frames, channels)` and its first frame, in the driver's own
# thread: what it returns ends the take, and the fade begins in the same callback.
Watch = Callable[[np.ndarray, int], Exception | None]


class Interface(Protocol):
    """An open way to a device."""

    sample_rate: int
    channels: int  # recorded: 1, one more with a loopback channel, and one with a DI

    def play_record(
        self,
        stimulus: Iterable[np.ndarray],
        frames: int,
        on_block: OnBlock,
        watch: Watch | None = None,
    ) -> StreamReport:
        """Play `frames` samples from mono blocks and hand over what comes back.

        `on_block` is called in order, never from the driver's own thread, and may
        take its time. `watch` is called in the driver's thread and may not: when it returns an
        error, the sound is faded out at once and the error is raised.

        Raises
        ------
        InterfaceError
            The device is absent, refuses, stalls or vanishes; what was recorded until
            then has been handed to `on_block`.
        SafetyStop
            The stimulus holds a sample that is not finite or above the rig's ceiling; it
            was not played.
        KeyboardInterrupt
            Ctrl-C: the sound was faded out, and what was recorded was handed over.
        """
