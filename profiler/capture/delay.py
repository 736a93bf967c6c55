"""Estimating a delay: cross-spectra of stretches of a take, and what their phase says.

A take is looked at in *stretches*: its markers, or, where it has none, a second of its
programme each. A stretch's cross-spectrum with the stimulus gives a delay relative to the
others (the phase between them has only the delay in it, whatever the device), and all of
them together give the device's linear transfer function H = Syx/Sxx.

An analogue device has no pure delay, only filters, and the linear part of its phase is
nobody's latency. What is called its delay here is what H's phase has beyond the phase that
its magnitude implies: the *excess phase* (Oppenheim and Schafer, Discrete-Time Signal
Processing, ch. 5 and 13). The implied, minimum phase is that of the real cepstrum.

Conventions
-----------
Spectra of a stretch are over `frames_of(sample_rate)` samples, 0.25 s. A delay is the
position in the response minus the position in the stimulus, in samples.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.signal

from profiler.stimulus.marker import HIGHEST_HZ, LOWEST_HZ, half_frames
from profiler.stimulus.plan import MARKER_CODE_SECONDS, Placed

BAND_HZ = (LOWEST_HZ, HIGHEST_HZ)
BINS_AN_OCTAVE = 24  # to which H is averaged before its phase is read
MODEL_PHASE = 0.01  # radians that a line of H is off its minimum phase at the least
LEAST_POWER = 1e-7  # of a line, re the strongest: below it distortion is all that comes back
LEAST_POWER_OF_A_WIRE = 1e-9  # where there is no distortion: below it nothing was played
NOT_PLAYED = 1e12  # variance of H where nothing was played
GAIN_ROUNDS = 3
LEAST_GAIN = 0.01  # of a stretch, re the others
LEAST_LINE_SNR = 3.0  # of an averaged bin of H: 5 dB, below it the bin is not believed
CEPSTRUM_OCTAVES = 4  # above half the sample rate, so that nothing folds back
STEEPEST_SLOPE = 12.0  # |H| is continued beyond the band by a power of f, at most 72 dB/octave
CONTINUED_FROM_RATIO = 2.0  # an octave at the band's edge says how it is continued
EXPECTED_BEND = 1.0  # change of that power beyond the edge, which the phase within it shows
CHI_TERMS = np.arange(1, 801, 2) ** -2.0  # of Legendre's chi function of order two

LONGEST_TRANSFORM = 500_000  # samples that are correlated in one piece
WIDE_STEP, NARROW_STEP = 3.2, 0.1  # samples, of the grid in which a delay is looked for first

# Correlations nearer to a marker's peak than this belong to the device's own response.
RINGING_SECONDS = 0.01


@dataclass(frozen=True)
class Stretch:
    """Cross-spectrum of a piece of the take, read at a whole delay of its own."""

    start: int  # first and
    stop: int  # last sample of the stimulus in it, one beyond
    lag: int
    cross: np.ndarray  # (k,) sum of Y conj(X)
    power: np.ndarray  # (k,) sum of |X|^2
    response_power: np.ndarray  # (k,) sum of |Y|^2

    @property
    def centre(self) -> float:
        return 0.5 * (self.start + self.stop)


@dataclass(frozen=True)
class Transfer:
    """H of the device from several stretches, each moved to the delay of them all."""

    frequencies: np.ndarray  # (k,) in Hz
    response: np.ndarray  # (k,) complex, referred to `lag`
    variance: np.ndarray  # (k,) of `response`, from the scatter of the stretches
    lag: int  # whole delay that is not in `response`'s phase


@dataclass(frozen=True)
class Delay:
    """A delay, how well it is known, and the sign of the device."""

    samples: float
    sigma: float
    polarity: int
    residual: float  # phase that the delay leaves, weighted RMS in radians


def frames_of(sample_rate: int) -> int:
    """Frames of a spectrum."""
    return half_frames(sample_rate)


def matched(stimulus, response, placed: Placed, sample_rate, earliest, latest, halves=(0, 1)):
    """Find a marker, or one of its halves, within a range of delays; see `matched_code`."""
    frames = round(MARKER_CODE_SECONDS * sample_rate)
    code = stimulus[placed.start : placed.start + frames]
    first = placed.start + earliest
    last = placed.start + latest
    at, confidence = matched_code(code, response, sample_rate, first, last, halves)
    return at - placed.start, confidence


def matched_code(code, response, sample_rate, first, last, halves=(0, 1)):
    """Find a marker's code, and its inversion after it, from sample `first` to `last`.

    Returns
    -------
    at : int
        Where the marker begins: the correlation is largest there, of either sign.
    confidence_db : float
        That correlation over the largest more than 10 ms away; 0 where there is nothing.
    """
    half = half_frames(sample_rate)
    span = last - first + len(code)
    read = piece(response, first, span + half)
    searched = sum((1 - 2 * k) * read[k * half : k * half + span] for k in halves)
    correlation = np.abs(_correlated(searched, code))
    peak = int(np.argmax(correlation))
    highest = correlation[peak]
    if highest == 0.0:
        return first, 0.0
    near = round(RINGING_SECONDS * sample_rate)
    # a half of the marker matches the other, too
    own = (peak - half, peak, peak + half) if len(halves) == 2 else (peak,)
    for at in own:
        correlation[max(at - near, 0) : max(at + near + 1, 0)] = 0.0
    if len(halves) == 1:  # and where one is broken, the pieces of it anywhere around
        reach = half - len(code)
        correlation = correlation[max(peak - reach + 1, 0) : peak + reach]
    other = max(np.max(correlation), 1e-6 * highest)
    return first + peak, float(20 * np.log10(highest / other))


def marker_stretch(stimulus, response, placed: Placed, sample_rate, lag, halves=(0, 1)):
    """The cross-spectrum of a marker, or of one of its halves."""
    frames = frames_of(sample_rate)
    early = _early(sample_rate)
    sums = _zeros(frames)
    for half in halves:
        start = placed.start + half * frames
        x = piece(stimulus, start, frames)
        y = piece(response, start + lag - early, frames)
        _accumulate(sums, np.roll(x, early), y, 1.0)
    start, stop = placed.start + halves[0] * frames, placed.start + (halves[-1] + 1) * frames
    return Stretch(start, stop, lag, *sums)


def programme_stretch(stimulus, response, start, stop, sample_rate, lag):
    """The cross-spectrum of any piece of programme: Welch's, half overlapped."""
    frames = frames_of(sample_rate)
    window = scipy.signal.windows.hann(frames, sym=False)
    sums = _zeros(frames)
    for first in range(start, max(stop - frames, start) + 1, frames // 2):
        x = piece(stimulus, first, frames)
        y = piece(response, first + lag, frames)
        _accumulate(sums, x, y, window)
    return Stretch(start, stop, lag, *sums)


def piece(signal, start, frames):
    """`frames` samples from `start` as float64, zeros where the signal has none."""
    out = np.zeros(frames)
    first, last = max(start, 0), min(start + frames, len(signal))
    if last > first:
        out[first - start : last - start] = signal[first:last]
    return out


def relative_delays(stretches, sample_rate, best: int, *, rounds: int = 2):
    """Delays of stretches against each other, free of the device's own phase.

    `best` is the index of the stretch with which the comparison begins.

    Returns
    -------
    (m,) float array
        Delay of each stretch beyond its `lag`, up to a constant common to all.
    Transfer
        H of all of them at the first stretch's lag.
    """
    frames = frames_of(sample_rate)
    frequencies = scipy.fft.rfftfreq(frames, 1 / sample_rate)
    crosses = np.array([stretch.cross for stretch in stretches])
    powers = np.array([stretch.power for stretch in stretches])
    band = _band(frequencies, sample_rate)
    # each counts the same, however loud, and at the gain that the device had for it
    loudness = np.sum(powers, axis=1)[:, None]
    crosses, powers = crosses / loudness, powers / loudness
    reference, weights = crosses[best], band.astype(float)
    for _ in range(rounds):
        offsets = np.array([_offset(cross, reference, weights, frames) for cross in crosses])
        offsets -= np.median(offsets)
        moved = crosses * np.exp(2j * np.pi * np.outer(offsets / sample_rate, frequencies))
        transfer = _transfer(frequencies, moved, powers, stretches[0].lag)
        for _ in range(GAIN_ROUNDS):
            gains = _gains(moved, powers * transfer.response, band)
            transfer = _transfer(frequencies, moved / gains[:, None], powers, stretches[0].lag)
        reference = transfer.response * np.sum(powers, axis=0)
        weights = _weights(transfer, sample_rate)
    return offsets, transfer


def transfer_of(stretches, sample_rate) -> Transfer:
    """H of stretches that have one lag."""
    frequencies = scipy.fft.rfftfreq(frames_of(sample_rate), 1 / sample_rate)
    crosses = np.array([stretch.cross for stretch in stretches])
    powers = np.array([stretch.power for stretch in stretches])
    return _transfer(frequencies, crosses, powers, stretches[0].lag, LEAST_POWER_OF_A_WIRE)


def wiener(stretches, lag, sample_rate) -> Transfer:
    """H of stretches shrunk by its coherence: the best linear prediction, and its lag.

    It reaches as far as the programme does, which a marker's band does not.
    """
    transfer = transfer_of(stretches, sample_rate)
    cross = np.abs(sum(stretch.cross for stretch in stretches)) ** 2
    power = sum(stretch.power for stretch in stretches)
    response_power = sum(stretch.response_power for stretch in stretches)
    coherence = cross / (power * response_power + 1e-300)
    return replace(transfer, response=transfer.response * coherence, lag=lag)


def offset_between(stretch: Stretch, transfer: Transfer, sample_rate) -> float:
    """Delay of a stretch beyond that of H, in samples, told by the lines that come back."""
    weights = _weights(transfer, sample_rate)
    offset = _offset(stretch.cross, transfer.response, weights, frames_of(sample_rate))
    return stretch.lag - transfer.lag + offset


def whitened_peak(stretch: Stretch, sample_rate):
    """Whole delay of a stretch beyond its lag, and how far its peak stands out.

    Returns
    -------
    offset : int
        At which the cross-correlation, whitened by both spectra, is largest.
    confidence_db : float
        That peak over the largest more than 10 ms away.
    """
    frames = frames_of(sample_rate)
    frequencies = scipy.fft.rfftfreq(frames, 1 / sample_rate)
    both = np.sqrt(stretch.power * stretch.response_power)
    both += 1e-3 * np.max(both) + 1e-30
    weighted = _band(frequencies, sample_rate) * stretch.cross / both
    correlation = np.abs(scipy.fft.irfft(weighted, frames))
    peak = int(np.argmax(correlation))
    near = round(RINGING_SECONDS * sample_rate)
    elsewhere = np.roll(correlation, -peak)[near:-near]
    confidence = 20 * np.log10((correlation[peak] + 1e-30) / (np.max(elsewhere) + 1e-30))
    return (peak - frames if peak > frames // 2 else peak), float(confidence)


def phase_delay(transfer: Transfer, sample_rate) -> Delay:
    """The delay of a path that has nothing but a delay: a loopback.

    A weighted least-squares slope of the phase, with a term in 1/f for the AC coupling of
    converters, whose first-order high pass would else pull the slope.
    """
    usable = _band(transfer.frequencies, sample_rate)
    f, H, variance = (
        transfer.frequencies[usable],
        transfer.response[usable],
        transfer.variance[usable],
    )
    weights = 1.0 / (variance / np.maximum(np.abs(H) ** 2, 1e-30) + 1e-6)  # 1 mrad is believed
    return _slope(
        f, H, weights, transfer.lag, sample_rate, search=64.0, nuisances=((1.0 / f, 10.0),)
    )


def excess_delay(transfer: Transfer, sample_rate) -> Delay | None:
    """The delay of a device: the slope of its phase beyond its minimum phase.

    None where not even an octave of the band is above the noise.
    """
    bins = _binned(transfer, sample_rate)
    if bins is None:
        return None
    f, H, variance, lines = bins
    weights = 1.0 / (variance / np.abs(H) ** 2 + MODEL_PHASE**2 / np.minimum(lines, 8))
    minimum = minimum_phase(f, np.abs(H), sample_rate)
    return _slope(
        f,
        H * np.exp(-1j * minimum),
        weights,
        transfer.lag,
        sample_rate,
        search=48.0,
        nuisances=(
            (-_phase_beyond(f / f[-1]), EXPECTED_BEND),
            (_phase_beyond(f[0] / f), EXPECTED_BEND),
        ),
    )


def impulse_response(transfer: Transfer, frames, before):
    """H as `frames` taps, the tap `before` being no delay beyond the transfer's lag."""
    taps = scipy.fft.irfft(transfer.response, 2 * (len(transfer.response) - 1))
    return np.roll(taps, before)[:frames]


def _correlated(signal, code):
    """The correlation of a signal with a code, wherever it lies within the signal."""
    if len(signal) > LONGEST_TRANSFORM:
        return scipy.signal.oaconvolve(signal, code[::-1], mode="valid")
    frames = scipy.fft.next_fast_len(len(signal), real=True)
    both = scipy.fft.rfft(signal, frames) * np.conj(scipy.fft.rfft(code, frames))
    return scipy.fft.irfft(both, frames)[: len(signal) - len(code) + 1]


def _early(sample_rate):
    """Samples read before a marker is due: what rings ahead of it in the converters."""
    return round(0.002 * sample_rate)


def _zeros(frames):
    lines = frames // 2 + 1
    return np.zeros(lines, dtype=complex), np.zeros(lines), np.zeros(lines)


def _accumulate(sums, x, y, window):
    X, Y = scipy.fft.rfft(x * window), scipy.fft.rfft(y * window)
    sums[0][:] += Y * np.conj(X)
    sums[1][:] += np.abs(X) ** 2
    sums[2][:] += np.abs(Y) ** 2


def _band(frequencies, sample_rate):
    return (frequencies >= BAND_HZ[0]) & (frequencies <= min(BAND_HZ[1], 0.4 * sample_rate))


def _transfer(frequencies, crosses, powers, lag, least=LEAST_POWER):
    """H and its variance from the scatter of the stretches about it, power-weighted."""
    power = powers.sum(axis=0)
    played = power > least * np.max(power, initial=0.0)
    power = np.where(played, power, 1.0)
    H = np.where(played, crosses.sum(axis=0) / power, 0.0)
    scatter = np.sum(np.abs(crosses - H * powers) ** 2, axis=0) / power**2
    count = max(len(crosses), 2)
    variance = _smooth(scatter * count / (count - 1))
    return Transfer(frequencies, H, np.where(played, variance, NOT_PLAYED), lag)


def _weights(transfer, sample_rate):
    """How far the phase of each line is believed, 0 to 1: by its SNR, within the band."""
    snr = _smooth(np.abs(transfer.response) ** 2 / _positive(transfer.variance))
    return _band(transfer.frequencies, sample_rate) * snr / (1 + snr)


def _gains(crosses, expected, band):
    """What each cross-spectrum is of the one that is expected, their mean being 1."""
    shared = np.sum((crosses * np.conj(expected)).real[:, band], axis=1)
    gains = np.maximum(shared / np.sum(np.abs(expected[:, band]) ** 2, axis=1), LEAST_GAIN)
    return gains / np.mean(gains)


def _smooth(lines, width=9):
    return np.convolve(lines, np.ones(width) / width, mode="same")


def _positive(values):
    return np.maximum(values, 1e-30 + 1e-12 * np.max(values, initial=0.0))


def _offset(cross, reference, weights, frames):
    """Delay of one cross-spectrum against another: the peak of their whitened product."""
    product = cross * np.conj(reference)
    product = weights * product / _positive(np.abs(product))
    finer = 2
    peaks = scipy.fft.irfft(product, finer * frames)
    at = int(np.argmax(peaks))
    left, middle, right = peaks[at - 1], peaks[at], peaks[(at + 1) % len(peaks)]
    offset = (at + 0.5 * (left - right) / (left - 2 * middle + right)) / finer
    offset -= frames if offset > frames / 2 else 0
    # the slope of what phase is left: twice, as a sine is no straight line
    lines = np.flatnonzero(product)
    product = product[lines]
    inertia = np.sum(lines**2 * np.abs(product))
    for _ in range(2):
        left_over = product * np.exp(2j * np.pi / frames * offset * lines)
        offset -= np.sum(lines * left_over.imag) / inertia * frames / (2 * np.pi)
    return offset


def _binned(transfer, sample_rate):
    """H averaged over 1/24 octave in the part of the band that is above the noise."""
    f, H = transfer.frequencies, transfer.response
    usable = np.flatnonzero(_band(f, sample_rate))
    bins = np.floor(BINS_AN_OCTAVE * np.log2(f[usable] / BAND_HZ[0])).astype(int)
    _, index, lines = np.unique(bins, return_inverse=True, return_counts=True)
    mean = np.bincount(index, H[usable].real) + 1j * np.bincount(index, H[usable].imag)
    mean /= lines
    variance = np.bincount(index, transfer.variance[usable]) / lines**2
    centre = np.bincount(index, f[usable]) / lines
    believed = np.abs(mean) ** 2 > LEAST_LINE_SNR * variance
    first, last = _longest_run(believed)
    if last - first < BINS_AN_OCTAVE:
        return None
    run = slice(first, last)
    return centre[run], mean[run], variance[run], lines[run]


def _longest_run(flags):
    """First and one beyond the last of the longest run, small holes allowed."""
    filled = np.convolve(flags, np.ones(5), mode="same") >= 3
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled.astype(int), [0]])))
    if edges.size == 0:
        return 0, 0
    starts, stops = edges[::2], edges[1::2]
    longest = int(np.argmax(stops - starts))
    return int(starts[longest]), int(stops[longest])


def minimum_phase(frequencies, magnitude, sample_rate):
    """Phase that a magnitude implies, `(m,)` at its own rising frequencies, in radians.

    Beyond the band the magnitude is continued by a power of f, far above half the sample
    rate: so it goes on in a circuit, and what the converters' filters do there is not the
    device's.
    """
    spacing = sample_rate / frames_of(sample_rate)
    lines = frames_of(sample_rate) * 2 ** (CEPSTRUM_OCTAVES - 1)
    grid = np.maximum(np.arange(lines + 1) * spacing, 0.5 * spacing)
    u, log_magnitude = np.log(frequencies), np.log(magnitude)
    wide = np.interp(np.log(grid), u, log_magnitude)
    for outside, near in (
        (grid < frequencies[0], frequencies <= frequencies[0] * CONTINUED_FROM_RATIO),
        (grid > frequencies[-1], frequencies >= frequencies[-1] / CONTINUED_FROM_RATIO),
    ):
        edge = u[0] if near[0] else u[-1]
        slope, level = np.polyfit(u[near] - edge, log_magnitude[near], 1)
        slope = np.clip(slope, -STEEPEST_SLOPE, STEEPEST_SLOPE)
        wide[outside] = level + slope * (np.log(grid[outside]) - edge)
    cepstrum = scipy.fft.irfft(wide)
    folded = np.zeros_like(cepstrum)
    folded[0] = cepstrum[0]
    folded[1:lines] = 2 * cepstrum[1:lines]
    folded[lines] = cepstrum[lines]
    return np.interp(frequencies, grid, scipy.fft.rfft(folded).imag)


def _slope(f, H, weights, lag, sample_rate, *, search, nuisances):
    """Delay and sign of H: a coarse grid, then weighted least squares on the phase.

    `nuisances` are other shapes the phase may have, `(columns, m)`, each with the spread that
    its coefficient is expected to have.
    """
    omega = 2 * np.pi * f / sample_rate
    unit = H / np.abs(H)
    # a delay of the grid is a wide step and a narrow one: their phasors multiply
    narrow = np.arange(0.0, WIDE_STEP, NARROW_STEP)
    wide = np.arange(-search, search, WIDE_STEP)
    turned = (weights * unit)[:, None] * np.exp(1j * np.outer(omega, narrow))
    sums = (np.exp(1j * np.outer(wide, omega)) @ turned).real.ravel()
    best = int(np.argmax(np.abs(sums)))
    polarity = 1 if sums[best] > 0 else -1
    columns = np.stack([-omega, *(column for column, _ in nuisances)], axis=1)
    expected = np.array([1e6, *(spread for _, spread in nuisances)])
    found = np.zeros(len(expected))
    found[0] = np.add.outer(wide, narrow).flat[best]
    robust = np.ones_like(weights)
    for _ in range(8):
        phase = np.angle(polarity * unit * np.exp(-1j * (columns @ found)))
        scale = np.sqrt(np.average(phase**2, weights=weights * robust)) + 1e-12
        robust = 1.0 / np.maximum(1.0, np.abs(phase) / (2 * scale))
        normal = columns.T @ ((weights * robust)[:, None] * columns) + np.diag(expected**-2.0)
        pulled = columns.T @ (weights * robust * phase) - found * expected**-2.0
        found = found + np.linalg.solve(normal, pulled)
    spread = np.average(phase**2, weights=weights * robust)
    sigma = float(np.sqrt(np.linalg.inv(normal)[0, 0]))
    return Delay(lag + float(found[0]), sigma, polarity, float(np.sqrt(spread)))


def _phase_beyond(ratio):
    """Phase below an edge of one unit more of slope of ln|H| beyond it.

    `ratio` is how far inside the edge: f/edge, at most 1. Bode's integral gives 2/pi times
    Legendre's chi function of order two.
    """
    ratio = np.asarray(ratio)
    return 2 / np.pi * ratio * np.polynomial.polynomial.polyval(ratio**2, CHI_TERMS)
