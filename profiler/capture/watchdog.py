"""The watchdog of a take: what comes back is looked at while it sounds, and the sound is stopped.

An amp in feedback, a return that is clipped or dead and an offset on the line do not get better by
waiting, and some of them hurt. The watchdog is a `Watch`: it sees each block in the callback in
which it comes in, and the fade begins in that same callback. It stops what is dangerous or cannot
be used; what only makes a take worse is found afterwards, by the checks.

It knows what is played by following the stimulus on its way to the interface, and by the plan:

    watchdog = Watchdog(plan)
    interface.play_record(watchdog.follow(stimulus), plan.frames, on_block, watchdog)

Conventions
-----------
Levels are RMS re full scale over windows of 50 ms, without their mean, unless they are called a
peak. The round trip is not known while a take runs: any that is shorter than `LONGEST_ROUND_TRIP`
is allowed for, so silence is judged only after that time, and a level of the return is held
against everything that may have caused it.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from profiler.errors import SafetyStop
from profiler.rig.rig import Rig
from profiler.stimulus.plan import Placed
from profiler.units import amplitude_to_db, power_to_db

TICK_SECONDS = 0.010
TICKS_PER_WINDOW = 5
LONGEST_ROUND_TRIP = 0.25  # s: 10 000 samples at 44.1 kHz are 0.23

# Clipping: some samples at a rail, in more than 50 ms out of 120. A bass note is at its rail for a
# part of each period only, the lowest not in every tick.
FULL_SCALE = 0.9999
CLIPPED_SAMPLES = 3
CLIPPED_TICKS, OF_TICKS = 6, 12
LOWEST_RAIL = 0.01  # -40 dBFS: below it equal samples are a coarse converter's steps

# Feedback: silence plays, and the return neither is as quiet as it was nor dies away.
SETTLED_WINDOWS = 3  # of silence, over which a tail is seen to fall and an offset to stay
RISE_DB = 10.0
FALL_DB = 0.5
LOWEST_FEEDBACK_DBFS = -50.0

# An offset of the return while silence plays. What an AC-coupled input still owes a loud passage
# has faded by then, or is fading.
LARGEST_OFFSET_DBFS = -50.0
STEADY_WITHIN = 0.1  # of itself

# Loss of return: less than the same level gave before, for so long.
LOSS_DB = 20.0
LOSS_WINDOWS = 6  # that a level is taken over
LOST_WINDOWS = 4
CERTAIN_WITHIN_DB = 6.0  # the stimulus, whatever the round trip: of other levels nothing is learnt
LEVEL_BIN_DB = 3.0
COMPARED_BINS = 4  # with what 0 to 12 dB less gave before
KNOWN_WINDOWS = 10  # that have been heard at such levels: half a second
LEARNT_AFTER_WINDOWS = 40  # 2 s: the fall must not become what is expected
LOWEST_JUDGED_DB = -35.0  # re the plan's peak: below it gates close and noise is all there is
LOWEST_LEVEL_DBFS = -120.0


class Played(Protocol):
    """What must be known of a stimulus: a `SignalPlan` knows it."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def frames(self) -> int: ...

    @property
    def peak_dbfs(self) -> float: ...

    def of_kind(self, *kinds: str) -> Iterator[Placed]: ...


class Watchdog:
    """Watches one pass through a stimulus; see the module.

    Parameters
    ----------
    plan : SignalPlan or another that is played
        What is known of the stimulus.
    frames : int, optional
        That are played, where it is only a stretch of the stimulus.
    begins : int
        Sample of the stimulus that is due at the first frame.
    """

    def __init__(self, plan: Played, *, frames: int | None = None, begins: int = 0):
        self._plan = plan
        self._begins = begins
        self._tick = round(TICK_SECONDS * plan.sample_rate)
        self._window = TICKS_PER_WINDOW * self._tick
        windows = -(-(plan.frames if frames is None else frames) // self._window)
        self._sent_power = np.zeros(windows)
        self._returned_power = np.zeros(windows)
        self._unjudged = np.zeros(windows, np.bool_)
        for place in plan.of_kind("sweep", "twin-tone"):
            # its level says nothing of what a filter leaves of it
            first, last = (max(at - begins, 0) // self._window for at in (place.start, place.stop))
            self._unjudged[first : last + 1] = True
        self._past = 1 + math.ceil(LONGEST_ROUND_TRIP / (TICKS_PER_WINDOW * TICK_SECONDS))

        self._frame = 0
        self._sum = self._power = 0.0  # of the window so far
        self._rails = [LOWEST_RAIL, LOWEST_RAIL]  # the highest and the lowest sample, as peaks
        self._at_rail = self._over = 0  # samples of the tick
        self._clipped: deque[bool] = deque(maxlen=OF_TICKS)
        self._quietest = math.inf  # level of any window of silence so far
        self._settled: deque[tuple[float, float]] = deque(maxlen=SETTLED_WINDOWS)  # level, offset
        self._lost_windows = 0
        self._heard: deque[tuple[int, int, float]] = (
            deque()
        )  # window, level bin, level of the return
        self._known: dict[int, tuple[int, float]] = {}  # windows, and their lowest level

    def follow(self, stimulus: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The stimulus as it is, block by block, its level noted on the way."""
        position = 0
        for block in stimulus:
            first, after = position // self._window, position + len(block)
            edges = np.arange(first, -(-after // self._window)) * self._window - position
            if len(edges):
                powers = np.add.reduceat(np.square(block, dtype=np.float64), np.maximum(edges, 0))[
                    : len(self._sent_power) - first
                ]
                self._sent_power[first : first + len(powers)] += powers / self._window
            position = after
            yield block

    def __call__(self, block: np.ndarray, frame: int) -> SafetyStop | None:
        """Look at the return, column 0 of `(frames, channels)`, as it comes in."""
        returned = block[:, 0]
        start = 0
        while start < len(returned):
            piece = returned[start : start + self._tick - self._frame % self._tick]
            start += len(piece)
            objection = self._look_at(piece)
            if objection is not None:
                return objection
        return None

    def _look_at(self, piece):
        """A piece of the return within one tick."""
        self._sum += float(np.sum(piece, dtype=np.float64))
        self._power += float(np.dot(piece, piece))
        if not math.isfinite(self._power):
            return self._stop(
                "the return holds samples that are no numbers",
                "the driver is at fault: restart it, or choose another host API",
            )
        self._look_for_rails(piece)
        self._frame += len(piece)
        if self._frame % self._tick:
            return None
        return self._end_of_tick() or (
            None if self._frame % self._window else self._end_of_window()
        )

    # -- clipping -----------------------------------------------------------------------

    def _look_for_rails(self, piece):
        """Count samples at full scale, and runs of three at the highest level ever seen."""
        extremes = float(np.max(piece)), -float(np.min(piece))
        if max(extremes) >= FULL_SCALE:
            self._over += int(np.count_nonzero(np.abs(piece) >= FULL_SCALE))
        for rail, extreme in enumerate(extremes):
            if extreme >= self._rails[rail] and extremes[0] > -extremes[1]:  # a constant is no rail
                self._rails[rail] = extreme
                equal = piece == (extreme if rail == 0 else -extreme)
                self._at_rail += int(np.count_nonzero(equal[2:] & equal[1:-1] & equal[:-2]))

    def _end_of_tick(self):
        self._clipped.append(self._at_rail > 0 or self._over >= CLIPPED_SAMPLES)
        self._at_rail = self._over = 0
        if sum(self._clipped) < CLIPPED_TICKS:
            return None
        rail_dbfs = float(amplitude_to_db(max(self._rails)))
        return self._stop(
            f"the return is clipped at {rail_dbfs:.1f} dBFS, for more than 50 ms",
            "turn the input gain of the interface or the amp's master down (if it squeals, the "
            "return feeds the send)",
        )

    # -- windows ------------------------------------------------------------------------

    def _end_of_window(self):
        offset = self._sum / self._window
        power = max(self._power / self._window - offset**2, 0.0)
        self._sum = self._power = 0.0
        now = self._frame // self._window - 1
        self._returned_power[now] = power
        if not self._sent_power[max(now - self._past, 0) : now + 1].any():
            return self._look_at_silence(max(float(power_to_db(power)), LOWEST_LEVEL_DBFS), offset)
        self._settled.clear()
        return self._look_for_loss(now)

    def _look_at_silence(self, level, offset):
        self._quietest = min(self._quietest, level)
        self._settled.append((level, offset))
        if len(self._settled) < SETTLED_WINDOWS:
            return None
        rise = level - self._quietest
        lasts = level > self._settled[0][0] - FALL_DB
        if lasts and rise > RISE_DB and level > LOWEST_FEEDBACK_DBFS:
            return self._stop(
                f"the return is at {level:.1f} dBFS RMS while silence plays, {rise:.0f} dB above "
                "its quietest, and does not die away: feedback",
                "switch direct monitoring off, mute the return in the mix that feeds the send, and "
                "turn the monitors down",
            )
        offsets = [offset for _, offset in self._settled]
        offset_dbfs = float(amplitude_to_db(offset))
        steady = max(offsets) - min(offsets) < STEADY_WITHIN * abs(offset)
        if steady and offset_dbfs > LARGEST_OFFSET_DBFS:
            return self._stop(
                f"the return has an offset of {offset_dbfs:.1f} dBFS while silence plays",
                "switch phantom power (48 V) off, and see that the input is set to line",
            )
        return None

    def _look_for_loss(self, now):
        """Hold the level of the return against what the same level of the stimulus gave before."""
        while self._heard and self._heard[0][0] < now - LEARNT_AFTER_WINDOWS:
            self._learn(*self._heard.popleft())
        first = now + 1 - self._past - LOSS_WINDOWS
        if first < 0 or self._unjudged[first : now + 1].any():
            self._lost_windows = 0
            return None
        # Whatever the round trip, the return lies behind one of these stretches of the stimulus.
        sums = np.convolve(self._sent_power[first : now + 1], np.ones(LOSS_WINDOWS), "valid")
        softest, loudest = _level(np.min(sums)), _level(np.max(sums))
        returned = _level(np.sum(self._returned_power[now + 1 - LOSS_WINDOWS : now + 1]))
        expected = -math.inf
        if softest > self._plan.peak_dbfs + LOWEST_JUDGED_DB:
            expected = self._expected(math.floor(softest / LEVEL_BIN_DB))
        lost = returned < expected - LOSS_DB
        self._lost_windows = self._lost_windows + 1 if lost else 0
        if loudest - softest < CERTAIN_WITHIN_DB:
            self._heard.append((now, math.floor(loudest / LEVEL_BIN_DB), returned))
        if self._lost_windows < LOST_WINDOWS:
            return None
        return self._stop(
            f"the return fell to {returned:.1f} dBFS RMS, where the same level gave at least "
            f"{expected:.1f} before",
            "see that no cable has come out, the amp is not in standby and its fuse is whole",
        )

    def _learn(self, _, level_bin, returned):
        windows, lowest = self._known.get(level_bin, (0, math.inf))
        self._known[level_bin] = windows + 1, min(lowest, returned)

    def _expected(self, level_bin):
        """The lowest return that up to this level of the stimulus gave before; -inf if unknown."""
        bins = range(level_bin - COMPARED_BINS + 1, level_bin + 1)
        known = [self._known[b] for b in bins if b in self._known]
        if sum(windows for windows, _ in known) < KNOWN_WINDOWS:
            return -math.inf
        return min(lowest for _, lowest in known)

    def _stop(self, seen, action):
        seconds = (self._begins + self._frame) / self._plan.sample_rate
        return SafetyStop(f"at {seconds:.2f} s {seen}: the sound was faded out; {action}")


def watched(rig: Rig) -> type[Watchdog] | None:
    """What watches the takes of a rig: a `Watchdog` where something sounds.

    In software nothing can be hurt, and a fault that was put there on purpose shall reach the
    checks.
    """
    return Watchdog if rig.interface.driver == "portaudio" else None


def _level(power):
    """Of a power summed over `LOSS_WINDOWS`; -120 dBFS stands for silence."""
    return max(float(power_to_db(power / LOSS_WINDOWS)), LOWEST_LEVEL_DBFS)
