"""The interface's own faults: what is told from a loop, and cannot be told through an amp.

A loop is a wire. What bends there at once is a saturating send or a limiter in the system's mixer,
what bends slowly is a limiter in the interface's own processor, and a gain that still remembers
what was played before at soft levels is an enhancement. They are told apart by how much of the
lost gain comes back as harmonics (a third where the bend is instantaneous, nothing where it is
slow), by how fast the harmonics vanish below the top (a saturation fades, a limiter has a
threshold), and by which history of the level the gain follows.

Conventions
-----------
Gains are in dB, levels in dBFS peak of what was played, THD is a ratio.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.signal

from profiler.capture.checks.evidence import Evidence
from profiler.capture.checks.findings import Finding
from profiler.capture.loop import DB_PER_NEPER, LEVELS_HZ, GainTrack, LoopTake, Tone, word_bits
from profiler.units import db_to_amplitude, power_to_db

# A send: poor converters reach 0.03 %. Half of what is looked for at full scale, as the ladder of
# most signals ends at -3 dBFS, where a cubic bend has half its THD.
LARGEST_THD = 0.002
# What has a threshold, and no THD below it: a converter's own rises gently.
LARGEST_ABRUPT_THD = 0.0005
LARGEST_GAIN_CHANGE_AT_TOP_DB = 0.02
ABRUPT = 12.0  # THD at the top re 6 dB below: a cubic bend has 4
BELOW_TOP_DB = (4.0, 8.0)  # where that is looked at
LARGEST_THD_CHANGE = 0.0005  # over equal probes: what changes with time is not the interface,
LARGEST_GAIN_CHANGE_DB = 0.05  # and neither is this
LEAST_HARMONIC_SHARE = 1 / 8  # of the lost gain: a cubic bend gives a third of it
FAINTEST_IN_FLOOR = 0.5  # of what noise adds: THD that can just be told without it
ABOVE_NOISE = 5.0  # times the floor: below it, THD is not believed

# Gain that follows the past. Clean interfaces do by less than 0.005 dB.
LARGEST_MEMORY_DB = 0.04
LEAST_EXPLAINED = 0.8  # of the gain's variance beyond the noise
LEAST_EVIDENCE = 100.0  # chi squared that must be explained: ten sigmas
STEADY_DB = 0.002  # what is not noise and not a fault, in a piece of a tone
FARTHEST_DB = 6.0  # from the usual gain: a piece further off was gated or muted
LIMITER_SECONDS = (0.05, 0.1, 0.3, 1.0)  # to fall by 8.7 dB
LIMITER_THRESHOLDS_DBFS = (-30.0, -20.0, -12.0, -6.0)
AGC_SECONDS = (0.2, 0.5, 1.0, 2.0)
AGC_FLOORS_DBFS = (-70.0, -55.0, -45.0)
AGC_CEILINGS_DBFS = (-35.0, -25.0, -15.0)
CREEP_RATIOS = (0.2, 0.5, 1.0, 100.0)  # time constants re the take

LARGEST_VOLUME_CHANGE_DB = 0.2
FEWEST_BITS = 16
FULL_BITS = 24

# Clean converters are 3 dB down beyond 0.45 of the sample rate; a system that resamples before.
OWN_EDGE_RATIO = 0.45
STEEP_FALL_DB = 2.5  # over the last tenth below the edge: a cliff; a slope falls less
NARROW_BAND_HZ = (6_500.0, 12_000.0)  # of a voice call or a headset; below it speakers end
SWEEP_SURE = 0.95  # of a sweep's last frequency
NOISE_TOP_RATIO = (0.43, 0.45)  # of the sample rate: there is as much noise there
NOISE_MIDDLE_HZ = (3_000.0, 6_000.0)
NOISE_FALL_DB = 10.0
NOISE_FRAMES = 1024
FEWEST_NOISE_SPECTRA = 8

LEAST_ZEROS = 0.5  # of a silence, where it is switched off
LEAST_NOISE_DBFS = -135.0  # under a tone: rounding to 24 bits makes -149


def findings(evidence: Evidence) -> Iterator[Finding]:
    """What a loop in the take says of the interface; nothing where there is no loop."""
    recorded = evidence.loop
    if recorded is None:
        return
    coarse = tuple(_sixteen_bit(recorded))
    yield from coarse
    take = LoopTake.located(evidence.plan, evidence.stimulus, recorded)
    if take is None:
        return
    yield from _band_limit(take)
    bent = tuple(_bends_at_once(take))
    yield from bent or _bends_slowly(take)
    if not coarse:  # whose silence is zeros too
        yield from _silenced(take)
    yield from _volume_changed(take, evidence)


def _sixteen_bit(recorded):
    bits = word_bits(recorded)
    if bits is None or bits > FEWEST_BITS:
        return
    yield Finding(
        name="sixteen-bit",
        severity="warn",
        measured=bits,
        limit=FULL_BITS,
        unit="bits",
        cause=f"every sample of the loop is a whole number of {bits}-bit steps, each of "
        f"{-6.02 * (bits - 1):.0f} dBFS",
        action="choose a 24-bit format, or another host API, in the driver's settings",
    )


# --- the band -----------------------------------------------------------------------------------


def _band_limit(take):
    """A band that ends before the converter's own: seen by the sweep, or in the noise."""
    own = OWN_EDGE_RATIO * take.plan.sample_rate
    edge = _edge(take)
    if edge is None or not NARROW_BAND_HZ[0] <= edge < own:
        return
    seen = f"the loop ends at {edge / 1000:.1f} kHz like a cliff"
    if edge < NARROW_BAND_HZ[1]:
        yield Finding(
            name="enhancement",
            severity="stop",
            measured=edge,
            limit=NARROW_BAND_HZ[1],
            unit="Hz",
            cause=f"{seen}: that is a voice call's band, or a headset's",
            action="switch the system's sound enhancements off, and use no Bluetooth",
        )
        return
    yield Finding(
        name="system-resampling",
        severity="warn",
        measured=edge,
        limit=own,
        unit="Hz",
        cause=f"{seen}, and a converter at this rate at {own / 1000:.1f} kHz: the system resamples",
        action=f"set the system's own rate to {take.plan.sample_rate} Hz, or use ASIO or "
        "exclusive mode",
    )


def _edge(take):
    """Where the band ends steeply; beyond the end of the sweep, where the noise does."""
    if not take.sweeps:
        return None
    sweep = take.sweeps[0]
    if sweep.edge_hz is not None:
        return sweep.edge_hz if sweep.fall_db >= STEEP_FALL_DB else None
    edge = _noise_edge(take)
    # an echo of what sounded before the silence has an edge too, within the sweep
    return edge if edge is not None and edge > SWEEP_SURE * sweep.frequencies[-1] else None


def _noise_edge(take):
    """Where the noise of the silences ends, if it ends before the converter's own edge."""
    rate = take.plan.sample_rate
    if len(take.quiet) < FEWEST_NOISE_SPECTRA * NOISE_FRAMES:
        return None
    frequencies, density = scipy.signal.welch(take.quiet, rate, nperseg=NOISE_FRAMES)
    level = power_to_db(density + 1e-30)
    usual = np.median(level[_within(frequencies, NOISE_MIDDLE_HZ)])
    low, high = (ratio * rate for ratio in NOISE_TOP_RATIO)
    if np.median(level[_within(frequencies, (low, high))]) > usual - NOISE_FALL_DB:
        return None
    heard = (level > usual - NOISE_FALL_DB / 2) & (frequencies < high)
    return float(frequencies[np.flatnonzero(heard)[-1]])


def _within(values, limits):
    return (values >= limits[0]) & (values <= limits[1])


# --- the level ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Top:
    """The loudest tones of a frequency, against softer ones."""

    loudest: Tone
    change_db: float  # of the gain, from some 6 dB below to the loudest
    abruptness: float  # of the THD over the same

    @property
    def is_abrupt(self) -> bool:
        return self.abruptness >= ABRUPT


def _tops(take):
    """Of each frequency that has tones of several levels."""
    ladders = [tone for tone in take.tones if tone.kind == "staircase"]
    for _, group in itertools.groupby(
        sorted(ladders, key=lambda t: t.frequency), key=lambda t: t.frequency
    ):
        tones = list(group)
        loudest = max(tones, key=lambda t: t.level_dbfs)
        below = [
            t
            for t in tones
            if BELOW_TOP_DB[0] <= loudest.level_dbfs - t.level_dbfs <= BELOW_TOP_DB[1]
        ]
        if below and loudest.thd > ABOVE_NOISE * loudest.thd_floor:
            reference = min(below, key=lambda t: t.level_dbfs)
            faintest = max(reference.thd, FAINTEST_IN_FLOOR * reference.thd_floor, 1e-9)
            yield _Top(loudest, loudest.gain_db - reference.gain_db, float(loudest.thd / faintest))


def _bends_at_once(take):
    """A send that saturates, or a limiter without a memory."""
    if _changes_with_time([tone for tone in take.tones if tone.kind == "probe"]):
        return
    tops = [
        top
        for top in _tops(take)
        if top.loudest.thd > LEAST_HARMONIC_SHARE * (1 - db_to_amplitude(-abs(top.change_db)))
    ]
    limited = [
        top
        for top in tops
        if top.is_abrupt
        and (top.loudest.thd > LARGEST_ABRUPT_THD or top.change_db < -LARGEST_GAIN_CHANGE_AT_TOP_DB)
    ]
    saturated = [top for top in tops if not top.is_abrupt and top.loudest.thd > LARGEST_THD]
    if limited:
        top = min(limited, key=lambda t: t.change_db)
        yield Finding(
            name="shared-mode-limiter",
            severity="warn",
            measured=top.change_db,
            limit=-LARGEST_GAIN_CHANGE_AT_TOP_DB,
            unit="dB",
            at_seconds=top.loudest.at_seconds,
            cause=f"at {top.loudest.level_dbfs:.1f} dBFS a limiter takes {-top.change_db:.3f} dB "
            f"off and adds {100 * top.loudest.thd:.2f} % THD, some 6 dB lower nothing",
            action="use ASIO or exclusive mode, or keep the send below -6 dBFS",
        )
    elif saturated:
        top = max(saturated, key=lambda t: t.loudest.thd)
        yield Finding(
            name="send-saturates",
            severity="warn",
            measured=100 * top.loudest.thd,
            limit=100 * LARGEST_THD,
            unit="%",
            at_seconds=top.loudest.at_seconds,
            cause=f"the send has {100 * top.loudest.thd:.2f} % THD at {top.loudest.frequency:g} Hz "
            f"and {top.loudest.level_dbfs:.1f} dBFS without any amp",
            action="lower the send by 6 dB, and turn the reamp box or the amp up instead",
        )


def _changes_with_time(probes):
    """Equal tones that differ: a knob, a warm amp, the mains; no send and no limiter at once."""
    if not probes:
        return False
    gains = [tone.gain_db for tone in probes]
    thd = [tone.thd for tone in probes]
    floor = max(tone.thd_floor for tone in probes)  # of the THD, and more than that of the gain
    return (
        max(gains) - min(gains) > LARGEST_GAIN_CHANGE_DB + DB_PER_NEPER * floor
        or max(thd) - min(thd) > LARGEST_THD_CHANGE + ABOVE_NOISE * floor
    )


def _bends_slowly(take):
    """A gain that follows the level of the past: a limiter's above a threshold, or an AGC's."""
    track = take.gain_track
    usual = np.median(track.gain_db) if track.gain_db.size else 0.0
    kept = np.abs(track.gain_db - usual) < FARTHEST_DB
    if np.count_nonzero(kept) < 8:
        return
    track = track.where(kept)
    fits = _Fits(track)
    memories = {
        name: min((fits.by(history) for history in histories), key=lambda fit: fit.left)
        for name, histories in (("limiter", _limiters(take, track)), ("agc", _agcs(take, track)))
    }
    others = min(fits.by(history).left for history in _single_changes(take, track))
    name = min(memories, key=lambda key: memories[key].left)
    best = memories[name]
    if (
        best.coefficient >= 0.0  # a gate's, which is looked for elsewhere
        or best.left > others
        or fits.unexplained - best.left < LEAST_EVIDENCE
        or best.explained < LEAST_EXPLAINED
        or best.range_db < LARGEST_MEMORY_DB
    ):
        return
    if name == "limiter":
        yield Finding(
            name="interface-limiter",
            severity="stop",
            measured=best.range_db,
            limit=LARGEST_MEMORY_DB,
            unit="dB",
            cause=f"the loop loses {best.range_db:.2f} dB when it is loud, without harmonics, and "
            "recovers slowly: a compressor or limiter in the interface",
            action="switch limiter, compressor and effects off in the interface's own mixer",
        )
        return
    yield Finding(
        name="enhancement",
        severity="stop",
        measured=best.range_db,
        limit=LARGEST_MEMORY_DB,
        unit="dB",
        cause=f"the gain of the loop follows what was played before, by {best.range_db:.2f} dB",
        action="switch the system's sound enhancements and automatic gain off",
    )


@dataclass(frozen=True)
class _Fit:
    """A gain that follows one history, beside a constant for each frequency."""

    coefficient: float  # dB of gain re one unit of the history
    range_db: float  # of the gain that the history makes
    left: float  # chi squared that it does not explain
    explained: float  # share of what is beyond the noise


class _Fits:
    """Weighted least squares of a gain track on histories."""

    def __init__(self, track: GainTrack):
        self._weights = 1.0 / (track.sigma_db**2 + STEADY_DB**2)
        _, self._group = np.unique(track.frequencies, return_inverse=True)
        self._gain = self._centred(track.gain_db)
        self.unexplained = float(np.sum(self._weights * self._gain**2))
        self._noise = len(track.gain_db) - len(np.unique(track.frequencies))

    def by(self, history: np.ndarray) -> _Fit:
        centred = self._centred(history)
        power = float(np.sum(self._weights * centred**2))
        if power <= 0.0:
            return _Fit(0.0, 0.0, self.unexplained, 0.0)
        coefficient = float(np.sum(self._weights * centred * self._gain)) / power
        left = self.unexplained - coefficient**2 * power
        beyond = max(self.unexplained - self._noise, 1.0)
        explained = 1.0 - max(left - self._noise, 0.0) / beyond
        return _Fit(coefficient, abs(coefficient) * float(np.ptp(history)), left, explained)

    def _centred(self, values):
        totals = np.bincount(self._group, self._weights * values)
        return values - (totals / np.bincount(self._group, self._weights))[self._group]


def _limiters(take, track):
    """Decibels above a threshold, of peaks that fall slowly."""
    for seconds in LIMITER_SECONDS:
        level_db = _at(take, track, _falling_peaks_db(take, seconds))
        for threshold in LIMITER_THRESHOLDS_DBFS:
            yield np.maximum(level_db - threshold, 0.0)


def _agcs(take, track):
    """Decibels between a floor and a ceiling, of a power that is smoothed."""
    for seconds in AGC_SECONDS:
        pole = np.exp(-1.0 / (seconds * LEVELS_HZ))
        power = scipy.signal.lfilter([1.0 - pole], [1.0, -pole], take.levels[1])
        level_db = _at(take, track, power_to_db(power + 1e-20))
        for limits in itertools.product(AGC_FLOORS_DBFS, AGC_CEILINGS_DBFS):
            yield np.clip(level_db, *limits)


def _single_changes(take, track):
    """A step at any moment, or a creep: of a knob or a warm amp, not of what was played."""
    seconds = track.frames / take.plan.sample_rate
    for k in range(1, len(seconds)):
        yield (np.arange(len(seconds)) >= k).astype(float)
    for ratio in CREEP_RATIOS:
        yield -np.expm1(-seconds / (ratio * take.plan.seconds))


def _falling_peaks_db(take, seconds):
    """Peak level that rises at once and falls by a time constant, in dB of what was recorded."""
    peaks = take.levels[0]
    fallen = 20 * np.log10(np.e) / (seconds * LEVELS_HZ) * np.arange(len(peaks))
    return np.maximum.accumulate(20 * np.log10(peaks + 1e-10) + fallen) - fallen


def _at(take, track, level_db):
    """A level where the pieces of the track were recorded."""
    block = take.plan.sample_rate / LEVELS_HZ
    return np.interp((track.frames + take.lag) / block - 0.5, np.arange(len(level_db)), level_db)


# --- silence and volume -------------------------------------------------------------------------


def _silenced(take):
    """A silence that is switched off: zeros, while there is noise under every tone."""
    if not (take.quiet.size and take.tones):
        return
    zeros = float(np.mean(take.quiet == 0.0))
    noise_dbfs = float(np.median([20 * np.log10(t.noise_rms + 1e-12) for t in take.tones]))
    if zeros < LEAST_ZEROS or noise_dbfs < LEAST_NOISE_DBFS:
        return
    yield Finding(
        name="enhancement",
        severity="stop",
        measured=100 * zeros,
        limit=100 * LEAST_ZEROS,
        unit="%",
        cause=f"{100 * zeros:.0f} % of the silence are exact zeros, with noise of "
        f"{noise_dbfs:.0f} dBFS under the tones: noise suppression",
        action="switch the system's noise suppression and sound enhancements off",
    )


def _volume_changed(take, evidence):
    fingerprint = evidence.fingerprint
    if fingerprint is None:
        return
    known_db = fingerprint.gain_db if evidence.is_loop else fingerprint.loopback_gain_db
    probes = [tone.gain_db for tone in take.tones if tone.kind == "probe"]
    if known_db is None or not probes:
        return
    change_db = float(np.median(probes)) - known_db
    if abs(change_db) <= LARGEST_VOLUME_CHANGE_DB:
        return
    yield Finding(
        name="volume-changed",
        severity="warn",
        measured=change_db,
        limit=LARGEST_VOLUME_CHANGE_DB,
        unit="dB",
        cause=f"the loop's gain has changed by {change_db:+.2f} dB since it was measured",
        action="set the system's volume back to 100 %, or measure anew (ampscope doctor --loop)",
    )
