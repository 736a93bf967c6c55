"""Gain recovery: when is a device's gain itself again after something loud?

A soft probe sounds before, under and after a burst (`profiler.stimulus.plan.Pump`). How large it
comes back is the small-signal gain from moment to moment. A linear tail, however long, adds to the
response and leaves the probe's gain alone; a blocked grid, a shifted bias, a sagging supply, a
compressor's release do not. That is what a model must remember and a linear filter cannot do.

The probe is demodulated under a Hann window that is blind to every harmonic of the burst; midway
between two of them, 220 Hz from either, it lasts 9 ms, which is the resolution in time.

Conventions
-----------
Time 0 is the first sample after the burst. A departure is the probe's level in dB re its level
before the burst; the gain has recovered after the last moment at which the departure exceeds
0.1 dB.
"""

from dataclasses import dataclass

import numpy as np

from profiler.analysis.demodulation import demodulated
from profiler.analysis.time_constants import TimeConstants, time_constants
from profiler.capture.alignment import AlignedCapture
from profiler.definitions import Record
from profiler.stimulus.plan import Placed, Pump
from profiler.stimulus.tones import SINE_FADE_SECONDS, burst_edges
from profiler.units import amplitude_to_db

RECOVERED_DB = 0.1
HOP_SECONDS = 0.001
REFERENCE_SECONDS = 0.4  # before the burst, at most, in which the gain is at rest
NOISE_SIGMAS = 3.0
QUIET_SIGMAS = 6.0  # within what counts as recovered, or else the mean is taken over longer
SMOOTHINGS_SECONDS = (0.0, 0.004, 0.009, 0.02)
FITTED_BELOW_DB = 3.0  # of the departure: a larger one is no small signal, and no exponential


class GainRecovery(Record):
    """How the gain came back after one burst."""

    name: str
    level_dbfs: float  # peak of burst and probe together
    frequency: float
    probe_frequency: float
    tone_ms: float  # how long the burst lasted
    under_db: float | None  # departure at the end of the burst: compression, memory or not
    departure_db: float  # the largest after the burst
    sigma_db: float  # of the departure, by noise
    recovery_ms: float | None  # null where it was not seen
    at_least_ms: float | None  # how long it takes at least, where it had not recovered
    recovering: TimeConstants  # of the gain, from where it is within 3 dB


@dataclass(frozen=True)
class GainCurve:
    """Departure of the gain before, under and after one burst."""

    name: str
    level_dbfs: float
    seconds: np.ndarray  # (n,) re the end of the burst
    departure_db: np.ndarray  # (n,)
    tone_seconds: float
    sigma_db: float


@dataclass(frozen=True)
class MeasuredRecovery:
    """A record and the curve that it was read from."""

    record: GainRecovery
    curve: GainCurve
    warnings: tuple[str, ...] = ()


def gain_recoveries(capture: AlignedCapture) -> tuple[MeasuredRecovery, ...]:
    """Every pump of a capture, in order; none where the signal has none."""
    return tuple(_measured(capture, placed) for placed in capture.plan.of_kind("pump"))


def probe_gain(
    response: np.ndarray, sample_rate: float, probe_frequency: float, separation_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """The probe's complex amplitude over time, blind to what is `separation_hz` away or more.

    Returns
    -------
    seconds : (n,) float array
        Middles of the windows, from the first sample of `response`.
    amplitude : (n,) complex array
    """
    seconds, amplitudes = demodulated(
        response,
        sample_rate,
        [probe_frequency],
        window_seconds=2.0 / separation_hz,
        hop_seconds=HOP_SECONDS,
    )
    return seconds, amplitudes[:, 0]


def recovery_seconds(
    seconds: np.ndarray, departure_db: np.ndarray, *, within_db: float = RECOVERED_DB
) -> float | None:
    """When a departure last exceeded a band, between two moments by a straight line.

    Returns
    -------
    float or None
        0 where it never did; None where it still did at the last moment.
    """
    size = np.abs(departure_db)
    outside = np.flatnonzero(size > within_db)
    if not outside.size:
        return 0.0
    last = int(outside[-1])
    if last == len(size) - 1:
        return None
    part = (size[last] - within_db) / (size[last] - size[last + 1])
    return float(seconds[last] + part * (seconds[last + 1] - seconds[last]))


def _measured(capture: AlignedCapture, placed: Placed) -> MeasuredRecovery:
    pump, rate = placed.segment, capture.sample_rate
    if not isinstance(pump, Pump):
        raise ValueError(f"got a segment of kind {pump.kind!r}, not a pump")
    first, last = burst_edges(pump, rate)
    response = capture.response[placed.slice].astype(np.float64)
    at, amplitude = probe_gain(response, rate, pump.probe_frequency, pump.separation_hz)
    reach = 1.0 / pump.separation_hz  # of a window to either side
    fade = reach + SINE_FADE_SECONDS
    before = (at > max(fade, first / rate - REFERENCE_SECONDS)) & (at < first / rate - reach)
    after = (at > last / rate + reach) & (at < len(response) / rate - fade)
    under = (at > 0.5 * (first + last) / rate) & (at < last / rate - reach)
    level = pump.level_dbfs + capture.plan.gain_db
    reference = np.abs(np.mean(amplitude[before]))
    if reference == 0.0:
        reference = np.finfo(float).tiny
    departure = amplitude_to_db(np.maximum(np.abs(amplitude) / reference, 1e-9))
    sigma = float(np.std(departure[before]))
    seconds = at - last / rate
    told = (at > fade) & (at < len(response) / rate - fade)
    curve = GainCurve(
        pump.name, level, seconds[told], departure[told], (last - first) / rate, sigma_db=sigma
    )
    warnings: list[str] = []
    times, track, sigma = _quiet_enough(seconds[after], departure[after], departure[before])
    recovered = recovery_seconds(times, track)
    noisy = NOISE_SIGMAS * sigma > RECOVERED_DB
    if noisy:
        recovered = None
        warnings.append(
            f"{pump.name}: no recovery of the gain to {RECOVERED_DB:g} dB: noise moves the probe "
            f"by {sigma:.2g} dB; raise probe_dbfs in the signal"
        )
    elif recovered is None:
        warnings.append(
            f"{pump.name}: the gain is still {track[-1]:+.2f} dB off {1e3 * times[-1]:.0f} ms "
            "after the burst: lengthen after_seconds in the signal"
        )
    small = np.flatnonzero(np.abs(departure[after]) > FITTED_BELOW_DB)
    begin = small[-1] + 1 if small.size else 0
    gain = np.abs(amplitude[after][begin:]) / reference
    record = GainRecovery(
        name=pump.name,
        level_dbfs=level,
        frequency=pump.frequency,
        probe_frequency=pump.probe_frequency,
        tone_ms=1e3 * curve.tone_seconds,
        under_db=float(np.mean(departure[under])) if np.any(under) else None,
        departure_db=float(track[np.argmax(np.abs(track))]),
        sigma_db=sigma,
        recovery_ms=None if recovered is None else 1e3 * recovered,
        at_least_ms=1e3 * float(times[-1]) if recovered is None and not noisy else None,
        recovering=time_constants(seconds[after][begin:], gain),
    )
    return MeasuredRecovery(record, curve, tuple(warnings))


def _quiet_enough(seconds, departure, before):
    """The departure as it is, or averaged as long as noise makes necessary, and its sigma."""
    for smoothing in SMOOTHINGS_SECONDS:
        points = 1 + round(smoothing / HOP_SECONDS)
        mean = np.ones(points) / points
        sigma = float(np.std(np.convolve(before, mean, "valid")))
        if QUIET_SIGMAS * sigma < RECOVERED_DB:
            break
    middle = np.convolve(seconds, mean, "valid")
    return middle, np.convolve(departure, mean, "valid"), sigma
