"""How each fault changes the sound, the same for a stream and for a recorded pair.

A fault is a stage that a stream of chunks passes. Most change every chunk in its place (a gain, a
hum, a filter); those of the clock and the buffers give more or fewer frames than they take. The
simulated interface lets its stream through the stages at the place where each belongs; a recorded
pair is a stream of one pass, in which all lie one after the other.

Conventions
-----------
A chunk is `(n, columns)` float64: column 0 the return, column 1 the loopback channel where there
is one. Frame 0 is the first frame played, and the first recorded. Stages never write into a chunk
that they were given.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from profiler.errors import DefinitionError
from profiler.rig.faults import Fault, FaultName, strength_of
from profiler.stimulus.plan import SignalPlan, load_signal
from profiler.stimulus.synthesis import render
from profiler.units import db_to_amplitude

Chunks = Iterator[np.ndarray]
Process = Callable[[np.ndarray, int], np.ndarray]  # a chunk and its first frame

# Where a fault lies on the sound's way, and in what order.
SEND: tuple[FaultName, ...] = (
    "wrong-stimulus",
    "truncated",
    "volume-changed",
    "shared-mode-limiter",
    "send-saturates",
)
DEVICE_INPUT: tuple[FaultName, ...] = ("line-level",)
DEVICE_OUTPUT: tuple[FaultName, ...] = (
    "warm-up",
    "mains-step",
    "knob-moved",
    "speaker-simulation",
    "time-effect",
    "room-noise",
    "noise-gate",
    "standby",
    "bypass",
    "no-signal",
)
LOOP: tuple[FaultName, ...] = ("feedback",)
RETURN: tuple[FaultName, ...] = (
    "polarity-inverted",
    "return-low",
    "hum",
    "dc-offset",
    "dc-step",
    "return-clipped",
)
COMPUTER: tuple[FaultName, ...] = (
    "direct-monitoring",
    "interface-limiter",
    "latency-changed",
    "clock-drift",
    "wrong-rate",
    "system-resampling",
    "enhancement",
    "zero-fill",
    "lost-block",
    "repeated-block",
    "sixteen-bit",
    "file-hygiene",
)
PLACES = (SEND, DEVICE_INPUT, DEVICE_OUTPUT, LOOP, RETURN, COMPUTER)
OF_THE_RETURN = {*DEVICE_INPUT, *DEVICE_OUTPUT, *RETURN}  # the loopback channel has none of them

# These happen at a moment: in the middle of the take where no other is given.
EVENTS: set[FaultName] = {
    "zero-fill",
    "lost-block",
    "repeated-block",
    "dc-step",
    "room-noise",
    "mains-step",
    "knob-moved",
}
HEARS_THE_SEND: set[FaultName] = {"direct-monitoring", "bypass", "no-signal"}
OF_A_FILE = ("normalised", "over-full-scale", "stereo", "tail")  # done to a whole file


class Tap:
    """The send beside the stream: keeps what passes until it is read in step."""

    def __init__(self, delay: int = 0):
        self._waiting = np.zeros(delay)

    def write(self, samples: np.ndarray) -> None:
        self._waiting = np.concatenate((self._waiting, samples))

    def read(self, frames: int) -> np.ndarray:
        """The next `frames` samples, `(frames,)`; silence where nothing was sent."""
        out, self._waiting = self._waiting[:frames], self._waiting[frames:]
        return np.pad(out, (0, frames - len(out)))


@dataclass(frozen=True)
class Scene:
    """The place in which a fault happens."""

    sample_rate: int
    frames: int  # of the take
    full_scale: float | np.ndarray = 1.0  # what a stimulus of 0 dBFS is here, in each column
    sent: Tap | None = None  # for those that hear the send
    floor_rms: float = 0.0  # noise that stays when the signal goes
    sounds_from: int | None = None  # first frame that sounds; None: found as it comes
    sounds_to: int | None = None  # one after the last frame that sounds


@dataclass(frozen=True)
class _At:
    """One fault at its place: what its stage is made of."""

    name: FaultName
    fault: Fault
    scene: Scene

    @property
    def strength(self) -> float:
        strength = strength_of(self.name, self.fault)
        return 0.0 if strength is None else strength

    @property
    def gain(self) -> float:
        return float(db_to_amplitude(self.strength))

    @property
    def variant(self) -> str | None:
        return self.fault.variant

    @property
    def rate(self) -> int:
        return self.scene.sample_rate

    @property
    def start(self) -> int:
        """First frame of the fault."""
        if self.fault.at_seconds is not None:
            return round(self.fault.at_seconds * self.rate)
        return self.scene.frames // 2 if self.name in EVENTS else 0

    @property
    def stop(self) -> float:
        """One after its last frame."""
        if self.fault.seconds is None:
            return math.inf
        return self.start + round(self.fault.seconds * self.rate)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng((self.fault.seed, *self.name.encode()))

    def floor(self) -> Callable[[int], np.ndarray]:
        """The noise floor as a source of `(n, 1)` frames."""
        rng, rms = self.rng(), self.scene.floor_rms
        return lambda n: rms * rng.standard_normal((n, 1))


def pass_through(
    chunks: Chunks,
    names: Iterable[FaultName],
    faults: Mapping[FaultName, Fault],
    scene: Scene,
) -> Chunks:
    """A stream with those of `faults` that are among `names`, in that order."""
    for name in names:
        if name in faults:
            chunks = _stage(_At(name, faults[name], scene), filter(len, chunks))
    return chunks


def refuse_what_needs_a_file(faults: Mapping[FaultName, Fault]) -> None:
    """A `DefinitionError` for what can be done to a finished file only, not in a stream."""
    variant = faults["file-hygiene"].variant if "file-hygiene" in faults else None
    if variant in OF_A_FILE:
        raise DefinitionError(
            f"interface.faults.file-hygiene: {variant!r} happens to a finished file, not in an "
            "interface: choose mp3 or dithered, or inject it into a recorded pair from Python"
        )


def into_pair(
    plan: SignalPlan,
    stimulus: np.ndarray,
    recorded: np.ndarray,
    faults: Mapping[FaultName, Fault],
) -> np.ndarray:
    """See `profiler.rig.faults.inject`."""
    stimulus = np.asarray(stimulus, dtype=np.float64)
    clean = np.array(recorded, dtype=np.float64)
    columns = clean.reshape(len(clean), -1)
    pair = _Pair(plan, stimulus, columns)
    chunks: Chunks = itertools.chain([columns], _mirrored_end(columns))
    for name in itertools.chain(*PLACES):
        if name in faults:
            chunks = pass_through(chunks, (name,), faults, pair.scene(name))
    out = _first(chunks, len(columns))
    if "file-hygiene" in faults and faults["file-hygiene"].variant in OF_A_FILE:
        return _exported(out, faults["file-hygiene"].variant, clean.ndim, pair.floor_rms)
    return out.reshape(clean.shape)


class _Pair:
    """What is known of a recorded pair, each found when it is needed first."""

    def __init__(self, plan, stimulus, columns):
        self._plan = plan
        self._stimulus = stimulus
        self._columns = columns

    def scene(self, name):
        sounding = np.flatnonzero(self._stimulus) if name == "truncated" else [0]
        lag = self.lag if name in {"truncated", "wrong-stimulus", "bypass", "no-signal"} else 0
        sent = None
        if name in HEARS_THE_SEND:
            sent = Tap(lag)
            sent.write(self._stimulus)
        return Scene(
            sample_rate=self._plan.sample_rate,
            frames=len(self._columns),
            full_scale=self.full_scale,
            sent=sent,
            floor_rms=self.floor_rms,
            sounds_from=int(sounding[0]) + lag,
            sounds_to=int(sounding[-1]) + 1 + lag,
        )

    @functools.cached_property
    def full_scale(self):
        """Peaks re the stimulus's, as if the pair came from a loop."""
        peak = np.max(np.abs(self._columns), axis=0, initial=0.0)
        return np.maximum(peak / max(np.max(np.abs(self._stimulus), initial=0.0), 1e-12), 1e-12)

    @functools.cached_property
    def lag(self):
        """Whole samples from the send to the last column."""
        n = min(len(self._stimulus), len(self._columns), 30 * self._plan.sample_rate)
        recorded = self._columns[:n, -1] - np.mean(self._columns[:n, -1])
        correlation = signal.correlate(recorded, self._stimulus[:n], method="fft")
        return max(0, int(np.argmax(np.abs(correlation))) - (n - 1))

    @functools.cached_property
    def floor_rms(self):
        """Of the return in the quietest silence of the plan, but for its DC."""
        rms = [
            np.std(self._columns[(p.start + p.stop) // 2 : p.stop, 0])
            for p in self._plan.of_kind("silence")
            if p.stop <= len(self._columns)
        ]
        return float(min(rms, default=0.0))


def _first(chunks, frames):
    """The first frames of a stream as one array."""
    parts, waiting = [], frames
    while waiting > 0:
        part = next(chunks)[:waiting]
        parts.append(part)
        waiting -= len(part)
    return np.concatenate(parts)


def _mirrored_end(columns):
    """The last quarter second there and back for ever: noise goes on, and is never zero."""
    piece = columns[-min(len(columns), 12_000) :]
    return itertools.cycle((piece[::-1], piece))


# --- stages -------------------------------------------------------------------------------------


def _stage(at, chunks):
    if at.name in RETIMING:
        return RETIMING[at.name](at, chunks)
    return _in_place(at, IN_PLACE[at.name](at), chunks)


def _in_place(at, process, chunks):
    """What changes every chunk where it is, from the fault's first frame to its last."""
    columns = slice(0, 1) if at.name in OF_THE_RETURN else slice(None)
    first = 0
    for chunk in chunks:
        changed = process(chunk[:, columns], first)
        out = chunk.copy()
        begin = min(max(at.start - first, 0), len(chunk))
        end = int(min(max(at.stop - first, 0), len(chunk)))
        out[begin:end, columns] = changed[begin:end]
        first += len(chunk)
        yield out


class _Filter:
    """A linear filter of second-order sections that remembers."""

    def __init__(self, sections):
        self._sections = sections
        self._state = None

    def __call__(self, samples):
        if self._state is None:
            self._state = np.zeros((len(self._sections), 2, samples.shape[1]))
        out, self._state = signal.sosfilt(self._sections, samples, axis=0, zi=self._state)
        return out


class _Delay:
    """The samples of some time ago."""

    def __init__(self, longest: int):
        self._longest = longest
        self._past = None

    def read(self, samples, ago):
        """What was `ago` frames before each of `samples`: a number, or one for each."""
        if self._past is None:
            self._past = np.zeros((self._longest, samples.shape[1]))
        joined = np.concatenate((self._past, samples))
        self._past = joined[-self._longest :]
        position = np.arange(self._longest, len(joined)) - ago
        whole = np.floor(position).astype(int)
        fraction = (position - whole)[:, None]
        if not fraction.any():
            return joined[whole]
        return (1.0 - fraction) * joined[whole] + fraction * joined[whole + 1]


class _Envelope:
    """Peaks at once, then falling by a time constant."""

    def __init__(self, seconds, sample_rate):
        self._decay = 1.0 / (seconds * sample_rate)  # nepers a frame
        self._level = None

    def __call__(self, samples):
        if self._level is None:
            self._level = np.full(samples.shape[1], -100.0)  # nepers: far below everything
        fallen = self._decay * np.arange(1, len(samples) + 1)[:, None]
        rising = np.log(np.abs(samples) + 1e-40) + fallen
        highest = np.maximum(np.maximum.accumulate(rising, axis=0), self._level) - fallen
        self._level = highest[-1]
        return np.exp(highest)


class _Smoother:
    """A first-order low-pass with a time constant."""

    def __init__(self, seconds, sample_rate, initially=0.0):
        self._pole = math.exp(-1.0 / (seconds * sample_rate))
        self._initially = initially
        self._state = None

    def __call__(self, samples):
        if self._state is None:
            self._state = np.full((1, samples.shape[1]), self._initially * self._pole)
        out, self._state = signal.lfilter(
            [1.0 - self._pole], [1.0, -self._pole], samples, axis=0, zi=self._state
        )
        return out


class _Bend:
    """Even-order curvature without offset: what a shifted bias adds."""

    def __init__(self, at):
        self._coupling = _Filter(signal.butter(1, 5.0, "highpass", fs=at.rate, output="sos"))
        self._scale = np.ravel(at.scene.full_scale)[0]

    def __call__(self, samples):
        return self._coupling(np.square(samples)) / self._scale


def _frames(samples, first):
    return np.arange(first, first + len(samples))[:, None]


# Send


@functools.lru_cache(maxsize=2)
def _another_stimulus(sample_rate):
    """A signal that no plan is of: that of the checks, under another name and seed."""
    definition = load_signal("check").model_copy(update={"name": "another", "seed": 1})
    other = render(definition.plan(sample_rate))
    other.setflags(write=False)
    return other


def _wrong_stimulus(at):
    other = _another_stimulus(at.rate)
    lag = at.scene.sounds_from or 0
    floor = at.floor()

    def process(samples, first):
        played = np.take(other, _frames(samples, first - lag), mode="wrap")
        return at.scene.full_scale * played + floor(len(samples))

    return process


def _truncated(at):
    cut = round(at.strength * at.rate)
    floor = at.floor()
    begun = at.scene.sounds_from

    def process(samples, first):
        nonlocal begun
        if begun is None and samples.any():
            begun = first + int(np.flatnonzero(samples.any(axis=1))[0])
        at_frame = _frames(samples, first)
        if at.variant == "tail":
            gone = at_frame >= at.scene.sounds_to - cut
        else:
            gone = at_frame < (math.inf if begun is None else begun + cut)
        return np.where(gone, floor(len(samples)), samples)

    return process


def _shared_mode_limiter(at):
    """A soft knee above half of full scale."""
    most = 1.0 - db_to_amplitude(-at.strength)

    def process(samples, first):
        full = at.scene.full_scale
        over = np.maximum(np.abs(samples) / full - 0.5, 0.0)
        return samples - np.sign(samples) * full * most * np.square(over / 0.5)

    return process


def _send_saturates(at):
    """A cubic whose third harmonic is the THD at full scale."""
    ratio = at.strength / 100.0
    cubic = 4.0 * ratio / (1.0 + 3.0 * ratio)

    def process(samples, first):
        return samples - cubic * samples * np.square(samples / at.scene.full_scale)

    return process


# Device


def _line_level(at):
    """Into a device the gain does it all; a pair is driven that much harder into a soft limit."""

    def process(samples, first):
        if at.scene.sounds_from is None:  # a stream: the device is still to come
            return at.gain * samples
        full = at.scene.full_scale[0]
        return full * np.tanh(at.gain * samples / full)

    return process


def _warm_up(at):
    bend = _Bend(at)
    last = max(at.scene.frames - at.start, 1)
    time_constant = last / 2.0

    def process(samples, first):
        since = np.maximum(_frames(samples, first) - at.start, 0)
        risen = (1 - np.exp(-since / time_constant)) / (1 - math.exp(-last / time_constant))
        creep_db = at.strength * risen
        return db_to_amplitude(creep_db) * (samples + 0.1 * creep_db * bend(samples))

    return process


def _mains_step(at):
    bend = _Bend(at)

    def process(samples, first):
        hum = 1e-4 * np.sin(2 * np.pi * 100.0 / at.rate * _frames(samples, first))
        return at.gain * (samples + 0.1 * at.strength * bend(samples)) + hum

    return process


def _knob_moved(at):
    """Gain, and a treble shelf of a fifth of it from 3 kHz."""
    treble = _Filter(signal.butter(1, 3000.0, "highpass", fs=at.rate, output="sos"))
    shelf = db_to_amplitude(at.strength / 5.0) - 1.0

    def process(samples, first):
        return at.gain * (samples + shelf * treble(samples))

    return process


def _speaker_simulation(at):
    """A low-pass at 5 kHz, two notches, and a cone that rings for 30 ms."""
    order = max(1, round(at.strength / 6.0))
    sections = [signal.butter(order, 5000.0, fs=at.rate, output="sos")]
    for frequency, quality in ((1700.0, 3.0), (3300.0, 4.0)):
        sections.append(signal.tf2sos(*signal.iirnotch(frequency, quality, fs=at.rate)))
    cone = _Filter(np.concatenate(sections))
    ringing = _Filter(signal.tf2sos(*signal.iirpeak(100.0, math.pi * 100.0 * 0.03, fs=at.rate)))

    def process(samples, first):
        return cone(samples) + 0.5 * ringing(samples)

    return process


def _delay_effect(at):
    echo = _Delay(round(0.35 * at.rate))
    return lambda samples, first: samples + at.gain * echo.read(samples, round(0.35 * at.rate))


def _reverb(at):
    """A decaying noise from 20 ms on, RT60 1.5 s, of `strength` re the direct sound."""
    n = round(1.5 * at.rate)
    tail = at.rng().standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / n)
    tail *= at.gain / np.sqrt(np.sum(np.square(tail)))
    tail = np.concatenate((np.zeros(round(0.02 * at.rate)), tail))[:, None]
    ringing = np.zeros((len(tail) - 1, 1))

    def process(samples, first):
        nonlocal ringing
        out = signal.oaconvolve(samples, tail, axes=0)
        out[: len(ringing)] += ringing
        ringing = out[len(samples) :]
        return samples + out[: len(samples)]

    return process


def _tremolo(at):
    """Two sidebands at 5 Hz that together are `strength` re the carrier."""
    depth = math.sqrt(2.0) * at.gain

    def process(samples, first):
        return samples * (1 + depth * np.sin(2 * np.pi * 5.0 / at.rate * _frames(samples, first)))

    return process


def _chorus(at):
    voice = _Delay(round(0.02 * at.rate) + 1)

    def process(samples, first):
        swing = np.sin(2 * np.pi * 0.8 / at.rate * _frames(samples, first))[:, 0]
        return samples + at.gain * voice.read(samples, (0.015 + 0.003 * swing) * at.rate)

    return process


def _time_effect(at):
    effects = {"reverb": _reverb, "tremolo": _tremolo, "chorus": _chorus}
    return effects.get(at.variant, _delay_effect)(at)


def _room_noise(at):
    if at.variant == "reflection":
        ago = round(at.rng().uniform(0.002, 0.02) * at.rate)
        wall = _Delay(ago)
        return lambda samples, first: samples + at.gain * wall.read(samples, ago)
    n = round((at.fault.seconds or 0.3) * at.rate)
    band = signal.butter(2, (200.0, 4000.0), "bandpass", fs=at.rate, output="sos")
    burst = signal.sosfilt(band, at.rng().standard_normal(n)) * np.hanning(n)
    burst *= at.gain / np.max(np.abs(burst))

    def process(samples, first):
        since = _frames(samples, first) - at.start
        sounding = (since >= 0) & (since < n)
        return samples + np.where(sounding, np.take(burst, since, mode="clip"), 0.0)

    return process


def _noise_gate(at):
    """Opens at once, closes 60 dB within some 50 ms."""
    envelope = _Envelope(0.02, at.rate)
    smoother = _Smoother(0.002, at.rate, 1.0)

    def process(samples, first):
        return samples * smoother(np.where(envelope(samples) >= at.gain, 1.0, 1e-3))

    return process


def _standby(at):
    floor = at.floor()
    rest = math.sqrt(max(0.0, 1.0 - at.gain**2))
    return lambda samples, first: at.gain * samples + rest * floor(len(samples))


def _the_send_instead(at):
    floor = at.floor()

    def process(samples, first):
        return at.gain * at.scene.sent.read(len(samples))[:, None] + floor(len(samples))

    return process


# Return


def _gain(at):
    return lambda samples, first: at.gain * samples


def _inverted(at):
    return lambda samples, first: -samples


HUM_LINES = {  # fundamental in Hz, and levels of its harmonics re the strongest
    "loop": {1: 1.0, 3: 0.5, 5: 0.35, 7: 0.2, 9: 0.15},
    "rectifier": {1: 1.0, 2: 0.6, 3: 0.4, 4: 0.25, 5: 0.2, 6: 0.15},
}


def _hum(at):
    origin, _, frequency = (at.variant or "loop-50").partition("-")
    lines = HUM_LINES[origin]
    phases = at.rng().uniform(0.0, 2 * np.pi, len(lines))

    def process(samples, first):
        turns = 2 * np.pi * float(frequency) / at.rate * _frames(samples, first)
        hum = sum(
            level * np.sin(harmonic * turns + phase)
            for (harmonic, level), phase in zip(lines.items(), phases, strict=True)
        )
        return samples + at.gain * hum

    return process


def _offset(at):
    return lambda samples, first: samples + at.gain


def _clipped(at):
    lowest = -math.inf if at.variant == "positive" else -at.gain
    highest = math.inf if at.variant == "negative" else at.gain
    return lambda samples, first: np.clip(samples, lowest, highest)


# Computer and interface


def _direct_monitoring(at):
    def process(samples, first):
        return samples + at.gain * at.scene.sent.read(len(samples))[:, None]

    return process


def _interface_limiter(at):
    """From -20 dBFS on the gain falls, in dB with the level; it takes 0.3 s to come back."""
    envelope = _Envelope(0.3, at.rate)

    def process(samples, first):
        level_db = 20.0 * np.log10(envelope(samples) + 1e-20)
        return samples * db_to_amplitude(-at.strength * np.maximum(level_db + 20.0, 0.0) / 20.0)

    return process


def _agc(at):
    """After loud passages the gain is `strength` dB below that after silence."""
    power = _Smoother(0.5, at.rate)

    def process(samples, first):
        level_db = 10.0 * np.log10(power(np.square(samples)) + 1e-20)
        loudness = np.clip((level_db + 55.0) / 30.0, 0.0, 1.0)
        return samples * db_to_amplitude(-at.strength * loudness)

    return process


def _noise_suppression(at):
    envelope = _Envelope(0.1, at.rate)
    return lambda samples, first: np.where(envelope(samples) < 10.0 ** (-50 / 20), 0.0, samples)


def _enhancement(at):
    if at.variant == "noise-suppression":
        return _noise_suppression(at)
    if at.variant == "band-limit":
        return _no_process
    return _agc(at)


def _sixteen_bit(at):
    step = 2.0 ** (1 - round(at.strength))
    return lambda samples, first: step * np.round(samples / step)


def _zero_fill(at):
    filled = round(at.strength)

    def process(samples, first):
        return np.where(_frames(samples, first) < at.start + filled, 0.0, samples)

    return process


def _dithered(at):
    """To 16 bits with triangular dither."""
    step = 2.0**-15
    rng = at.rng()

    def process(samples, first):
        dither = rng.random((len(samples), 2 * samples.shape[1])).reshape(len(samples), -1, 2)
        return step * np.round(samples / step + dither[..., 0] - dither[..., 1])

    return process


# Of the clock and the buffers: more or fewer frames leave than come


def _drifting(at, chunks):
    return _retimed(chunks, at, ratio=1.0 + 1e-6 * at.strength)


def _wrong_rate(at, chunks):
    return _retimed(chunks, at, ratio=at.strength)


def _later(at, chunks):
    return _retimed(chunks, at, delay=at.strength)


HALF_TAPS = 32
PHASES = 512  # between two the taps are interpolated: error below -105 dB


def _interpolator(cutoff):
    """Taps of a windowed sinc at fractions of a sample, `(PHASES + 1, 2 HALF_TAPS)`.

    Flat to 0.45 of the sample rate and 100 dB down at 0.55, times `cutoff`.
    """
    at = np.arange(1 - HALF_TAPS, HALF_TAPS + 1) - np.arange(PHASES + 1)[:, None] / PHASES
    beta = signal.kaiser_beta(100.0)
    window = np.i0(beta * np.sqrt(np.clip(1 - np.square(at / HALF_TAPS), 0, None))) / np.i0(beta)
    return cutoff * np.sinc(cutoff * at) * window


def _retimed(chunks, at, *, ratio=1.0, delay=0.0):
    """From the fault's first frame on, frame n is what was at (n - start)/ratio - delay.

    Before the very first sample there is the beginning mirrored.
    """
    taps = _interpolator(ratio if ratio < 0.999 else 1.0)
    before = HALF_TAPS + max(0, math.ceil(delay))
    waiting = next(chunks)
    while len(waiting) < before + 1:
        waiting = np.concatenate((waiting, next(chunks)))
    waiting = np.concatenate((waiting[before:0:-1], waiting))
    origin = -before  # frame of the first that waits
    n = 0
    while True:
        frames = np.arange(n, n + len(waiting))
        since = frames - at.start
        position = np.where(since < 0, frames, at.start + since / ratio - delay)
        whole = np.floor(position).astype(int)
        ready = int(np.searchsorted(whole, origin + len(waiting) - HALF_TAPS))
        if ready:
            yield _read_between(waiting, position[:ready] - origin, taps)
            n += ready
            done = whole[ready - 1] + 1 - HALF_TAPS - max(0, math.ceil(delay)) - origin
            waiting, origin = waiting[max(done, 0) :], origin + max(done, 0)
        waiting = np.concatenate((waiting, next(chunks)))


def _read_between(samples, position, taps):
    """Samples `(n, columns)` read at fractional positions."""
    out = np.empty((len(position), samples.shape[1]))
    windows = sliding_window_view(samples, 2 * HALF_TAPS, axis=0)  # (starts, columns, taps)
    for first in range(0, len(position), 4096):
        here = position[first : first + 4096]
        whole = np.floor(here).astype(int)
        phase = (here - whole) * PHASES
        below = np.minimum(phase.astype(int), PHASES - 1)
        share = (phase - below)[:, None]
        weights = (1.0 - share) * taps[below] + share * taps[below + 1]
        out[first : first + 4096] = np.einsum("nct,nt->nc", windows[whole + 1 - HALF_TAPS], weights)
    return out


def _lost_block(at, chunks):
    first = 0
    for chunk in chunks:
        frame = np.arange(first, first + len(chunk))
        first += len(chunk)
        yield chunk[(frame < at.start) | (frame >= at.start + round(at.strength))]


def _repeated_block(at, chunks):
    stop = at.start + round(at.strength)
    first = 0
    block = []
    for chunk in chunks:
        block.append(chunk[max(at.start - first, 0) : max(stop - first, 0)])
        if first < stop <= first + len(chunk):
            yield chunk[: stop - first]
            yield np.concatenate(block)
            yield chunk[stop - first :]
        else:
            yield chunk
        first += len(chunk)


def _system_resampling(at, chunks):
    """A steep low-pass, and the images of a cheap converter 60 dB below."""
    inner_hz = 2.205 * at.strength  # 44.1 kHz where the band ends at 20 kHz
    chunks = _low_passed(at, chunks, at.strength, 0.01 * at.rate)
    if inner_hz >= 0.99 * at.rate:
        return chunks

    def with_images(samples, first):
        return samples * (
            1 + 2e-3 * np.cos(2 * np.pi * inner_hz / at.rate * _frames(samples, first))
        )

    return _in_place(at, with_images, chunks)


def _enhanced(at, chunks):
    if at.variant == "band-limit":
        return _low_passed(at, chunks, 7500.0, 500.0)
    return _in_place(at, _enhancement(at), chunks)


def _exporting(at, chunks):
    if at.variant in OF_A_FILE:
        return chunks  # the whole file, when it is finished
    if at.variant == "dithered":
        return _in_place(at, _dithered(at), chunks)
    return _later_by(1105, _low_passed(at, chunks, 16_000.0, 400.0))


def _later_by(frames, chunks):
    begin = next(chunks)
    while len(begin) < frames + 1:
        begin = np.concatenate((begin, next(chunks)))
    return itertools.chain([begin[frames:0:-1], begin], chunks)


def _low_passed(at, chunks, edge_hz, width_hz):
    """A linear-phase low-pass that ends at `edge_hz`, without its delay."""
    if edge_hz >= at.rate / 2 - width_hz:
        return chunks
    count, beta = signal.kaiserord(90.0, 2.0 * width_hz / at.rate)
    taps = signal.firwin(count | 1, edge_hz - width_hz / 2, window=("kaiser", beta), fs=at.rate)
    return _convolved(chunks, taps, at.start)


def _convolved(chunks, taps, start):
    half = len(taps) // 2
    past = None
    n = 0
    for chunk in chunks:
        if past is None:
            past = np.zeros((half, chunk.shape[1]))
        past = np.concatenate((past, chunk))
        ready = len(past) - 2 * half
        if ready <= 0:
            continue
        out = signal.oaconvolve(past, taps[:, None], mode="valid", axes=0)
        clean = past[half : half + ready]
        begin = min(max(start - n, 0), ready)
        yield np.concatenate((clean[:begin], out[begin:]))
        n += ready
        past = past[ready:]


def _feedback(at, chunks):
    """The return played again each 25 ms, `strength` louder at 700 Hz: echoes, then a tone."""
    round_trip = round(0.025 * at.rate)
    band = _Filter(signal.butter(1, (350.0, 1400.0), "bandpass", fs=at.rate, output="sos"))
    fed = Tap(round_trip)
    first = 0
    for chunk in chunks:
        out = chunk.copy()
        for begin in range(0, len(chunk), round_trip):
            part = out[begin : begin + round_trip]
            frame = _frames(part, first + begin)
            sounding = (frame >= at.start) & (frame < at.stop)
            again = at.gain * band(fed.read(len(part))[:, None])
            part += np.where(sounding, np.clip(again, -1.0, 1.0), 0.0)
            np.clip(part, -1.0, 1.0, out=part, where=sounding)
            fed.write(part[:, 0])
        first += len(chunk)
        yield out


# Of a finished file


def _exported(columns, variant, dimensions, floor_rms):
    peak = max(np.max(np.abs(columns), initial=0.0), 1e-12)
    match variant:
        case "normalised":
            columns = columns / peak
        case "over-full-scale":
            columns = columns * (db_to_amplitude(3.0) / peak)
        case "stereo":
            other = 0.7 * np.roll(columns[:, :1], 7, axis=0)
            return np.concatenate((columns[:, :1], other, columns[:, 1:]), axis=1)
        case "tail":
            rest = floor_rms * np.random.default_rng(0).standard_normal((96_000, columns.shape[1]))
            columns = np.concatenate((columns, rest))
    return columns[:, 0] if dimensions == 1 else columns


def _no_process(samples, first):
    return samples


IN_PLACE: dict[FaultName, Callable[[_At], Process]] = {
    "wrong-stimulus": _wrong_stimulus,
    "truncated": _truncated,
    "volume-changed": _gain,
    "shared-mode-limiter": _shared_mode_limiter,
    "send-saturates": _send_saturates,
    "line-level": _line_level,
    "warm-up": _warm_up,
    "mains-step": _mains_step,
    "knob-moved": _knob_moved,
    "speaker-simulation": _speaker_simulation,
    "time-effect": _time_effect,
    "room-noise": _room_noise,
    "noise-gate": _noise_gate,
    "standby": _standby,
    "bypass": _the_send_instead,
    "no-signal": _the_send_instead,
    "polarity-inverted": _inverted,
    "return-low": _gain,
    "hum": _hum,
    "dc-offset": _offset,
    "dc-step": _offset,
    "return-clipped": _clipped,
    "direct-monitoring": _direct_monitoring,
    "interface-limiter": _interface_limiter,
    "sixteen-bit": _sixteen_bit,
    "zero-fill": _zero_fill,
}

RETIMING: dict[FaultName, Callable[[_At, Chunks], Chunks]] = {
    "feedback": _feedback,
    "latency-changed": _later,
    "clock-drift": _drifting,
    "wrong-rate": _wrong_rate,
    "system-resampling": _system_resampling,
    "enhancement": _enhanced,
    "lost-block": _lost_block,
    "repeated-block": _repeated_block,
    "file-hygiene": _exporting,
}
