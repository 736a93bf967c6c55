"""The interface's round-trip latency, measured once with a loop cable and kept.

With no channel to spare for a loopback, the latency of the same device at the same sample
rate and block size is what a take is aligned by; it is re-checked against the markers of
every take, because a driver may change it from one opening to the next.
"""

import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from profiler.capture.alignment import align
from profiler.capture.safety import announce
from profiler.definitions import Record, user_data_folder
from profiler.errors import CaptureError
from profiler.rig.interface import Interface
from profiler.rig.rig import PortAudioInterface, Rig, SimulatedInterface
from profiler.stimulus.plan import SignalPlan
from profiler.stimulus.synthesis import render

LARGEST_SPREAD_SAMPLES = 0.05  # a stable driver repeats to 1e-3; whole samples apart is a fault


class LatencyCalibration(Record):
    """The round trip of one interface under stated conditions."""

    schema_: Literal["ampscope.latency/1"] = Field(default="ampscope.latency/1", alias="schema")
    conditions: dict[str, str | int | float | None]
    round_trip_samples: float
    spread_samples: float  # largest minus smallest over the repeats
    repeats: int
    polarity: Literal[1, -1]
    created_utc: datetime.datetime


def measure_latency(
    rig: Rig,
    plan: SignalPlan,
    interface: Interface,
    *,
    repeats: int = 3,
    on_repeat: Callable[[int, float], None] | None = None,
) -> LatencyCalibration:
    """Play `plan` through a loop cable `repeats` times and measure the round trip.

    Raises
    ------
    NotAligned, Silent
        What came back is not the stimulus behind one delay.
    CaptureError
        The latency differs from repeat to repeat.
    """
    plan = plan.bracketed()
    announce(rig, plan)
    stimulus = render(plan)
    delays, polarities = [], []
    for repeat in range(repeats):
        returned = _returned(interface, stimulus)
        alignment = align(plan, stimulus, returned, loopback=returned)
        delays.append(alignment.delay_samples)
        polarities.append(alignment.polarity)
        if on_repeat is not None:
            on_repeat(repeat, alignment.delay_samples)
    spread = max(delays) - min(delays)
    if spread > LARGEST_SPREAD_SAMPLES:
        raise CaptureError(
            f"the round trip changed by {spread:.3f} samples over {repeats} repeats (at most "
            f"{LARGEST_SPREAD_SAMPLES} expected): close other programs that use the interface, "
            "fix its block size, or wire a loopback channel"
        )
    return LatencyCalibration(
        conditions=conditions(rig),
        round_trip_samples=float(np.mean(delays)),
        spread_samples=spread,
        repeats=repeats,
        polarity=polarities[0],
        created_utc=datetime.datetime.now(datetime.UTC),
    )


def _returned(interface, stimulus):
    recorded: list[np.ndarray] = []
    interface.play_record(
        [stimulus], len(stimulus), lambda block: recorded.append(block.samples[:, 0].copy())
    )
    return np.concatenate(recorded)


def conditions(rig: Rig) -> dict[str, str | int | float | None]:
    """What the latency depends on: a calibration holds only where all of it agrees."""
    interface = rig.interface
    if isinstance(interface, PortAudioInterface):
        keys: tuple[str, ...] = ("driver", "device", "return_device", "host_api")
    elif isinstance(interface, SimulatedInterface):
        keys = ("driver", "round_trip_samples")
    else:
        raise ValueError("a file rig has no interface to calibrate")
    return {key: getattr(interface, key) for key in (*keys, "sample_rate", "block_size")}


def calibration_path(rig: Rig) -> Path:
    """Where the calibration for a rig's conditions is kept."""
    essence = repr(sorted(conditions(rig).items())).encode()
    name = f"latency-{hashlib.sha256(essence).hexdigest()[:16]}.json"
    return user_data_folder() / "calibrations" / name


def store(rig: Rig, calibration: LatencyCalibration) -> Path:
    """Keep a calibration under the user's data folder."""
    path = calibration_path(rig)
    calibration.save(path)
    return path


def stored(rig: Rig) -> LatencyCalibration | None:
    """The calibration that holds for a rig, if there is one."""
    if rig.interface.driver == "file" or not calibration_path(rig).is_file():
        return None
    return LatencyCalibration.load_json(calibration_path(rig))


def stored_delay(rig: Rig) -> float | None:
    """The calibrated round trip for a rig in samples, if it is known."""
    calibration = stored(rig)
    return None if calibration is None else calibration.round_trip_samples
