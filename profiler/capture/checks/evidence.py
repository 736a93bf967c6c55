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
from profiler.capture import delay, slips
from profiler.capture.alignment import AlignedCapture, Alignment, align, apply
from profiler.capture.calibration import stored_delay
from profiler.capture.folder import CaptureFolder
from profiler.capture.loop import Fingerprint
from profiler.capture.loop import stored as stored_fingerprint
from profiler.capture.time_effects import has_time_effect
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
    fingerprint: Fingerprint | None = None  # of the interface, from a loop take before
    repairs: tuple[str, ...] = ()  # that importing made to the files
    full_scale_dbu: float | None = None  # of the send, into a device that expects a guitar

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
            calibrated_delay_samples=stored_delay(rig, record.stream),
            fingerprint=stored_fingerprint(rig),
            repairs=record.repairs,
            full_scale_dbu=record.levels.input_level_dbu
            if record.levels is not None and rig.chain.gear_type != "studio"
            else None,
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
        """How the response lies behind the stimulus, or why no single delay says so.

        The delay is the loop's, where the take has one.
        """
        frames = self.plan.frames
        response = delay.piece(self.response, 0, frames)
        loop = self.loopback
        if self.is_loop:
            loop = response  # its own loopback: asked once, as what came through a cable
        elif loop is not None:
            loop = delay.piece(loop, 0, frames)
        try:
            return align(self.plan, self.stimulus, response, loopback=loop)
        except CaptureError as error:
            return error

    @functools.cached_property
    def refusals(self) -> tuple[CaptureError, ...]:
        """Why the take cannot be aligned, every reason; none when it can."""
        if isinstance(self.alignment, CaptureError):
            return self.alignment, *self.alignment.others
        return ()

    @functools.cached_property
    def aligned(self) -> AlignedCapture | None:
        """The pair sample by sample; None where it cannot be aligned."""
        if isinstance(self.alignment, CaptureError):
            return None
        response = delay.piece(self.response, 0, self.plan.frames)
        return apply(self.plan, self.alignment, self.stimulus, response)

    @functools.cached_property
    def has_time_effect(self) -> bool:
        """Whether something in the chain of an aligned take sounds on or wavers."""
        return self.aligned is not None and has_time_effect(self.aligned)

    @functools.cached_property
    def lag(self) -> int | None:
        """The delay in whole samples, of a take that cannot be aligned by its clearest marker.

        None where no marker is heard.
        """
        if isinstance(self.alignment, Alignment):
            return round(self.alignment.delay_samples)
        return slips.clearest_lag(self.plan, self.stimulus, self.response)

    @functools.cached_property
    def hidden_slips(self) -> tuple[slips.Slip, ...]:
        """Slips that undo each other between two markers, of a take that is aligned."""
        if isinstance(self.alignment, CaptureError) or not self.alignment.markers:
            return ()
        heard = self.response if self.loop is None else self.loop
        whole = round(float(np.median([m.delay_samples for m in self.alignment.markers])))
        return tuple(
            slips.hidden_slips(self.plan, self.stimulus, heard, whole, linear=self.loop is not None)
        )
