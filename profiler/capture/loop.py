"""The interface by itself: what a take of a cable from its output to its input says of it.

Through an amp nobody can tell a limiter in the interface from the amp's own compression. Through
a cable everything that is not a wire is the interface's. What is measured there, once for each
device, sample rate, block size and host API, is its *fingerprint*: kept, looked at by the checks of
later takes, and refused where the conditions differ.

Tones are measured by averaging over whole periods (synchronous averaging): what repeats with the
tone is the tone and its harmonics, what does not is noise.

Conventions
-----------
Levels in dBFS are peaks of what was played, gains are from what was played to what was recorded.
THD is the RMS sum of the harmonics 2 to 10 re the fundamental. Arrays are mono, raw and unaligned.
"""

import datetime
import functools
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.fft
from pydantic import Field

from profiler.capture import delay as delays
from profiler.capture.alignment import align
from profiler.capture.calibration import conditions
from profiler.definitions import Record, user_data_folder
from profiler.errors import CaptureError, DefinitionError
from profiler.rig.rig import Rig
from profiler.stimulus.plan import (
    PROBE_GAP_SECONDS,
    Burst,
    Placed,
    Probe,
    Reference,
    SignalPlan,
    Sine,
    Staircase,
    Sweep,
)
from profiler.stimulus.tones import burst_edges
from profiler.units import amplitude_to_db, db_to_amplitude, rms_dbfs

SEARCHED_SECONDS = (-0.1, 1.0)  # delays at which a marker is looked for
LEAST_CONFIDENCE_DB = 9.0  # of a marker; noise reaches 3
SETTLED_SECONDS = 0.02  # after a step of level: converters ring for 1 ms
TAIL_SECONDS = 0.01  # before one, fades included
HIGHEST_HARMONIC = 10
BAND_RATIO = 0.45  # of the sample rate: where a converter's own band ends
QUIET_HEAD_SECONDS = 0.1  # of a silence: what sounded before still rings
QUIET_TAIL_SECONDS = 0.005  # what follows rings ahead in the converters
BINS_AN_OCTAVE = 48  # of the frequency response
DB_PER_NEPER = 20 / math.log(10)
EDGE_DB = -3.0  # where the band is said to end
RESPONSE_HZ = (31.5, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 12_500, 16_000, 18_000, 20_000)
LEVELS_HZ = 1000
WORD_BITS = (8, 12, 14, 16, 18, 20, 24)
PIECE_SECONDS = 0.05  # of a tone, to follow its gain
MIDDLE_HZ = (500.0, 5000.0)  # to which a response is referred
FINGERPRINT_HZ = (1000.0, 80.0)  # tones of the signal `loop`


@dataclass(frozen=True)
class Tone:
    """A steady tone of the take, as it came back."""

    segment: str
    kind: str
    at_seconds: float  # its middle, of the stimulus
    frequency: float
    level_dbfs: float
    gain_db: float  # of the fundamental
    thd: float  # without what noise adds to it
    thd_floor: float  # what noise adds
    noise_rms: float  # of what does not repeat with the tone
    residual_rms: float  # of all but the tone and the offset: noise, harmonics, rounding


@dataclass(frozen=True)
class GainTrack:
    """Gain of the steady tones over the take; arrays are `(m,)`, in the order of time."""

    frames: np.ndarray  # of the stimulus, the middle of a piece of a tone
    frequencies: np.ndarray
    gain_db: np.ndarray
    sigma_db: np.ndarray  # what noise makes of it

    def where(self, kept: np.ndarray) -> Self:
        """The pieces that a mask keeps."""
        return type(self)(*(values[kept] for values in vars(self).values()))


@dataclass(frozen=True)
class _Window:
    """The settled part of a tone: `count` times `period` samples from `start`."""

    placed: Placed
    level_dbfs: float
    start: int
    count: int
    period: int  # samples in which the tone and the sampling both repeat
    line: int  # of the tone in a spectrum of that period


@dataclass(frozen=True)
class SweepGain:
    """Gain over frequency, from a sweep of one level; arrays are `(m,)`."""

    level_dbfs: float
    frequencies: np.ndarray  # Hz, equally spaced in octaves
    gain_db: np.ndarray
    edge_hz: float | None  # where the gain is 3 dB below the middle's; None: not before its end
    fall_db: float  # from a tenth below the edge to the edge: 3 is a cliff, less a slope


@dataclass(frozen=True, eq=False)
class LoopTake:
    """A take of a loop, and where the stimulus is in it."""

    plan: SignalPlan
    stimulus: np.ndarray
    recorded: np.ndarray
    lag: int  # samples, whole: tones and noise need no more

    @classmethod
    def located(cls, plan: SignalPlan, stimulus, recorded) -> Self | None:
        """The take, found by the first of its markers that can be heard; None without one."""
        earliest, latest = (round(s * plan.sample_rate) for s in SEARCHED_SECONDS)
        for placed in plan.of_kind("marker"):
            lag, confidence = delays.matched(
                stimulus, recorded, placed, plan.sample_rate, earliest, latest
            )
            if confidence >= LEAST_CONFIDENCE_DB:
                return cls(plan, stimulus, recorded, lag)
        return None

    @functools.cached_property
    def tones(self) -> tuple[Tone, ...]:
        """Every steady tone whose period fits the sample rate, in the order of the take."""
        return tuple(self._measured(window) for window in self._windows)

    @functools.cached_property
    def gain_track(self) -> GainTrack:
        """The gain of every tone in pieces of 50 ms."""
        rate = self.plan.sample_rate
        rows = []
        for window, tone in zip(self._windows, self.tones, strict=True):
            count = min(math.ceil(PIECE_SECONDS * rate / window.period), window.count)
            frames, pieces = count * window.period, window.count // count
            read = self._recorded(window.start, window.start + pieces * frames)
            mean = np.mean(read.reshape(pieces, count, window.period), axis=1)
            lines = np.abs(scipy.fft.rfft(mean, axis=1)[:, window.line]) * 2 / window.period
            gains = amplitude_to_db(np.maximum(lines, 1e-12)) - tone.level_dbfs
            amplitude = db_to_amplitude(tone.level_dbfs + tone.gain_db)
            sigma = DB_PER_NEPER * tone.noise_rms * math.sqrt(2 / frames) / amplitude
            rows += [
                (window.start + (k + 0.5) * frames, tone.frequency, gain, sigma)
                for k, gain in enumerate(gains)
            ]
        return GainTrack(*(np.array(rows).reshape(-1, 4).T))

    @functools.cached_property
    def sweeps(self) -> tuple[SweepGain, ...]:
        """The gain over frequency of every sweep that passes the middle, the softest first."""
        low, high = MIDDLE_HZ
        placed = [
            p
            for p in self.plan.placed()
            if isinstance(p.segment, Sweep)
            and p.segment.start_hz <= low / 2
            and p.segment.stop_hz >= 2 * high
        ]
        return tuple(self._swept(p) for p in sorted(placed, key=lambda p: p.segment.level_dbfs))

    @functools.cached_property
    def quiet(self) -> np.ndarray:
        """What was recorded in the silences that are there to be analysed, `(n,)`."""
        rate = self.plan.sample_rate
        head, tail = round(QUIET_HEAD_SECONDS * rate), round(QUIET_TAIL_SECONDS * rate)
        parts = [
            self._recorded(placed.start + head, placed.stop - tail)
            for placed in self.plan.of_kind("silence")
            if placed.segment.use == "analyse"
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _recorded(self, start, stop):
        """What answers the samples `start:stop` of the stimulus."""
        return delays.piece(self.recorded, start + self.lag, max(stop - start, 0))

    @functools.cached_property
    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Peak and power of what was recorded, `LEVELS_HZ` times a second."""
        frames = round(self.plan.sample_rate / LEVELS_HZ)
        count = len(self.recorded) // frames
        blocks = self.recorded[: count * frames].reshape(count, frames)
        return np.max(np.abs(blocks), axis=1), np.mean(blocks**2, axis=1)

    @functools.cached_property
    def _windows(self):
        """The settled part of every steady tone, in whole periods."""
        rate = self.plan.sample_rate
        windows = []
        for placed in self.plan.placed():
            for start, stop, level_dbfs in _steady(placed, self.plan):
                frequency = placed.segment.frequency
                if frequency != round(frequency):
                    continue
                common = math.gcd(rate, round(frequency))
                period = rate // common
                start += round((SETTLED_SECONDS + 1 / frequency) * rate)
                count = (stop - round(TAIL_SECONDS * rate) - start) // period
                if count > 1:
                    line = round(frequency) // common
                    windows.append(_Window(placed, level_dbfs, start, count, period, line))
        return tuple(windows)

    def _measured(self, window):
        rate, frequency = self.plan.sample_rate, window.placed.segment.frequency
        frames = window.count * window.period
        periods = self._recorded(window.start, window.start + frames)
        periods = periods.reshape(window.count, window.period)
        mean = np.mean(periods, axis=0)
        amplitudes = np.abs(scipy.fft.rfft(mean)) * 2 / window.period
        highest = min(HIGHEST_HARMONIC, int(BAND_RATIO * rate / frequency))
        fundamental = max(amplitudes[window.line], 1e-12)
        harmonics = amplitudes[2 * window.line : highest * window.line + 1 : window.line]
        noise = np.sum((periods - mean) ** 2) / ((window.count - 1) * window.period)  # its power
        expected = len(harmonics) * 4 * noise / frames
        power = max(float(np.sum(harmonics**2) - expected), 0.0)
        return Tone(
            segment=window.placed.segment.name,
            kind=window.placed.segment.kind,
            at_seconds=(window.start + frames / 2) / rate,
            frequency=frequency,
            level_dbfs=window.level_dbfs,
            gain_db=float(amplitude_to_db(fundamental)) - window.level_dbfs,
            thd=math.sqrt(power) / fundamental,
            thd_floor=math.sqrt(expected) / fundamental,
            noise_rms=math.sqrt(noise),
            residual_rms=math.sqrt(max(float(np.var(periods)) - fundamental**2 / 2, 0.0)),
        )

    def _swept(self, placed):
        segment, rate = placed.segment, self.plan.sample_rate
        n = scipy.fft.next_fast_len(placed.stop - placed.start, real=True)
        played = scipy.fft.rfft(self.stimulus[placed.slice], n)
        returned = scipy.fft.rfft(self._recorded(placed.start, placed.stop), n)
        low, high = 1.5 * segment.start_hz, min(0.99 * segment.stop_hz, 0.49 * rate)
        count = int(BINS_AN_OCTAVE * math.log2(high / low))
        edges = low * 2 ** (np.arange(count + 1) / BINS_AN_OCTAVE)
        lines = np.round(edges * n / rate).astype(int)
        cross = np.add.reduceat(returned * np.conj(played), lines)[:-1]
        power = np.add.reduceat(np.abs(played) ** 2, lines)[:-1]
        frequencies = np.sqrt(edges[1:] * edges[:-1])
        gain_db = amplitude_to_db(np.maximum(np.abs(cross) / power, 1e-12))
        edge, fall = _edge(frequencies, gain_db)
        level = segment.level_dbfs + self.plan.gain_db
        return SweepGain(level, frequencies, gain_db, edge, fall)


def _steady(placed: Placed, plan: SignalPlan) -> Iterator[tuple[int, int, float]]:
    """First sample, the last and one, and peak level of every steady tone in a segment."""
    segment, rate = placed.segment, plan.sample_rate
    level = segment.level_dbfs + plan.gain_db
    if isinstance(segment, Sine | Reference):
        yield placed.start, placed.stop, level
    elif isinstance(segment, Probe):
        gap = round(PROBE_GAP_SECONDS * rate)
        yield placed.start + gap, placed.stop - gap, level
    elif isinstance(segment, Burst):
        first, last = burst_edges(segment, rate)
        yield placed.start + first, placed.start + last, level
    elif isinstance(segment, Staircase):
        rise = (segment.level_dbfs - segment.lowest_dbfs) / (segment.steps - 1)
        edges = np.linspace(placed.start, placed.stop, segment.steps + 1).round().astype(int)
        for step in range(segment.steps):
            below = rise * (segment.steps - 1 - step)
            yield int(edges[step]), int(edges[step + 1]), level - below


def _edge(frequencies, gain_db):
    """Where the band ends, if it does, and by how much it falls on the way there."""
    middle = (frequencies >= MIDDLE_HZ[0]) & (frequencies <= MIDDLE_HZ[1])
    relative = gain_db - np.median(gain_db[middle])
    below = np.flatnonzero((relative < EDGE_DB) & (frequencies > MIDDLE_HZ[1]))
    if below.size == 0:
        return None, 0.0
    after = below[0]
    ratio = (EDGE_DB - relative[after - 1]) / (relative[after] - relative[after - 1])
    edge = frequencies[after - 1] * (frequencies[after] / frequencies[after - 1]) ** ratio
    fall = np.interp(0.9 * edge, frequencies, relative) - EDGE_DB
    return float(edge), float(fall)


class LevelPoint(Record):
    """A tone of the ladders: what the interface does at that level."""

    frequency: float
    level_dbfs: float
    gain_db: float
    thd_percent: float  # without what noise adds to it,
    thd_floor_percent: float  # which is this
    noise_rms_dbfs: float | None  # under the tone; None for none at all


class ResponsePoint(Record):
    """Gain at a frequency, re that at 1 kHz."""

    frequency: float
    gain_db: float


class LoopMeasures(Record):
    """What a take of a loop says of an interface."""

    sample_rate: int
    highest_dbfs: float  # the loudest that was played
    delay_samples: float
    delay_sigma_samples: float
    polarity: int
    drift_ppm: float | None
    gain_db: float  # at 1 kHz
    gain_repeats_within_db: float  # over the probes
    gain_change_at_top_db: float  # from 6 dB below the loudest tone of 1 kHz to it
    response: tuple[ResponsePoint, ...]
    band_edge_hz: float | None  # -3 dB; None: beyond the end of the sweep
    levels: tuple[LevelPoint, ...]
    noise_rms_dbfs: float | None  # of silence; None for none at all: a wire in software
    effective_bits: float  # IEEE 1241: of full scale, against noise and distortion of the loudest
    word_bits: int | None  # of the path, where its codes show that they are few
    not_reached: tuple[str, ...] = ()  # what the rig's ceiling left unmeasured


class Fingerprint(LoopMeasures):
    """The measures of an interface under stated conditions, kept for later checks."""

    schema_: str = Field(default="ampscope.fingerprint/1", alias="schema")
    conditions: dict[str, str | int | float | None]
    loopback_gain_db: float | None = None  # of the loopback channel, where the rig has one
    round_trips_samples: tuple[float, ...] = ()  # of every opening of the interface
    created_utc: datetime.datetime

    @property
    def latency_spread_samples(self) -> float:
        """Largest minus smallest round trip."""
        return max(self.round_trips_samples) - min(self.round_trips_samples)


def measure_loop(plan: SignalPlan, stimulus: np.ndarray, recorded: np.ndarray) -> LoopMeasures:
    """Measure an interface from a take of the signal `loop` through a cable.

    Parameters
    ----------
    plan : SignalPlan
        Of `loop`, scaled down where the rig's ceiling asks for it.
    stimulus, recorded : (n,) float arrays
        As long as the plan.

    Raises
    ------
    NotAligned, Silent
        What came back is not the stimulus behind one delay.
    ValueError
        The plan has not the tones, sweep and silence of `loop`.
    """
    alignment = align(plan, stimulus, recorded, loopback=recorded)
    take = LoopTake.located(plan, stimulus, recorded)
    tones = take.tones if take else ()
    ladder = [t for t in tones if t.frequency == FINGERPRINT_HZ[0] and t.kind == "staircase"]
    probes = [t.gain_db for t in tones if t.kind == "probe"]
    if take is None or not (ladder and probes and take.sweeps and take.quiet.size):
        raise ValueError(f"got the plan {plan.name!r}: a loop is measured by the signal loop")
    loudest = max(ladder, key=lambda t: t.level_dbfs)
    return LoopMeasures(
        sample_rate=plan.sample_rate,
        highest_dbfs=plan.peak_dbfs,
        delay_samples=alignment.delay_samples,
        delay_sigma_samples=alignment.sigma_samples,
        polarity=alignment.polarity,
        drift_ppm=alignment.drift_ppm,
        gain_db=float(np.median(probes)),
        gain_repeats_within_db=max(probes) - min(probes),
        gain_change_at_top_db=gain_change_at_top_db(ladder),
        response=_response_points(take.sweeps[0]),
        band_edge_hz=take.sweeps[0].edge_hz,
        levels=tuple(
            LevelPoint(
                frequency=tone.frequency,
                level_dbfs=tone.level_dbfs,
                gain_db=tone.gain_db,
                thd_percent=100 * tone.thd,
                thd_floor_percent=100 * tone.thd_floor,
                noise_rms_dbfs=_or_none(float(amplitude_to_db(tone.noise_rms))),
            )
            for tone in tones
            if tone.kind == "staircase" and tone.frequency in FINGERPRINT_HZ
        ),
        noise_rms_dbfs=_or_none(rms_dbfs(take.quiet - np.mean(take.quiet))),
        effective_bits=_effective_bits(loudest.residual_rms),
        word_bits=word_bits(recorded),
        not_reached=_not_reached(plan),
    )


def gain_db(plan: SignalPlan, stimulus: np.ndarray, recorded: np.ndarray) -> float | None:
    """Gain of a loop at the probes; None where it has none, or is not heard."""
    take = LoopTake.located(plan, stimulus, recorded)
    probes = [t.gain_db for t in take.tones if t.kind == "probe"] if take else []
    return float(np.median(probes)) if probes else None


def gain_change_at_top_db(tones: list[Tone]) -> float:
    """Gain of the loudest of some tones against those 5 to 8 dB below it; 0 without those."""
    top = max(tone.level_dbfs for tone in tones)
    loudest = [t.gain_db for t in tones if t.level_dbfs > top - 0.01]
    below = [t.gain_db for t in tones if 5.0 <= top - t.level_dbfs <= 8.0]
    return float(np.mean(loudest) - np.mean(below)) if below else 0.0


def word_bits(recorded: np.ndarray) -> int | None:
    """Word length of a recording whose samples are few, equally spaced codes; else None.

    The greatest common divisor of the codes, as a power of two: a path of b bits steps by
    2^-(b-1).
    """
    recorded = np.asarray(recorded, dtype=np.float64)
    for bits in WORD_BITS:
        step = 2.0 ** (1 - bits)
        # a look at a few samples spares the others where the step is finer
        if all(np.array_equal(x, step * np.round(x / step)) for x in (recorded[::997], recorded)):
            return bits
    return None


def fingerprint_of(
    rig: Rig,
    measures: LoopMeasures,
    *,
    loopback_gain_db: float | None = None,
    round_trips_samples: tuple[float, ...] = (),
) -> Fingerprint:
    """The measures with the conditions of a rig and the time."""
    return Fingerprint(
        **dict(measures),
        conditions=conditions(rig),
        loopback_gain_db=loopback_gain_db,
        round_trips_samples=round_trips_samples or (measures.delay_samples,),
        created_utc=datetime.datetime.now(datetime.UTC),
    )


def fingerprint_path(rig: Rig) -> Path:
    """Where the fingerprint for a rig's conditions is kept."""
    essence = repr(sorted(conditions(rig).items())).encode()
    name = f"loop-{hashlib.sha256(essence).hexdigest()[:16]}.json"
    return user_data_folder() / "fingerprints" / name


def store(rig: Rig, fingerprint: Fingerprint) -> Path:
    """Keep a fingerprint under the user's data folder.

    Raises
    ------
    ValueError
        It was measured under other conditions than the rig's.
    """
    if fingerprint.conditions != conditions(rig):
        raise ValueError(f"got a fingerprint of {fingerprint.conditions} for rig {rig.name!r}")
    path = fingerprint_path(rig)
    fingerprint.save(path)
    return path


def stored(rig: Rig) -> Fingerprint | None:
    """The fingerprint that holds for a rig, if there is one.

    Raises
    ------
    CaptureError
        The file that should hold it is damaged, or was measured under other conditions.
    """
    if rig.interface.driver == "file" or not fingerprint_path(rig).is_file():
        return None
    path = fingerprint_path(rig)
    again = f"measure it again (ampscope doctor {rig.name} --loop)"
    try:
        fingerprint = Fingerprint.load_json(path)
    except DefinitionError as error:
        raise CaptureError(f"{error}; {again}") from error
    if fingerprint.conditions != conditions(rig):
        raise CaptureError(
            f"{path}: was measured with {fingerprint.conditions}, expected {conditions(rig)}: "
            f"{again}"
        )
    return fingerprint


def _response_points(sweep):
    relative = sweep.gain_db - np.interp(1000.0, sweep.frequencies, sweep.gain_db)
    return tuple(
        ResponsePoint(
            frequency=frequency, gain_db=float(np.interp(frequency, sweep.frequencies, relative))
        )
        for frequency in RESPONSE_HZ
        if frequency <= sweep.frequencies[-1]
    )


def _or_none(level_dbfs):
    return level_dbfs if math.isfinite(level_dbfs) else None


def _effective_bits(noise_and_distortion):
    """IEEE Std 1241-2010, 9.2: of a full-scale range of 2."""
    return math.log2(2 / (max(noise_and_distortion, 1e-12) * math.sqrt(12)))


def _not_reached(plan):
    if plan.gain_db > -0.01:
        return ()
    return (
        f"nothing above {plan.peak_dbfs:.1f} dBFS was played (the rig's ceiling): limiters and "
        "saturation above it are not known",
    )
