"""Effects in the chain: what a model of an amp cannot hold, or what its gear type should say.

Echo, reverb, tremolo and chorus are measured in `profiler.capture.time_effects`. A speaker
simulation ends the treble more steeply than any amp's transformer, and has the notches of a cone.
"""

from collections.abc import Iterator

import numpy as np
import scipy.ndimage

from profiler.capture.alignment import AlignedCapture
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.impulse import magnitude_db, swept
from profiler.capture.time_effects import (
    LATE_LIMIT_DB,
    MODULATION_LIMIT_DB,
    late_sound,
    modulation,
)

CABINET_SECONDS = 0.05
CABINET_SLOPE_DB = 15.0  # from 5 to 10 kHz; a small amp's transformer has 6 to 8
NOTCH_DB = 4.0  # below the octave around it
NOTCH_HZ = (800.0, 5000.0)
POINTS_AN_OCTAVE = 24


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What else is in the chain."""
    if evidence.aligned is not None:
        if evidence.has_time_effect:
            yield from time_effect(evidence.aligned)
        yield from speaker_simulation(evidence.aligned)


def time_effect(capture: AlignedCapture) -> Iterator[Finding]:
    """An echo or a reverb, else a tremolo or a chorus."""
    late = late_sound(capture)
    if late is not None:
        cause = f"the sound dies away slowly, {late.level_db:.0f} dB of it after 100 ms: a reverb"
        if late.echo_seconds is not None:
            cause = (
                f"an echo comes {1e3 * late.echo_seconds:.0f} ms after the sound at "
                f"{late.level_db:.0f} dB: a delay"
            )
        yield _time_effect(late.level_db, LATE_LIMIT_DB, cause)
        return
    found = modulation(capture)
    if found is not None:
        what = "its level and pitch waver: a chorus, a vibrato or a flanger"
        if found.is_tremolo:
            what = f"its level goes up and down {found.frequency:.0f} times a second: a tremolo"
        cause = f"a steady tone comes back unsteady by {found.peak_to_peak_db:.1f} dB, {what}"
        yield _time_effect(found.peak_to_peak_db, MODULATION_LIMIT_DB, cause, found.at_seconds)


def speaker_simulation(capture: AlignedCapture) -> Iterator[Finding]:
    """The steep end and the notches of a loudspeaker: no fault, but something to be said."""
    impulses = swept(capture)
    if impulses is None:
        return
    frequencies, level_db = magnitude_db(impulses, capture.sample_rate, CABINET_SECONDS)
    octaves = np.arange(np.log2(200.0), np.log2(12_000.0), 1.0 / POINTS_AN_OCTAVE)
    level = np.interp(2.0**octaves, frequencies, level_db)
    smooth = scipy.ndimage.uniform_filter1d(level, POINTS_AN_OCTAVE // 4)
    slope = float(np.interp(np.log2(5000.0), octaves, smooth)) - float(
        np.interp(np.log2(10_000.0), octaves, smooth)
    )
    usual = scipy.ndimage.median_filter(level, POINTS_AN_OCTAVE + 1)
    heard = (octaves > np.log2(NOTCH_HZ[0])) & (octaves < np.log2(NOTCH_HZ[1]))
    if slope < CABINET_SLOPE_DB or np.max((usual - smooth)[heard]) < NOTCH_DB:
        return
    yield Finding(
        name="speaker-simulation",
        severity="note",
        measured=slope,
        limit=CABINET_SLOPE_DB,
        unit="dB/octave",
        cause=(
            f"the treble ends by {slope:.0f} dB an octave above 5 kHz, with the notches of a "
            "speaker: a cabinet or its simulation is in the chain"
        ),
        action=(
            'say so in the rig (gear_type = "amp_cab"), so that nobody plays the model through a '
            "second one, or switch the simulation off"
        ),
    )


def _time_effect(measured, limit, cause, at_seconds=None):
    return Finding(
        name="time-effect",
        severity="warn",
        measured=measured,
        limit=limit,
        unit="dB",
        at_seconds=at_seconds,
        cause=cause + " is in the chain",
        action="switch it off: a model of an amp cannot hold it; add it behind the model",
    )
