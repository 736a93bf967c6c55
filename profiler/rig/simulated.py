"""An audio interface in software, with a virtual device at its far end.

What it adds is known exactly: a fractional round trip, gain, polarity, noise and the
converters' band. It plays as fast as it can compute and holds a fraction of a second at a
time, however long the take.

Conventions
-----------
The response lies `round_trip_samples` behind the stimulus, as through hardware, plus what
the device itself does to the phase. The loopback channel is the send through the same
converters; gain and polarity belong to the return alone. Each channel of each take has its
own noise: take k of an open interface always has the same.
"""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from scipy import signal

from profiler.circuit.device import create
from profiler.errors import DefinitionError, SafetyStop
from profiler.rig.interface import Block, OnBlock, StreamReport
from profiler.rig.rig import Rig
from profiler.units import db_to_amplitude, peak_dbfs

CHUNK_FRAMES = 4096  # computed at a time: 85 ms at 48 kHz
STOPBAND_DB = 120.0
TRANSITION_RATIO = 0.05  # width of the converters' edge, re the sample rate
CEILING_TOLERANCE_DB = 0.001  # a peak at the ceiling may be rounded up to float32


class Simulated:
    """The simulated interface of a rig, open.

    Raises
    ------
    DefinitionError
        The rig names no circuit, or controls that the circuit has not.
    """

    def __init__(self, rig: Rig):
        if rig.interface.driver != "simulated":
            raise ValueError(f"got a rig with driver={rig.interface.driver!r}, not simulated")
        if rig.chain.circuit is None:
            raise DefinitionError(
                f"rig {rig.name!r} is simulated but has no chain.circuit: expected wire, tweed "
                "or drive"
            )
        self.sample_rate = rig.interface.sample_rate
        self.channels = 1 if rig.interface.loopback_channel is None else 2
        self._settings = rig.interface
        self._circuit = rig.chain.circuit
        self._controls = rig.chain.controls
        self._ceiling_dbfs = rig.maximum_send_dbfs
        self._takes = 0
        self._device()  # a control that is not there is told now, not when sound is due

    def play_record(
        self, stimulus: Iterable[np.ndarray], frames: int, on_block: OnBlock
    ) -> StreamReport:
        """Play `frames` samples through the device from rest; see `Interface`.

        Raises
        ------
        SafetyStop
            A sample is not finite or above the ceiling: it and what follows is not played.
        ValueError
            The stimulus is shorter than `frames`.
        """
        analogue = self._through_converters(self._checked(stimulus, frames))
        recorded = self._with_noise(analogue)
        sizes = set()
        blocks = 0
        for frame, samples in _cut(recorded, frames, self._settings.block_size):
            seconds = frame / self.sample_rate
            on_block(Block(samples, frame, adc_seconds=seconds, dac_seconds=seconds))
            sizes.add(len(samples))
            blocks += 1
        return StreamReport(
            driver="simulated",
            device=self._circuit,
            sample_rate=self.sample_rate,
            frames=frames,
            blocks=blocks,
            block_sizes=tuple(sorted(sizes)),
        )

    def _device(self):
        return create(self._circuit, self._controls, self.sample_rate)

    def _checked(self, stimulus, frames):
        """Exactly `frames` samples in chunks, each looked at before it is played."""
        position = 0
        for block in stimulus:
            block = np.asarray(block)[: frames - position]
            _refuse_unsafe(block, position, self._ceiling_dbfs)
            position += len(block)
            for start in range(0, len(block), CHUNK_FRAMES):
                yield block[start : start + CHUNK_FRAMES]
            if position == frames:
                return
        raise ValueError(f"got frames={frames}, but the stimulus has only {position}")

    def _through_converters(self, stimulus: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """What arrives, `(n, channels)`, without noise and without an end."""
        settings = self._settings
        device = self._device()
        gain = settings.polarity * db_to_amplitude(settings.gain_db)
        whole = round(settings.round_trip_samples)
        taps = _converter_taps(settings.round_trip_samples - whole, settings.high_cut_ratio)
        converters = [_Filter(taps, [1.0])]
        if settings.low_cut_hz > 0.0:
            coupling = signal.butter(1, settings.low_cut_hz, "highpass", fs=self.sample_rate)
            converters.append(_Filter(*coupling))
        sent = np.zeros(device.latency_samples)  # the loopback keeps step with the device

        # Device and filter lie behind by so much already: what is missing to the round trip
        # waits, and where it is too much, the recording begins later in what arrives.
        delay = whole - device.latency_samples - len(taps) // 2
        underway = np.zeros((max(delay, 0), self.channels))
        early = max(-delay, 0)
        silence = (np.zeros(CHUNK_FRAMES) for _ in itertools.count())
        for chunk in itertools.chain(stimulus, silence):
            arriving = [gain * device.process(chunk)]
            if self.channels == 2:
                sent = np.concatenate((sent, chunk))
                arriving.append(sent[: len(chunk)])
                sent = sent[len(chunk) :]
            samples = np.stack(arriving, axis=1)
            for converter in converters:
                samples = converter.process(samples)
            underway = np.concatenate((underway, samples[early:]))
            ready = len(chunk) - min(early, len(chunk))
            early -= len(chunk) - ready
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


class _Filter:
    """A linear filter over the frames of a stream of `(n, channels)`."""

    def __init__(self, numerator, denominator):
        self._coefficients = numerator, denominator
        self._memory = None

    def process(self, samples):
        if self._memory is None:
            order = max(map(len, self._coefficients)) - 1
            self._memory = np.zeros((order, samples.shape[1]))
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
