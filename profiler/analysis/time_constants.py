"""Effective time constants: by which exponentials something comes to rest, and how surely.

Variable projection (Golub and Pereyra, SIAM J. Numer. Anal. 10(2), 1973): for given time constants
the amplitudes and the final value are a linear least-squares problem, so only the constants are
searched for, over a grid and then by Gauss-Newton with Kaufman's Jacobian (BIT 15, 1975). Several
tracks that share the constants (real and imaginary part of several harmonics) are fitted together.
The final value of each is always fitted along: a baseline that is wrong by a little would else
become a slow mode of its own.

How many exponentials there are, none, one or two, is decided by the Bayesian information criterion,
for as many independent points as the residual leaves. Two that are not surely further apart than
1:2 cannot be told from a continuum: then one effective constant is given, that of the later part;
and so it is where something begins as no exponential at all, such as a grid that blocks.

The confidence interval is that of the residual as it is, its correlation over time included
(hum and low-frequency noise are not independent from point to point).

Conventions
-----------
Tracks are `(n, m)` float arrays, evenly spaced in time. A share is the amplitude of a mode at the
first point of the fit, over all tracks, re a level that is given. What is over within one step
has no constant that could be told, and none is told.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from profiler.definitions import Record

GRID = 48  # constants that are tried, evenly in their logarithm
LONGEST_PART = 1.0  # of the time that is seen: what is slower is a drift
LEAST_RATIO = 2.0  # between two constants, or they are one
RATIO_SIGMAS = 3.0  # by which it must be surpassed
OCTAVES, WITHIN_AN_OCTAVE = 40, 4  # that are tried as a continuum, and its modes
SURELY_WORSE = 10.0  # log likelihood, twice, of such a continuum: "very strong" evidence
CONFIDENCE_SIGMAS = 1.96  # 95 %
SUREST = 0.5  # sigma of a constant's logarithm; what is less sure is no constant
LEAST_SHARE = 1e-3  # of the level, -60 dB: no time that is told depends on less
MISFIT = 0.02  # of the energy of the change, that a fit may leave
NOISE_RATIO = 4.0  # of the power of noise early and late, at most
FEWEST_POINTS = 12
CORRELATION_SECONDS = 0.05  # over which a residual may be correlated: hum has 20 ms
LATE_PART = 0.25  # of the largest change: below it is the later part of what is no exponential
STARTS, LATER_POINTS = 3, 3  # of a fit: how often, and by how much, it may begin later
ROUNDING = 1e-8  # of the largest value, at least, for the noise
STEPS = 20  # of Gauss-Newton


class TimeConstant(Record):
    """A time constant with its interval of 95 % confidence."""

    tau_ms: float
    low_ms: float
    high_ms: float
    share: float


class TimeConstants(Record):
    """The one or two exponentials of a settling, the shorter first; none where there is none."""

    constants: tuple[TimeConstant, ...] = ()
    late: bool = False  # one effective constant, of the later part
    from_ms: float | None = None  # where the fit begins, from the beginning of the time

    @property
    def longest(self) -> TimeConstant | None:
        """The slowest constant, if there is any."""
        return self.constants[-1] if self.constants else None


@dataclass(frozen=True)
class _Fit:
    """Exponentials, as fitted to weighted tracks."""

    taus: np.ndarray  # (q,) s, ascending
    final: np.ndarray  # (m,)
    amplitudes: np.ndarray  # (q, m) at the first point
    residual: np.ndarray  # (n, m)
    covariance: np.ndarray  # (q, q) of the logarithms
    whole: float = 0.0  # s, the constant of a single exponential


NOTHING = _Fit(np.empty(0), np.empty(0), np.empty((0, 0)), np.empty((0, 0)), np.empty((0, 0)))


def time_constants(seconds: np.ndarray, tracks: np.ndarray, *, level: float = 1.0) -> TimeConstants:
    """The exponentials by which tracks come to their final values.

    Parameters
    ----------
    seconds : (n,) float array
        Evenly spaced.
    tracks : (n, m) or (n,) float array
        What is observed, in the units of `level`; complex tracks as two real ones.
    level : float
        What shares refer to, such as the amplitude of the steady tone.

    Returns
    -------
    TimeConstants
        None where there is nothing above the noise, or too few points to tell.
    """
    tracks = _as_columns(tracks)
    step = seconds[1] - seconds[0] if len(seconds) > 1 else 0.0
    for begin, found, late in _candidates(seconds, tracks, level):
        if not _is_a_decay(found, seconds[begin:], level) or found.taus[-1] <= step:
            continue
        if not _fits_well(found, tracks[begin:]):
            continue
        sigmas = np.sqrt(np.diag(found.covariance))
        constants = tuple(
            TimeConstant(
                tau_ms=1e3 * float(tau),
                low_ms=1e3 * float(tau * math.exp(-CONFIDENCE_SIGMAS * sigma)),
                high_ms=1e3 * float(tau * math.exp(CONFIDENCE_SIGMAS * sigma)),
                share=float(share),
            )
            for tau, sigma, share in zip(found.taus, sigmas, _sizes(found) / level, strict=True)
            if tau > step
        )
        return TimeConstants(constants=constants, late=late, from_ms=1e3 * float(seconds[begin]))
    return TimeConstants()


def _candidates(seconds, tracks, level):
    """Where a fit begins, the fit, and whether it is that of a later part; the best first."""
    begin, found = _without_what_is_over_at_once(seconds, tracks, level)
    if not len(found.taus):
        return
    if len(found.taus) == 1 or _are_apart(found, seconds[begin:], tracks[begin:]):
        yield begin, found, False
    else:
        later = begin + int(np.searchsorted(seconds[begin:], seconds[begin] + found.whole))
        yield later, _single(seconds[later:], tracks[later:]), True
    later = _where_little_is_left(tracks)
    yield later, _single(seconds[later:], tracks[later:]), True
    yield begin, _single(seconds[begin:], tracks[begin:]), False


def final_values(seconds: np.ndarray, tracks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where tracks that may still decay will end, and what is left of the decay at each point.

    A single exponential, where the information criterion finds one: for the late part of
    something that settles.

    Returns
    -------
    final : (m,) float array
    remaining : (n, m) float array
        The exponential; zeros where there is none.
    """
    tracks = _as_columns(tracks)
    none = np.mean(tracks, axis=0), np.zeros_like(tracks)
    if not _can_be_fitted(tracks):
        return none
    fits = _fits(seconds, tracks)[:2]
    if _order(fits, seconds) == 0 or not _is_a_decay(fits[1], seconds, 0.0):
        return none
    fit = fits[1]
    return fit.final, np.exp(-(seconds - seconds[0]) / fit.taus[0])[:, None] * fit.amplitudes


def _without_what_is_over_at_once(seconds, tracks, level):
    """Where the fit begins, and the fit: later, while the fastest mode is gone within a step."""
    for begin in range(0, STARTS * LATER_POINTS, LATER_POINTS):
        if not _can_be_fitted(tracks[begin:]):
            return begin, NOTHING
        fits = _fits(seconds[begin:], tracks[begin:])
        order = _order(fits, seconds)
        if order == 2 and np.min(_sizes(fits[2])) < LEAST_SHARE * level:
            order = 1
        found = replace(fits[order], whole=float(fits[1].taus[0]))
        if not order or found.taus[0] > seconds[1] - seconds[0]:
            break
    return begin, found


def _single(seconds, tracks):
    return _fits(seconds, tracks)[1] if _can_be_fitted(tracks) else NOTHING


def _where_little_is_left(tracks):
    """The first point from which on no track is far from where it ends."""
    away = np.max(np.abs(tracks - np.mean(tracks[-len(tracks) // 10 :], axis=0)), axis=1)
    return int(np.flatnonzero(away > LATE_PART * np.max(away))[-1]) + 1


def _as_columns(tracks):
    tracks = np.asarray(tracks, np.float64)
    return tracks[:, None] if tracks.ndim == 1 else tracks


def _can_be_fitted(tracks):
    return len(tracks) >= FEWEST_POINTS and bool(np.any(np.ptp(tracks, axis=0)))


def _fits(seconds, tracks):
    """The best fits of no, one and two exponentials."""
    t = seconds - seconds[0]
    scale = np.max(np.abs(tracks - tracks.mean(axis=0)))
    least = (ROUNDING * max(scale, np.max(np.abs(tracks)))) ** 2
    taus, columns = _grid(t)
    # the second time weighted by what noise each track turned out to have
    two = _search(taus, columns, tracks)[-1]
    left = _projected(t, tracks, two)[-1]
    noise = np.sqrt(np.maximum(np.mean(left**2, axis=0), least))
    starts = _search(taus, columns, tracks / noise)
    return [_refined(t, tracks, start, noise) for start in starts]


def _grid(t):
    """Constants, and an exponential of each without its mean, of energy 1."""
    taus = np.geomspace(t[1] - t[0], LONGEST_PART * t[-1], GRID)
    columns = np.exp(-t[:, None] / taus)
    columns -= columns.mean(axis=0)
    return taus, columns / np.sqrt(np.sum(columns**2, axis=0))


def _search(taus, columns, tracks):
    """The best none, one and two constants of a grid, by the energy that they leave."""
    shared = columns.T @ (tracks - tracks.mean(axis=0))  # (GRID, m)
    own = np.sum(shared**2, axis=1)
    across = shared @ shared.T
    overlap = columns.T @ columns
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = (own[:, None] + own - 2 * overlap * across) / (1 - overlap**2)
    explained[overlap > 1 - 1e-9] = 0.0
    first, second = sorted(np.unravel_index(np.argmax(explained), explained.shape))
    return np.empty(0), taus[[np.argmax(own)]], taus[[first, second]]


def _refined(t, tracks, taus, noise):
    """The fit nearest to a start."""
    weighted = tracks / noise
    step, longest = t[1] - t[0], LONGEST_PART * t[-1]
    basis, weights, residual = _projected(t, weighted, taus)
    energy = np.sum(residual**2)
    for _ in range(STEPS if len(taus) else 0):
        slopes, normal = _slopes(t, taus, basis, weights)
        wanted = np.sum(slopes * (residual @ weights[1:].T), axis=0)
        change = np.clip(np.linalg.lstsq(normal, wanted, rcond=1e-12)[0], -0.5, 0.5)
        while np.max(np.abs(change)) > 1e-7:
            tried = np.clip(taus * np.exp(change), 0.5 * step, longest)
            trial = _projected(t, weighted, tried)
            if np.sum(trial[2] ** 2) < energy:
                break
            change = change / 4
        else:
            break
        taus, (basis, weights, residual) = tried, trial
        energy = np.sum(residual**2)
    covariance = _covariance(t, taus, basis, weights, residual)
    order = np.argsort(taus)
    return _Fit(
        taus[order],
        weights[0] * noise,
        weights[1:][order] * noise,
        residual * noise,
        covariance[np.ix_(order, order)],
    )


def _projected(t, tracks, taus):
    """Constant and exponentials, their weights, and what is left of the tracks."""
    columns = np.concatenate([np.ones((len(t), 1)), np.exp(-t[:, None] / taus)], axis=1)
    basis, triangle = np.linalg.qr(columns)
    weights = np.linalg.lstsq(triangle, basis.T @ tracks, rcond=1e-12)[0]
    return basis, weights, tracks - columns @ weights


def _slopes(t, taus, basis, weights):
    """How the exponentials change with the logarithms of their constants, free of what the
    amplitudes take up (Kaufman), and the normal matrix."""
    slopes = np.exp(-t[:, None] / taus) * t[:, None] / taus
    slopes -= basis @ (basis.T @ slopes)
    return slopes, (slopes.T @ slopes) * (weights[1:] @ weights[1:].T)


def _covariance(t, taus, basis, weights, residual):
    """Covariance of the logarithms, for a residual that is correlated over time.

    Of two, the larger: one that knows correlation up to `CORRELATION_SECONDS`, but each lag of
    it badly, and one that knows the next neighbours' well.
    """
    if not len(taus):
        return np.empty((0, 0))
    slopes, normal = _slopes(t, taus, basis, weights)
    spectrum = scipy.fft.rfft(slopes, 2 * len(t), axis=0)
    scores = []
    for lags in (_lags(t), 2):
        score = np.zeros_like(normal)
        for track, amplitudes in zip(residual.T, weights[1:].T, strict=True):
            correlation = _correlation(track, lags, 1 + 2 * len(taus))
            kernel = np.zeros(2 * len(t))
            kernel[:lags], kernel[len(kernel) - lags + 1 :] = correlation, correlation[:0:-1]
            power = scipy.fft.rfft(kernel).real
            spread = scipy.fft.irfft(power[:, None] * spectrum, 2 * len(t), axis=0)[: len(t)]
            score += (slopes.T @ spread) * np.outer(amplitudes, amplitudes)
        scores.append(score)
    inverse = np.linalg.pinv(normal, rcond=1e-12)
    return inverse @ max(scores, key=np.trace) @ inverse


def _lags(t):
    return min(len(t) // 4, 1 + round(CORRELATION_SECONDS / (t[1] - t[0])))


def _correlation(track, lags, fitted):
    """Autocovariance of a residual up to a lag, tapered (Bartlett) so that it is a covariance.

    What was `fitted`, a few slow functions, is missing from a residual: that makes neighbours
    look opposed, each lag by as much.
    """
    n = len(track)
    padded = scipy.fft.rfft(track, 2 * n)
    found = scipy.fft.irfft(np.abs(padded) ** 2, 2 * n)[:lags] / n
    taper = 1 - np.arange(lags) / lags if lags > 2 else 1.0
    return (found + found[0] * fitted / (n - fitted)) * taper


def _order(fits, seconds):
    """How many exponentials the Bayesian information criterion finds worth their parameters."""
    n, tracks = fits[0].residual.shape
    scale = max(np.max(np.abs(fit.residual)) for fit in fits)
    scale = max(scale, np.max(np.abs(fits[0].final)))
    energies = [np.sum(fit.residual**2, axis=0) + n * (ROUNDING * scale) ** 2 for fit in fits]
    independent = _independent(fits[-1], seconds - seconds[0])
    criteria = [
        independent * np.sum(np.log(energy)) + (1 + tracks) * order * math.log(independent)
        for order, energy in enumerate(energies)
    ]
    return int(np.argmin(criteria))


def _independent(fit, t):
    """How many independent points the residual of a fit is worth."""
    lags = _lags(t)
    stretch = []
    for track in fit.residual.T:
        correlation = _correlation(track, lags, 5)
        if correlation[0] > 0.0:
            stretch.append(1 + 2 * np.sum(correlation[1:]) / correlation[0])
    return len(t) / max(float(np.mean(stretch)) if stretch else 1.0, 1.0)


def _fits_well(fit, tracks):
    """Whether next to nothing is left of the change, or what is left is as large at the end."""
    power = np.sum(fit.residual**2, axis=1)
    if np.sum(power) < MISFIT * np.sum((tracks - np.mean(tracks, axis=0)) ** 2):
        return True
    third = len(power) // 3
    return bool(np.mean(power[:third]) < NOISE_RATIO * np.mean(power[-third:]))


def _sizes(fit):
    """Of the modes at the first point, over all tracks."""
    return np.sqrt(np.sum(fit.amplitudes**2, axis=1))


def _are_apart(fit, seconds, tracks):
    """Whether two constants are surely further apart than 1:2.

    By their interval; and no continuum within 1:2 may explain the tracks nearly as well, whose
    several modes would look like two that are further apart than any of them.
    """
    (first, across), (_, second) = fit.covariance
    sigma = math.sqrt(max(first + second - 2 * across, 0.0))
    distance = math.log(fit.taus[1] / fit.taus[0]) - math.log(LEAST_RATIO)
    if distance < RATIO_SIGMAS * sigma:
        return False
    t = seconds - seconds[0]
    energy = np.sum(fit.residual**2, axis=0)
    energy += len(t) * (ROUNDING * np.max(np.abs(tracks))) ** 2
    weighted = tracks / np.sqrt(energy)
    continuum = math.inf
    for shortest in np.geomspace(t[1], t[-1] / LEAST_RATIO, OCTAVES):
        taus = shortest * np.geomspace(1.0, LEAST_RATIO, WITHIN_AN_OCTAVE)
        left = np.sum(_projected(t, weighted, taus)[-1] ** 2, axis=0)
        continuum = min(continuum, float(np.sum(np.log(np.maximum(left, 1e-300)))))
    return continuum * _independent(fit, t) > SURELY_WORSE


def _is_a_decay(fit, seconds, level):
    """Whether what was fitted is worth to be told: sure, seen to its end, and not too small."""
    if not len(fit.taus) or np.max(_sizes(fit)) < LEAST_SHARE * level:
        return False
    slowest = 0.99 * LONGEST_PART * (seconds[-1] - seconds[0])
    return bool(np.all(np.diag(fit.covariance) < SUREST**2) and fit.taus[-1] < slowest)
