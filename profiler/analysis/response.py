"""The linear response and the harmonics of a device over frequency, from synchronised sweeps.

A sweep gives a row of impulse responses (`profiler.capture.impulse`): the linear one, and one of
each harmonic apart from it. Each is cut out and transformed. Where the row is empty, between the
linear response and the second harmonic's, stands the noise, and below it nothing is told.

Near the ends of a sweep, where it fades and its spectrum ripples, a response spreads in time and
is smaller than it should be. The same is done to the sweep itself and to its harmonics, as a device
without memory would make them, and what they come out as is divided by. Between three times the
first frequency and 0.95 times the last that is 1 to within 0.0001 dB. What the linear response
spreads into the places of the others is taken out.

Conventions
-----------
A harmonic's magnitude stands at the frequency that it comes *from*: H2 at 1 kHz is the
2 kHz that a tone of 1 kHz makes, re a sweep of full scale, like H1. Phases are those of sines:
H_m of a tone sin(a) is |H_m| sin(m a + arg H_m).
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from profiler.capture.alignment import AlignedCapture
from profiler.capture.delay import Delay, Transfer, excess_delay, minimum_phase
from profiler.capture.impulse import impulse_responses
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import Sweep
from profiler.stimulus.sweep import harmonic
from profiler.units import amplitude_to_db, db_to_amplitude, power_to_db

HIGHEST_ORDER = 9
POINTS_AN_OCTAVE = 48
RECORDED_POINTS_AN_OCTAVE = 24
LOWEST_HZ = 20.0
BAND_RATIO = 0.45  # of the sample rate: where a converter's own band ends
STOP_RATIO = 0.99  # of a sweep's last frequency: the rest is its fade
HARMONICS_FROM_RATIO = 1.25  # of its first: below it they spread into one another
HARMONICS_TO_RATIO = 0.97  # of its last
BEGINNING_RATIO = 3.0  # of its first: beyond it a harmonic comes out as it is
BEGINNING_RATE = 12_000  # Hz, of which the beginning of 9 harmonics needs no more

# How a row of responses is cut: each from its zero on, and some of what spreads ahead of it.
LONGEST_RESPONSE_SECONDS = 0.3
WIDE_TO_RATIO = 15.0  # of the first frequency: beyond it little spreads ahead,
AHEAD_SECONDS = 0.02  # and so much is read
AHEAD_PART, BEHIND_PART = 0.4, 0.6  # of the distance to the next response
RISE_PART, FALL_PART = 0.5, 0.25  # of what is ahead and behind, over which a cut fades
EMPTY_PART = (0.35, 0.7)  # of the way from one response to the next: the earlier has died away
FLOOR_OCTAVES = 1 / 3  # over which noise is averaged,
FEWEST_FLOOR_LINES = 5  # or so many lines
SPREAD_LEFT = 0.1  # of what the linear response spreads, when it is taken out
TOLD_ABOVE_FLOOR_DB = 10.0  # noise alone is so strong once in 5000 points
OVERSAMPLED = 4  # spectra of a cut: so much finer than its length tells apart

COMPARED_FROM_RATIO = 2.5  # of the first frequency: below it up and down end differently
MINIMUM_PHASE_DEGREES = 10.0  # RMS of the excess phase: less may be a circuit's own edges


@dataclass(frozen=True)
class SweepResponse:
    """Response of a device to a sweep of one level; m frequencies, orders 1 to 9."""

    name: str
    level_dbfs: float
    direction: str
    frequencies: np.ndarray  # (m,) Hz, equally spaced in octaves
    harmonics: np.ndarray  # (9, m) complex, H1 first; NaN where the band does not reach
    noise: np.ndarray  # (9, m) RMS of what noise adds to each
    group_delay_seconds: np.ndarray  # (m,) of H1

    def level_db(self, order: int) -> np.ndarray:
        """Magnitude of a harmonic, `(m,)`; NaN where it is not clear of the noise."""
        magnitude, noise = np.abs(self.harmonics[order - 1]), self.noise[order - 1]
        with np.errstate(invalid="ignore"):
            told = magnitude > db_to_amplitude(TOLD_ABOVE_FLOOR_DB) * noise
        return np.where(told, amplitude_to_db(magnitude), np.nan)

    def floor_db(self, order: int) -> np.ndarray:
        """RMS of what noise adds to a harmonic, `(m,)`."""
        return amplitude_to_db(self.noise[order - 1])

    @property
    def magnitude_db(self) -> np.ndarray:
        """Of the linear response, as `level_db(1)`."""
        return self.level_db(1)

    @property
    def phase(self) -> np.ndarray:
        """Of the linear response, in radians, unwrapped."""
        return np.unwrap(np.angle(self.harmonics[0]))

    @property
    def second_db(self) -> np.ndarray:
        """H2, as `level_db(2)`."""
        return self.level_db(2)

    @property
    def third_db(self) -> np.ndarray:
        """H3, as `level_db(3)`."""
        return self.level_db(3)


class ResponseCurve(Record):
    """The linear response at one level, against `frequency_hz`."""

    name: str
    level_dbfs: float
    direction: str
    frequency_hz: tuple[float, ...]
    magnitude_db: tuple[float | None, ...]  # null where it is not clear of the noise
    floor_db: tuple[float, ...]  # RMS of what noise adds to it
    phase_degrees: tuple[float | None, ...]  # re the delay that the capture was aligned by
    group_delay_ms: tuple[float | None, ...]


class PhaseCheck(Record):
    """Whether the phase is the one that the magnitude implies: that of a circuit of filters."""

    level_dbfs: float  # of the sweep that was looked at
    polarity: int
    excess_delay_samples: float  # beyond the delay that the capture was aligned by
    excess_delay_sigma_samples: float
    frequency_hz: tuple[float, ...]
    excess_phase_degrees: tuple[float, ...]  # beyond minimum phase, delay and polarity
    excess_phase_rms_degrees: float  # over the lines of the response, the stronger the more
    is_minimum_phase: bool


class DirectionCheck(Record):
    """How a sweep that goes up and one that goes down differ: what a device remembers."""

    level_dbfs: float
    frequency_hz: tuple[float, ...]
    difference_db: tuple[float | None, ...]  # |H1 up - H1 down| re their mean; null: only noise
    floor_db: tuple[float, ...]  # of it
    difference_rms_db: float | None  # over the response, its lowest octave and more left out
    floor_rms_db: float


class LinearResponse(Record):
    """What the sweeps of a capture say of its linear response."""

    sweeps: tuple[ResponseCurve, ...]
    phase: PhaseCheck | None  # null where the response is too noisy to tell
    direction: DirectionCheck | None  # null without a pair of sweeps
    warnings: tuple[str, ...] = ()


def sweep_response(capture: AlignedCapture) -> SweepResponse:
    """Magnitude, phase and the harmonics over frequency, from the first sweep that goes up.

    Raises
    ------
    CaptureError
        The capture's stimulus has no such sweep.
    """
    rising = [played for played in _sweeps(capture) if played[0].direction == "up"]
    if not rising:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no sweep that goes up: capture sweep or "
            "standard"
        )
    return _measured(capture, *rising[0])


def sweep_responses(capture: AlignedCapture) -> tuple[SweepResponse, ...]:
    """Every sweep of a capture, in order.

    Raises
    ------
    CaptureError
        The capture's stimulus has no sweep.
    """
    return tuple(_measured(capture, *played) for played in _sweeps(capture))


def linear_response(capture: AlignedCapture) -> LinearResponse:
    """Linear responses at every level, whether they are of minimum phase, and whether up is down.

    Raises
    ------
    CaptureError
        The capture's stimulus has no sweep.
    """
    sweeps = sweep_responses(capture)
    rising = [sweep for sweep in sweeps if sweep.direction == "up"]
    pair = _pair(sweeps)
    warnings = []
    phase = _phase_check(rising or list(sweeps), capture.sample_rate)
    if phase is None:
        warnings.append("the phase is not checked: no octave of the response is above the noise")
    return LinearResponse(
        sweeps=tuple(_curve(sweep) for sweep in sweeps),
        phase=phase,
        direction=_direction_check(*pair) if pair else None,
        warnings=tuple(warnings),
    )


def measure_sweep(
    response: np.ndarray, segment: Sweep, sample_rate: int, level_dbfs: float
) -> SweepResponse:
    """Separate and measure the harmonics of one sweep.

    Parameters
    ----------
    response : (n,) float array
        The response to the segment, from its first sample to its last, aligned.
    level_dbfs : float
        Peak at which it was played.
    """
    played = np.asarray(response, np.float64) / db_to_amplitude(level_dbfs)
    impulses = impulse_responses(played, segment, sample_rate, harmonics=True)
    own = _own(segment.model_copy(update=_ANY_LEVEL), sample_rate)
    frequencies, shape = own.frequencies, own.harmonics.shape
    harmonics, noise = np.full(shape, np.nan, complex), np.full(shape, np.nan)
    energies = np.full(shape, np.nan)
    for order in range(1, HIGHEST_ORDER + 1):
        known = own.known(order)
        if not known.any():
            break
        spectrum, delay, energies[order - 1, known] = _read(
            impulses, segment, order, sample_rate, frequencies[known]
        )
        if order == 1:
            harmonics[0], group_delay = spectrum / own.harmonics[0], delay - own.group_delay_seconds
            spread = np.zeros(len(frequencies))
        else:
            at = order * frequencies[known]
            spread = np.interp(at, frequencies, harmonics[0]) * own.spread[order - 1, known]
            # a sweep that goes down is minus a sine of rising phase, and so of all its orders
            sign = -1.0 if segment.direction == "down" and order % 2 == 0 else 1.0
            found = sign * (spectrum - spread)
            harmonics[order - 1, known] = found / own.harmonics[order - 1, known]
        noise[order - 1, known] = SPREAD_LEFT * np.abs(spread)
    empty = _empty(impulses, segment, sample_rate)
    bins = scipy.fft.rfftfreq(_empty_frames(segment, sample_rate), 1 / sample_rate)
    spread = np.interp(bins, frequencies, harmonics[0]) * own.empty
    power = np.abs(empty - spread) ** 2 + (SPREAD_LEFT * np.abs(spread)) ** 2
    density = _smoothed(power, bins[1])
    at = np.outer(np.arange(1, HIGHEST_ORDER + 1), frequencies)
    noise = np.hypot(noise, np.sqrt(density(at) * energies)) / np.abs(own.harmonics)
    return SweepResponse(
        name=segment.name,
        level_dbfs=float(level_dbfs),
        direction=segment.direction,
        frequencies=frequencies,
        harmonics=harmonics,
        noise=noise,
        group_delay_seconds=group_delay,
    )


def excess_phase(sweep: SweepResponse, sample_rate: int) -> tuple[np.ndarray, np.ndarray, Delay]:
    """The phase of H1 beyond its minimum phase, and the delay in it.

    Returns
    -------
    frequencies : (k,) float array
        Those of the sweep's whose response is clear of the noise.
    phase : (k,) float array
        In radians, without polarity and the part that is a delay, in -pi to pi.
    delay : Delay
        Weighted least squares over 150 Hz to 15 kHz, in samples; its `residual` is the phase that
        delay and the unknown beyond the band leave, RMS.

    Raises
    ------
    CaptureError
        Not an octave of the response is clear of the noise.
    """
    clear = np.isfinite(sweep.magnitude_db)
    f, H, noise = (values[clear] for values in (sweep.frequencies, *_first(sweep)))
    delay = excess_delay(Transfer(f, H, noise**2, 0), sample_rate) if len(f) > 2 else None
    if delay is None:
        raise CaptureError(
            f"sweep {sweep.name!r} at {sweep.level_dbfs:g} dBFS: no octave of the response is "
            "above the noise, from which a phase could be told: play it louder"
        )
    implied = minimum_phase(f, np.abs(H), sample_rate)
    turned = delay.polarity * H * np.exp(2j * np.pi * f * delay.samples / sample_rate)
    return f, np.angle(turned * np.exp(-1j * implied)), delay


_ANY_LEVEL = {"name": "", "use": "analyse", "level_dbfs": 0.0, "seed": 0, "replicate_of": None}


@dataclass(frozen=True)
class _Own:
    """What a sweep's own harmonics come out as: 1, but for the ends of the band."""

    frequencies: np.ndarray
    harmonics: np.ndarray
    group_delay_seconds: np.ndarray
    spread: np.ndarray  # (9, m) of the linear response, in the harmonics' places
    empty: np.ndarray  # and in the gap

    def known(self, order):
        """Where the played band and the sample rate let a harmonic be told, `(m,)` bool."""
        return np.isfinite(self.harmonics[order - 1])


@functools.lru_cache(maxsize=4)
def _own(segment: Sweep, sample_rate: int) -> _Own:
    lowest = max(segment.start_hz, LOWEST_HZ)
    highest = min(STOP_RATIO * segment.stop_hz, BAND_RATIO * sample_rate)
    octaves = math.log2(highest / lowest)
    points = round(octaves * POINTS_AN_OCTAVE) + 1
    frequencies = lowest * 2 ** np.linspace(0.0, octaves, points)
    harmonics = np.full((HIGHEST_ORDER, points), np.nan, complex)
    impulses = _row(segment, sample_rate, 1)
    harmonics[0], group_delay, _ = _read(impulses, segment, 1, sample_rate, frequencies)
    spread = np.zeros_like(harmonics)
    short = _beginning(segment)
    for order in range(2, HIGHEST_ORDER + 1):
        known = frequencies >= HARMONICS_FROM_RATIO * segment.start_hz
        known &= frequencies <= HARMONICS_TO_RATIO * segment.stop_hz
        known &= order * frequencies < BAND_RATIO * sample_rate
        harmonics[order - 1, known] = 1.0
        spread[order - 1, known], _, _ = _read(
            impulses, segment, order, sample_rate, frequencies[known]
        )
        early = known & (frequencies < BEGINNING_RATIO * segment.start_hz)
        if early.any():
            row = _row(short, BEGINNING_RATE, order)
            harmonics[order - 1, early], _, _ = _read(
                row, short, order, BEGINNING_RATE, frequencies[early]
            )
    empty = _empty(impulses, segment, sample_rate)
    return _Own(frequencies, harmonics, group_delay, spread, empty)


def _row(segment, rate, order):
    return impulse_responses(harmonic(segment, rate, order), segment, rate, harmonics=True)


def _beginning(segment):
    """The sweep from its first frequency to an octave beyond where its harmonics are ripples."""
    ratio = 2.0 * BEGINNING_RATIO
    changes = {
        "stop_hz": ratio * segment.start_hz,
        "seconds": segment.rate_constant * math.log(ratio),
        "after_seconds": LONGEST_RESPONSE_SECONDS,
    }
    return segment.model_copy(update=changes)


def _read(impulses, segment, order, rate, frequencies):
    """Spectrum of a response where its harmonic comes from `frequencies`, `(k,)`.

    And its group delay in seconds, and the energy of the windows.
    """
    H = np.zeros(len(frequencies), complex)
    delay, energy = np.zeros(len(frequencies)), np.zeros(len(frequencies))
    early = frequencies < WIDE_TO_RATIO * segment.start_hz
    for part, ahead in ((early, np.inf), (~early, AHEAD_SECONDS)):
        if part.any():
            cut = _Cut.of(impulses, segment, order, rate, ahead)
            H[part], delay[part] = cut.spectrum(order * frequencies[part])
            energy[part] = cut.energy
    return H, delay, energy


@dataclass(frozen=True)
class _Cut:
    """One response cut out of the row."""

    samples: np.ndarray
    seconds: np.ndarray  # of each, re the zero of the response
    energy: float  # of the window

    @classmethod
    def of(cls, impulses, segment, order, rate, ahead):
        here, room, behind = _place(segment, order)
        before, after = round(min(ahead, room) * rate), round(behind * rate)
        rise, fall = round(RISE_PART * before), round(FALL_PART * after)
        window = np.ones(before + after)
        window[:rise] = np.sin(0.5 * np.pi * np.arange(rise) / rise) ** 2
        window[-fall:] = np.cos(0.5 * np.pi * np.arange(fall) / fall) ** 2
        centre = round(here * rate)
        index = np.arange(centre - before, centre + after)
        samples = window * np.take(impulses, index, mode="wrap")
        return cls(samples, index / rate - here, float(np.sum(window**2)))

    def spectrum(self, frequencies):
        """The cut's spectrum at some frequencies, and its group delay, in seconds."""
        rate = 1.0 / (self.seconds[1] - self.seconds[0])
        frames = scipy.fft.next_fast_len(OVERSAMPLED * len(self.samples), real=True)
        zero = np.exp(-2j * np.pi * scipy.fft.rfftfreq(frames, 1 / rate) * self.seconds[0])
        place = frequencies * frames / rate
        found = []
        for samples in (self.samples, self.seconds * self.samples):
            lines = scipy.fft.rfft(samples, frames) * zero
            low = np.minimum(place.astype(int), len(lines) - 2)
            found.append(lines[low] + (place - low) * (lines[low + 1] - lines[low]))
        H, delayed = found
        return H, np.divide(delayed, H, out=np.zeros_like(H), where=H != 0).real


def _place(segment, order):
    """Where a response stands, and how far it is cut ahead of that and behind, in seconds."""
    L = segment.rate_constant
    to_lower = L * math.log(order / (order - 1)) if order > 1 else math.inf
    to_higher = L * math.log((order + 1) / order)
    if segment.direction == "up":
        here, earlier, later = -L * math.log(order), to_higher, to_lower
    else:
        here, earlier, later = L * math.log(order), min(to_lower, to_higher), to_higher
    return here, AHEAD_PART * earlier, min(LONGEST_RESPONSE_SECONDS, BEHIND_PART * later)


def _empty_frames(segment, rate):
    first, last = EMPTY_PART
    return round((last - first) * segment.rate_constant * math.log(2.0) * rate)


def _empty(impulses, segment, rate):
    """The spectrum of what stands in the gap between the first two responses.

    Its squares are the power that noise has in a cut, over the energy of the cut's window.
    """
    gap = segment.rate_constant * math.log(2.0)
    first = -gap if segment.direction == "up" else 0.0
    start, frames = round((first + EMPTY_PART[0] * gap) * rate), _empty_frames(segment, rate)
    window = np.sin(np.pi * (np.arange(frames) + 0.5) / frames) ** 2
    cut = window * np.take(impulses, np.arange(start, start + frames), mode="wrap")
    return scipy.fft.rfft(cut) / math.sqrt(np.sum(window**2))


def _smoothed(power, bin_hz):
    """Means of a power over parts of an octave, as a function of frequency."""
    centres, means, low = [], [], 1
    while low < len(power) - FEWEST_FLOOR_LINES:
        high = max(math.ceil(low * 2**FLOOR_OCTAVES), low + FEWEST_FLOOR_LINES)
        centres.append(0.5 * (low + min(high, len(power)) - 1) * bin_hz)
        means.append(np.mean(power[low:high]))
        low += max((high - low) // 2, 1)
    known, level = np.log(centres), np.log(np.maximum(means, np.finfo(float).tiny))
    return lambda frequencies: np.exp(np.interp(np.log(frequencies), known, level))


def _sweeps(capture) -> list[tuple[Sweep, np.ndarray]]:
    """Every sweep of a capture, and the response to it."""
    found = [
        (placed.segment, capture.response[placed.slice])
        for placed in capture.plan.placed()
        if isinstance(placed.segment, Sweep)
    ]
    if not found:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no sweep: capture sweep or standard"
        )
    return found


def _measured(capture, segment, response):
    level = segment.level_dbfs + capture.plan.gain_db
    return measure_sweep(response, segment, capture.sample_rate, level)


def _first(sweep):
    return sweep.harmonics[0], sweep.noise[0]


def _curve(sweep):
    rows = slice(None, None, POINTS_AN_OCTAVE // RECORDED_POINTS_AN_OCTAVE)
    level = sweep.magnitude_db
    clear = np.isfinite(level)
    phase = np.where(clear, np.degrees(sweep.phase), np.nan)
    delay = np.where(clear, 1e3 * sweep.group_delay_seconds, np.nan)
    return ResponseCurve(
        name=sweep.name,
        level_dbfs=sweep.level_dbfs,
        direction=sweep.direction,
        frequency_hz=rounded(sweep.frequencies[rows], 2),
        magnitude_db=rounded_or_null(level[rows], 3),
        floor_db=rounded(sweep.floor_db(1)[rows], 1),
        phase_degrees=rounded_or_null(phase[rows], 2),
        group_delay_ms=rounded_or_null(delay[rows], 4),
    )


def rounded(values, digits: int) -> tuple[float, ...]:
    """Floats for a record, with no more digits than they are known to; -300 dB for none."""
    return tuple(np.round(np.maximum(values, -300.0), digits).tolist())


def rounded_or_null(values, digits: int) -> tuple[float | None, ...]:
    """As `rounded`, null for what is not finite."""
    finite = np.isfinite(values)
    shown = np.round(np.where(finite, values, 0.0), digits).tolist()
    return tuple(v if known else None for v, known in zip(shown, finite, strict=True))


def _phase_check(sweeps, rate):
    """Of the softest sweep that is as clear of the noise as any: it is bent the least."""
    clear = [np.count_nonzero(np.isfinite(sweep.magnitude_db)) for sweep in sweeps]
    heard = [s for s, count in zip(sweeps, clear, strict=True) if count >= 0.95 * max(clear)]
    chosen = min(heard, key=lambda sweep: sweep.level_dbfs)
    try:
        f, phase, delay = excess_phase(chosen, rate)
    except CaptureError:
        return None
    rows = slice(None, None, POINTS_AN_OCTAVE // RECORDED_POINTS_AN_OCTAVE)
    residual = math.degrees(delay.residual)
    return PhaseCheck(
        level_dbfs=chosen.level_dbfs,
        polarity=delay.polarity,
        excess_delay_samples=delay.samples,
        excess_delay_sigma_samples=delay.sigma,
        frequency_hz=rounded(f[rows], 2),
        excess_phase_degrees=rounded(np.degrees(phase)[rows], 2),
        excess_phase_rms_degrees=round(residual, 3),
        is_minimum_phase=residual < MINIMUM_PHASE_DEGREES,
    )


def _pair(sweeps):
    """The first two sweeps of one level and band that go opposite ways."""
    for down in (s for s in sweeps if s.direction == "down"):
        for up in (s for s in sweeps if s.direction == "up"):
            alike = np.array_equal(up.frequencies, down.frequencies)
            if alike and abs(up.level_dbfs - down.level_dbfs) < 0.01:
                return up, down
    return None


def direction_difference(up: SweepResponse, down: SweepResponse):
    """|H1 up - H1 down| re their mean, and what noise makes of it, `(m,)` ratios each.

    The frequencies of both must be the same.
    """
    mean = 0.5 * np.abs(up.harmonics[0] + down.harmonics[0])
    mean = np.maximum(mean, np.finfo(float).tiny)
    apart = np.abs(up.harmonics[0] - down.harmonics[0]) / mean
    return apart, np.hypot(up.noise[0], down.noise[0]) / mean


def _direction_check(up, down):
    apart, noise = direction_difference(up, down)
    told = apart > db_to_amplitude(TOLD_ABOVE_FLOOR_DB) * noise
    heard = np.isfinite(up.magnitude_db) & np.isfinite(down.magnitude_db)
    heard &= up.frequencies >= COMPARED_FROM_RATIO * up.frequencies[0]
    rows = slice(None, None, POINTS_AN_OCTAVE // RECORDED_POINTS_AN_OCTAVE)
    power, floor = (np.mean(v[heard] ** 2) if heard.any() else 1.0 for v in (apart, noise))
    clear = power > 2.0 * floor
    return DirectionCheck(
        level_dbfs=up.level_dbfs,
        frequency_hz=rounded(up.frequencies[rows], 2),
        difference_db=rounded_or_null(np.where(told, amplitude_to_db(apart), np.nan)[rows], 2),
        floor_db=rounded(amplitude_to_db(noise)[rows], 1),
        difference_rms_db=float(power_to_db(power - floor)) if clear else None,
        floor_rms_db=max(float(power_to_db(floor)), -300.0),
    )
