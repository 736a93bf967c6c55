"""How each fault changes the sound: a stage that a stream passes, and a recorded pair no less.

Most faults change every chunk in its place: a gain, a hum, a filter. Those of the clock and the
buffers (`retiming`) give more or fewer frames than they take.

Conventions
-----------
A `Process` takes a chunk `(n, columns)` and its first frame and gives another one of that shape; it
never writes into the chunk. What it does counts from the fault's first frame to its last only, but
it hears everything before.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy import signal

from profiler.rig import retiming
from profiler.rig.faults import FaultName
from profiler.rig.scene import Chunks, PlacedFault, Tap
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render
from profiler.units import amplitude_to_db, db_to_amplitude, power_to_db

Process = Callable[[np.ndarray, int], np.ndarray]
Stage = Callable[[PlacedFault, Chunks], Chunks]

# Send
LIMITER_KNEE = 0.5  # of full scale: the shared-mode limiter leaves alone what lies below

# Device
BEND_PER_DB = 0.1  # even-order curvature that goes with a dB of shifted supply or bias
MAINS_HUM_HZ = 100.0
MAINS_HUM_PER_DB = 2e-4  # peak: -80 dBFS for half a dB
SHELF_SHARE = 0.2  # of a knob's level step: what the treble gets on top
SHELF_HZ = 3000.0
SPEAKER_HZ = 5000.0
SPEAKER_DIPS = ((1700.0, 3.0), (3300.0, 4.0))  # Hz and quality
SPEAKER_DIP = 0.75  # taken away at their centre: 12 dB
CONE_HZ, CONE_SECONDS, CONE_GAIN = 100.0, 0.03, 0.5  # what makes the response long
ECHO_SECONDS = 0.35
REVERB_SECONDS, REVERB_LATE_SECONDS = 1.5, 0.02  # RT60, and when it begins
TREMOLO_HZ = 5.0
CHORUS_SECONDS, CHORUS_SWING_SECONDS, CHORUS_HZ = 0.015, 0.003, 0.8
BURST_SECONDS, BURST_BAND_HZ = 0.3, (200.0, 4000.0)  # something falls, someone talks
WALL_SECONDS = (0.002, 0.02)  # from the direct sound to a reflection
GATE_FALLS_SECONDS, GATE_SMOOTH_SECONDS = 0.02, 0.002  # of the level it follows, of its gain
GATE_FLOOR = 1e-3  # closed, 60 dB: never exact silence

# Loop
FED_BACK_SECONDS = 0.025  # a round trip by way of a program that monitors
FED_BACK_BAND_HZ = (350.0, 1400.0)

# Return
HUM_LINES = {  # harmonics of a mains hum, re the strongest
    "loop": {1: 1.0, 3: 0.5, 5: 0.35, 7: 0.2, 9: 0.15},
    "rectifier": {1: 1.0, 2: 0.6, 3: 0.4, 4: 0.25, 5: 0.2, 6: 0.15},
}

# Interface and computer
LIMITER_ONSET_DBFS = -20.0
LIMITER_RELEASE_SECONDS = 0.3
AGC_SECONDS = 0.5
AGC_RANGE_DBFS = (-55.0, -25.0)  # RMS of the past: from here to there the gain falls
SUPPRESSED_BELOW, SUPPRESSED_AFTER_SECONDS = 10 ** (-50 / 20), 0.1
NARROW_HZ, NARROW_EDGE_HZ = 7500.0, 500.0  # wideband speech: half of 16 kHz, less an edge
RESAMPLER_EDGE_RATIO = 0.01  # its transition, re the sample rate
RESAMPLER_RATE_RATIO = 2.205  # of its inner rate to the end of its band: 44.1 kHz for 20
RESAMPLER_IMAGE = 2e-3  # of a carrier at that rate: two sidebands 60 dB down
MP3_HZ, MP3_EDGE_HZ = 16_000.0, 400.0
MP3_FRAMES_LATE = 1105  # what LAME and a decoder add: 576 and 529 samples
DITHER_STEP = 2.0**-15


def in_place(make: Callable[[PlacedFault], Process]) -> Stage:
    """The stage of a process: from the fault's first frame to its last, in its columns."""

    def stage(at, chunks):
        process = make(at)
        first = 0
        for chunk in chunks:
            changed = process(chunk[:, at.columns], first)
            begin = min(max(at.start - first, 0), len(chunk))
            end = int(min(max(at.stop - first, 0), len(chunk)))
            out = chunk.copy()
            out[begin:end, at.columns] = changed[begin:end]
            first += len(chunk)
            yield out

    return stage


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
    floor = _floor(at)

    def process(samples, first):
        played = np.take(other, _frames(samples, first - at.scene.lag), mode="wrap")
        return at.full_scale * played + floor(len(samples))

    return process


def _truncated(at):
    """Silence until so much of what sounds is gone, or from there to the end."""
    eaten = round(at.strength * at.rate)
    floor = _floor(at)
    begun = at.scene.sounds_from

    def process(samples, first):
        nonlocal begun
        frame = _frames(samples, first)
        if at.variant == "tail":
            return np.where(frame >= at.scene.sounds_to - eaten, floor(len(samples)), samples)
        if begun is None and samples.any():
            begun = first + int(np.flatnonzero(samples)[0])
        if begun is None:
            return samples
        return np.where(frame < begun + eaten, floor(len(samples)), samples)

    return process


def _shared_mode_limiter(at):
    """A soft knee, memoryless: a peak at full scale comes out `strength` lower."""
    most = 1.0 - db_to_amplitude(-at.strength)

    def process(samples, first):
        over = np.abs(samples) / at.full_scale - LIMITER_KNEE
        taken = most * np.square(np.maximum(over, 0.0) / (1.0 - LIMITER_KNEE))
        return samples - np.sign(samples) * at.full_scale * taken

    return process


def _send_saturates(at):
    """A cubic whose third harmonic is the THD at full scale."""
    ratio = at.strength / 100.0
    cubic = 4.0 * ratio / (1.0 + 3.0 * ratio)

    def process(samples, first):
        return samples - cubic * samples * np.square(samples / at.full_scale)

    return process


# Device


def _line_level(at):
    """A device answers to the gain; a pair is driven so much harder into a soft limit."""
    if at.scene.device_follows:
        return _gain(at)
    return lambda samples, first: at.full_scale * np.tanh(at.gain * samples / at.full_scale)


def _warm_up(at):
    """Level and even harmonics creep up, fast at first: all of it is there at the take's end."""
    bend = _Bend(at)
    takes = max(at.scene.frames - at.start, 1)

    def process(samples, first):
        share = np.maximum(_frames(samples, first) - at.start, 0) / takes
        creep_db = at.strength * np.expm1(-2.0 * share) / math.expm1(-2.0)
        return db_to_amplitude(creep_db) * (samples + BEND_PER_DB * creep_db * bend(samples))

    return process


def _mains_step(at):
    bend = _Bend(at)

    def process(samples, first):
        hum = MAINS_HUM_PER_DB * at.strength * _sine(at, MAINS_HUM_HZ, samples, first)
        return at.gain * (samples + BEND_PER_DB * at.strength * bend(samples)) + hum

    return process


def _knob_moved(at):
    """The level, and a little of the tone: the treble moves by some more."""
    treble = _Filter(signal.butter(1, SHELF_HZ, "highpass", fs=at.rate, output="sos"))
    shelf = db_to_amplitude(SHELF_SHARE * at.strength) - 1.0

    def process(samples, first):
        return at.gain * (samples + shelf * treble(samples))

    return process


def _speaker_simulation(at):
    """A low-pass, two dips below it, and a cone that rings on."""
    low_pass = _Filter(
        signal.butter(max(1, round(at.strength / 6.0)), SPEAKER_HZ, fs=at.rate, output="sos")
    )
    dips = [_resonance(at, frequency, quality) for frequency, quality in SPEAKER_DIPS]
    cone = _resonance(at, CONE_HZ, math.pi * CONE_HZ * CONE_SECONDS)

    def process(samples, first):
        through = low_pass(samples)
        for dip in dips:
            through = through - SPEAKER_DIP * dip(through)
        return through + CONE_GAIN * cone(samples)

    return process


def _delay_effect(at):
    ago = round(ECHO_SECONDS * at.rate)
    echo = _Delay(ago)
    return lambda samples, first: samples + at.gain * echo.read(samples, ago)


def _reverb(at):
    """A noise that decays; its energy is `strength` re that of the direct sound."""
    n = round(REVERB_SECONDS * at.rate)
    decaying = at.rng().standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / n)
    decaying *= at.gain / np.linalg.norm(decaying)
    late = round(REVERB_LATE_SECONDS * at.rate)
    tail = np.concatenate((np.zeros(late), decaying))[:, None]
    ringing = np.zeros((len(tail) - 1, 1))

    def process(samples, first):
        nonlocal ringing
        out = signal.oaconvolve(samples, tail, axes=0)
        out[: len(ringing)] += ringing
        ringing = out[len(samples) :]
        return samples + out[: len(samples)]

    return process


def _tremolo(at):
    """Two sidebands that together are `strength` re the carrier."""
    depth = math.sqrt(2.0) * at.gain
    return lambda samples, first: samples * (1.0 + depth * _sine(at, TREMOLO_HZ, samples, first))


def _chorus(at):
    voice = _Delay(math.ceil((CHORUS_SECONDS + CHORUS_SWING_SECONDS) * at.rate) + 1)

    def process(samples, first):
        swing = _sine(at, CHORUS_HZ, samples, first)[:, 0]
        ago = (CHORUS_SECONDS + CHORUS_SWING_SECONDS * swing) * at.rate
        return samples + at.gain * voice.read(samples, ago)

    return process


def _time_effect(at):
    effects = {"reverb": _reverb, "tremolo": _tremolo, "chorus": _chorus}
    return effects.get(at.variant, _delay_effect)(at)


def _room_noise(at):
    if at.variant == "reflection":
        ago = round(at.rng().uniform(*WALL_SECONDS) * at.rate)
        wall = _Delay(ago)
        return lambda samples, first: samples + at.gain * wall.read(samples, ago)
    n = round((at.fault.seconds or BURST_SECONDS) * at.rate)
    band = signal.butter(2, BURST_BAND_HZ, "bandpass", fs=at.rate, output="sos")
    burst = signal.sosfilt(band, at.rng().standard_normal(n)) * np.hanning(n)
    burst *= at.gain / np.max(np.abs(burst))

    def process(samples, first):
        since = _frames(samples, first) - at.start
        sounding = (since >= 0) & (since < n)
        return samples + np.where(sounding, np.take(burst, since, mode="clip"), 0.0)

    return process


def _noise_gate(at):
    """Opens at a peak above the threshold, and closes by 60 dB when the level has fallen."""
    envelope = _Envelope(GATE_FALLS_SECONDS, at.rate)
    opening = _Smoother(GATE_SMOOTH_SECONDS, at.rate)

    def process(samples, first):
        return samples * opening(np.where(envelope(samples) >= at.gain, 1.0, GATE_FLOOR))

    return process


def _standby(at):
    """The signal goes, the noise stays."""
    floor = _floor(at)
    rest = math.sqrt(max(0.0, 1.0 - at.gain**2))
    return lambda samples, first: at.gain * samples + rest * floor(len(samples))


def _the_send_instead(at):
    floor = _floor(at)

    def process(samples, first):
        return at.gain * at.scene.sent.read(len(samples))[:, None] + floor(len(samples))

    return process


# The loop


def _feedback(at):
    """In a pair: the return is heard again and again, at most `strength` louder each time.

    What is fed back is a band around 700 Hz, so the echoes become a tone.
    """
    round_trip = round(FED_BACK_SECONDS * at.rate)
    band = _Filter(signal.butter(1, FED_BACK_BAND_HZ, "bandpass", fs=at.rate, output="sos"))
    fed = Tap(round_trip)

    def process(samples, first):
        out = samples.copy()
        for begin in range(0, len(out), round_trip):
            part = out[begin : begin + round_trip]  # a view
            frame = _frames(part, first + begin)
            sounds = (frame >= at.start) & (frame < at.stop)
            again = at.gain * band(fed.read(len(part))[:, None])
            part[:] = np.where(sounds, np.clip(part + again, -1.0, 1.0), part)
            fed.write(part[:, 0])
        return out

    return process


# Return


def _gain(at):
    return lambda samples, first: at.gain * samples


def _inverted(at):
    return lambda samples, first: -samples


def _hum(at):
    origin, _, frequency = (at.variant or "loop-50").partition("-")
    lines = HUM_LINES[origin]
    phases = at.rng().uniform(0.0, 2 * np.pi, len(lines))

    def process(samples, first):
        hum = sum(
            level * _sine(at, harmonic * float(frequency), samples, first, phase)
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
    """From its onset the gain falls with the level, in dB; it is slow to come back."""
    envelope = _Envelope(LIMITER_RELEASE_SECONDS, at.rate)

    def process(samples, first):
        share = np.maximum(1.0 - amplitude_to_db(envelope(samples)) / LIMITER_ONSET_DBFS, 0.0)
        return samples * db_to_amplitude(-at.strength * share)

    return process


def _agc(at):
    """After loud passages the gain is `strength` dB below that after silence."""
    power = _Smoother(AGC_SECONDS, at.rate)

    def process(samples, first):
        level_dbfs = power_to_db(power(np.square(samples)))
        return samples * db_to_amplitude(-np.interp(level_dbfs, AGC_RANGE_DBFS, (0.0, at.strength)))

    return process


def _noise_suppression(at):
    """What is taken for noise becomes exact silence."""
    envelope = _Envelope(SUPPRESSED_AFTER_SECONDS, at.rate)
    return lambda samples, first: np.where(envelope(samples) < SUPPRESSED_BELOW, 0.0, samples)


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
    rng = at.rng()

    def process(samples, first):
        dither = rng.random((len(samples), 2 * samples.shape[1])).reshape(len(samples), -1, 2)
        return DITHER_STEP * np.round(samples / DITHER_STEP + dither[..., 0] - dither[..., 1])

    return process


# Clock, buffers and what looks ahead


def _clock_drift(at, chunks):
    return retiming.resampled(chunks, at.start, ratio=1.0 + 1e-6 * at.strength)


def _wrong_rate(at, chunks):
    return retiming.resampled(chunks, at.start, ratio=at.strength)


def _latency_changed(at, chunks):
    return retiming.resampled(chunks, at.start, delay=at.strength)


def _lost_block(at, chunks):
    return retiming.without(chunks, at.start, at.start + round(at.strength))


def _repeated_block(at, chunks):
    return retiming.repeated(chunks, at.start, at.start + round(at.strength))


def _system_resampling(at, chunks):
    """A steep low-pass, and the images of a cheap resampler."""
    width_hz = RESAMPLER_EDGE_RATIO * at.rate
    chunks = retiming.low_passed(chunks, at.start, at.strength, width_hz, at.rate)
    return in_place(_images)(at, chunks)


def _images(at):
    inner_hz = RESAMPLER_RATE_RATIO * at.strength
    image = RESAMPLER_IMAGE if inner_hz < 0.99 * at.rate else 0.0
    return lambda samples, first: samples * (1.0 + image * _sine(at, inner_hz, samples, first))


def _enhancement(at, chunks):
    match at.variant:
        case "noise-suppression":
            return in_place(_noise_suppression)(at, chunks)
        case "band-limit":
            return retiming.low_passed(chunks, at.start, NARROW_HZ, NARROW_EDGE_HZ, at.rate)
        case _:
            return in_place(_agc)(at, chunks)


def _file_hygiene(at, chunks):
    """What an export does on the way; the rest is done to the finished file."""
    match at.variant:
        case "mp3" | None:
            narrow = retiming.low_passed(chunks, at.start, MP3_HZ, MP3_EDGE_HZ, at.rate)
            return retiming.later(narrow, MP3_FRAMES_LATE)
        case "dithered":
            return in_place(_dithered)(at, chunks)
        case _:
            return chunks


# What they are made of


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


def _resonance(at, frequency, quality):
    return _Filter(signal.tf2sos(*signal.iirpeak(frequency, quality, fs=at.rate)))


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

    def __init__(self, seconds, sample_rate):
        self._pole = math.exp(-1.0 / (seconds * sample_rate))
        self._state = None

    def __call__(self, samples):
        if self._state is None:
            self._state = np.zeros((1, samples.shape[1]))
        out, self._state = signal.lfilter(
            [1.0 - self._pole], [1.0, -self._pole], samples, axis=0, zi=self._state
        )
        return out


class _Bend:
    """Even-order curvature without offset: what a shifted bias adds."""

    def __init__(self, at):
        self._coupling = _Filter(signal.butter(1, 5.0, "highpass", fs=at.rate, output="sos"))
        self._full_scale = at.full_scale

    def __call__(self, samples):
        return self._coupling(np.square(samples)) / self._full_scale


def _frames(samples, first):
    """The frame of every sample, `(n, 1)`."""
    return np.arange(first, first + len(samples))[:, None]


def _sine(at, frequency, samples, first, phase=0.0):
    """A sine whose phase is known at frame 0, `(n, 1)`."""
    return np.sin(2 * np.pi * frequency / at.rate * _frames(samples, first) + phase)


def _floor(at):
    """The noise that stays when the signal goes, as a source of `(n, 1)` frames."""
    rng = at.rng()
    return lambda frames: at.scene.floor_rms * rng.standard_normal((frames, 1))


STAGES: dict[FaultName, Stage] = {
    "wrong-stimulus": in_place(_wrong_stimulus),
    "truncated": in_place(_truncated),
    "volume-changed": in_place(_gain),
    "shared-mode-limiter": in_place(_shared_mode_limiter),
    "send-saturates": in_place(_send_saturates),
    "line-level": in_place(_line_level),
    "warm-up": in_place(_warm_up),
    "mains-step": in_place(_mains_step),
    "knob-moved": in_place(_knob_moved),
    "speaker-simulation": in_place(_speaker_simulation),
    "time-effect": in_place(_time_effect),
    "room-noise": in_place(_room_noise),
    "noise-gate": in_place(_noise_gate),
    "standby": in_place(_standby),
    "bypass": in_place(_the_send_instead),
    "no-signal": in_place(_the_send_instead),
    "feedback": in_place(_feedback),
    "polarity-inverted": in_place(_inverted),
    "return-low": in_place(_gain),
    "hum": in_place(_hum),
    "dc-offset": in_place(_offset),
    "dc-step": in_place(_offset),
    "return-clipped": in_place(_clipped),
    "direct-monitoring": in_place(_direct_monitoring),
    "interface-limiter": in_place(_interface_limiter),
    "latency-changed": _latency_changed,
    "clock-drift": _clock_drift,
    "wrong-rate": _wrong_rate,
    "system-resampling": _system_resampling,
    "enhancement": _enhancement,
    "zero-fill": in_place(_zero_fill),
    "lost-block": _lost_block,
    "repeated-block": _repeated_block,
    "sixteen-bit": in_place(_sixteen_bit),
    "file-hygiene": _file_hygiene,
}
