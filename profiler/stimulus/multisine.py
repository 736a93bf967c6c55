"""Multisines: many sines at once, with random phases.

Two of them. The training mixture's is restless: another chord of sines every moment,
its level stepping up and down. The odd one is steady and periodic, for the best linear
approximation (Pintelon and Schoukens, System Identification, 2nd ed., ch. 4): only odd
lines are played, and one of every four odd lines is left out, so that what comes back on
the empty even and odd lines is the device's own distortion. Several *realisations* of it have
the same lines and amplitudes, and other phases.
"""

import numpy as np

from profiler.stimulus.plan import ODD_PERIOD_SECONDS, Multisine
from profiler.stimulus.shaping import (
    MATERIAL_RATE,
    finished,
    frames,
    level_envelope,
    material_frames,
    scaled_to_peak,
    with_fades,
)
from profiler.units import db_to_amplitude

CHORD_SECONDS = (0.25, 1.0)
FUNDAMENTAL_HZ = (40.0, 800.0)
HIGHEST_HZ = 12_000.0
MOST_SINES = 40
LEVEL_SECONDS = (0.05, 0.4)

ODD_BAND_HZ = (20.0, 20_000.0)


def multisine(segment: Multisine, sample_rate: int, rng: np.random.Generator):
    """The multisine that a segment asks for, `(n,)` float64; its peak is `level_dbfs`."""
    if segment.odd_only:
        return _steady_odd(segment, sample_rate, rng)
    return finished(_restless(segment, rng), segment, sample_rate)


def _restless(segment, rng):
    """Chords of sines with level steps: harmonic ones and ones of free frequencies in turn."""
    n = material_frames(segment)
    material = np.zeros(n)
    start = 0
    while start < n:
        length = min(n - start, round(rng.uniform(*CHORD_SECONDS) * MATERIAL_RATE))
        envelope = level_envelope(
            length, rng, lowest_db=segment.lowest_db, seconds=LEVEL_SECONDS, gliding=0.0
        )
        chord = with_fades(_chord(length, rng) * envelope, MATERIAL_RATE, 0.005)
        material[start : start + length] = chord
        start += length
    return material


def _chord(n, rng):
    """Up to 40 sines with a falling spectrum, peak 1."""
    count = rng.integers(1, MOST_SINES)
    if rng.random() < 0.5:
        frequency = np.exp(rng.uniform(*np.log(FUNDAMENTAL_HZ))) * np.arange(1, count + 1)
    else:
        frequency = np.exp(rng.uniform(np.log(FUNDAMENTAL_HZ[0]), np.log(HIGHEST_HZ), count))
    frequency = frequency[frequency < HIGHEST_HZ]
    amplitude = (frequency / frequency[0]) ** -rng.uniform(0.0, 1.2)
    phase = rng.uniform(0.0, 2 * np.pi, len(frequency))
    time = np.arange(n) / MATERIAL_RATE
    chord = np.zeros(n)
    for f, a, p in zip(frequency, amplitude, phase, strict=True):
        chord += a * np.cos(2 * np.pi * f * time + p)
    return scaled_to_peak(chord, 1.0)


def _steady_odd(segment, sample_rate, rng):
    """Whole periods of an odd multisine of pink spectrum, repeated, for each realisation.

    No fades, so that every period is the same: it begins, and after whole periods ends,
    at the gentlest zero crossing there is. All realisations are equally loud; the highest peak
    of them all is the level.
    """
    line = np.arange(1, round(ODD_BAND_HZ[1] * ODD_PERIOD_SECONDS) + 1, 2)  # odd lines
    line = line[line >= ODD_BAND_HZ[0] * ODD_PERIOD_SECONDS]
    line = line[: len(line) // 4 * 4].reshape(-1, 4)
    empty = rng.integers(0, 4, len(line))
    line = line[np.arange(4) != empty[:, None]]
    n = frames(segment, sample_rate)
    edges = np.linspace(0, n, segment.realisations + 1).round().astype(int)
    periods = [_odd_period(line, sample_rate, rng) for _ in range(segment.realisations)]
    signal = np.concatenate(
        [np.resize(period, length) for period, length in zip(periods, np.diff(edges), strict=True)]
    )
    return scaled_to_peak(signal, db_to_amplitude(segment.level_dbfs))


def _odd_period(line, sample_rate, rng):
    """One period on some lines, their phases drawn, from its gentlest zero crossing on."""
    spectrum = line**-0.5 * np.exp(1j * rng.uniform(0.0, 2 * np.pi, len(line)))
    fine = _period(line, spectrum, MATERIAL_RATE)
    crossing = np.flatnonzero((fine < 0.0) & (np.roll(fine, -1) >= 0.0))
    gentlest = crossing[np.argmin(np.roll(fine, -1)[crossing] - fine[crossing])]
    zero = gentlest - fine[gentlest] / (np.roll(fine, -1)[gentlest] - fine[gentlest])
    spectrum *= np.exp(2j * np.pi * line * zero / len(fine))
    return _period(line, spectrum, sample_rate)


def _period(line, spectrum, sample_rate):
    n = round(ODD_PERIOD_SECONDS * sample_rate)
    bins = np.zeros(n // 2 + 1, complex)
    bins[line] = spectrum
    return np.fft.irfft(bins, n) * n
