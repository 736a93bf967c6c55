"""The level of the return: how many volts fill the input, and where does it clip?

With the send calibrated, a loop cable from the send to the return does the rest: what a level in
dBu is recorded as. A cable alone gives only send and return together, so without a calibrated send
this is refused. It holds for one position of the input's gain knob.

Three tones, the quietest first, must come back whole and with one gain. Then the tone climbs to
the rig's ceiling, or until the return clips: nothing is calibrated from clipped samples.
"""

import datetime
from collections.abc import Callable

import numpy as np

from profiler.capture.calibration import tone
from profiler.capture.calibration.levels import (
    UNCERTAINTY_DB,
    ReturnCalibration,
    SendCalibration,
)
from profiler.capture.calibration.validity import return_conditions
from profiler.capture.safety import ceiling_dbfs
from profiler.errors import CaptureError, Clipping, Silent
from profiler.rig.interface import Interface
from profiler.rig.rig import Rig
from profiler.units import Level, peak_dbfs

TONE_SECONDS = 2.0
CLIMB_DB = 2.0  # a step towards the ceiling
SILENT_GAIN_DB = -60.0  # a cable loses nothing; crosstalk is all that is so quiet
SPARE_DB = 6.0  # below the rail, where a return that clipped should rather stand
BENT_DB = 0.1  # less gain than below: whatever is at its end here, the return does not go on

# A sine spends 1.4 % of its time within 0.1 % of each peak; a flat top far more.
TOP_RATIO = 0.999
SINE_SHARE = float(np.arccos(TOP_RATIO) / np.pi)
FLAT_SHARE = 2.0 * SINE_SHARE


def measure_return(
    rig: Rig,
    interface: Interface,
    send: SendCalibration | None,
    *,
    gain_position: str | None = None,
    loudest_dbfs: float = tone.LOUDEST_DBFS,
    on_tone: Callable[[float], None] | None = None,
) -> ReturnCalibration:
    """Calibrate the return of a rig over a loop cable, and find where it clips.

    Parameters
    ----------
    send : SendCalibration or None
        Of the same rig.
    gain_position : str, optional
        Where the input's gain knob stands, as the rig file has it.
    loudest_dbfs : float
        Peak of the loudest of the three tones that must come back whole.
    on_tone : callable, optional
        Told the level of a tone before it begins.

    Raises
    ------
    CaptureError
        The send is not calibrated, or the loop's gain is not the same at every level.
    Silent
        The tone did not come back.
    Clipping
        The return clips at a level that is needed.
    """
    if send is None:
        raise CaptureError(
            "the send is not calibrated, and a loopback alone gives only out + in: never a "
            "voltage: calibrate the send first (ampscope calibrate send RIG)"
        )

    def returned(level_dbfs):
        if on_tone is not None:
            on_tone(level_dbfs)
        plan = tone.tone_plan(level_dbfs, TONE_SECONDS, interface.sample_rate)
        recorded, _ = tone.play(rig, plan, interface)
        steady = tone.steady_tone(plan, recorded[:, 0])
        return steady, tone.level_dbfs(steady, tone.FREQUENCY, plan.sample_rate)

    ceiling = ceiling_dbfs(rig, send.dbu_at_full_scale)
    readings: list[tuple[float, float]] = []
    for level_dbfs in tone.levels(ceiling, loudest_dbfs):
        steady, read_dbfs = returned(level_dbfs)
        _refuse_silence(read_dbfs, level_dbfs)
        _refuse_clipping(steady, level_dbfs, readings)
        readings.append((level_dbfs, read_dbfs))
    gain_db = tone.agreed_dbu(
        readings,
        "the return",
        loud="the send saturates, or a limiter works: calibrate with a lower --level",
        quiet="the loop is noisy: raise the input gain, or check the cable",
    )
    highest_dbfs, clip_dbfs = readings[-1][1], None
    for level_dbfs in _climb(readings[-1][0], ceiling):
        steady, read_dbfs = returned(level_dbfs)
        if flat_topped(steady) or read_dbfs < level_dbfs + gain_db - BENT_DB:
            clip_dbfs = peak_dbfs(steady)
            break
        highest_dbfs = read_dbfs
    return ReturnCalibration(
        conditions=return_conditions(rig, gain_position),
        dbu_at_full_scale=send.dbu_at_full_scale - gain_db,
        basis=send.basis,
        uncertainty_db=send.uncertainty_db,
        loop_gain_db=gain_db,
        clip_dbfs=clip_dbfs,
        highest_clean_dbfs=highest_dbfs,
        headroom_db=None if clip_dbfs is None else clip_dbfs - (tone.LOUDEST_DBFS + gain_db),
        created_utc=datetime.datetime.now(datetime.UTC),
    )


def nominal_return(
    rig: Rig, at_full_scale: Level, *, gain_position: str | None = None
) -> ReturnCalibration:
    """The level of the return as its data sheet has it, good to a decibel."""
    return ReturnCalibration(
        conditions=return_conditions(rig, gain_position),
        dbu_at_full_scale=at_full_scale.dbu,
        basis="nominal",
        uncertainty_db=UNCERTAINTY_DB["nominal"],
        created_utc=datetime.datetime.now(datetime.UTC),
    )


def flat_topped(steady: np.ndarray) -> bool:
    """Whether a steady sine `(n,)` is cut off at one of its rails, at any level."""
    centred = np.asarray(steady, np.float64) - np.mean(steady)
    return any(
        np.mean(rail >= TOP_RATIO * np.max(rail)) > FLAT_SHARE for rail in (centred, -centred)
    )


def _climb(from_dbfs, ceiling_dbfs):
    steps = int((ceiling_dbfs - from_dbfs) / CLIMB_DB)
    levels = [from_dbfs + CLIMB_DB * step for step in range(1, steps + 1)]
    if ceiling_dbfs > (levels[-1] if levels else from_dbfs):
        levels.append(ceiling_dbfs)
    return levels


def _refuse_silence(read_dbfs, level_dbfs):
    if read_dbfs < level_dbfs + SILENT_GAIN_DB:
        raise Silent(
            f"a tone of {level_dbfs:g} dBFS came back at {read_dbfs:.0f} dBFS: expected the send "
            "on the return by a cable: check the cable, the channels in the rig file, and the "
            "input's gain"
        )


def _refuse_clipping(steady, level_dbfs, readings):
    if not flat_topped(steady):
        return
    rail_dbfs = peak_dbfs(steady)
    excess_db = 0.0
    if readings:  # what it would be, were it not cut off
        played_dbfs, read_dbfs = readings[-1]
        excess_db = level_dbfs + read_dbfs - played_dbfs - rail_dbfs
    raise Clipping(
        f"the return is cut off at {rail_dbfs:.1f} dBFS by a tone of {level_dbfs:g} dBFS, so "
        f"nothing was calibrated: turn the input gain down by {excess_db + SPARE_DB:.0f} dB"
        f"{'' if readings else ' or more'}, or calibrate with a lower --level"
    )
