"""Calibration: what is known of an interface itself, measured once and kept with its conditions.

    latency      samples from the send to the return, over a loop cable
    send         dBu of a sine whose peak is 0 dBFS, read off a voltmeter or a data sheet
    return       the same for the input, for one position of its gain knob
    reference    the tone in every take that asks whether all that is still true

A loop cable alone gives only send and return together, never a voltage: that takes a meter. What
has not been measured is unknown (`None`), never guessed. A calibration holds only where everything
it depends on agrees, and is refused where it does not.

Conventions
-----------
A latency is in samples. `dbu_at_full_scale` is the RMS level, in dBu, of the sine whose peak is
0 dBFS; the gain of a loop is then that of the send minus that of the return. A simulated interface
has known volts: a sample of 1.0 is 1 V at the device's jack.
"""

from profiler.capture.calibration.latency import LatencyCalibration, measure_latency
from profiler.capture.calibration.levels import (
    LevelCalibration,
    ReturnCalibration,
    SendCalibration,
)
from profiler.capture.calibration.reference import (
    ReferenceCheck,
    reference_check,
    reference_level_dbfs,
)
from profiler.capture.calibration.returned import measure_return, nominal_return
from profiler.capture.calibration.send import measure_send, nominal_send
from profiler.capture.calibration.store import (
    conditions,
    recall,
    recall_return,
    recall_send,
    send_dbu_at_full_scale,
    store,
    store_live,
    store_return,
    store_send,
    stored,
    stored_delay,
    stored_levels,
    stored_live,
    stored_return,
    stored_returns,
    stored_send,
)

__all__ = [
    "LatencyCalibration",
    "LevelCalibration",
    "ReferenceCheck",
    "ReturnCalibration",
    "SendCalibration",
    "conditions",
    "measure_latency",
    "measure_return",
    "measure_send",
    "nominal_return",
    "nominal_send",
    "recall",
    "recall_return",
    "recall_send",
    "reference_check",
    "reference_level_dbfs",
    "send_dbu_at_full_scale",
    "store",
    "store_live",
    "store_return",
    "store_send",
    "stored",
    "stored_delay",
    "stored_levels",
    "stored_live",
    "stored_return",
    "stored_returns",
    "stored_send",
]
