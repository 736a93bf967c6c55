"""Setting the level before a take: is the return loud enough, and has it room to spare?

A return that clips is lost, and one that is too quiet lies in the converter's noise. Between the
two is room: the loudest note of a take should come back between -12 and -3 dBFS. What is played for
it is guitar, quiet first, that rises to the peak of the take; an amp compresses, so the level at
full send cannot be reckoned from a quieter one.

Conventions
-----------
Peaks in dBFS, noise RMS re an RMS of 1.0. A change of gain is positive where it should go up.
"""

from dataclasses import dataclass

import numpy as np

from profiler.stimulus.plan import Guitar, SignalDefinition, SignalPlan, Silence
from profiler.units import peak_dbfs, power_to_db

TARGET_DBFS = (-12.0, -3.0)  # where the loudest peak of the return should lie
SILENT_DBFS = -70.0  # a peak below it is crosstalk, or nothing
CLIPPED_DBFS = -0.05  # full scale, but for rounding
CLIPPED_RUN = 6  # equal samples at the extreme: cut off below full scale, by whatever comes before
CLIPPED_ABOVE_DBFS = -40.0  # quieter, and coarse converters repeat a value at every crest
CLIPPED_CHANGE_DB = -10.0  # how much too loud it is cannot be seen; look again after this
SMALLEST_RANGE_DB = 40.0  # between noise and peak: below it the model learns the noise

REST_SECONDS = 1.0  # of silence before the first note, in which noise is measured
REST_LEFT_OUT_SECONDS = 0.2  # of it, at its beginning: drivers click
PASSAGE_SECONDS = 4.0
QUIETER_DB = (-24.0, -12.0)  # passages before the one at the peak of the take
SLOT_SECONDS = 0.05  # that the meter keeps as one, however small the driver's blocks
SHOWN_SECONDS = 0.3  # over which it shows the peak
LATEST_SECONDS = 0.3  # by which the return may lie behind


@dataclass(frozen=True)
class LevelAdvice:
    """How the return lies between noise and clipping, and what to turn."""

    peak_dbfs: float
    noise_rms_dbfs: float
    clipped: bool
    change_db: float  # of the input's gain; 0 where it is right
    advice: str

    @property
    def headroom_db(self) -> float:
        """From the peak to full scale; none where it is cut off already."""
        return 0.0 if self.clipped else -self.peak_dbfs

    @property
    def range_db(self) -> float:
        """From the noise to the peak."""
        return self.peak_dbfs - self.noise_rms_dbfs


def judge(
    peak_dbfs: float,
    noise_rms_dbfs: float,
    *,
    clipped: bool = False,
    target: tuple[float, float] = TARGET_DBFS,
) -> LevelAdvice:
    """What to turn, and by how many decibels, so that the peak lies within `target`.

    Parameters
    ----------
    peak_dbfs : float
        The highest peak of the return while the loudest passage plays.
    noise_rms_dbfs : float
        Of the return while nothing plays.
    clipped : bool
        Whether the return is cut off, at full scale or below.
    target : (lowest, highest)
        In dBFS; a gain that is wrong is brought to its middle.
    """
    lowest, highest = target
    change_db = 0.0
    if clipped:
        change_db = CLIPPED_CHANGE_DB
        advice = f"clipped: lower the input gain by {-change_db:.0f} dB, and look again"
    elif peak_dbfs < SILENT_DBFS or peak_dbfs < noise_rms_dbfs:
        advice = "nothing comes back: check cable and channel, standby and master volume"
    elif not lowest <= peak_dbfs <= highest:
        change_db = (lowest + highest) / 2.0 - peak_dbfs
        turn = "raise" if change_db > 0.0 else "lower"
        advice = f"{turn} the input gain by {abs(change_db):.0f} dB"
    elif peak_dbfs - noise_rms_dbfs < SMALLEST_RANGE_DB:
        short_db = SMALLEST_RANGE_DB - (peak_dbfs - noise_rms_dbfs)
        advice = (
            f"the level is right but noisy: {short_db:.0f} dB more from the device (its output or "
            "master), and as much less input gain"
        )
    else:
        advice = "the level is right"
    return LevelAdvice(peak_dbfs, noise_rms_dbfs, clipped, change_db, advice)


def level_plan(plan: SignalPlan, seconds: float) -> SignalPlan:
    """What to play before a take of `plan`: silence, then guitar that rises to its peak.

    The same passage again and again, the first times quiet; `seconds` in all, or a little more.
    """
    passages = [*QUIETER_DB, 0.0]
    while REST_SECONDS + PASSAGE_SECONDS * len(passages) < seconds:
        passages.append(0.0)
    first_loud = len(QUIETER_DB) + 1
    rest = Silence(name="rest", kind="silence", use="analyse", seconds=REST_SECONDS)
    guitars = tuple(
        Guitar(
            name=f"passage {number}",
            kind="guitar",
            use="analyse",
            seconds=PASSAGE_SECONDS,
            level_dbfs=plan.peak_dbfs + quieter_db,
            lowest_db=-6.0,
            replicate_of=f"passage {first_loud}" if number > first_loud else None,
        )
        for number, quieter_db in enumerate(passages, start=1)
    )
    definition = SignalDefinition(name="level", segments=(rest, *guitars))
    return definition.plan(plan.sample_rate)


@dataclass(frozen=True)
class _Slot:
    """What the meter keeps of a moment."""

    number: int
    peak_dbfs: float
    cut_off: bool


class Meter:
    """A meter of the return, fed with the blocks of a take of `level_plan`.

    It looks back over one passage, so that it follows a knob that is being turned.
    """

    def __init__(self, sample_rate: int):
        self._rate = sample_rate
        self._frames = 0
        self._noise_power, self._noise_frames = 0.0, 0
        self._slots: list[_Slot] = []

    def add(self, samples: np.ndarray) -> None:
        """Look at a block of the return, `(n,)`."""
        start, stop = (round(s * self._rate) for s in (REST_LEFT_OUT_SECONDS, REST_SECONDS))
        at_rest = samples[max(start - self._frames, 0) : max(stop - self._frames, 0)]
        self._noise_power += float(np.sum(np.square(at_rest, dtype=np.float64)))
        self._noise_frames += len(at_rest)
        self._frames += len(samples)
        number = int(self._frames / (SLOT_SECONDS * self._rate))
        slot = _Slot(number, peak_dbfs(samples), is_cut_off(samples))
        if self._slots and self._slots[-1].number == number:
            last = self._slots.pop()
            level = max(last.peak_dbfs, slot.peak_dbfs)
            slot = _Slot(number, level, last.cut_off or slot.cut_off)
        self._slots.append(slot)
        self._slots = self._latest(PASSAGE_SECONDS)

    @property
    def noise_rms_dbfs(self) -> float:
        """Of the silence at the beginning; -inf until it was heard."""
        if self._noise_power == 0.0:
            return -np.inf
        return float(power_to_db(self._noise_power / self._noise_frames))

    @property
    def peak_dbfs(self) -> float:
        """Of the last moment."""
        return max((slot.peak_dbfs for slot in self._latest(SHOWN_SECONDS)), default=-np.inf)

    @property
    def highest_dbfs(self) -> float:
        """Of the last passage."""
        return max((slot.peak_dbfs for slot in self._slots), default=-np.inf)

    @property
    def clipped(self) -> bool:
        """Whether the last passage was cut off."""
        return any(slot.cut_off for slot in self._slots)

    def advice(self) -> LevelAdvice | None:
        """What to turn; None until the loud passage was heard, unless the return clips already."""
        quiet = REST_SECONDS + PASSAGE_SECONDS * (len(QUIETER_DB) + 1) - LATEST_SECONDS
        if self._frames < quiet * self._rate and not self.clipped:
            return None
        return judge(self.highest_dbfs, self.noise_rms_dbfs, clipped=self.clipped)

    def _latest(self, seconds):
        oldest = self._slots[-1].number - round(seconds / SLOT_SECONDS) if self._slots else 0
        return [slot for slot in self._slots if slot.number > oldest]


def is_cut_off(samples: np.ndarray) -> bool:
    """Whether a block of music is cut off: it reaches full scale, or stays at its extreme."""
    level = peak_dbfs(samples)
    if level >= CLIPPED_DBFS:
        return True
    if level < CLIPPED_ABOVE_DBFS or len(samples) < CLIPPED_RUN:
        return False
    return any(_longest_run(rail == np.max(rail)) >= CLIPPED_RUN for rail in (samples, -samples))


def _longest_run(flags):
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return int(np.max(edges[1::2] - edges[::2], initial=0))
