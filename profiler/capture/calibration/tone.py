"""The 200 Hz tone that levels are calibrated by: played quiet first, and measured.

Even cheap meters are specified at 100 to 400 Hz. 200 Hz is also the fourth harmonic of a 50 Hz
mains, which is its weakest; and a meter adds whatever hum there is, of any frequency, which is
why levels far apart must agree.

Conventions
-----------
The level of a tone is the peak of its fundamental in dBFS, by least squares on offset, sine and
cosine: whole periods are not needed, and neither noise nor harmonics bias it.
"""

import numpy as np

from profiler.capture.safety import check_ceiling
from profiler.errors import CaptureError
from profiler.rig.interface import Interface, StreamReport
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalDefinition, SignalPlan, Silence, Sine
from profiler.stimulus.synthesis import render
from profiler.units import amplitude_to_db

FREQUENCY = 200.0  # Hz
RAMP_SECONDS = 0.5  # a tone at the input of an amp must not begin with a bang
STEPS_DB = (-28.0, -8.0, 0.0)  # -40, -20 and -12 dBFS
LOUDEST_DBFS = -12.0  # full scale of a line output overdrives most guitar inputs
AGREEMENT_DB = 0.05  # between levels 28 dB apart: a chain that bends, or a meter misread

GAP_RATIO = 0.3  # of silence before and after a tone, re its length: an amp must not get hot
LONGEST_ROUND_TRIP_SECONDS = 0.3  # a steady part is looked for only where it must have arrived


def levels(ceiling_dbfs: float, loudest_dbfs: float = LOUDEST_DBFS) -> tuple[float, ...]:
    """Three peaks in dBFS, quiet first: -40, -20 and -12, or lower where the ceiling is."""
    loudest = min(loudest_dbfs, ceiling_dbfs)
    return tuple(loudest + step for step in STEPS_DB)


def tone_plan(level_dbfs: float, seconds: float, sample_rate: int) -> SignalPlan:
    """One tone, ramped up and down, between silences."""
    before, after = (
        Silence(name=name, kind="silence", use="analyse", seconds=GAP_RATIO * seconds)
        for name in ("before", "after")
    )
    tone = Sine(
        name="tone",
        kind="sine",
        use="analyse",
        frequency=FREQUENCY,
        seconds=seconds,
        level_dbfs=level_dbfs,
        fade_seconds=RAMP_SECONDS,
    )
    definition = SignalDefinition(name="calibration tone", segments=(before, tone, after))
    return definition.plan(sample_rate)


def steady_tone(plan: SignalPlan, returned: np.ndarray) -> np.ndarray:
    """The steady part of the tone of a `tone_plan` in what came back, whatever the latency."""
    (tone,) = plan.of_kind("sine")
    ramp, latency = (
        round(s * plan.sample_rate) for s in (RAMP_SECONDS, LONGEST_ROUND_TRIP_SECONDS)
    )
    return returned[tone.start + ramp + latency : tone.stop - ramp]


def play(rig: Rig, plan: SignalPlan, interface: Interface) -> tuple[np.ndarray, StreamReport]:
    """Play a plan: what came back, `(frames, channels)`, and what the driver said.

    Raises
    ------
    SafetyStop
        The plan is above the rig's ceiling; nothing was played.
    InterfaceError
        The device failed.
    """
    check_ceiling(plan, rig.maximum_send_dbfs)
    recorded: list[np.ndarray] = []
    stream = interface.play_record(
        [render(plan)], plan.frames, lambda block: recorded.append(block.samples.copy())
    )
    return np.concatenate(recorded), stream


def level_dbfs(tone: np.ndarray, frequency: float, sample_rate: int) -> float:
    """Peak of the fundamental of a steady tone `(n,)`; -inf for silence."""
    phase = 2.0 * np.pi * frequency / sample_rate * np.arange(len(tone))
    basis = np.stack([np.ones(len(tone)), np.cos(phase), np.sin(phase)], axis=1)
    _, cosine, sine = np.linalg.lstsq(basis, np.asarray(tone, np.float64), rcond=None)[0]
    return float(amplitude_to_db(np.hypot(cosine, sine)))


def agreed_dbu(readings: list[tuple[float, float]], what: str, loud: str, quiet: str) -> float:
    """Mean of level minus level over `readings`, quiet first, when all agree within 0.05 dB.

    Parameters
    ----------
    readings : list of (played_dbfs, level_db)
        What was played, and what was read of it.
    what : str
        Who read it, in words.
    loud, quiet : str
        What it means when the loudest reads low, or the quietest high, and what to do.

    Raises
    ------
    CaptureError
        They do not: which one is off, by how much, and why.
    """
    offsets = np.array([read - played for played, read in readings])
    apart = offsets - np.median(offsets)
    if np.ptp(offsets) <= AGREEMENT_DB:
        return float(np.mean(offsets))
    # where two agree the third is off; of two equally far off, it is the louder
    odd = len(apart) - 1 - int(np.argmax(np.abs(apart)[::-1]))
    off = float(offsets[odd] - np.mean(np.delete(offsets, odd)))
    if odd == len(offsets) - 1 and off < 0.0:
        why = loud
    elif odd == 0 and off > 0.0:
        why = quiet
    else:
        why = "it was misread, or something changed meanwhile: measure it again"
    raise CaptureError(
        f"{what} at {readings[odd][0]:g} dBFS is {off:+.2f} dB off the other levels (within "
        f"{AGREEMENT_DB:g} dB expected), so nothing was calibrated: {why}"
    )
