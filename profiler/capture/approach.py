"""The approach: the first sound on a rig begins too soft to hurt, and climbs while it is answered.

Nobody knows what a rig does before it was played: where the cable leads, how far the master is
up, whether the load is there. So before the first take of a session a ramp is played, from
-60 dBFS up by 6 dB a second to the level of the first marker. What comes back must be what was
sent: when nothing has answered at -40 dBFS, the sound is faded out, since whatever it is then
playing into, it is not the amp that is listened to.

The ramp is a chirp from 100 Hz to 4 kHz that comes again every half second. It has the peak factor
of a sine, and it is found by correlation more than 30 dB below the noise of its band.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import signal

from profiler.capture.watchdog import LONGEST_ROUND_TRIP, Watchdog
from profiler.errors import SafetyStop
from profiler.rig.interface import Block, Interface
from profiler.rig.rig import PortAudioInterface, Rig
from profiler.stimulus.plan import Placed, SignalPlan
from profiler.stimulus.shaping import with_fades
from profiler.units import amplitude_to_db, db_to_amplitude, rms_dbfs

START_DBFS = -60.0
CLIMB_DB_PER_SECOND = 6.0
ANSWERED_BY_DBFS = -40.0

SILENCE_SECONDS = 0.5  # before the ramp: the return's own noise
SHORTEST_RAMP_SECONDS = 1.0
FADE_SECONDS = 0.010

# Whole periods in a chirp, so that one goes over into the next.
CHIRP_SECONDS = 0.5
CHIRP_HZ = (100.0, 4000.0)

TINY = 1e-300  # keeps a dead return from being divided by nothing

# Of the correlation's peak over its median: the highest of 10 000 values of noise reaches 13 dB.
ANSWER_DB = 18.0
LOWEST_GAIN_DB = -60.0  # from send to return: less is crosstalk

MEDIAN_TO_SIGMA = 0.6745  # of the magnitudes of Gaussian noise


@dataclass(frozen=True)
class Ramp:
    """Silence, then the chirp, its peak climbing to a level; as a watchdog needs it."""

    level_dbfs: float
    sample_rate: int

    @property
    def seconds(self) -> float:
        climb_seconds = (self.level_dbfs - START_DBFS) / CLIMB_DB_PER_SECOND
        return SILENCE_SECONDS + max(climb_seconds, SHORTEST_RAMP_SECONDS)

    @property
    def frames(self) -> int:
        return round(self.seconds * self.sample_rate)

    @property
    def silent_frames(self) -> int:
        return round(SILENCE_SECONDS * self.sample_rate)

    @property
    def peak_dbfs(self) -> float:
        return self.level_dbfs

    def of_kind(self, *kinds: str) -> Iterator[Placed]:
        """It has no segments."""
        return iter(())

    def frame_at(self, level_dbfs: float) -> int:
        """First frame at which the ramp has reached a level, or its end."""
        climb_seconds = (level_dbfs - START_DBFS) / CLIMB_DB_PER_SECOND
        return min(round((SILENCE_SECONDS + climb_seconds) * self.sample_rate), self.frames)

    def samples(self) -> np.ndarray:
        """The stimulus, `(frames,)` float32."""
        t = np.arange(self.frames - self.silent_frames) / self.sample_rate
        low, high = CHIRP_HZ
        within = t % CHIRP_SECONDS
        periods = low * within + (high - low) * within**2 / (2.0 * CHIRP_SECONDS)
        level_dbfs = np.minimum(START_DBFS + CLIMB_DB_PER_SECOND * t, self.level_dbfs)
        ramp = np.sin(2.0 * np.pi * periods) * db_to_amplitude(level_dbfs)
        silence = np.zeros(self.silent_frames)
        faded = with_fades(ramp, self.sample_rate, FADE_SECONDS)
        return np.concatenate((silence, faded)).astype(np.float32)


@dataclass(frozen=True)
class Answer:
    """How the return answers to the ramp."""

    level_dbfs: float  # peak of what was sent last
    returned_dbfs: float  # RMS of what came back last
    noise_dbfs: float  # RMS, while silence was played
    confidence_db: float  # of the correlation, re its median
    gain_db: float  # from send to return, at least: of what arrives at one delay

    @property
    def plausible(self) -> bool:
        """Whether what comes back is what was sent, and more of it than crosstalk."""
        return self.confidence_db >= ANSWER_DB and self.gain_db >= LOWEST_GAIN_DB

    def sentence(self) -> str:
        """The answer in a line."""
        return (
            f"the return answers: {self.returned_dbfs:.1f} dBFS RMS at a peak of "
            f"{self.level_dbfs:.1f} dBFS, its noise is {self.noise_dbfs:.1f} dBFS RMS"
        )


def first_level_dbfs(rig: Rig, plan: SignalPlan) -> float:
    """Where the ramp leads: the level of the first marker, and never above the ceiling."""
    plan = plan.bracketed()
    first = next(plan.of_kind("marker")).segment
    return min(first.level_dbfs + plan.gain_db, rig.maximum_send_dbfs)


def approach(
    rig: Rig,
    plan: SignalPlan,
    interface: Interface,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Answer:
    """Play the quiet ramp that leads up to `plan`, and judge what comes back.

    Parameters
    ----------
    on_progress : callable, optional
        Is told the fraction that was played.

    Raises
    ------
    SafetyStop
        Nothing plausible came back by -40 dBFS, or the watchdog objected; the sound was faded out.
    InterfaceError
        As in `Interface.play_record`.
    """
    ramp = Ramp(first_level_dbfs(rig, plan), interface.sample_rate)
    stimulus = ramp.samples()
    returned = np.zeros(ramp.frames)
    judged_at = ramp.frame_at(ANSWERED_BY_DBFS)
    judged = False

    def on_block(block: Block) -> None:
        nonlocal judged
        after = block.frame + len(block.samples)
        returned[block.frame : after] = block.samples[:, 0]
        if not judged and after >= judged_at:
            judged = True
            _refuse_silence(rig, _answer(ramp, stimulus, returned[:after]))
        if on_progress is not None:
            on_progress(after / ramp.frames)

    watchdog = Watchdog(ramp)
    interface.play_record(watchdog.follow([stimulus]), ramp.frames, on_block, watchdog)
    answer = _answer(ramp, stimulus, returned)
    _refuse_silence(rig, answer)
    return answer


def _answer(ramp, stimulus, returned):
    """The answer in what came back until now."""
    silent, lags = ramp.silent_frames, round(LONGEST_ROUND_TRIP * ramp.sample_rate)
    sent = stimulus[silent : len(returned) - lags].astype(np.float64)
    correlation = np.abs(signal.fftconvolve(returned[silent:], sent[::-1], "valid"))
    peak, sigma = np.max(correlation), np.median(correlation) / MEDIAN_TO_SIGMA
    seconds = (len(returned) - silent) / ramp.sample_rate
    return Answer(
        level_dbfs=min(START_DBFS + CLIMB_DB_PER_SECOND * seconds, ramp.level_dbfs),
        returned_dbfs=_rms_without_offset(returned[-lags:]),
        noise_dbfs=_rms_without_offset(returned[:silent]),
        confidence_db=float(amplitude_to_db(peak / max(sigma, TINY))),
        gain_db=float(amplitude_to_db(peak / np.dot(sent, sent))),
    )


def _rms_without_offset(samples):
    return rms_dbfs(samples - np.mean(samples))


def _refuse_silence(rig, answer):
    if answer.plausible:
        return
    channel = rig.interface.return_channel if isinstance(rig.interface, PortAudioInterface) else 1
    raise SafetyStop(
        f"nothing but crosstalk came back up to a peak of {answer.level_dbfs:.0f} dBFS (input "
        f"channel {channel}: {answer.returned_dbfs:.1f} dBFS RMS, {answer.noise_dbfs:.1f} in "
        "silence), and the sound was faded out: check both cables, the standby switch, the amp's "
        "master, and that this is the right channel"
    )
