"""What a check looks at: a take as it was recorded, and what is known of its circumstances.

What several detectors need (the alignment, the probes) is computed once, when the first of them
asks for it.

Conventions
-----------
Signals are `(n,)` float64, raw and unaligned; the response need not be as long as the stimulus.
A take of a *loop* has nothing but a cable between send and return. A loopback channel is a loop
within a take of an amp: what can be told on a loop only is told from it.
"""

import functools
from dataclasses import dataclass
from typing import Self

import numpy as np

from profiler import wav
from profiler.capture.alignment import AlignedCapture, Alignment, align, apply
from profiler.capture.calibration import stored_delay
from profiler.capture.folder import CaptureFolder
from profiler.errors import CaptureError
from profiler.rig.interface import StreamReport
from profiler.stimulus.plan import SignalPlan


@dataclass(frozen=True, eq=False)
class Evidence:
    """A take and its circumstances."""

    plan: SignalPlan
    stimulus: np.ndarray
    response: np.ndarray
    loopback: np.ndarray | None = None
    is_loop: bool = False
    stream: StreamReport | None = None
    calibrated_delay_samples: float | None = None
    repairs: tuple[str, ...] = ()  # that importing made to the files

    @classmethod
    def of(cls, folder: CaptureFolder) -> Self:
        """The evidence that a finished capture holds.

        Raises
        ------
        CaptureError
            A file is missing, changed or unreadable.
        """
        record = folder.record()
        folder.verify_unchanged()
        plan, rig = record.plan, record.rig
        stimulus, _ = wav.read_mono(folder.stimulus_path, sample_rate=plan.sample_rate)
        recorded, _ = wav.read(folder.response_path, sample_rate=plan.sample_rate)
        interface = rig.interface
        has_loop = interface.driver != "file" and interface.loopback_channel is not None
        return cls(
            plan=plan,
            stimulus=stimulus.astype(np.float64),
            response=recorded[:, 0].astype(np.float64),
            loopback=recorded[:, 1].astype(np.float64)
            if has_loop and recorded.shape[1] > 1
            else None,
            is_loop=rig.chain.circuit == "wire",
            stream=record.stream,
            calibrated_delay_samples=stored_delay(rig),
            repairs=record.repairs,
        )

    @property
    def sample_rate(self) -> int:
        return self.plan.sample_rate

    @functools.cached_property
    def loop(self) -> np.ndarray | None:
        """The recording of a loop, where the take has one."""
        return self.response if self.is_loop else self.loopback

    @functools.cached_property
    def alignment(self) -> Alignment | CaptureError:
        """How the response lies behind the stimulus, or why no single delay says so."""
        try:
            return align(self.plan, self.stimulus, self.response, loopback=self.loopback)
        except CaptureError as error:
            return error

    @functools.cached_property
    def aligned(self) -> AlignedCapture | None:
        """The pair sample by sample; None where it cannot be aligned."""
        if isinstance(self.alignment, CaptureError):
            return None
        return apply(self.plan, self.alignment, self.stimulus, self.response)
