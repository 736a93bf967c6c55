"""Under which conditions a calibration holds.

A latency depends on device, API, rate and block size; a level on the device, the channel and, for
a return, the position of its gain knob. Every simulated interface belongs to its rig: its round
trip and gain stand for the device.
"""

from profiler.rig.rig import Rig

Conditions = dict[str, str | int | float | None]

_LATENCY_KEYS = {
    "portaudio": ("driver", "device", "return_device", "host_api", "sample_rate", "block_size"),
    "simulated": ("driver", "round_trip_samples", "sample_rate", "block_size"),
}
_SEND_KEYS = {
    "portaudio": ("driver", "device", "host_api", "send_channel"),
    "simulated": ("driver", "round_trip_samples"),
}
_RETURN_KEYS = {
    "portaudio": (
        "driver",
        "device",
        "return_device",
        "host_api",
        "return_channel",
        "gain_position",
    ),
    "simulated": ("driver", "round_trip_samples", "gain_db", "gain_position"),
}


def conditions(rig: Rig) -> Conditions:
    """What the latency depends on: a calibration holds only where all of it agrees."""
    return _conditions(rig, _LATENCY_KEYS)


def live_conditions(rig: Rig) -> Conditions:
    """What the round trip depends on where an instrument is played live."""
    return conditions(rig) | {"latency": "low"}


def send_conditions(rig: Rig) -> Conditions:
    """What the level of the send depends on."""
    return _conditions(rig, _SEND_KEYS)


def return_conditions(rig: Rig, gain_position: str | None = None) -> Conditions:
    """What the level of the return depends on, at a gain position (the rig's own)."""
    known = _conditions(rig, _RETURN_KEYS)
    return known if gain_position is None else known | {"gain_position": gain_position}


def _conditions(rig, keys):
    if rig.interface.driver not in keys:
        raise ValueError("a file rig has no interface to calibrate")
    return {key: getattr(rig.interface, key) for key in keys[rig.interface.driver]}
