"""The level of the send: how many volts is full scale?

A 200 Hz sine is played at three levels, the quietest first, and a person says what a voltmeter
reads at the jack with everything connected. The three must give the same answer within 0.05 dB: a
send that saturates reads low at its loudest, and a meter that hears hum or is at the end of its
digits reads high at its quietest. A level in dBu follows, good to 0.1 dB.
"""

import datetime
from collections.abc import Callable

from profiler.capture.calibration import tone
from profiler.capture.calibration.levels import UNCERTAINTY_DB, MeterReading, SendCalibration
from profiler.capture.calibration.validity import send_conditions
from profiler.rig.interface import Interface
from profiler.rig.rig import Rig
from profiler.units import Level

TONE_SECONDS = 8.0  # a meter that chooses its own range needs three or four

# What a meter says of a sine with this peak, in dBFS; None: it was not read, play it again.
ReadMeter = Callable[[float], Level | None]


def measure_send(
    rig: Rig,
    interface: Interface,
    read: ReadMeter,
    *,
    loudest_dbfs: float = tone.LOUDEST_DBFS,
    seconds: float = TONE_SECONDS,
    on_tone: Callable[[float], None] | None = None,
) -> SendCalibration:
    """Calibrate the send of a rig by a voltmeter.

    Parameters
    ----------
    read : callable
        Asked after each tone what the meter showed while it sounded.
    loudest_dbfs : float
        Peak of the loudest of the three tones; never above the rig's ceiling in dBFS. That in dBu
        cannot be held before this is known.
    seconds : float
        Of each tone, its ramps of 0.5 s included.
    on_tone : callable, optional
        Told the level of a tone before it begins.

    Raises
    ------
    CaptureError
        The three levels do not agree: a send that saturates, or a meter that was misread.
    ValueError
        The meter was said to read dBFS.
    """
    readings: list[tuple[float, float]] = []
    for level_dbfs in tone.levels(rig.maximum_send_dbfs, loudest_dbfs):
        reading = None
        while reading is None:
            if on_tone is not None:
                on_tone(level_dbfs)
            plan = tone.tone_plan(level_dbfs, seconds, interface.sample_rate)
            tone.play(rig, plan, interface)
            reading = read(level_dbfs)
        readings.append((level_dbfs, reading.dbu))
    dbu = tone.agreed_dbu(
        readings,
        "the meter's reading",
        loud="the send saturates, or the meter was misread: calibrate with a lower --level",
        quiet="the meter hears hum or shows too few digits: use its mV range and shorter leads",
    )
    return SendCalibration(
        conditions=send_conditions(rig),
        dbu_at_full_scale=dbu,
        basis="meter",
        uncertainty_db=UNCERTAINTY_DB["meter"],
        readings=tuple(MeterReading(level_dbfs=at, level_dbu=read) for at, read in readings),
        created_utc=datetime.datetime.now(datetime.UTC),
    )


def nominal_send(rig: Rig, at_full_scale: Level) -> SendCalibration:
    """The level of the send as its data sheet has it, good to a decibel."""
    return SendCalibration(
        conditions=send_conditions(rig),
        dbu_at_full_scale=at_full_scale.dbu,
        basis="nominal",
        uncertainty_db=UNCERTAINTY_DB["nominal"],
        created_utc=datetime.datetime.now(datetime.UTC),
    )
