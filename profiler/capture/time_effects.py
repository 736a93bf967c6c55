"""Effects of time in the chain, measured: echo and reverb, tremolo and chorus.

Echo and reverb stand in the impulse response long after the direct sound. Tremolo and chorus move
the level or the phase of a tone that was played steadily. Either spoils what silences, probes and
repeated passages would say of the device.

Conventions
-----------
Late energy is that of the impulse response re the direct sound's, with what noise adds taken out.
A modulation is peak to peak, that of a sine of the same power.
"""

from dataclasses import dataclass

import numpy as np

from profiler.capture.alignment import AlignedCapture
from profiler.capture.impulse import BEFORE_SECONDS, impulse_responses, swept
from profiler.capture.silences import silences
from profiler.stimulus.plan import Reference, Sine, Sweep
from profiler.units import amplitude_to_db, db_to_amplitude, power_to_db

DIRECT_SECONDS = 0.05
LATE_SECONDS = (0.1, 0.45)  # of the impulse response
LATE_LIMIT_DB = -40.0
LATE_BLOCK_SECONDS = 0.02
ECHO_PART = 0.5  # of the late energy, that an echo holds in three blocks
DYING = 1.25  # of the energy of the first half over the second: a reverb of 4 s has 1.8
QUIET_SECONDS = 0.3  # of silence, in which the noise is measured
RINGING_SECONDS = 0.1

MODULATION_LIMIT_DB = 0.2
SETTLING_SECONDS = 0.15  # of a steady tone: the amp's own sag
TONE_SECONDS = 0.5  # that a tone lasts at least after that
MODULATION_BLOCK_SECONDS = 0.01
MODULATION_HZ = (0.5, 20.0)
NOISE_MARGIN = 4.0  # of the power of a modulation over that of noise
STEP_LEAVES = 0.25  # of a modulation: a waver of 0.5 Hz or more leaves half without a step
TREMOLO_RATIO = 3.0  # of the level's modulation over the phase's


@dataclass(frozen=True)
class LateSound:
    """What stands in an impulse response after 0.1 s."""

    level_db: float  # energy re the direct sound's
    echo_seconds: float | None  # where most of it stands in one place


@dataclass(frozen=True)
class Modulation:
    """Of a steady tone, each peak to peak."""

    at_seconds: float  # where the tone begins
    peak_to_peak_db: float  # the larger of level and phase
    level_db: float
    phase_db: float  # a phase of 1 radian counts as 8.7 dB of level: the sidebands are as strong
    frequency: float  # Hz, of the strongest part of the level's

    @property
    def is_tremolo(self) -> bool:
        """The level moves and the pitch does not."""
        return self.level_db > TREMOLO_RATIO * self.phase_db


def has_time_effect(capture: AlignedCapture) -> bool:
    """Whether something in the chain sounds on or wavers more than any amp."""
    return late_sound(capture) is not None or modulation(capture) is not None


def late_sound(capture: AlignedCapture) -> LateSound | None:
    """The echo or reverb in a capture's sweep; None where there is none above -40 dB."""
    impulses, rate = swept(capture), capture.sample_rate
    if impulses is None:
        return None
    block = round(LATE_BLOCK_SECONDS * rate)
    before, direct_end = round(BEFORE_SECONDS * rate), round(DIRECT_SECONDS * rate)
    direct = np.sum(impulses[:direct_end] ** 2) + np.sum(impulses[-before:] ** 2)
    first, last = (round(seconds * rate) for seconds in LATE_SECONDS)
    late = impulses[first : last - (last - first) % block].reshape(-1, block)
    energy = np.sum(late**2, axis=1) - block / rate * _noise_a_second(capture)
    total = float(np.sum(energy))
    if direct <= 0.0 or total <= 0.0 or power_to_db(total / direct) <= LATE_LIMIT_DB:
        return None
    loudest = int(np.argmax(energy))
    around = energy[max(loudest - 1, 0) : loudest + 2]
    is_echo = np.sum(around) > ECHO_PART * total
    sooner, later = (float(np.sum(half)) for half in np.array_split(energy, 2))
    if not is_echo and sooner < DYING * later:
        return None  # what a sweep through much distortion leaves everywhere, it does not die away
    place = LATE_SECONDS[0] + (loudest + 0.5) * LATE_BLOCK_SECONDS
    return LateSound(float(power_to_db(total / direct)), place if is_echo else None)


def modulation(capture: AlignedCapture) -> Modulation | None:
    """How the first steady tone wavers that does by more than 0.2 dB; None for none."""
    for placed in capture.plan.of_kind("reference", "sine"):
        segment, rate = placed.segment, capture.sample_rate
        first = placed.start + round(SETTLING_SECONDS * rate)
        tone = capture.response[first : placed.stop - round(MODULATION_BLOCK_SECONDS * rate)]
        if not isinstance(segment, Reference | Sine) or len(tone) < TONE_SECONDS * rate:
            continue
        found = _modulation(tone, segment.frequency, rate, placed.start / rate)
        if found is not None and found.peak_to_peak_db > MODULATION_LIMIT_DB:
            return found
    return None


def _noise_a_second(capture):
    """Energy that the noise of the longest silence adds to each second of impulse responses."""
    rate = capture.sample_rate
    covered = len(capture.response) - int(np.ceil(max(capture.alignment.delay_samples, 0.0)))
    parts = silences(capture.stimulus, rate, shortest_seconds=QUIET_SECONDS)
    skip = round(RINGING_SECONDS * rate)
    heard = [slice(part.start + skip, min(part.stop, covered)) for part in parts if part.start]
    longest = max(heard, key=lambda part: part.stop - part.start, default=None)
    placed = next(capture.plan.of_kind("sweep"))
    if longest is None or longest.stop <= longest.start or not isinstance(placed.segment, Sweep):
        return 0.0
    level = db_to_amplitude(placed.segment.level_dbfs + capture.plan.gain_db)
    noise = capture.response[longest] / level
    padded = np.pad(noise - np.mean(noise), (0, max(placed.stop - placed.start - len(noise), 0)))
    impulses = impulse_responses(padded, placed.segment, rate)
    return float(np.sum(impulses**2)) * rate / len(noise)


def _modulation(tone, frequency, rate, at_seconds):
    """How a tone moves between 0.5 and 20 Hz; None where noise would move it as well.

    Nor does a tone waver that is steady before and after a single step: a knob was moved.
    """
    block = round(MODULATION_BLOCK_SECONDS * rate)
    turning = np.exp(-2j * np.pi * frequency / rate * np.arange(len(tone)))
    carried = tone * turning
    slow = np.mean(carried[: len(carried) - len(carried) % block].reshape(-1, block), axis=1)
    if not np.all(slow != 0.0):
        return None
    moved = np.log(slow / np.mean(slow))  # nepers and radians
    course = moved.real + 1j * np.unwrap(moved.imag)
    steady = _without_trend(course)
    bins = np.fft.rfftfreq(len(slow), block / rate)
    level, phase = _spreads(steady, bins)
    if np.hypot(*_spreads(_without_step(course), bins)) <= STEP_LEAVES * np.hypot(level, phase):
        return None  # nothing moves, or all at once
    nepers_to_db = 2.0 * np.sqrt(2.0) * float(amplitude_to_db(np.e))
    strongest = int(np.argmax(np.where(_wavers(bins), np.abs(np.fft.rfft(steady.real)), 0.0)))
    return Modulation(
        at_seconds=at_seconds,
        peak_to_peak_db=nepers_to_db * max(level, phase),
        level_db=nepers_to_db * level,
        phase_db=nepers_to_db * phase,
        frequency=float(bins[strongest]),
    )


def _wavers(bins):
    return (bins > 0.0) & (bins >= MODULATION_HZ[0]) & (bins <= MODULATION_HZ[1])


def _spreads(course, bins):
    """RMS of a course's level and of its phase between 0.5 and 20 Hz; 0 where noise has it too."""
    beyond = bins > 1.5 * MODULATION_HZ[1]
    spreads = []
    for part in (course.real, course.imag):
        power = np.abs(np.fft.rfft(part) / len(part)) ** 2 * 2.0
        noise = np.median(power[beyond]) / np.log(2.0) * np.count_nonzero(_wavers(bins))
        within = np.sum(power[_wavers(bins)])
        spreads.append(float(np.sqrt(within - noise)) if within > NOISE_MARGIN * noise else 0.0)
    return spreads


def _without_trend(course):
    """A course over time without the straight line through it: what warms up is no effect."""
    return _without(course, *_straight(course))


def _without_step(course):
    """A course without the straight line and the one step that together explain most of it.

    The blocks on either side of the step are left out: it lies within one of them.
    """
    blocks = len(course)
    before = np.arange(1, blocks)  # so many blocks come before the step
    time = np.arange(blocks) - 0.5 * (blocks - 1)
    # the energy of a step, 1 before and 0 behind, and what it shares with the course, each
    # without a straight line
    energy = before - before**2 / blocks - np.cumsum(time)[:-1] ** 2 / np.sum(time**2)
    shared = np.cumsum(_without_trend(course))[:-1]
    explained = (np.abs(shared) ** 2 / energy)[1:-1]
    at = int(before[1 + np.argmax(explained)])
    around = np.eye(blocks)[at - 1 : at + 1]
    return _without(course, *_straight(course), np.arange(blocks) < at, *around)


def _straight(course):
    return np.ones(len(course)), np.arange(len(course))


def _without(course, *shapes):
    """What the best sum of some shapes leaves of a course."""
    columns = np.stack(shapes, axis=1).astype(float)
    return course - columns @ np.linalg.lstsq(columns, course, rcond=None)[0]
