"""Noise: hum of the mains, a gate that cuts the quiet off, and what a microphone hears besides.

Each is told where the device should be heard alone, or should do again what it did before: in
the silences, in steady tones, and in passages that are played twice.

Conventions
-----------
A burst is looked for from 200 Hz to 4 kHz, between the hum and the hiss. Levels of noise are RMS,
those of lines and tones peaks.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from profiler.capture.alignment import AlignedCapture
from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.hum import measure_hum
from profiler.capture.impulse import magnitude_db, swept
from profiler.capture.ladder import BURST_BAND_HZ, beside_tone, ladder_steps, swallowed_db
from profiler.capture.silences import silences
from profiler.stimulus.marker import half_frames
from profiler.stimulus.plan import PROBE_GAP_SECONDS, Probe
from profiler.units import amplitude_to_db, db_to_amplitude, power_to_db

RINGING_SECONDS = 0.1  # at the beginning of a silence: what sounded before dies away

HUM_WARNING_DBFS = -85.0  # below, it is heard in no recording of an amp
HUM_LIMIT_DB = 10.0  # over the local floor

GATE_DROP_DB = 6.0
GATED_BELOW_DBFS = -20.0  # steps of the ladder that a gate may swallow
GATED_FLOOR_DB = 20.0  # between the noise in silence and under a tone
TONE_END_SECONDS = 0.005  # of a tone, not measured

BURST_SECONDS = 0.02  # in which its power is taken
REFLECTION_SECONDS = (0.002, 0.0205)
REFLECTION_LIMIT_DB = -46.0  # re the direct sound
AS_LATE_SECONDS = 0.001
REFLECTION_OVER_DB = 15.0  # of a line in the cepstrum over its surroundings
REFLECTED_SECONDS = 0.03  # of the impulse response
REFLECTED_HZ = (400.0, 8000.0)
COLOUR_ORDER = 8  # of the polynomial that takes the device's own colour out

ECHO_SECONDS = 0.4  # after which a silence is free of echoes
BURST_LIMIT_DB = 10.0  # over what stands there at other times
# of the squared step of a tone's amplitude: what `beside_tone` hears of it. A jump of a Hann
# window's middle by h has lines of h/(pi m), and it sums those from the fourth on.
STEP_BESIDE_TONE = 2.0 / np.pi**2 * 0.284
SOUNDING = 1e-3  # of the usual energy of a block: something is played
FADING_BLOCKS = 9  # over which what an amp remembers is read
COLOURS_HZ = (150.0, 400.0, 1000.0, 2500.0, 6000.0)  # high passes: what a tone control does


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What is heard beside the device."""
    capture = evidence.aligned
    if capture is None:
        return
    yield from hum(capture)
    # what sounds on or wavers is neither a noise of the room nor the hiss under a tone
    wavering = evidence.has_time_effect
    gate = list(noise_gate(capture, judge_floor=not wavering))
    # a gate that opens and shuts makes bursts of its own
    if gate or wavering:
        yield from gate
    else:
        yield from room_noise(capture)
        yield from reflection(capture)


def hum(capture: AlignedCapture) -> Iterator[Finding]:
    """Lines of the mains in a long silence."""
    rate = capture.sample_rate
    skip = round(RINGING_SECONDS * rate)
    # the first one: where hum sets in later, the mains moved
    part = min(_heard_silences(capture), key=lambda part: part.start, default=None)
    found = part and measure_hum(capture.response[part.start + skip : part.stop], rate)
    if not found:
        return
    cause = f"hum of the {found.mains_hz} Hz mains, {found.level_dbfs:.0f} dBFS at "
    cause += f"{found.strongest_hz} Hz"
    if found.origin == "loop":
        cause += ": its odd harmonics are those of a ground loop"
        action = (
            "lift the ground of the return (an isolating DI or transformer, never the mains "
            "earth), and plug everything into one outlet"
        )
    else:
        cause += ": its even harmonics are those of a supply's rectifier"
        action = "move the cables away from power transformers; an amp that hums needs service"
    yield Finding(
        name="hum",
        severity="warn" if found.level_dbfs > HUM_WARNING_DBFS else "note",
        measured=found.level_dbfs,
        limit=found.floor_dbfs + HUM_LIMIT_DB,
        unit="dBFS",
        cause=cause,
        action=action,
    )


def noise_gate(capture: AlignedCapture, *, judge_floor: bool = True) -> Iterator[Finding]:
    """Soft sounds that are swallowed, or a noise that comes and goes with the tone."""
    drop, at_seconds = _swallowed(capture)
    cause = f"soft tones come back {drop:.0f} dB too soft: their quiet end is cut off"
    limit = GATE_DROP_DB
    if drop <= limit and judge_floor:
        drop, at_seconds, limit = _floor_toggles(capture), None, GATED_FLOOR_DB
        cause = (
            f"the hiss is {drop:.0f} dB louder under a tone than in silence: a gate shuts it off"
        )
    if drop > limit:
        yield Finding(
            name="noise-gate",
            severity="warn",
            measured=drop,
            limit=limit,
            unit="dB",
            at_seconds=at_seconds,
            cause=cause,
            action="switch the noise gate off, in the amp and in everything behind it",
        )


def _swallowed(capture):
    """By how much the softest steps of a ladder fall short of the louder ones, and where, in s."""
    worst, at_seconds = 0.0, None
    for placed in capture.plan.of_kind("staircase"):
        steps = ladder_steps(capture, placed)
        for step, drop in zip(steps, swallowed_db(steps), strict=True):
            if step.played <= db_to_amplitude(GATED_BELOW_DBFS) and drop > worst:
                worst, at_seconds = drop, step.at_seconds
    return worst, at_seconds


def _floor_toggles(capture):
    """By how many dB the hiss under the probes' tones lies above that of silence; 0 for unknown."""
    rate = capture.sample_rate
    tone = round(0.2 * rate)
    gap = round(PROBE_GAP_SECONDS * rate)
    silent = [part for part in _heard_silences(capture) if part.stop - part.start >= 2 * tone]
    probes = [p for p in capture.plan.of_kind("probe") if isinstance(p.segment, Probe)]
    if not silent or not probes:
        return 0.0
    under, alone = [], []
    for placed in probes:
        end = placed.stop - gap - round(TONE_END_SECONDS * rate)
        piece = capture.response[end - tone : end]
        under.append(beside_tone(piece, placed.segment.frequency, rate)[1])
        quiet = capture.response[silent[0].stop - tone : silent[0].stop]
        alone.append(beside_tone(quiet, placed.segment.frequency, rate)[1])
    if np.median(alone) == 0.0:
        return 0.0
    return float(power_to_db(np.median(under) / np.median(alone)))


def room_noise(capture: AlignedCapture) -> Iterator[Finding]:
    """Bursts of noise: the loudest of them, where it stands."""
    band = scipy.signal.butter(2, BURST_BAND_HZ, "bandpass", fs=capture.sample_rate, output="sos")
    heard = scipy.signal.sosfilt(band, capture.response)
    bursts = itertools.chain(
        _between_tones(capture, heard),
        _in_silence(capture, heard),
        _in_tones(capture),
        _in_repeats(capture, heard),
    )
    loudest = max(bursts, key=lambda burst: burst.excess_db, default=None)
    if loudest is None:
        return
    place = f"{loudest.at_seconds:.1f} s"
    if loudest.or_seconds is not None:
        place += f" or, where the same is played again, at {loudest.or_seconds:.1f} s"
    yield Finding(
        name="room-noise",
        severity="warn",
        measured=loudest.excess_db,
        limit=BURST_LIMIT_DB,
        unit="dB",
        at_seconds=loudest.at_seconds,
        cause=(
            f"at {place} something sounds that was not played, "
            f"{loudest.excess_db:.0f} dB over what is heard there at other times"
        ),
        action="keep the room quiet (doors, steps, voices, a rattling cabinet) and take it again",
    )


def reflection(capture: AlignedCapture) -> Iterator[Finding]:
    """A wall or a floor that a microphone hears: the same sound again, 2 to 20 ms later.

    It ripples the magnitude evenly over frequency, which the cepstrum shows as a line at its delay
    (Bogert, Healy, Tukey, "The quefrency alanysis of time series for echoes", 1963).
    """
    impulses = swept(capture)
    if impulses is None:
        return
    frequencies, level_db = magnitude_db(impulses, capture.sample_rate, REFLECTED_SECONDS)
    heard = (frequencies >= REFLECTED_HZ[0]) & (frequencies <= REFLECTED_HZ[1])
    ripple = level_db[heard] / float(amplitude_to_db(np.e))  # nepers: the reflection's strength
    at = np.linspace(-1.0, 1.0, len(ripple))
    ripple -= np.polyval(np.polyfit(at, ripple, COLOUR_ORDER), at)
    window = np.hanning(len(ripple))
    frames = 4 * len(ripple)
    cepstrum = 2.0 / np.sum(window) * np.abs(scipy.fft.rfft(window * ripple, frames))
    delays = np.arange(len(cepstrum)) / (frames * (frequencies[1] - frequencies[0]))
    possible = (delays >= REFLECTION_SECONDS[0]) & (delays <= REFLECTION_SECONDS[1])
    strongest = int(np.argmax(np.where(possible, cepstrum, 0.0)))
    level = float(amplitude_to_db(cepstrum[strongest]))
    # of what lies as late: a cabinet's resonances fill the shorter delays
    away = np.abs(delays - delays[strongest])
    usual = float(amplitude_to_db(np.median(cepstrum[(away < AS_LATE_SECONDS) & possible])))
    if level <= max(REFLECTION_LIMIT_DB, usual + REFLECTION_OVER_DB):
        return
    yield Finding(
        name="room-noise",
        severity="note",
        measured=level,
        limit=REFLECTION_LIMIT_DB,
        unit="dB",
        cause=(
            f"{1e3 * delays[strongest]:.1f} ms after the sound comes a reflection at {level:.0f} dB"
        ),
        action=(
            "move the microphone nearer to the speaker, or the cabinet away from wall and floor, "
            "unless the room is meant to be in the model"
        ),
    )


@dataclass(frozen=True)
class _Burst:
    """A noise and where it stands."""

    at_seconds: float
    excess_db: float  # over what stands there at other times
    or_seconds: float | None = None  # the other pass of a passage: it is in one of both


def _between_tones(capture, heard):
    """In the silence around one probe, or within one marker, and not at the others."""
    rate = capture.sample_rate
    block = round(BURST_SECONDS * rate)
    gap = round(PROBE_GAP_SECONDS * rate)
    for kind in ("probe", "marker"):
        placed = [p for p in capture.plan.of_kind(kind) if p.stop <= _covered(capture)]
        if len(placed) < 3:
            continue
        starts = np.array([p.start for p in placed])
        length = placed[0].stop - placed[0].start
        # the ends of both silences, where what sounded before has died away
        if kind == "probe":
            offsets = [end - k * block for end in (gap, length) for k in (3, 2, 1)]
        else:
            offsets = [half_frames(rate) - block, length - block]
        power = np.array(
            [[np.mean(heard[s + o : s + o + block] ** 2) for o in offsets] for s in starts]
        )
        for index, start in enumerate(starts):
            others = np.max(np.delete(power, index, axis=0), axis=0)
            excess = power[index] / np.maximum(others, np.finfo(float).tiny)
            best = int(np.argmax(excess))
            if power_to_db(excess[best]) > BURST_LIMIT_DB:
                yield _Burst((start + offsets[best]) / rate, float(power_to_db(excess[best])))


def _in_silence(capture, heard):
    """Rising out of a long silence, and not at the same place of another.

    An echo rises as well, but in every silence; where there is no other to compare with, it is
    waited for.
    """
    rate = capture.sample_rate
    block, skip = (round(s * rate) for s in (BURST_SECONDS, RINGING_SECONDS))
    waited = round((ECHO_SECONDS - RINGING_SECONDS) / BURST_SECONDS)
    parts = _heard_silences(capture)
    powers = [_block_power(heard[part.start + skip : part.stop], block) for part in parts]
    for index, (part, power) in enumerate(zip(parts, powers, strict=True)):
        excess = power[1:] / np.maximum(np.minimum.accumulate(power)[:-1], np.finfo(float).tiny)
        compared = np.zeros(len(power), dtype=bool)
        for other in (p[: len(power)] for k, p in enumerate(powers) if k != index):
            shared = len(other)
            compared[:shared] = True
            over = power[1:shared] / np.maximum(other[1:], np.finfo(float).tiny)
            excess[: shared - 1] = np.minimum(excess[: shared - 1], over)
        excess[:waited][~compared[1 : waited + 1]] = 0.0
        best = int(np.argmax(excess))
        if power_to_db(excess[best]) > BURST_LIMIT_DB:
            at_seconds = (part.start + skip + (best + 1) * block) / rate
            yield _Burst(at_seconds, float(power_to_db(excess[best])))


def _in_tones(capture):
    """Beside a steady tone, and neither before nor after."""
    for placed in capture.plan.of_kind("staircase"):
        steps = ladder_steps(capture, placed)
        yield from _bumps(
            np.array([step.burst_power for step in steps]), [step.at_seconds for step in steps]
        )
    rate = capture.sample_rate
    for placed in capture.plan.of_kind("reference"):
        block = round(0.1 * rate)
        starts = range(placed.start + block, placed.stop - 2 * block + 1, block)
        told = [
            beside_tone(capture.response[s : s + block], placed.segment.frequency, rate)
            for s in starts
        ]
        amplitude, _, power = np.array(told).T
        # a knob was moved: the step of the tone, in one of the blocks, is no noise
        stepped = STEP_BESIDE_TONE * (amplitude[2:] - amplitude[:-2]) ** 2
        yield from _bumps(power, [s / rate for s in starts], stepped)


def _in_repeats(capture, heard):
    """In one of two passes of a passage."""
    rate = capture.sample_rate
    placed = {p.segment.name: p for p in capture.plan.placed()}
    block = round(BURST_SECONDS * rate)
    for again in placed.values():
        if again.segment.replicate_of is None or again.segment.kind == "probe":
            continue
        original = placed[again.segment.replicate_of]
        first, second = (_blocks(heard[p.slice], block) for p in (original, again))
        energy = np.sum(first**2, axis=1)
        # a knob between the passes, or within one, changes gain and colour: it is no noise
        colours = [_blocks(each, block) for each in _colours(heard[original.slice], rate)]
        differing = _unexplained(second, np.stack(colours, axis=2))
        expected = np.median(differing) + _unlike(differing, energy) * energy
        excess = differing / np.maximum(expected, np.finfo(float).tiny)
        lasting = np.minimum(np.minimum(excess[:-2], excess[1:-1]), excess[2:])
        if not len(lasting) or power_to_db(np.max(lasting)) <= BURST_LIMIT_DB:
            continue
        at = int(np.argmax(lasting))
        earlier, later = ((p.start + at * block) / rate for p in (original, again))
        yield _Burst(earlier, float(power_to_db(lasting[at])), or_seconds=later)


def _unlike(differing, energy):
    """Part of its energy by which each block of a passage differs when it is played again.

    It is that of most blocks, or more at the beginning: there an amp still remembers what was
    played before, which is not the same. That only fades, and shows where something sounds.
    """
    part = differing / np.maximum(energy, np.finfo(float).tiny)
    sounding = np.flatnonzero(energy >= SOUNDING * np.median(energy))
    smooth = scipy.ndimage.percentile_filter(part[sounding], 80, FADING_BLOCKS)
    fading = np.minimum.accumulate(smooth)
    before = np.searchsorted(sounding, np.arange(len(energy)), side="right") - 1
    usual = np.median(part[energy >= np.median(energy)])
    return np.maximum(usual, fading[np.maximum(before, 0)])


def _colours(samples, rate):
    """A passage, and what each of a few high passes makes of it."""
    yield samples
    for frequency in COLOURS_HZ:
        high_pass = scipy.signal.butter(1, frequency, "highpass", fs=rate, output="sos")
        yield scipy.signal.sosfilt(high_pass, samples)


def _unexplained(blocks, shapes):
    """Energy of each block that no sum of its shapes explains, `(b, n)` and `(b, n, k)`."""
    shared = np.einsum("bnk,bn->bk", shapes, blocks)
    normal = np.einsum("bnk,bnl->bkl", shapes, shapes)
    least = 1e-9 * np.trace(normal, axis1=1, axis2=2) + np.finfo(float).tiny
    normal = normal + least[:, None, None] * np.eye(shapes.shape[2])
    weights = np.linalg.solve(normal, shared[..., None])
    return np.sum((blocks - (shapes @ weights)[..., 0]) ** 2, axis=1)


def _bumps(power, seconds, explained=0.0):
    """The highest of a row of powers, where it stands out of those on both sides.

    `explained` of each but the first and the last is no noise.
    """
    if len(power) < 3 or not np.all(power > 0.0):
        return
    before = np.minimum.accumulate(power)[:-2]
    after = np.minimum.accumulate(power[::-1])[::-1][2:]
    excess = power[1:-1] / np.maximum(np.maximum(before, after), explained)
    best = int(np.argmax(excess))
    if power_to_db(excess[best]) > BURST_LIMIT_DB:
        yield _Burst(seconds[best + 1], float(power_to_db(excess[best])))


def _heard_silences(capture):
    """The silences within the recording, the longest first, without the one before any sound."""
    parts = silences(capture.stimulus, capture.sample_rate, shortest_seconds=0.3)
    within = [slice(p.start, min(p.stop, _covered(capture))) for p in parts if p.start > 0]
    return sorted(within, key=lambda part: part.start - part.stop)


def _covered(capture):
    """Samples of the aligned response that were recorded: the delay is missing at its end."""
    return len(capture.response) - int(np.ceil(max(capture.alignment.delay_samples, 0.0)))


def _blocks(samples, block):
    return samples[: len(samples) - len(samples) % block].reshape(-1, block)


def _block_power(samples, block):
    return np.mean(_blocks(samples, block) ** 2, axis=1)
