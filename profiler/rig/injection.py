"""Faults on the sound's way: where each lies, and how they get into a recorded pair.

The simulated interface lets its stream through the stages at the place where each belongs. A
recorded pair is a stream of one pass, in which all lie one after the other: what befell the send
or the device is done to what came back, as if the pair came from a loop.
"""

import functools
import itertools
from collections.abc import Iterable, Mapping

import numpy as np
from scipy import signal

from profiler.errors import DefinitionError
from profiler.rig.faults import Fault, FaultName
from profiler.rig.scene import Chunks, PlacedFault, Scene, Tap
from profiler.rig.stages import STAGES
from profiler.stimulus.plan import SignalPlan
from profiler.units import db_to_amplitude

# Where a fault lies on the sound's way, and in what order.
STIMULUS: tuple[FaultName, ...] = ("wrong-stimulus",)
SEND: tuple[FaultName, ...] = (
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
PLACES = (STIMULUS, SEND, DEVICE_INPUT, DEVICE_OUTPUT, LOOP, RETURN, COMPUTER)

# The loopback channel and the DI have none of these.
OF_THE_RETURN_ALONE = frozenset((*DEVICE_INPUT, *DEVICE_OUTPUT, *RETURN))
INSTEAD_OF_THE_DEVICE: frozenset[FaultName] = frozenset(("bypass", "no-signal"))
HEARS_THE_SEND = INSTEAD_OF_THE_DEVICE | {"direct-monitoring"}
NEEDS_THE_LAG = INSTEAD_OF_THE_DEVICE | {"truncated", "wrong-stimulus"}
OF_A_FINISHED_FILE = ("normalised", "over-full-scale", "stereo", "tail")  # of file-hygiene

LAG_SECONDS = 30.0  # of the take in which its lag is looked for
OVER_FULL_SCALE_DB = 3.0
OTHER_SIDE_GAIN, OTHER_SIDE_FRAMES = 0.7, 7  # of a stereo file's right against its left
TAIL_SECONDS = 2.0
MIRRORED_SECONDS = 0.25


def pass_through(
    chunks: Chunks,
    names: Iterable[FaultName],
    faults: Mapping[FaultName, Fault],
    scene: Scene,
) -> Chunks:
    """A stream with those of `faults` that are among `names`, in that order."""
    for name in names:
        if name in faults:
            columns = slice(0, 1) if name in OF_THE_RETURN_ALONE else slice(None)
            placed = PlacedFault(name, faults[name], scene, columns)
            chunks = STAGES[name](placed, filter(len, chunks))
    return chunks


def refuse_what_needs_a_file(faults: Mapping[FaultName, Fault]) -> None:
    """A `DefinitionError` for what can be done to a finished file only, not in a stream."""
    variant = _export(faults)
    if variant in OF_A_FINISHED_FILE:
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
    clean = np.array(recorded, dtype=np.float64)
    columns = clean.reshape(len(clean), -1)
    pair = _Pair(plan, np.asarray(stimulus, dtype=np.float64), columns)
    chunks: Chunks = itertools.chain([columns], _mirrored_end(columns, plan.sample_rate))
    for name in itertools.chain(*PLACES):
        if name in faults:
            chunks = pass_through(chunks, (name,), faults, pair.scene(name))
    out = _exported(_first(chunks, len(columns)), _export(faults), pair)
    return out[:, 0] if clean.ndim == out.shape[1] == 1 else out


class _Pair:
    """What is known of a recorded pair, each found when it is first needed."""

    def __init__(self, plan, stimulus, columns):
        self._plan = plan
        self._stimulus = stimulus
        self._columns = columns
        self.sample_rate = plan.sample_rate

    def scene(self, name):
        lag = self.lag if name in NEEDS_THE_LAG else 0
        sent = None
        if name in HEARS_THE_SEND:
            sent = Tap(lag)
            sent.write(self._stimulus)
        sounds_from, sounds_to = self.sounds
        return Scene(
            sample_rate=self.sample_rate,
            frames=len(self._columns),
            full_scale=self.full_scale,
            sent=sent,
            floor_rms=self.floor_rms,
            lag=lag,
            sounds_from=lag + sounds_from,
            sounds_to=lag + sounds_to,
        )

    @functools.cached_property
    def sounds(self):
        """First sample of the stimulus that sounds, and one after the last."""
        sounding = np.flatnonzero(self._stimulus)
        return (int(sounding[0]), int(sounding[-1]) + 1) if len(sounding) else (0, 0)

    @functools.cached_property
    def full_scale(self):
        """Peaks of the columns re the stimulus's: right for a loop."""
        tiny = np.finfo(float).tiny
        peaks = np.max(np.abs(self._columns), axis=0, initial=tiny)
        return peaks / np.max(np.abs(self._stimulus), initial=tiny)

    @functools.cached_property
    def lag(self):
        """Whole samples from the send to the last column, the loopback where there is one."""
        frames = min(len(self._stimulus), len(self._columns), round(LAG_SECONDS * self.sample_rate))
        correlation = signal.correlate(
            self._columns[:frames, -1], self._stimulus[:frames], method="fft"
        )
        return max(0, int(np.argmax(np.abs(correlation))) - (frames - 1))

    @functools.cached_property
    def floor_rms(self):
        """Of the return in the later half of the plan's quietest silence, without its DC."""
        return float(
            min(
                (
                    np.std(self._columns[(p.start + p.stop) // 2 : p.stop, 0])
                    for p in self._plan.of_kind("silence")
                    if p.stop <= len(self._columns)
                ),
                default=0.0,
            )
        )


def _mirrored_end(columns, sample_rate):
    """The end there and back for ever: the noise goes on, and is never zero."""
    piece = columns[-min(len(columns), round(MIRRORED_SECONDS * sample_rate)) :]
    return itertools.cycle((piece[::-1], piece))


def _first(chunks, frames):
    """The first frames of a stream as one array."""
    parts = []
    while frames > 0:
        parts.append(next(chunks)[:frames])
        frames -= len(parts[-1])
    return np.concatenate(parts)


def _export(faults):
    return faults["file-hygiene"].variant if "file-hygiene" in faults else None


def _exported(columns, variant, pair):
    """What is done to a finished file."""
    match variant:
        case "normalised":
            return columns / np.max(np.abs(columns))
        case "over-full-scale":
            return columns * (db_to_amplitude(OVER_FULL_SCALE_DB) / np.max(np.abs(columns)))
        case "stereo":
            right = OTHER_SIDE_GAIN * np.roll(columns[:, :1], OTHER_SIDE_FRAMES, axis=0)
            return np.concatenate((columns[:, :1], right, columns[:, 1:]), axis=1)
        case "tail":
            shape = round(TAIL_SECONDS * pair.sample_rate), columns.shape[1]
            tail = pair.floor_rms * np.random.default_rng(0).standard_normal(shape)
            return np.concatenate((columns, tail))
        case _:
            return columns
