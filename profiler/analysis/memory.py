"""How memoryless a device is, and how linear: two shares, and a word for both.

A device without memory is a curve: its output follows from the input of the same moment. A linear
one is a filter. Of what comes back, `static R2` is the share that the best curve explains, `linear
R2` the share that the best filter does. A wire has both, a distortion pedal the first, a cabinet
the second, an amp neither: then a model must remember and bend at once.

* **Static**: the conditional mean of the output over the input, after the delay that explains the
  most. What rising and falling input make differently is the hysteresis.
* **Linear**: the best linear approximation (Pintelon and Schoukens, System Identification, 2nd
  ed., 2012, ch. 4.3, the robust method). Odd random-phase multisines are played, several
  realisations of several periods each. What changes from period to period is noise, what changes
  from realisation to realisation is distortion, and on the lines that were left out comes back what
  the device's even and odd curvature makes. Of guitar, a long FIR filter by least squares.

Conventions
-----------
R2 is 1 - (residual power) / (power of the response), both without their means and without noise
where its power is known. What a fit of so many parameters explains by chance is taken out: half
as much again as it explains too much of what it was fitted to, it explains too little of the rest.
A level of a multisine's line is re the played lines about it, line for line.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
import scipy.linalg

from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.stimulus.plan import ODD_PERIOD_SECONDS, File, Guitar, Multisine, Placed
from profiler.units import power_to_db, rms_dbfs

# Of the static function.
BINS = 200
SEARCHED_SECONDS = (-0.002, 0.01)  # delays of the response
SEARCH_STEPS_A_SECOND = 48_000
SEARCH_SAMPLES = 40_000
FIT_SAMPLES = 250_000
FOLDS, HELD_OUT_SECONDS = 6, 0.125  # a sixth is held out in turn, in pieces so long

# Of the linear approximation.
TRANSIENT_PERIODS = 1  # of each realisation: the device is not yet periodic
FEWEST_REALISATIONS = 6  # that the robust method asks for
PLAYED_DB = -120.0  # of a line re the strongest
BANDS_AN_OCTAVE = 3
TOLD_ABOVE_DB = 6.0  # noise: a band of few lines is so far off once in a hundred
MATERIAL_RATE_HZ = 50_000  # guitar is read at no more than this
AHEAD_SECONDS, BEHIND_SECONDS = 0.002, 0.04  # of the FIR filter
RIDGE = 1e-6  # re the mean power: where nothing is played, nothing is fitted
FEWEST_GUITAR_SECONDS, SHORTEST_PASSAGE_SECONDS = 2.0, 0.5
FADE_SECONDS = 0.05  # of a passage of guitar, in which its neighbours' tails end

# A model that leaves less than this of the response is called great: a curve or a filter is one.
ENOUGH = 0.99

Word = Literal["both", "memoryless", "linear", "neither"]
Material = Literal["multisine", "guitar"]


@dataclass(frozen=True)
class StaticFunction:
    """The best curve, b points of it."""

    delay_samples: float
    inputs: np.ndarray  # (b,)
    outputs: np.ndarray  # (b,)
    rising: np.ndarray  # (b,) where the input rises
    falling: np.ndarray  # (b,)
    r2: float
    hysteresis: float  # RMS of half the difference of both re that of the response


@dataclass(frozen=True)
class LinearApproximation:
    """The best filter, and what it leaves; k lines that were played."""

    frequencies: np.ndarray  # (k,)
    response: np.ndarray  # (k,) complex
    sigma: np.ndarray  # (k,) of it, from realisation to realisation
    r2: float
    band_hz: np.ndarray  # (b,) middle of each band
    even_db: np.ndarray  # (b,) -inf for none
    odd_db: np.ndarray  # (b,)
    noise_db: np.ndarray  # (b,) of the mean over the periods


@dataclass(frozen=True)
class Scatter:
    """Output over input, p points, the output earlier by the function's delay."""

    material: Material
    level_dbfs: float
    inputs: np.ndarray  # (p,)
    outputs: np.ndarray  # (p,)
    function: StaticFunction


class StaticCurve(Record):
    """The best curve, to be drawn over output against input."""

    delay_samples: float
    input: tuple[float, ...]
    output: tuple[float, ...]
    rising: tuple[float, ...]
    falling: tuple[float, ...]
    hysteresis_percent: float  # RMS of half of rising less falling, re the RMS of the response


class DistortionLevels(Record):
    """What came back on lines that were not played, re those about it that were."""

    frequency_hz: tuple[float, ...]
    even_db: tuple[float | None, ...]  # null where it is not clear of the noise
    odd_db: tuple[float | None, ...]
    noise_db: tuple[float | None, ...]  # null for none at all


class MemoryAtLevel(Record):
    """Both shares at one level of one material."""

    material: Material
    level_dbfs: float  # peak that was played
    rms_dbfs: float  # that was played, re an RMS of 1.0
    static_r2: float
    linear_r2: float
    word: Word
    curve: StaticCurve
    lines: DistortionLevels | None  # null for guitar


class Memory(Record):
    """What a capture says of how memoryless and how linear its device is."""

    levels: tuple[MemoryAtLevel, ...]  # multisines from soft to loud, then guitar
    word: Word  # at the loudest multisine, or of guitar without one
    warnings: tuple[str, ...] = ()


def memory(capture: AlignedCapture) -> Memory:
    """Static and linear R2 at every level of the odd multisines, and on guitar.

    Raises
    ------
    CaptureError
        The capture's stimulus has neither two realisations of an odd multisine nor two seconds of
        guitar, or none of it came back.
    """
    warnings: list[str] = []
    levels = [_measured(played, capture.sample_rate) for played in _played(capture, warnings)]
    return Memory(levels=tuple(levels), word=_telling(levels)[-1].word, warnings=tuple(warnings))


def scatter(capture: AlignedCapture, *, points: int = 4000) -> Scatter:
    """Output against input of what gave a capture its word, and the best curve through it.

    Raises
    ------
    CaptureError
        As `memory`.
    """
    played = _telling(_played(capture, []))[-1]
    function = played.static()
    stride = max(1, sum(len(x) for x, _ in played.passages) // points)
    return Scatter(
        material=played.material,
        level_dbfs=played.level_dbfs,
        inputs=np.concatenate([x[::stride] for x, _ in played.passages]),
        outputs=np.concatenate(
            [_advanced(y, function.delay_samples)[::stride] for _, y in played.passages]
        ),
        function=function,
    )


def word_for(static_r2: float, linear_r2: float) -> Word:
    """What a device is whose best curve and best filter explain so much."""
    static, linear = static_r2 >= ENOUGH, linear_r2 >= ENOUGH
    if static and linear:
        return "both"
    return "memoryless" if static else "linear" if linear else "neither"


# -- the static function ----------------------------------------------------------------


def static_function(
    passages: Sequence[tuple[np.ndarray, np.ndarray]], sample_rate: int, *, noise_power: float = 0.0
) -> StaticFunction:
    """The best memoryless function of a stimulus.

    Parameters
    ----------
    passages : sequence of pairs of (n,) float arrays
        Stimulus and response; periodic, or at rest at both ends.
    noise_power : float
        Of the noise in the responses, where it is known.

    Raises
    ------
    ValueError
        Less than 0.75 s, of which parts are held out in turn, or a stimulus or response that is
        silent.
    """
    x, y = ([np.asarray(p[side], np.float64) for p in passages] for side in (0, 1))
    power = np.var(np.concatenate(y))
    if power == 0.0 or not any(np.any(stimulus) for stimulus in x):
        raise ValueError("the stimulus or the response is silent: there is no function")
    blocks = round(HELD_OUT_SECONDS * sample_rate)
    if sum(map(len, x)) < FOLDS * blocks:
        raise ValueError(
            f"got {sum(map(len, x)) / sample_rate:g} s, expected at least "
            f"{FOLDS * HELD_OUT_SECONDS:g} s: parts of it are held out"
        )
    delay = _best_delay(x, y, sample_rate)

    stride = max(1, sum(map(len, x)) // FIT_SAMPLES)
    # dealt like cards, so that loud and soft are in every hand
    dealt = np.arange(sum(map(len, x))) // blocks % FOLDS
    ends = np.cumsum([len(s) for s in x])
    fold = np.concatenate([part[::stride] for part in np.split(dealt, ends[:-1])])
    u = np.concatenate([s[::stride] for s in x])
    v = np.concatenate([_advanced(s, delay)[::stride] for s in y])
    rises = np.concatenate([(np.roll(s, -1) - np.roll(s, 1))[::stride] > 0.0 for s in x])
    edges = _edges(u)
    bins = np.searchsorted(edges, u, side="right")

    count, inputs, outputs = _sums(bins, fold, len(edges) + 1, u, v)
    f = _curve(count.sum(axis=0), inputs.sum(axis=0), outputs.sum(axis=0))
    left = v - f(u)
    inside = float(np.mean(left**2))
    outside = 0.0
    for k in range(FOLDS):
        others = np.arange(FOLDS) != k
        g = _curve(*(s[others].sum(axis=0) for s in (count, inputs, outputs)))
        outside += float(np.sum((v[fold == k] - g(u[fold == k])) ** 2)) / len(u)
    residual = _unbiased(inside, outside, FOLDS)

    weights = count.sum(axis=0)
    known = weights > 0
    middle = inputs.sum(axis=0)[known] / weights[known]
    apart = []  # half the difference of rising and falling, of each half of the hands
    branches = np.zeros((2, np.count_nonzero(known)))
    for half in (0, 1):
        of_it = fold % 2 == half
        sums = np.array(
            [_means(bins[of_it & b], left[of_it & b], len(weights)) for b in (rises, ~rises)]
        )
        apart.append(0.5 * (sums[0] - sums[1])[known])
        branches += 0.5 * sums[:, known]
    shared = float(np.sum(weights[known] * apart[0] * apart[1])) / float(np.sum(weights))
    return StaticFunction(
        delay_samples=delay,
        inputs=middle,
        outputs=f(middle),
        rising=f(middle) + branches[0],
        falling=f(middle) + branches[1],
        r2=_r2(residual, float(np.var(v)), noise_power),
        hysteresis=math.sqrt(max(shared, 0.0) / power),
    )


def _best_delay(x, y, sample_rate):
    """The delay of the response, in samples, at which a curve explains the most."""
    stride = max(1, sum(map(len, x)) // SEARCH_SAMPLES)
    places = [np.arange(0, len(s), stride) for s in x]
    u = np.concatenate([s[p] for s, p in zip(x, places, strict=True)])
    edges = _edges(u)
    bins = np.searchsorted(edges, u, side="right")
    count = np.maximum(np.bincount(bins, minlength=len(edges) + 1), 1)

    def explained(lag):
        v = np.concatenate([s[(p + lag) % len(s)] for s, p in zip(y, places, strict=True)])
        v = v - np.mean(v)
        return float(np.sum(np.bincount(bins, v, len(count)) ** 2 / count) / np.sum(v**2))

    # each lag is tried, from far to near: the first two rounds step over many
    first, last = (round(s * sample_rate) for s in SEARCHED_SECONDS)
    step = max(1, round(sample_rate / SEARCH_STEPS_A_SECOND))
    tried = {lag: explained(lag) for lag in range(first, last + 1, 4 * step)}
    while True:
        best = max(tried, key=tried.__getitem__)
        near = [best + k * step for k in range(-4, 5) if best + k * step not in tried]
        if not near and step == 1:
            break
        tried |= {lag: explained(lag) for lag in near}
        if not near:
            step = max(1, step // 2)
    left, middle, right = (tried[best + k] for k in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    return best + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)


def _edges(u):
    """Bounds of 200 bins: quantiles, half of the samples and half of their energy.

    Quantiles of the samples alone would leave the loudest of a guitar to one bin.
    """
    ordered = np.sort(u)
    weight = 1.0 / len(u) + ordered**2 / np.sum(ordered**2)
    share = np.cumsum(weight)
    return np.unique(ordered[np.searchsorted(share, 2.0 * np.arange(1, BINS) / BINS)])


def _sums(bins, fold, size, *values):
    """Counts and sums of values by fold and bin, `(FOLDS, size)` each."""
    place = fold * size + bins
    return [
        np.bincount(place, weights, FOLDS * size).reshape(FOLDS, size)
        for weights in (None, *values)
    ]


def _means(bins, values, size):
    return np.bincount(bins, values, size) / np.maximum(np.bincount(bins, minlength=size), 1)


def _curve(count, inputs, outputs):
    """Straight lines through the means of the bins, and on beyond the outermost."""
    known = count > 0
    x, y = inputs[known] / count[known], outputs[known] / count[known]
    if len(x) < 2:
        return lambda u: np.full(len(u), y[0])
    slope = np.diff(y) / np.maximum(np.diff(x), np.finfo(float).tiny)

    def curve(u):
        place = np.clip(np.searchsorted(x, u) - 1, 0, len(slope) - 1)
        return y[place] + slope[place] * (u - x[place])

    return curve


def _advanced(signal, samples):
    """A signal that is periodic, or at rest at its ends, earlier by part of a sample."""
    lines = np.arange(len(signal) // 2 + 1)
    turned = scipy.fft.rfft(signal) * np.exp(2j * np.pi * lines * samples / len(signal))
    return scipy.fft.irfft(turned, len(signal))


# -- the linear approximation -----------------------------------------------------------


def best_linear_approximation(
    stimulus: np.ndarray, response: np.ndarray, sample_rate: int
) -> LinearApproximation:
    """The robust best linear approximation of a device.

    Parameters
    ----------
    stimulus : (M, n) float array
        One period of each realisation: an odd multisine, some of whose odd lines are empty.
    response : (M, P, n) float array
        P periods of the steady response to each.

    Raises
    ------
    ValueError
        Fewer than two realisations, or shapes that do not belong together.
    """
    stimulus, response = np.asarray(stimulus, np.float64), np.asarray(response, np.float64)
    realisations, frames = stimulus.shape
    if response.ndim != 3 or response.shape[::2] != stimulus.shape or realisations < 2:
        raise ValueError(
            f"got stimuli {stimulus.shape} and responses {response.shape}, expected (M, n) and "
            "(M, P, n) with two realisations or more"
        )
    periods = response.shape[1]
    X = scipy.fft.rfft(stimulus, axis=1) / frames
    each = scipy.fft.rfft(response, axis=2) / frames
    Y = np.mean(each, axis=1)
    noise = np.zeros(Y.shape[1])  # power in a line of the mean over the periods
    if periods > 1:
        scatter = np.sum(np.abs(each - Y[:, None]) ** 2, axis=1) / (periods - 1)
        noise = np.mean(scatter, axis=0) / periods

    played = np.abs(X) > 10 ** (PLAYED_DB / 20) * np.max(np.abs(X))
    count = np.sum(played, axis=0)
    lines = count > 1
    G = np.zeros_like(Y)
    np.divide(Y, X, out=G, where=played)
    mean = np.sum(G, axis=0) / np.maximum(count, 1)
    apart = np.where(played, np.abs(G - mean) ** 2, 0.0)
    variance = np.sum(apart, axis=0) / np.maximum(count - 1, 1)

    # power of the response that the mean filter leaves, line by line, averaged over realisations
    unexplained = np.where(played, variance * np.abs(X) ** 2, np.abs(Y) ** 2)
    unexplained = np.where(played & ~lines, 0.0, unexplained)
    twice = np.full(Y.shape[1], 2.0)
    twice[0] = 0.0  # the mean is no part of it
    twice[-1] = 1.0 if frames % 2 == 0 else 2.0
    total = float(np.sum(twice * np.mean(np.abs(Y) ** 2, axis=0)))
    residual = float(np.sum(twice * np.mean(unexplained, axis=0)))
    r2 = _r2(residual, total, float(np.sum(twice * noise)))

    band_hz, even_db, odd_db, noise_db = _distortion_bands(Y, played, noise, sample_rate / frames)
    return LinearApproximation(
        frequencies=np.flatnonzero(lines) * sample_rate / frames,
        response=mean[lines],
        sigma=np.sqrt(variance / np.maximum(count, 1))[lines],
        r2=r2,
        band_hz=band_hz,
        even_db=even_db,
        odd_db=odd_db,
        noise_db=noise_db,
    )


def _distortion_bands(Y, played, noise, bin_hz):
    """Levels on the empty lines of each band re the played ones, in dB."""
    used = np.flatnonzero(played.any(axis=0))
    number = np.arange(Y.shape[1])
    power = np.abs(Y) ** 2
    first = used[0] * bin_hz
    octaves = math.log2(used[-1] / used[0])
    edges = first * 2 ** (np.arange(math.floor(octaves * BANDS_AN_OCTAVE) + 1) / BANDS_AN_OCTAVE)
    rows = []
    for low, high in itertools.pairwise(edges):
        band = (number * bin_hz >= low) & (number * bin_hz < high)
        heard = played & band
        even = np.broadcast_to(band & (number % 2 == 0), played.shape)
        odd = ~played & band & (number % 2 == 1)
        if not (heard.any() and even.any() and odd.any()):
            continue
        linear = np.mean(power[heard])
        hiss = np.mean(noise[band])
        levels = [max(np.mean(power[empty]) - hiss, 0.0) / linear for empty in (even, odd)]
        rows.append((math.sqrt(low * high), *power_to_db(np.array([*levels, hiss / linear]))))
    return np.array(rows).reshape(-1, 4).T


def linear_prediction_r2(
    passages: Sequence[tuple[np.ndarray, np.ndarray]], sample_rate: int
) -> float:
    """The share of the response that the best FIR filter explains.

    Least squares over all passages, with a ridge where the stimulus has no power.

    Parameters
    ----------
    passages : sequence of pairs of (n,) float arrays
        Stimulus and response, at rest at both ends.

    Raises
    ------
    ValueError
        Fewer than two passages: half of them are held out in turn.
    """
    if len(passages) < 2:
        raise ValueError(f"got {len(passages)} passages, expected at least 2: half is held out")
    ahead, behind = (round(s * sample_rate) for s in (AHEAD_SECONDS, BEHIND_SECONDS))
    taps = ahead + behind
    own, shared = np.zeros((2, taps)), np.zeros((2, taps))
    energy = np.zeros(2)
    for k, (stimulus, response) in enumerate(passages):
        x, y = np.asarray(stimulus, np.float64), np.asarray(response, np.float64)
        y = y - np.mean(y)
        frames = scipy.fft.next_fast_len(len(x) + taps, real=True)
        X, Y = scipy.fft.rfft(x, frames), scipy.fft.rfft(y, frames)
        own[k % 2] += scipy.fft.irfft(np.abs(X) ** 2, frames)[:taps]
        cross = scipy.fft.irfft(Y * np.conj(X), frames)
        shared[k % 2] += np.concatenate([cross[-ahead:], cross[:behind]])
        energy[k % 2] += np.dot(y, y)

    def left(h, autocorrelation, correlation, power):
        column = scipy.linalg.matmul_toeplitz(autocorrelation, h)
        return float(power - 2.0 * h @ correlation + h @ column)

    def fitted(autocorrelation, correlation):
        ridged = autocorrelation.copy()
        ridged[0] *= 1.0 + RIDGE
        return scipy.linalg.solve_toeplitz(ridged, correlation)

    both = own[0] + own[1], shared[0] + shared[1]
    power = float(np.sum(energy))
    inside = left(fitted(*both), *both, power)
    outside = sum(
        left(fitted(own[1 - k], shared[1 - k]), own[k], shared[k], energy[k]) for k in (0, 1)
    )
    return _r2(_unbiased(inside, outside, 2), power, 0.0)


def _unbiased(inside, outside, folds):
    """The residual of the true fit, from that of a fit to all of it, and that of held-out folds.

    A fit of p parameters to n values leaves p/n too little of them, and that to all folds but one
    p/n folds/(folds - 1) too much of the one.
    """
    ratio = folds / (folds - 1.0)
    return (ratio * inside + outside) / (ratio + 1.0)


def _r2(residual, power, noise):
    """In 0 to 1, both powers without that of noise."""
    signal = power - noise
    if signal <= 0.0:
        return 0.0
    return float(np.clip(1.0 - (residual - noise) / signal, 0.0, 1.0))


# -- of captures ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Played:
    """Material of one kind and level, and the response to it."""

    material: Material
    level_dbfs: float
    passages: list[tuple[np.ndarray, np.ndarray]]
    sample_rate: int
    noise_power: float = 0.0  # in the passages' responses
    periods: np.ndarray | None = None  # (M, P, n) of a multisine's response

    @property
    def stimulus(self):
        return np.array([x for x, _ in self.passages])

    @property
    def is_heard(self):
        return any(np.ptp(y) > 0.0 for _, y in self.passages)

    def static(self) -> StaticFunction:
        return static_function(self.passages, self.sample_rate, noise_power=self.noise_power)


def _played(capture, warnings) -> list[_Played]:
    """The multisines from soft to loud, then guitar; what is silent is left out with a warning.

    Raises
    ------
    CaptureError
        There is nothing.
    """
    found = [
        _of_multisines(capture, level, spans, warnings)
        for level, spans in sorted(_realisations(capture).items())
        if len(spans) > 1
    ]
    guitar = _guitar(capture)
    if guitar:
        found.append(_of_guitar(capture, guitar))
    if not found:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds neither 2 s of guitar nor two realisations of "
            "an odd multisine, by which memory is told: capture distortion or standard"
        )
    for played in found:
        if not played.is_heard:
            warnings.append(f"{played.material} at {played.level_dbfs:g} dBFS: nothing came back")
    heard = [played for played in found if played.is_heard]
    if not heard:
        raise CaptureError(
            "nothing came back of what memory is told by: see that the device is on and its gate "
            "open, and capture it again"
        )
    return heard


def _telling(levels):
    """Those of which the last gives a capture its word: multisines, or guitar without any."""
    return [level for level in levels if level.material == "multisine"] or levels


def _realisations(capture) -> dict[float, list[tuple[int, int]]]:
    """First sample, and one beyond the last, of the odd multisines of a capture, by level."""
    found: dict[float, list[tuple[int, int]]] = {}
    for placed in capture.plan.placed():
        segment = placed.segment
        if isinstance(segment, Multisine) and segment.odd_only and segment.replicate_of is None:
            level = round(segment.level_dbfs + capture.plan.gain_db, 3)
            edges = np.linspace(placed.start, placed.stop, segment.realisations + 1)
            found.setdefault(level, []).extend(itertools.pairwise(edges.round().astype(int)))
    return found


def _of_multisines(capture, level, spans, warnings) -> _Played:
    rate = capture.sample_rate
    period = round(ODD_PERIOD_SECONDS * rate)
    stimuli, responses = [], []
    for start, stop in spans:
        count = (stop - start) // period
        steady = slice(start + TRANSIENT_PERIODS * period, start + count * period)
        stimuli.append(capture.stimulus[start : start + period])
        responses.append(capture.response[steady].reshape(-1, period))
    fewest = min(map(len, responses))
    if fewest == 0:
        raise CaptureError(
            f"the multisines at {level:g} dBFS: a realisation lasts one period, expected two or "
            "more, as the first is its transient: lengthen it"
        )
    if len(stimuli) < FEWEST_REALISATIONS:
        warnings.append(
            f"the multisines at {level:g} dBFS have {len(stimuli)} realisations: distortion is "
            f"told well from {FEWEST_REALISATIONS} on"
        )
    x = np.array(stimuli, np.float64)
    y = np.array([response[-fewest:] for response in responses], np.float64)
    noise = float(np.mean(np.var(y, axis=1, ddof=1))) / fewest if fewest > 1 else 0.0
    passages = list(zip(x, np.mean(y, axis=1), strict=True))
    return _Played("multisine", level, passages, rate, noise, y)


def _guitar(capture) -> list[Placed]:
    """The guitar that is played for training, or whatever guitar there is; not twice the same."""
    rate = capture.sample_rate
    played = [
        placed
        for placed in capture.plan.placed()
        if isinstance(placed.segment, Guitar | File)
        and placed.segment.replicate_of is None
        and placed.stop - placed.start >= SHORTEST_PASSAGE_SECONDS * rate
    ]
    found = [placed for placed in played if placed.segment.use == "train"] or played
    frames = sum(placed.stop - placed.start for placed in found)
    return found if frames >= FEWEST_GUITAR_SECONDS * rate else []


def _of_guitar(capture, found) -> _Played:
    rate = capture.sample_rate
    part = max(1, math.ceil(rate / MATERIAL_RATE_HZ))
    passages = []
    for placed in found:
        # one passage is two, so that there is one to hold out
        pieces = 1 if len(found) > 1 else 2
        frames = (placed.stop - placed.start) // (2 * pieces * part) * 2 * part
        for piece in range(pieces):
            first = placed.start + piece * frames
            x, y = (
                _material(signal[first : first + frames], rate, part)
                for signal in (capture.stimulus, capture.response)
            )
            passages.append((x, y))
    level = max(placed.segment.level_dbfs for placed in found) + capture.plan.gain_db
    return _Played("guitar", round(level, 3), passages, rate // part)


def _material(signal, rate, part):
    """A passage, faded, at a part of its rate."""
    fade = round(FADE_SECONDS * rate)
    edge = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade) ** 2
    faded = np.array(signal, np.float64)
    faded[:fade] *= edge
    faded[-fade:] *= edge[::-1]
    if part == 1:
        return faded
    frames = len(faded) // part
    return scipy.fft.irfft(scipy.fft.rfft(faded)[: frames // 2 + 1], frames) / part


def _measured(played, capture_rate) -> MemoryAtLevel:
    static = played.static()
    lines = None
    if played.periods is None:
        linear_r2 = linear_prediction_r2(played.passages, played.sample_rate)
    else:
        linear = best_linear_approximation(played.stimulus, played.periods, played.sample_rate)
        linear_r2 = linear.r2
        lines = DistortionLevels(
            frequency_hz=tuple(np.round(linear.band_hz, 2).tolist()),
            even_db=_levels(linear.even_db, linear.noise_db),
            odd_db=_levels(linear.odd_db, linear.noise_db),
            noise_db=_levels(linear.noise_db, np.full(len(linear.noise_db), -np.inf)),
        )

    def points(values):
        return tuple(np.round(values, 6).tolist())

    return MemoryAtLevel(
        material=played.material,
        level_dbfs=played.level_dbfs,
        rms_dbfs=round(rms_dbfs(np.concatenate([x for x, _ in played.passages])), 2),
        static_r2=static.r2,
        linear_r2=linear_r2,
        word=word_for(static.r2, linear_r2),
        curve=StaticCurve(
            delay_samples=round(static.delay_samples * capture_rate / played.sample_rate, 3),
            input=points(static.inputs),
            output=points(static.outputs),
            rising=points(static.rising),
            falling=points(static.falling),
            hysteresis_percent=100.0 * static.hysteresis,
        ),
        lines=lines,
    )


def _levels(levels_db, noise_db):
    return tuple(
        round(float(level), 2) if np.isfinite(level) and level > noise + TOLD_ABOVE_DB else None
        for level, noise in zip(levels_db, noise_db, strict=True)
    )
