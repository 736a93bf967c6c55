"""The cabinet: its impulse response, and how far the two channels of a take agree on it.

A loudspeaker before a microphone is very nearly linear, so all of it is one impulse response, and
players load that as a WAV or as a linear `.nam`. It is measured between two signals: from the DI or
line output before the cabinet to the microphone, recorded in one take, or, where there is no DI,
from the stimulus to the response, which then holds the amp's linear part as well.

Conventions
-----------
The impulse response h answers y = h * x, in least squares (Wiener and Hopf's equations, regularised
as a Gaussian prior would): noise of the microphone averages out, and what is not excited is not
invented. *Onset* is the first sample of the direct sound. Coherence is Welch's, from 0 to 1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.fft
import scipy.signal
import scipy.sparse.linalg
from pydantic import Field

from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.units import amplitude_to_db, power_to_db

Source = Literal["di", "stimulus"]

LONGEST_SECONDS = 0.25  # of an impulse response: a close microphone's is over in 50 ms
BEFORE_SECONDS = 0.005  # in which a response may ring ahead of its source
BLOCK_SECONDS = 2.0  # in which correlations are summed: it bounds the memory
FIRST_RIDGE = 1e-6  # of the source's energy, where the search for the prior begins,
LEAST_RIDGE = 1e-11  # and where it ends at the latest
PRIORS = 5  # that are tried
SETTLED_RATIO = 2.0  # of one prior to the next, from which on nothing changes
SOLVED = 1e-7  # residual of the normal equations
ITERATIONS = 400

ONSET_DB = -20.0  # re the peak: where the direct sound begins
KEPT_BEFORE_SECONDS = 0.001  # of the ringing ahead of the onset
NOISE_PART = 0.2  # of a measured response, at its end, which is taken for noise
FLOOR_MARGIN_DB = 6.0  # over the noise, to be heard
TAIL_HZ = 5000.0  # the end of a response is below: what is higher has long died away
FRAME_SECONDS = 0.005  # in which its energy is taken
LEFT_DB = -80.0  # of the energy, at most, that is cut off where there is no noise
SHORTEST_SECONDS = 0.01
FADE_PART = 0.1  # of what is kept, at its end

COHERENCE_SECONDS = 0.34  # of a segment
COHERENT = 0.9  # from here on the two channels tell one story
BAND_DB = -10.0  # re the middle: where a cabinet's band ends
MIDDLE_HZ = (100.0, 5000.0)
POINTS_AN_OCTAVE = 48
SPAN_HZ = (20.0, 20_000.0)
PADDING = 8  # of a response, to read its spectrum between the lines
CEPSTRUM_PADDING = 32  # to its cepstrum: a zero on the unit circle wraps around otherwise
DEEPEST_DB = -140.0  # re the highest: what lies below says nothing of a phase


@dataclass(frozen=True, eq=False)
class Identified:
    """The linear system between two signals, as least squares find it."""

    impulse: np.ndarray  # (n,) its sample `zero` is at no delay
    zero: int
    residual_esr: float  # part of the recorded energy that it does not explain


@dataclass(frozen=True, eq=False)
class CabinetIr:
    """An impulse response to be played through."""

    sample_rate: int
    samples: np.ndarray  # (n,) float64
    onset: int  # sample at which the direct sound begins


@dataclass(frozen=True, eq=False)
class CabinetResponse:
    """A cabinet over frequency, to be looked at; arrays are `(m,)`."""

    frequencies: np.ndarray  # Hz, equally spaced in octaves
    magnitude_db: np.ndarray
    phase: np.ndarray  # radians, unwrapped, re the onset
    coherence: np.ndarray


class CabinetAnalysis(Record):
    """What is told of a cabinet. What is not known is null."""

    schema_: Literal["ampscope.cabinet/1"] = Field(default="ampscope.cabinet/1", alias="schema")
    source: Source  # what it was measured from; stimulus: amp and cabinet together
    length_ms: float  # until it is lost in the noise, or over
    delay_ms: float  # of the direct sound: some 0.3 ms for 10 cm of air
    polarity: Literal[1, -1]  # of the largest sample
    gain_db: float  # power mean from 100 Hz to 5 kHz
    lowest_hz: float | None  # where it is 10 dB below that; null: not within 20 Hz to 20 kHz
    highest_hz: float | None
    noise_db: float | None  # of the impulse response, re its peak; null for none
    residual_esr: float  # part of the energy that nothing linear explains: noise, distortion, room
    coherent_from_hz: float | None  # the widest band in which the coherence is at least 0.9
    coherent_to_hz: float | None
    frequency_hz: tuple[float, ...]  # of the curves
    magnitude_db: tuple[float, ...]
    coherence: tuple[float, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class MeasuredCabinet:
    """A cabinet as it was found, from which all else is told."""

    source: Source
    found: Identified
    ir: CabinetIr
    response: CabinetResponse


def measured_cabinet(capture: AlignedCapture) -> MeasuredCabinet:
    """Find the cabinet of a capture, which takes some seconds.

    Raises
    ------
    CaptureError
        The capture has neither a DI nor a sweep; or one of its channels is silent.
    """
    source, x, y = _channels(capture)
    found = identified(x, y, capture.sample_rate)
    ir = windowed(found, capture.sample_rate)
    return MeasuredCabinet(source, found, ir, _response(found, ir, x, y))


def cabinet(capture: AlignedCapture) -> CabinetAnalysis:
    """Measure the cabinet of a capture.

    Raises
    ------
    CaptureError
        As `measured_cabinet`.
    """
    return told(measured_cabinet(capture))


def told(measured: MeasuredCabinet) -> CabinetAnalysis:
    """What a cabinet's record says of it."""
    source, found, ir, response = measured.source, measured.found, measured.ir, measured.response
    rate = ir.sample_rate
    peak = int(np.argmax(np.abs(found.impulse)))
    noise = _end_power(found.impulse)
    smooth = _third_octave(response.magnitude_db)
    gain_db = _gain_db(ir)
    middle = (response.frequencies > MIDDLE_HZ[0]) & (response.frequencies < MIDDLE_HZ[1])
    inside = smooth >= gain_db + BAND_DB
    lowest, highest = _edges(response.frequencies, inside, middle)
    coherent = _widest(response.frequencies, response.coherence >= COHERENT)
    warnings = []
    if source == "stimulus":
        warnings.append(
            "there is no DI channel, so this is the linear part of amp and cabinet together: "
            "record the line before the cabinet, by di_channel, to tell them apart"
        )
    if found.residual_esr > 0.1:
        warnings.append(
            f"{100 * found.residual_esr:.0f} % of the energy is not explained by anything linear: "
            "noise, distortion behind the DI, or two channels that are not of one cabinet"
        )
    return CabinetAnalysis(
        source=source,
        length_ms=1e3 * (len(ir.samples) - ir.onset) / rate,
        delay_ms=1e3 * (_onset(found.impulse) - found.zero) / rate,
        polarity=1 if found.impulse[peak] > 0.0 else -1,
        gain_db=gain_db,
        lowest_hz=lowest,
        highest_hz=highest,
        noise_db=float(power_to_db(noise / found.impulse[peak] ** 2)) if noise > 0.0 else None,
        residual_esr=found.residual_esr,
        coherent_from_hz=coherent[0],
        coherent_to_hz=coherent[1],
        frequency_hz=tuple(np.round(response.frequencies, 2).tolist()),
        magnitude_db=tuple(np.round(response.magnitude_db, 2).tolist()),
        coherence=tuple(np.round(response.coherence, 4).tolist()),
        warnings=tuple(warnings),
    )


def cabinet_ir(capture: AlignedCapture, *, minimum_phase: bool = False) -> CabinetIr:
    """The impulse response of a capture's cabinet, to be played through.

    It begins a millisecond ahead of the direct sound, or with it when it is of minimum phase.

    Raises
    ------
    CaptureError
        As `measured_cabinet`.
    """
    ir = measured_cabinet(capture).ir
    return of_minimum_phase(ir) if minimum_phase else ir


def identified(source, recorded, sample_rate: int, *, seconds=LONGEST_SECONDS) -> Identified:
    """The linear system between two signals that belong together sample by sample.

    The normal equations are Toeplitz and solved by conjugate gradients, with the circulant matrix
    that is nearest (T. Chan, SIAM J. Sci. Stat. Comput. 9, 1988) before them. What is added to
    their diagonal is the variance of what is left over that of a tap, at which the prior and the
    data weigh alike.

    Parameters
    ----------
    source, recorded : (n,) float arrays
        As long as each other, at rest at both ends.
    seconds : float
        Longest impulse response. What comes later counts as noise.

    Raises
    ------
    ValueError
        Different lengths, or shorter than the impulse response.
    CaptureError
        One of the two is silent.
    """
    x, y = (np.asarray(each, np.float64) for each in (source, recorded))
    ahead = round(BEFORE_SECONDS * sample_rate)
    behind = scipy.fft.next_fast_len(ahead + round(seconds * sample_rate), real=True) - ahead
    if x.ndim != 1 or x.shape != y.shape or len(x) < ahead + behind:
        raise ValueError(
            f"expected two signals of one length, at least {ahead + behind} samples, got {x.shape} "
            f"and {y.shape}"
        )
    for name, signal in (("source", x), ("recording", y)):
        if not signal.any():
            raise CaptureError(f"the {name} of the cabinet is silent: check its channel in the rig")
    auto, cross = _correlations(x, y, ahead, behind, round(BLOCK_SECONDS * sample_rate))
    energy, frames = float(np.dot(y, y)), len(x)
    ridge = FIRST_RIDGE * auto[0]
    impulse = np.zeros(len(cross))
    for _ in range(PRIORS):
        impulse = _solved(auto, cross, ridge, impulse)
        left = max(energy - 2.0 * impulse @ cross + impulse @ _toeplitz(auto)(impulse), 0.0)
        prior = left / frames / max(float(impulse @ impulse) / len(impulse), 1e-300)
        prior = max(prior, LEAST_RIDGE * auto[0])
        settled = 1.0 / SETTLED_RATIO < prior / ridge < SETTLED_RATIO
        ridge = prior
        if settled:
            break
    return Identified(impulse, ahead, float(left / energy))


def windowed(found: Identified, sample_rate: int) -> CabinetIr:
    """The part of an impulse response that is to be kept.

    It begins 1 ms ahead of the direct sound, faded in, as filters of linear phase ring ahead. It
    ends where its energy over 5 ms is lost in the noise, or where less than -80 dB of it is left,
    and its last tenth is faded out.
    """
    impulse = found.impulse
    onset = _onset(impulse)
    before = min(round(KEPT_BEFORE_SECONDS * sample_rate), onset)
    stop = _end(impulse, onset, sample_rate)
    kept = impulse[onset - before : stop].copy()
    rise = before // 2
    kept[:rise] *= np.sin(0.5 * np.pi * (np.arange(rise) + 0.5) / max(rise, 1)) ** 2
    fall = round(FADE_PART * len(kept))
    kept[len(kept) - fall :] *= np.cos(0.5 * np.pi * (np.arange(fall) + 0.5) / max(fall, 1)) ** 2
    return CabinetIr(sample_rate, kept, before)


def of_minimum_phase(ir: CabinetIr) -> CabinetIr:
    """The same magnitude with no delay beyond what it needs (by the folded real cepstrum).

    Oppenheim and Schafer, Discrete-Time Signal Processing, ch. 13. Its polarity is positive.
    """
    frames = 2 * scipy.fft.next_fast_len(CEPSTRUM_PADDING * len(ir.samples) // 2, real=True)
    magnitude = np.abs(scipy.fft.rfft(ir.samples, frames))
    deepest = 10.0 ** (DEEPEST_DB / 20.0) * np.max(magnitude)
    cepstrum = scipy.fft.irfft(np.log(np.maximum(magnitude, deepest)), frames)
    cepstrum[1 : frames // 2] *= 2.0
    cepstrum[frames // 2 + 1 :] = 0.0
    samples = scipy.fft.irfft(np.exp(scipy.fft.rfft(cepstrum, frames)), frames)
    return CabinetIr(ir.sample_rate, samples[: len(ir.samples)], 0)


def at_unity(ir: CabinetIr) -> CabinetIr:
    """The same with a power mean of 0 dB from 100 Hz to 5 kHz: about as loud as without it."""
    gain = 10.0 ** (-_gain_db(ir) / 20.0)
    return CabinetIr(ir.sample_rate, gain * ir.samples, ir.onset)


def coherence(source, recorded, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and the magnitude-squared coherence of two signals, by Welch's method.

    1 where the one follows from the other by something linear, 0 where it does not at all.
    """
    length = min(scipy.fft.next_fast_len(round(COHERENCE_SECONDS * sample_rate)), len(source) // 8)
    with np.errstate(invalid="ignore", divide="ignore"):
        frequencies, value = scipy.signal.coherence(
            source, recorded, fs=sample_rate, nperseg=length, detrend=False
        )
    return frequencies, np.nan_to_num(value)


def _channels(capture):
    """What the cabinet is measured from, and the two signals, float64."""
    if capture.di is not None:
        pair = capture.di, capture.response
        return "di", *(np.asarray(each, np.float64) for each in pair)
    placed = next(capture.plan.of_kind("sweep"), None)
    if placed is None:
        raise CaptureError(
            f"the signal {capture.plan.name!r} holds no sweep and the rig no di_channel to measure "
            "a cabinet by: capture dynamics, sweep or standard"
        )
    pair = capture.stimulus[placed.slice], capture.response[placed.slice]
    return "stimulus", *(np.asarray(each, np.float64) for each in pair)


def _correlations(x, y, ahead, behind, block):
    """Of x with itself and with y, at the lags 0 to n and -ahead to behind; sums, not means."""
    taps = ahead + behind
    frames = scipy.fft.next_fast_len(block + taps, real=True)
    padded_x, padded_y = np.pad(x, (0, taps)), np.pad(y, (ahead, behind))
    auto, cross = np.zeros(taps), np.zeros(taps)
    for start in range(0, len(x), block):
        here = np.conj(scipy.fft.rfft(x[start : start + block], frames))
        for total, other in ((auto, padded_x), (cross, padded_y)):
            there = scipy.fft.rfft(other[start : start + block + taps], frames)
            total += scipy.fft.irfft(here * there, frames)[:taps]
    return auto, cross


def _toeplitz(column):
    """Multiplication by the symmetric Toeplitz matrix of a column."""
    n = len(column)
    frames = scipy.fft.next_fast_len(2 * n, real=True)
    ring = np.zeros(frames)
    ring[:n], ring[frames - n + 1 :] = column, column[:0:-1]
    spectrum = scipy.fft.rfft(ring).real
    return lambda v: scipy.fft.irfft(spectrum * scipy.fft.rfft(v, frames), frames)[:n]


def _solved(auto, cross, ridge, guess):
    """(R + ridge) h = r, R the Toeplitz matrix of `auto`."""
    n = len(auto)
    column = auto.copy()
    column[0] += ridge
    k = np.arange(n)
    nearest = ((n - k) * column + k * np.roll(column[::-1], 1)) / n
    inverse = 1.0 / np.maximum(scipy.fft.rfft(nearest).real, ridge)
    shape = (n, n)
    solution, _ = scipy.sparse.linalg.cg(
        scipy.sparse.linalg.LinearOperator(shape, matvec=_toeplitz(column), dtype=np.float64),
        cross,
        x0=guess,
        rtol=SOLVED,
        maxiter=ITERATIONS,
        M=scipy.sparse.linalg.LinearOperator(
            shape,
            matvec=lambda v: scipy.fft.irfft(inverse * scipy.fft.rfft(v), n),
            dtype=np.float64,
        ),
    )
    return solution


def _onset(impulse):
    """First sample before the peak from which it stays within 20 dB of it, or the first such."""
    magnitude = np.abs(impulse)
    return int(np.argmax(magnitude >= 10.0 ** (ONSET_DB / 20.0) * np.max(magnitude)))


def _end_power(impulse):
    """Power of the end of an impulse response, where nothing sounds any more."""
    return float(np.mean(impulse[-round(NOISE_PART * len(impulse)) :] ** 2))


def _end(impulse, onset, rate):
    """One after the last sample that is worth keeping."""
    frame = round(FRAME_SECONDS * rate)
    after = impulse[onset:]
    low_pass = scipy.signal.butter(4, TAIL_HZ, fs=rate, output="sos")
    dull = scipy.signal.sosfiltfilt(low_pass, after)
    blocks = dull[: len(dull) - len(dull) % frame].reshape(-1, frame)
    power = np.mean(blocks**2, axis=1)
    audible = np.flatnonzero(power > 10.0 ** (FLOOR_MARGIN_DB / 10.0) * _end_power(dull))
    heard = (audible[-1] + 1) * frame if audible.size else 0
    left = np.cumsum(after[::-1] ** 2)[::-1]
    over = int(np.argmax(left < 10.0 ** (LEFT_DB / 10.0) * left[0])) or len(after)
    shortest = round(SHORTEST_SECONDS * rate)
    # the fade takes the last tenth: what is heard lies before it
    return onset + min(max(min(heard, over), shortest) * 10 // 9, len(after))


def _spectrum(ir, frequencies):
    """Complex gain at frequencies, its phase re the onset."""
    frames = scipy.fft.next_fast_len(PADDING * len(ir.samples), real=True)
    bins = scipy.fft.rfftfreq(frames, 1.0 / ir.sample_rate)
    turned = scipy.fft.rfft(ir.samples, frames) * np.exp(
        2j * np.pi * bins * ir.onset / ir.sample_rate
    )
    return np.interp(frequencies, bins, turned.real) + 1j * np.interp(
        frequencies, bins, turned.imag
    )


def _gain_db(ir):
    """Power mean over the middle of the band, equally over the octaves."""
    frequencies = np.geomspace(*MIDDLE_HZ, 400)
    return float(power_to_db(np.mean(np.abs(_spectrum(ir, frequencies)) ** 2)))


def _response(found, ir, x, y):
    rate = ir.sample_rate
    top = min(SPAN_HZ[1], 0.45 * rate)
    octaves = np.log2(top / SPAN_HZ[0])
    frequencies = SPAN_HZ[0] * 2.0 ** np.linspace(
        0.0, octaves, round(octaves * POINTS_AN_OCTAVE) + 1
    )
    gain = _spectrum(ir, frequencies)
    # the direct sound's delay would look like a lack of coherence
    delay = max(_onset(found.impulse) - found.zero, 0)
    bins, value = coherence(x[: len(x) - delay], y[delay:], rate)
    return CabinetResponse(
        frequencies=frequencies,
        magnitude_db=np.asarray(amplitude_to_db(gain)),
        phase=np.unwrap(np.angle(gain)),
        coherence=np.interp(frequencies, bins, value),
    )


def _third_octave(magnitude_db):
    """Power means over a third of an octave."""
    power = 10.0 ** (magnitude_db / 10.0)
    width = POINTS_AN_OCTAVE // 3 | 1
    padded = np.pad(power, width // 2, mode="edge")
    return power_to_db(np.convolve(padded, np.full(width, 1.0 / width), "valid"))


def _edges(frequencies, inside, middle):
    """First and last frequency of the band around the middle; None where it goes on."""
    centre = int(np.median(np.flatnonzero(middle)))
    below = np.flatnonzero(~inside[:centre])
    above = np.flatnonzero(~inside[centre:])
    lowest = float(frequencies[below[-1] + 1]) if below.size else None
    highest = float(frequencies[centre + above[0] - 1]) if above.size and above[0] else None
    return lowest, highest


def _widest(frequencies, good):
    """First and last frequency of the longest run; None for none."""
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False)).reshape(-1, 2)
    if not len(edges):
        return None, None
    first, last = edges[int(np.argmax(edges[:, 1] - edges[:, 0]))]
    return float(frequencies[first]), float(frequencies[last - 1])
