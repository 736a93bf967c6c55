"""An audio interface in software, with a virtual device at its far end.

What it adds is known exactly: a fractional round trip, gain, polarity, noise and the
converters' band. It plays as fast as it can compute and holds a fraction of a second at a
time, however long the take.

Conventions
-----------
The response lies `round_trip_samples` behind the stimulus, as through hardware, plus what
the device itself does to the phase. The loopback channel is the send through the same
converters, the DI what the device gives to its cabinet; gain and polarity belong to the return
alone. Each channel of each take has its
own noise: take k of an open interface always has the same.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from scipy import signal

from profiler.circuit.device import Stream, WithCabinet, create
from profiler.errors import DefinitionError, SafetyStop
from profiler.rig.injection import (
    COMPUTER,
    DEVICE_INPUT,
    DEVICE_OUTPUT,
    INSTEAD_OF_THE_DEVICE,
    RETURN,
    SEND,
    STIMULUS,
    pass_through,
    refuse_what_needs_a_file,
)
from profiler.rig.interface import Block, OnBlock, StreamReport, Watch
from profiler.rig.rig import Rig, recorded_channels
from profiler.rig.scene import PlacedFault, Scene, Tap
from profiler.units import db_to_amplitude, peak_dbfs

CHUNK_FRAMES = 4096  # computed at a time: 85 ms at 48 kHz
STOPBAND_DB = 120.0
TRANSITION_RATIO = 0.05  # width of the converters' edge, re the sample rate
FADE_SECONDS = 0.01
TAIL_SECONDS = 1.05  # from the end of the tail marker's sound to that of a bracketed plan
SMALL_SIGNAL = 1e-4  # at which every device is linear
DEVICE_FULL_SCALE = 0.5  # what a full-scale stimulus makes of a device, about
CEILING_TOLERANCE_DB = 0.001  # a peak at the ceiling may be rounded up to float32


class Simulated:
    """The simulated interface of a rig, open.

    Parameters
    ----------
    rig : Rig
        With a `SimulatedInterface`.
    cabinet : callable, optional
        Makes, for a sample rate, a cabinet at rest that the device is heard through.

    Raises
    ------
    DefinitionError
        The rig names no circuit, or controls that the circuit has not.
    """

    def __init__(self, rig: Rig, cabinet: Callable[[int], Stream] | None = None):
        if rig.interface.driver != "simulated":
            raise ValueError(f"got a rig with driver={rig.interface.driver!r}, not simulated")
        if rig.chain.circuit is None:
            raise DefinitionError(
                f"rig {rig.name!r} is simulated but has no chain.circuit: expected wire, tweed "
                "or drive"
            )
        self.sample_rate = rig.interface.sample_rate
        self.channels = len(recorded_channels(rig.interface))
        self._cabinet = cabinet
        self._settings = rig.interface
        self._circuit = rig.chain.circuit
        self._controls = rig.chain.controls
        self._ceiling_dbfs = rig.maximum_send_dbfs
        self._faults = rig.interface.faults
        refuse_what_needs_a_file(self._faults)
        self._takes = 0
        device = self._device()  # a control that is not there is told now, not when sound is due

        whole = round(self._settings.round_trip_samples)
        fraction = self._settings.round_trip_samples - whole
        self._taps = _converter_taps(fraction, self._settings.high_cut_ratio)
        # Device and filter lie behind by so much already: what is missing to the round trip
        # waits, and where it is too much, the recording begins later in what arrives.
        delay = whole - device.latency_samples - len(self._taps) // 2
        self._waits, self._early = max(delay, 0), max(-delay, 0)

    def play_record(
        self,
        stimulus: Iterable[np.ndarray],
        frames: int,
        on_block: OnBlock,
        watch: Watch | None = None,
    ) -> StreamReport:
        """Play `frames` samples through the device from rest; see `Interface`.

        When `watch` returns an error, the block of the send that is played next, of `block_size`
        frames, begins a fade of 10 ms; the error is raised when the fade has ended and what came
        back until then has been handed over.

        Raises
        ------
        SafetyStop
            A sample is not finite or above the ceiling: it and what follows is not played.
        ValueError
            The stimulus is shorter than `frames`.
        """
        block_size = self._settings.block_size
        by_block = watch is not None or "feedback" in self._faults
        chunk_frames = min(CHUNK_FRAMES, block_size) if by_block else CHUNK_FRAMES
        fade = _FadeOut(round(FADE_SECONDS * self.sample_rate))
        played = (fade.process(chunk) for chunk in self._checked(stimulus, frames, chunk_frames))
        recorded = self._recorded(played, frames, chunk_frames)
        sizes = set()
        blocks = 0
        error = None
        for frame, samples in _cut(recorded, frames, block_size):
            if watch is not None and error is None and (error := watch(samples, frame)):
                fade.begin()
            seconds = frame / self.sample_rate
            on_block(Block(samples, frame, adc_seconds=seconds, dac_seconds=seconds))
            sizes.add(len(samples))
            blocks += 1
            if fade.ended:
                break
        if error is not None:
            raise error
        return StreamReport(
            driver="simulated",
            device=self._circuit,
            sample_rate=self.sample_rate,
            frames=frames,
            blocks=blocks,
            block_sizes=tuple(sorted(sizes)),
        )

    def _device(self):
        device = create(self._circuit, self._controls, self.sample_rate)
        if self._cabinet is None:
            return device
        return WithCabinet(device, self._cabinet(self.sample_rate))

    def _checked(self, stimulus, frames, chunk_frames):
        """Exactly `frames` samples in chunks, each looked at before it is played.

        The chunks end at multiples of `chunk_frames`, and where a block of the stimulus does.
        """
        position = 0
        for block in stimulus:
            block = np.asarray(block)[: frames - position]
            _refuse_unsafe(block, position, self._ceiling_dbfs)
            first = -position % chunk_frames
            yield from filter(len, np.split(block, range(first, len(block), chunk_frames)))
            position += len(block)
            if position == frames:
                return
        raise ValueError(f"got frames={frames}, but the stimulus has only {position}")

    def _recorded(self, stimulus, frames, chunk_frames):
        """What is recorded, `(n, channels)` without an end: the whole way of the sound."""
        faults = self._faults
        silence = itertools.repeat(np.zeros(chunk_frames))
        scene = Scene(
            self.sample_rate, frames, sounds_to=frames - round(TAIL_SECONDS * self.sample_rate)
        )
        # each gives its place on the way what passes there
        monitored = Tap(chunk_frames + self._early) if "feedback" in faults else None
        heard = Tap() if "direct-monitoring" in faults else None

        send = (chunk[:, None].astype(np.float64) for chunk in itertools.chain(stimulus, silence))
        send = pass_through(
            send, STIMULUS, faults, replace(scene, full_scale=db_to_amplitude(self._ceiling_dbfs))
        )
        send = pass_through(send, SEND, faults, scene)
        if monitored is not None:
            send = self._with_feedback(send, monitored, scene)
        analogue = self._through_converters(self._through_device(_tapped(send, heard), scene))
        returned = pass_through(self._with_noise(analogue), RETURN, faults, scene)
        return pass_through(
            _tapped(returned, monitored), COMPUTER, faults, replace(scene, sent=heard)
        )

    def _with_feedback(self, send, monitored, scene):
        """The send with what came back a block ago, its gain such that the loop has the fault's."""
        fault = PlacedFault("feedback", self._faults["feedback"], scene, slice(None))
        gain = fault.gain / self._highest_gain()
        first = 0
        for chunk in send:
            frame = np.arange(first, first + len(chunk))[:, None]
            first += len(chunk)
            fed = gain * monitored.read(len(chunk))[:, None]
            heard = (frame >= fault.start) & (frame < fault.stop)
            yield np.where(heard, np.clip(chunk + fed, -1.0, 1.0), chunk)

    def _highest_gain(self):
        """From send to return for small signals, at the frequency where it is highest."""
        impulse = np.zeros(self.sample_rate // 4)
        impulse[0] = SMALL_SIGNAL
        response = self._device().process(impulse) / SMALL_SIGNAL
        gain = db_to_amplitude(self._settings.gain_db)
        return max(gain * float(np.max(np.abs(np.fft.rfft(response)))), 1e-6)

    def _through_device(self, send, scene):
        """Device, loopback and DI side by side, `(n, channels)`, late by the device's latency."""
        faults = self._faults
        device = self._device()
        gain = self._settings.polarity * db_to_amplitude(self._settings.gain_db)
        has_loop = self._settings.loopback_channel is not None
        looped = Tap(device.latency_samples) if has_loop else None
        dry = Tap(device.latency_samples) if INSTEAD_OF_THE_DEVICE & faults.keys() else None
        into = pass_through(
            _tapped(send, looped, dry), DEVICE_INPUT, faults, replace(scene, device_follows=True)
        )

        def out():
            for chunk in into:
                returned, before_the_cabinet = device.process_with_di(chunk[:, 0])
                columns = [gain * returned]
                if looped is not None:
                    columns.append(looped.read(len(chunk)))
                if self._settings.di_channel is not None:
                    columns.append(before_the_cabinet)
                yield np.stack(columns, axis=1)

        full_scale = abs(gain) * DEVICE_FULL_SCALE
        return pass_through(
            out(), DEVICE_OUTPUT, faults, replace(scene, full_scale=full_scale, sent=dry)
        )

    def _through_converters(self, arriving):
        """What arrives, without noise and without an end."""
        converters = [_Fir(self._taps, self.channels)]
        if self._settings.low_cut_hz > 0.0:
            coupling = signal.butter(1, self._settings.low_cut_hz, "highpass", fs=self.sample_rate)
            converters.append(_Iir(*coupling, self.channels))
        underway = np.zeros((self._waits, self.channels))
        early = self._early
        for samples in arriving:
            frames = len(samples)
            for converter in converters:
                samples = converter.process(samples)
            underway = np.concatenate((underway, samples[early:]))
            ready = frames - min(early, frames)
            early -= frames - ready
            yield underway[:ready]
            underway = underway[ready:]

    def _with_noise(self, analogue):
        rms = db_to_amplitude(self._settings.noise_rms_dbfs)
        generators = [
            np.random.default_rng((self._settings.seed, self._takes, channel))
            for channel in range(self.channels)
        ]
        self._takes += 1
        return (
            samples + rms * np.stack([g.standard_normal(len(samples)) for g in generators], axis=1)
            for samples in analogue
        )


class _FadeOut:
    """Lets the send through, until it begins to fade it out."""

    def __init__(self, frames):
        self._gains = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, frames + 1) / frames)
        self._begun = False

    def begin(self):
        self._begun = True

    @property
    def ended(self):
        return len(self._gains) == 0

    def process(self, chunk):
        if not self._begun:
            return chunk
        gains, self._gains = self._gains[: len(chunk)], self._gains[len(chunk) :]
        return chunk * np.pad(gains, (0, len(chunk) - len(gains)))


class _Fir:
    """A filter of taps over a stream of `(n, channels)`.

    Every sample is one sum of the same terms in the same order: how the stream is cut changes no
    bit of it, which is not so of `lfilter`.
    """

    def __init__(self, taps, channels):
        self._taps = taps[::-1].copy()
        self._past = np.zeros((channels, len(taps) - 1))

    def process(self, samples):
        joined = np.concatenate((self._past, samples.T), axis=1)
        self._past = joined[:, len(samples) :]
        return np.stack([np.correlate(each, self._taps, "valid") for each in joined], axis=1)


class _Iir:
    """A recursive filter over a stream of `(n, channels)`."""

    def __init__(self, numerator, denominator, channels):
        self._coefficients = numerator, denominator
        self._memory = np.zeros((len(denominator) - 1, channels))

    def process(self, samples):
        out, self._memory = signal.lfilter(*self._coefficients, samples, axis=0, zi=self._memory)
        return out


def _converter_taps(fraction, high_cut_ratio):
    """A windowed sinc: the converters' steep edge, `fraction` of a sample late.

    Linear phase: but for that fraction its delay is half its length. An edge at half the
    sample rate is none; then a fraction of zero changes no sample.
    """
    count, beta = signal.kaiserord(STOPBAND_DB, 2.0 * TRANSITION_RATIO)
    half = count // 2 + 1
    cutoff = min(high_cut_ratio + TRANSITION_RATIO / 2.0, 0.5)
    at = np.arange(-half, half + 1) - fraction
    inside = np.sqrt(np.clip(1.0 - np.square(at / (half + 1)), 0.0, None))
    window = np.i0(beta * inside) / np.i0(beta)
    taps = 2.0 * cutoff * np.sinc(2.0 * cutoff * at) * window
    return taps / np.sum(taps)


def _tapped(chunks, *taps):
    """The stream as it is, while the taps that there are take its first column."""
    for chunk in chunks:
        for tap in taps:
            if tap is not None:
                tap.write(chunk[:, 0])
        yield chunk


def _cut(recorded, frames, block_size):
    """The first `frames` of a stream in the driver's blocks, each with its first frame."""
    position = 0
    waiting = np.empty((0, 0))
    for samples in recorded:
        waiting = np.concatenate((waiting, samples)) if len(waiting) else samples
        start = 0
        while (size := min(block_size, frames - position)) <= len(waiting) - start:
            yield position, waiting[start : start + size].astype(np.float32)
            position += size
            start += size
            if position == frames:
                return
        waiting = waiting[start:]


def _refuse_unsafe(block, position, ceiling_dbfs):
    """A `SafetyStop` for samples that must not reach an output."""
    if not np.isfinite(block).all():
        bad = position + int(np.flatnonzero(~np.isfinite(block))[0])
        raise SafetyStop(
            f"sample {bad} of the stimulus is not a number: nothing from there on was played; "
            "make the stimulus again"
        )
    level = peak_dbfs(block)
    if level > ceiling_dbfs + CEILING_TOLERANCE_DB:
        loudest = position + int(np.argmax(np.abs(block)))
        raise SafetyStop(
            f"sample {loudest} of the stimulus peaks at {level:.2f} dBFS, above the rig's "
            f"maximum_send_dbfs {ceiling_dbfs:g}: nothing from there on was played; lower the "
            "stimulus"
        )
