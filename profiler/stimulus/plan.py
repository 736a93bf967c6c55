"""The plan of a stimulus: what every sample is played for.

A definition (`signals/*.toml`) is a list of segments. At a sample rate it becomes a
`SignalPlan`, in which every segment has its first sample and its length. Nothing is ever
recognised in a recording afterwards, and the split into training, validation and test
follows the plan.

Conventions
-----------
`level_dbfs` is the peak of a segment. Times are in seconds, frequencies in Hz.
Sample 0 is the first sample of the stimulus.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from profiler.definitions import Record, find
from profiler.units import db_to_amplitude

Use = Literal["align", "analyse", "train", "validate", "test"]

SAMPLE_RATES = (44_100, 48_000, 88_200, 96_000, 192_000)

# A marker plays its code, then the same code inverted, each followed by a gap in which
# the device may ring: what a device adds evenly (offset, even harmonics) cancels.
MARKER_CODE_SECONDS = 0.2
MARKER_GAP_SECONDS = 0.05

REFERENCE_SECONDS = 1.0
PROBE_TONE_SECONDS = 0.3
PROBE_GAP_SECONDS = 0.1  # of silence before and after the tone of a probe
LEAST_SEPARATION = 0.2  # of a pump's probe from its harmonics, in multiples of its frequency
REST_SECONDS = 0.5  # before the last probe: an amp is itself again after what was played

# Of the odd multisine: whole samples at every rate. Its lines are 2 Hz apart.
ODD_PERIOD_SECONDS = 0.5

# Of the frequencies of a twin tone: in a tenth of a second whole periods and whole samples.
TWIN_TONE_GRID_HZ = 10.0

Seconds = Annotated[float, Field(gt=0.0, le=36_000.0)]
Frequency = Annotated[float, Field(gt=0.0, le=96_000.0)]


class _Segment(Record):
    name: str = Field(description="name of the segment, once in a plan")
    use: Use = Field(description="what it is played for: align, analyse, train, validate or test")
    level_dbfs: float = Field(default=0.0, le=0.0, description="peak level, dBFS")
    seed: int = Field(default=0, ge=0, description="draws the same random material for one seed")
    replicate_of: str | None = Field(
        default=None, description="an earlier segment that this one plays again, sample by sample"
    )


class _Lasting(_Segment):
    seconds: Seconds = Field(description="length in seconds")

    @property
    def duration(self) -> float:
        return self.seconds


class Silence(_Lasting):
    """Nothing: the device's own noise is heard, and it comes to rest."""

    kind: Literal["silence"]


class Marker(_Segment):
    """A coded wideband burst in both polarities, by which a take is aligned."""

    kind: Literal["marker"]

    @property
    def duration(self) -> float:
        return 2 * (MARKER_CODE_SECONDS + MARKER_GAP_SECONDS)


class Sine(_Lasting):
    """A steady tone."""

    kind: Literal["sine"]
    frequency: Frequency = Field(default=440.0, description="in Hz")
    fade_seconds: Seconds = Field(default=0.005, description="of raised-cosine fade at both ends")


class Reference(_Segment):
    """A tone of one second and known level: is the calibration still true?"""

    kind: Literal["reference"]
    frequency: Frequency = Field(default=1000.0, description="in Hz")

    @property
    def duration(self) -> float:
        return REFERENCE_SECONDS


class Probe(_Segment):
    """A short tone that a take repeats, each time the same: does the device stay as it is?

    Silence, the tone, silence; it is measured when what sounded before has settled.
    """

    kind: Literal["probe"]
    frequency: Frequency = Field(default=1000.0, description="in Hz")

    @property
    def duration(self) -> float:
        return PROBE_TONE_SECONDS + 2 * PROBE_GAP_SECONDS


class Burst(_Segment):
    """Silence, a tone, silence: how long does the device take to settle, and to rest?"""

    kind: Literal["burst"]
    frequency: Frequency = Field(default=440.0, description="in Hz")
    before_seconds: Seconds = Field(default=1.0, description="silence before the tone")
    tone_seconds: Seconds = Field(default=1.0, description="length of the tone")
    after_seconds: Seconds = Field(default=1.0, description="silence after the tone")

    @property
    def duration(self) -> float:
        return self.before_seconds + self.tone_seconds + self.after_seconds


class Pump(_Segment):
    """A burst over a soft probe that sounds throughout: when is the gain itself again?

    `level_dbfs` is the peak of the two together. After the burst only the probe is heard, and how
    large it comes back is the gain of the device from moment to moment.
    """

    kind: Literal["pump"]
    frequency: Frequency = Field(default=440.0, description="of the burst, in Hz")
    probe_frequency: Frequency = Field(
        default=3300.0, description="of the probe, in Hz: midway between two harmonics of the burst"
    )
    probe_dbfs: float = Field(default=-45.0, le=0.0, description="peak of the probe, dBFS")
    before_seconds: Seconds = Field(default=0.6, description="probe alone before the burst")
    tone_seconds: Seconds = Field(default=1.0, description="length of the burst")
    after_seconds: Seconds = Field(default=1.2, description="probe alone after the burst")

    @property
    def duration(self) -> float:
        return self.before_seconds + self.tone_seconds + self.after_seconds

    @property
    def separation_hz(self) -> float:
        """From the probe to the nearest harmonic of the burst."""
        return abs(
            self.probe_frequency - self.frequency * round(self.probe_frequency / self.frequency)
        )

    @model_validator(mode="after")
    def _is_told_apart(self) -> Self:
        if self.probe_dbfs >= self.level_dbfs:
            raise ValueError(f"probe_dbfs must lie below level_dbfs {self.level_dbfs:g}")
        least = LEAST_SEPARATION * self.frequency
        if self.probe_frequency < self.frequency or self.separation_hz < least:
            midway = (max(math.floor(self.probe_frequency / self.frequency), 1) + 0.5) * (
                self.frequency
            )
            raise ValueError(
                f"probe_frequency must lie at least {least:g} Hz from every harmonic of frequency "
                f"{self.frequency:g}, above the first: {midway:g} does"
            )
        return self


class Sweep(_Segment):
    """A synchronised exponential sweep (Novak et al., JAES 63(10), 2015), then silence."""

    kind: Literal["sweep"]
    seconds: Seconds = Field(description="length of the sweep, rounded as synchronism needs")
    start_hz: Frequency = Field(default=20.0, description="first frequency")
    stop_hz: Frequency = Field(default=20_000.0, description="last frequency")
    after_seconds: float = Field(default=0.5, ge=0.0, description="silence in which it rings out")
    direction: Literal["up", "down"] = Field(
        default="up", description="down is the same sweep played backwards, then the silence"
    )

    @property
    def rate_constant(self) -> float:
        """L of the paper, eq. 24: whole periods of the first frequency."""
        octaves = math.log(self.stop_hz / self.start_hz)
        return max(1, round(self.start_hz * self.seconds / octaves)) / self.start_hz

    @property
    def sweep_seconds(self) -> float:
        """True length of the sweep itself, L ln(f2/f1)."""
        return self.rate_constant * math.log(self.stop_hz / self.start_hz)

    @property
    def duration(self) -> float:
        return self.sweep_seconds + self.after_seconds

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.stop_hz <= self.start_hz:
            raise ValueError(f"stop_hz must lie above start_hz {self.start_hz:g}")
        return self


class _Climbing(_Lasting):
    """What plays at several levels one after the other, each equally long."""

    lowest_dbfs: float = Field(default=-60.0, le=0.0, description="peak of the first step, dBFS")
    steps: int = Field(default=13, ge=2, description="number of levels")

    @property
    def levels_dbfs(self) -> tuple[float, ...]:
        """Peak of every step, the softest first."""
        rise_db = (self.level_dbfs - self.lowest_dbfs) / (self.steps - 1)
        return tuple(self.lowest_dbfs + rise_db * step for step in range(self.steps))

    @property
    def step_seconds(self) -> float:
        return self.seconds / self.steps

    @model_validator(mode="after")
    def _climbs(self) -> Self:
        if self.lowest_dbfs >= self.level_dbfs:
            raise ValueError(f"lowest_dbfs must lie below level_dbfs {self.level_dbfs:g}")
        return self


class Staircase(_Climbing):
    """A tone whose level climbs in equal steps up to `level_dbfs`."""

    kind: Literal["staircase"]
    frequency: Frequency = Field(default=440.0, description="in Hz")


class TwinTone(_Climbing):
    """Two tones at once, whose level climbs in equal steps: what do they make between them?

    `level_dbfs` is the sum of both peaks in the last step.
    """

    kind: Literal["twin-tone"]
    first_hz: Frequency = Field(default=60.0, description="the lower frequency, a multiple of 10")
    second_hz: Frequency = Field(default=7000.0, description="the higher one, a multiple of 10")
    ratio: float = Field(
        default=4.0, gt=0.0, description="amplitude of the first tone re the second"
    )

    @model_validator(mode="after")
    def _frequencies_fit(self) -> Self:
        if self.second_hz <= self.first_hz:
            raise ValueError(f"second_hz must lie above first_hz {self.first_hz:g}")
        for frequency in (self.first_hz, self.second_hz):
            if frequency % TWIN_TONE_GRID_HZ:
                raise ValueError(
                    f"first_hz and second_hz must be multiples of {TWIN_TONE_GRID_HZ:g}, got "
                    f"{frequency:g}"
                )
        return self


class LevelStep(_Segment):
    """A soft tone that is loud for a while, with no step in its phase: attack and release."""

    kind: Literal["level-step"]
    frequency: Frequency = Field(default=440.0, description="in Hz")
    soft_dbfs: float = Field(le=0.0, description="peak before the step up and after the step down")
    before_seconds: Seconds = Field(default=0.5, description="of the soft tone before")
    loud_seconds: Seconds = Field(default=0.8, description="of the loud tone")
    after_seconds: Seconds = Field(default=0.8, description="of the soft tone after")

    @property
    def duration(self) -> float:
        return self.before_seconds + self.loud_seconds + self.after_seconds

    @model_validator(mode="after")
    def _steps_up(self) -> Self:
        if self.soft_dbfs >= self.level_dbfs:
            raise ValueError(f"soft_dbfs must lie below level_dbfs {self.level_dbfs:g}")
        return self


class Multisine(_Lasting):
    """Random-phase multisines, their fundamentals and levels changing now and then."""

    kind: Literal["multisine"]
    lowest_db: float = Field(
        default=-35.0, le=0.0, description="quietest passage, dB re level_dbfs"
    )
    odd_only: bool = Field(
        default=False,
        description="one steady multisine of odd lines, for the best linear approximation",
    )
    realisations: int = Field(
        default=1,
        ge=1,
        description="of the odd multisine: so many one after the other, their phases drawn anew",
    )

    @model_validator(mode="after")
    def _realisations_fit(self) -> Self:
        periods = self.seconds / self.realisations / ODD_PERIOD_SECONDS
        if self.realisations > 1 and not self.odd_only:
            raise ValueError("realisations are those of an odd multisine: set odd_only = true")
        if self.realisations > 1 and (periods < 2 or abs(periods - round(periods)) > 1e-6):
            raise ValueError(
                f"{self.realisations} realisations take {self.realisations} times two or more "
                f"whole periods of {ODD_PERIOD_SECONDS:g} s, got seconds = {self.seconds:g}"
            )
        return self


class Noise(_Lasting):
    """Pink-like noise of changing tone colour under a random level envelope."""

    kind: Literal["noise"]
    lowest_db: float = Field(
        default=-40.0, le=0.0, description="quietest passage, dB re level_dbfs"
    )


class Guitar(_Lasting):
    """A synthetic electric guitar, straight from its jack."""

    kind: Literal["guitar"]
    lowest_db: float = Field(default=-35.0, le=0.0, description="quietest note, dB re level_dbfs")


class File(_Lasting):
    """The user's own DI, or any other recording."""

    kind: Literal["file"]
    path: str = Field(description="a mono WAV file; a relative path starts at the definition")
    offset_seconds: float = Field(default=0.0, ge=0.0, description="where in the file it begins")


Segment = Annotated[
    Silence
    | Marker
    | Sine
    | Reference
    | Probe
    | Burst
    | Pump
    | Sweep
    | Staircase
    | TwinTone
    | LevelStep
    | TwinTone
    | Multisine
    | Noise
    | Guitar
    | File,
    Field(discriminator="kind"),
]


class _Signal(Record):
    name: str = Field(description="name of the signal")
    version: int = Field(default=1, ge=1, description="raised whenever its samples change")
    description: str = Field(default="", description="what it is for, in a line")
    seed: int = Field(default=0, ge=0, description="of all its random material")
    segments: tuple[Segment, ...] = Field(min_length=1, description="what is played, in order")

    @model_validator(mode="after")
    def _names_are_unique_and_replicates_known(self) -> Self:
        seen: dict[str, Segment] = {}
        for segment in self.segments:
            if segment.name in seen:
                raise ValueError(f"two segments are named {segment.name!r}")
            original = seen.get(segment.replicate_of or "")
            if segment.replicate_of and original is None:
                raise ValueError(
                    f"segment {segment.name!r} replicates {segment.replicate_of!r}, which does "
                    "not stand before it"
                )
            if original is not None and _essence(original) != _essence(segment):
                raise ValueError(
                    f"segment {segment.name!r} replicates {original.name!r} but differs from it"
                )
            seen[segment.name] = segment
        return self


class SignalDefinition(_Signal):
    """A stimulus as written in `signals/*.toml`, for any sample rate."""

    def plan(self, sample_rate: int, *, gain_db: float = 0.0) -> "SignalPlan":
        """The definition at a sample rate, the whole of it played at `gain_db`."""
        return SignalPlan(
            **{name: getattr(self, name) for name in type(self).model_fields},
            sample_rate=sample_rate,
            gain_db=gain_db,
        )


@dataclass(frozen=True)
class Placed:
    """A segment and the samples of the stimulus that it takes: `start:stop`."""

    segment: Segment
    start: int
    stop: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)


class SignalPlan(_Signal):
    """A stimulus at a sample rate, sample for sample."""

    schema_: Literal["ampscope.plan/1"] = Field(default="ampscope.plan/1", alias="schema")
    sample_rate: int = Field(description="in Hz")
    gain_db: float = Field(default=0.0, description="of the whole signal, re its segments' levels")

    @model_validator(mode="after")
    def _rate_is_known(self) -> Self:
        if self.sample_rate not in SAMPLE_RATES:
            raise ValueError(
                f"sample rate {self.sample_rate} Hz: expected one of "
                f"{', '.join(map(str, SAMPLE_RATES))}"
            )
        return self

    def placed(self) -> tuple[Placed, ...]:
        """Every segment with the samples it takes, in order and without gaps."""
        lengths = (round(s.duration * self.sample_rate) for s in self.segments)
        edges = [0, *itertools.accumulate(lengths)]
        return tuple(
            Placed(segment, start, stop)
            for segment, (start, stop) in zip(self.segments, itertools.pairwise(edges), strict=True)
        )

    def used_for(self, *uses: Use) -> Iterator[Placed]:
        """The segments played for one of `uses`, in order."""
        return (placed for placed in self.placed() if placed.segment.use in uses)

    def of_kind(self, *kinds: str) -> Iterator[Placed]:
        """The segments of one of `kinds`, in order."""
        return (placed for placed in self.placed() if placed.segment.kind in kinds)

    @property
    def frames(self) -> int:
        return self.placed()[-1].stop

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate

    @property
    def peak_dbfs(self) -> float:
        """The highest level of any segment that sounds; -inf when none does."""
        sounding = [s.level_dbfs for s in self.segments if s.kind != "silence"]
        return max(sounding, default=-math.inf) + self.gain_db

    @property
    def gain(self) -> float:
        """`gain_db` as a factor."""
        return float(db_to_amplitude(self.gain_db))

    @property
    def identity(self) -> str:
        """What the markers carry: the same for one version of one signal at any level."""
        essence = f"{self.name}/{self.version}/{self.seed}"
        return hashlib.sha256(essence.encode()).hexdigest()

    def bracketed(self) -> "SignalPlan":
        """The plan with what every take needs at its two ends.

        Inside room for the latency stand a marker at head and tail, by which the take is
        aligned, and between them a probe at head and tail, which tells whether the device
        stayed as it was. A plan that begins and ends with silence next to a marker is returned as
        it is, and one with probes of its own gets no others.
        """
        kinds = [segment.kind for segment in self.segments]
        if kinds[:2] == ["silence", "marker"] and kinds[-2:] == ["marker", "silence"]:
            return self
        taken = {segment.name for segment in self.segments}
        marker = Marker(
            name=_free("head", taken), kind="marker", use="align", level_dbfs=_as_loud(self, -12.0)
        )
        silence = Silence(name=_free("pre-roll", taken), kind="silence", use="align", seconds=0.5)
        head: list[Segment] = [silence, marker]
        tail: list[Segment] = [
            marker.model_copy(update={"name": _free("tail", taken)}),
            Silence(name=_free("post-roll", taken), kind="silence", use="align", seconds=1.0),
        ]
        if "probe" not in kinds:
            probe = Probe(
                name=_free("probe 1", taken),
                kind="probe",
                use="analyse",
                level_dbfs=_as_loud(self, -20.0),
            )
            head = [*head, probe]
            tail = [
                Silence(
                    name=_free("rest", taken), kind="silence", use="align", seconds=REST_SECONDS
                ),
                probe.model_copy(
                    update={"name": _free("probe 2", taken), "replicate_of": probe.name}
                ),
                *tail,
            ]
        return self.model_copy(update={"segments": (*head, *self.segments, *tail)})


def load_signal(name: str) -> SignalDefinition:
    """The definition that a bare name or a path means.

    Raises
    ------
    DefinitionError
        No such definition, or one that cannot be meant.
    """
    path = find("signals", name)
    definition = SignalDefinition.load_toml(path)
    anchored = [
        segment.model_copy(update={"path": str(path.parent.resolve() / segment.path)})
        if segment.kind == "file"
        else segment
        for segment in definition.segments
    ]
    return definition.model_copy(update={"segments": tuple(anchored)})


def plan_path(stimulus_path: Path) -> Path:
    """Where the plan of a stimulus WAV stands: `x.wav`, `x.plan.json`."""
    return Path(stimulus_path).with_suffix(".plan.json")


def _as_loud(plan, level_dbfs):
    """As loud as the material it brackets, but no louder than a level."""
    return min(level_dbfs, plan.peak_dbfs - plan.gain_db)


def _free(name, taken):
    """A name that no segment bears yet."""
    return name if name not in taken else _free(f"{name} (added)", taken)


def _essence(segment):
    return segment.model_dump(exclude={"name", "use", "replicate_of"})
