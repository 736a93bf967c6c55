"""Where calibrations are kept, and how they are found again.

One file each in the user's data folder, named by what it measured and a hash of the conditions
under which it holds.
"""

import hashlib
from pathlib import Path

from profiler.capture.calibration.latency import LatencyCalibration
from profiler.capture.calibration.levels import (
    LevelCalibration,
    ReturnCalibration,
    SendCalibration,
)
from profiler.capture.calibration.validity import (
    conditions,
    live_conditions,
    return_conditions,
    send_conditions,
)
from profiler.definitions import user_data_folder
from profiler.errors import CaptureError, DefinitionError
from profiler.rig.interface import StreamReport
from profiler.rig.rig import Rig

# What is missing where a level is not calibrated.
_WITHOUT = {"send": ", and a loopback alone gives only out + in: never a voltage"}


def store(rig: Rig, calibration: LatencyCalibration) -> Path:
    """Keep a latency under the user's data folder."""
    return _store("latency", conditions(rig), calibration)


def store_live(rig: Rig, calibration: LatencyCalibration) -> Path:
    """Keep the round trip of live playing."""
    return _store("live", live_conditions(rig), calibration)


def store_send(rig: Rig, calibration: SendCalibration) -> Path:
    """Keep the level of a send."""
    return _store("send", send_conditions(rig), calibration)


def store_return(rig: Rig, calibration: ReturnCalibration) -> Path:
    """Keep the level of a return, for its gain position."""
    wanted = return_conditions(rig, calibration.gain_position)
    return _store("return", wanted, calibration)


def stored(rig: Rig) -> LatencyCalibration | None:
    """The latency that holds for a rig, if there is one."""
    if rig.interface.driver == "file":
        return None
    return _stored("latency", conditions(rig), LatencyCalibration)


def stored_live(rig: Rig) -> LatencyCalibration | None:
    """The round trip of live playing, if it was measured."""
    return _stored("live", live_conditions(rig), LatencyCalibration)


def stored_send(rig: Rig) -> SendCalibration | None:
    """The level of a rig's send, if it is known."""
    if rig.interface.driver == "file":
        return None
    return _stored("send", send_conditions(rig), SendCalibration)


def stored_return(rig: Rig, gain_position: str | None = None) -> ReturnCalibration | None:
    """The level of a rig's return, if it is known for a gain position (the rig's own)."""
    if rig.interface.driver == "file":
        return None
    wanted = return_conditions(rig, gain_position)
    return _stored("return", wanted, ReturnCalibration)


def stored_returns(rig: Rig) -> tuple[ReturnCalibration, ...]:
    """The levels of a rig's return at every gain position that is known."""
    return tuple(
        found
        for found in _all("return", ReturnCalibration)
        if found.conditions == return_conditions(rig) | {"gain_position": found.gain_position}
    )


def stored_delay(rig: Rig, stream: StreamReport | None = None) -> float | None:
    """The calibrated round trip for a rig in samples, if it is known.

    Where the rig lets the driver choose the block size, the blocks that a take met (`stream`)
    must be as large as those of the calibration: otherwise it does not hold for that take.
    """
    calibration = stored(rig)
    if calibration is None:
        return None
    if stream is not None and not calibration.holds_for(stream):
        return None
    return calibration.round_trip_samples


def stored_levels(rig: Rig) -> LevelCalibration | None:
    """What is known of a rig's levels, if anything is."""
    send, returned = stored_send(rig), stored_return(rig)
    if send is None and returned is None:
        return None
    return LevelCalibration(send=send, return_=returned)


def send_dbu_at_full_scale(rig: Rig) -> float | None:
    """dBu of a sine whose peak is 0 dBFS at a rig's send, if it is known."""
    send = stored_send(rig)
    return None if send is None else send.dbu_at_full_scale


def recall(rig: Rig) -> LatencyCalibration:
    """The latency that holds for a rig.

    Raises
    ------
    CaptureError
        There is none, or it was measured under other conditions: which, is said.
    """
    return _recall(stored(rig), "latency", conditions(rig), LatencyCalibration)


def recall_send(rig: Rig) -> SendCalibration:
    """The level of a rig's send; a `CaptureError` says why it is not known."""
    return _recall(stored_send(rig), "send", send_conditions(rig), SendCalibration)


def recall_return(rig: Rig, gain_position: str | None = None) -> ReturnCalibration:
    """The level of a rig's return; a `CaptureError` says why it is not known."""
    wanted = return_conditions(rig, gain_position)
    return _recall(stored_return(rig, gain_position), "return", wanted, ReturnCalibration)


def _recall(found, quantity, wanted, record):
    if found is not None:
        return found
    others = [other for other in _all(quantity, record) if other.conditions.keys() == wanted.keys()]
    if not others:
        raise CaptureError(
            f"the {quantity} of this interface is not calibrated{_WITHOUT.get(quantity, '')}: "
            f"measure it (ampscope calibrate {quantity} RIG)"
        )
    nearest = min(others, key=lambda other: len(_differing(other.conditions, wanted)))
    apart = "; ".join(
        f"{key} was {_said(nearest.conditions[key])} and is {_said(wanted[key])}"
        for key in _differing(nearest.conditions, wanted)
    )
    raise CaptureError(
        f"the {quantity} that was calibrated on {nearest.created_utc:%Y-%m-%d} does not hold here: "
        f"{apart}: measure it again (ampscope calibrate {quantity} RIG)"
    )


def _differing(one, other):
    return [key for key in one if one[key] != other[key]]


def _said(value):
    return "not given" if value is None else value


def _folder():
    return user_data_folder() / "calibrations"


def _path(quantity, wanted):
    essence = repr(sorted(wanted.items())).encode()
    return _folder() / f"{quantity}-{hashlib.sha256(essence).hexdigest()[:16]}.json"


def _store(quantity, wanted, calibration):
    path = _path(quantity, wanted)
    calibration.save(path)
    return path


def _stored(quantity, wanted, record):
    path = _path(quantity, wanted)
    return record.load_json(path) if path.is_file() else None


def _all(quantity, record):
    """Every calibration of a quantity that can be read."""
    for path in sorted(_folder().glob(f"{quantity}-*.json")):
        try:
            yield record.load_json(path)
        except DefinitionError:  # of another version, for other conditions: nobody asks for it
            continue
