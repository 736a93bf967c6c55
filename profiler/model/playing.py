"""Models played live through an audio interface: what `ampscope play` does.

The sound is made by `kernels.live`, in the driver's own thread. Here are the models and the impulse
response that it switches between, its gains and meters, and how long the way through it takes.

Conventions
-----------
Levels are peaks in dBFS, gains in dB. A *round trip* is from the interface's input to its output:
the same samples as from output to input over a cable, which is how it is measured. What the driver
says of its own latency is not believed.
"""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import scipy.signal
from pydantic import Field

from profiler import kernels, wav
from profiler.capture.calibration import LatencyCalibration, stored_live
from profiler.capture.calibration.validity import live_conditions
from profiler.capture.delay import matched_code
from profiler.definitions import Record
from profiler.errors import CaptureError, InterfaceError, ProfilerError, SafetyStop
from profiler.kernels.live import Convolver, Live, Load
from profiler.model.network import Network
from profiler.model.streaming import player_of
from profiler.rig.portaudio import LivePortAudio
from profiler.rig.rig import PortAudioInterface, Rig
from profiler.stimulus.marker import code, half_frames
from profiler.stimulus.plan import MARKER_CODE_SECONDS, MARKER_GAP_SECONDS
from profiler.units import amplitude_to_db, db_to_amplitude

LONGEST_IR_SECONDS = 2.0
RISE_SECONDS = 2.0  # from -40 dB to the level that was asked for

PROBE_DBFS = -20.0
PROBES = 3
LONGEST_ROUND_TRIP = 0.3  # s
PROBE_SECONDS = 2 * (MARKER_CODE_SECONDS + MARKER_GAP_SECONDS) + LONGEST_ROUND_TRIP
LEAST_CONFIDENCE_DB = 12.0  # of the probe's correlation: noise alone reaches 3
LARGEST_SPREAD = 1  # samples, from one opening of the stream to the next


class PlayedLive(Record):
    """What there is to tell after playing."""

    schema_: Literal["ampscope.play/1"] = Field(default="ampscope.play/1", alias="schema")
    device: str
    sample_rate: int
    seconds: float
    blocks: int
    block_sizes: tuple[int, int]  # least and most frames of a callback
    load_mean: float  # time taken, of the time that a block lasts
    load_p999: float
    load_highest: float
    late_blocks: int  # that took longer than they last, whoever held them up
    overloaded_blocks: int  # that computed for longer than they last: xruns of our making
    flagged_blocks: int  # with samples lost, by the driver's account
    clipped_samples: int
    input_peak_dbfs: float | None  # null: silence
    output_peak_dbfs: float | None
    round_trip_ms: float | None  # null: not measured


class Meters(NamedTuple):
    """What is to be seen while it plays."""

    input_dbfs: float  # peak since the last look
    output_dbfs: float
    load: Load
    late: int
    overloaded: int
    flagged: int
    clipped: int


class LivePlayer:
    """Models, an interface, and the knobs between them.

    Parameters
    ----------
    models : sequence of Network
        Of one sample rate, which the interface is opened at. The first one sounds.
    interface : PortAudioInterface
        `return_channel` is the instrument's input.
    outputs : sequence of int, optional
        Channels that sound, from 1; the first two, or the only one.
    impulse : (n,) array, optional
        Impulse response behind every model, at the sample rate.
    ceiling_dbfs : float
        Nothing above it comes out.

    Raises
    ------
    ProfilerError
        A model that the native kernels cannot play, or none of them are there; models of different
        or unknown rates.
    InterfaceError
        As for `LivePortAudio`.
    """

    def __init__(
        self,
        models: Sequence[Network],
        interface: PortAudioInterface,
        *,
        outputs: Sequence[int] | None = None,
        impulse: np.ndarray | None = None,
        gain_in_db: float = 0.0,
        gain_out_db: float = 0.0,
        ceiling_dbfs: float = 0.0,
        fast_tanh: bool = False,
        rise_seconds: float = RISE_SECONDS,
    ):
        self._models = tuple(models)
        self._impulse = impulse
        self._fast_tanh = fast_tanh
        self.gain_in_db, self.gain_out_db = gain_in_db, gain_out_db
        self.muted = False
        self.chosen = 0
        self._peaks = [0.0, 0.0]
        for model in self._models:
            _stream_of(model)
        self._rate = interface.sample_rate
        self.rig, self._device = opened(interface, outputs)
        self.outputs = sounding(outputs, self._device)
        self._live = Live(
            interface.sample_rate,
            inputs=self._device.inputs,
            input=interface.return_channel,
            outputs=self._device.outputs,
            to=self.outputs,
            ceiling=float(db_to_amplitude(ceiling_dbfs)),
            rise_seconds=rise_seconds,
        )
        self.turn()
        self.choose(0)

    @property
    def device(self) -> str:
        """The interface, in its own words."""
        return self._device.device

    def choose(self, number: int) -> None:
        """Switch to a model, from 0, without a click; a number that there is not is ignored."""
        if not 0 <= number < len(self._models):
            return
        self.chosen = number
        convolver = None if self._impulse is None else Convolver(self._impulse)
        self._live.play(_stream_of(self._models[number], self._fast_tanh), convolver)

    def turn(self, gain_in_db: float = 0.0, gain_out_db: float = 0.0) -> None:
        """Turn the gains by so many dB."""
        self.gain_in_db += gain_in_db
        self.gain_out_db += gain_out_db
        self._live.set_gains(
            float(db_to_amplitude(self.gain_in_db)), float(db_to_amplitude(self.gain_out_db))
        )

    def mute(self) -> None:
        """Be silent, or sound again."""
        self.muted = not self.muted
        self._live.set_muted(self.muted)

    def meters(self) -> Meters:
        """Peaks since they were last asked for, and counts from the beginning."""
        live = self._live
        now = live.take_peaks()
        self._peaks = [max(pair) for pair in zip(self._peaks, now, strict=True)]
        heard, sounding = (float(amplitude_to_db(peak)) for peak in now)
        counts = live.late, live.overloaded, live.flagged, live.clipped
        return Meters(heard, sounding, live.load, *counts)

    def run(self, look: Callable[[], bool]) -> None:
        """Play until `look`, called every 20 ms, is no longer True.

        Raises
        ------
        SafetyStop
            The output stood at the ceiling for half a second, or held an offset.
        InterfaceError
            The stream cannot be opened, the driver stalled, or gave what is no number.
        ProfilerError
            The model gave what is no number.
        KeyboardInterrupt
            Ctrl-C. In every case the sound was faded out.
        """

        def looked():
            self._live.free_old()
            return look()

        self._device.run(self._live, looked)
        _raise_what_ended_it(self._live.ending)

    def told(self) -> PlayedLive:
        """What happened so far."""
        self.meters()
        live = self._live
        trip = round_trip_seconds(self.rig, self._rate)
        peaks = [float(amplitude_to_db(peak)) if peak > 0.0 else None for peak in self._peaks]
        return PlayedLive(
            device=self.device,
            sample_rate=self._rate,
            seconds=live.frames / self._rate,
            blocks=live.blocks,
            block_sizes=live.block_sizes,
            load_mean=live.load.mean,
            load_p999=live.load.high,
            load_highest=live.load.highest,
            late_blocks=live.late,
            overloaded_blocks=live.overloaded,
            flagged_blocks=live.flagged,
            clipped_samples=live.clipped,
            input_peak_dbfs=peaks[0],
            output_peak_dbfs=peaks[1],
            round_trip_ms=None if trip is None else 1e3 * trip,
        )


def opened(
    interface: PortAudioInterface, outputs: Sequence[int] | None
) -> tuple[Rig, LivePortAudio]:
    """The interface with all channels that are asked for, as a rig and as a way to play."""
    if outputs is not None:
        interface = interface.model_copy(update={"send_channel": max(outputs)})
    rig = Rig(name="live", maximum_send_dbfs=0.0, interface=interface)
    return rig, LivePortAudio(interface)


def sample_rate_of(models: Sequence[Network], names: Sequence[str]) -> int:
    """The one rate of all models.

    Raises
    ------
    ProfilerError
        They have several, or one has none.
    """
    rates: dict[int, str] = {}
    for model, name in zip(models, names, strict=True):
        if model.sample_rate is None:
            raise ProfilerError(
                f"{name}: does not say at what sample rate it was trained: say it with --rate"
            )
        rates.setdefault(model.sample_rate, name)
    if len(rates) > 1:
        several = " and ".join(f"{name} at {rate} Hz" for rate, name in rates.items())
        raise ProfilerError(f"models of one sample rate can be switched, got {several}")
    return next(iter(rates))


def impulse_of(path: Path, sample_rate: int) -> tuple[np.ndarray, int]:
    """An impulse response for `sample_rate`, `(n,)` float32, and the rate that its file has.

    Another rate is brought to this one. Of several channels, the first one is taken.

    Raises
    ------
    CaptureError
        No such file, longer than 2 s, or silent.
    """
    header = wav.header(path)
    if header.frames > LONGEST_IR_SECONDS * header.sample_rate:
        raise CaptureError(
            f"{path}: lasts {header.frames / header.sample_rate:.1f} s, expected an impulse "
            f"response of at most {LONGEST_IR_SECONDS:g} s: cut it, or is it a recording?"
        )
    samples, rate = wav.read(path)
    impulse = samples[:, 0].astype(np.float64)
    if not np.any(impulse):
        raise CaptureError(f"{path}: is silent, expected an impulse response")
    if rate != sample_rate:
        step = np.gcd(rate, sample_rate)
        impulse = scipy.signal.resample_poly(impulse, sample_rate // step, rate // step)
        impulse *= rate / sample_rate  # the gain of a sum over samples stays
    return impulse.astype(np.float32), rate


def measure_round_trip(
    interface: PortAudioInterface, *, outputs: Sequence[int] | None = None
) -> tuple[Rig, LatencyCalibration]:
    """Measure the round trip of live playing over a cable from the output to the input.

    A marker of -20 dBFS is played through a stream like that of playing, three times, each opened
    anew.

    Raises
    ------
    CaptureError
        Nothing came back, or the trips differ.
    InterfaceError
        As for `LivePortAudio`.
    """
    rig, device = opened(interface, outputs)
    rate = interface.sample_rate
    burst = code("live", "round trip", rate)
    half = half_frames(rate)
    longest = round(LONGEST_ROUND_TRIP * rate)
    probe = np.zeros(2 * half + longest)
    probe[: len(burst)] = burst
    probe[half : half + len(burst)] = -burst
    found, signs, sizes = [], [], set()
    for _ in range(PROBES):
        live = Live(
            rate,
            inputs=device.inputs,
            input=interface.return_channel,
            outputs=device.outputs,
            to=sounding(outputs, device),
        )
        live.measure(db_to_amplitude(PROBE_DBFS) * probe)
        device.run(live, lambda: True)
        _raise_what_ended_it(live.ending)
        returned = live.measured()
        at, confidence = matched_code(burst, returned, rate, 0, longest)
        if confidence < LEAST_CONFIDENCE_DB:
            raise CaptureError(
                f"no probe came back within {1e3 * LONGEST_ROUND_TRIP:.0f} ms on input channel "
                f"{interface.return_channel}: put a cable from the output straight to the input"
            )
        found.append(at)
        signs.append(np.sign(np.dot(returned[at : at + len(burst)], burst)))
        sizes |= set(live.block_sizes)
    if max(found) - min(found) > LARGEST_SPREAD:
        raise CaptureError(
            f"the round trip changed from {min(found)} to {max(found)} samples when the stream was "
            "opened again: close other programs that use the interface, or fix its block size"
        )
    return rig, LatencyCalibration(
        conditions=live_conditions(rig),
        round_trip_samples=float(np.median(found)),
        spread_samples=float(max(found) - min(found)),
        repeats=PROBES,
        polarity=1 if np.sum(signs) > 0 else -1,
        block_sizes=tuple(sorted(sizes)),
        created_utc=datetime.datetime.now(datetime.UTC),
    )


def round_trip_seconds(rig: Rig, sample_rate: int) -> float | None:
    """The round trip that was measured for live playing under these conditions, if it was."""
    known = stored_live(rig)
    return None if known is None else known.round_trip_samples / sample_rate


def sounding(outputs: Sequence[int] | None, device: LivePortAudio) -> tuple[int, ...]:
    """The output channels that sound: those that are asked for, or the first two."""
    return tuple(range(1, min(2, device.outputs) + 1)) if outputs is None else tuple(outputs)


def _stream_of(model, fast_tanh=False) -> kernels.Stream:
    """The model, begun after silence; a `ProfilerError` says why it is not played live."""
    hindrance = kernels.why_not()
    if hindrance is not None:
        raise ProfilerError(f"live playing is done by the native kernels alone, and {hindrance}")
    stream = player_of(model, fast_tanh=fast_tanh)
    if isinstance(stream, kernels.Stream):
        return stream
    raise ProfilerError(
        f"a {type(model).__name__} network is not played live: the native kernels do not have it "
        "(ampscope render plays it over a file)"
    )


def _raise_what_ended_it(ending):
    if ending == "clipped":
        raise SafetyStop(
            "the output stood at the ceiling for half a second, as in feedback: the sound was "
            "faded out; turn --gain-out down, the monitors too, and direct monitoring off"
        )
    if ending == "offset":
        raise SafetyStop(
            "the output held an offset of more than -20 dBFS for a second: the sound was faded "
            "out; this model is not one to play"
        )
    if ending == "input-not-finite":
        raise InterfaceError(
            "the driver delivered samples that are no numbers: restart it, or choose another host "
            "API"
        )
    if ending == "output-not-finite":
        raise ProfilerError("the model's output is no number: train or export it again")
